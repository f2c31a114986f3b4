//! What a sample of the keys tells: patterns, their TTLs and memory, big keys and hot keys.
//!
//! Pure: which keys come next, and what is made of what was seen. Asking the server is left to
//! [`super::keys`].

use std::collections::{BTreeMap, HashMap, VecDeque};

use driftline_schemas::metric::catalogue::id;

use super::config::SampleConfig;
use super::hot::{Lfu, Reading, Traffic};
use super::pattern::Vocabulary;
use super::record::Samples;

/// At most so many databases are sampled.
const MAX_DATABASES: usize = 16;
/// Every database has at least so many keys looked at.
const MIN_KEYS: usize = 10;
/// Patterns are told of the keys of so many rounds.
const ROUNDS: usize = 10;
/// At most so many patterns are counted in a round.
const MAX_COUNTED: usize = 1_000;
/// Longer keys are not named.
const MAX_KEY_BYTES: usize = 200;

/// A key that was looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Looked {
    pub(super) key: Vec<u8>,
    /// Whether it came up by chance, not because it is followed.
    pub(super) drawn: bool,
    pub(super) memory: Option<u64>,
    /// Milliseconds; negative where the key has none.
    pub(super) ttl_ms: Option<i64>,
    pub(super) counter: Option<u8>,
    pub(super) kind: Option<String>,
    pub(super) length: Option<u64>,
}

/// The keys of one database that were looked at.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    pub(super) db: u32,
    /// How many keys the database has.
    pub(super) size: f64,
    pub(super) keys: Vec<Looked>,
    /// Whether these are all keys of the database.
    pub(super) complete: bool,
}

/// What is known of the keys.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    pub(super) vocabulary: Vocabulary,
    /// Where the walk through each database goes on.
    pub(super) cursors: HashMap<u32, u64>,
    /// What the server has counted for our sake since it was started.
    pub(super) own: Own,
    /// The hits before that, since the collector was started.
    lookups_before: u64,
    /// What keys took when their length was asked for, and the length, by database and key.
    pub(super) lengths: HashMap<(u32, Vec<u8>), (u64, u64)>,
    rounds: BTreeMap<u32, VecDeque<HashMap<String, Tally>>>,
    big: Vec<Big>,
    hot: Vec<Hot>,
}

/// Our own questions about keys, as the server counts them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Own {
    /// Among the hits of the key space.
    pub(super) hits: u64,
    /// Among the calls of commands that reach for keys.
    pub(super) calls: u64,
}

impl Own {
    pub(super) const fn add(&mut self, hits: u64, calls: u64) {
        self.hits += hits;
        self.calls += calls;
    }
}

/// What is summed up of the keys of a pattern.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    keys: u64,
    expires: u64,
    ttl_ms: f64,
    measured: u64,
    memory: f64,
}

#[derive(Debug)]
struct Big {
    db: u32,
    key: Vec<u8>,
    kind: String,
    memory: Option<u64>,
    length: Option<u64>,
}

#[derive(Debug)]
struct Hot {
    db: u32,
    key: Vec<u8>,
    reading: Reading,
    rate_per_s: f64,
    share: f64,
}

impl Sampler {
    /// A restarted server counts from 0, and its keys may be others.
    pub(super) fn restarted(&mut self) {
        self.cursors.clear();
        self.lengths.clear();
        self.lookups_before = self.lookups();
        self.own = Own::default();
    }

    /// Lookups that servers have counted as hits for our sake.
    pub(super) const fn lookups(&self) -> u64 {
        self.lookups_before + self.own.hits
    }

    /// How many keys of which database are looked at: as its size, but each at least a few.
    pub(super) fn plan(databases: &[(u32, f64)], count: usize) -> Vec<(u32, usize)> {
        let all: f64 = databases.iter().map(|db| db.1).sum();
        let filled = databases.iter().filter(|db| db.1 > 0.0);
        let share = |&(db, keys): &(u32, f64)| {
            let part = (count as f64 * keys / all).ceil() as usize;
            (db, part.max(MIN_KEYS))
        };
        filled.take(MAX_DATABASES).map(share).collect()
    }

    /// The keys of a database that are looked at every time.
    pub(super) fn followed(&self, db: u32) -> Vec<Vec<u8>> {
        let big = self
            .big
            .iter()
            .filter(|big| big.db == db)
            .map(|big| &big.key);
        let hot = self
            .hot
            .iter()
            .filter(|hot| hot.db == db)
            .map(|hot| &hot.key);
        let mut keys: Vec<Vec<u8>> = big.chain(hot).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Takes in a round of all databases.
    pub(super) fn take(
        &mut self,
        config: &SampleConfig,
        sampled: &[Sampled],
        lfu: Lfu,
        accesses_per_s: f64,
        ts_us: i64,
    ) {
        for key in sampled.iter().flat_map(|db| &db.keys) {
            self.vocabulary.learn(&key.key);
        }
        self.rounds
            .retain(|db, _| sampled.iter().any(|sampled| sampled.db == *db));
        for db in sampled {
            self.count(db);
        }
        self.find_big(config, sampled);
        self.find_hot(config, sampled, lfu, accesses_per_s, ts_us);
    }

    fn count(&mut self, sampled: &Sampled) {
        let mut round: HashMap<String, Tally> = HashMap::new();
        for looked in sampled.keys.iter().filter(|looked| looked.drawn) {
            let mut pattern = self.vocabulary.pattern(&looked.key);
            if round.len() >= MAX_COUNTED && !round.contains_key(&pattern) {
                "*".clone_into(&mut pattern);
            }
            round.entry(pattern).or_default().add(looked);
        }
        let rounds = self.rounds.entry(sampled.db).or_default();
        if sampled.complete {
            rounds.clear();
        }
        rounds.push_back(round);
        while rounds.len() > ROUNDS {
            rounds.pop_front();
        }
    }

    fn find_big(&mut self, config: &SampleConfig, sampled: &[Sampled]) {
        let mut big = Vec::new();
        for db in sampled {
            for looked in &db.keys {
                let exceeds = excess(config, looked.memory, looked.length);
                if exceeds > 1.0 {
                    let found = Big {
                        db: db.db,
                        key: looked.key.clone(),
                        kind: looked.kind.clone().unwrap_or_else(|| "unknown".to_owned()),
                        memory: looked.memory,
                        length: looked.length,
                    };
                    big.push((exceeds, found));
                }
            }
        }
        big.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
        big.truncate(config.top);
        self.big = big.into_iter().map(|(_, big)| big).collect();
    }

    fn find_hot(
        &mut self,
        config: &SampleConfig,
        sampled: &[Sampled],
        lfu: Lfu,
        accesses_per_s: f64,
        ts_us: i64,
    ) {
        let mut traffic = Traffic {
            per_s: accesses_per_s,
            ..Traffic::default()
        };
        let mut hot = Vec::new();
        for db in sampled {
            let drawn = db.keys.iter().filter(|looked| looked.drawn).count();
            let weight = (db.size / drawn.max(1) as f64).max(1.0);
            for looked in &db.keys {
                let Some(counter) = looked.counter else {
                    continue;
                };
                let before = self
                    .hot
                    .iter()
                    .find(|hot| hot.db == db.db && hot.key == looked.key);
                let reading = Reading { counter, ts_us };
                let rate_per_s = lfu.rate_per_s(before.map(|hot| hot.reading), reading);
                if looked.drawn {
                    traffic.add(counter, rate_per_s, weight);
                }
                let key = looked.key.clone();
                let (db, share) = (db.db, 0.0);
                hot.push(Hot {
                    db,
                    key,
                    reading,
                    rate_per_s,
                    share,
                });
            }
        }
        hot.sort_by(|a, b| {
            let (a_first, b_first) = (a.reading.counter, b.reading.counter);
            b_first.cmp(&a_first).then_with(|| a.key.cmp(&b.key))
        });
        hot.truncate(config.top);
        for hot in &mut hot {
            hot.share = traffic.share(hot.reading.counter, hot.rate_per_s);
        }
        self.hot = hot;
    }

    /// Records what is known.
    pub(super) fn record(&self, config: &SampleConfig, samples: &mut Samples<'_>) {
        self.record_patterns(config.patterns, samples);
        let mut memory = Largest::new(config.keys, &self.vocabulary);
        let mut length = Largest::new(config.keys, &self.vocabulary);
        for big in &self.big {
            if let Some(bytes) = big.memory {
                memory.offer(big.db, &big.key, &big.kind, bytes as f64);
            }
            if let Some(items) = big.length {
                length.offer(big.db, &big.key, &big.kind, items as f64);
            }
        }
        memory.record(const { id("redis.key.memory") }, samples);
        length.record(const { id("redis.key.length") }, samples);
        let mut frequency = Largest::new(config.keys, &self.vocabulary);
        let mut share = Largest::new(config.keys, &self.vocabulary);
        for hot in &self.hot {
            frequency.offer(hot.db, &hot.key, "", f64::from(hot.reading.counter));
            share.offer(hot.db, &hot.key, "", hot.share);
        }
        frequency.record(const { id("redis.key.frequency") }, samples);
        share.record(const { id("redis.key.share") }, samples);
    }

    fn record_patterns(&self, limit: usize, samples: &mut Samples<'_>) {
        let mut all: Vec<(u32, String, Tally)> = Vec::new();
        for (db, rounds) in &self.rounds {
            let mut merged: BTreeMap<String, Tally> = BTreeMap::new();
            for (pattern, tally) in rounds.iter().flatten() {
                // Words of earlier rounds may have turned out to be names since.
                let pattern = self.vocabulary.pattern(pattern.as_bytes());
                merged.entry(pattern).or_default().merge(*tally);
            }
            let keys: u64 = merged.values().map(|tally| tally.keys).sum();
            let number = db.to_string();
            let labels = [("db", number.as_str())];
            samples.record(const { id("redis.sample.keys") }, &labels, keys as f64);
            all.extend(
                merged
                    .into_iter()
                    .map(|(pattern, tally)| (*db, pattern, tally)),
            );
        }
        all.sort_by_key(|(db, _, tally)| (std::cmp::Reverse(tally.keys), *db));
        for (db, pattern, tally) in all.into_iter().take(limit) {
            let db = db.to_string();
            let labels = [("db", db.as_str()), ("pattern", pattern.as_str())];
            let (keys, expires) = (tally.keys as f64, tally.expires as f64);
            samples.record(const { id("redis.pattern.keys") }, &labels, keys);
            samples.record(const { id("redis.pattern.expires") }, &labels, expires);
            if tally.expires > 0 {
                let mean_s = tally.ttl_ms / expires / 1e3;
                samples.record(const { id("redis.pattern.ttl") }, &labels, mean_s);
            }
            if tally.measured > 0 {
                let mean = tally.memory / tally.measured as f64;
                samples.record(const { id("redis.pattern.memory") }, &labels, mean);
            }
        }
    }
}

/// How far a key is above the limits: 1 is just at one of them.
fn excess(config: &SampleConfig, memory: Option<u64>, length: Option<u64>) -> f64 {
    let part = |value: Option<u64>, limit: u64| value.unwrap_or(0) as f64 / limit.max(1) as f64;
    f64::max(
        part(memory, config.big_bytes),
        part(length, config.big_items),
    )
}

impl Tally {
    fn add(&mut self, looked: &Looked) {
        self.keys += 1;
        if let Some(ttl_ms) = looked.ttl_ms.filter(|ttl_ms| *ttl_ms >= 0) {
            self.expires += 1;
            self.ttl_ms += ttl_ms as f64;
        }
        if let Some(memory) = looked.memory {
            self.measured += 1;
            self.memory += memory as f64;
        }
    }

    fn merge(&mut self, other: Self) {
        self.keys += other.keys;
        self.expires += other.expires;
        self.ttl_ms += other.ttl_ms;
        self.measured += other.measured;
        self.memory += other.memory;
    }
}

/// One value per pattern, or per key where keys may be named: the largest.
struct Largest<'a> {
    named: bool,
    vocabulary: &'a Vocabulary,
    /// By database, pattern, type and key.
    values: BTreeMap<(u32, String, &'a str, Option<&'a str>), f64>,
}

impl<'a> Largest<'a> {
    const fn new(named: bool, vocabulary: &'a Vocabulary) -> Self {
        Self {
            named,
            vocabulary,
            values: BTreeMap::new(),
        }
    }

    fn offer(&mut self, db: u32, key: &'a [u8], kind: &'a str, value: f64) {
        let name = std::str::from_utf8(key).ok();
        let name = name.filter(|name| self.named && name.len() <= MAX_KEY_BYTES);
        let pattern = self.vocabulary.pattern(key);
        let largest = self
            .values
            .entry((db, pattern, kind, name))
            .or_insert(value);
        *largest = largest.max(value);
    }

    fn record(self, metric: u32, samples: &mut Samples<'_>) {
        for ((db, pattern, kind, name), value) in self.values {
            let db = db.to_string();
            let mut labels = vec![("db", db.as_str()), ("pattern", pattern.as_str())];
            if !kind.is_empty() {
                labels.push(("type", kind));
            }
            labels.extend(name.map(|name| ("key", name)));
            samples.record(metric, &labels, value);
        }
    }
}

#[cfg(test)]
mod tests;
