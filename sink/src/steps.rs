//! Named steps of the sink's work, at which a recovery test can make it die.
//!
//! Without a plan a step costs one comparison. With one, the process aborts at once, as a power
//! cut would have it: no destructor runs and nothing is flushed.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place between two effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A producer has written a block to its spool.
    Appended,
    /// A producer has synced its spool.
    Synced,
    /// A broker has acknowledged blocks of a producer since it looked last.
    Shipped,
    /// Data files are durable; nothing names them.
    FilesWritten,
    /// Watermarks are durable; nothing names them.
    WatermarksWritten,
    /// The commit is durable; the log has not been told.
    Committed,
    /// The log has been told.
    Acknowledged,
    /// A compacted file is durable; nothing names it.
    Compacting,
    /// A compaction is committed; the old files still stand.
    Compacted,
    /// Old files, log entries and watermarks are being removed.
    Trimming,
    /// Files of a rollup are durable; nothing names them.
    RollingUp,
    /// A part of a rollup is committed; the parts after it are not.
    RolledUp,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 12] = [
        Self::Appended,
        Self::Synced,
        Self::Shipped,
        Self::FilesWritten,
        Self::WatermarksWritten,
        Self::Committed,
        Self::Acknowledged,
        Self::Compacting,
        Self::Compacted,
        Self::Trimming,
        Self::RollingUp,
        Self::RolledUp,
    ];

    /// The step's name in a plan.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Appended => "appended",
            Self::Synced => "synced",
            Self::Shipped => "shipped",
            Self::FilesWritten => "files-written",
            Self::WatermarksWritten => "watermarks-written",
            Self::Committed => "committed",
            Self::Acknowledged => "acknowledged",
            Self::Compacting => "compacting",
            Self::Compacted => "compacted",
            Self::Trimming => "trimming",
            Self::RollingUp => "rolling-up",
            Self::RolledUp => "rolled-up",
        }
    }
}

/// A plan that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot abort at {0:?}: expected STEP or STEP:COUNT, with STEP one of {names}", names = names())]
pub struct UnknownStep(String);

fn names() -> String {
    Step::ALL.map(Step::as_str).join(", ")
}

/// Where to die, if anywhere.
#[derive(Debug, Default)]
pub struct Steps {
    abort_at: Option<(Step, u64)>,
    seen: AtomicU64,
}

impl FromStr for Steps {
    type Err = UnknownStep;

    /// Reads `STEP` or `STEP:COUNT`; a plan `committed:3` dies at the third commit.
    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        let unknown = || UnknownStep(text.to_owned());
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let step = Step::ALL
            .into_iter()
            .find(|step| step.as_str() == name)
            .ok_or_else(unknown)?;
        let count = count.parse().map_err(|_| unknown())?;
        Ok(Self {
            abort_at: Some((step, count)),
            seen: AtomicU64::new(0),
        })
    }
}

impl Steps {
    /// Says that a step has been reached.
    pub fn reached(&self, step: Step) {
        let Some((at, count)) = self.abort_at else {
            return;
        };
        if at == step && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == count {
            std::process::abort();
        }
    }
}
