//! Exit codes, a documented interface.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it was asked to.
    Ok,
    /// It failed.
    Error,
    /// It was asked for something that it does not know.
    Usage,
    /// What was judged did not pass: a threshold failed.
    Failed,
    /// There is too little data to judge.
    TooLittleData,
}

impl Outcome {
    /// The outcome of a documented exit code.
    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            0 => Self::Ok,
            2 => Self::Usage,
            3 => Self::Failed,
            4 => Self::TooLittleData,
            _ => Self::Error,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Ok => 0,
            Outcome::Error => 1,
            Outcome::Usage => 2,
            Outcome::Failed => 3,
            Outcome::TooLittleData => 4,
        })
    }
}

/// A mistake in what was asked for, as opposed to a failure in doing it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// The exit code of an error.
pub(crate) fn outcome_of(error: &anyhow::Error) -> Outcome {
    if error.downcast_ref::<UsageError>().is_some() {
        Outcome::Usage
    } else {
        Outcome::Error
    }
}
