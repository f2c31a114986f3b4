//! What the tests of scrapes and receivers share.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use driftline_schemas::SampleBatch;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use super::Limits;
use super::intake::Intake;
use crate::recorder::Recorder;
use crate::service::Pass;
use crate::service::run::Meter;

/// The time at which tests without a clock take requests.
pub(crate) const NOW_US: i64 = 1_790_000_000_000_000;

/// Bounds that no test reaches by chance.
pub(crate) fn limits() -> Limits {
    Limits {
        max_series: 1_000,
        max_queued: 10_000,
        max_age: Duration::from_secs(7 * 24 * 3_600),
        max_ahead: Duration::from_secs(600),
        forget_after: Duration::from_secs(900),
    }
}

/// A pass at a time.
pub(crate) fn pass(ts_us: i64) -> Pass {
    let mut recorder = Recorder::new();
    recorder.begin(ts_us);
    Pass {
        recorder,
        batches: Vec::new(),
        events: Vec::new(),
        meter: Meter::default(),
    }
}

/// Metric, labels, time after [`NOW_US`] and value of each sample, sorted.
pub(crate) fn rows(batches: &[SampleBatch]) -> Vec<(String, String, i64, f64)> {
    let rows = batches.iter().flat_map(|batch| {
        batch.samples.iter().map(|sample| {
            let series = &batch.series[sample.series as usize];
            let name = series.metric.view().expect("its own definition").name;
            let labels = series.labels.as_str().to_owned();
            (name.to_owned(), labels, sample.ts_us - NOW_US, sample.value)
        })
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| (&a.0, &a.1, a.2).cmp(&(&b.0, &b.1, b.2)));
    rows
}

/// What was taken, as rows.
pub(crate) fn taken(intake: &mut Intake) -> Vec<(String, String, i64, f64)> {
    rows(&intake.take(NOW_US))
}

/// An answer: its head, its body and its trailers.
pub(crate) type Told = (http::response::Parts, Bytes, http::HeaderMap);

async fn told(response: Response<Incoming>) -> Told {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.expect("a whole body");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    (parts, collected.to_bytes(), trailers)
}

/// One request over HTTP/1.1.
pub(crate) async fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Told {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("HTTP/1.1");
    drop(tokio::spawn(connection));
    told(sender.send_request(request).await.expect("an answer")).await
}

/// Requests over one connection of HTTP/2, all at once; the answers in their order.
pub(crate) async fn ask_http2(
    address: SocketAddr,
    requests: Vec<Request<Full<Bytes>>>,
) -> Vec<Told> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2");
    drop(tokio::spawn(connection));
    let asked = requests.into_iter().map(|request| {
        let mut sender = sender.clone();
        async move { told(sender.send_request(request).await.expect("an answer")).await }
    });
    futures::future::join_all(asked).await
}

/// A server of HTTP/1.1 that answers as told, for as long as the runtime lives.
pub(crate) async fn serve<F>(answer: F) -> SocketAddr
where
    F: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let response = answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let io = TokioIo::new(stream);
            let connection = hyper::server::conn::http1::Builder::new();
            drop(tokio::spawn(connection.serve_connection(io, service)));
        }
    }));
    address
}
