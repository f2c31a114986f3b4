//! Driftline's collector: this host's metrics, every second, into the event log.
//!
//! [`run`] is the collector as a role of a process: it ticks exactly, appends to the local spool and
//! forwards to Kafka where that is configured. [`snapshot`] collects for a while into memory, without
//! any log. What the samples mean for anyone is left to the analyzer.

mod agent;
pub mod clock;
pub mod component;
pub mod config;
mod health;
mod host_facts;
mod inbox;
mod last_tick;
mod notices;
mod procfile;
mod recorder;
mod run;
pub mod service;
mod ship;
mod snapshot;
mod stop;
#[cfg(test)]
mod testing;
mod tick;
mod writer;

pub use config::{Config, ConfigError};
pub use driftline_schemas::metric::catalogue::SEMCONV_VERSION;
pub use host_facts::hostname;
pub use recorder::Recorder;
pub use run::{CollectorError, Summary, run, run_ticks};
pub use snapshot::{Snapshot, observe, snapshot};
pub use stop::Stop;
