//! How fast scrapes and receivers take what they are sent, on one core and without the network: OTLP
//! points, remote-write samples, and expositions in text. Beside each stands what the same bytes cost
//! at least: prost decoding them into messages, and memchr looking for the ends of lines.
//!
//! Run by `cargo bench -p driftline-collector --bench ingest`. Series are known after the first
//! round, as they are in operation; batches for the log are made in each.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use driftline_collector::service::offline::{Expositions, Requests};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rustix::time::{ClockId, clock_gettime};

const NOW_US: i64 = 1_790_000_000_000_000;
/// Each figure is the best of so many rounds.
const ROUNDS: usize = 15;
const POINTS: usize = 10_000;
const EXPOSITION_BYTES: usize = 5_000_000;

/// `prometheus.WriteRequest` as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "best of {ROUNDS} rounds on one core, by its CPU time\n{:<34} {:>9} {:>12} {:>10}",
        "", "items", "items/s", "MB/s"
    );
    let numbers = otlp(false).encode_to_vec();
    let ours = measure_otlp("OTLP numbers, 5 attributes", &numbers, POINTS)?;
    let prost = measure("  prost alone", &numbers, POINTS, || {
        black_box(ExportMetricsServiceRequest::decode(numbers.as_slice()))?;
        Ok(())
    })?;
    println!("  prost / ours, time: {:.2}", prost / ours);
    let histograms = otlp(true).encode_to_vec();
    let ours = measure_otlp("OTLP histograms, 15 buckets", &histograms, POINTS)?;
    let prost = measure("  prost alone", &histograms, POINTS, || {
        black_box(ExportMetricsServiceRequest::decode(histograms.as_slice()))?;
        Ok(())
    })?;
    println!("  prost / ours, time: {:.2}", prost / ours);

    let write = remote_write().encode_to_vec();
    let packed = snap::raw::Encoder::new().compress_vec(&write)?;
    let mut requests = Requests::default();
    let ours = measure("remote write, 8 labels, snappy", &write, POINTS, || {
        let write = snap::raw::Decoder::new().decompress_vec(&packed)?;
        requests.remote_write(&write, NOW_US)?;
        black_box(requests.batches(NOW_US));
        Ok(())
    })?;
    let prost = measure("  snappy and prost alone", &write, POINTS, || {
        let write = snap::raw::Decoder::new().decompress_vec(&packed)?;
        black_box(WriteRequest::decode(write.as_slice()))?;
        Ok(())
    })?;
    println!("  prost / ours, time: {:.2}", prost / ours);

    let (text, lines) = exposition();
    let text = text.as_bytes();
    let mut expositions = Expositions::default();
    let ours = measure("exposition in text", text, lines, || {
        expositions.take(text, NOW_US)?;
        black_box(expositions.batches(NOW_US));
        Ok(())
    })?;
    measure("  of which series are all new", text, lines, || {
        let mut expositions = Expositions::default();
        expositions.take(text, NOW_US)?;
        black_box(expositions.batches(NOW_US));
        Ok(())
    })?;
    let scan = measure("  memchr for the ends of lines", text, lines, || {
        black_box(memchr::memchr_iter(b'\n', black_box(text)).count());
        Ok(())
    })?;
    println!("  ours / memchr, time: {:.1}", ours / scan);
    Ok(())
}

fn measure_otlp(name: &str, message: &[u8], points: usize) -> Result<f64, Box<dyn Error>> {
    let mut requests = Requests::default();
    measure(name, message, points, || {
        requests.otlp(message, NOW_US)?;
        black_box(requests.batches(NOW_US));
        Ok(())
    })
}

/// Seconds of the best round.
fn measure(
    name: &str,
    bytes: &[u8],
    items: usize,
    mut round: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    round()?;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = thread_cpu();
        round()?;
        best = best.min(thread_cpu().saturating_sub(begun).as_secs_f64());
    }
    println!(
        "{name:<34} {items:>9} {:>12.0} {:>10.0}",
        items as f64 / best,
        bytes.len() as f64 / best / 1e6
    );
    Ok(best)
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanoseconds)
}

fn attribute(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    }
}

fn attributes(at: usize) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", ["GET", "POST"][at % 2].to_owned()),
        attribute("http.route", format!("/api/v1/orders/{{id}}/{}", at / 10)),
        attribute("http.response.status_code", (200 + at % 5).to_string()),
        attribute("server.address", "shop.example.org".to_owned()),
        attribute("url.scheme", "https".to_owned()),
    ]
}

/// What a collector forwards: a hundred metrics of a hundred points each.
fn otlp(histograms: bool) -> ExportMetricsServiceRequest {
    let per_metric = 100;
    let metrics = (0..POINTS / per_metric).map(|metric| {
        let points = (0..per_metric).map(|at| metric * per_metric + at);
        let data = match (histograms, metric % 2) {
            (true, _) => Data::Histogram(Histogram {
                data_points: points.map(histogram_point).collect(),
                aggregation_temporality: 2,
            }),
            (false, 0) => Data::Gauge(Gauge {
                data_points: points.map(number_point).collect(),
            }),
            (false, _) => Data::Sum(Sum {
                data_points: points.map(number_point).collect(),
                aggregation_temporality: 2,
                is_monotonic: true,
            }),
        };
        Metric {
            name: format!("http.server.something.{metric}"),
            description: "What it is that this metric measures, in a sentence".to_owned(),
            unit: "s".to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    });
    let resource = Resource {
        attributes: vec![
            attribute("service.name", "shop".to_owned()),
            attribute("host.name", "web-1".to_owned()),
            attribute("telemetry.sdk.language", "go".to_owned()),
        ],
        ..Resource::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                metrics: metrics.collect(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn number_point(at: usize) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(at),
        start_time_unix_nano: NOW_US as u64 * 1_000,
        time_unix_nano: NOW_US as u64 * 1_000,
        value: Some(number_data_point::Value::AsDouble(at as f64 * 0.37)),
        ..NumberDataPoint::default()
    }
}

fn histogram_point(at: usize) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(at),
        start_time_unix_nano: NOW_US as u64 * 1_000,
        time_unix_nano: NOW_US as u64 * 1_000,
        count: 15 * 7,
        sum: Some(3.5),
        bucket_counts: vec![7; 15],
        explicit_bounds: (0..14).map(|at| 0.005 * f64::from(1 << at)).collect(),
        ..HistogramDataPoint::default()
    }
}

/// What Prometheus sends: a sample each of series with eight labels.
fn remote_write() -> WriteRequest {
    let label = |name: &str, value: String| Label {
        name: name.to_owned(),
        value,
    };
    let timeseries = (0..POINTS).map(|at| TimeSeries {
        labels: vec![
            label("__name__", format!("container_something_{}_total", at % 50)),
            label("cluster", "eu-west-1".to_owned()),
            label("container", "app".to_owned()),
            label("instance", "10.0.0.1:9100".to_owned()),
            label("job", "kubelet".to_owned()),
            label("namespace", format!("team-{}", at % 20)),
            label("node", format!("ip-10-0-0-{}", at % 100)),
            label("pod", format!("app-5d8f7c9b4-{at:05}")),
        ],
        samples: vec![Sample {
            value: at as f64 * 1.25,
            timestamp: NOW_US / 1_000,
        }],
    });
    WriteRequest {
        timeseries: timeseries.collect(),
    }
}

/// What node_exporter and kube-state-metrics write: counters, gauges and histograms, about five
/// megabytes of them, and how many samples.
fn exposition() -> (String, usize) {
    let (mut text, mut lines, mut metric) = (String::new(), 0, 0);
    while text.len() < EXPOSITION_BYTES {
        let kind = ["counter", "gauge", "histogram"][metric % 3];
        let name = format!("kube_something_number_{metric}_seconds");
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP {name} What it is that this measures.\n# TYPE {name} {kind}"
        );
        for pod in 0..100 {
            let labels = format!(
                "namespace=\"team-{}\",pod=\"app-5d8f7c9b4-{pod:05}\",node=\"ip-10-0-0-{}\"",
                pod % 20,
                pod % 10
            );
            let value = f64::from(pod) * 1_234.567_891;
            let _ = match metric % 3 {
                0 => writeln!(text, "{name}{{{labels}}} {value}"),
                1 => writeln!(text, "{name}{{{labels}}} {pod}"),
                _ => writeln!(
                    text,
                    "{name}_bucket{{{labels},le=\"0.{pod}\"}} {}",
                    pod * 1_000
                ),
            };
            lines += 1;
        }
        metric += 1;
    }
    (text, lines)
}
