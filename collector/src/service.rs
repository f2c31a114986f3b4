//! What a service is: something that is observed over a connection, at an interval of its own, by
//! passes that may wait, fail or hang without holding up the tick.
//!
//! When passes run is decided by [`run`]; what is asked in a pass is each module's business. What
//! comes by itself (OTLP, remote write) is a service too: its passes take what has arrived.

pub mod access_log;
#[cfg(test)]
#[path = "../../tests/services/servers.rs"]
mod fixture;
mod foreign;
pub mod http;
pub mod offline;
mod options;
pub mod otlp;
pub mod postgres;
pub mod redis;
pub mod remote_write;
mod roots;
mod run;
pub mod scrape;
mod secret;
#[cfg(test)]
#[path = "../../tests/services/skipped.rs"]
mod skipped;
pub mod websocket;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas as schemas;
use driftline_schemas::{Event, SampleBatch};

use self::http::HeaderSource;
use crate::config::{Config, PostgresConfig, RedisConfig, ScrapeConfig};
use crate::recorder::Recorder;
use run::Meter;
pub(crate) use run::{Services, Yield};

/// Something that is observed over a connection.
#[async_trait]
pub(crate) trait Service: Send {
    /// What kind of thing it is.
    fn component(&self) -> schemas::Component;

    /// Which one, as events and the cost of collection name it: `postgres.main`.
    fn subject(&self) -> &str;

    /// How often a pass begins, on whole multiples of the wall clock.
    fn interval(&self) -> Duration;

    /// After so long a pass is given up; the next one begins anew.
    fn time_out(&self) -> Duration;

    /// Records the samples of one pass. What was recorded before an error, or before the time-out,
    /// stays. It may be dropped at any await.
    ///
    /// # Errors
    /// What could not be reached, read or understood.
    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError>;

    /// Ends in order: takes nothing on any more, and records what it has taken on already. By default
    /// there is nothing of the kind.
    async fn close(&mut self, _out: &mut Pass) {}
}

/// What a pass yields.
pub(crate) struct Pass {
    /// Takes samples of metrics of the catalogue, at the pass's time.
    pub(crate) recorder: Recorder,
    /// Takes samples that bring their own times or definitions.
    pub(crate) batches: Vec<SampleBatch>,
    /// Takes facts.
    pub(crate) events: Vec<Event>,
    meter: Meter,
}

impl Pass {
    /// The time of the pass, in microseconds since 1970 UTC.
    pub(crate) fn ts_us(&self) -> i64 {
        self.recorder.ts_us()
    }

    /// Whether there is more than so many samples, which have been recorded before.
    fn has_more_than(&self, recorded: u64) -> bool {
        self.recorder.recorded() != recorded || !self.batches.is_empty() || !self.events.is_empty()
    }

    /// Takes everything, so that the next pass can begin.
    fn take(&mut self, ts_us: i64) -> Yield {
        let mut batches = vec![self.recorder.finish()];
        batches.append(&mut self.batches);
        Yield {
            ts_us,
            batches,
            events: std::mem::take(&mut self.events),
        }
    }

    /// Runs a task beside the passes (a connection, a listener), whose CPU time counts as this
    /// service's. It ends with the collector.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.meter.spawn(task);
    }
}

/// What kept a service from being observed, wholly or in part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// It does not answer, or the connection broke.
    #[error("{what} cannot be reached ({source}): {remedy}")]
    Unreachable {
        /// The address, without credentials.
        what: String,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// It answers, and refuses.
    #[error("{what} is refused ({source}): {remedy}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The service's word.
        source: Box<dyn Error + Send + Sync>,
        /// What the operator can do.
        remedy: String,
    },
    /// It lacks something that is needed: a version, an extension, a setting.
    #[error("{what} is not available: {remedy}")]
    Unavailable {
        /// What is missing.
        what: String,
        /// What the operator can do.
        remedy: String,
    },
    /// It says something that is not understood.
    #[error("{what} is not understood: {detail}")]
    Malformed {
        /// Which part of its answer.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// More things than are collected.
    #[error("there are more than {limit} {things}, the rest is not collected: {remedy}")]
    TooMany {
        /// What there is too much of.
        things: &'static str,
        /// How many are collected.
        limit: usize,
        /// What the operator can do.
        remedy: String,
    },
    /// The configuration names something that is not there.
    #[error("{what}: {remedy}")]
    Misconfigured {
        /// Which option, and what is wrong with it.
        what: String,
        /// What the operator can do.
        remedy: String,
    },
}

/// Says what cannot work of what is configured, without reading files or reaching for anything.
///
/// # Errors
/// The first option that is wrong, and what would do.
pub(crate) fn check(config: &Config) -> Result<(), ServiceError> {
    config.postgres.iter().try_for_each(postgres::check)?;
    config.redis.iter().try_for_each(RedisConfig::check)?;
    config.http.iter().try_for_each(http::check)?;
    config.access_log.iter().try_for_each(access_log::check)?;
    config.websocket.iter().try_for_each(websocket::check)?;
    config.prometheus.iter().try_for_each(ScrapeConfig::check)?;
    otlp::check(&config.otlp)?;
    remote_write::check(&config.remote_write)
}

/// Says which of the secrets everybody on this machine can read.
fn warn_of_exposed_secrets(config: &Config) {
    let probes = config.http.iter().map(|probe| &probe.headers);
    let probes = probes.chain(config.websocket.iter().map(|probe| &probe.headers));
    let of_headers = probes
        .flat_map(|headers| headers.values())
        .filter_map(HeaderSource::secret);
    let of_postgres = config.postgres.iter().filter_map(PostgresConfig::secret);
    let of_redis = config.redis.iter().filter_map(RedisConfig::secret);
    let of_scrapes = config.prometheus.iter().flat_map(ScrapeConfig::secrets);
    let all = of_headers.chain(of_postgres).chain(of_redis);
    all.chain(of_scrapes)
        .for_each(|secret| secret.warn_if_exposed());
}

/// All services that the configuration asks for.
pub(crate) fn services(config: &Config) -> Vec<Box<dyn Service>> {
    warn_of_exposed_secrets(config);
    let mut all = postgres::services(&config.postgres, &config.discover);
    all.extend(redis::services(&config.redis, &config.discover));
    all.extend(http::services(&config.http));
    all.extend(access_log::services(&config.access_log));
    all.extend(websocket::services(&config.websocket));
    all.extend(scrape::services(&config.prometheus));
    all.extend(otlp::services(&config.otlp));
    all.extend(remote_write::services(&config.remote_write));
    all
}
