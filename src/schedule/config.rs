//! `[schedule]` and `[[schedule.jobs]]` of the configuration.

use std::time::Duration;

use driftline_analyzer::schedule::{CatchUp, Job, JobSpec, ScheduleError};
use driftline_collector::config::duration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Most jobs; each has a thread.
const JOBS_MAX: usize = 64;

/// The jobs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScheduleConfig {
    /// The time zone of jobs that name none; that of nightly's days where it is not given.
    pub(crate) zone: Option<String>,
    /// The jobs; without any named, the nightly one.
    pub(crate) jobs: Vec<JobConfig>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobConfig {
    /// Its name.
    pub(crate) name: String,
    /// When it is due: minute, hour, day of month, month, day of week.
    pub(crate) cron: String,
    /// The command and its words, without the program's name.
    pub(crate) command: Vec<String>,
    /// What happens to missed runs.
    #[serde(default)]
    pub(crate) catch_up: CatchUp,
    /// It begins up to this much later.
    #[serde(default, deserialize_with = "time")]
    pub(crate) jitter: Duration,
    /// How long one attempt may take.
    #[serde(default = "default_timeout", deserialize_with = "time")]
    pub(crate) timeout: Duration,
    /// How often a failed attempt is tried again.
    #[serde(default = "default_retries")]
    pub(crate) retries: u32,
    /// Its time zone, where it is not the schedule's.
    #[serde(default)]
    pub(crate) zone: Option<String>,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            zone: None,
            jobs: vec![JobConfig {
                name: "nightly".to_owned(),
                cron: "30 2 * * *".to_owned(),
                command: ["nightly", "--date", "{yesterday}"]
                    .map(str::to_owned)
                    .to_vec(),
                catch_up: CatchUp::default(),
                jitter: Duration::ZERO,
                timeout: default_timeout(),
                retries: default_retries(),
                zone: None,
            }],
        }
    }
}

impl ScheduleConfig {
    /// The jobs, checked. `day_zone` is the time zone of days, which a job's yesterday belongs to.
    pub(crate) fn jobs(&self, day_zone: &str) -> Result<Vec<Job>, ScheduleError> {
        let zone = self.zone.as_deref().unwrap_or(day_zone);
        if let Some(job) = self.jobs.get(JOBS_MAX) {
            return Err(ScheduleError::Option {
                job: job.name.clone(),
                option: "schedule.jobs",
                problem: format!("has more than {JOBS_MAX} jobs; leave some out"),
            });
        }
        let mut jobs: Vec<Job> = Vec::with_capacity(self.jobs.len());
        for config in &self.jobs {
            if jobs.iter().any(|job| job.name() == config.name) {
                return Err(ScheduleError::Twice {
                    name: config.name.clone(),
                });
            }
            jobs.push(Job::new(JobSpec {
                name: config.name.clone(),
                cron: config.cron.clone(),
                zone: config.zone.as_deref().unwrap_or(zone).to_owned(),
                command: config.command.clone(),
                catch_up: config.catch_up,
                jitter: config.jitter,
                timeout: config.timeout,
                retries: config.retries,
            })?);
        }
        Ok(jobs)
    }
}

fn default_timeout() -> Duration {
    Duration::from_secs(3600)
}

fn default_retries() -> u32 {
    2
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = "expected a whole number with ms, s, m or h, such as \"10m\"";
    duration::parse(&text)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is no duration: {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ScheduleConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_zone_that_is_not_given_is_that_of_days() {
        let jobs = ScheduleConfig::default().jobs("Asia/Tokyo").expect("jobs");
        assert_eq!(jobs[0].cadence().zone(), "Asia/Tokyo");
    }

    #[test]
    fn without_jobs_there_is_the_nightly_one_in_the_zone_that_is_set() {
        let config = read("zone = \"Europe/Berlin\"").expect("a schedule");
        let jobs = config.jobs("UTC").expect("jobs");
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].name(), "nightly");
        assert_eq!(jobs[0].cadence().expression(), "30 2 * * *");
        assert_eq!(jobs[0].cadence().zone(), "Europe/Berlin");
        // 2026-02-01T02:30 in Berlin is about the last day of January.
        assert_eq!(
            jobs[0].command(1_769_909_400_000_000),
            ["nightly", "--date", "2026-01-31"]
        );
        assert_eq!(read("").expect("empty"), ScheduleConfig::default());
    }

    #[test]
    fn every_option_is_read() {
        let text = r#"
            [[jobs]]
            name = "hourly"
            cron = "0 * * * *"
            command = ["baseline", "--last", "1h"]
            catch_up = "all"
            jitter = "5m"
            timeout = "90s"
            retries = 0
            zone = "America/New_York"
        "#;
        let jobs = read(text).expect("a schedule").jobs("UTC").expect("jobs");
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].catch_up(), CatchUp::All);
        assert_eq!(jobs[0].timeout(), Duration::from_secs(90));
        assert_eq!(jobs[0].retries(), 0);
        assert_eq!(jobs[0].cadence().zone(), "America/New_York");
    }

    #[test]
    fn mistakes_are_told() {
        let job = "[[jobs]]\nname = \"a\"\ncron = \"0 * * * *\"\ncommand = [\"nightly\"]\n";
        for (text, told) in [
            (format!("{job}colour = 1\n"), "colour"),
            (format!("{job}jitter = \"5\"\n"), "is no duration"),
            (format!("{job}catch_up = \"some\"\n"), "unknown variant"),
            ("colour = 1\n".to_owned(), "colour"),
            ("[[jobs]]\nname = \"a\"\n".to_owned(), "missing field"),
        ] {
            let error = read(&text).expect_err(&text);
            assert!(error.contains(told), "{error}");
        }
        let twice = read(&format!("{job}{job}"))
            .expect("a schedule")
            .jobs("UTC");
        assert!(matches!(twice, Err(ScheduleError::Twice { .. })));
        let zone = read(&format!("zone = \"Mars\"\n{job}"))
            .expect("a schedule")
            .jobs("UTC");
        assert!(matches!(zone, Err(ScheduleError::Zone { .. })));
    }
}
