//! The optimizer against a real PostgreSQL and a real Redis.

mod cache;
mod crash;
mod database;
mod harness;
mod index;
mod planner;
mod setting;
