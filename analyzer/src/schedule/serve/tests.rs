use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::super::job::tests::spec;
use super::super::{CatchUp, Outcome};
use super::*;

const MINUTE: i64 = 60_000_000;

/// A world whose clock moves only while somebody waits.
#[derive(Default)]
struct World {
    now_us: AtomicI64,
    end_us: i64,
    stopped: AtomicBool,
    runs: Mutex<Vec<(String, i64, u32)>>,
}

impl World {
    fn until(end_us: i64) -> Self {
        Self {
            end_us,
            ..Self::default()
        }
    }

    fn serve(
        &self,
        jobs: &[Job],
        directory: &Path,
        until: Until,
        run: impl Fn(&Attempt<'_>) -> Ending + Sync,
    ) -> Result<Served, ScheduleError> {
        let record = |attempt: &Attempt<'_>| {
            let name = attempt.job.name().to_owned();
            let mut runs = self.runs.lock().expect("runs");
            runs.push((name, attempt.scheduled_us, attempt.start));
            drop(runs);
            run(attempt)
        };
        let wait = |time: Duration| {
            let waited = i64::try_from(time.as_micros()).expect("short");
            let now_us = self.now_us.fetch_add(waited, Ordering::SeqCst) + waited;
            now_us >= self.end_us || self.stopped.load(Ordering::SeqCst)
        };
        serve(
            jobs,
            directory,
            until,
            Environment {
                now_us: &|| self.now_us.load(Ordering::SeqCst),
                wait: &wait,
                stop: &|| self.stopped.store(true, Ordering::SeqCst),
                run: &record,
                told: &|_, _| {},
            },
        )
    }
}

fn job(name: &str, cron: &str, catch_up: CatchUp) -> Job {
    let mut spec = spec(name, cron);
    spec.catch_up = catch_up;
    Job::new(spec).expect("job")
}

#[test]
fn a_job_runs_at_its_times_and_a_restart_repeats_none() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let jobs = [job("often", "*/10 * * * *", CatchUp::Last)];
    let world = World::until(35 * MINUTE);
    let ok = |_: &Attempt<'_>| Ending::Exited(0);
    let served = world
        .serve(&jobs, dir.path(), Until::Stopped, ok)
        .expect("served");
    let times: Vec<i64> = world
        .runs
        .lock()
        .expect("runs")
        .iter()
        .map(|run| run.1 / MINUTE)
        .collect();
    assert_eq!(times, [0, 10, 20, 30]);
    assert_eq!(served.finished, 4);

    let world = World::until(45 * MINUTE);
    world.now_us.store(31 * MINUTE, Ordering::SeqCst);
    world
        .serve(&jobs, dir.path(), Until::Stopped, ok)
        .expect("served");
    let times: Vec<i64> = world
        .runs
        .lock()
        .expect("runs")
        .iter()
        .map(|run| run.1 / MINUTE)
        .collect();
    assert_eq!(times, [40]);
}

#[test]
fn failures_are_tried_again_and_settled_once() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let hour = 60 * MINUTE;
    // Each job under a clock of its own: of two that share one, the one that waits for the next
    // hour would move it past the other's second attempt.
    let serve = |name: &str, first: i32, second: i32| {
        let world = World::until(70 * MINUTE);
        world.now_us.store(MINUTE + 1, Ordering::SeqCst);
        let jobs = [job(name, "0 * * * *", CatchUp::All)];
        let ending = |attempt: &Attempt<'_>| match attempt.start {
            1 => Ending::Exited(first),
            _ => Ending::Exited(second),
        };
        let served = world
            .serve(&jobs, dir.path(), Until::Stopped, ending)
            .expect("served");
        let runs = world.runs.lock().expect("runs").clone();
        (runs, served.finished, served.failed, served.skipped)
    };
    let flaky = |start| ("flaky".to_owned(), hour, start);
    assert_eq!(serve("flaky", 1, 0), (vec![flaky(1), flaky(2)], 1, 0, 0));
    let wrong = ("wrong".to_owned(), hour, 1);
    assert_eq!(serve("wrong", 2, 2), (vec![wrong], 0, 1, 0));
    let state = Ledger::look(dir.path(), "wrong").expect("look");
    let outcomes: Vec<Outcome> = state.history().map(|settled| settled.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed]);
}

#[test]
fn once_settles_what_is_due_and_leaves_busy_jobs_to_their_process() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let jobs = [
        job("often", "*/10 * * * *", CatchUp::Last),
        job("taken", "*/10 * * * *", CatchUp::Last),
    ];
    let held = Ledger::open(dir.path(), "taken").expect("held");
    let world = World::until(i64::MAX);
    world.now_us.store(20 * MINUTE + 5, Ordering::SeqCst);
    let flaky = |attempt: &Attempt<'_>| Ending::Exited(i32::from(attempt.start == 1));
    let served = world
        .serve(&jobs, dir.path(), Until::Settled, flaky)
        .expect("served");
    assert_eq!(served.finished, 1);
    assert_eq!(served.busy.len(), 1);
    assert_eq!(served.busy[0].job, "taken");
    assert_eq!(
        *world.runs.lock().expect("runs"),
        [
            ("often".to_owned(), 20 * MINUTE, 1),
            ("often".to_owned(), 20 * MINUTE, 2)
        ]
    );
    let error = world
        .serve(&jobs, dir.path(), Until::Stopped, flaky)
        .expect_err("held");
    assert!(matches!(error, ScheduleError::Held { .. }), "{error}");
    drop(held);
    let twice = [jobs[0].clone(), jobs[0].clone()];
    let error = world
        .serve(&twice, dir.path(), Until::Settled, flaky)
        .expect_err("twice");
    assert!(matches!(error, ScheduleError::Twice { .. }), "{error}");
}

#[test]
fn the_end_of_one_job_by_a_fault_ends_all() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let jobs = [
        job("good", "* * * * *", CatchUp::Last),
        job("faulty", "* * * * *", CatchUp::Last),
    ];
    let world = World::until(i64::MAX);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.serve(&jobs, dir.path(), Until::Stopped, |attempt| {
            assert_eq!(attempt.job.name(), "good", "the fault of this test");
            Ending::Exited(0)
        })
    }));
    assert!(ended.is_err(), "the fault is passed on");
    assert!(world.stopped.load(Ordering::SeqCst));
    // The run that was going on is still open, and its lease is free again.
    let ledger = Ledger::open(dir.path(), "faulty").expect("free");
    assert!(ledger.state().open().is_some());
}
