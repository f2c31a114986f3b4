//! Driftline's optimizer: applies recommendations safely, verifies each against its baseline, and
//! keeps or reverts it.
//!
//! Which recommendations there are is the analyzer's business; this crate knows neither SQL over the
//! tables nor DataFusion.
