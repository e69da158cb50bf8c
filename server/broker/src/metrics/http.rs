//! `GET /metrics`, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use heliostat_control::admin::{Reply, Request};
use hyper::body::Incoming as Body;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use crate::admin;
use crate::hub::ToHub;

/// Connections at once. One Prometheus needs one, for some milliseconds.
const MAX_CONNECTIONS: usize = 8;
/// A request has come by then.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer has been taken by then.
const LONGEST: Duration = Duration::from_secs(10);
/// What the format calls itself.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens, or says why not.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "metrics.listen: cannot listen on {address}/tcp: is the port taken, or is the address \
             not this machine's?"
        )
    })?;
    let address = listener.local_addr()?;
    info!("figures for Prometheus are at http://{address}/metrics");
    if !address.ip().is_loopback() {
        warn!("whoever reaches {address} may read who works where: metrics have no passwords");
    }
    Ok(listener)
}

/// Answers until it is aborted.
pub async fn serve(listener: TcpListener, hub: ToHub) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(problem) => {
                warn!(%problem, "metrics are not served at the moment");
                // Descriptors that ran out come back when connections end.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let hub = hub.clone();
        tokio::spawn(async move {
            let served = tokio::time::timeout(LONGEST, answer(stream, hub)).await;
            debug!(?served, "a reader of metrics was served");
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, hub: ToHub) -> hyper::Result<()> {
    let service = service_fn(|request| respond(request, hub.clone()));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn respond(
    request: hyper::Request<Body>,
    hub: ToHub,
) -> Result<Response<String>, Infallible> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match request.uri().path() {
        "/metrics" if is_read => match admin::ask(&hub, Request::Metrics, "").await {
            Reply::Metrics(text) => (StatusCode::OK, text),
            other => (StatusCode::SERVICE_UNAVAILABLE, failure(&other)),
        },
        "/metrics" => {
            let text = "metrics are only read: use GET\n".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, text)
        }
        _ => (StatusCode::NOT_FOUND, "only /metrics is here\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, FORMAT.parse().expect("a header's value"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, "GET, HEAD".parse().expect("a header's value"));
    }
    Ok(response)
}

fn failure(reply: &Reply) -> String {
    match reply {
        Reply::Failed(failure) => format!("{failure}\n"),
        _ => "the broker's answer is not metrics\n".to_owned(),
    }
}
