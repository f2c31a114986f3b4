//! Both transports over real sockets.

use std::io::Write as _;

use ::http::StatusCode;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;

use super::*;
use crate::clock;
use crate::service::foreign::testing::{Told, ask, ask_http2, pass};
use crate::service::{Pass, ServiceError};

const METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Two listeners on free ports, and a pass over both.
struct Running {
    receivers: Vec<Receiver<Decoder, Otlp>>,
    grpc: SocketAddr,
    http: SocketAddr,
    out: Pass,
}

fn receivers(config: &OtlpConfig) -> Vec<Receiver<Decoder, Otlp>> {
    let endpoint = Arc::new(Otlp::new(config));
    let receiver = |subject: &str| Receiver {
        component: Component::Otlp,
        subject: subject.to_owned(),
        address: config.grpc,
        option: "collector.otlp.grpc",
        bounds: Bounds {
            connections: 100,
            streams: 100,
        },
        source: Arc::clone(&endpoint.source),
        endpoint: Arc::clone(&endpoint),
        listening: None,
    };
    vec![receiver("otlp.grpc"), receiver("otlp.http")]
}

async fn start(change: impl FnOnce(&mut OtlpConfig)) -> Running {
    let mut config = OtlpConfig {
        grpc: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..OtlpConfig::default()
    };
    change(&mut config);
    let mut receivers = receivers(&config);
    let mut out = pass(clock::now().wall_us);
    for receiver in &mut receivers {
        receiver.pass(&mut out).await.expect("free ports");
    }
    let bound = |at: usize| {
        receivers[at]
            .listening
            .as_ref()
            .expect("it listens")
            .address
    };
    Running {
        grpc: bound(0),
        http: bound(1),
        receivers,
        out,
    }
}

impl Running {
    /// The values that a pass hands over.
    async fn values(&mut self) -> Vec<f64> {
        self.out.recorder.begin(clock::now().wall_us);
        self.receivers[1]
            .pass(&mut self.out)
            .await
            .expect("it listens already");
        let batches = std::mem::take(&mut self.out.batches);
        let samples = batches.iter().flat_map(|batch| &batch.samples);
        samples.map(|sample| sample.value).collect()
    }
}

/// A request with one gauge of these values, now.
fn message(values: &[f64]) -> Vec<u8> {
    let points = values
        .iter()
        .enumerate()
        .map(|(at, value)| NumberDataPoint {
            time_unix_nano: 0,
            ..number(0, *value, &[("at", &at.to_string())])
        });
    request(vec![gauge("level", points.collect())]).encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn grpc(message: &[u8], compressed: bool) -> Request<Full<Bytes>> {
    let message = if compressed {
        gzip(message)
    } else {
        message.to_vec()
    };
    let mut body = vec![u8::from(compressed)];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    frame(METHOD, body, compressed)
}

fn frame(path: &str, body: Vec<u8>, compressed: bool) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if compressed {
        request = request.header("grpc-encoding", "gzip");
    }
    request
        .body(Full::new(body.into()))
        .expect("a valid request")
}

fn post(path: &str, kind: &str, encoding: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", kind);
    if !encoding.is_empty() {
        request = request.header("content-encoding", encoding);
    }
    request
        .body(Full::new(body.into()))
        .expect("a valid request")
}

/// The status of an answer of gRPC, wherever it stands, and its message.
fn status((parts, _, trailers): &Told) -> (String, String) {
    assert_eq!(parts.status, StatusCode::OK);
    let found = |name: &str| {
        let value = parts.headers.get(name).or_else(|| trailers.get(name));
        value.map_or(String::new(), |value| {
            value.to_str().expect("text").to_owned()
        })
    };
    (found("grpc-status"), found("grpc-message"))
}

fn response(body: &[u8]) -> ExportMetricsServiceResponse {
    ExportMetricsServiceResponse::decode(body).expect("a response")
}

#[tokio::test]
async fn grpc_takes_metrics_plain_and_compressed() {
    let mut running = start(|_| {}).await;
    let requests = vec![grpc(&message(&[1.0]), false), grpc(&message(&[2.0]), true)];
    for told in ask_http2(running.grpc, requests).await {
        assert_eq!(status(&told), ("0".to_owned(), String::new()));
        assert_eq!(
            told.1.first_chunk(),
            Some(&[0, 0, 0, 0, 0]),
            "an empty response, framed"
        );
    }
    let mut values = running.values().await;
    values.sort_by(f64::total_cmp);
    assert_eq!(values, [1.0, 2.0]);
}

#[tokio::test]
async fn http_takes_metrics_plain_and_compressed() {
    let mut running = start(|_| {}).await;
    let protobuf = "application/x-protobuf";
    for (encoding, body) in [("", message(&[1.0])), ("gzip", gzip(&message(&[2.0])))] {
        let told = ask(running.http, post("/v1/metrics", protobuf, encoding, body)).await;
        assert_eq!(told.0.status, StatusCode::OK);
        assert_eq!(response(&told.1), ExportMetricsServiceResponse::default());
    }
    assert_eq!(running.values().await, [1.0, 2.0]);
}

#[tokio::test]
async fn grpc_refuses_what_it_cannot_take() {
    let mut running = start(|config| config.max_body_bytes = 10_000).await;
    let whole = message(&[1.0]);
    let mut two = vec![0, 0, 0, 0, 1, b'x'];
    two.extend_from_within(..);
    for (request, code) in [
        (grpc(b"\xff\xff", false), "3"),
        (grpc(&whole[..whole.len() - 1], false), "3"),
        (frame(METHOD, two, false), "3"),
        (frame(METHOD, vec![], false), "3"),
        (frame(METHOD, vec![1, 0, 0, 0, 0], false), "12"),
        (frame(METHOD, vec![1, 0, 0, 0, 1, 9], true), "3"),
        (
            frame(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                vec![],
                false,
            ),
            "12",
        ),
        (grpc(&[0; 20_000], false), "8"),
        (grpc(&vec![0; 100_000], true), "8"),
    ] {
        let told = ask_http2(running.grpc, vec![request]).await;
        let (found, words) = status(&told[0]);
        assert_eq!(found, code, "{words}");
        assert!(!words.is_empty());
    }
    assert_eq!(running.values().await, [] as [f64; 0]);
    let told: Vec<_> = running
        .out
        .events
        .iter()
        .map(|event| &event.message)
        .collect();
    assert_eq!(told.len(), 1, "once: {told:?}");
    assert!(told[0].contains("malformed"), "{told:?}");
}

#[tokio::test]
async fn http_refuses_what_it_cannot_take() {
    let running = start(|config| config.max_body_bytes = 10_000).await;
    let protobuf = "application/x-protobuf";
    let get = Request::get("/v1/metrics").header("host", "localhost");
    for (request, expected) in [
        (post("/v1/traces", protobuf, "", vec![]), 404),
        (
            post("/v1/metrics", "application/json", "", b"{}".to_vec()),
            415,
        ),
        (post("/v1/metrics", "text/plain", "", vec![]), 415),
        (post("/v1/metrics", protobuf, "br", vec![]), 415),
        (post("/v1/metrics", protobuf, "", vec![0xff]), 400),
        (post("/v1/metrics", protobuf, "gzip", vec![1, 2, 3]), 400),
        (post("/v1/metrics", protobuf, "", vec![0; 20_000]), 413),
        (
            post("/v1/metrics", protobuf, "gzip", gzip(&[0; 100_000])),
            413,
        ),
        (get.body(Full::default()).expect("valid"), 405),
    ] {
        let told = ask(running.http, request).await;
        assert_eq!(told.0.status.as_u16(), expected);
    }
}

#[tokio::test]
async fn a_full_buffer_puts_senders_off_and_takes_nothing() {
    let mut running = start(|config| config.max_queued = 3).await;
    let protobuf = "application/x-protobuf";
    let values = |values: &[f64]| post("/v1/metrics", protobuf, "", message(values));
    let told = ask(running.http, values(&[1.0, 2.0])).await;
    assert_eq!(told.0.status, StatusCode::OK);
    let told = ask(running.http, values(&[3.0, 4.0])).await;
    assert_eq!(told.0.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(told.0.headers.contains_key("retry-after"));
    let told = ask_http2(running.grpc, vec![grpc(&message(&[3.0, 4.0]), false)]).await;
    assert_eq!(status(&told[0]).0, "14");
    assert_eq!(running.values().await, [1.0, 2.0], "nothing half taken");
    let told = ask(running.http, values(&[3.0, 4.0])).await;
    assert_eq!(told.0.status, StatusCode::OK, "there is room again");
    assert_eq!(running.values().await, [3.0, 4.0]);
    let told = ask(running.http, values(&[1.0; 4])).await;
    assert_eq!(told.0.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn rejected_points_are_named_in_the_answer() {
    let mut running = start(|config| config.max_series = 2).await;
    let told = ask_http2(running.grpc, vec![grpc(&message(&[1.0, 2.0, 3.0]), false)]).await;
    assert_eq!(status(&told[0]).0, "0");
    let partial = response(&told[0].1[5..]).partial_success.expect("partial");
    assert_eq!(partial.rejected_data_points, 1);
    assert!(
        partial.error_message.contains("max_series"),
        "{}",
        partial.error_message
    );
    assert_eq!(running.values().await, [1.0, 2.0]);
    let told = &running.out.events[0].message;
    assert!(told.contains("1 samples of otlp were not taken"), "{told}");
}

#[tokio::test]
async fn many_clients_at_once_lose_nothing() {
    let mut running = start(|config| config.max_requests = 1_000).await;
    let address = running.grpc;
    let clients = (0..20).map(|client| async move {
        let requests = (0..10).map(|at| grpc(&message(&[f64::from(client * 10 + at)]), true));
        ask_http2(address, requests.collect()).await
    });
    for told in futures::future::join_all(clients).await.iter().flatten() {
        assert_eq!(status(told).0, "0");
    }
    let mut values = running.values().await;
    values.sort_by(f64::total_cmp);
    let expected: Vec<f64> = (0..200).map(f64::from).collect();
    assert_eq!(values, expected);
}

#[tokio::test]
async fn requests_beyond_the_bound_are_put_off() {
    let running = start(|config| config.max_requests = 1).await;
    let busy = running.receivers[0].source.admit().expect("nobody asks");
    let told = ask_http2(running.grpc, vec![grpc(&message(&[1.0]), false)]).await;
    assert_eq!(status(&told[0]).0, "14");
    drop(busy);
    let told = ask_http2(running.grpc, vec![grpc(&message(&[1.0]), false)]).await;
    assert_eq!(status(&told[0]).0, "0");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_tried_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let config = OtlpConfig {
        grpc: address,
        ..OtlpConfig::default()
    };
    let mut receiver = receivers(&config).swap_remove(0);
    let mut out = pass(clock::now().wall_us);
    let error = receiver.pass(&mut out).await.expect_err("it is taken");
    assert!(matches!(error, ServiceError::Refused { .. }));
    let words = error.to_string();
    for expected in [
        &address.to_string(),
        "another process",
        "collector.otlp.grpc",
    ] {
        assert!(words.contains(expected), "{words}");
    }
    drop(taken);
    receiver.pass(&mut out).await.expect("it is free now");
    let listening = receiver.listening.expect("it listens");
    assert_eq!(listening.address, address);
}
