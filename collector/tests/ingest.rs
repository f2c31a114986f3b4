//! Scrapes and receivers end to end: from the socket through the collector into the log, and back.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use driftline_collector::config::ScrapeConfig;
use driftline_collector::{Config, Stop, run_ticks};
use driftline_eventlog::LogReader as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::SpoolReader;
use driftline_schemas::{Body, Component, Envelope, Kind};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use prost::Message as _;

const PATIENCE: Duration = Duration::from_secs(60);

/// A free port; somebody else may take it before it is used, which the test would tell.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// Sends a request until somebody listens, and yields the status line of the answer.
fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return send(stream, path, headers, body).expect("it answers"),
            Err(error) => assert!(Instant::now() < until, "{address}: {error}"),
        }
        thread::yield_now();
    }
}

/// Sends a request over this connection, and yields the status line of the answer.
fn send(mut stream: TcpStream, path: &str, headers: &str, body: &[u8]) -> io::Result<String> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// An exporter that answers every request alike; it ends with the test's process.
fn exporter(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4_096];
            let read = stream.read(&mut request).expect("a request");
            assert!(request[..read].starts_with(b"GET /metrics "));
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).expect("it reads");
        }
    });
    address
}

fn now_us() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_micros()).expect("before the year 294000")
}

fn otlp(ts_us: i64) -> Vec<u8> {
    let point = NumberDataPoint {
        time_unix_nano: ts_us as u64 * 1_000,
        value: Some(number_data_point::Value::AsInt(42)),
        ..NumberDataPoint::default()
    };
    let metric = Metric {
        name: "shop.carts".to_owned(),
        unit: "{cart}".to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: vec![point],
        })),
        ..Metric::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
    .encode_to_vec()
}

/// `up{job="x"} 1`, by hand: a series of two labels and a sample.
fn remote_write(ts_us: i64) -> Vec<u8> {
    let mut sample = vec![0x09];
    sample.extend_from_slice(&1.0_f64.to_le_bytes());
    sample.push(0x10);
    prost::encoding::encode_varint((ts_us / 1_000) as u64, &mut sample);
    let mut series = vec![0x0a, 14, 0x0a, 8];
    series.extend_from_slice(b"__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01x\x12");
    series.push(sample.len() as u8);
    series.extend_from_slice(&sample);
    let mut request = vec![0x0a, series.len() as u8];
    request.extend_from_slice(&series);
    snap::raw::Encoder::new()
        .compress_vec(&request)
        .expect("short enough")
}

/// Ends the collector also where the test fails.
struct Ending<'a>(&'a Stop);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// Component, metric, unit, labels, time and value of every sample in the log that is not of the
/// catalogue.
fn foreign(data: &Path) -> Vec<(Component, String, String, String, i64, f64)> {
    let mut reader = SpoolReader::read_only(Arc::new(RealDisk), &data.join("log"));
    let mut found = Vec::new();
    for source in reader
        .sources(Kind::Samples)
        .expect("the log can be listed")
    {
        let mut from = 0;
        loop {
            let records = reader.read(&source, from, 1 << 20).expect("readable");
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            for record in records {
                let envelope = Envelope::parse(&record.payload).expect("a block");
                let Body::Samples(batch) = envelope.decode().expect("a body") else {
                    panic!("no samples")
                };
                for sample in &batch.samples {
                    let series = &batch.series[sample.series as usize];
                    let view = series.metric.view().expect("a known definition");
                    if matches!(view.component, Component::Prometheus | Component::Otlp) {
                        let labels = series.labels.as_str().to_owned();
                        let (name, unit) = (view.name.to_owned(), view.unit.to_owned());
                        let (ts_us, value) = (sample.ts_us, sample.value);
                        found.push((view.component, name, unit, labels, ts_us, value));
                    }
                }
            }
        }
    }
    found
}

/// A collector with both receivers and nothing else.
fn receiving() -> Config {
    let mut config = Config {
        interval: Duration::from_millis(100),
        sync_every: Some(Duration::from_millis(100)),
        ..Config::default()
    };
    config.host.enabled = false;
    config.process.enabled = false;
    config.cgroup.enabled = false;
    config.otlp.enabled = true;
    (config.otlp.grpc, config.otlp.http) = (free(), free());
    config.remote_write.enabled = true;
    config.remote_write.address = free();
    config
}

#[test]
fn what_is_sent_and_scraped_stands_in_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let target = exporter("# TYPE shop_orders_total counter\nshop_orders_total{kind=\"a\"} 7\n");
    let config = Config {
        prometheus: vec![ScrapeConfig {
            name: "shop".to_owned(),
            url: format!("http://{target}/metrics"),
            interval: Duration::from_millis(200),
            ..ScrapeConfig::default()
        }],
        ..receiving()
    };
    let (http, write) = (config.otlp.http, config.remote_write.address);
    let stop = Stop::new();
    let ts_us = now_us() / 1_000 * 1_000;
    let found = thread::scope(|scope| {
        let running = scope.spawn(|| run_ticks(&config, directory.path(), &stop, None));
        let ending = Ending(&stop);
        let told = post(http, "/v1/metrics", "", &otlp(ts_us));
        assert_eq!(told, "HTTP/1.1 200 OK");
        let snappy = "content-encoding: snappy\r\n";
        let told = post(write, "/api/v1/write", snappy, &remote_write(ts_us));
        assert_eq!(told, "HTTP/1.1 204 No Content");
        let until = Instant::now() + PATIENCE;
        let found = loop {
            let found = foreign(directory.path());
            let has = |name: &str| found.iter().any(|row| row.1 == name);
            if ["shop.carts", "up", "shop_orders_total"]
                .into_iter()
                .all(has)
            {
                break found;
            }
            assert!(Instant::now() < until, "{found:?}");
            thread::yield_now();
        };
        drop(ending);
        let summary = running.join().expect("no panic").expect("it runs");
        assert_eq!(summary.blocks_dropped, 0);
        found
    });
    let text = str::to_owned;
    let otlp = (
        Component::Otlp,
        text("shop.carts"),
        text("{cart}"),
        text(""),
        ts_us,
        42.0,
    );
    assert!(found.contains(&otlp), "{found:?}");
    let (written, job) = (Component::Prometheus, text("job=x"));
    assert!(
        found.contains(&(written, text("up"), text("1"), job, ts_us, 1.0)),
        "{found:?}"
    );
    let scraped = found
        .iter()
        .find(|row| row.1 == "shop_orders_total")
        .expect("it is there");
    assert_eq!(scraped.3, format!("instance={target},job=shop,kind=a"));
    assert_eq!(
        (scraped.4 % 200_000, scraped.5),
        (0, 7.0),
        "at the time of the pass"
    );
}

const SNAPPY: &str = "content-encoding: snappy\r\n";

/// Sends one sample after the other, each of a time of its own, until nobody answers any more; the
/// times of those that were acknowledged.
fn send_on(
    (address, path, headers): (SocketAddr, &str, &str),
    body: fn(i64) -> Vec<u8>,
    acknowledged: &AtomicUsize,
) -> Vec<i64> {
    let first_us = now_us() / 1_000 * 1_000;
    let mut times = Vec::new();
    for ts_us in (first_us..).step_by(1_000) {
        let Ok(stream) = TcpStream::connect(address) else {
            break;
        };
        match send(stream, path, headers, &body(ts_us)) {
            Ok(told) if told.starts_with("HTTP/1.1 20") => times.push(ts_us),
            _ => break,
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    times
}

#[test]
fn what_was_acknowledged_before_an_orderly_stop_stands_in_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = receiving();
    let (http, write) = (config.otlp.http, config.remote_write.address);
    let stop = Stop::new();
    let (by_otlp, by_remote_write) = thread::scope(|scope| {
        let running = scope.spawn(|| run_ticks(&config, directory.path(), &stop, None));
        let ending = Ending(&stop);
        // Both listen; from now on a refused connection means that they have stopped.
        post(http, "/v1/metrics", "", &otlp(now_us()));
        post(write, "/api/v1/write", SNAPPY, &remote_write(now_us()));
        let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let times = thread::scope(|scope| {
            let first = scope.spawn(|| send_on((http, "/v1/metrics", ""), otlp, &counts[0]));
            let second = scope.spawn(|| {
                let place = (write, "/api/v1/write", SNAPPY);
                send_on(place, remote_write, &counts[1])
            });
            let until = Instant::now() + PATIENCE;
            while counts
                .iter()
                .any(|count| count.load(Ordering::Relaxed) < 50)
            {
                assert!(Instant::now() < until, "{counts:?} were acknowledged");
                thread::yield_now();
            }
            drop(ending);
            let joined = (first.join(), second.join());
            (joined.0.expect("no panic"), joined.1.expect("no panic"))
        });
        running.join().expect("no panic").expect("it runs");
        times
    });
    let found = foreign(directory.path());
    for (component, name, sent) in [
        (Component::Otlp, "shop.carts", by_otlp),
        (Component::Prometheus, "up", by_remote_write),
    ] {
        let kept = found
            .iter()
            .filter(|row| row.0 == component && row.1 == name);
        let kept: HashSet<i64> = kept.map(|row| row.4).collect();
        let lost = sent.iter().filter(|ts_us| !kept.contains(ts_us)).count();
        assert_eq!(lost, 0, "of {} acknowledged samples of {name}", sent.len());
    }
}
