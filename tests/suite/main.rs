//! The suite over the whole product, on real parts.
//!
//! - [`cli`]: commands as a user types them, and their errors
//! - [`pipeline`]: collector → log → sink → SQL, on the spool and on a real Kafka
//! - [`recovery`]: processes killed at named steps and at random; every block exactly once
//! - [`interop`]: other tools read the tables and agree row for row
//! - [`load`]: load tests against the bundled target, and their reports
//! - [`demo`]: the README's first command, and marks
//! - [`nightly`]: the analysis of a day, its findings, and detection in plain files
//! - [`live`]: an onset reaches the webhook while it happens, and once
//! - [`optimize`]: recommendations applied to real servers, kept or reverted
//! - [`pathology`]: pathologies planted in real servers, and who is told of them
//! - [`deployment`]: what docker-compose.yml describes

#[path = "../services/broker.rs"]
mod broker;
mod cli;
mod demo;
mod deployment;
mod interop;
mod ledger;
mod live;
mod load;
mod nightly;
mod optimize;
mod pathology;
mod pipeline;
mod process;
mod recovery;
#[path = "../services/servers.rs"]
mod servers;
mod services;
#[path = "../services/skipped.rs"]
mod skipped;
