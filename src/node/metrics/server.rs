//! The listener: GET and HEAD of three pages, for whoever can reach it, friend or not.
//!
//! So everything is bounded: how many are served at once, the bytes and the time of a request's
//! head, and how long its reader may take. A connection bears one request. Whoever comes beyond
//! that waits in the system's queue.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Monitor;
use crate::rpc::RpcError;

/// Connections that are served at once: each may hold one page of metrics, some 100 kB.
const MAX_CONNECTIONS: usize = 32;

/// And for one address: whoever holds more open keeps nobody else waiting.
const MAX_FROM_ONE: usize = 8;

/// Bytes of a request's head; Prometheus sends about 300.
const MAX_HEAD_BYTES: usize = 16 * 1_024;

/// How long a request's head may take to come.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a connection lasts at most; Prometheus gives up after 10 s.
const MAX_TIME: Duration = Duration::from_secs(15);

/// After a connection could not be taken, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What `/metrics` is.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `/readyz` and `/metrics` say before there is a node to look at.
const OPENING: &str = "starting: the chain is being opened\n";

/// The pages, shown until this is dropped, which cuts off whoever is still being answered.
pub(in crate::node) struct Listener {
    /// Where, the port chosen.
    pub(in crate::node) address: SocketAddr,
    shown: Shown,
    /// Dropped, it ends the listener.
    _stop: oneshot::Sender<()>,
}

/// The node that the pages are about, once there is one.
type Shown = Arc<OnceLock<Monitor>>;

impl Listener {
    /// Takes the port, and answers at once: whoever watches must not take a node for dead that
    /// opens a large chain, or mends it.
    pub(in crate::node) async fn start(address: SocketAddr) -> Result<Self, RpcError> {
        let listener =
            TcpListener::bind(address).await.map_err(|cause| bind_error(address, &cause))?;
        let address = listener.local_addr().map_err(RpcError::internal)?;
        let shown = Shown::default();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(accept(listener, pages(shown.clone()), async {
            let _ = stopped.await;
        }));
        Ok(Self { address, shown, _stop: stop })
    }

    /// Shows this node from now on. The first stays.
    pub(in crate::node) fn show(&self, monitor: Monitor) {
        let _ = self.shown.set(monitor);
    }
}

fn pages(shown: Shown) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shown)
}

fn bind_error(address: SocketAddr, cause: &io::Error) -> RpcError {
    match cause.kind() {
        io::ErrorKind::AddrInUse => RpcError::new(
            "metrics_port_in_use",
            format!(
                "the metrics cannot be shown on {address}: the port is in use; give another with \
                 --metrics IP:PORT"
            ),
        ),
        _ => RpcError::new(
            "metrics_bind",
            format!("the metrics cannot be shown on {address}: {cause}"),
        ),
    }
}

async fn accept(listener: TcpListener, pages: Router, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut connections = JoinSet::new();
    // Of each connection that lasts, whose it is.
    let mut open = HashMap::new();
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = connections.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                open.remove(&id);
            }
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, from)) => {
                    let from = from.ip();
                    if open.values().filter(|of| **of == from).count() < MAX_FROM_ONE {
                        open.insert(connections.spawn(answer(stream, pages.clone())).id(), from);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection to the metrics was not taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// One connection, one request.
async fn answer(stream: TcpStream, pages: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    match timeout(MAX_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the metrics broke off"),
        Err(_) => tracing::debug!("a connection to the metrics took too long"),
    }
}

async fn livez(State(shown): State<Shown>) -> Response {
    let lives = match shown.get() {
        Some(monitor) => monitor.live().await,
        None => Ok(()),
    };
    spoken(lives.map(|()| "alive\n"))
}

async fn readyz(State(shown): State<Shown>) -> Response {
    let ready = match shown.get() {
        Some(monitor) => monitor.ready().await,
        None => Err(OPENING.to_owned()),
    };
    spoken(ready.map(|()| "ready\n"))
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let page = match shown.get() {
        Some(monitor) => monitor.text().await,
        None => Err(OPENING.to_owned()),
    };
    match page {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(reasons) => spoken(Err(reasons)),
    }
}

/// A sentence as a page, which nobody keeps.
fn spoken(said: Result<&str, String>) -> Response {
    let fresh = [(header::CACHE_CONTROL, "no-store")];
    match said {
        Ok(said) => (fresh, said.to_owned()).into_response(),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, fresh, reasons).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn a_node_that_opens_its_chain_is_alive_and_not_ready() {
        let listener = Listener::start(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let alive = ask(listener.address, "/livez").await;
        assert!(alive.starts_with("HTTP/1.0 200") && alive.ends_with("\r\n\r\nalive\n"), "{alive}");
        for path in ["/readyz", "/metrics"] {
            let page = ask(listener.address, path).await;
            assert!(page.starts_with("HTTP/1.0 503") && page.ends_with(OPENING), "{page}");
        }
    }

    #[tokio::test]
    async fn nobody_listens_where_a_node_did_not_start() {
        let listener = Listener::start(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let address = listener.address;
        drop(listener);
        let free = async {
            while Listener::start(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(MAX_TIME, free).await.expect("the port is free");
    }
}
