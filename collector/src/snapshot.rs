//! Collecting into memory: for a one-shot analysis, for debugging, for benches.

use std::time::Duration;

use driftline_schemas::{Event, SampleBatch};

use crate::agent::{Agent, Consumer, Output};
use crate::clock;
use crate::component::own::Writing;
use crate::config::{Config, ConfigError};
use crate::stop::Stop;
use crate::tick::{Schedule, micros};

/// What was collected over some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The samples, a batch per tick.
    pub batches: Vec<SampleBatch>,
    /// What happened meanwhile: failures of components, gaps.
    pub events: Vec<Event>,
}

/// Collects now and then every interval, up to and including the end of this time.
///
/// Ticks begin at once rather than on a whole second; a stop request ends it early.
///
/// # Errors
/// When the configuration cannot work.
pub fn snapshot(config: &Config, time: Duration, stop: &Stop) -> Result<Snapshot, ConfigError> {
    let intervals = micros(time) / micros(config.interval);
    let ticks = u64::try_from(intervals).unwrap_or(0) + 1;
    let mut snapshot = Snapshot::default();
    observe(config, Some(ticks), stop, |events, batch| {
        snapshot.events.extend(events);
        snapshot.batches.extend(batch);
    })?;
    Ok(snapshot)
}

/// Collects so many ticks from now on, or until a stop is requested, and hands over what each turn
/// yields: events, then, if a tick was held, its samples.
///
/// # Errors
/// When the configuration cannot work.
pub fn observe(
    config: &Config,
    ticks: Option<u64>,
    stop: &Stop,
    take: impl FnMut(Vec<Event>, Option<SampleBatch>),
) -> Result<(), ConfigError> {
    config.validate()?;
    let schedule = Schedule::immediate(clock::now(), config.interval);
    Agent::new(config).run(schedule, ticks, stop, &mut Taking(take));
    Ok(())
}

/// A function as the consumer.
struct Taking<F>(F);

impl<F: FnMut(Vec<Event>, Option<SampleBatch>)> Consumer for Taking<F> {
    fn take(&mut self, output: Output) -> bool {
        match output {
            Output::Events(events) => (self.0)(events, None),
            Output::Samples(_, batch) => (self.0)(Vec::new(), Some(batch)),
        }
        true
    }

    fn writing(&self) -> Option<Writing> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DiscoverConfig;
    use crate::testing::rows_of;

    #[test]
    fn this_host_is_collected_at_both_ends() {
        let config = Config {
            interval: Duration::from_millis(100),
            discover: DiscoverConfig::nothing(),
            ..Config::default()
        };
        let found =
            snapshot(&config, Duration::from_millis(200), &Stop::new()).expect("the default works");
        assert_eq!(found.batches.len(), 3);
        let first = rows_of(&found.batches[0]);
        for name in [
            "system.cpu.time",
            "system.memory.limit",
            "driftline.collector.tick.lateness",
        ] {
            assert!(first.iter().any(|row| row.0 == name), "{name} is missing");
        }
        let times: Vec<i64> = found
            .batches
            .iter()
            .map(|batch| batch.samples[0].ts_us)
            .collect();
        assert_eq!(
            (times[1] - times[0], times[2] - times[1]),
            (100_000, 100_000)
        );
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        let config = Config {
            interval: Duration::ZERO,
            ..Config::default()
        };
        let error =
            snapshot(&config, Duration::from_secs(1), &Stop::new()).expect_err("no interval");
        assert!(error.to_string().contains("collector.interval"), "{error}");
    }
}
