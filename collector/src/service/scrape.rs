//! Exporters in the Prometheus and OpenMetrics text formats.
//!
//! What an exporter says up to its first mistake is kept; the mistake is told once, with its line
//! and column. Samples bear the labels `job` and `instance`, as they would in Prometheus; labels of
//! the exporter with these names become `exported_job` and `exported_instance`.

pub(super) mod take;
mod target;
#[cfg(test)]
mod tests;
pub(super) mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::metric::Component;
use driftline_schemas::metric::catalogue::id;
use serde::{Deserialize, Serialize};

use super::foreign::Limits;
use super::foreign::report::Report;
use super::options::Section;
use super::secret::Secret;
use super::{Pass, Service, ServiceError};
use crate::clock;
use crate::config::{NameFilter, duration};
use take::Taker;
use target::{Target, misconfigured};

/// How far back a sample's own time may lie.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How far ahead it may lie.
const MAX_AHEAD: Duration = Duration::from_secs(600);
/// Series are forgotten after so many scrapes without them, but not within 15 minutes.
const FORGET_AFTER_SCRAPES: u32 = 4;
const FORGET_AFTER: Duration = Duration::from_secs(900);

/// The largest exposition, and the most samples or series, that can be asked for.
const MAX_BODY_BYTES: usize = 1024 * 1024 * 1024;
const MAX_CHOSEN: usize = 10_000_000;

/// An exporter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrapeConfig {
    /// What it is called: the label `job`.
    pub name: String,
    /// Where its exposition is, without credentials: `http://127.0.0.1:9100/metrics`.
    pub url: String,
    /// How often it is scraped.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long a scrape may take.
    #[serde(with = "duration")]
    pub time_out: Duration,
    /// The file that holds a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// The variable of the environment that holds a bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_env: Option<String>,
    /// The user of basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The file that holds the user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The variable of the environment that holds the user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The certificates that are trusted, in PEM; by default those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether samples keep times that the exporter gives them.
    pub honor_times: bool,
    /// The largest exposition, decompressed.
    pub max_body_bytes: usize,
    /// Most samples of a scrape.
    pub max_samples: usize,
    /// Most series that are known at once.
    pub max_series: usize,
    /// Which metrics, by name.
    pub metrics: NameFilter,
    /// Labels that all samples bear.
    pub labels: BTreeMap<String, String>,
    /// Headers of the request.
    pub headers: Headers,
}

/// Headers of a request, whose values may be secrets: they are never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            interval: Duration::from_secs(15),
            time_out: Duration::from_secs(10),
            bearer_token_file: None,
            bearer_token_env: None,
            user: None,
            password_file: None,
            password_env: None,
            ca_file: None,
            honor_times: true,
            max_body_bytes: 64 * 1024 * 1024,
            max_samples: 250_000,
            max_series: 250_000,
            metrics: NameFilter::default(),
            labels: BTreeMap::new(),
            headers: Headers::default(),
        }
    }
}

/// How a request proves who asks.
#[derive(Debug, Clone)]
enum Credentials {
    None,
    Bearer(Secret),
    Basic(String, Secret),
}

impl ScrapeConfig {
    fn credentials(&self) -> Credentials {
        let secret = |file: &Option<PathBuf>, env: &Option<String>| {
            Secret::of(file.as_deref(), env.as_deref())
        };
        let bearer = secret(&self.bearer_token_file, &self.bearer_token_env);
        let password = secret(&self.password_file, &self.password_env);
        match (bearer, &self.user, password) {
            (Some(token), ..) => Credentials::Bearer(token),
            (None, Some(user), Some(password)) => Credentials::Basic(user.clone(), password),
            _ => Credentials::None,
        }
    }

    /// Where its token and its password are.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let pairs = [
            (&self.bearer_token_file, &self.bearer_token_env),
            (&self.password_file, &self.password_env),
        ];
        let secrets = pairs
            .into_iter()
            .filter_map(|(file, env)| Secret::of(file.as_deref(), env.as_deref()));
        secrets.collect()
    }

    /// Says what cannot work of a section.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        let section = Section {
            kind: "prometheus",
            name: &self.name,
        };
        section.check_name()?;
        section.check_times(&[("interval", self.interval), ("time_out", self.time_out)])?;
        section.check_counts(&[
            ("max_body_bytes", self.max_body_bytes, 1..=MAX_BODY_BYTES),
            ("max_samples", self.max_samples, 1..=MAX_CHOSEN),
            ("max_series", self.max_series, 1..=MAX_CHOSEN),
        ])?;
        let half =
            self.user.is_some() != (self.password_file.is_some() || self.password_env.is_some());
        if half {
            let what = format!(
                "{:?} has a user without a password, or the reverse",
                self.name
            );
            return Err(misconfigured(
                what,
                "give user and password_file or password_env",
            ));
        }
        target::parse(self).map(drop)
    }
}

pub(super) fn services(configs: &[ScrapeConfig]) -> Vec<Box<dyn Service>> {
    let scrape = |config: &ScrapeConfig| Box::new(Scrape::new(config)) as Box<dyn Service>;
    configs.iter().map(scrape).collect()
}

/// Scrapes one exporter.
struct Scrape {
    subject: String,
    config: ScrapeConfig,
    /// Made by the first pass, which can say what is wrong with the configuration.
    parts: Option<(Target, Taker)>,
    report: Report,
}

impl Scrape {
    fn new(config: &ScrapeConfig) -> Self {
        let subject = format!("prometheus.{}", config.name);
        Self {
            report: Report::new(Component::Prometheus, &subject),
            subject,
            config: config.clone(),
            parts: None,
        }
    }

    fn parts(&self) -> Result<(Target, Taker), ServiceError> {
        let config = &self.config;
        config.check()?;
        let target = Target::new(config)?;
        let mut own: Vec<(String, String)> = config.labels.clone().into_iter().collect();
        own.push(("job".to_owned(), config.name.clone()));
        own.push(("instance".to_owned(), target.instance.clone()));
        let limits = Limits {
            max_series: config.max_series,
            max_queued: config.max_samples,
            max_age: MAX_AGE,
            max_ahead: MAX_AHEAD,
            forget_after: FORGET_AFTER.max(config.interval * FORGET_AFTER_SCRAPES),
        };
        let taker = Taker::new(limits, config.metrics.clone(), own, config.honor_times);
        Ok((target, taker))
    }

    async fn scrape(&mut self, out: &mut Pass) -> Result<bool, ServiceError> {
        let (target, taker) = match &mut self.parts {
            Some(parts) => parts,
            none => {
                // Borrowed anew, because it is made of the configuration.
                none.take();
                let parts = self.parts()?;
                self.parts.insert(parts)
            }
        };
        let (form, text) = target.fetch(out).await?;
        let now_us = clock::now().wall_us;
        let (outcome, mistake) = taker.take(&text, form, out.ts_us(), now_us);
        out.batches.extend(taker.batches(now_us));
        let samples = const { id("driftline.collector.scrape.samples") };
        let labels = &mut [("driftline.component", self.subject.as_str())];
        out.recorder.count(samples, labels, outcome.samples);
        let mistake = mistake.map(|mistake| mistake.to_string());
        self.report.tell(&taker.intake, mistake.as_deref(), out);
        Ok(mistake.is_none())
    }
}

#[async_trait]
impl Service for Scrape {
    fn component(&self) -> Component {
        Component::Prometheus
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        self.config.interval
    }

    fn time_out(&self) -> Duration {
        self.config.time_out
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        let begun = clock::mono_ns();
        // The runner drops a pass that takes too long; whether it is up is to be recorded before.
        let bound = self.config.time_out.mul_f64(0.9);
        let outcome = match tokio::time::timeout(bound, self.scrape(out)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ServiceError::Unavailable {
                what: format!(
                    "an answer of {} within {:.1} s",
                    self.subject,
                    bound.as_secs_f64()
                ),
                remedy: "look whether the exporter is overloaded, or raise its time_out".to_owned(),
            }),
        };
        let took = Duration::from_nanos(clock::mono_ns().saturating_sub(begun));
        let labels = &mut [("driftline.component", self.subject.as_str())];
        let up = f64::from(u8::from(matches!(outcome, Ok(true))));
        out.recorder
            .record(const { id("driftline.collector.scrape.up") }, labels, up);
        let duration = const { id("driftline.collector.scrape.duration") };
        out.recorder.record(duration, labels, took.as_secs_f64());
        outcome.map(drop)
    }
}
