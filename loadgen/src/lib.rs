//! Driftline's load generator: planned arrivals, HTTP and WebSocket clients that never let a slow
//! target delay a send, and every operation as a raw event in the log.
//!
//! Times of arrival come from the schedule alone. Response time counts from *intended*, service time
//! from *sent*; both are kept. What operations mean in SQL is left to the analyzer; nothing here
//! links Arrow or DataFusion.

pub mod client;
pub mod clock;
pub mod import;
pub mod journey;
pub mod knee;
pub mod operation;
pub mod recorder;
pub mod report;
pub mod results;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod service;
pub mod stop;
pub mod target;
pub mod threshold;
pub mod tls;
pub mod websocket;
pub mod worker;

pub use clock::RunClock;
pub use operation::{Failure, NEVER_NS, Operation};
pub use scenario::Scenario;
pub use stop::Stop;
