//! Redis servers under load: one healthy, one that thrashes, one that is full, one that is busy, one
//! whose memory is in crumbs, and one that many share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::{Duration, Instant};

use redis::{Client, Connection};

use super::load::{Stop, pick};

/// A client's rounds come this often.
const ROUND: Duration = Duration::from_millis(20);
/// Clients of the busy server, and how many commands each sends in a round: together 10,000 a second.
const BUSY_CLIENTS: u64 = 4;
const EACH_ROUND: u64 = 50;
/// How long what a cache holds is kept.
const TTL_S: u32 = 3_600;
/// Keys of the server whose memory is in crumbs, and of how many in turn one is left. Blocks of equal
/// size lie side by side, so that each page still holds one.
const CRUMBS: u32 = 500_000;
const LEFT_OF: u32 = 32;
/// Rounds between two snapshots.
const SNAPSHOT_ROUNDS: u64 = 250;
/// Connections to the shared server, of the 40 that it accepts.
const SHARING: usize = 37;

/// Starts the load of a healthy cache: nearly every look-up hits, many are sent together.
pub(super) fn healthy(url: &str, stop: &Stop) -> Vec<JoinHandle<()>> {
    let mut connection = connect(url);
    fill(&mut connection, 5_000, "session", 100);
    vec![paced(stop, move |round| {
        let mut together = redis::pipe();
        for n in round * 10..round * 10 + 10 {
            together
                .cmd("GET")
                .arg(format!("session:{}", pick(n, 5_000)))
                .ignore();
        }
        let written = format!("session:{}", pick(round, 5_000));
        together
            .cmd("SETEX")
            .arg(written)
            .arg(TTL_S)
            .arg("again")
            .ignore();
        together
            .query::<()>(&mut connection)
            .expect("the server answers");
    })]
}

/// Starts the load of a cache a third as large as what is asked of it; what is missed is loaded.
pub(super) fn thrashing(url: &str, stop: &Stop) -> Vec<JoinHandle<()>> {
    let mut connection = connect(url);
    let body = "x".repeat(300);
    vec![paced(stop, move |round| {
        let keys: Vec<String> = (round * 20..round * 20 + 20)
            .map(|n| format!("article:{}", pick(n, 30_000)))
            .collect();
        let mut asked = redis::pipe();
        for key in &keys {
            asked.cmd("GET").arg(key);
        }
        let found: Vec<Option<String>> = asked.query(&mut connection).expect("an answer");
        let mut loaded = redis::pipe();
        loaded.cmd("PING").ignore();
        for (key, _) in keys.iter().zip(&found).filter(|(_, found)| found.is_none()) {
            loaded.cmd("SETEX").arg(key).arg(TTL_S).arg(&body).ignore();
        }
        loaded
            .query::<()>(&mut connection)
            .expect("the server answers");
    })]
}

/// Starts the load of a full cache that may not evict: writes are refused, and someone lists all keys.
pub(super) fn full(url: &str, stop: &Stop) -> Vec<JoinHandle<()>> {
    let mut connection = connect(url);
    let body = "x".repeat(40);
    let mut n = 0_u64;
    while write(&mut connection, n, &body) {
        n += 1;
    }
    vec![paced(stop, move |round| {
        assert!(
            !write(&mut connection, n + round, &body),
            "the server is full"
        );
        if round % 20 == 0 {
            let mut keys = redis::cmd("KEYS");
            keys.arg("cart:99*9")
                .query::<Vec<String>>(&mut connection)
                .expect("a list");
        }
    })]
}

/// Starts loads of many commands one after the other, a good part of them for one key, beside some
/// keys that are big.
pub(super) fn busy(url: &str, stop: &Stop) -> Vec<JoinHandle<()>> {
    let mut connection = connect(url);
    fill(&mut connection, 3_000, "product", 100);
    let mut big = redis::pipe();
    for n in 0..20_000_u32 {
        big.cmd("RPUSH").arg("feed:1").arg(n).ignore();
    }
    big.cmd("SET")
        .arg("page:1")
        .arg("x".repeat(300_000))
        .ignore();
    big.cmd("SET").arg("rate:1").arg("1.08").ignore();
    big.query::<()>(&mut connection)
        .expect("the server has room");
    let client = |of: u64| {
        let mut connection = connect(url);
        paced(stop, move |round| {
            for n in round * EACH_ROUND..(round + 1) * EACH_ROUND {
                let key = match pick(n * BUSY_CLIENTS + of, 10) {
                    0..3 => "rate:1".to_owned(),
                    _ => format!("product:{}", pick(n * BUSY_CLIENTS + of, 3_000)),
                };
                let mut get = redis::cmd("GET");
                get.arg(key).exec(&mut connection).expect("an answer");
            }
        })
    };
    (0..BUSY_CLIENTS).map(client).collect()
}

/// Fills a server, deletes nearly all of it again, and has it take snapshots.
pub(super) fn crumbled(url: &str, stop: &Stop) -> Vec<JoinHandle<()>> {
    let mut connection = connect(url);
    let mut populate = redis::cmd("DEBUG");
    populate.arg("POPULATE").arg(CRUMBS).arg("trace").arg(300);
    populate.exec(&mut connection).expect("it has room");
    for first in (0..CRUMBS).step_by(20_000) {
        let mut deleted = redis::pipe();
        for n in (first..first + 20_000).filter(|n| n % LEFT_OF != 0) {
            deleted.cmd("UNLINK").arg(format!("trace:{n}")).ignore();
        }
        deleted.query::<()>(&mut connection).expect("an answer");
    }
    vec![paced(stop, move |round| {
        if round % SNAPSHOT_ROUNDS == 0 {
            let mut snapshot = redis::cmd("BGSAVE");
            let done = snapshot.arg("SCHEDULE").exec(&mut connection);
            done.expect("a snapshot begins");
        }
    })]
}

/// Many clients of a cache, each with a connection of its own, and some keys that were forgotten.
pub(super) fn shared(url: &str, stop: &Stop) -> Vec<JoinHandle<()>> {
    let mut clients: Vec<Connection> = (0..SHARING).map(|_| connect(url)).collect();
    fill(&mut clients[0], 1_400, "session", 100);
    let mut forgotten = redis::pipe();
    for n in 0..600 {
        forgotten
            .cmd("SET")
            .arg(format!("draft:{n}"))
            .arg("text")
            .ignore();
    }
    forgotten.query::<()>(&mut clients[0]).expect("it has room");
    vec![paced(stop, move |round| {
        let client = &mut clients[round as usize % SHARING];
        redis::cmd("PING").exec(client).expect("an answer");
    })]
}

fn connect(url: &str) -> Connection {
    let client = Client::open(url).expect("an address");
    client.get_connection().expect("it connects")
}

fn fill(connection: &mut Connection, keys: u64, kind: &str, bytes: usize) {
    let body = "x".repeat(bytes);
    let mut together = redis::pipe();
    for n in 0..keys {
        together
            .cmd("SETEX")
            .arg(format!("{kind}:{n}"))
            .arg(TTL_S)
            .arg(&body)
            .ignore();
    }
    together
        .query::<()>(connection)
        .expect("the server has room");
}

/// Whether the server took a key.
fn write(connection: &mut Connection, n: u64, body: &str) -> bool {
    let mut set = redis::cmd("SETEX");
    match set
        .arg(format!("cart:{n}"))
        .arg(TTL_S)
        .arg(body)
        .exec(connection)
    {
        Ok(()) => true,
        Err(error) if error.code() == Some("OOM") => false,
        Err(error) => panic!("the server must take a key or be full: {error}"),
    }
}

/// Runs rounds until it is told to stop. One that is late is followed by the next at once, and what
/// was missed is not made up for.
fn paced(stop: &Stop, mut round: impl FnMut(u64) + Send + 'static) -> JoinHandle<()> {
    let stop: std::sync::Arc<AtomicBool> = stop.clone();
    spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let next = Instant::now() + ROUND;
            round(number);
            number += 1;
            park_timeout(next.saturating_duration_since(Instant::now()));
        }
    })
}
