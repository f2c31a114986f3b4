//! One run of a scenario: worker threads and worker processes are started, watched and collected,
//! and the run's own events are written. Truth comes first: what limits the run's own numbers is in
//! its outcome, and then there is no verdict.
//!
//! What operations are and how they are sent is left to [`crate::worker`]; how they are recorded to
//! [`crate::recorder`].

pub mod args;
mod conduct;
mod events;
mod fleet;
mod gauges;
mod health;
mod host;
mod judging;
mod limits;
mod live;
mod local;
mod name;
mod outcome;
mod plain;
mod progress;
mod remote;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
mod watch;
mod windows;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driftline_eventlog::spool::SpoolConfig;

use crate::recorder::RecorderError;
use crate::scenario::Scenario;
use crate::stop::Stop;
use crate::target::Target;

pub use crate::report::Verdict;
pub use fleet::{
    FleetError, Launch, Prepare, SECRET_VARIABLE, SILENCE, Secret, SecretError, TargetParts,
};
pub use gauges::{LATENESS_BUCKETS, Snapshot};
pub use health::{
    BUSY_CPU, BUSY_SHARE, FULL_BACKLOG, Health, LATENESS_FLOOR_US, LATENESS_SHARE, Observed,
    generator_health,
};
pub use judging::Judged;
pub use limits::{MAX_PROCESSES, TooFewProcesses};
pub use live::LiveView;
pub use local::Spawn;
pub use name::MAX_RUN_BYTES;
pub use outcome::{Ended, RunOutcome};
pub use plain::PlainView;
pub use progress::{NoView, Progress, Quantiles, StageSpan, View, Wish};
pub use remote::{RemoteError, WorkerRequest, work};
pub use summary::{json, table};
pub use windows::Windows;

/// A run that is wanted.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// What to do.
    pub scenario: Arc<Scenario>,
    /// To whom.
    pub target: Arc<Target>,
    /// The run's id: up to 40 of `a-z 0-9 . _ -`; by default the scenario's name and the time.
    pub run: Option<String>,
    /// The data directory; the log is in it.
    pub data: PathBuf,
    /// How the spool uses its disk.
    pub spool: SpoolConfig,
    /// Worker threads of each process on this host; by default one per core, split among processes.
    pub workers: Option<u32>,
    /// Processes on this host, this one included; by default as many as descriptors demand.
    pub processes: Option<u32>,
    /// How to start further processes on this host.
    pub launch: Option<Launch>,
    /// Worker processes of other hosts.
    pub remote: Option<Remote>,
    /// The scenario's file, from whose directory worker processes on this host read its feeds.
    pub path: Option<PathBuf>,
    /// Whatever a user wants to find the run by.
    pub labels: Vec<(String, String)>,
    /// The commit of what is tested.
    pub commit: Option<String>,
    /// Whether a broken threshold may end the run.
    pub abort: bool,
    /// Ends the run early: it ramps down, records and reports.
    pub stop: Stop,
    /// Starts worker threads.
    pub spawn: Spawn,
}

/// Worker processes of other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where they connect to.
    pub listen: SocketAddr,
    /// How many there will be.
    pub processes: u32,
    /// The file that their secret is written to, to be copied to their hosts.
    pub token_file: PathBuf,
}

impl RunRequest {
    /// A run on this host alone, with everything else by default.
    pub fn new(scenario: Arc<Scenario>, target: Arc<Target>, data: &Path) -> Self {
        Self {
            scenario,
            target,
            run: None,
            data: data.to_owned(),
            spool: args::spool(),
            workers: None,
            processes: None,
            launch: None,
            remote: None,
            path: None,
            labels: Vec::new(),
            commit: None,
            abort: true,
            stop: Stop::new(),
            spawn: crate::worker::spawn,
        }
    }
}

/// A run that did not take place, or whose record could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The name cannot be used.
    #[error(
        "{0:?} cannot name a run: use 1 to 40 of a-z, 0-9, '.', '_', '-', beginning with a letter or a digit"
    )]
    Name(String),
    /// Too few processes for its connections.
    #[error(transparent)]
    Descriptors(#[from] TooFewProcesses),
    /// More processes are needed, and this program cannot start them.
    #[error(
        "{0} worker processes are needed, and this program cannot start them; raise the hard limit of file descriptors (ulimit -Hn)"
    )]
    NoLaunch(u32),
    /// The worker processes cannot be had.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The log cannot be written.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// It was over before anything was sent.
    #[error("the run was interrupted before it began; nothing was sent")]
    Interrupted,
}

/// Does one run, shown to `view`.
///
/// # Errors
/// Nothing was sent, or the last events could not be written (then the disk is at fault). Whatever
/// else goes wrong in the run is in its outcome.
pub fn run(request: &RunRequest, view: &mut dyn View) -> Result<RunOutcome, RunError> {
    conduct::conduct(request, view)
}

/// Where the log is in a data directory.
fn log_dir(data: &Path) -> PathBuf {
    data.join("log")
}

/// When each stage begins and ends.
fn spans(scenario: &Scenario) -> Vec<StageSpan> {
    let mut from_ns = 0_u64;
    let spans = scenario.stages.iter().map(|stage| {
        let lasts = u64::try_from(stage.duration.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = from_ns.saturating_add(lasts);
        let span = StageSpan {
            name: stage.name.clone(),
            from_ns,
            until_ns,
        };
        from_ns = until_ns;
        span
    });
    spans.collect()
}
