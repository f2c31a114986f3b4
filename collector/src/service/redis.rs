//! Redis servers, through `INFO`, the slow log and a bounded sample of the keys.
//!
//! One round trip a pass brings `INFO`, the new entries of the slow log and, now and then, the
//! settings; once a minute some keys are looked at. `MONITOR` is never used, nothing is changed, and
//! what an eviction policy goes by is left alone as far as that can be ([`keys`]).
//! What the figures mean for anyone is left to the rules.
//!
//! The least that a user needs (Redis 7; before that `~*` stands for `%R~*`):
//!
//! ```text
//! ACL SETUSER driftline on >PASSWORD resetkeys resetchannels %R~* -@all +info +config|get
//!     +slowlog|get +select +scan +memory|usage +pttl +object|freq +type +llen +scard +zcard +hlen +xlen
//! ```
//!
//! `+info` alone is enough for everything that `INFO` tells; what is missing is told once per command.
//! The server counts the questions about keys among its hits: `redis.sample.lookups` says how many.

mod commands;
mod config;
mod connection;
mod discover;
mod hot;
mod info;
mod keys;
mod pattern;
mod record;
mod rights;
mod sample;
mod server;
mod settings;
mod slowlog;
#[cfg(test)]
mod tests;

pub use config::{RedisConfig, RedisUrl, SampleConfig, SlowLogConfig};

use super::Service;
use crate::config::DiscoverConfig;

pub(super) fn services(
    configs: &[RedisConfig],
    discover: &DiscoverConfig,
) -> Vec<Box<dyn Service>> {
    if configs.is_empty() && discover.redis {
        return vec![Box::new(discover::Discovery::new())];
    }
    let server = |config: &RedisConfig| -> Box<dyn Service> {
        Box::new(server::Server::new(config.clone()))
    };
    configs.iter().map(server).collect()
}
