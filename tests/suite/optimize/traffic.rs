//! Tables, and traffic on them that goes on until it is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redis::Commands as _;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Pause between two statements of one client.
const PAUSE: Duration = Duration::from_millis(3);
/// Keys that the application asks for, by a Zipf law with exponent 1.
const KEYS: usize = 2_000;
/// How long the application keeps what it has loaded.
const FILL_TTL_MS: u64 = 300;
const SEED: u64 = 7;
/// Updates of a row after which its page holds as many old versions as it will.
const ROUNDS_UNTIL_STEADY: usize = 6;

/// A session of the test.
pub(crate) struct Postgres {
    runtime: Runtime,
    client: Client,
}

impl Postgres {
    fn connect(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let connected = runtime.block_on(tokio_postgres::connect(url, NoTls));
        let (client, connection) = connected.expect("it connects");
        runtime.spawn(connection);
        Self { runtime, client }
    }

    /// A table of orders of which a thousand customers have some each, with free space in its pages.
    pub(crate) fn orders(url: &str, rows: u32) -> Self {
        let session = Self::connect(url);
        session.execute(&format!(
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
             CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, state int NOT NULL,
                                  note text NOT NULL) WITH (fillfactor = 50, autovacuum_enabled = off);
             CREATE TABLE shift (by int NOT NULL);
             INSERT INTO shift VALUES (0);
             INSERT INTO orders SELECT n, n % 1000, 0, repeat('x', 60) FROM generate_series(1, {rows}) n;"
        ));
        // Several statements sent at once are one transaction, in which VACUUM cannot run.
        session.execute("VACUUM ANALYZE orders");
        session
    }

    /// By how much [`Traffic::moves`] moves customers from now on.
    pub(crate) fn shift(&self, by: i32) {
        self.execute(&format!("UPDATE shift SET by = {by}"));
    }

    fn execute(&self, sql: &str) {
        let done = self.runtime.block_on(self.client.batch_execute(sql));
        done.expect("it runs");
    }

    /// How many indexes of the optimizer's there are.
    pub(crate) fn ours(&self) -> i64 {
        let sql =
            "SELECT count(*) FROM pg_class WHERE relkind = 'i' AND relname LIKE 'driftline\\_%'";
        let row = self.runtime.block_on(self.client.query_one(sql, &[]));
        row.expect("it counts").get(0)
    }
}

/// Traffic that goes on until it is ended.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Traffic {
    fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || work(&stopped));
        Self { stop, thread }
    }

    /// Looks orders up by their customer.
    pub(crate) fn reads(url: &str) -> Self {
        Self::statements(url, "SELECT note FROM orders WHERE customer = $1")
    }

    /// Counts orders' states up.
    pub(crate) fn updates(url: &str) -> Self {
        Self::statements(url, "UPDATE orders SET state = state + 1 WHERE id = $1")
    }

    /// Sets orders' customers, at first to what they are: PostgreSQL compares the values, so that an
    /// index on them costs nothing until they move ([`Postgres::shift`]).
    pub(crate) fn moves(url: &str) -> Self {
        let sql = "UPDATE orders SET customer = customer + (SELECT by FROM shift) WHERE id = $1";
        // Until their pages are full, updates write less: old versions are not cleared away yet.
        let session = Postgres::connect(url);
        for _ in 0..ROUNDS_UNTIL_STEADY {
            session.execute("UPDATE orders SET customer = customer WHERE id <= 1000");
        }
        Self::statements(url, sql)
    }

    fn statements(url: &str, sql: &'static str) -> Self {
        let session = Postgres::connect(url);
        Self::start(move |stop| {
            session.runtime.block_on(async {
                let prepared = session.client.prepare(sql).await.expect("it prepares");
                let mut number = 0_i32;
                while !stop.load(Ordering::Relaxed) {
                    number = number % 1000 + 1;
                    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&number];
                    let done = session.client.execute(&prepared, &parameters).await;
                    done.expect("it runs");
                    tokio::time::sleep(PAUSE).await;
                }
            });
        })
    }

    /// An application that reads through a cache, and keeps for a short time what it has loaded.
    pub(crate) fn cached(url: &str) -> Self {
        let client = redis::Client::open(url).expect("an address");
        let mut cache = client.get_connection().expect("it connects");
        let mut sum = 0.0;
        let weights = (1..=KEYS).map(|n| {
            sum += 1.0 / n as f64;
            sum
        });
        let cumulated: Vec<f64> = weights.collect();
        Self::start(move |stop| {
            let mut random = StdRng::seed_from_u64(SEED);
            // Requests come when they come, however slow the cache is.
            let mut due = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                due += PAUSE;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                for _ in 0..4 {
                    let at = random.random::<f64>() * sum;
                    let key = format!("order:{}", cumulated.partition_point(|s| *s < at) + 1);
                    let found: Option<String> = cache.get(&key).expect("it answers");
                    if found.is_none() {
                        let _: () = cache
                            .pset_ex(&key, "filled", FILL_TTL_MS)
                            .expect("it fills");
                    }
                }
            }
        })
    }

    /// Ends it in order, and tells if it failed.
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the traffic did not fail");
    }
}
