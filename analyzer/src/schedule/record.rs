//! The lines of a ledger: what happened to a job, each a checksum and an object in JSON.
//!
//! `c1d04330 {"record":"begun",…}`: eight hexadecimal digits are the CRC-32C of the bytes after the
//! space. What the records add up to is left to the state.

use serde::{Deserialize, Serialize};

/// Longest reason that is kept.
const REASON_MAX: usize = 300;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself, with an exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// By us, when its time was over.
    TimedOut,
    /// It could not be begun, with the reason.
    NotStarted(String),
    /// By us, when the scheduler was asked to stop; it is begun again at the next start.
    Stopped,
    /// Its scheduler died, each time that it was begun.
    Interrupted,
}

/// What an ending means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The command did its work. A regression found (3) and too little data (4) are answers too.
    Finished,
    /// It may succeed when tried again.
    Failed,
    /// It cannot succeed: the command does not know what it is asked for (2).
    Hopeless,
    /// It was neither.
    Stopped,
}

impl Ending {
    /// What the ending means, by the exit codes that every command of the product keeps to.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Exited(0 | 3 | 4) => Verdict::Finished,
            Self::Exited(2) => Verdict::Hopeless,
            Self::Exited(_) | Self::Signalled(_) | Self::TimedOut | Self::NotStarted(_) => {
                Verdict::Failed
            }
            Self::Interrupted => Verdict::Hopeless,
            Self::Stopped => Verdict::Stopped,
        }
    }

    /// An ending without a beginning; a long reason is cut.
    pub(super) fn not_started(reason: String) -> Self {
        Self::NotStarted(reason.chars().take(REASON_MAX).collect())
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::NotStarted(reason) => write!(f, "not started: {reason}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Interrupted => f.write_str("interrupted too often"),
        }
    }
}

/// One line of a ledger. Times are µs since the epoch; `at_us` is when the line was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// From now on the job is due by this expression; what came before is settled.
    Enrolled {
        /// Times after this one are due.
        at_us: i64,
        /// The cron expression.
        cron: String,
        /// The time zone.
        zone: String,
    },
    /// An attempt is about to begin.
    Begun {
        /// When.
        at_us: i64,
        /// The run.
        scheduled_us: i64,
        /// Which attempt, from 1.
        start: u32,
    },
    /// An attempt has ended, and there will be another.
    Retrying {
        /// When.
        at_us: i64,
        /// The run.
        scheduled_us: i64,
        /// How the attempt ended.
        ending: Ending,
        /// When the next attempt may begin.
        retry_at_us: i64,
    },
    /// The run is settled: its command did its work.
    Finished {
        /// When.
        at_us: i64,
        /// The run.
        scheduled_us: i64,
        /// When its first attempt began.
        begun_us: i64,
        /// How many attempts there were.
        starts: u32,
        /// How the last one ended.
        ending: Ending,
    },
    /// The run is settled: its command failed, as often as it was tried.
    Failed {
        /// When.
        at_us: i64,
        /// The run.
        scheduled_us: i64,
        /// When its first attempt began.
        begun_us: i64,
        /// How many attempts there were.
        starts: u32,
        /// How the last one ended.
        ending: Ending,
    },
    /// These runs are settled: they were missed and are not caught up.
    Skipped {
        /// When.
        at_us: i64,
        /// The runs, ascending.
        scheduled_us: Vec<i64>,
    },
    /// All runs of a span are settled: there were too many to be told one by one.
    PassedOver {
        /// When.
        at_us: i64,
        /// Runs after this time …
        after_us: i64,
        /// … and until this one.
        through_us: i64,
    },
}

/// A line for a record, with its end.
pub(super) fn line<T: Serialize>(record: &T) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())))
}

/// Checks a line without its end and yields its JSON, or says what is wrong.
pub(super) fn checked(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text".to_owned())?;
    let (sum, json) = text.split_once(' ').ok_or("it has no checksum")?;
    let told = u32::from_str_radix(sum, 16)
        .ok()
        .filter(|_| sum.len() == 8)
        .ok_or("it has no checksum")?;
    if told == crc32c::crc32c(json.as_bytes()) {
        Ok(json)
    } else {
        Err("its checksum does not match".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_as_it_was_and_any_flipped_bit_is_seen() {
        let record = Record::Retrying {
            at_us: 5,
            scheduled_us: -7,
            ending: Ending::not_started("no \"such\"\nfile".repeat(100)),
            retry_at_us: 9,
        };
        let written = line(&record).expect("a line");
        let body = written.strip_suffix('\n').expect("an end").as_bytes();
        assert!(!body.contains(&b'\n'));
        let json = checked(body).expect("whole");
        assert_eq!(
            serde_json::from_str::<Record>(json).expect("a record"),
            record
        );
        for at in 0..body.len() {
            let mut bad = body.to_vec();
            bad[at] ^= 1;
            // Case of hexadecimal digits does not change a checksum; bit 0 always does.
            assert!(checked(&bad).is_err(), "byte {at}");
        }
        for cut in 0..body.len() {
            assert!(checked(&body[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn answers_are_no_failures_and_a_usage_error_is_not_tried_again() {
        assert_eq!(Ending::Exited(0).verdict(), Verdict::Finished);
        assert_eq!(Ending::Exited(3).verdict(), Verdict::Finished);
        assert_eq!(Ending::Exited(4).verdict(), Verdict::Finished);
        assert_eq!(Ending::Exited(1).verdict(), Verdict::Failed);
        assert_eq!(Ending::Exited(2).verdict(), Verdict::Hopeless);
        assert_eq!(Ending::Signalled(9).verdict(), Verdict::Failed);
        assert_eq!(Ending::TimedOut.verdict(), Verdict::Failed);
        assert_eq!(Ending::Stopped.verdict(), Verdict::Stopped);
    }
}
