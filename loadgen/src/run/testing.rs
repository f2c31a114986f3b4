//! Scenarios and targets made by hand, for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use crate::operation::Failure;
use crate::scenario::{
    Arrival, HttpOptions, HttpVersion, Journey, Load, Scenario, Stage, Step, Template,
};
use crate::target::Target;

use super::{Health, Judged, Progress, Quantiles, Snapshot, StageSpan};

/// A scenario of these endpoints and stages of so many seconds, which sends nothing by itself.
pub(crate) fn scenario(endpoints: &[&str], stage_seconds: &[u64]) -> Scenario {
    let stage = |(at, seconds): (usize, &u64)| Stage {
        name: (at + 1).to_string(),
        duration: Duration::from_secs(*seconds),
        load: Load::Rate {
            from: 100.0,
            to: 100.0,
            arrival: Arrival::Constant,
        },
    };
    Scenario {
        name: "Test scenario".to_owned(),
        seed: 7,
        text: "name = \"Test scenario\"\n".to_owned(),
        hash: "0123456789abcdef".to_owned(),
        warm_up: Duration::ZERO,
        drain: Duration::from_secs(1),
        stages: stage_seconds.iter().enumerate().map(stage).collect(),
        http: HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections: 4,
            streams: 1,
            waiting: 10,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            redirects: 0,
            compression: false,
            max_answer_bytes: 1 << 20,
            insecure: false,
            ca: None,
            headers: Vec::new(),
        },
        journeys: Vec::new(),
        websockets: Vec::new(),
        feeds: BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: endpoints.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// A target that nobody listens at.
pub(crate) fn target() -> Target {
    Target {
        url: Url::parse("http://127.0.0.1:9/").expect("a constant"),
        tls: false,
        host: "127.0.0.1".to_owned(),
        authority: "127.0.0.1:9".to_owned(),
        addresses: vec![([127, 0, 0, 1], 9).into()],
    }
}

/// A journey of one request.
pub(crate) fn journey() -> Journey {
    Journey {
        name: "home".to_owned(),
        weight: 1.0,
        steps: vec![Step {
            endpoint: 0,
            method: "GET".to_owned(),
            path: Template::literal("/"),
            headers: Vec::new(),
            body: None,
            checks: Vec::new(),
            captures: Vec::new(),
            think: None,
        }],
        cookies: false,
    }
}

/// A run in its midst, with something of everything.
pub(crate) fn progress() -> Progress {
    let judged = |text: &str, passed| Judged {
        text: text.to_owned(),
        threshold: text.to_owned(),
        value: None,
        passed,
        abort: false,
    };
    let span = |name: &str, from_s: u64, until_s: u64| StageSpan {
        name: name.to_owned(),
        from_ns: from_s * 1_000_000_000,
        until_ns: until_s * 1_000_000_000,
    };
    let quantiles = Quantiles {
        p50_ns: Some(2_000_000),
        p95_ns: Some(8_000_000),
        p99_ns: Some(20_000_000),
        max_ns: Some(31_000_000),
    };
    Progress {
        run: "checkout-1".to_owned(),
        scenario: "checkout".to_owned(),
        stages: vec![span("ramp", 0, 10), span("peak", 10, 30)],
        elapsed_ns: 12_000_000_000,
        operations: 4_000,
        failed: 9,
        dropped: 2,
        rate_per_s: 498.4,
        arrivals_per_s: 500.0,
        latency: quantiles,
        recent: quantiles,
        failures: vec![(Failure::Timeout, 7), (Failure::Dropped, 2)],
        generator: Snapshot {
            active: 3,
            connections: 64,
            waiting: 1,
            ..Snapshot::default()
        },
        thresholds: vec![
            judged("error_rate 0.2 % < 1%: passed", Some(true)),
            judged("p95 300 ms < 200ms: failed", Some(false)),
        ],
        health: Health::Limited {
            reasons: vec!["1 % of arrivals were late".to_owned()],
        },
        processes: 1,
        ..Progress::default()
    }
}
