//! The loop: asks the plan what to do about a job, does it, and writes down what came of it. One
//! thread for each job, since no job waits for another.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::plan::{Step, conclude, plan};
use super::{Ending, Job, Ledger, Record, ScheduleError};

/// The clock is looked at again at least this often: it may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What the loop needs of the world.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The time, in µs since the epoch.
    pub now_us: &'a (dyn Fn() -> i64 + Sync),
    /// Waits this long, or until asked to stop; says whether it was asked.
    pub wait: &'a (dyn Fn(Duration) -> bool + Sync),
    /// Asks every waiter to stop.
    pub stop: &'a (dyn Fn() + Sync),
    /// Performs an attempt, to its end.
    pub run: &'a (dyn Fn(&Attempt<'_>) -> Ending + Sync),
    /// Is told of each record once it stands in its ledger.
    pub told: &'a (dyn Fn(&Job, &Record) + Sync),
}

/// One attempt at a run.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The job.
    pub job: &'a Job,
    /// The run's scheduled time, in µs since the epoch.
    pub scheduled_us: i64,
    /// Which attempt, from 1.
    pub start: u32,
}

/// How long to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until asked to stop. A job that another process serves is an error.
    Stopped,
    /// Until every run whose scheduled time has passed is settled. A job that another process
    /// serves is left to it.
    Settled,
}

/// A job that another process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The job.
    pub job: String,
    /// The process.
    pub holder: String,
}

/// What was settled meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Runs that finished.
    pub finished: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were missed.
    pub skipped: u64,
    /// Jobs that were left to another process.
    pub busy: Vec<Busy>,
}

/// Serves jobs from their ledgers below a directory. The first error ends all of them.
pub fn serve(
    jobs: &[Job],
    directory: &Path,
    until: Until,
    environment: Environment<'_>,
) -> Result<Served, ScheduleError> {
    let mut names: Vec<&str> = jobs.iter().map(Job::name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ScheduleError::Twice {
            name: twice[0].to_owned(),
        });
    }
    let mut served = Served::default();
    let mut held = Vec::new();
    for job in jobs {
        match Ledger::open(directory, job.name()) {
            Ok(ledger) => held.push((job, ledger)),
            Err(ScheduleError::Held { job, holder, .. }) if until == Until::Settled => {
                served.busy.push(Busy { job, holder });
            }
            Err(error) => return Err(error),
        }
    }
    let results: Vec<Result<Served, ScheduleError>> = thread::scope(|scope| {
        let threads: Vec<_> = held
            .into_iter()
            .map(|(job, ledger)| scope.spawn(move || serve_job(job, ledger, until, environment)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    for result in results {
        let one = result?;
        served.finished += one.finished;
        served.failed += one.failed;
        served.skipped += one.skipped;
    }
    Ok(served)
}

/// Stops the other jobs when this one ends by an error or a panic.
struct StopOthers<'a> {
    stop: &'a (dyn Fn() + Sync),
    well: bool,
}

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if !self.well {
            (self.stop)();
        }
    }
}

fn serve_job(
    job: &Job,
    mut ledger: Ledger,
    until: Until,
    environment: Environment<'_>,
) -> Result<Served, ScheduleError> {
    let mut others = StopOthers {
        stop: environment.stop,
        well: false,
    };
    let mut served = Served::default();
    let mut told_set_back = false;
    while !(environment.wait)(Duration::ZERO) {
        let now_us = (environment.now_us)();
        tell_set_back(now_us, job, &ledger, &mut told_set_back);
        match plan(now_us, job, ledger.state()) {
            Step::Record(record) => write(&mut ledger, job, &record, environment, &mut served)?,
            Step::Begin {
                scheduled_us,
                start,
            } => attempt(
                &mut ledger,
                job,
                scheduled_us,
                start,
                environment,
                &mut served,
            )?,
            Step::Wait { pending: false, .. } if until == Until::Settled => break,
            Step::Wait { until_us, .. } => {
                let left_us = until_us.map_or(i64::MAX, |until_us| until_us.saturating_sub(now_us));
                let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0));
                (environment.wait)(left.min(LOOK_AGAIN));
            }
        }
    }
    others.well = true;
    Ok(served)
}

fn attempt(
    ledger: &mut Ledger,
    job: &Job,
    scheduled_us: i64,
    start: u32,
    environment: Environment<'_>,
    served: &mut Served,
) -> Result<(), ScheduleError> {
    let begun = Record::Begun {
        at_us: (environment.now_us)(),
        scheduled_us,
        start,
    };
    write(ledger, job, &begun, environment, served)?;
    let ending = (environment.run)(&Attempt {
        job,
        scheduled_us,
        start,
    });
    let open = ledger.state().open().expect("invariant: it was just begun");
    let record = conclude((environment.now_us)(), job, open, ending);
    write(ledger, job, &record, environment, served)
}

fn write(
    ledger: &mut Ledger,
    job: &Job,
    record: &Record,
    environment: Environment<'_>,
    served: &mut Served,
) -> Result<(), ScheduleError> {
    ledger.append(record)?;
    match record {
        Record::Finished { .. } => served.finished += 1,
        Record::Failed { .. } => served.failed += 1,
        Record::Skipped { scheduled_us, .. } => served.skipped += scheduled_us.len() as u64,
        // At least one; how many is not counted.
        Record::PassedOver { .. } => served.skipped += 1,
        Record::Enrolled { .. } | Record::Begun { .. } | Record::Retrying { .. } => {}
    }
    tell(job, record);
    (environment.told)(job, record);
    Ok(())
}

fn tell(job: &Job, record: &Record) {
    let local = |at_us: i64| {
        let local = job.cadence().local(at_us);
        local.map_or_else(|| at_us.to_string(), |at| at.to_rfc3339())
    };
    let name = job.name();
    match record {
        Record::Enrolled { cron, zone, .. } => tracing::info!(job = name, %cron, %zone, "enrolled"),
        Record::Begun {
            scheduled_us,
            start,
            ..
        } => tracing::info!(job = name, scheduled = %local(*scheduled_us), start, "begins"),
        Record::Retrying {
            scheduled_us,
            ending,
            retry_at_us,
            ..
        } => {
            let (scheduled, retry) = (local(*scheduled_us), local(*retry_at_us));
            tracing::warn!(job = name, %scheduled, %ending, %retry, "is tried again");
        }
        Record::Finished {
            scheduled_us,
            ending,
            ..
        } => tracing::info!(job = name, scheduled = %local(*scheduled_us), %ending, "finished"),
        Record::Failed {
            scheduled_us,
            ending,
            ..
        } => tracing::error!(job = name, scheduled = %local(*scheduled_us), %ending, "failed"),
        Record::Skipped { scheduled_us, .. } => {
            let last = scheduled_us.last().copied().map_or_else(String::new, local);
            tracing::warn!(job = name, runs = scheduled_us.len(), %last, "skips missed runs");
        }
        Record::PassedOver {
            after_us,
            through_us,
            ..
        } => {
            let (after, through) = (local(*after_us), local(*through_us));
            tracing::warn!(job = name, %after, %through, "passes over more missed runs than are told one by one");
        }
    }
}

/// Runs that are settled are not repeated: after a clock was set back, nothing is due until it has
/// passed them again. Far behind, the operator must decide which of the clocks was right.
fn tell_set_back(now_us: i64, job: &Job, ledger: &Ledger, told: &mut bool) {
    let settled_us = ledger.state().settled_through_us().unwrap_or(i64::MIN);
    let behind_s = settled_us.saturating_sub(now_us) / 1_000_000;
    if behind_s > 0 && !*told {
        tracing::error!(
            job = job.name(),
            behind_s,
            ledger = %ledger.path().display(),
            "the clock is behind what is settled already; nothing is run until it has caught up (if it is right now, move the ledger away)"
        );
    }
    *told = behind_s > 0;
}

#[cfg(test)]
mod tests;
