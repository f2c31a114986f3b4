//! Warming: the hit ratio rises as it was predicted on traffic that had not chosen the keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driftline_optimizer::config::{Encoding, LoaderConfig};
use driftline_optimizer::protocol::Check;
use driftline_optimizer::recommendation::{Estimate, EstimateMeasure, Verification};
use driftline_optimizer::run::system_clock;
use driftline_optimizer::verify::Outcome;
use driftline_optimizer::warm::estimate::{Access, CacheModel, held_out};
use driftline_optimizer::{Action, Recommendation};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

use super::harness::{Server, config, optimizer, orders, person, recommendation};

const PATTERN: &str = "order:*";
const KEYS: usize = 2_000;
const WARMED: usize = 200;
/// How long the application keeps what it has loaded.
const FILL_TTL_MS: u64 = 300;
const SEED: u64 = 7;

/// Keys by a Zipf law with exponent 1.
struct Zipf {
    cumulated: Vec<f64>,
    random: ChaCha8Rng,
}

impl Zipf {
    fn new(seed: u64) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=KEYS).map(|n| {
            sum += 1.0 / n as f64;
            sum
        });
        Self {
            cumulated: cumulated.collect(),
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn draw(&mut self) -> String {
        let all = self.cumulated.last().expect("there are keys");
        let at = self.random.random::<f64>() * all;
        format!(
            "order:{}",
            self.cumulated.partition_point(|sum| *sum < at) + 1
        )
    }
}

/// An application that reads through the cache until it is told to stop; its accesses.
async fn application(mut redis: MultiplexedConnection, stop: Arc<AtomicBool>) -> Vec<Access> {
    let mut zipf = Zipf::new(SEED);
    let mut accesses = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(4));
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        for _ in 0..4 {
            let key = zipf.draw();
            let found: Option<String> = redis.get(&key).await.expect("it answers");
            if found.is_none() {
                let (key, ttl) = (&key, FILL_TTL_MS);
                let _: () = redis.pset_ex(key, "filled", ttl).await.expect("it fills");
            }
            accesses.push(Access {
                ts_us: system_clock(),
                key,
            });
        }
    }
    accesses
}

async fn connect(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(server.url.as_str()).expect("a url");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("it connects")
}

fn warming(accesses: &[Access]) -> Recommendation {
    let model = CacheModel {
        fill_ttl_us: Some(FILL_TTL_MS as i64 * 1_000),
        warm_ttl_us: 600_000_000,
        cold: false,
    };
    let estimate = held_out(accesses, 0.5, WARMED, &model).expect("enough traffic");
    let action = Action::Warm {
        pattern: PATTERN.to_owned(),
        keys: estimate.keys,
    };
    let mut warming = recommendation("R1", "cache", action, Verification::HitRatio);
    warming.estimate = Some(Estimate {
        measure: EstimateMeasure::HitRatioGain,
        predicted: estimate.gain,
        low: estimate.interval.0,
        high: estimate.interval.1,
        method: "E2".to_owned(),
        confidence: 0.8,
        saved_s_per_h: None,
        statements: Vec::new(),
    });
    warming
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warming_raises_the_hit_ratio_as_predicted() {
    let (Some(postgres), Some(cache)) = (Server::postgres(), Server::redis()) else {
        return;
    };
    orders(&postgres.client().await, 2_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let observed = tokio::spawn(application(connect(&cache).await, stop.clone()));
    tokio::time::timeout(Duration::from_secs(8), observed_long_enough())
        .await
        .expect_err("time is up");
    stop.store(true, Ordering::Relaxed);
    let warming = warming(&observed.await.expect("it ran"));

    let mut config = config(vec![postgres.config("shop"), cache.config("cache")]);
    config.loaders = vec![LoaderConfig {
        pattern: PATTERN.to_owned(),
        server: Some("shop".to_owned()),
        sql: Some("SELECT note FROM orders WHERE id = {1}::int".to_owned()),
        get: None,
        encoding: Encoding::Text,
        ttl: Duration::from_secs(600),
    }];
    config.warm.backend_ms_per_s = 500.0;
    config.warm.p95_max_ms = 500.0;
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(config, directory.path());
    let stop = Arc::new(AtomicBool::new(false));
    let traffic = tokio::spawn(application(connect(&cache).await, stop.clone()));
    let state = optimizer
        .apply(&warming, person())
        .await
        .expect("it is applied");
    stop.store(true, Ordering::Relaxed);
    traffic.await.expect("it ran");

    let verdict = state.verdict(Check::Immediate).expect("a verdict");
    println!(
        "predicted {:?} {:?}, actual {:?}: {}",
        verdict.predicted, verdict.interval, verdict.actual, verdict.reason
    );
    assert_eq!(verdict.outcome, Outcome::Kept, "{verdict:?}");
    let (low, high) = verdict.interval.expect("an interval");
    let actual = verdict.actual.expect("a figure");
    assert!((low..=high).contains(&actual), "{verdict:?}");

    // One key is changed by the application: it stays, all others of ours go.
    let mut redis = connect(&cache).await;
    let changed = state.warmed.first().expect("keys were written").key.clone();
    let _: () = redis
        .set(&changed, "by the application")
        .await
        .expect("it is set");
    let state = optimizer
        .revert(&state.action, "asked for")
        .await
        .expect("it is undone");
    let kept: Option<String> = redis.get(&changed).await.expect("it answers");
    assert_eq!(kept.as_deref(), Some("by the application"));
    for key in &state.warmed[1..] {
        let left: Option<String> = redis.get(&key.key).await.expect("it answers");
        assert_ne!(left.map(|v| v.len()), Some(60), "{}", key.key);
    }
}

/// Traffic is observed for a fixed time, which is what the estimate is made of.
async fn observed_long_enough() {
    std::future::pending().await
}
