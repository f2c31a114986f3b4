//! Expositions as exporters write them, and scrapes over a real socket.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use driftline_schemas::EventName;
use driftline_schemas::metric::{Better, Category, MetricKind};
use http::Response;
use http_body_util::Full;
use proptest::prelude::*;

use super::text::{Exposition, Form, Malformed, labels};
use super::*;
use crate::service::foreign::testing::{NOW_US, limits, pass, rows, serve, taken};
use crate::testing::{rows_of, value};

fn taker() -> Taker {
    let own = vec![("job".to_owned(), "node".to_owned())];
    Taker::new(limits(), NameFilter::default(), own, true)
}

type Taken = (String, String, i64, f64);

fn take(text: &str, form: Form) -> (Vec<Taken>, Option<Malformed>) {
    let mut taker = taker();
    let (_, mistake) = taker.take(text.as_bytes(), form, NOW_US, NOW_US);
    (taken(&mut taker.intake), mistake)
}

fn row(metric: &str, labels: &str, after_us: i64, value: f64) -> (String, String, i64, f64) {
    (metric.to_owned(), labels.to_owned(), after_us, value)
}

const PROMETHEUS: &str = r#"
# A comment.
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1790000000005
http_requests_total { method = "get" , code = "4\"0\\0\n", } 3
# Escapes that stand for themselves, and names with colons.
msdos_file_access{path="C:\DIR"} 1.458255915e9
job:rate:1m +Inf
	something_weird{problem="division by zero"} NaN
negative -Inf
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.5"} 4773.25
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
"#;

#[test]
fn the_prometheus_format_is_read() {
    let (found, mistake) = take(PROMETHEUS, Form::Prometheus);
    assert_eq!(mistake, None);
    assert_eq!(
        found,
        [
            row(
                "http_requests_total",
                "code=200,job=node,method=post",
                5_000,
                1027.0
            ),
            row(
                "http_requests_total",
                "code=4\"0\\\\0\n,job=node,method=get",
                0,
                3.0
            ),
            row("job:rate:1m", "job=node", 0, f64::INFINITY),
            row(
                "msdos_file_access",
                "job=node,path=C:\\\\DIR",
                0,
                1_458_255_915.0
            ),
            row("negative", "job=node", 0, f64::NEG_INFINITY),
            row("rpc_duration_seconds", "job=node,quantile=0.5", 0, 4773.25),
            row("rpc_duration_seconds_count", "job=node", 0, 2693.0),
            row("rpc_duration_seconds_sum", "job=node", 0, 1.756_047_3e7),
        ]
    );
}

const OPENMETRICS: &str = r#"# TYPE acme_http_router_request_seconds histogram
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency.
acme_http_router_request_seconds_bucket{le="0.1"} 8 # {trace_id="} a"} 0.067 1790000000.1
acme_http_router_request_seconds_bucket{le="+Inf"} 17 1790000000.5 # {trace_id="b"} 5
acme_http_router_request_seconds_sum 1.5
acme_http_router_request_seconds_count 17
# TYPE go_goroutines gauge
go_goroutines 69
# TYPE process_cpu_seconds counter
# UNIT process_cpu_seconds seconds
process_cpu_seconds_total 4.20072246e+06
# EOF
"#;

#[test]
fn the_openmetrics_format_is_read() {
    let (found, mistake) = take(OPENMETRICS, Form::OpenMetrics);
    assert_eq!(mistake, None);
    let name = "acme_http_router_request_seconds";
    let part = |suffix: &str, labels, after_us, value| {
        row(&format!("{name}{suffix}"), labels, after_us, value)
    };
    assert_eq!(
        found,
        [
            part("_bucket", "job=node,le=+Inf", 500_000, 17.0),
            part("_bucket", "job=node,le=0.1", 0, 8.0),
            part("_count", "job=node", 0, 17.0),
            part("_sum", "job=node", 0, 1.5),
            row("go_goroutines", "job=node", 0, 69.0),
            row("process_cpu_seconds_total", "job=node", 0, 4_200_722.46),
        ]
    );
    let cut = &OPENMETRICS[..OPENMETRICS.len() - 6];
    let (found, mistake) = take(cut, Form::OpenMetrics);
    assert_eq!((found.len(), mistake.expect("it is cut off").line), (6, 12));
}

#[test]
fn types_units_and_names_make_definitions() {
    let mut taker = taker();
    taker.take(OPENMETRICS.as_bytes(), Form::OpenMetrics, NOW_US, NOW_US);
    let batches = taker.batches(NOW_US);
    let find = |name: &str| {
        let views = batches[0]
            .series
            .iter()
            .filter_map(|series| series.metric.view());
        let view = views
            .into_iter()
            .find(|view| view.name == name)
            .expect(name);
        (view.unit, view.kind, view.category, view.better)
    };
    let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
    assert_eq!(
        find("acme_http_router_request_seconds_sum"),
        ("s", counter, Category::Latency, Better::Lower)
    );
    assert_eq!(find("acme_http_router_request_seconds_bucket").1, counter);
    assert_eq!(
        find("process_cpu_seconds_total"),
        ("s", counter, Category::Utilisation, Better::Lower)
    );
    assert_eq!(
        find("go_goroutines"),
        ("1", gauge, Category::Utilisation, Better::Neither)
    );
}

#[test]
fn what_was_good_before_a_mistake_stays() {
    for (bad, column, what) in [
        ("a{x=\"1\" 2", 10, "closing brace"),
        ("a{x=\"1} 2", 10, "closing quote"),
        ("a{x=1} 2", 5, "quoted"),
        ("a{1x=\"1\"} 2", 3, "name of a label"),
        ("a{x=\"1\" y=\"2\"} 2", 9, "comma"),
        ("1a 2", 1, "name of a metric"),
        ("a two", 3, "number"),
        ("a", 2, "value"),
        ("a 1 soon", 5, "time"),
        ("a 1 2 3", 7, "end of the line"),
        ("# TYPE a colour", 9, "type"),
    ] {
        let text = format!("good 1\n\n{bad}\nlater 2\n");
        let (found, mistake) = take(&text, Form::Prometheus);
        let mistake = mistake.expect(bad);
        assert_eq!((mistake.line, mistake.column), (3, column), "{bad}");
        assert!(mistake.what.contains(what), "{bad}: {mistake}");
        assert_eq!(found, [row("good", "job=node", 0, 1.0)], "{bad}");
    }
}

#[test]
fn labels_of_the_target_win_and_names_can_be_chosen() {
    let filter = NameFilter {
        include: vec!["a*".to_owned()],
        exclude: vec!["ab".to_owned()],
    };
    let own = vec![("job".to_owned(), "node".to_owned())];
    let mut taker = Taker::new(limits(), filter, own, true);
    let text = "a{job=\"theirs\"} 1\nab 2\nb 3\nac 4\n";
    taker.take(text.as_bytes(), Form::Prometheus, NOW_US, NOW_US);
    assert_eq!(
        taken(&mut taker.intake),
        [
            row("a", "exported_job=theirs,job=node", 0, 1.0),
            row("ac", "job=node", 0, 4.0)
        ]
    );
}

#[test]
fn samples_and_series_are_bounded_and_counted() {
    let text: String = (0..2_000)
        .map(|at| format!("a{{id=\"{at}\"}} 1\n"))
        .collect();
    let mut taker = taker();
    let (outcome, mistake) = taker.take(text.as_bytes(), Form::Prometheus, NOW_US, NOW_US);
    assert_eq!(
        (outcome.samples, outcome.rejected, mistake),
        (1_000, 1_000, None)
    );
    let few = Limits {
        max_queued: 10,
        ..limits()
    };
    let mut taker = Taker::new(few, NameFilter::default(), Vec::new(), true);
    let (outcome, _) = taker.take(text.as_bytes(), Form::Prometheus, NOW_US, NOW_US);
    assert_eq!((outcome.samples, outcome.rejected), (10, 1_990));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_crashes_it(text in "[a-z{}\"=,\\\\ #0-9.\n\t é]{0,200}") {
        for form in [Form::Prometheus, Form::OpenMetrics] {
            drop(take(&text, form));
        }
    }

    #[test]
    fn no_damage_crashes_it(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = PROMETHEUS.as_bytes().to_vec();
        for (place, byte) in places {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        taker().take(&bytes, Form::Prometheus, NOW_US, NOW_US);
    }

    #[test]
    fn every_label_value_survives(text in "\\PC{0,20}[\n\"\\\\]?\\PC{0,20}") {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let line = format!("a{{x=\"{escaped}\",y=\"1\"}} 1");
        let mut exposition = Exposition::new(line.as_bytes(), Form::Prometheus);
        let sample = exposition.next().expect("well formed").expect("one");
        let (_, found) = labels(&sample).expect("well formed");
        prop_assert_eq!(found[0].1.as_ref(), text.as_str());
        prop_assert_eq!(found[1].1.as_ref(), "1");
    }
}

fn config(address: std::net::SocketAddr) -> ScrapeConfig {
    ScrapeConfig {
        name: "node".to_owned(),
        url: format!("http://{address}/metrics?x=1"),
        time_out: Duration::from_secs(5),
        ..ScrapeConfig::default()
    }
}

#[tokio::test]
async fn a_scrape_shows_its_credentials_and_keeps_its_connection() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let address = serve(move |request| {
        let header = |name: &str| {
            let value = request.headers().get(name);
            value
                .map_or("", |value| value.to_str().expect("text"))
                .to_owned()
        };
        let told = [
            header("authorization"),
            header("x-scope"),
            request.uri().to_string(),
        ];
        seen.lock().expect("no panic").push(told);
        Response::new(Full::from("up 1\n"))
    });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let password = directory.path().join("password");
    std::fs::write(&password, "secret\n").expect("written");
    let mut config = config(address.await);
    config.user = Some("me".to_owned());
    config.password_file = Some(password);
    config
        .headers
        .0
        .insert("x-scope".to_owned(), "tenant".to_owned());
    assert!(
        !format!("{config:?}").contains("tenant"),
        "headers are not shown"
    );
    let mut scrape = Scrape::new(&config);
    let mut out = pass(clock::now().wall_us);
    for _ in 0..2 {
        scrape.pass(&mut out).await.expect("it answers");
    }
    let asked = asked.lock().expect("no panic");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], ["Basic bWU6c2VjcmV0", "tenant", "/metrics?x=1"]);
    let found = rows(&out.batches);
    let labels = format!("instance={},job=node", address_of(&config));
    assert_eq!(
        (found[0].0.as_str(), found[0].1.as_str()),
        ("up", labels.as_str())
    );
}

fn address_of(config: &ScrapeConfig) -> String {
    let rest = config.url.trim_start_matches("http://");
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn trouble_is_told_once_and_the_scrape_goes_on() {
    let turn = Arc::new(AtomicU32::new(0));
    let address = serve(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Response::new(Full::from("a 1\nb two\n")),
        2 => {
            let mut response = Response::new(Full::from("no"));
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            response
        }
        _ => Response::new(Full::<Bytes>::from("a 1\n")),
    });
    let config = config(address.await);
    let mut scrape = Scrape::new(&config);
    let now_us = clock::now().wall_us;
    let mut out = pass(now_us);
    let labels = "driftline.component=prometheus.node";
    for (turn, expected) in [0.0, 0.0, 0.0, 1.0].into_iter().enumerate() {
        out.recorder.begin(now_us + turn as i64 * 15_000_000);
        let outcome = scrape.pass(&mut out).await;
        assert_eq!(outcome.is_err(), turn == 2, "{outcome:?}");
        let rows = rows_of(&out.recorder.finish());
        assert_eq!(
            value(&rows, "driftline.collector.scrape.up", labels),
            expected
        );
    }
    assert_eq!(rows(&out.batches).len(), 3, "what was good stays");
    assert_eq!(out.events.len(), 1, "{:?}", out.events);
    assert_eq!(out.events[0].name, EventName::ComponentFailed);
    let words = &out.events[0].message;
    assert!(words.contains("line 2, column 3"), "{words}");
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_named() {
    for (change, expected) in [
        (
            (|c| c.url = "x".to_owned()) as fn(&mut ScrapeConfig),
            "url of",
        ),
        (|c| c.url = "ftp://a/b".to_owned(), "names no HTTP server"),
        (
            |c| c.url = "http://me:secret@a/b".to_owned(),
            "password_file",
        ),
        (|c| c.user = Some("me".to_owned()), "without a password"),
        (|c| c.name = String::new(), "no name"),
        (
            |c| c.bearer_token_file = Some("/nowhere/token".into()),
            "/nowhere/token",
        ),
    ] {
        let mut config = config(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
        change(&mut config);
        let error = Scrape::new(&config).pass(&mut pass(NOW_US)).await;
        let words = error.expect_err(expected).to_string();
        assert!(
            words.contains(expected) && !words.contains("secret"),
            "{words}"
        );
    }
}
