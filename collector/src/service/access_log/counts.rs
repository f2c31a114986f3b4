//! What is counted of each endpoint, and how it is recorded. The number of endpoints is bounded: what
//! comes when there is no room any more counts as `other`.

use std::collections::HashMap;

use driftline_schemas::metric::catalogue::id;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::line::Entry;
use super::route::{Pattern, write_template};
use crate::recorder::Recorder;

/// The route of what has no endpoint of its own.
pub(super) const OTHER: &str = "other";
/// The conventions' word for a method that is none.
const OTHER_METHOD: &str = "_OTHER";
const METHODS: [&str; 9] = [
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE",
];
/// By the first digit of the status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Longer times count as this one.
const MAX_LATENCY_US: u64 = 3_600_000_000;
/// Two digits: a quantile is at most 1 % off, and a histogram takes some 13 KiB.
const DIGITS: u8 = 2;
const QUANTILES: [(f64, &str); 4] = [(0.5, "0.5"), (0.95, "0.95"), (0.99, "0.99"), (1.0, "1")];

const SERVICE: &str = "service.name";
const ROUTE: &str = "http.route";
const METHOD: &str = "http.request.method";

/// An endpoint's totals since it was first seen; they are kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) route: String,
    pub(super) method: String,
    classes: [u64; 5],
    timed: u64,
    time_us: u64,
    slow: u64,
    bytes: u64,
    compared: u64,
    identical: u64,
    first_attempts: u64,
    retries: u64,
}

/// The times of one interval.
type Latencies = Histogram<u32>;

/// All endpoints of a log.
#[derive(Debug)]
pub(super) struct Counts {
    totals: Vec<Totals>,
    latencies: Vec<Option<Latencies>>,
    all: Latencies,
    index: HashMap<String, usize>,
    key: String,
    max: usize,
    slow_after_us: u64,
    patterns: Vec<Pattern>,
    /// Whether something had to be counted as `other` for want of room.
    pub(super) overflowed: bool,
}

fn latencies() -> Latencies {
    Histogram::new_with_max(MAX_LATENCY_US, DIGITS).expect("the bounds of latencies are valid")
}

impl Counts {
    /// With the totals that were kept, as far as there is room for them.
    pub(super) fn new(
        max: usize,
        slow_after_us: u64,
        patterns: Vec<Pattern>,
        kept: Vec<Totals>,
    ) -> Self {
        let mut counts = Self {
            totals: Vec::new(),
            latencies: Vec::new(),
            all: latencies(),
            index: HashMap::new(),
            key: String::new(),
            max,
            slow_after_us,
            patterns,
            overflowed: false,
        };
        counts.add(Totals {
            route: OTHER.to_owned(),
            method: OTHER_METHOD.to_owned(),
            ..Totals::default()
        });
        for totals in kept {
            if totals.route == OTHER {
                counts.totals[0] = totals;
            } else {
                counts.add(totals);
            }
        }
        counts
    }

    fn add(&mut self, totals: Totals) -> usize {
        let at = self.totals.len();
        let key = format!("{} {}", totals.method, totals.route);
        self.index.insert(key, at);
        self.totals.push(totals);
        self.latencies.push(None);
        at
    }

    pub(super) fn totals(&self) -> &[Totals] {
        &self.totals
    }

    /// The endpoints that are told apart.
    pub(super) fn endpoints(&self) -> usize {
        self.totals.len() - 1
    }

    /// Counts a request. `identical` tells, of one that can be compared, whether it was the same.
    pub(super) fn count(&mut self, entry: &Entry<'_>, identical: Option<bool>) {
        let at = self.endpoint(entry);
        let totals = &mut self.totals[at];
        let class = usize::from(entry.status / 100).clamp(1, CLASSES.len()) - 1;
        totals.classes[class] += 1;
        totals.bytes = totals.bytes.saturating_add(entry.bytes.unwrap_or(0));
        if let Some(identical) = identical {
            totals.compared += 1;
            totals.identical += u64::from(identical);
        }
        match entry.retry {
            Some(true) => totals.retries += 1,
            Some(false) => totals.first_attempts += 1,
            None => {}
        }
        if let Some(us) = entry.duration_us {
            totals.timed += 1;
            totals.time_us = totals.time_us.saturating_add(us);
            totals.slow += u64::from(us > self.slow_after_us);
            self.latencies[at]
                .get_or_insert_with(latencies)
                .saturating_record(us);
            self.all.saturating_record(us);
        }
    }

    /// Finds or makes the endpoint. What a server does not know makes none, since scanners ask for
    /// thousands of such paths.
    fn endpoint(&mut self, entry: &Entry<'_>) -> usize {
        let Some(method) = METHODS.iter().find(|method| **method == entry.method) else {
            return 0;
        };
        self.key.clear();
        self.key.push_str(method);
        self.key.push(' ');
        write_template(&entry.target, &self.patterns, &mut self.key);
        if let Some(at) = self.index.get(&self.key) {
            return *at;
        }
        if matches!(entry.status, 400 | 404 | 405) {
            return 0;
        }
        if self.endpoints() >= self.max {
            self.overflowed = true;
            return 0;
        }
        let route = self.key[method.len() + 1..].to_owned();
        self.add(Totals {
            route,
            method: (*method).to_owned(),
            ..Totals::default()
        })
    }

    /// Records all totals, and the quantiles of the interval, which ends.
    pub(super) fn record(&mut self, service: &str, out: &mut Recorder) {
        for (totals, latencies) in self.totals.iter().zip(&mut self.latencies) {
            let requests: u64 = totals.classes.iter().sum();
            if requests == 0 {
                continue;
            }
            record_totals(totals, service, out);
            let Some(latencies) = latencies.as_mut().filter(|all| !all.is_empty()) else {
                continue;
            };
            for (quantile, label) in QUANTILES {
                let labels = &mut [
                    (SERVICE, service),
                    (ROUTE, &*totals.route),
                    (METHOD, &*totals.method),
                    ("quantile", label),
                ];
                let metric = const { id("http.server.request.duration.quantile") };
                out.record(metric, labels, seconds(latencies, quantile));
            }
            latencies.reset();
        }
        if !self.all.is_empty() {
            for (quantile, label) in QUANTILES {
                let labels = &mut [(SERVICE, service), ("quantile", label)];
                let metric = const { id("http.server.duration.quantile") };
                out.record(metric, labels, seconds(&self.all, quantile));
            }
            self.all.reset();
        }
    }
}

fn seconds(latencies: &Latencies, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e6
}

fn record_totals(totals: &Totals, service: &str, out: &mut Recorder) {
    let base = [
        (SERVICE, service),
        (ROUTE, &*totals.route),
        (METHOD, &*totals.method),
    ];
    for (count, class) in totals.classes.iter().zip(CLASSES) {
        if *count > 0 {
            let [service, route, method] = base;
            let labels = &mut [
                service,
                route,
                method,
                ("http.response.status_class", class),
            ];
            out.count(const { id("http.server.requests") }, labels, *count);
        }
    }
    let mut count = |metric: u32, value: u64| out.count(metric, &mut base.clone(), value);
    count(const { id("http.server.errors") }, totals.classes[4]);
    count(const { id("http.server.response.io") }, totals.bytes);
    if totals.timed > 0 {
        count(const { id("http.server.timed_requests") }, totals.timed);
        count(const { id("http.server.slow_requests") }, totals.slow);
    }
    if totals.compared > 0 {
        count(
            const { id("http.server.responses.compared") },
            totals.compared,
        );
        count(
            const { id("http.server.responses.identical") },
            totals.identical,
        );
    }
    if totals.first_attempts + totals.retries > 0 {
        count(
            const { id("http.server.first_attempts") },
            totals.first_attempts,
        );
        count(const { id("http.server.retries") }, totals.retries);
    }
    if totals.timed > 0 {
        let time = const { id("http.server.request.time") };
        out.record(time, &mut base.clone(), totals.time_us as f64 / 1e6);
    }
}

/// Says what the bound of endpoints leaves out.
pub(super) fn overflow_message(service: &str, max: usize) -> String {
    format!(
        "the log of {service} has more than {max} endpoints, the rest counts as {OTHER}: name the \
         variable parts of paths in `routes`, or raise max_endpoints"
    )
}
