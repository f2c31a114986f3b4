//! The optimizer against a real PostgreSQL and a real Redis.

mod cache;
mod crash;
mod database;
mod harness;
mod index;
mod journal;
mod lock;
mod planner;
mod recheck;
#[path = "../../../tests/services/servers.rs"]
mod servers;
mod setting;
#[path = "../../../tests/services/skipped.rs"]
mod skipped;
