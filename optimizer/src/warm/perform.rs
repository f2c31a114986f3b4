//! Writing warmed keys into Redis within the budget, and taking them out again.
//!
//! A key that the application wrote is never touched: a key is set only if it is not there, and
//! removed only if it still has our value.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::loader::{LoadError, Loader};
use super::{Budget, Loads, pays, stop, ttl_s, value_fingerprint};
use crate::action::WarmKey;
use crate::config::{OptimizerConfig, ServerConfig};
use crate::measure::redis as info;
use crate::protocol::{WARMED_PER_STEP, WarmedKey};
use crate::server::{ServerError, redis_failed};

/// How many keys are loaded between two looks at evictions.
const KEYS_PER_LOOK: usize = 50;
/// Removes a key if it still has our value, in one step: nobody can write between look and removal.
const UNLINK_IF_SAME: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) else return 0 end";

/// What warming did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warming {
    /// Keys that were written.
    pub written: usize,
    /// Keys that were there already.
    pub present: usize,
    /// Keys that do not pay, or have no value.
    pub skipped: usize,
    /// Why it stopped before its end.
    pub stopped: Option<String>,
}

/// Warms keys step by step, so that what was written is in the log before more is.
pub struct Warmer<'a> {
    server: &'a ServerConfig,
    config: &'a OptimizerConfig,
    connection: MultiplexedConnection,
    loader: Loader<'a>,
    /// The action's id, which spreads times to live.
    seed: String,
    budget: Budget,
    loads: Loads,
    began: Instant,
    evicted_before: u64,
    keys: std::vec::IntoIter<WarmKey>,
    done: Warming,
}

impl<'a> Warmer<'a> {
    /// Prepares warming `keys`, without those that were written before.
    pub async fn open(
        config: &'a OptimizerConfig,
        server: &'a ServerConfig,
        pattern: &str,
        keys: &[WarmKey],
        written: &[WarmedKey],
        seed: &str,
    ) -> Result<Self, LoadError> {
        let loader = Loader::open(config, pattern).await?;
        let mut connection = crate::server::redis(server).await?;
        let now = info::read(&mut connection, server, 0).await?;
        let written: BTreeSet<&str> = written.iter().map(|key| key.key.as_str()).collect();
        let keys: Vec<WarmKey> = keys
            .iter()
            .filter(|key| !written.contains(key.key.as_str()))
            .cloned()
            .collect();
        Ok(Self {
            server,
            config,
            connection,
            loader,
            seed: seed.to_owned(),
            budget: Budget::new(config.warm.backend_ms_per_s, 0),
            loads: Loads::default(),
            began: Instant::now(),
            evicted_before: now.cache.evicted,
            keys: keys.into_iter(),
            done: Warming::default(),
        })
    }

    /// Warms some more keys; `None` when it is done. An empty step writes nothing and may be followed
    /// by others.
    pub async fn step(&mut self) -> Result<Option<Vec<WarmedKey>>, LoadError> {
        let mut written = Vec::new();
        for _ in 0..KEYS_PER_LOOK.min(WARMED_PER_STEP) {
            let Some(key) = self.keys.next() else {
                break;
            };
            if let Some(key) = self.warm(&key).await? {
                written.push(key);
            }
        }
        self.done.written += written.len();
        if written.is_empty() && self.keys.as_slice().is_empty() {
            return Ok(None);
        }
        let now = info::read(&mut self.connection, self.server, 0).await?;
        let evicted = now.cache.evicted.saturating_sub(self.evicted_before);
        if let Some(why) = stop(&self.config.warm, &self.loads, evicted) {
            self.done.stopped = Some(why);
            self.keys = Vec::new().into_iter();
        }
        Ok(Some(written))
    }

    /// What was done.
    pub fn finish(self) -> Warming {
        self.done
    }

    async fn warm(&mut self, key: &WarmKey) -> Result<Option<WarmedKey>, LoadError> {
        if !pays(key, self.loader.ttl()) {
            self.done.skipped += 1;
            return Ok(None);
        }
        let wait = self.budget.wait(self.elapsed_us());
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
        let began = Instant::now();
        let value = self.loader.load(&key.key).await?;
        let cost_ms = began.elapsed().as_secs_f64() * 1e3;
        self.loads.add(cost_ms);
        let now_us = self.elapsed_us();
        self.budget.spend(cost_ms, now_us);
        let Some(value) = value else {
            self.done.skipped += 1;
            return Ok(None);
        };
        let jitter = self.config.warm.ttl_jitter_percent;
        let ttl = ttl_s(self.loader.ttl(), jitter, &self.seed, &key.key);
        let set: Option<String> = redis::cmd("SET")
            .arg(&key.key)
            .arg(&value)
            .arg("NX")
            .arg("EX")
            .arg(ttl)
            .query_async(&mut self.connection)
            .await
            .map_err(|source| redis_failed(self.server, source))?;
        if set.is_none() {
            self.done.present += 1;
            return Ok(None);
        }
        Ok(Some(WarmedKey {
            key: key.key.clone(),
            value: value_fingerprint(&value),
        }))
    }

    fn elapsed_us(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// Removes the keys that still have our value; how many those were.
pub async fn unlink(
    connection: &mut MultiplexedConnection,
    server: &ServerConfig,
    keys: &[WarmedKey],
) -> Result<usize, ServerError> {
    let failed = |source| redis_failed(server, source);
    let mut removed = 0;
    for key in keys {
        let value: Option<Vec<u8>> = redis::cmd("GET")
            .arg(&key.key)
            .query_async(connection)
            .await
            .map_err(failed)?;
        let Some(value) = value.filter(|value| value_fingerprint(value) == key.value) else {
            continue;
        };
        let gone: usize = redis::cmd("EVAL")
            .arg(UNLINK_IF_SAME)
            .arg(1)
            .arg(&key.key)
            .arg(&value)
            .query_async(connection)
            .await
            .map_err(failed)?;
        removed += gone;
    }
    Ok(removed)
}
