//! A job: what is run, how often, and what happens when it is missed or fails.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cadence, ScheduleError};

/// Longest name, so that it fits into the name of a Kubernetes CronJob (52) with our prefix.
const NAME_MAX: usize = 40;
/// Most words of a command, and most bytes of one.
const WORDS_MAX: usize = 100;
const WORD_BYTES_MAX: usize = 4096;
/// Most retries.
const RETRIES_MAX: u32 = 20;
/// Longest time-out: a week.
const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 86_400);
/// What a command may ask for of its scheduled time.
const PLACEHOLDERS: [&str; 3] = ["date", "yesterday", "scheduled"];

/// What happens to times that passed while nobody could run the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are skipped.
    None,
    /// The latest is run, those before it are skipped.
    #[default]
    Last,
    /// All are run, the oldest first.
    All,
}

/// A job as it is asked for.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Its name: a to z, 0 to 9 and -.
    pub name: String,
    /// When it is due: a cron expression of five fields.
    pub cron: String,
    /// The time zone in which the expression is read, by its IANA name.
    pub zone: String,
    /// The command's words after the program's name. `{date}` stands for the day of the scheduled
    /// time in the job's time zone, `{yesterday}` for the day before, `{scheduled}` for the time.
    pub command: Vec<String>,
    /// What happens to missed times.
    pub catch_up: CatchUp,
    /// The run begins up to this much after its scheduled time; less than the cron's distance.
    pub jitter: Duration,
    /// How long one attempt may take; then its whole process group is ended.
    pub timeout: Duration,
    /// How often a failed attempt is tried again.
    pub retries: u32,
}

/// A job that has been checked.
#[derive(Debug, Clone)]
pub struct Job {
    spec: JobSpec,
    cadence: Cadence,
}

impl Job {
    /// Checks a job.
    pub fn new(spec: JobSpec) -> Result<Self, ScheduleError> {
        check_name(&spec.name)?;
        let cadence = Cadence::parse(&spec.name, &spec.cron, &spec.zone)?;
        let refuse = |option: &'static str, problem: String| ScheduleError::Option {
            job: spec.name.clone(),
            option,
            problem,
        };
        check_command(&spec.command).map_err(|problem| refuse("command", problem))?;
        if spec.timeout.is_zero() || spec.timeout > TIMEOUT_MAX {
            return Err(refuse(
                "timeout",
                "must be above 0 and at most 168h".to_owned(),
            ));
        }
        if spec.retries > RETRIES_MAX {
            return Err(refuse("retries", format!("must be at most {RETRIES_MAX}")));
        }
        // With more, a later run could fall due before an earlier one.
        if i128::from(cadence.shortest_gap_us()) <= spec.jitter.as_micros().cast_signed() {
            return Err(refuse(
                "jitter",
                format!(
                    "must be less than the shortest time between two runs by cron {:?}",
                    spec.cron
                ),
            ));
        }
        Ok(Self { spec, cadence })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// When it is due.
    pub fn cadence(&self) -> &Cadence {
        &self.cadence
    }

    /// What happens to missed times.
    pub fn catch_up(&self) -> CatchUp {
        self.spec.catch_up
    }

    /// How long one attempt may take.
    pub fn timeout(&self) -> Duration {
        self.spec.timeout
    }

    /// How often a failed attempt is tried again.
    pub fn retries(&self) -> u32 {
        self.spec.retries
    }

    /// When the run of a scheduled time begins, in µs: later by a jitter that is a function of the
    /// job's name and that time alone, hence the same on every host and after every restart.
    pub fn due_us(&self, scheduled_us: i64) -> i64 {
        let bound_ms = u64::try_from(self.spec.jitter.as_millis()).unwrap_or(u64::MAX);
        let seed = u64::from(crc32c::crc32c(self.spec.name.as_bytes())) << 32;
        let jitter_ms = mix(seed ^ scheduled_us.cast_unsigned()) % bound_ms.saturating_add(1);
        let jitter_us = i64::try_from(jitter_ms)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        scheduled_us.saturating_add(jitter_us)
    }

    /// The command's words for a scheduled time.
    pub fn command(&self, scheduled_us: i64) -> Vec<String> {
        let local = self.cadence.local(scheduled_us);
        let date = |days: i64| {
            local
                .and_then(|at| {
                    at.date_naive()
                        .checked_sub_signed(chrono::Duration::days(days))
                })
                .map_or_else(String::new, |date| date.format("%Y-%m-%d").to_string())
        };
        let scheduled = local.map_or_else(String::new, |at| at.to_rfc3339());
        self.spec
            .command
            .iter()
            .map(|word| {
                word.replace("{date}", &date(0))
                    .replace("{yesterday}", &date(1))
                    .replace("{scheduled}", &scheduled)
            })
            .collect()
    }
}

fn check_name(name: &str) -> Result<(), ScheduleError> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    let valid = bytes.len() <= NAME_MAX
        && bytes.iter().all(|c| plain(*c) || *c == b'-')
        && bytes.first().is_some_and(|c| plain(*c))
        && bytes.last().is_some_and(|c| plain(*c));
    if valid {
        Ok(())
    } else {
        Err(ScheduleError::Name {
            name: name.to_owned(),
        })
    }
}

fn check_command(words: &[String]) -> Result<(), String> {
    if words.is_empty() || words.len() > WORDS_MAX {
        return Err(format!(
            "must have 1 to {WORDS_MAX} words, such as [\"nightly\", \"--date\", \"{{yesterday}}\"]"
        ));
    }
    for word in words {
        if word.len() > WORD_BYTES_MAX || word.contains('\0') {
            return Err(format!(
                "must have words of at most {WORD_BYTES_MAX} bytes without a zero byte"
            ));
        }
        if let Some(unknown) = unknown_placeholder(word) {
            return Err(format!(
                "has the unknown placeholder {{{unknown}}}; expected {}",
                PLACEHOLDERS.map(|known| format!("{{{known}}}")).join(", ")
            ));
        }
    }
    Ok(())
}

/// The first `{word}` of small letters that stands for nothing: surely a slip of the pen.
fn unknown_placeholder(text: &str) -> Option<&str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
        .find(|name| {
            !name.is_empty()
                && name.bytes().all(|c| c.is_ascii_lowercase())
                && !PLACEHOLDERS.contains(name)
        })
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014), after its increment.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn spec(name: &str, cron: &str) -> JobSpec {
        JobSpec {
            name: name.to_owned(),
            cron: cron.to_owned(),
            zone: "UTC".to_owned(),
            command: vec![
                "nightly".to_owned(),
                "--date".to_owned(),
                "{yesterday}".to_owned(),
            ],
            catch_up: CatchUp::Last,
            jitter: Duration::ZERO,
            timeout: Duration::from_secs(3600),
            retries: 2,
        }
    }

    fn refused(change: impl FnOnce(&mut JobSpec)) -> String {
        let mut spec = spec("nightly", "30 2 * * *");
        change(&mut spec);
        Job::new(spec).expect_err("a mistake").to_string()
    }

    #[test]
    fn the_command_names_days_of_the_jobs_own_zone() {
        let mut spec = spec("nightly", "30 2 * * *");
        spec.zone = "Pacific/Auckland".to_owned();
        spec.command = vec!["{date}|{yesterday}|{scheduled}|{a: 1}".to_owned()];
        let job = Job::new(spec).expect("job");
        // 13:30 UTC on the 30th is 02:30 on the 31st in Auckland, in summer.
        let scheduled_us = 1_769_779_800_000_000;
        assert_eq!(
            job.command(scheduled_us),
            ["2026-01-31|2026-01-30|2026-01-31T02:30:00+13:00|{a: 1}"]
        );
    }

    #[test]
    fn jitter_is_a_function_of_job_and_time_and_stays_within_its_bound() {
        let mut spec = spec("nightly", "30 2 * * *");
        spec.jitter = Duration::from_secs(600);
        let job = Job::new(spec.clone()).expect("job");
        spec.name = "hourly".to_owned();
        let other = Job::new(spec).expect("job");
        let times: Vec<i64> = (0..1_000).map(|day| day * 86_400_000_000).collect();
        let jitters: Vec<i64> = times.iter().map(|at| job.due_us(*at) - at).collect();
        assert!(jitters.iter().all(|us| (0..=600_000_000).contains(us)));
        // The mean of 1,000 uniform values lies within four standard errors of the middle.
        let mean_s = jitters.iter().sum::<i64>() as f64 / 1e6 / 1_000.0;
        assert!(
            (mean_s - 300.0).abs() < 4.0 * 600.0 / 12f64.sqrt() / 1_000f64.sqrt(),
            "{mean_s}"
        );
        let again: Vec<i64> = times.iter().map(|at| job.due_us(*at) - at).collect();
        assert_eq!(jitters, again);
        assert!(times.iter().any(|at| job.due_us(*at) != other.due_us(*at)));
        assert_eq!(job.due_us(0), jitters[0]);
    }

    #[test]
    fn mistakes_are_refused_with_what_is_expected() {
        assert!(refused(|job| job.name = "../x".to_owned()).contains("a to z"));
        assert!(refused(|job| job.name = String::new()).contains("a to z"));
        assert!(refused(|job| job.name = "-x".to_owned()).contains("a to z"));
        assert!(refused(|job| job.name = "x".repeat(41)).contains("1 to 40"));
        assert!(refused(|job| job.command.clear()).contains("1 to 100 words"));
        assert!(refused(|job| job.command[2] = "{day}".to_owned()).contains("{yesterday}"));
        assert!(refused(|job| job.command[2] = "a\0b".to_owned()).contains("zero byte"));
        assert!(refused(|job| job.timeout = Duration::ZERO).contains("above 0"));
        assert!(refused(|job| job.retries = 21).contains("at most 20"));
        assert!(refused(|job| job.jitter = Duration::from_secs(86_400)).contains("less than"));
        assert!(refused(|job| job.zone = "Mars".to_owned()).contains("IANA"));
    }
}
