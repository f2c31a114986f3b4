//! Jobs in the log. Whether a run is done is decided by its ledger; a log that cannot be written is
//! told of and holds up no job.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use driftline_analyzer::schedule::{Job, Record, event};

use crate::cli::Settings;
use crate::facts;

/// Commands write facts too, each for a moment; so often it is tried again, so long apart.
const TRIES: u32 = 20;
const APART: Duration = Duration::from_millis(250);

/// The log, for the jobs of this process.
pub(super) struct JobLog<'s> {
    settings: &'s Settings,
    /// One job at a time: facts have one writer.
    turn: Mutex<()>,
}

impl<'s> JobLog<'s> {
    pub(super) fn new(settings: &'s Settings) -> Self {
        Self {
            settings,
            turn: Mutex::new(()),
        }
    }

    /// Appends the event of a record; `wait` waits and says whether to stop.
    pub(super) fn tell(&self, job: &Job, record: &Record, wait: &dyn Fn(Duration) -> bool) {
        let Some(event) = event(job, record) else {
            return;
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = 1;
        while let Err(error) = facts::append(self.settings, std::slice::from_ref(&event)) {
            if tries == TRIES || wait(APART) {
                tracing::warn!(job = job.name(), event = %event.name, "the log is not told: {error:#}");
                return;
            }
            tries += 1;
        }
    }
}
