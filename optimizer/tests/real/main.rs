//! The optimizer against a real PostgreSQL and a real Redis.

mod cache;
mod crash;
mod harness;
mod index;
mod setting;
