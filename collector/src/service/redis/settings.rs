//! The settings that matter for performance: which are asked for, and what is done where they may not
//! be read. Pure.

use driftline_schemas::metric::catalogue::id;
use redis::Value;

use super::hot::Lfu;
use super::info::Info;
use super::record::Samples;

/// What is asked for, one by one: servers before 7 take one at a time, and none of them is a secret.
pub(super) const ASKED: [&str; 17] = [
    "maxmemory-policy",
    "maxmemory-samples",
    "activedefrag",
    "save",
    "appendonly",
    "appendfsync",
    "lfu-log-factor",
    "lfu-decay-time",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire",
    "io-threads",
    "hz",
    "timeout",
    "tcp-keepalive",
    "latency-tracking",
];

/// Settings and their values.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Settings(Vec<(String, String)>);

impl Settings {
    /// Reads the answers to `CONFIG GET`; a setting that this version lacks answers nothing.
    pub(super) fn read<'a>(answers: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut settings = Self::default();
        for answer in answers {
            let pair = match answer {
                Value::Array(parts) => match parts.as_slice() {
                    [name, value] => text(name).zip(text(value)),
                    _ => None,
                },
                Value::Map(pairs) => pairs
                    .first()
                    .and_then(|(name, value)| text(name).zip(text(value))),
                _ => None,
            };
            settings.0.extend(pair);
        }
        settings
    }

    /// What `INFO` tells, for users that may not ask.
    pub(super) fn of(info: &Info<'_>) -> Self {
        let mut settings = Self::default();
        if let Some(policy) = info.text("maxmemory_policy") {
            settings
                .0
                .push(("maxmemory-policy".to_owned(), policy.to_owned()));
        }
        if let Some(enabled) = info.text("aof_enabled") {
            let value = if enabled == "1" { "yes" } else { "no" };
            settings.0.push(("appendonly".to_owned(), value.to_owned()));
        }
        if let Some(hz) = info.text("configured_hz") {
            settings.0.push(("hz".to_owned(), hz.to_owned()));
        }
        settings
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the access counter of an LFU policy follows.
    pub(super) fn lfu(&self) -> Lfu {
        let number = |name| {
            let found = self.0.iter().find(|(known, _)| known == name)?;
            found.1.parse().ok().filter(|n: &f64| *n >= 0.0)
        };
        let default = Lfu::default();
        Lfu {
            factor: number("lfu-log-factor").unwrap_or(default.factor),
            decay_minutes: number("lfu-decay-time").unwrap_or(default.decay_minutes),
        }
    }

    /// Records them.
    pub(super) fn record(&self, samples: &mut Samples<'_>) {
        for (name, value) in &self.0 {
            let labels = [("setting", name.as_str()), ("value", value.as_str())];
            samples.record(const { id("redis.setting") }, &labels, 1.0);
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pair: &[&str]) -> Value {
        let parts = pair
            .iter()
            .map(|part| Value::BulkString(part.as_bytes().to_vec()));
        Value::Array(parts.collect())
    }

    #[test]
    fn answers_are_read_and_absent_settings_passed_over() {
        let answers = [
            answer(&["lfu-log-factor", "1"]),
            answer(&[]),
            Value::Nil,
            answer(&["save", "3600 1"]),
        ];
        let settings = Settings::read(&answers);
        assert_eq!(settings.0.len(), 2);
        let lfu = settings.lfu();
        assert_eq!((lfu.factor, lfu.decay_minutes), (1.0, 1.0));
    }

    #[test]
    fn info_stands_in() {
        let info = Info::parse("maxmemory_policy:allkeys-lfu\naof_enabled:0\nhz:10\n");
        let settings = Settings::of(&info);
        let expected = [("maxmemory-policy", "allkeys-lfu"), ("appendonly", "no")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings.0, expected);
        assert!(Settings::read(&[]).is_empty());
    }
}
