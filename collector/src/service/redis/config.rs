//! What can be configured of a Redis server: one section `[[collector.redis]]` each.
//!
//! The password is read when a connection is made, and shown nowhere; connecting is left to
//! [`super::connection`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::config::duration;
use crate::service::ServiceError;
use crate::service::options::Section;
use crate::service::secret::Secret;

/// The most series, events or keys that can be asked for.
const MAX_BOUND: usize = 100_000;
/// A Redis server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// What the server is called in series (`service.instance.id`) and events.
    pub name: String,
    /// Where it is: `redis://[user@]host:port/db` or `unix:///path?db=0&user=name`.
    pub url: RedisUrl,
    /// A file that holds the password alone; a line feed at its end is not part of it.
    pub password_file: Option<PathBuf>,
    /// The name of an environment variable that holds the password.
    pub password_env: Option<String>,
    /// How often it is observed.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// After so long a pass is given up.
    #[serde(with = "duration")]
    pub time_out: Duration,
    /// How often the settings that matter for performance are asked for.
    #[serde(with = "duration")]
    pub settings_every: Duration,
    /// At most so many commands have series of their own, those that take most time first.
    pub commands: usize,
    /// The slow log.
    pub slow_log: SlowLogConfig,
    /// The keys that are sampled.
    pub sample: SampleConfig,
}

/// What is taken of the slow log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlowLogConfig {
    /// Whether it is read at all.
    pub enabled: bool,
    /// How often; rounded up to whole passes.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// At most so many entries are read at once.
    pub entries: usize,
    /// At most so many of them become events, the slowest first.
    pub events: usize,
}

/// How keys are sampled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Whether keys are sampled at all.
    pub enabled: bool,
    /// How often; rounded up to whole passes.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// About so many keys are looked at each time.
    pub count: usize,
    /// At most so many patterns have series, those with most keys first.
    pub patterns: usize,
    /// At most so many big keys and so many hot keys are followed.
    pub top: usize,
    /// A key is big from so many bytes on.
    pub big_bytes: u64,
    /// A key is big from so many items on.
    pub big_items: u64,
    /// Whether big and hot keys are named. They may hold personal data; warming a cache needs them.
    pub keys: bool,
}

/// The address of a server, which may hold a password. Its text forms do not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Takes an address as it is written in the configuration.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// With the password, to connect.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(mut url) = url::Url::parse(&self.0) else {
            return f.write_str("(an address that cannot be parsed)");
        };
        // Both fail only for addresses without a host, which hold neither.
        let _ = url.set_password(None);
        let shown: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| key != "pass")
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        url.set_query(None);
        if !shown.is_empty() {
            url.query_pairs_mut().extend_pairs(shown);
        }
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            url: RedisUrl::new("redis://127.0.0.1:6379"),
            password_file: None,
            password_env: None,
            interval: Duration::from_secs(10),
            time_out: Duration::from_secs(5),
            settings_every: Duration::from_secs(60),
            commands: 100,
            slow_log: SlowLogConfig::default(),
            sample: SampleConfig::default(),
        }
    }
}

impl Default for SlowLogConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(10),
            entries: 128,
            events: 20,
        }
    }
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(60),
            count: 1_000,
            patterns: 20,
            top: 10,
            big_bytes: 100_000,
            big_items: 5_000,
            keys: false,
        }
    }
}

impl RedisConfig {
    /// Says what cannot work, without reading the password or reaching for the server.
    pub(in crate::service) fn check(&self) -> Result<(), ServiceError> {
        let section = Section {
            kind: "redis",
            name: &self.name,
        };
        section.check_name()?;
        if self.password_file.is_some() && self.password_env.is_some() {
            let what = "password_file and password_env are both set";
            return Err(section.refuse(what, "keep one of them"));
        }
        section.check_times(&[
            ("interval", self.interval),
            ("time_out", self.time_out),
            ("settings_every", self.settings_every),
            ("slow_log.interval", self.slow_log.interval),
            ("sample.interval", self.sample.interval),
        ])?;
        section.check_counts(&[
            ("commands", self.commands, 1..=MAX_BOUND),
            ("slow_log.entries", self.slow_log.entries, 1..=MAX_BOUND),
            ("sample.count", self.sample.count, 1..=MAX_BOUND),
            ("sample.patterns", self.sample.patterns, 1..=MAX_BOUND),
            ("sample.top", self.sample.top, 1..=MAX_BOUND),
        ])?;
        super::connection::parse(self).map(drop)
    }

    /// Where the password is, if it is configured apart from the address.
    pub(in crate::service) fn secret(&self) -> Option<Secret> {
        Secret::of(self.password_file.as_deref(), self.password_env.as_deref())
    }

    /// The password, where one is configured apart from the address.
    pub(super) fn password(&self) -> Result<Option<String>, ServiceError> {
        let whose = || format!("the password of collector.redis {:?}", self.name);
        self.secret()
            .map(|secret| secret.read(&whose()))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        for (url, shown) in [
            (
                "redis://watch:secret@cache.example:6380/2",
                "redis://watch@cache.example:6380/2",
            ),
            ("redis://:secret@127.0.0.1/", "redis://127.0.0.1/"),
            (
                "unix:///run/redis.sock?db=1&user=watch&pass=secret",
                "unix:///run/redis.sock?db=1&user=watch",
            ),
            ("sec ret", "(an address that cannot be parsed)"),
        ] {
            let config = RedisConfig {
                url: RedisUrl::new(url),
                ..RedisConfig::default()
            };
            let texts = [
                format!("{config:?}"),
                toml::to_string(&config).expect("serialisable"),
            ];
            for text in texts {
                assert!(!text.contains("secret") && text.contains(shown), "{text}");
            }
            assert_eq!(config.url.expose(), url);
        }
    }

    #[test]
    fn what_cannot_work_is_said() {
        let cases: [(&str, &str); 5] = [
            ("interval = \"5ms\"", "interval = 5ms is out of range"),
            ("name = \"\"", "name"),
            (
                "password_env = \"A\"\npassword_file = \"b\"",
                "keep one of them",
            ),
            ("[sample]\ncount = 0", "sample.count = 0"),
            ("[slow_log]\ninterval = \"2h\"", "slow_log.interval = 2h"),
        ];
        for (text, expected) in cases {
            let config: RedisConfig = toml::from_str(text).expect(text);
            let error = config.check().expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
        RedisConfig::default().check().expect("the default works");
    }
}
