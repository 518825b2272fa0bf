//! The HTTP server offers JSON-RPC on loopback to clients that hold a token.
//!
//! # Security
//!
//! The server rejects a request before reading its body unless both headers are right:
//!
//! - `Host` is this machine. A web page that uses DNS rebinding sends another name.
//! - `Authorization` holds the token of the data folder. The comparison takes constant time.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any,
};
use jsonrpsee::server::{
    BatchRequestConfig, Methods, ServerConfig, middleware::http::HostFilterLayer, stop_channel,
};
use subtle::ConstantTimeEq;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tower::{Layer as _, Service as _, limit::GlobalConcurrencyLimitLayer};
use zeroize::Zeroizing;

use super::RpcError;

/// The largest request, 1 MiB. The largest useful ones are far below: a send with a memo has under
/// 4 kB, an invite under 16 kB.
pub(crate) const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// The largest reply, 128 MiB. It has room for a page of `print_chain`: 8 MiB of blocks and one
/// block more, as JSON.
pub(crate) const MAX_RESPONSE_BYTES: u32 = 128 << 20;

/// The most requests served at once, waiting consoles included.
const MAX_REQUESTS: usize = 128;

/// The most calls in one batch.
const MAX_BATCH: u32 = 32;

/// The time that unfinished replies get when the node shuts down. Later ones are cut off.
const DRAIN: Duration = Duration::from_secs(2);

/// A running RPC server.
#[derive(Debug)]
pub(crate) struct RpcServer {
    /// The bound address. It has the actual port if port 0 was requested.
    pub address: SocketAddr,
    /// The server task, which ends after the shutdown.
    pub task: JoinHandle<()>,
}

/// Starts a server for `methods` at a loopback address. It ends when `shutdown` completes.
///
/// # Errors
///
/// - `rpc_not_loopback` if other machines could reach `address`.
/// - `rpc_port_in_use` or `rpc_bind` if the address cannot be bound.
pub(crate) async fn serve(
    address: SocketAddr,
    methods: impl Into<Methods>,
    token: &str,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<RpcServer, RpcError> {
    check_rpc(address)?;
    let listener = TcpListener::bind(address).await.map_err(|cause| bind_error(address, &cause))?;
    let address = listener.local_addr().map_err(RpcError::internal)?;
    let router = router(methods.into(), token, address.ip())?;
    let task = tokio::spawn(async move {
        let (stopping, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            shutdown.await;
            // The receiver is gone only if the server has already ended.
            let _ = stopping.send(());
        });
        let too_long = async move {
            let _ = stopped.await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            result = serving => {
                if let Err(cause) = result {
                    tracing::warn!(%cause, "the RPC server has ended");
                }
            }
            () = too_long => tracing::debug!("answers under way were cut off"),
        }
    });
    Ok(RpcServer { address, task })
}

/// Checks that only this machine can reach the RPC address.
///
/// # Security
///
/// The token is sent without encryption, so another machine on the path could read it.
pub(crate) fn check_rpc(address: SocketAddr) -> Result<(), RpcError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let sentence = format!(
        "the RPC does not listen on {address}, since other machines could reach it there: use \
         127.0.0.1, and a tunnel \
         (ssh -L) from elsewhere"
    );
    Err(RpcError::new("rpc_not_loopback", sentence))
}

fn bind_error(address: SocketAddr, cause: &io::Error) -> RpcError {
    match cause.kind() {
        io::ErrorKind::AddrInUse => RpcError::new(
            "rpc_port_in_use",
            format!(
                "the RPC cannot listen on {address}: the port is in use; give another with --rpc \
                 127.0.0.1:PORT"
            ),
        ),
        _ => RpcError::new("rpc_bind", format!("the RPC cannot listen on {address}: {cause}")),
    }
}

fn router(methods: Methods, token: &str, ip: IpAddr) -> Result<Router, RpcError> {
    let config = ServerConfig::builder()
        .http_only()
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .build();
    let (stop_handle, server_handle) = stop_channel();
    let service = jsonrpsee::server::Server::builder().set_config(config).to_service_builder();
    let service = hosts_here(ip)?.layer(service.build(methods, stop_handle));
    let rpc = any(move |request: Request| {
        let mut service = service.clone();
        // The service ends when the last handle is dropped, so the route keeps one.
        let alive = server_handle.clone();
        async move {
            let answer = match service.call(request).await {
                Ok(response) => response.map(Body::new),
                Err(cause) => {
                    tracing::debug!(%cause, "a request failed");
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            };
            drop(alive);
            answer
        }
    });
    let token: Arc<Zeroizing<String>> = Arc::new(Zeroizing::new(token.to_owned()));
    Ok(Router::new()
        .route("/", rpc)
        .layer(GlobalConcurrencyLimitLayer::new(MAX_REQUESTS))
        .layer(middleware::from_fn_with_state(token, guard)))
}

/// Returns a layer that rejects requests whose `Host` is not this machine. A web page that uses DNS
/// rebinding sends its own host name.
fn hosts_here(ip: IpAddr) -> Result<HostFilterLayer, RpcError> {
    let bound = SocketAddr::new(ip, 0).to_string().replace(":0", ":*");
    let loopback = ["localhost:*", "127.0.0.1:*", "[::1]:*"].map(str::to_owned);
    HostFilterLayer::new(loopback.into_iter().chain([bound])).map_err(RpcError::internal)
}

/// Rejects a request without the right token with status 401.
async fn guard(
    State(token): State<Arc<Zeroizing<String>>>,
    request: Request,
    next: Next,
) -> Response {
    if !token_fits(request.headers(), &token) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (
            StatusCode::UNAUTHORIZED,
            challenge,
            "the token is in the data folder: rpc.token\n",
        )
            .into_response();
    }
    next.run(request).await
}

fn token_fits(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(shown) = shown.and_then(|text| text.strip_prefix("Bearer ")) else { return false };
    !token.is_empty() && bool::from(shown.as_bytes().ct_eq(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use jsonrpsee::{RpcModule, core::client::ClientT, rpc_params};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::rpc::Client;

    async fn echo_server(token: &str) -> (RpcServer, oneshot::Sender<()>) {
        let mut module = RpcModule::new(());
        module.register_method("echo", |params, (), _| params.one::<String>()).expect("a new name");
        module
            .register_method("fail", |_, (), _| {
                Err::<(), _>(RpcError::new("no_chain", "no chain here"))
            })
            .expect("a new name");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let address = "127.0.0.1:0".parse().expect("an address");
        (serve(address, module, token, shutdown).await.expect("a server"), stop)
    }

    async fn raw(address: SocketAddr, head: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":["hi"]}"#;
        let request = format!(
            "POST / HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: \
             {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn the_token_opens_and_nothing_else_does() {
        let (server, _stop) = echo_server("secret").await;
        let client = Client::http(server.address, "secret").expect("a client");
        let answer: String = client.request("echo", rpc_params!["hi"]).await.expect("an answer");
        assert_eq!(answer, "hi");
        for wrong in ["", "secre", "secret2", "Secret"] {
            let client = Client::http(server.address, wrong).expect("a client");
            assert!(
                client.request::<String, _>("echo", rpc_params!["hi"]).await.is_err(),
                "{wrong}"
            );
        }
        let host = format!("Host: {}\r\n", server.address);
        assert!(raw(server.address, &host).await.starts_with("HTTP/1.1 401"));
    }

    #[tokio::test]
    async fn a_foreign_host_is_refused_though_the_token_fits() {
        let (server, _stop) = echo_server("secret").await;
        let authorised = |host: &str| format!("Host: {host}\r\nAuthorization: Bearer secret\r\n");
        assert!(raw(server.address, &authorised("evil.example")).await.starts_with("HTTP/1.1 403"));
        assert!(raw(server.address, &authorised("localhost:1")).await.starts_with("HTTP/1.1 200"));
        assert!(raw(server.address, &authorised("[::1]:1")).await.starts_with("HTTP/1.1 200"));
        assert!(raw(server.address, &authorised("localhost")).await.starts_with("HTTP/1.1 200"));
        let rebound = raw(server.address, &authorised("127.0.0.1.evil.example:1")).await;
        assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    }

    #[tokio::test]
    async fn both_ends_of_the_client_answer_alike() {
        let (server, stop) = echo_server("secret").await;
        let mut module = RpcModule::new(());
        module
            .register_method("fail", |_, (), _| {
                Err::<(), _>(RpcError::new("no_chain", "no chain here"))
            })
            .expect("a new name");
        let http = Client::http(server.address, "secret").expect("a client");
        for client in [http, Client::local(module)] {
            let error = client.request::<(), _>("fail", rpc_params![]).await.expect_err("an error");
            assert_eq!(RpcError::from(error), RpcError::new("no_chain", "no chain here"));
            let error =
                client.request::<(), _>("nonsense", rpc_params![]).await.expect_err("an error");
            assert_eq!(RpcError::from(error).code, "unknown_method");
        }
        stop.send(()).expect("the server listens");
        server.task.await.expect("it ends");
    }

    #[test]
    fn the_rpc_is_for_this_machine_alone() {
        let allowed = |text: &str| check_rpc(text.parse().expect("an address"));
        assert!(allowed("127.0.0.1:0").is_ok());
        assert!(allowed("[::1]:8545").is_ok());
        assert_eq!(allowed("0.0.0.0:8545").expect_err("refused").code, "rpc_not_loopback");
    }

    #[tokio::test]
    async fn other_machines_are_not_served_and_a_used_port_is_a_sentence() {
        let refused =
            serve("0.0.0.0:0".parse().expect("an address"), Methods::new(), "t", async {}).await;
        assert_eq!(refused.expect_err("refused").code, "rpc_not_loopback");
        let (server, _stop) = echo_server("secret").await;
        let refused = serve(server.address, Methods::new(), "t", async {}).await;
        assert_eq!(refused.expect_err("refused").code, "rpc_port_in_use");
    }
}
