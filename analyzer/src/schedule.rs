//! Jobs that run by the clock: when each is due, what was done about it, and that nothing is done
//! twice.
//!
//! What to do next is a pure function of the time, the job and its ledger ([`plan()`]); [`serve()`]
//! performs it. Each job has a ledger and a lease of its own below one directory, so that jobs never
//! wait for each other and any number of schedulers may share the directory.
//!
//! A run is known by its job and its *scheduled* time. It is begun at least once and settled exactly
//! once, as `finished`, `failed` or `skipped`: a run that was begun when its scheduler died is begun
//! again under the same scheduled time. Commands must therefore bear repetition.
//!
//! What the commands do, and how a configuration file names jobs, is left to the caller.

mod cadence;
mod error;
mod events;
mod install;
mod job;
mod launch;
mod lease;
mod ledger;
mod plan;
mod record;
#[cfg(test)]
mod recovery;
mod serve;
mod state;

pub use cadence::Cadence;
pub use error::ScheduleError;
pub use events::event;
pub use install::{Installation, kubernetes, systemd};
pub use job::{CatchUp, Job, JobSpec};
pub use launch::Launcher;
pub use ledger::Ledger;
pub use plan::{Step, plan};
pub use record::{Ending, Record};
pub use serve::{Attempt, Busy, Environment, Served, Until, serve};
pub use state::{JobState, Open, Outcome, Phase, Settled};
