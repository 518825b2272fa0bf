//! The listener: GET and HEAD of three pages, for whoever can reach it, friend or not.
//!
//! So everything is bounded: how many are served at once, the bytes and the time of a request's head, and how long its
//! reader may take. A connection bears one request. Whoever comes beyond that waits in the system's queue.

use std::{collections::HashMap, io, net::SocketAddr, time::Duration};

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
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::Monitor;
use crate::node::rpc::RpcError;

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

/// A port that is taken, and not yet served.
#[derive(Debug)]
pub(in crate::node) struct Listener {
    listener: TcpListener,
    /// Where, the port chosen.
    pub(in crate::node) address: SocketAddr,
}

impl Listener {
    /// Takes the port.
    pub(in crate::node) async fn bind(address: SocketAddr) -> Result<Self, RpcError> {
        let listener = TcpListener::bind(address).await.map_err(|cause| bind_error(address, &cause))?;
        let address = listener.local_addr().map_err(RpcError::internal)?;
        Ok(Self { listener, address })
    }

    /// Answers until `stop` is done, which cuts off whoever is still being answered.
    pub(in crate::node) fn serve(
        self,
        monitor: Monitor,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let pages = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(monitor);
        tokio::spawn(accept(self.listener, pages, stop))
    }
}

fn bind_error(address: SocketAddr, cause: &io::Error) -> RpcError {
    match cause.kind() {
        io::ErrorKind::AddrInUse => RpcError::new(
            "metrics_port_in_use",
            format!(
                "the metrics cannot be shown on {address}: the port is in use; give another with --metrics IP:PORT"
            ),
        ),
        _ => RpcError::new("metrics_bind", format!("the metrics cannot be shown on {address}: {cause}")),
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

async fn livez(State(monitor): State<Monitor>) -> Response {
    spoken(monitor.live().await.map(|()| "alive\n"))
}

async fn readyz(State(monitor): State<Monitor>) -> Response {
    spoken(monitor.ready().await.map(|()| "ready\n"))
}

async fn metrics(State(monitor): State<Monitor>) -> Response {
    match monitor.text().await {
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
