//! Serves the three pages over HTTP, to GET and HEAD.
//!
//! # Security
//! Anyone who can reach the listener may connect, so everything is bounded: connections in all and
//! per address, size and time of a request's head, and the time of a connection. A connection
//! serves one request. At a limit, the oldest connection is closed, preferably one without a
//! request, so that unfinished requests never keep out Prometheus.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::Monitor;
/// Connections at once. Each may hold one page of metrics, about 100 kB: 32 × 100 kB = 3.2 MB.
const MAX_CONNECTIONS: usize = 32;

/// Connections of one address at once, so that one client cannot take all of them.
const MAX_FROM_ONE: usize = 8;

/// The largest head of a request, in bytes; Prometheus sends about 300.
const MAX_HEAD_BYTES: usize = 16 * 1_024;

/// The longest that a request's head may take to arrive.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The longest that a connection lasts. Prometheus closes it after 10 s.
const MAX_TIME: Duration = Duration::from_secs(15);

/// The pause after a failed accept; the usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Content type of `/metrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The answer of `/readyz` and `/metrics` while the chain is being opened.
const OPENING: &str = "starting: the chain is being opened\n";

/// The reason why the listener could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(
        "the metrics cannot be shown on {0}: the port is in use; give another with --metrics \
         IP:PORT"
    )]
    InUse(SocketAddr),
    #[error("the metrics cannot be shown on {address}: {cause}")]
    Bind { address: SocketAddr, cause: io::Error },
    /// The system does not report the bound address.
    #[error(transparent)]
    Address(io::Error),
}

/// Serves the pages until it is dropped, which closes all connections.
pub(crate) struct Listener {
    /// The address with the port that was bound.
    pub(crate) address: SocketAddr,
    shown: Shown,
    /// Ends the accept loop when it is dropped.
    _stop: oneshot::Sender<()>,
}

/// The node that the pages describe, once it has started.
type Shown = Arc<OnceLock<Monitor>>;

impl Listener {
    /// Binds the port and serves at once. A health check must not fail while the node opens or
    /// repairs a large chain.
    pub(crate) async fn start(address: SocketAddr) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(address).await.map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address),
            _ => ListenError::Bind { address, cause },
        })?;
        let address = listener.local_addr().map_err(ListenError::Address)?;
        let shown = Shown::default();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(accept(listener, pages(shown.clone()), async {
            let _ = stopped.await;
        }));
        Ok(Self { address, shown, _stop: stop })
    }

    /// Sets the node that the pages describe. A second call has no effect.
    pub(crate) fn show(&self, monitor: Monitor) {
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

async fn accept(listener: TcpListener, pages: Router, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut connections = JoinSet::new();
    let mut open = Open::default();
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let asked = Arc::<AtomicBool>::default();
                    let task = connections.spawn(answer(stream, pages.clone(), asked.clone()));
                    open.insert(Connection { task, from: from.ip(), asked });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection to the metrics was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// An open connection.
struct Connection {
    task: AbortHandle,
    from: IpAddr,
    /// True once a request has arrived.
    asked: Arc<AtomicBool>,
}

/// The open connections, the oldest first.
#[derive(Default)]
struct Open(VecDeque<Connection>);

impl Open {
    fn insert(&mut self, new: Connection) {
        self.0.retain(|connection| !connection.task.is_finished());
        let alike = self.0.iter().filter(|connection| connection.from == new.from).count();
        if alike >= MAX_FROM_ONE {
            self.end_one(|connection| connection.from == new.from);
        } else if self.0.len() >= MAX_CONNECTIONS {
            self.end_one(|_| true);
        }
        self.0.push_back(new);
    }

    /// Ends the oldest matching connection, preferably one without a request.
    fn end_one(&mut self, of: impl Fn(&Connection) -> bool) {
        let mute = |connection: &Connection| !connection.asked.load(Ordering::Relaxed);
        let oldest_mute = self.0.iter().position(|one| of(one) && mute(one));
        let oldest = oldest_mute.or_else(|| self.0.iter().position(&of));
        if let Some(connection) = oldest.and_then(|place| self.0.remove(place)) {
            connection.task.abort();
        }
    }
}

/// Serves one request on one connection.
async fn answer(stream: TcpStream, pages: Router, asked: Arc<AtomicBool>) {
    let pages = TowerToHyperService::new(pages);
    let pages = hyper::service::service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        pages.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), pages);
    match timeout(MAX_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the metrics broke off"),
        Err(_) => tracing::debug!("a connection to the metrics took too long"),
    }
}

async fn livez(State(shown): State<Shown>) -> Response {
    let live = match shown.get() {
        Some(monitor) => monitor.liveness().check().await,
        None => Ok(()),
    };
    text_page(live.map(|()| "alive\n"))
}

async fn readyz(State(shown): State<Shown>) -> Response {
    let ready = match shown.get() {
        Some(monitor) => monitor.check_ready().await,
        None => Err(OPENING.to_owned()),
    };
    text_page(ready.map(|()| "ready\n"))
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let page = match shown.get() {
        Some(monitor) => monitor.text().await,
        None => Err(OPENING.to_owned()),
    };
    match page {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(reasons) => text_page(Err(reasons)),
    }
}

/// Builds a page of text that no cache stores: status 200, or 503 with the reasons.
fn text_page(text: Result<&str, String>) -> Response {
    let fresh = [(header::CACHE_CONTROL, "no-store")];
    match text {
        Ok(text) => (fresh, text.to_owned()).into_response(),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, fresh, reasons).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
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
    async fn half_requests_keep_nobody_out() {
        let listener = Listener::start(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let mut halves = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(listener.address).await.expect("a connection");
            stream.write_all(b"GET /live").await.expect("sent");
            halves.push(stream);
        }
        let alive = timeout(HEAD_TIME / 5, ask(listener.address, "/livez")).await.expect("soon");
        assert!(alive.starts_with("HTTP/1.0 200"), "{alive}");
        let mut gone = 0;
        for half in &mut halves {
            let closed = timeout(Duration::from_millis(20), half.read(&mut [0; 1])).await;
            gone += usize::from(closed.is_ok());
        }
        assert!(halves.len() - gone < MAX_FROM_ONE, "{gone} of {} are closed", halves.len());
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
