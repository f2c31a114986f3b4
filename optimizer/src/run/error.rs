//! Why the optimizer could not go on.

use crate::config::ConfigError;
use crate::gate::Refusal;
use crate::journal::JournalError;
use crate::protocol::ProtocolError;
use crate::protocol::event::StepError;
use crate::server::ServerError;
use crate::warm::loader::LoadError;

/// Why the optimizer could not go on.
#[derive(Debug, thiserror::Error)]
pub enum OptimizeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A step could not be kept or read: nothing is changed without its log.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An event is no step.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The steps make no action.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// A server could not be asked or changed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Values could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The gate is closed.
    #[error("not applied: {}", super::shown(.0))]
    Refused(Vec<Refusal>),
    /// There is no such action.
    #[error("there is no action {id:?}; see the list of actions")]
    UnknownAction {
        /// The id.
        id: String,
    },
    /// Its steps are damaged.
    #[error("{id} cannot be gone on with, since its steps are damaged: {reason}")]
    Damaged {
        /// The id.
        id: String,
        /// What is wrong with them.
        reason: String,
    },
    /// There is nothing to undo.
    #[error("{id} has changed nothing that could be undone")]
    NothingToRevert {
        /// The id.
        id: String,
    },
    /// The server could not be measured.
    #[error("{id}: {failures} windows in a row could not be measured; last: {last}")]
    Unmeasurable {
        /// The action.
        id: String,
        /// How many.
        failures: usize,
        /// Why.
        last: String,
    },
}
