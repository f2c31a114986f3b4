//! Where the steps of actions are kept: the product's event log.
//!
//! What the events mean is left to [`crate::protocol`].

use async_trait::async_trait;
use driftline_schemas::event::Event;

/// Why a step could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("the journal {journal} failed: {problem}")]
pub struct JournalError {
    /// Which one.
    pub journal: String,
    /// What happened, and what to do.
    pub problem: String,
}

/// A durable, ordered memory of events.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Keeps an event. When it returns, the event outlives a loss of power.
    async fn append(&self, event: Event) -> Result<(), JournalError>;

    /// Every event of actions that was kept, oldest first.
    async fn events(&self) -> Result<Vec<Event>, JournalError>;
}
