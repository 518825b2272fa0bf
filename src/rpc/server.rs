//! The HTTP server offers JSON-RPC on loopback to clients that hold a token.
//!
//! # Security
//!
//! The server rejects a request before reading its body unless both headers are right:
//!
//! - `Host` is this machine. A web page that uses DNS rebinding sends another name.
//! - `Authorization` holds the token of the data folder. The comparison takes constant time.
//!
//! A connection carries one request. The module `places` limits connections and calls, so that
//! neither unfinished requests nor waiting consoles keep out a command.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{self, Body, HttpBody as _},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::{
    server::{
        BatchRequestConfig, HttpBody, Methods, ServerConfig, middleware::http::HostFilterLayer,
        stop_channel,
    },
    types::ErrorObjectOwned,
};
use serde_json::value::RawValue;
use subtle::ConstantTimeEq;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tower::{BoxError, Layer as _, ServiceExt as _, util::BoxCloneSyncService};
use zeroize::Zeroizing;

use super::{
    RpcError,
    places::{CallPlaces, Full, MAX_POLLS, Place, Places, Stage, Times, classify},
};

/// The largest request, 1 MiB. The largest useful ones are far below: a send with a memo has under
/// 4 kB, an invite under 16 kB.
pub(crate) const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// The largest head of a request, in bytes. This program's own heads have about 250.
const MAX_HEAD_BYTES: usize = 16 * 1_024;

/// The largest reply, 128 MiB. It has room for a page of `print_chain`: 8 MiB of blocks and one
/// block more, as JSON.
pub(crate) const MAX_RESPONSE_BYTES: u32 = 128 << 20;

/// A limit for jsonrpsee's own count of calls, too high to be reached. The default of 100 would
/// refuse commands while consoles wait.
const UNUSED_LIMIT: u32 = 1 << 16;

/// The most calls in one batch.
const MAX_BATCH: u32 = 32;

/// The time that unfinished replies get when the node shuts down. Later ones are cut off.
const DRAIN: Duration = Duration::from_secs(2);

/// The pause after a failed accept; the usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The number of checks for slow connections within the shortest time that one gets.
const CHECKS: u32 = 10;

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
    serve_with(address, methods.into(), token, Times::NODE, shutdown).await
}

async fn serve_with(
    address: SocketAddr,
    methods: Methods,
    token: &str,
    times: Times,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<RpcServer, RpcError> {
    check_rpc(address)?;
    let listener = TcpListener::bind(address).await.map_err(|cause| bind_error(address, &cause))?;
    let address = listener.local_addr().map_err(RpcError::internal)?;
    let door = Arc::new(Door {
        token: Zeroizing::new(token.to_owned()),
        hosts: hosts_here(address.ip())?,
        calls: CallPlaces::new(&times),
        methods: service(methods),
    });
    let task = tokio::spawn(accept(listener, door, times, shutdown));
    Ok(RpcServer { address, task })
}

/// Serves connections until the shutdown, and then finishes the replies in progress.
async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    times: Times,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let places = Places::new(times);
    let mut connections = JoinSet::new();
    let mut check = interval(times.head.min(times.body).checked_div(CHECKS).unwrap_or(DRAIN));
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = check.tick() => places.expire(Instant::now()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let place = Arc::new(places.open(Instant::now()));
                    connections.spawn(answer(stream, door.clone(), place));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection to the RPC was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    places.end_requests();
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::debug!("answers under way were cut off");
    }
    connections.shutdown().await;
}

/// Serves one request on one connection, while the connection has its place.
async fn answer(stream: TcpStream, door: Arc<Door>, place: Arc<Place>) {
    let requests = service_fn(|request: Request<hyper::body::Incoming>| {
        let (door, place) = (door.clone(), place.clone());
        async move { Ok::<_, Infallible>(door.guard(request.map(Body::new), place).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The place has a deadline instead.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), requests);
    tokio::select! {
        served = connection => if let Err(error) = served {
            tracing::debug!(%error, "a connection to the RPC broke off");
        },
        () = place.ended() => tracing::debug!("a connection to the RPC was too slow, or too many"),
    }
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

/// The methods as a service over HTTP.
type MethodService = BoxCloneSyncService<Request, Response<HttpBody>, BoxError>;

fn service(methods: Methods) -> MethodService {
    let config = ServerConfig::builder()
        .http_only()
        .max_connections(UNUSED_LIMIT)
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .build();
    let (stop_handle, server_handle) = stop_channel();
    let service = jsonrpsee::server::Server::builder().set_config(config).to_service_builder();
    let service = service.build(methods, stop_handle);
    BoxCloneSyncService::new(tower::service_fn(move |request: Request| {
        let mut service = service.clone();
        // The service ends when the last handle is dropped, so each request keeps one.
        let alive = server_handle.clone();
        async move {
            let answer = tower::Service::call(&mut service, request).await;
            drop(alive);
            answer
        }
    }))
}

/// Returns a layer that rejects requests whose `Host` is not this machine. A web page that uses DNS
/// rebinding sends its own host name.
fn hosts_here(ip: IpAddr) -> Result<HostFilterLayer, RpcError> {
    let bound = SocketAddr::new(ip, 0).to_string().replace(":0", ":*");
    let loopback = ["localhost:*", "127.0.0.1:*", "[::1]:*"].map(str::to_owned);
    HostFilterLayer::new(loopback.into_iter().chain([bound])).map_err(RpcError::internal)
}

/// Everything between a request and the methods.
struct Door {
    token: Zeroizing<String>,
    hosts: HostFilterLayer,
    calls: CallPlaces,
    methods: MethodService,
}

impl Door {
    /// Rejects a request without the right token with status 401, and answers any other.
    async fn guard(self: Arc<Self>, request: Request, place: Arc<Place>) -> Response {
        if !token_fits(request.headers(), &self.token) {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (
                StatusCode::UNAUTHORIZED,
                challenge,
                "the token is in the data folder: rpc.token\n",
            )
                .into_response();
        }
        if request.uri().path() != "/" {
            return StatusCode::NOT_FOUND.into_response();
        }
        let filter = self.hosts.clone();
        let at = place.clone();
        let inner = tower::service_fn(move |request| self.clone().call(request, at.clone()));
        let answer = match filter.layer(inner).oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(cause) => {
                tracing::debug!(%cause, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        };
        place.enter(Stage::Sending, Instant::now());
        answer
    }

    /// Reads the body of a request, and calls its methods once they have a place.
    async fn call(
        self: Arc<Self>,
        request: Request,
        place: Arc<Place>,
    ) -> Result<Response<HttpBody>, BoxError> {
        place.enter(Stage::Reading, Instant::now());
        let most = usize::try_from(MAX_REQUEST_BYTES).unwrap_or(usize::MAX);
        let (parts, content) = request.into_parts();
        if content.size_hint().lower() > u64::from(MAX_REQUEST_BYTES) {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, String::new());
        }
        let Ok(content) = body::to_bytes(content, most).await else {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, String::new());
        };
        place.enter(Stage::Working, Instant::now());
        let (class, id) = classify(&content);
        let _permit = match self.calls.take(class).await {
            Ok(permit) => permit,
            Err(full) => return refuse(StatusCode::OK, refusal(full, id.as_deref())?),
        };
        let request = Request::from_parts(parts, Body::from(content));
        self.methods.clone().oneshot(request).await
    }
}

fn refuse(status: StatusCode, text: String) -> Result<Response<HttpBody>, BoxError> {
    let answer = Response::builder().status(status);
    let answer = answer.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    Ok(answer.body(HttpBody::from(text))?)
}

/// Returns the JSON-RPC reply to a call that gets no place.
fn refusal(full: Full, id: Option<&RawValue>) -> Result<String, BoxError> {
    let error = match full {
        Full::Polls => RpcError::new(
            "too_many_consoles",
            format!("{MAX_POLLS} consoles wait for events already: end one of them"),
        ),
        Full::Calls => RpcError::new(
            "busy",
            "the node answers as many commands as it can: wait until some of them have ended",
        ),
    };
    let error = serde_json::to_string(&ErrorObjectOwned::from(error))?;
    let id = id.map_or("null", RawValue::get);
    Ok(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}

fn token_fits(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(shown) = shown.and_then(|text| text.strip_prefix("Bearer ")) else { return false };
    !token.is_empty() && bool::from(shown.as_bytes().ct_eq(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use jsonrpsee::{RpcModule, core::client::ClientT, rpc_params};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
    };

    use super::*;
    use crate::rpc::{
        Client,
        places::{MAX_LONG_CALLS, MAX_READING, MAX_UNPROVEN},
    };

    /// Number of unfinished requests that a test opens at once, as in an attack that was observed.
    const HALF_REQUESTS: usize = 400;

    const WITH_TOKEN: &str = "Host: localhost\r\nAuthorization: Bearer secret\r\n";

    async fn echo_server(token: &str) -> (RpcServer, oneshot::Sender<()>) {
        server_with(token, Times::NODE).await
    }

    async fn server_with(token: &str, times: Times) -> (RpcServer, oneshot::Sender<()>) {
        let mut module = RpcModule::new(());
        for lasting in ["events", "mine"] {
            module
                .register_async_method(lasting, |_, _, _| std::future::pending::<String>())
                .expect("a new name");
        }
        module.register_method("stop", |_, (), _| "stopping").expect("a new name");
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
        let server = serve_with(address, module.into(), token, times, shutdown).await;
        (server.expect("a server"), stop)
    }

    /// Opens a connection and sends a part of a request.
    async fn begin(address: SocketAddr, part: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(part.as_bytes()).await.expect("sent");
        stream
    }

    /// Completes when the server has closed the connection.
    async fn closed(mut stream: TcpStream) {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    /// Returns the number of connections that the server keeps open for the whole `time`.
    async fn kept(streams: Vec<TcpStream>, time: Duration) -> usize {
        let all = streams.into_iter().map(|stream| timeout(time, closed(stream)));
        join_all(all).await.iter().filter(|ended| ended.is_err()).count()
    }

    /// Makes `count` calls that take long, and waits until the server has all of them.
    async fn lasting(address: SocketAddr, method: &str, count: usize) -> Vec<TcpStream> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        let request = format!(
            "POST / HTTP/1.1\r\n{WITH_TOKEN}Content-Type: application/json\r\nContent-Length: \
             {}\r\n\r\n{body}",
            body.len()
        );
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(begin(address, &request).await);
        }
        sleep(Duration::from_millis(200)).await;
        streams
    }

    /// Checks that a command and `stop` are answered at once.
    async fn commands_are_answered(address: SocketAddr) {
        let client = Client::http(address, "secret").expect("a client");
        let soon = Duration::from_secs(2);
        let echo = timeout(soon, client.request::<String, _>("echo", rpc_params!["hi"])).await;
        assert_eq!(echo.expect("at once").expect("an answer"), "hi");
        let stop = timeout(soon, client.request::<String, _>("stop", rpc_params![])).await;
        assert_eq!(stop.expect("at once").expect("an answer"), "stopping");
    }

    #[tokio::test]
    async fn half_requests_are_few_and_short_and_keep_no_command_out() {
        let times = Times { head: Duration::from_secs(1), ..Times::NODE };
        let (server, _stop) = server_with("secret", times).await;
        let mut halves = Vec::new();
        for number in 0..HALF_REQUESTS {
            let part = if number % 2 == 0 { "" } else { "POST / HTTP/1.1\r\nHost: loc" };
            halves.push(begin(server.address, part).await);
        }
        commands_are_answered(server.address).await;
        let early = halves.drain(..HALF_REQUESTS - MAX_UNPROVEN).collect();
        assert_eq!(kept(early, times.head / 2).await, 0, "the oldest made room");
        assert_eq!(kept(halves, times.head * 2).await, 0, "the rest was too slow");
    }

    #[tokio::test]
    async fn half_bodies_are_few_and_short_though_the_token_fits() {
        let times = Times { body: Duration::from_secs(1), ..Times::NODE };
        let (server, _stop) = server_with("secret", times).await;
        let part = format!("POST / HTTP/1.1\r\n{WITH_TOKEN}Content-Length: 100\r\n\r\n{{");
        let mut halves = Vec::new();
        for _ in 0..HALF_REQUESTS / 4 {
            halves.push(begin(server.address, &part).await);
        }
        commands_are_answered(server.address).await;
        assert!(kept(halves, times.body / 2).await <= MAX_READING, "the oldest made room");
        let slow = vec![begin(server.address, &part).await];
        assert_eq!(kept(slow, times.body * 2).await, 0);
    }

    #[tokio::test]
    async fn waiting_consoles_and_long_commands_keep_no_command_out() {
        let (server, _stop) = server_with("secret", Times::NODE).await;
        let consoles = lasting(server.address, "events", MAX_POLLS).await;
        let _miners = lasting(server.address, "mine", MAX_LONG_CALLS).await;
        commands_are_answered(server.address).await;
        let client = Client::http(server.address, "secret").expect("a client");
        let one_more = client.request::<String, _>("events", rpc_params![]).await;
        assert_eq!(RpcError::from(one_more.expect_err("refused")).code, "too_many_consoles");
        drop(consoles);
        sleep(Duration::from_millis(200)).await;
        let waiting = client.request::<String, _>("events", rpc_params![]);
        assert!(timeout(Duration::from_millis(200), waiting).await.is_err(), "it has a place");
    }

    #[tokio::test]
    async fn half_requests_do_not_delay_the_end() {
        let (server, stop) = server_with("secret", Times::NODE).await;
        let _half = begin(server.address, "POST").await;
        sleep(Duration::from_millis(50)).await;
        stop.send(()).expect("the server listens");
        timeout(DRAIN / 2, server.task).await.expect("at once").expect("it ends");
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_unread() {
        let (server, _stop) = server_with("secret", Times::NODE).await;
        let head = format!(
            "POST / HTTP/1.1\r\n{WITH_TOKEN}Content-Length: {}\r\n\r\n",
            u64::from(MAX_REQUEST_BYTES) + 1
        );
        let mut stream = begin(server.address, &head).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
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
