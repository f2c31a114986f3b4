//! The slow log: which entries are new, and what is told of them. Pure.
//!
//! An entry's arguments may hold anything, so only the command's name and the pattern of its key are
//! kept.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;

use driftline_schemas::{Component, Event, EventName};
use redis::Value;

use super::pattern::Vocabulary;

/// What an event of a slow command is called.
const SLOW_COMMAND: &str = "SlowCommandSeen";
/// The longest command name that is believed.
const MAX_COMMAND_BYTES: usize = 40;

/// Commands whose first word behind the name belongs to it, as in `config|get`.
const CONTAINERS: [&str; 16] = [
    "acl", "client", "cluster", "command", "config", "debug", "function", "latency", "memory",
    "module", "object", "pubsub", "script", "slowlog", "xgroup", "xinfo",
];

/// Commands whose first argument is a key.
#[rustfmt::skip]
const KEY_FIRST: [&str; 114] = [
    "append", "bitcount", "bitfield", "bitfield_ro", "bitpos", "blpop", "brpop", "brpoplpush", "blmove",
    "bzpopmax", "bzpopmin", "copy", "decr", "decrby", "del", "dump", "exists", "expire", "expireat",
    "expiretime", "geoadd", "geodist", "geohash", "geopos", "georadius", "georadiusbymember", "geosearch",
    "geosearchstore", "get", "getbit", "getdel", "getex", "getrange", "getset", "hdel", "hexists", "hget",
    "hgetall", "hincrby", "hincrbyfloat", "hkeys", "hlen", "hmget", "hmset", "hrandfield", "hscan", "hset",
    "hsetnx", "hstrlen", "hvals", "incr", "incrby", "incrbyfloat", "lindex", "linsert", "llen", "lmove",
    "lpop", "lpos", "lpush", "lpushx", "lrange", "lrem", "lset", "ltrim", "mget", "mset", "msetnx", "persist",
    "pexpire", "pexpireat", "pexpiretime", "pfadd", "pfcount", "pfmerge", "psetex", "pttl", "rename",
    "renamenx", "restore", "rpop", "rpoplpush", "rpush", "rpushx", "sadd", "scard", "sdiff", "sdiffstore",
    "set", "setbit", "setex", "setnx", "setrange", "sinter", "sinterstore", "sismember", "smembers",
    "smismember", "sort", "sort_ro", "spop", "srandmember", "srem", "sscan", "strlen", "sunion",
    "sunionstore", "touch", "ttl", "type", "unlink", "xadd", "xlen", "xrange",
];
const SORTED_SETS: [char; 1] = ['z'];

/// An entry of the slow log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) id: i64,
    pub(super) ts_s: i64,
    pub(super) duration_us: i64,
    pub(super) command: String,
    key: Option<Vec<u8>>,
}

/// What is remembered between readings.
#[derive(Debug, Default)]
pub(super) struct SlowLog {
    /// The highest id that was seen; `None` before the first reading.
    last_id: Option<i64>,
    /// Entries since the collector was started, those included that the log had no room for.
    pub(super) seen: u64,
}

impl SlowLog {
    /// Numbers begin at 0 again when the server is restarted.
    pub(super) fn restarted(&mut self) {
        self.last_id = Some(-1);
    }

    /// The entries that were not seen before. The first time these are the ones since `since_s`.
    pub(super) fn take(&mut self, mut entries: Vec<Entry>, since_s: i64) -> Vec<Entry> {
        let Some(highest) = entries.iter().map(|entry| entry.id).max() else {
            self.last_id.get_or_insert(-1);
            return entries;
        };
        match self.last_id {
            Some(last) => {
                entries.retain(|entry| entry.id > last);
                self.seen += u64::try_from(highest - last).unwrap_or(0);
            }
            None => {
                entries.retain(|entry| entry.ts_s >= since_s);
                self.seen += entries.len() as u64;
            }
        }
        self.last_id = self.last_id.max(Some(highest));
        entries
    }
}

/// The slowest call of each command, in seconds.
pub(super) fn slowest(entries: &[Entry]) -> BTreeMap<&str, f64> {
    let mut slowest = BTreeMap::new();
    for entry in entries {
        let seconds = entry.duration_us as f64 / 1e6;
        match slowest.entry(entry.command.as_str()) {
            Place::Vacant(place) => {
                place.insert(seconds);
            }
            Place::Occupied(mut place) => {
                place.insert(seconds.max(*place.get()));
            }
        }
    }
    slowest
}

/// Events of the slowest entries, in the order of time.
pub(super) fn events(
    mut entries: Vec<Entry>,
    limit: usize,
    subject: &str,
    vocabulary: &Vocabulary,
) -> Vec<Event> {
    entries.sort_by_key(|entry| (std::cmp::Reverse(entry.duration_us), entry.id));
    entries.truncate(limit);
    entries.sort_by_key(|entry| entry.id);
    let event = |entry: &Entry| {
        let pattern = entry.key.as_deref().map(|key| vocabulary.pattern(key));
        let what = match &pattern {
            Some(pattern) => format!("{} {pattern}", entry.command),
            None => entry.command.clone(),
        };
        let mut attributes = vec![
            ("cmd".to_owned(), entry.command.clone()),
            ("duration_us".to_owned(), entry.duration_us.to_string()),
            ("id".to_owned(), entry.id.to_string()),
        ];
        attributes.extend(pattern.map(|pattern| ("pattern".to_owned(), pattern)));
        Event {
            ts_us: entry.ts_s.saturating_mul(1_000_000),
            name: EventName::Other(SLOW_COMMAND.to_owned()),
            component: Component::Redis,
            subject: subject.to_owned(),
            message: format!("{what} took {:.1} ms", entry.duration_us as f64 / 1e3),
            attributes,
        }
    };
    entries.iter().map(event).collect()
}

/// Reads the answer to `SLOWLOG GET`; entries that are none are passed over and counted.
pub(super) fn parse(answer: &Value) -> (Vec<Entry>, usize) {
    let Value::Array(items) = answer else {
        return (Vec::new(), 1);
    };
    let entries: Vec<Entry> = items.iter().filter_map(parse_entry).collect();
    let odd = items.len() - entries.len();
    (entries, odd)
}

fn parse_entry(item: &Value) -> Option<Entry> {
    let Value::Array(parts) = item else {
        return None;
    };
    let number = |at: usize| match parts.get(at) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    };
    let Some(Value::Array(arguments)) = parts.get(3) else {
        return None;
    };
    let (command, key) = command(arguments)?;
    Some(Entry {
        id: number(0)?,
        ts_s: number(1)?,
        duration_us: number(2)?,
        command,
        key: key.map(<[u8]>::to_vec),
    })
}

/// The command's name as `INFO` writes it, and its key.
fn command(arguments: &[Value]) -> Option<(String, Option<&[u8]>)> {
    let word = |at: usize| bytes(arguments.get(at)?);
    let name = plain_word(word(0)?)?;
    if CONTAINERS.contains(&name.as_str()) {
        let name = match word(1).and_then(plain_word) {
            Some(sub) => format!("{name}|{sub}"),
            None => name,
        };
        return Some((name, None));
    }
    let has_key = KEY_FIRST.contains(&name.as_str())
        || (name.starts_with(SORTED_SETS) && name.len() > 3 && !name.ends_with("store"));
    let key = word(1).filter(|_| has_key);
    Some((name, key))
}

/// A name in lower case, if it is one.
fn plain_word(bytes: &[u8]) -> Option<String> {
    let named = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let plausible =
        !bytes.is_empty() && bytes.len() <= MAX_COMMAND_BYTES && bytes.iter().all(named);
    plausible.then(|| String::from_utf8_lossy(bytes).to_lowercase())
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, us: i64, words: &[&str]) -> Value {
        let words = words
            .iter()
            .map(|word| Value::BulkString(word.as_bytes().to_vec()));
        Value::Array(vec![
            Value::Int(id),
            Value::Int(1_000 + id),
            Value::Int(us),
            Value::Array(words.collect()),
            Value::BulkString(b"127.0.0.1:5000".to_vec()),
            Value::BulkString(b"somebody".to_vec()),
        ])
    }

    #[test]
    fn arguments_are_not_kept() {
        let answer = Value::Array(vec![
            entry(9, 20_000, &["SET", "user:77", "secret"]),
            entry(8, 40_000, &["eval", "return 'secret'", "1", "secret"]),
            entry(7, 30_000, &["CONFIG", "GET", "secret"]),
            entry(6, 10_000, &["zadd", "board:4", "1", "secret"]),
            entry(5, 10_000, &["KEYS", "secret*"]),
            entry(4, 10_000, &["Z", "secret"]),
        ]);
        let (entries, odd) = parse(&answer);
        assert_eq!((entries.len(), odd), (6, 0));
        let mut vocabulary = Vocabulary::default();
        vocabulary.learn(b"user:1");
        vocabulary.learn(b"board:1");
        let events = events(entries, 4, "redis.main", &vocabulary);
        let messages: Vec<&str> = events.iter().map(|event| event.message.as_str()).collect();
        let expected = [
            "zadd board:* took 10.0 ms",
            "config|get took 30.0 ms",
            "eval took 40.0 ms",
            "set user:* took 20.0 ms",
        ];
        // Of equally slow ones the earliest are told.
        assert_eq!(messages[1..], expected[1..]);
        assert!(!format!("{events:?}").contains("secret"));
        assert_eq!(events[3].ts_us, 1_009_000_000);
        assert!(
            events[3]
                .attributes
                .contains(&("pattern".to_owned(), "user:*".to_owned()))
        );
    }

    #[test]
    fn entries_are_taken_once() {
        let parsed = |ids: &[i64]| -> Vec<Entry> {
            let items = ids.iter().map(|id| entry(*id, 1, &["get", "a"])).collect();
            parse(&Value::Array(items)).0
        };
        let ids =
            |entries: Vec<Entry>| -> Vec<i64> { entries.iter().map(|entry| entry.id).collect() };
        let mut log = SlowLog::default();
        assert_eq!(ids(log.take(parsed(&[5, 4, 3]), 1_004)), [5, 4]);
        assert_eq!((log.last_id, log.seen), (Some(5), 2));
        assert!(ids(log.take(parsed(&[5, 4]), 0)).is_empty());
        assert_eq!(ids(log.take(parsed(&[9, 8]), 0)), [9, 8]);
        assert_eq!(log.seen, 6, "those that fell out of the log are counted");
        assert!(ids(log.take(parsed(&[]), 0)).is_empty());
        log.restarted();
        assert_eq!(ids(log.take(parsed(&[0]), 0)), [0]);
        assert_eq!(log.seen, 7);
        let mut empty = SlowLog::default();
        empty.take(Vec::new(), 0);
        assert_eq!(
            ids(empty.take(parsed(&[0]), 9_999_999)),
            [0],
            "it came after the first reading"
        );
    }

    #[test]
    fn odd_answers_are_counted() {
        assert_eq!(parse(&Value::Nil), (Vec::new(), 1));
        let odd = Value::Array(vec![
            Value::Int(3),
            Value::Array(vec![]),
            entry(1, 1, &[""]),
            entry(2, 1, &["rm -rf"]),
        ]);
        assert_eq!(parse(&odd), (Vec::new(), 4));
    }

    #[test]
    fn the_slowest_call_of_each_command_is_found() {
        let items = [(1, 500, "get"), (2, 900, "get"), (3, 100, "sort")];
        let items = items
            .iter()
            .map(|(id, us, name)| entry(*id, *us, &[name, "k"]));
        let (entries, _) = parse(&Value::Array(items.collect()));
        let slowest: Vec<(&str, f64)> = slowest(&entries).into_iter().collect();
        assert_eq!(slowest, [("get", 0.0009), ("sort", 0.0001)]);
    }
}
