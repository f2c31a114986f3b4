//! What the log is told of jobs. The ledger is the account that decides; the events are for those who
//! ask in SQL what ran when.

use driftline_schemas::{Component, Event, EventName};

use super::{Ending, Job, Record};

/// The event of a record: `JobStarted` for each attempt, `JobFinished` for each end of one and for
/// runs that were missed. None of an enrolment.
pub fn event(job: &Job, record: &Record) -> Option<Event> {
    let (name, at_us, outcome, message, more) = match record {
        Record::Enrolled { .. } => return None,
        Record::Begun {
            at_us,
            scheduled_us,
            start,
        } => (
            EventName::JobStarted,
            *at_us,
            None,
            format!("attempt {start} begins"),
            vec![
                ("scheduled_us", scheduled_us.to_string()),
                ("start", start.to_string()),
            ],
        ),
        Record::Retrying {
            at_us,
            scheduled_us,
            ending,
            retry_at_us,
        } => (
            EventName::JobFinished,
            *at_us,
            Some("retrying"),
            format!("{ending}, and is tried again"),
            vec![
                ("scheduled_us", scheduled_us.to_string()),
                ("ending", ending.to_string()),
                ("retry_at_us", retry_at_us.to_string()),
            ],
        ),
        Record::Finished {
            at_us,
            scheduled_us,
            begun_us,
            starts,
            ending,
        }
        | Record::Failed {
            at_us,
            scheduled_us,
            begun_us,
            starts,
            ending,
        } => {
            let outcome = match record {
                Record::Failed { .. } => "failed",
                _ => "finished",
            };
            (
                EventName::JobFinished,
                *at_us,
                Some(outcome),
                format!("{outcome}: {ending}"),
                settled(*scheduled_us, *begun_us, *starts, ending),
            )
        }
        Record::Skipped {
            at_us,
            scheduled_us,
        } => (
            EventName::JobFinished,
            *at_us,
            Some("skipped"),
            format!("{} missed runs are skipped", scheduled_us.len()),
            vec![("runs", scheduled_us.len().to_string())],
        ),
        Record::PassedOver {
            at_us,
            after_us,
            through_us,
        } => (
            EventName::JobFinished,
            *at_us,
            Some("skipped"),
            "missed runs are passed over".to_owned(),
            vec![
                ("after_us", after_us.to_string()),
                ("through_us", through_us.to_string()),
            ],
        ),
    };
    let mut attributes: Vec<(String, String)> = outcome
        .map(|outcome| ("outcome".to_owned(), outcome.to_owned()))
        .into_iter()
        .collect();
    attributes.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Some(Event {
        ts_us: at_us,
        name,
        component: Component::Driftline,
        subject: job.name().to_owned(),
        message: format!("job {}: {message}", job.name()),
        attributes,
    })
}

fn settled(
    scheduled_us: i64,
    begun_us: i64,
    starts: u32,
    ending: &Ending,
) -> Vec<(&'static str, String)> {
    vec![
        ("scheduled_us", scheduled_us.to_string()),
        ("begun_us", begun_us.to_string()),
        ("starts", starts.to_string()),
        ("ending", ending.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{CatchUp, JobSpec};
    use super::*;

    fn job() -> Job {
        Job::new(JobSpec {
            name: "nightly".to_owned(),
            cron: "30 2 * * *".to_owned(),
            zone: "UTC".to_owned(),
            command: vec!["nightly".to_owned()],
            catch_up: CatchUp::default(),
            jitter: Duration::ZERO,
            timeout: Duration::from_secs(60),
            retries: 0,
        })
        .expect("a job")
    }

    #[test]
    fn each_attempt_and_each_end_is_an_event() {
        let begun = Record::Begun {
            at_us: 7,
            scheduled_us: 5,
            start: 1,
        };
        let told = event(&job(), &begun).expect("an event");
        assert_eq!((told.name, told.ts_us), (EventName::JobStarted, 7));
        assert_eq!(told.subject, "nightly");
        let finished = Record::Finished {
            at_us: 9,
            scheduled_us: 5,
            begun_us: 7,
            starts: 1,
            ending: Ending::Exited(3),
        };
        let told = event(&job(), &finished).expect("an event");
        assert_eq!(told.name, EventName::JobFinished);
        let of = |key: &str| {
            let found = told.attributes.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("outcome"), Some("finished"));
        assert_eq!(of("ending"), Some("exit code 3"));
        assert_eq!(of("begun_us"), Some("7"));
        let enrolled = Record::Enrolled {
            at_us: 1,
            cron: String::new(),
            zone: String::new(),
        };
        assert_eq!(event(&job(), &enrolled), None);
    }
}
