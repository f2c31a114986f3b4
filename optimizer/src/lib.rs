//! Driftline's optimizer: applies recommendations safely, verifies each against its baseline, and
//! keeps or reverts it.
//!
//! Which recommendations there are is the analyzer's business; this crate knows neither SQL over the
//! tables nor DataFusion, nor the collector. It measures what it judges by itself, so that it can
//! judge where no collector runs.
//!
//! The decisions are pure functions over values: [`gate`] (may it be applied), [`protocol`] (what
//! comes next, from the log alone), [`verify`] (was it good), [`warm`] (which keys, how fast). The
//! thin layer that performs them is [`run::Optimizer`].

pub mod action;
pub mod config;
pub mod duration;
pub mod gate;
pub mod host;
pub mod journal;
pub mod measure;
pub mod protocol;
pub mod recommendation;
pub mod run;
pub mod server;
pub mod verify;
pub mod warm;

pub use action::{Action, ActionKind, Inverse};
pub use config::OptimizerConfig;
pub use journal::{Journal, JournalError};
pub use recommendation::Recommendation;
pub use run::{OptimizeError, Optimizer};
