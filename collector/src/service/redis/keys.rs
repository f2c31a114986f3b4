//! Looks at keys: a bounded step of `SCAN` per database, and a few questions about each key found.
//!
//! None of the questions changes anything. All but the length of a collection leave alone by what the
//! server evicts keys; that one counts as an access, so it is asked for only when the key's memory has
//! changed since, and somebody else has accessed it anyway. What the answers mean is left to
//! [`super::sample`].

use std::collections::HashSet;

use redis::{RedisError, Value};

use super::config::SampleConfig;
use super::connection::Connection;
use super::rights::{Refusal, Right, refusal};
use super::sample::{Looked, Sampled, Sampler};

/// So many keys are asked about at once, so that other clients are served in between.
const KEYS_AT_ONCE: usize = 250;
/// No item of a collection takes less, so that smaller keys cannot have too many items.
const MIN_BYTES_PER_ITEM: u64 = 2;
/// The lengths of so many keys are remembered.
const MAX_KNOWN_LENGTHS: usize = 10_000;

/// What is learnt on the way about the rights of the user.
pub(super) type Notes = Vec<(Right, Option<Refusal>)>;

/// A walk over the databases.
pub(super) struct Walk<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) config: &'a SampleConfig,
    pub(super) sampler: &'a mut Sampler,
    /// What may be asked.
    pub(super) allowed: HashSet<Right>,
    /// Whether the policy keeps access counters.
    pub(super) counters: bool,
    pub(super) notes: Notes,
}

impl Walk<'_> {
    /// Looks at some keys of a database; `None` where that is refused.
    pub(super) async fn database(
        &mut self,
        db: u32,
        size: f64,
        count: usize,
        select: bool,
    ) -> Result<Option<Sampled>, RedisError> {
        if select {
            let answers = self.ask(&mut select_database(i64::from(db))).await?;
            if !self.noted(Right::Select, answers.first()) {
                return Ok(None);
            }
        }
        let cursor = self.sampler.cursors.get(&db).copied().unwrap_or(0);
        let mut pipeline = redis::pipe();
        pipeline.cmd("SCAN").arg(cursor).arg("COUNT").arg(count);
        let answers = self.ask(&mut pipeline).await?;
        if !self.noted(Right::Scan, answers.first()) {
            return Ok(None);
        }
        let (next, found) = answers.first().and_then(scanned).unwrap_or((0, Vec::new()));
        self.sampler.cursors.insert(db, next);
        let mut keys = self.looked(db, found);
        // One key tells whether the user may ask at all, before hundreds are asked about.
        let split = 1.min(keys.len());
        let (first, rest) = keys.split_at_mut(split);
        self.measure(first).await?;
        for chunk in rest.chunks_mut(KEYS_AT_ONCE) {
            self.measure(chunk).await?;
        }
        self.lengths(db, &mut keys).await?;
        let complete = cursor == 0 && next == 0;
        Ok(Some(Sampled {
            db,
            size,
            keys,
            complete,
        }))
    }

    /// The keys that came up, once each, and those that are followed.
    fn looked(&self, db: u32, found: Vec<Vec<u8>>) -> Vec<Looked> {
        let mut seen = HashSet::new();
        let drawn = found.into_iter().map(|key| (key, true));
        let followed = self
            .sampler
            .followed(db)
            .into_iter()
            .map(|key| (key, false));
        let mut keys = Vec::new();
        for (key, drawn) in drawn.chain(followed) {
            if seen.insert(key.clone()) {
                keys.push(Looked {
                    key,
                    drawn,
                    ..Looked::default()
                });
            }
        }
        keys
    }

    /// Asks for memory, TTL and access counter of some keys.
    async fn measure(&mut self, keys: &mut [Looked]) -> Result<(), RedisError> {
        let mut asked = vec![Right::Memory, Right::Ttl];
        if self.counters {
            asked.push(Right::Frequency);
        }
        asked.retain(|right| self.allowed.contains(right));
        let mut pipeline = redis::pipe();
        for looked in keys.iter() {
            for right in &asked {
                question(&mut pipeline, *right, &looked.key);
            }
        }
        let answers = self.ask(&mut pipeline).await?;
        let mut answers = answers.iter();
        for looked in keys {
            for right in &asked {
                let answer = answers.next();
                if !self.noted(*right, answer) {
                    continue;
                }
                match (right, answer) {
                    (Right::Memory, Some(Value::Int(bytes))) => {
                        looked.memory = u64::try_from(*bytes).ok();
                    }
                    (Right::Ttl, Some(Value::Int(ms))) => looked.ttl_ms = Some(*ms),
                    (Right::Frequency, Some(Value::Int(counter))) => {
                        looked.counter = u8::try_from(*counter).ok();
                    }
                    _ => {}
                }
            }
        }
        let asked_of = keys_len(pipeline.len(), asked.len()) as u64;
        for right in asked {
            match right {
                Right::Ttl => self.sampler.own.add(asked_of, asked_of),
                // The server's statistics have it among the commands that reach for no key.
                Right::Frequency => self.sampler.own.add(asked_of, 0),
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks for type and length of the keys that may be big.
    async fn lengths(&mut self, db: u32, keys: &mut [Looked]) -> Result<(), RedisError> {
        let least = self
            .config
            .big_bytes
            .min(self.config.big_items.saturating_mul(MIN_BYTES_PER_ITEM));
        let mut large: Vec<&mut Looked> = keys
            .iter_mut()
            .filter(|looked| looked.memory.unwrap_or(0) >= least)
            .collect();
        if large.is_empty() || !self.allowed.contains(&Right::Kind) {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for looked in &large {
            pipeline.cmd("TYPE").arg(&looked.key);
        }
        let answers = self.ask(&mut pipeline).await?;
        let asked = large.len() as u64;
        self.sampler.own.add(asked, asked);
        for (looked, answer) in large.iter_mut().zip(&answers) {
            if !self.noted(Right::Kind, Some(answer)) {
                return Ok(());
            }
            if let Value::SimpleString(kind) = answer {
                looked.kind = Some(kind.clone());
            }
        }
        let mut pipeline = redis::pipe();
        let mut measured: Vec<&mut Looked> = Vec::new();
        for looked in large {
            looked.length = self.known_length(db, looked);
            if looked.length.is_none()
                && let Some(command) = looked.kind.as_deref().and_then(length_command)
            {
                pipeline.cmd(command).arg(&looked.key);
                measured.push(looked);
            }
        }
        if !self.allowed.contains(&Right::Length) {
            return Ok(());
        }
        let answers = self.ask(&mut pipeline).await?;
        let asked = measured.len() as u64;
        self.sampler.own.add(asked, asked);
        for (looked, answer) in measured.into_iter().zip(&answers) {
            if !self.noted(Right::Length, Some(answer)) {
                return Ok(());
            }
            if let Value::Int(items) = answer {
                looked.length = u64::try_from(*items).ok();
                self.remember_length(db, looked);
            }
        }
        Ok(())
    }

    /// The length that the key had when it took as much memory as now.
    fn known_length(&self, db: u32, looked: &Looked) -> Option<u64> {
        let (memory, length) = self.sampler.lengths.get(&(db, looked.key.clone()))?;
        (looked.memory == Some(*memory)).then_some(*length)
    }

    fn remember_length(&mut self, db: u32, looked: &Looked) {
        if let (Some(memory), Some(length)) = (looked.memory, looked.length) {
            let lengths = &mut self.sampler.lengths;
            if lengths.len() >= MAX_KNOWN_LENGTHS {
                lengths.clear();
            }
            lengths.insert((db, looked.key.clone()), (memory, length));
        }
    }

    async fn ask(&mut self, pipeline: &mut redis::Pipeline) -> Result<Vec<Value>, RedisError> {
        self.connection.ask(pipeline).await
    }

    /// Notes whether a question was answered. What the user may not ask is asked no more.
    fn noted(&mut self, right: Right, answer: Option<&Value>) -> bool {
        let refused = answer.and_then(refusal);
        let answered = refused.is_none();
        let denied = matches!(
            refused,
            Some(Refusal::Command(_) | Refusal::Key(_) | Refusal::Absent(_))
        );
        if denied && !self.allowed.remove(&right) {
            return false;
        }
        if denied || !self.notes.iter().any(|(noted, _)| *noted == right) {
            self.notes.push((right, refused));
        }
        answered
    }
}

/// How many keys a pipeline of several questions per key was about.
const fn keys_len(commands: usize, per_key: usize) -> usize {
    match commands.checked_div(per_key) {
        Some(keys) => keys,
        None => 0,
    }
}

/// Chooses a database.
pub(super) fn select_database(db: i64) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SELECT").arg(db);
    pipeline
}

fn question(pipeline: &mut redis::Pipeline, right: Right, key: &[u8]) {
    match right {
        Right::Memory => pipeline.cmd("MEMORY").arg("USAGE").arg(key),
        Right::Frequency => pipeline.cmd("OBJECT").arg("FREQ").arg(key),
        _ => pipeline.cmd("PTTL").arg(key),
    };
}

fn length_command(kind: &str) -> Option<&'static str> {
    match kind {
        "list" => Some("LLEN"),
        "set" => Some("SCARD"),
        "zset" => Some("ZCARD"),
        "hash" => Some("HLEN"),
        "stream" => Some("XLEN"),
        _ => None,
    }
}

/// The next cursor and the keys.
fn scanned(answer: &Value) -> Option<(u64, Vec<Vec<u8>>)> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [Value::BulkString(cursor), Value::Array(keys)] = parts.as_slice() else {
        return None;
    };
    let cursor = std::str::from_utf8(cursor).ok()?.parse().ok()?;
    let keys = keys.iter().filter_map(|key| match key {
        Value::BulkString(key) => Some(key.clone()),
        _ => None,
    });
    Some((cursor, keys.collect()))
}
