//! What to do next about a job: a pure function of the time, the job and what its ledger says.
//!
//! One step at a time: the loop performs it, writes down what came of it, and asks again.

use super::record::Verdict;
use super::state::{JobState, Open, Phase};
use super::{CatchUp, Ending, Job, Record};

/// Missed runs of one job that are told one by one; earlier ones are passed over in one record.
pub(super) const MISSED_MAX: usize = 1_000;
/// How late a run may begin, after its scheduled time and jitter, before it counts as missed.
pub(super) const LATE_US: i64 = 5 * 60 * 1_000_000;
/// A job that is seen for the first time is due from this long before, so that a timer that starts
/// a scheduler at the scheduled time does not come too late for it.
pub(super) const ENROL_BEFORE_US: i64 = 60 * 1_000_000;
/// How often a run may be interrupted by the death of its scheduler before it counts as failed: it
/// may be what kills it.
pub(super) const INTERRUPTIONS_MAX: u32 = 20;
/// The pause after a first failure; each further one doubles it.
const BACK_OFF_US: i64 = 10 * 1_000_000;
/// The longest pause.
const BACK_OFF_MAX_US: i64 = 10 * 60 * 1_000_000;

/// What to do next. Times are µs since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write this down.
    Record(Record),
    /// Begin an attempt.
    Begin {
        /// The run.
        scheduled_us: i64,
        /// Which attempt, from 1.
        start: u32,
    },
    /// Nothing until a time.
    Wait {
        /// The time; `None` when the calendar ends before the next.
        until_us: Option<i64>,
        /// Whether a run whose scheduled time has passed waits for its jitter or its retry.
        pending: bool,
    },
}

/// The next step for a job that no other process serves. An open run whose last attempt was begun
/// is taken as interrupted: whoever began it is gone.
pub fn plan(now_us: i64, job: &Job, state: &JobState) -> Step {
    if let Some(open) = state.open() {
        return resume(now_us, open);
    }
    let cadence = job.cadence();
    let settled_us = match (state.enrolled(), state.settled_through_us()) {
        (Some(enrolled), Some(settled_us))
            if enrolled == (cadence.expression(), cadence.zone()) =>
        {
            settled_us
        }
        (_, settled_us) => return enrol(now_us, job, settled_us),
    };
    let missed = cadence.newest(settled_us, now_us, MISSED_MAX);
    if let (true, Some(first)) = (missed.more, missed.times_us.first()) {
        return Step::Record(Record::PassedOver {
            at_us: now_us,
            after_us: settled_us,
            through_us: first - 1,
        });
    }
    // Jitter is less than the distance of two runs: only the latest may not be due yet.
    let mut due = missed.times_us;
    let waiting = due.pop_if(|last| job.due_us(*last) > now_us);
    let Some(last) = due.last().copied() else {
        let next = waiting.or_else(|| cadence.next_after(settled_us.max(now_us)));
        return Step::Wait {
            until_us: next.map(|next| job.due_us(next)),
            pending: waiting.is_some(),
        };
    };
    let wanted = match job.catch_up() {
        CatchUp::All => due.first().copied(),
        CatchUp::Last => Some(last),
        CatchUp::None => Some(last).filter(|last| now_us - job.due_us(*last) <= LATE_US),
    };
    due.retain(|time| wanted.is_none_or(|wanted| *time < wanted));
    match wanted {
        Some(scheduled_us) if due.is_empty() => Step::Begin {
            scheduled_us,
            start: 1,
        },
        _ => Step::Record(Record::Skipped {
            at_us: now_us,
            scheduled_us: due,
        }),
    }
}

/// What to write down about an attempt that has ended.
pub(super) fn conclude(now_us: i64, job: &Job, open: &Open, ending: Ending) -> Record {
    let (scheduled_us, begun_us, starts) = (open.scheduled_us, open.begun_us, open.starts);
    let verdict = ending.verdict();
    let failed = Record::Failed {
        at_us: now_us,
        scheduled_us,
        begun_us,
        starts,
        ending: ending.clone(),
    };
    match verdict {
        Verdict::Finished => Record::Finished {
            at_us: now_us,
            scheduled_us,
            begun_us,
            starts,
            ending,
        },
        Verdict::Failed if open.failures < job.retries() => Record::Retrying {
            at_us: now_us,
            scheduled_us,
            retry_at_us: now_us.saturating_add(back_off_us(open.failures)),
            ending,
        },
        Verdict::Failed | Verdict::Hopeless => failed,
        Verdict::Stopped => Record::Retrying {
            at_us: now_us,
            scheduled_us,
            retry_at_us: now_us,
            ending,
        },
    }
}

fn resume(now_us: i64, open: &Open) -> Step {
    match &open.phase {
        Phase::Begun if open.interruptions + 1 >= INTERRUPTIONS_MAX => {
            Step::Record(Record::Failed {
                at_us: now_us,
                scheduled_us: open.scheduled_us,
                begun_us: open.begun_us,
                starts: open.starts,
                ending: Ending::Interrupted,
            })
        }
        // A clock that was set back must not prolong the pause: before it began, it is over.
        Phase::Retrying {
            since_us,
            retry_at_us,
            ..
        } if (*since_us..*retry_at_us).contains(&now_us) => Step::Wait {
            until_us: Some(*retry_at_us),
            pending: true,
        },
        Phase::Begun | Phase::Retrying { .. } => Step::Begin {
            scheduled_us: open.scheduled_us,
            start: open.starts.saturating_add(1),
        },
    }
}

/// A job that is new, or due by another expression than before: from now on, and never before what
/// is settled.
fn enrol(now_us: i64, job: &Job, settled_us: Option<i64>) -> Step {
    let from_us = now_us.saturating_sub(ENROL_BEFORE_US);
    Step::Record(Record::Enrolled {
        at_us: settled_us.map_or(from_us, |settled_us| settled_us.max(from_us)),
        cron: job.cadence().expression().to_owned(),
        zone: job.cadence().zone().to_owned(),
    })
}

fn back_off_us(failures: u32) -> i64 {
    let factor = 1_i64.checked_shl(failures.min(32)).unwrap_or(i64::MAX);
    BACK_OFF_US.saturating_mul(factor).min(BACK_OFF_MAX_US)
}

#[cfg(test)]
mod tests;
