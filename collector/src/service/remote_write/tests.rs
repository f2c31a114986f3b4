//! Remote write as senders meet it: both versions, over a real socket, and what is refused.

use driftline_schemas::metric::MetricKind;
use http_body_util::Full;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::clock;
use crate::service::Pass;
use crate::service::foreign::Reason;
use crate::service::foreign::intake::Intake;
use crate::service::foreign::testing::{NOW_US, ask, limits, pass, taken};

/// `prometheus.WriteRequest` and its parts.
mod v1 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(super) metadata: Vec<Metadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(super) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<Sample>,
        #[prost(bytes, repeated, tag = "4")]
        pub(super) histograms: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(double, tag = "1")]
        pub(super) value: f64,
        #[prost(int64, tag = "2")]
        pub(super) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(string, tag = "2")]
        pub(super) name: String,
        #[prost(string, tag = "5")]
        pub(super) unit: String,
    }
}

/// `io.prometheus.write.v2.Request` and its parts.
mod v2 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(string, repeated, tag = "4")]
        pub(super) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(super) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub(super) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(super) samples: Vec<super::v1::Sample>,
        #[prost(message, optional, tag = "5")]
        pub(super) metadata: Option<Metadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(super) kind: i32,
        #[prost(uint32, tag = "4")]
        pub(super) unit_ref: u32,
    }
}

const NOW_MS: i64 = NOW_US / 1_000;

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> v1::TimeSeries {
    let label = |(name, value): &(&str, &str)| v1::Label {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    let sample = |(timestamp, value): &(i64, f64)| v1::Sample {
        value: *value,
        timestamp: *timestamp,
    };
    v1::TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples.iter().map(sample).collect(),
        histograms: Vec::new(),
    }
}

fn write(timeseries: Vec<v1::TimeSeries>) -> Vec<u8> {
    let metadata = Vec::new();
    v1::WriteRequest {
        timeseries,
        metadata,
    }
    .encode_to_vec()
}

fn metadata(name: &str, kind: i32, unit: &str) -> Vec<u8> {
    let metadata = v1::Metadata {
        kind,
        name: name.to_owned(),
        unit: unit.to_owned(),
    };
    let timeseries = Vec::new();
    v1::WriteRequest {
        timeseries,
        metadata: vec![metadata],
    }
    .encode_to_vec()
}

/// A receiver without a network.
struct Taker {
    decoder: Decoder,
    intake: Intake,
}

impl Taker {
    fn new() -> Self {
        Self {
            decoder: Decoder::default(),
            intake: Intake::new(limits()),
        }
    }

    fn take(&mut self, version: Version, bytes: &[u8]) -> Result<Outcome, Refusal> {
        self.intake.begin(NOW_US, bytes.len());
        let outcome = match version {
            Version::One => self.decoder.v1(bytes, &mut self.intake),
            Version::Two => self.decoder.v2(bytes, &mut self.intake),
        };
        match outcome {
            Ok(()) => Ok(self.intake.commit()),
            Err(refusal) => {
                self.intake.roll_back(&refusal);
                Err(refusal)
            }
        }
    }
}

fn row(metric: &str, labels: &str, after_us: i64, value: f64) -> (String, String, i64, f64) {
    (metric.to_owned(), labels.to_owned(), after_us, value)
}

/// The mark of Prometheus that a series has ended.
const STALE: u64 = 0x7ff0_0000_0000_0002;

#[test]
fn samples_keep_their_times_in_any_order_and_stale_marks_are_none() {
    let mut taker = Taker::new();
    let stale = f64::from_bits(STALE);
    let labels = [("__name__", "up"), ("job", "node"), ("empty", "")];
    let samples = [(NOW_MS, 1.0), (NOW_MS - 5, 0.0), (NOW_MS - 3, stale)];
    let bytes = write(vec![series(&labels, &samples)]);
    for _ in 0..2 {
        taker.take(Version::One, &bytes).expect("well formed");
        assert_eq!(
            taken(&mut taker.intake),
            [
                row("up", "job=node", -5_000, 0.0),
                row("up", "job=node", 0, 1.0)
            ]
        );
    }
}

#[test]
fn metadata_says_what_a_metric_is() {
    let mut taker = Taker::new();
    let bytes = write(vec![series(
        &[("__name__", "queue_count")],
        &[(NOW_MS, 1.0)],
    )]);
    let kind = |taker: &mut Taker| {
        taker.take(Version::One, &bytes).expect("well formed");
        let batches = taker.intake.take(NOW_US);
        let view = batches[0].series[0]
            .metric
            .view()
            .expect("its own definition");
        (view.kind, view.unit.to_owned())
    };
    assert_eq!(
        kind(&mut taker),
        (MetricKind::Counter, "1".to_owned()),
        "by its name"
    );
    let gauge = metadata("queue_count", 2, "bytes");
    taker.take(Version::One, &gauge).expect("well formed");
    assert_eq!(
        kind(&mut taker),
        (MetricKind::Gauge, "By".to_owned()),
        "by its metadata"
    );
}

fn request_v2() -> v2::Request {
    let symbols = [
        "",
        "__name__",
        "latency_seconds_total",
        "job",
        "node",
        "seconds",
    ];
    let sample = v1::Sample {
        value: 2.5,
        timestamp: NOW_MS,
    };
    let one = v2::TimeSeries {
        labels_refs: vec![1, 2, 3, 4],
        samples: vec![sample],
        metadata: Some(v2::Metadata {
            kind: 1,
            unit_ref: 5,
        }),
    };
    v2::Request {
        symbols: symbols.map(str::to_owned).to_vec(),
        timeseries: vec![one],
    }
}

#[test]
fn version_2_is_read_with_its_symbols() {
    let mut taker = Taker::new();
    let bytes = request_v2().encode_to_vec();
    for _ in 0..2 {
        taker.take(Version::Two, &bytes).expect("well formed");
        let batches = taker.intake.take(NOW_US);
        let series = &batches[0].series[0];
        let view = series.metric.view().expect("its own definition");
        assert_eq!((view.name, view.unit), ("latency_seconds_total", "s"));
        assert_eq!(view.kind, MetricKind::Counter);
        assert_eq!(series.labels.as_str(), "job=node");
        assert_eq!(batches[0].samples[0].value, 2.5);
    }
    for refs in [vec![1, 2, 3], vec![1, 99]] {
        let mut bad = request_v2();
        bad.timeseries[0].labels_refs = refs;
        let refused = taker.take(Version::Two, &bad.encode_to_vec());
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
    }
}

#[test]
fn what_cannot_be_kept_is_counted_by_its_reason() {
    let mut taker = Taker::new();
    let named = [("__name__", "a")];
    let mut histogram = series(&named, &[]);
    histogram.histograms.push(vec![]);
    let old = NOW_MS - 8 * 24 * 3_600 * 1_000;
    for (bad, reason) in [
        (series(&[("job", "x")], &[(NOW_MS, 1.0)]), Reason::BadName),
        (series(&named, &[(old, 1.0)]), Reason::TimeOutOfRange),
        (series(&named, &[(i64::MAX, 1.0)]), Reason::TimeOutOfRange),
        (histogram, Reason::Unsupported),
    ] {
        let bytes = write(vec![bad, series(&named, &[(NOW_MS, 1.0)])]);
        let outcome = taker.take(Version::One, &bytes).expect("well formed");
        assert_eq!((outcome.samples, outcome.rejected), (1, 1), "{reason:?}");
        assert_eq!(outcome.reason, Some(reason));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_crash_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut taker = Taker::new();
        // Whether it is taken or refused, it is one of both.
        drop(taker.take(Version::One, &bytes));
        drop(taker.take(Version::Two, &bytes));
    }

    #[test]
    fn no_damage_to_a_message_crashes_it(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let labels = [("__name__", "up"), ("job", "node")];
        let mut taker = Taker::new();
        let one = write(vec![series(&labels, &[(NOW_MS, 1.0)])]);
        for (version, mut bytes) in [
            (Version::One, one),
            (Version::Two, request_v2().encode_to_vec()),
        ] {
            for (place, byte) in &places {
                let at = place.index(bytes.len());
                bytes[at] = *byte;
            }
            let refused = taker.take(version, &bytes).is_err();
            prop_assert!(!refused || taker.intake.queued() <= 1, "nothing half taken");
        }
    }
}

async fn start(max_queued: usize) -> (Receiver<Decoder, RemoteWrite>, Pass) {
    let config = RemoteWriteConfig {
        max_queued,
        max_body_bytes: 10_000,
        ..RemoteWriteConfig::default()
    };
    let endpoint = Arc::new(RemoteWrite::new(&config));
    let mut receiver = Receiver {
        component: Component::Prometheus,
        subject: SUBJECT.to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        option: "collector.remote_write.address",
        bounds: Bounds {
            connections: 10,
            streams: 10,
        },
        source: Arc::clone(&endpoint.source),
        endpoint,
        listening: None,
    };
    let mut out = pass(clock::now().wall_us);
    receiver.pass(&mut out).await.expect("a free port");
    (receiver, out)
}

fn post(body: Vec<u8>, change: &[(&'static str, &'static str)]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(PATH);
    let headers = [
        ("host", "localhost"),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
    ];
    for (name, value) in headers.iter().chain(change) {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_static(value));
    }
    request
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(bytes)
        .expect("short enough")
}

#[tokio::test]
async fn it_takes_what_senders_send_and_answers_as_the_protocol_says() {
    let (mut receiver, mut out) = start(2).await;
    let address = receiver.listening.as_ref().expect("it listens").address;
    let now_ms = clock::now().wall_us / 1_000;
    let one = |value: f64| {
        snappy(&write(vec![series(
            &[("__name__", "a")],
            &[(now_ms, value)],
        )]))
    };
    let told = ask(address, post(one(1.0), &[])).await;
    assert_eq!(told.0.status, StatusCode::NO_CONTENT);
    assert_eq!(
        told.0.headers["x-prometheus-remote-write-samples-written"],
        "1"
    );
    let mut v2 = request_v2();
    v2.timeseries[0].samples[0].timestamp = now_ms;
    let kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let told = ask(
        address,
        post(snappy(&v2.encode_to_vec()), &[("content-type", kind)]),
    )
    .await;
    assert_eq!(told.0.status, StatusCode::NO_CONTENT);
    let told = ask(address, post(one(3.0), &[])).await;
    assert_eq!(
        told.0.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "the buffer is full"
    );
    assert!(told.0.headers.contains_key("retry-after"));
    out.recorder.begin(clock::now().wall_us);
    receiver.pass(&mut out).await.expect("it listens already");
    let samples = out.batches.iter().flat_map(|batch| &batch.samples);
    let values: Vec<f64> = samples.map(|sample| sample.value).collect();
    assert_eq!(values, [1.0, 2.5]);
    let far = write(vec![series(
        &[("__name__", "a")],
        &[(0, 1.0), (now_ms, 2.0)],
    )]);
    let told = ask(address, post(snappy(&far), &[])).await;
    assert_eq!(
        told.0.status,
        StatusCode::BAD_REQUEST,
        "so that it is not sent again"
    );
    let words = String::from_utf8(told.1.to_vec()).expect("text");
    assert!(
        words.starts_with("1 samples were not taken, 1 were"),
        "{words}"
    );
}

#[tokio::test]
async fn it_refuses_what_it_cannot_take() {
    let (receiver, _out) = start(100).await;
    let address = receiver.listening.as_ref().expect("it listens").address;
    let small = || snappy(&[]);
    let mut elsewhere = post(small(), &[]);
    *elsewhere.uri_mut() = http::Uri::from_static("/api/v1/read");
    // It states four gigabytes.
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    for (request, expected) in [
        (post(small(), &[("content-type", "text/plain")]), 415),
        (
            post(
                small(),
                &[("content-type", "application/x-protobuf;proto=other")],
            ),
            415,
        ),
        (post(small(), &[("content-encoding", "gzip")]), 415),
        (elsewhere, 404),
        (post(b"no snappy".to_vec(), &[]), 400),
        (post(snappy(b"\xff"), &[]), 400),
        (post(bomb, &[]), 413),
        (post(vec![0; 20_000], &[]), 413),
    ] {
        let told = ask(address, request).await;
        assert_eq!(told.0.status.as_u16(), expected, "{:?}", told.1);
    }
}
