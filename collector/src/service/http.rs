//! HTTP APIs, by a synthetic probe: each pass sends one request and measures every step of it. That a
//! target is down is a result and not a failure of the pass, so that it is measured on.
//!
//! Redirects are not followed: they are answers like others.

mod compare;
pub(super) mod dial;
mod exchange;
pub(super) mod headers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Component, Event, EventName};
use http::Method;
use serde::{Deserialize, Serialize};

use super::options::Section;
use super::{Pass, Service, ServiceError};
use crate::clock;
use crate::config::duration;
use compare::Comparison;
use dial::{Failure, Steps, Target, Tls};
use exchange::{Answer, Connection};
pub use headers::HeaderSource;
use headers::Headers;

/// The pass may take so much longer than the probe, which then tells what it waited for.
pub(super) const GRACE: Duration = Duration::from_secs(1);
const SERVICE: &str = "service.name";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// An address that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpProbeConfig {
    /// What the service is called in labels and events.
    pub name: String,
    /// `http://` or `https://`, without credentials.
    pub url: String,
    /// The request's method.
    pub method: String,
    /// Its headers; secrets as `{ file = … }` or `{ env = … }`.
    pub headers: BTreeMap<String, HeaderSource>,
    /// Its body.
    pub body: String,
    /// The statuses that are expected: `2xx`, `404`, `200-204`.
    pub expect_status: Vec<String>,
    /// What the first MiB of the body must contain.
    pub expect_body: String,
    /// How often it is probed.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// After so long a probe has failed.
    #[serde(with = "duration")]
    pub time_out: Duration,
    /// Whether a connection is used for several probes; then only the first one measures connecting.
    pub reuse: bool,
    /// Certificates in PEM that are trusted instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Default for HttpProbeConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            method: "GET".to_owned(),
            headers: Headers::new(),
            body: String::new(),
            expect_status: vec!["2xx".to_owned()],
            expect_body: String::new(),
            interval: Duration::from_secs(10),
            time_out: Duration::from_secs(5),
            reuse: false,
            ca_file: None,
        }
    }
}

pub(super) fn services(configs: &[HttpProbeConfig]) -> Vec<Box<dyn Service>> {
    let service =
        |config: &HttpProbeConfig| -> Box<dyn Service> { Box::new(Probe::new(config.clone())) };
    configs.iter().map(service).collect()
}

/// A probe and what it has counted.
struct Probe {
    subject: String,
    config: HttpProbeConfig,
    /// Made at the first pass.
    plan: Option<Plan>,
    connection: Option<Connection>,
    comparison: Comparison,
    requests: u64,
    classes: [u64; 5],
    errors: BTreeMap<&'static str, u64>,
    is_failing: bool,
}

/// What a configuration comes to.
struct Plan {
    target: Target,
    tls: Option<Tls>,
    method: Method,
    statuses: Vec<(u16, u16)>,
}

/// What a probe came to.
#[derive(Debug, Default)]
struct Outcome {
    steps: Steps,
    answer: Option<Answer>,
    total_ns: u64,
    failure: Option<Failure>,
}

impl Probe {
    fn new(config: HttpProbeConfig) -> Self {
        Self {
            subject: format!("http.{}", config.name),
            config,
            plan: None,
            connection: None,
            comparison: Comparison::default(),
            requests: 0,
            classes: [0; 5],
            errors: BTreeMap::new(),
            is_failing: false,
        }
    }

    /// Sends one request. The steps that were done are noted whatever comes of it.
    async fn probe(&mut self, plan: &Plan, out: &Pass) -> Result<Outcome, ServiceError> {
        let headers = headers::read(&self.config.headers)?;
        let mut outcome = Outcome::default();
        let begun = clock::mono_ns();
        let (time_out, kept) = (self.config.time_out, self.connection.take());
        let doing = async {
            let mut connection = match kept.filter(Connection::is_open) {
                Some(connection) => connection,
                None => {
                    let stream =
                        dial::dial(&plan.target, plan.tls.as_ref(), &mut outcome.steps).await?;
                    Connection::open(stream, out, time_out, self.config.reuse).await?
                }
            };
            let request = exchange::request(
                &plan.target,
                &plan.method,
                &headers,
                &self.config.body,
                &connection,
            )?;
            let answer = connection
                .exchange(request, &self.config.expect_body)
                .await?;
            Ok::<_, Failure>((connection, answer))
        };
        match tokio::time::timeout(time_out, doing).await {
            Err(_) => outcome.failure = Some(Failure::timeout(time_out)),
            Ok(Err(failure)) => outcome.failure = Some(failure),
            Ok(Ok((connection, answer))) => {
                outcome.total_ns = clock::mono_ns() - begun;
                outcome.failure = judge(&answer, &plan.statuses, &self.config.expect_body);
                outcome.answer = Some(answer);
                self.connection = self.config.reuse.then_some(connection);
            }
        }
        Ok(outcome)
    }

    /// Counts and records what a probe came to.
    fn record(&mut self, outcome: &Outcome, out: &mut Pass) {
        self.requests += 1;
        if let Some(failure) = &outcome.failure {
            *self.errors.entry(failure.reason).or_default() += 1;
        }
        if let Some(answer) = &outcome.answer {
            let class = usize::from(answer.status / 100).clamp(1, CLASSES.len()) - 1;
            self.classes[class] += 1;
            if outcome.failure.is_none() && self.config.method == "GET" {
                self.comparison
                    .note(answer.etag.as_deref(), answer.body_hash);
            }
        }
        let name = self.config.name.as_str();
        let recorder = &mut out.recorder;
        let mut value = |metric: u32, value: f64| {
            recorder.record(metric, &mut [(SERVICE, name)], value);
        };
        let up = if outcome.failure.is_none() { 1.0 } else { 0.0 };
        value(const { id("httpcheck.up") }, up);
        value(const { id("httpcheck.requests") }, self.requests as f64);
        let compared = const { id("httpcheck.responses.compared") };
        value(compared, self.comparison.compared as f64);
        let identical = const { id("httpcheck.responses.identical") };
        value(identical, self.comparison.identical as f64);
        let steps = &outcome.steps;
        let first_byte_ns = outcome.answer.as_ref().map(|answer| answer.first_byte_ns);
        let total_ns = outcome.answer.as_ref().map(|_| outcome.total_ns);
        let times = [
            (const { id("httpcheck.duration") }, total_ns),
            (const { id("httpcheck.dns.lookup.duration") }, steps.dns_ns),
            (
                const { id("httpcheck.client.connection.duration") },
                steps.connect_ns,
            ),
            (
                const { id("httpcheck.tls.handshake.duration") },
                steps.tls_ns,
            ),
            (
                const { id("httpcheck.response.first_byte.duration") },
                first_byte_ns,
            ),
        ];
        for (metric, ns) in times {
            if let Some(ns) = ns {
                value(metric, ns as f64 / 1e9);
            }
        }
        if let Some(remaining_s) = steps.cert_remaining_s {
            value(
                const { id("httpcheck.tls.cert_remaining") },
                remaining_s as f64,
            );
        }
        if let Some(answer) = &outcome.answer {
            value(const { id("httpcheck.response.size") }, answer.bytes as f64);
        }
        for (class, count) in CLASSES.into_iter().zip(self.classes) {
            if count > 0 {
                let labels = &mut [(SERVICE, name), ("http.response.status_class", class)];
                out.recorder
                    .count(const { id("httpcheck.responses") }, labels, count);
            }
        }
        for (reason, count) in &self.errors {
            let labels = &mut [(SERVICE, name), ("error.type", *reason)];
            out.recorder
                .count(const { id("httpcheck.errors") }, labels, *count);
        }
    }
}

#[async_trait]
impl Service for Probe {
    fn component(&self) -> Component {
        Component::Http
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        self.config.interval
    }

    fn time_out(&self) -> Duration {
        self.config.time_out + GRACE
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        let plan = match self.plan.take() {
            Some(plan) => plan,
            None => plan(&self.config)?,
        };
        let outcome = self.probe(&plan, out).await;
        let shown = plan.target.shown.clone();
        self.plan = Some(plan);
        let outcome = outcome?;
        self.record(&outcome, out);
        let failure = outcome.failure.as_ref();
        let told = tell(
            &mut self.is_failing,
            failure,
            (Component::Http, &self.subject, &shown),
            out.ts_us(),
        );
        out.events.extend(told);
        Ok(())
    }
}

/// Says what cannot work of a section.
pub(super) fn check(config: &HttpProbeConfig) -> Result<(), ServiceError> {
    let section = section(config);
    section.check_name()?;
    section.check_times(&[("interval", config.interval), ("time_out", config.time_out)])?;
    understood(config).map(drop)
}

const fn section(config: &HttpProbeConfig) -> Section<'_> {
    Section {
        kind: "http",
        name: config.name.as_str(),
    }
}

/// A range of statuses, both ends included.
type Statuses = (u16, u16);

/// Target, method and expected statuses.
fn understood(config: &HttpProbeConfig) -> Result<(Target, Method, Vec<Statuses>), ServiceError> {
    let section = section(config);
    let target = Target::parse(&config.url, ["http", "https"])?;
    let method = Method::from_bytes(config.method.as_bytes())
        .map_err(|error| section.refuse(&error.to_string(), "name a method such as GET"))?;
    let statuses: Option<Vec<_>> = config
        .expect_status
        .iter()
        .map(|text| status_range(text))
        .collect();
    let statuses = statuses.filter(|all| !all.is_empty()).ok_or_else(|| {
        section.refuse(
            "expect_status is not understood",
            "write statuses such as \"2xx\", \"404\" or \"200-204\"",
        )
    })?;
    Ok((target, method, statuses))
}

fn plan(config: &HttpProbeConfig) -> Result<Plan, ServiceError> {
    check(config)?;
    let (target, method, statuses) = understood(config)?;
    let tls = match target.is_secure {
        true => Some(Tls::new(config.ca_file.as_deref(), &[b"h2", b"http/1.1"])?),
        false => None,
    };
    Ok(Plan {
        target,
        tls,
        method,
        statuses,
    })
}

/// Reads `2xx`, `404` or `200-204`.
fn status_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.strip_suffix("xx") {
        Some(class) => {
            let class: u16 = class.parse().ok()?;
            (class.checked_mul(100)?, class.checked_mul(100)? + 99)
        }
        None => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            (first.parse().ok()?, last.parse().ok()?)
        }
    };
    (100 <= first && first <= last && last <= 599).then_some((first, last))
}

/// Whether an answer is the one that is expected.
fn judge(answer: &Answer, statuses: &[(u16, u16)], expected: &str) -> Option<Failure> {
    let status = answer.status;
    if !statuses
        .iter()
        .any(|range| (range.0..=range.1).contains(&status))
    {
        return Some(Failure::new("status", format!("the answer was {status}")));
    }
    if answer.is_cut {
        return Some(Failure::new("body", "the answer is too large"));
    }
    let missing = !expected.is_empty() && !answer.has_expected;
    missing.then(|| Failure::new("body", "the answer does not contain expect_body"))
}

/// Tells when a probe begins to fail and when it ceases to.
pub(super) fn tell(
    is_failing: &mut bool,
    failure: Option<&Failure>,
    (component, subject, shown): (Component, &str, &str),
    ts_us: i64,
) -> Option<Event> {
    if std::mem::replace(is_failing, failure.is_some()) == failure.is_some() {
        return None;
    }
    let (name, message) = match failure {
        Some(failure) => ("ProbeFailed", format!("{shown} fails: {failure}")),
        None => (
            "ProbeRecovered",
            format!("{shown} answers as expected again"),
        ),
    };
    let reason = failure.map(|failure| ("error.type".to_owned(), failure.reason.to_owned()));
    Some(Event {
        ts_us,
        name: EventName::Other(name.to_owned()),
        component,
        subject: subject.to_owned(),
        message,
        attributes: reason.into_iter().collect(),
    })
}
