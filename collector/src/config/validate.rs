//! What the types do not check of a configuration: ranges, and what of the services cannot work.
//!
//! Nothing is read or reached for; whether a file or a server is there shows when it is needed.

use driftline_schemas::IdError;

use super::{Config, MAX_INTERVAL, MIN_INTERVAL, duration};
use crate::service;

/// The most blocks that may wait in memory.
const MAX_QUEUE_BLOCKS: usize = 100_000;
/// The most processes or control groups that can be asked for.
const MAX_CHOSEN: usize = 10_000;

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value is outside its range.
    #[error("{option} = {found} is out of range: choose {range}")]
    OutOfRange {
        /// The option's full name.
        option: &'static str,
        /// Its value.
        found: String,
        /// What would work.
        range: String,
    },
    /// The producer's id is not one.
    #[error("collector.producer = {found:?} cannot be a producer's id")]
    Producer {
        /// The value.
        found: String,
        /// What is wrong with it.
        source: IdError,
    },
    /// A service that is configured cannot be observed so.
    #[error("{reason}")]
    Service {
        /// Which one, what is wrong, and what would do.
        reason: String,
    },
}

impl Config {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let times = [
            ("collector.interval", self.interval),
            ("collector.sync_every", self.sync_every()),
            ("collector.host.interval", self.host.interval),
            ("collector.process.interval", self.process.interval),
            ("collector.process.scan_every", self.process.scan_every),
            ("collector.cgroup.interval", self.cgroup.interval),
            ("collector.cgroup.scan_every", self.cgroup.scan_every),
        ];
        for (option, found) in times {
            if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&found) {
                let (found, range) = (duration::format(found), "100ms to 1h".to_owned());
                return Err(ConfigError::OutOfRange {
                    option,
                    found,
                    range,
                });
            }
        }
        let counts = [
            (
                "collector.queue_blocks",
                self.queue_blocks,
                1,
                MAX_QUEUE_BLOCKS,
            ),
            ("collector.process.top", self.process.top, 0, MAX_CHOSEN),
            ("collector.process.max", self.process.max, 1, MAX_CHOSEN),
            ("collector.cgroup.depth", self.cgroup.depth, 0, 64),
            ("collector.cgroup.max", self.cgroup.max, 1, MAX_CHOSEN),
        ];
        for (option, found, least, most) in counts {
            if !(least..=most).contains(&found) {
                let (found, range) = (found.to_string(), format!("{least} to {most}"));
                return Err(ConfigError::OutOfRange {
                    option,
                    found,
                    range,
                });
            }
        }
        service::check(self).map_err(|error| ConfigError::Service {
            reason: error.to_string(),
        })?;
        self.producer_id("host").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_are_read_and_checked() {
        let config: Config =
            toml::from_str("interval = \"500ms\"\nsync_every = \"2s\"").expect("valid");
        assert_eq!(config.interval, Duration::from_millis(500));
        assert_eq!(config.sync_every(), Duration::from_secs(2));
        let cases = [
            ("interval = \"5ms\"", "collector.interval = 5ms"),
            ("queue_blocks = 0", "collector.queue_blocks = 0"),
            ("producer = \"Not One\"", "collector.producer"),
            ("[cgroup]\nmax = 0", "collector.cgroup.max"),
            (
                "[[redis]]\nsample = { interval = \"2h\" }",
                "collector.redis \"main\": sample.interval = 2h",
            ),
            ("[[redis]]\nurl = \"http://x\"", "write redis://"),
            (
                "[[postgres]]\nurl = \"postgresql://x/y\"\ntime_out = \"0s\"",
                "collector.postgres \"main\": time_out = 0s",
            ),
            ("[[postgres]]", "collector.postgres main: url"),
            (
                "[[http]]\nname = \"shop\"\nurl = \"http://x/\"\ninterval = \"1ms\"",
                "collector.http \"shop\": interval = 1ms",
            ),
            (
                "[[http]]\nname = \"shop\"\nurl = \"http://x/\"\nexpect_status = []",
                "expect_status",
            ),
            (
                "[[access_log]]\nname = \"shop\"\npath = \"x\"\ninterval = \"2h\"",
                "collector.access_log \"shop\": interval = 2h",
            ),
            (
                "[[websocket]]\nname = \"chat\"\nurl = \"ws://x/\"\ntime_out = \"9ms\"",
                "collector.websocket \"chat\": time_out = 9ms",
            ),
            (
                "[[prometheus]]\nname = \"node\"\nurl = \"http://x/\"\ntime_out = \"2h\"",
                "collector.prometheus \"node\": time_out = 2h",
            ),
            (
                "[otlp]\nmax_requests = 0",
                "collector.otlp: max_requests = 0",
            ),
            (
                "[remote_write]\nmax_queued = 0",
                "collector.remote_write: max_queued = 0",
            ),
        ];
        for (text, expected) in cases {
            let config: Config = toml::from_str(text).expect(text);
            let error = config.validate().expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
