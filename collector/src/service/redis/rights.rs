//! What the user may not do: told once per command with the rule that is missing, and asked for again
//! after a while. Pure, apart from the memory of what was told.

use std::collections::HashMap;

use driftline_schemas::{Component, Event};
use redis::{ServerErrorKind, Value};

use crate::health::Health;

/// What was refused is asked for again after so long.
const ASK_AGAIN_US: i64 = 300_000_000;

/// A command that can be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Right {
    Settings,
    SlowLog,
    Scan,
    Select,
    Memory,
    Ttl,
    Frequency,
    Kind,
    Length,
}

impl Right {
    /// What an operator calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Settings => "CONFIG GET",
            Self::SlowLog => "SLOWLOG GET",
            Self::Scan => "SCAN",
            Self::Select => "SELECT",
            Self::Memory => "MEMORY USAGE",
            Self::Ttl => "PTTL",
            Self::Frequency => "OBJECT FREQ",
            Self::Kind => "TYPE",
            Self::Length => "the length of keys",
        }
    }

    /// What is added to the subject of events.
    const fn part(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::SlowLog => "slow_log",
            Self::Scan => "keys",
            Self::Select => "databases",
            Self::Memory => "keys.memory",
            Self::Ttl => "keys.ttl",
            Self::Frequency => "keys.frequency",
            Self::Kind => "keys.type",
            Self::Length => "keys.length",
        }
    }

    /// What it takes, as `ACL SETUSER` writes it.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Self::Settings => "+config|get",
            Self::SlowLog => "+slowlog|get",
            Self::Scan => "+scan",
            Self::Select => "+select",
            Self::Memory => "+memory|usage",
            Self::Ttl => "+pttl",
            Self::Frequency => "+object|freq",
            Self::Kind => "+type",
            Self::Length => "+llen +scard +zcard +hlen +xlen",
        }
    }

    /// What is not seen without it.
    const fn missed(self) -> &'static str {
        match self {
            Self::Settings => "only the settings that INFO tells are known",
            Self::SlowLog => "slow commands are not seen",
            Self::Scan => "no keys are sampled",
            Self::Select => "only the database of url is sampled",
            Self::Memory => "big keys are not seen",
            Self::Ttl => "the TTLs of patterns are not seen",
            Self::Frequency => "hot keys are not seen",
            Self::Kind | Self::Length => "the length of big keys is not seen",
        }
    }
}

/// Why an answer is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The user may not run the command.
    Command(String),
    /// The user may not read the key.
    Key(String),
    /// The server does not have the command, or its provider has hidden it.
    Absent(String),
    /// The server loads, has lost its primary, or runs a script: it passes.
    NotNow,
    /// It does not apply to this key or this policy.
    NotApplicable,
}

/// Whether an answer is what was asked for.
pub(super) fn refusal(answer: &Value) -> Option<Refusal> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    let text = || error.to_string();
    let details = error.details().unwrap_or_default();
    Some(match error.kind() {
        Some(ServerErrorKind::NoPerm) if details.contains("command") => Refusal::Command(text()),
        Some(ServerErrorKind::NoPerm) => Refusal::Key(text()),
        Some(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => Refusal::NotNow,
        Some(ServerErrorKind::ResponseError)
            if details.starts_with("unknown command")
                || details.starts_with("unknown subcommand")
                || details.starts_with("Unknown subcommand") =>
        {
            Refusal::Absent(text())
        }
        None if error.code() == "BUSY" => Refusal::NotNow,
        _ => Refusal::NotApplicable,
    })
}

/// What was refused so far.
#[derive(Debug, Default)]
pub(super) struct Rights {
    health: Health,
    /// When what was refused is asked for again, in microseconds since 1970 UTC.
    again_us: HashMap<Right, i64>,
}

impl Rights {
    /// Whether to ask at all.
    pub(super) fn may(&self, right: Right, ts_us: i64) -> bool {
        self.again_us
            .get(&right)
            .is_none_or(|again| *again <= ts_us)
    }

    /// Takes note of an answer; says what is new about it.
    pub(super) fn note(
        &mut self,
        right: Right,
        refusal: Option<&Refusal>,
        subject: &str,
        user: &str,
        ts_us: i64,
    ) -> Option<Event> {
        let (name, missed) = (right.name(), right.missed());
        let outcome = match refusal {
            Some(Refusal::NotNow | Refusal::NotApplicable) => return None,
            None => Ok(()),
            Some(Refusal::Command(text)) => Err(format!(
                "{name} is refused ({text}), so {missed}: ACL SETUSER {user} {}",
                right.rule()
            )),
            Some(Refusal::Key(text)) => Err(format!(
                "{name} is refused for a key ({text}), so {missed}: ACL SETUSER {user} %R~* (~* before Redis 7)"
            )),
            Some(Refusal::Absent(text)) => Err(format!(
                "{name} is not available ({text}), so {missed}: ask the server's provider, or leave it so"
            )),
        };
        if outcome.is_err() {
            self.again_us
                .insert(right, ts_us.saturating_add(ASK_AGAIN_US));
        } else {
            self.again_us.remove(&right);
        }
        let subject = format!("{subject}.{}", right.part());
        self.health
            .observe(Component::Redis, &subject, outcome, ts_us)
    }
}

#[cfg(test)]
mod tests {
    use driftline_schemas::EventName;
    use redis::{ErrorKind, RedisError};

    use super::*;

    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error reply")
    }

    #[test]
    fn refusals_are_told_apart() {
        let command = "NOPERM this user has no permissions to run the 'scan' command";
        assert!(matches!(
            refusal(&error(command)),
            Some(Refusal::Command(_))
        ));
        for key in [
            "NOPERM No permissions to access a key",
            "NOPERM this user has no permissions to access one of the keys used as arguments",
        ] {
            assert!(
                matches!(refusal(&error(key)), Some(Refusal::Key(_))),
                "{key}"
            );
        }
        for absent in [
            "ERR unknown command 'CONFIG', with args beginning with: 'GET'",
            "ERR unknown subcommand 'FREQ'. Try OBJECT HELP.",
        ] {
            assert!(
                matches!(refusal(&error(absent)), Some(Refusal::Absent(_))),
                "{absent}"
            );
        }
        for later in [
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "BUSY Redis is busy running a script.",
        ] {
            assert_eq!(refusal(&error(later)), Some(Refusal::NotNow), "{later}");
        }
        let policy = "ERR An LFU maxmemory policy is not selected, access frequency not tracked.";
        assert_eq!(refusal(&error(policy)), Some(Refusal::NotApplicable));
        assert_eq!(refusal(&Value::Nil), None);
        let io = RedisError::from((ErrorKind::Io, "gone"));
        assert!(io.is_io_error());
    }

    #[test]
    fn a_refusal_is_told_once_with_the_rule_and_asked_for_again_later() {
        let mut rights = Rights::default();
        let refused = Refusal::Command("NoPerm".to_owned());
        let note = |rights: &mut Rights, refusal, second: i64| {
            rights.note(
                Right::SlowLog,
                refusal,
                "redis.main",
                "watch",
                second * 1_000_000,
            )
        };
        let event = note(&mut rights, Some(&refused), 0).expect("told");
        assert_eq!(event.name, EventName::ComponentFailed);
        assert_eq!(event.subject, "redis.main.slow_log");
        assert!(
            event.message.ends_with("ACL SETUSER watch +slowlog|get"),
            "{}",
            event.message
        );
        assert!(!rights.may(Right::SlowLog, 1_000_000) && rights.may(Right::Scan, 0));
        assert!(rights.may(Right::SlowLog, 300_000_000));
        assert_eq!(note(&mut rights, Some(&refused), 300), None, "told once");
        assert_eq!(note(&mut rights, None, 600), None);
        let event = note(&mut rights, None, 700).expect("recovered");
        assert_eq!(event.name, EventName::ComponentRecovered);
    }
}
