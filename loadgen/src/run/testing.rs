//! Scenarios and targets made by hand, for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use crate::scenario::{Arrival, HttpOptions, HttpVersion, Load, Scenario, Stage};
use crate::target::Target;

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
