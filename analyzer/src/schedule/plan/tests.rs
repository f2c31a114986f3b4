use std::time::Duration;

use super::super::job::tests::spec;
use super::*;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn job(cron: &str, catch_up: CatchUp) -> Job {
    let mut spec = spec("job", cron);
    spec.catch_up = catch_up;
    Job::new(spec).expect("job")
}

/// A state after these records.
fn state(records: &[Record]) -> JobState {
    let mut state = JobState::default();
    for record in records {
        state.apply(record).expect("records that follow each other");
    }
    state
}

fn enrolled(job: &Job, at_us: i64) -> Record {
    Record::Enrolled {
        at_us,
        cron: job.cadence().expression().to_owned(),
        zone: job.cadence().zone().to_owned(),
    }
}

fn begun(scheduled_us: i64, at_us: i64) -> Record {
    Record::Begun {
        at_us,
        scheduled_us,
        start: 1,
    }
}

fn skip(at_us: i64, minutes: std::ops::Range<i64>) -> Step {
    Step::Record(Record::Skipped {
        at_us,
        scheduled_us: minutes.map(|minute| minute * MINUTE).collect(),
    })
}

fn begin(scheduled_us: i64) -> Step {
    Step::Begin {
        scheduled_us,
        start: 1,
    }
}

#[test]
fn a_new_job_is_enrolled_and_waits_for_its_first_time() {
    let job = job("30 2 * * *", CatchUp::All);
    let now = 10 * DAY;
    let Step::Record(record) = plan(now, &job, &JobState::default()) else {
        panic!("not enrolled");
    };
    assert_eq!(record, enrolled(&job, now - ENROL_BEFORE_US));
    assert_eq!(
        plan(now, &job, &state(&[record])),
        Step::Wait {
            until_us: Some(now + 150 * MINUTE),
            pending: false
        }
    );
    // A timer starts the scheduler half a second after the scheduled time.
    let at = now + 150 * MINUTE + 500_000;
    let Step::Record(record) = plan(at, &job, &JobState::default()) else {
        panic!("not enrolled");
    };
    assert_eq!(plan(at, &job, &state(&[record])), begin(now + 150 * MINUTE));
}

#[test]
fn missed_times_are_caught_up_as_asked() {
    // Nobody was there between minute 0 and minute 60.
    let now = 60 * MINUTE + 1;
    let all = job("*/10 * * * *", CatchUp::All);
    let known = state(&[enrolled(&all, 0)]);
    assert_eq!(plan(now, &all, &known), begin(10 * MINUTE));

    let last = job("*/10 * * * *", CatchUp::Last);
    let Step::Record(record) = plan(now, &last, &known) else {
        panic!("nothing skipped");
    };
    let times: Vec<i64> = (1..6).map(|n| n * 10 * MINUTE).collect();
    assert_eq!(
        record,
        Record::Skipped {
            at_us: now,
            scheduled_us: times
        }
    );
    let after = state(&[enrolled(&last, 0), record]);
    assert_eq!(plan(now, &last, &after), begin(60 * MINUTE));

    // The last is on time, hence not missed …
    let none = job("*/10 * * * *", CatchUp::None);
    assert_eq!(plan(now, &none, &after), begin(60 * MINUTE));
    // … up to a bound.
    let late = 60 * MINUTE + LATE_US;
    assert_eq!(plan(late, &none, &after), begin(60 * MINUTE));
    assert_eq!(plan(late + 1, &none, &after), skip(late + 1, 60..61));
}

#[test]
fn more_missed_times_than_are_told_one_by_one_are_passed_over_in_one_record() {
    for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
        let job = job("* * * * *", catch_up);
        let now = 400 * DAY;
        let known = state(&[enrolled(&job, 0)]);
        let first = now - (MISSED_MAX as i64 - 1) * MINUTE;
        let passed = Record::PassedOver {
            at_us: now,
            after_us: 0,
            through_us: first - 1,
        };
        assert_eq!(plan(now, &job, &known), Step::Record(passed.clone()));
        let after = state(&[enrolled(&job, 0), passed]);
        match (catch_up, plan(now, &job, &after)) {
            (CatchUp::All, step) => assert_eq!(step, begin(first)),
            (_, Step::Record(Record::Skipped { scheduled_us, .. })) => {
                assert_eq!(scheduled_us.first(), Some(&first));
                assert_eq!(scheduled_us.len(), MISSED_MAX - 1);
            }
            (_, step) => panic!("{step:?}"),
        }
    }
}

#[test]
fn a_run_waits_for_its_jitter_and_says_that_it_is_pending() {
    let mut spec = spec("job", "0 * * * *");
    spec.jitter = Duration::from_secs(3_000);
    let job = Job::new(spec).expect("job");
    let hour = 60 * MINUTE;
    let due = job.due_us(hour);
    assert!(due > hour, "this job's first jitter is not zero");
    let known = state(&[enrolled(&job, 0)]);
    let wait = |pending| Step::Wait {
        until_us: Some(due),
        pending,
    };
    assert_eq!(plan(hour - 1, &job, &known), wait(false));
    assert_eq!(plan(hour, &job, &known), wait(true));
    assert_eq!(plan(due - 1, &job, &known), wait(true));
    assert_eq!(plan(due, &job, &known), begin(hour));
}

#[test]
fn a_failure_is_tried_again_after_growing_pauses_and_then_counts() {
    let job = job("0 0 * * *", CatchUp::Last);
    let mut records = vec![enrolled(&job, 0), begun(DAY, DAY)];
    let mut now = DAY;
    let mut pauses = Vec::new();
    loop {
        let known = state(&records);
        let record = conclude(now, &job, known.open().expect("open"), Ending::Exited(1));
        records.push(record.clone());
        let Record::Retrying { retry_at_us, .. } = record else {
            assert!(
                matches!(record, Record::Failed { starts: 3, .. }),
                "{record:?}"
            );
            break;
        };
        pauses.push((retry_at_us - now) / 1_000_000);
        let known = state(&records);
        assert_eq!(
            plan(retry_at_us - 1, &job, &known),
            Step::Wait {
                until_us: Some(retry_at_us),
                pending: true
            }
        );
        let start = known.open().expect("open").starts + 1;
        assert_eq!(
            plan(retry_at_us, &job, &known),
            Step::Begin {
                scheduled_us: DAY,
                start
            }
        );
        now = retry_at_us;
        records.push(Record::Begun {
            at_us: now,
            scheduled_us: DAY,
            start,
        });
    }
    assert_eq!(pauses, [10, 20]);
    assert_eq!(back_off_us(30), BACK_OFF_MAX_US);
    assert_eq!(back_off_us(u32::MAX), BACK_OFF_MAX_US);
}

#[test]
fn endings_that_no_retry_can_change_settle_the_run_at_once() {
    let job = job("0 0 * * *", CatchUp::Last);
    let known = state(&[enrolled(&job, 0), begun(DAY, DAY)]);
    let open = known.open().expect("open");
    for (ending, finished) in [
        (Ending::Exited(0), true),
        (Ending::Exited(3), true),
        (Ending::Exited(4), true),
        (Ending::Exited(2), false),
    ] {
        let record = conclude(DAY + 5, &job, open, ending.clone());
        assert_eq!(
            matches!(record, Record::Finished { .. }),
            finished,
            "{ending}"
        );
        assert_eq!(
            matches!(record, Record::Failed { .. }),
            !finished,
            "{ending}"
        );
    }
}

#[test]
fn a_stop_costs_no_retry_and_an_interrupted_run_is_begun_again_up_to_a_bound() {
    let job = job("0 0 * * *", CatchUp::Last);
    let mut known = state(&[enrolled(&job, 0), begun(DAY, DAY)]);
    let stopped = conclude(DAY, &job, known.open().expect("open"), Ending::Stopped);
    known.apply(&stopped).expect("stopped");
    assert_eq!(known.open().expect("open").failures, 0);
    assert_eq!(
        plan(DAY, &job, &known),
        Step::Begin {
            scheduled_us: DAY,
            start: 2
        }
    );

    let mut known = state(&[enrolled(&job, 0), begun(DAY, DAY)]);
    for start in 2..=INTERRUPTIONS_MAX {
        // Later times do not overtake the open one.
        assert_eq!(
            plan(3 * DAY, &job, &known),
            Step::Begin {
                scheduled_us: DAY,
                start
            }
        );
        known.apply(&begun(DAY, DAY)).expect("begun again");
    }
    let Step::Record(record) = plan(3 * DAY, &job, &known) else {
        panic!("begun without end");
    };
    assert!(
        matches!(
            record,
            Record::Failed {
                ending: Ending::Interrupted,
                starts: 20,
                ..
            }
        ),
        "{record:?}"
    );
    known.apply(&record).expect("failed");
    assert_eq!(
        plan(3 * DAY, &job, &known),
        Step::Record(Record::Skipped {
            at_us: 3 * DAY,
            scheduled_us: vec![2 * DAY]
        })
    );
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing_and_prolongs_no_pause() {
    let job = job("0 * * * *", CatchUp::All);
    let hour = 60 * MINUTE;
    let open = begun(hour, hour);
    let mut known = state(&[enrolled(&job, 0), open]);
    let retry = conclude(hour, &job, known.open().expect("open"), Ending::TimedOut);
    known.apply(&retry).expect("retrying");
    assert_eq!(
        plan(hour - DAY, &job, &known),
        Step::Begin {
            scheduled_us: hour,
            start: 2
        }
    );
    known.apply(&begun(hour, hour)).expect("begun");
    let done = conclude(hour, &job, known.open().expect("open"), Ending::Exited(0));
    known.apply(&done).expect("finished");
    for now in [hour, hour - 1, 0, -DAY] {
        assert_eq!(
            plan(now, &job, &known),
            Step::Wait {
                until_us: Some(2 * hour),
                pending: false
            }
        );
    }
}

#[test]
fn a_changed_expression_holds_from_now_on() {
    let before = job("30 2 * * *", CatchUp::All);
    let after = job("30 3 * * *", CatchUp::All);
    let now = 100 * DAY + 12 * 60 * MINUTE;
    let mut known = state(&[enrolled(&before, 0)]);
    let Step::Record(record) = plan(now, &after, &known) else {
        panic!("not enrolled");
    };
    assert_eq!(record, enrolled(&after, now - ENROL_BEFORE_US));
    known.apply(&record).expect("enrolled");
    assert_eq!(
        plan(now, &after, &known),
        Step::Wait {
            until_us: Some(101 * DAY + 210 * MINUTE),
            pending: false
        }
    );
}
