//! Which keys are asked for, by Redis's MONITOR: for a time that a person has bounded, since it
//! costs the server more than half as much again per command while it runs.
//!
//! Of each command only its name, its keys and its time to live are kept, never a value.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;

use super::estimate::Access;
use super::loader::captures;
use crate::config::ServerConfig;
use crate::server::{self, ServerError};

/// Accesses that are kept at most; then the observation ends early.
pub const ACCESSES_MAX: usize = 2_000_000;
/// Bytes of keys that are kept at most.
const KEY_BYTES_MAX: usize = 256 << 20;
/// Commands that look for a string, with how many of their arguments are keys.
const LOOKUPS: [(&str, Keys); 4] = [
    ("get", Keys::First),
    ("getex", Keys::First),
    ("getdel", Keys::First),
    ("mget", Keys::All),
];
/// Commands that look for a key of another type: they count in the hit ratio of the server.
const OTHER_LOOKUPS: [&str; 18] = [
    "exists",
    "hexists",
    "hget",
    "hgetall",
    "hlen",
    "hmget",
    "lindex",
    "llen",
    "lrange",
    "scard",
    "sismember",
    "smembers",
    "strlen",
    "zcard",
    "zrange",
    "zrangebyscore",
    "zrank",
    "zscore",
];

/// Which arguments of a command are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    First,
    All,
}

/// What was asked for while it was observed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Lookups of keys of the pattern, in order.
    pub accesses: Vec<Access>,
    /// Lookups in all, of any key and type.
    pub lookups: u64,
    /// Times to live with which the application wrote keys of the pattern, in microseconds;
    /// `None` for those that live for ever.
    pub fills: Vec<Option<i64>>,
    /// Lines that were not understood.
    pub unread: u64,
    /// Whether it ended early because there was no room for more.
    pub full: bool,
}

/// A line of MONITOR, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    ts_us: i64,
    /// Its name, in small letters.
    name: String,
    arguments: Vec<String>,
}

impl Observed {
    /// The usual time to live of what the application writes: the median, where for ever counts as
    /// longest. `None` where nothing was written.
    pub fn fill_ttl_us(&self) -> Option<Option<i64>> {
        let mut all = self.fills.clone();
        all.sort_by_key(|ttl| ttl.unwrap_or(i64::MAX));
        all.get(all.len() / 2).copied()
    }

    /// The part of all lookups that is of the pattern.
    pub fn share(&self) -> f64 {
        self.accesses.len() as f64 / self.lookups.max(1) as f64
    }

    fn take(&mut self, pattern: &str, line: &str) {
        let Some(command) = parse(line) else {
            self.unread += 1;
            return;
        };
        let name = command.name.as_str();
        let lookup = LOOKUPS.iter().find(|(known, _)| *known == name);
        if let Some((_, keys)) = lookup {
            let count = match keys {
                Keys::First => 1,
                Keys::All => command.arguments.len(),
            };
            for key in command.arguments.into_iter().take(count) {
                self.lookups += 1;
                if captures(pattern, &key).is_some() {
                    let ts_us = command.ts_us;
                    self.accesses.push(Access { ts_us, key });
                }
            }
        } else if OTHER_LOOKUPS.contains(&name) {
            self.lookups += 1;
        } else if let Some(ttl_us) = fill(&command)
            && captures(pattern, &command.arguments[0]).is_some()
        {
            self.fills.push(ttl_us);
        }
    }
}

/// Observes a server until time is up. Its own command and those of scripts are among what it sees.
pub async fn observe(
    server: &ServerConfig,
    pattern: &str,
    time: Duration,
) -> Result<Observed, ServerError> {
    let failed = |source| server::redis_failed(server, source);
    let client = server::redis_client(server).await?;
    let monitor = client.get_async_monitor().await.map_err(failed)?;
    let mut lines = std::pin::pin!(monitor.into_on_message::<String>());
    let deadline = Instant::now() + time;
    let mut observed = Observed::default();
    let mut key_bytes = 0;
    while let Ok(line) = tokio::time::timeout_at(deadline, lines.next()).await {
        let Some(line) = line else {
            return Err(ServerError::Unexpected {
                name: server.name.clone(),
                problem: "it ended the observation; may this user run MONITOR?".to_owned(),
            });
        };
        let before = observed.accesses.len();
        observed.take(pattern, &line);
        let new = &observed.accesses[before..];
        key_bytes += new.iter().map(|access| access.key.len()).sum::<usize>();
        if observed.accesses.len() >= ACCESSES_MAX || key_bytes >= KEY_BYTES_MAX {
            observed.full = true;
            break;
        }
    }
    Ok(observed)
}

/// The time to live of a command that writes a string; `None` if it writes none.
fn fill(command: &Command) -> Option<Option<i64>> {
    let argument = |at: usize| command.arguments.get(at).map(String::as_str);
    let micros = |text: Option<&str>, unit: i64| -> Option<i64> {
        Some(text?.parse::<i64>().ok()?.saturating_mul(unit))
    };
    match command.name.as_str() {
        "setex" => Some(micros(argument(1), 1_000_000)),
        "psetex" => Some(micros(argument(1), 1_000)),
        "set" => {
            let options = command.arguments.get(2..)?;
            let ttl = options.windows(2).find_map(|pair| {
                let unit = match pair[0].to_ascii_lowercase().as_str() {
                    "ex" => 1_000_000,
                    "px" => 1_000,
                    _ => return None,
                };
                micros(Some(&pair[1]), unit)
            });
            Some(ttl)
        }
        _ => None,
    }
}

/// Reads `1339518083.107412 [0 127.0.0.1:60866] "get" "key"`, where quotes, backslashes and bytes
/// that cannot be printed are escaped.
fn parse(line: &str) -> Option<Command> {
    let (time, rest) = line.split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let ts_us = seconds
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(micros.parse().ok()?)?;
    let (_, rest) = rest.split_once("] ")?;
    let mut words = quoted(rest)?.into_iter();
    let name = words.next()?.to_ascii_lowercase();
    Some(Command {
        ts_us,
        name,
        arguments: words.collect(),
    })
}

/// Words in quotes. One that is no UTF-8 is refused: it is no key that a loader could be asked for.
fn quoted(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' => continue,
            b'"' => {}
            _ => return None,
        }
        let mut word = Vec::new();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => word.push(match bytes.next()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits = [bytes.next()?, bytes.next()?];
                        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                    }
                    other => other,
                }),
                other => word.push(other),
            }
        }
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(lines: &[&str]) -> Observed {
        let mut observed = Observed::default();
        for line in lines {
            observed.take("order:*", line);
        }
        observed
    }

    #[test]
    fn lookups_of_the_pattern_are_kept_in_order_and_all_are_counted() {
        let all = observed(&[
            r#"1700000000.000001 [0 127.0.0.1:5] "GET" "order:1""#,
            r#"1700000000.000002 [0 127.0.0.1:5] "mget" "order:2" "cart:1" "order:3""#,
            r#"1700000000.000003 [0 127.0.0.1:5] "hget" "user:1" "name""#,
            r#"1700000000.000004 [0 127.0.0.1:5] "PING""#,
        ]);
        let keys: Vec<_> = all.accesses.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(keys, ["order:1", "order:2", "order:3"]);
        assert_eq!(all.accesses[0].ts_us, 1_700_000_000_000_001);
        assert_eq!((all.lookups, all.unread), (5, 0));
        assert!((all.share() - 0.6).abs() < 1e-12);
    }

    #[test]
    fn the_usual_time_to_live_is_that_of_what_the_application_writes() {
        let all = observed(&[
            r#"1.0 [0 a:1] "SET" "order:1" "EX" "PX" "300""#,
            r#"1.0 [0 a:1] "setex" "order:2" "60" "v""#,
            r#"1.0 [0 a:1] "psetex" "order:3" "1500" "v""#,
            r#"1.0 [0 a:1] "setex" "cart:2" "1" "v""#,
        ]);
        assert_eq!(
            all.fills,
            [Some(300_000), Some(60_000_000), Some(1_500_000)]
        );
        assert_eq!(all.fill_ttl_us(), Some(Some(1_500_000)));
        let forever = observed(&[r#"1.0 [0 a:1] "set" "order:1" "v""#]);
        assert_eq!(forever.fill_ttl_us(), Some(None));
        assert_eq!(observed(&[]).fill_ttl_us(), None);
    }

    #[test]
    fn escapes_are_undone_and_what_is_torn_is_counted() {
        let line = r#"1.5 [0 unix:/tmp/s] "get" "order:\"a\\\x41\n""#;
        assert_eq!(observed(&[line]).accesses[0].key, "order:\"a\\A\n");
        for bad in [
            "",
            "OK",
            r#"1.0 [0 a:1] "get" "order:1"#,
            r#"1.0 [0 a:1] get order:1"#,
            r#"1.0 [0 a:1] "get" "\xff""#,
            r#"1.0 [0 a:1] "get" "\x4"#,
        ] {
            let all = observed(&[bad]);
            assert_eq!((all.unread, all.accesses.len()), (1, 0), "{bad}");
        }
    }
}
