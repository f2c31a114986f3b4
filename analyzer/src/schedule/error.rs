//! What can go wrong with a schedule, each with what to do about it.

use std::io;
use std::path::PathBuf;

/// A job that cannot be scheduled, or a ledger that cannot be kept.
///
/// None of these passes by waiting: a caller stops and tells.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// A name that is no file's or no unit's.
    #[error(
        "job name {name:?} must consist of 1 to 40 of a to z, 0 to 9 and -, with a letter or a digit first and last"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Two jobs of one name.
    #[error("two jobs are called {name}; their ledgers would be one: rename one of them")]
    Twice {
        /// The name.
        name: String,
    },
    /// The expression is not one.
    #[error(
        "job {job}: cron {expression:?} is not valid ({reason}); expected minute, hour, day of month, month and day of week, such as \"30 2 * * *\""
    )]
    Cron {
        /// The job.
        job: String,
        /// The expression.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The expression is valid and matches no day.
    #[error(
        "job {job}: cron {expression:?} never comes to pass; check its day of month against its month"
    )]
    Never {
        /// The job.
        job: String,
        /// The expression.
        expression: String,
    },
    /// No such time zone.
    #[error(
        "job {job}: time zone {zone:?} is unknown; expected a name of the IANA database such as \"Europe/Berlin\", or \"UTC\""
    )]
    Zone {
        /// The job.
        job: String,
        /// The name.
        zone: String,
    },
    /// Some option is out of its bounds.
    #[error("job {job}: {option} {problem}")]
    Option {
        /// The job.
        job: String,
        /// The option.
        option: &'static str,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// Another process serves the job.
    #[error(
        "another scheduler (process {holder}) already serves job {job} below {directory}; stop it, or leave the job to it"
    )]
    Held {
        /// The job.
        job: String,
        /// The schedule's directory.
        directory: PathBuf,
        /// What the lease says of its holder.
        holder: String,
    },
    /// The file system failed.
    #[error("cannot {op} {path}; is there room, and may this user write there?")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line before the last is damaged: not the doing of a crash.
    #[error(
        "ledger {path} is damaged at line {line} ({reason}); restore it from a backup, or move it away to begin anew without its history"
    )]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The ledger is of a newer build.
    #[error("ledger {path} has format {found}, this build reads {known}; upgrade driftline")]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that is known.
        known: u32,
    },
    /// An append has failed before; what the file holds now is not known.
    #[error("ledger {path} could not be written before; start the scheduler again")]
    Broken {
        /// The ledger.
        path: PathBuf,
    },
    /// Another scheduler of the kind cannot express the job.
    #[error("job {job} cannot be installed for {target}: {problem}")]
    Install {
        /// The job.
        job: String,
        /// The scheduler.
        target: &'static str,
        /// What it lacks, and what to do.
        problem: String,
    },
}
