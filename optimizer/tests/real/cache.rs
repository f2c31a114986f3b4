//! Warming: the hit ratio rises as it was predicted on traffic that had not chosen the keys.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftline_optimizer::config::{Encoding, LoaderConfig, OptimizerConfig};
use driftline_optimizer::protocol::{Check, State};
use driftline_optimizer::recommendation::{Estimate, EstimateMeasure, Verification};
use driftline_optimizer::verify::Outcome;
use driftline_optimizer::warm::estimate::{Access, CacheModel, held_out};
use driftline_optimizer::{Action, Optimizer, Recommendation};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::time::MissedTickBehavior;

use super::harness::{Server, config, optimizer, orders, person, recommendation};
use super::journal::FileJournal;

const PATTERN: &str = "order:*";
const KEYS: usize = 2_000;
const WARMED: usize = 200;
const SEED: u64 = 7;
/// What the application writes where it found nothing.
const FILLED: &str = "filled";
/// For how many accesses the application keeps what it has filled. Time is counted in accesses, so
/// that a slow machine has the same hit ratio as a fast one.
const KEPT_ACCESSES: i64 = 100;
/// Accesses in one round trip; fewer than after which one is filled again.
const ACCESSES_PER_TRIP: usize = 40;
/// An access in the time of the estimate, in microseconds.
const ACCESS_US: i64 = 1_000;
/// Accesses that the estimate is made of.
const OBSERVED: usize = 6_000;
/// How long they may take.
const OBSERVED_WITHIN: Duration = Duration::from_secs(600);
/// Lookups on either side of the change.
const LOOKUPS: u64 = 3_000;
/// How far the measured gain may be from the predicted one: six times the standard error of the
/// difference of two hit ratios of that many lookups, and a bit since the estimate warms all keys at
/// one moment, while the application goes on during a real warming.
const TOLERANCE: f64 = 0.1;

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

/// An application that reads through the cache until it is told to stop.
#[derive(Clone, Default)]
struct Application {
    accesses: Arc<Mutex<Vec<Access>>>,
    stop: Arc<AtomicBool>,
}

impl Application {
    /// Many accesses go in one round trip, since a round trip takes long on a busy machine. Each
    /// looks a key up and fills it if it is not there.
    async fn run(self, mut redis: MultiplexedConnection) {
        let mut zipf = Zipf::new(SEED);
        let mut filled: VecDeque<(i64, String)> = VecDeque::new();
        let mut now = 0;
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            tick.tick().await;
            let mut pipe = redis::pipe();
            let mut asked = Vec::with_capacity(ACCESSES_PER_TRIP);
            for _ in 0..ACCESSES_PER_TRIP {
                now += 1;
                while let Some((_, key)) = filled.pop_front_if(|(until, _)| *until <= now) {
                    pipe.unlink(key).ignore();
                }
                let key = zipf.draw();
                pipe.get(&key).ignore();
                pipe.cmd("SET").arg(&key).arg(FILLED).arg("NX");
                asked.push((now, key));
            }
            let set: Vec<Option<String>> = pipe.query_async(&mut redis).await.expect("it answers");
            assert_eq!(set.len(), asked.len());
            let own = asked.iter().zip(&set).filter(|(_, set)| set.is_some());
            filled.extend(own.map(|((now, key), _)| (now + KEPT_ACCESSES, key.clone())));
            let access = |(now, key)| Access {
                ts_us: now * ACCESS_US,
                key,
            };
            let mut accesses = self.accesses.lock().expect("nobody panicked");
            accesses.extend(asked.into_iter().map(access));
        }
    }

    /// What it has asked for, once that is enough.
    async fn observed(&self) -> Vec<Access> {
        let enough = async {
            loop {
                let accesses = self.accesses.lock().expect("nobody panicked").clone();
                if accesses.len() >= OBSERVED {
                    return accesses;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(OBSERVED_WITHIN, enough)
            .await
            .expect("the application is too slow to be observed")
    }
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
        fill_ttl_us: Some(KEPT_ACCESSES * ACCESS_US),
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

/// Windows until there are lookups enough, however slow the machine is; and a warming that nothing
/// stops, since a load takes long beside other work.
fn patient(postgres: &Server, cache: &Server) -> OptimizerConfig {
    let mut config = config(vec![postgres.config("shop"), cache.config("cache")]);
    config.loaders = vec![LoaderConfig {
        pattern: PATTERN.to_owned(),
        server: Some("shop".to_owned()),
        sql: Some("SELECT note FROM orders WHERE id = {1}::int".to_owned()),
        get: None,
        encoding: Encoding::Text,
        ttl: Duration::from_secs(600),
    }];
    config.window = Duration::from_millis(500);
    config.windows_max = 1_000;
    config.verify.lookups_min = LOOKUPS;
    config.warm.backend_ms_per_s = 500.0;
    config.warm.p95_max_ms = f64::INFINITY;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warming_raises_the_hit_ratio_as_predicted() {
    let (Some(postgres), Some(cache)) = (Server::postgres(), Server::redis()) else {
        return;
    };
    orders(&postgres.client().await, 2_000).await;
    let application = Application::default();
    let traffic = tokio::spawn(application.clone().run(connect(&cache).await));
    let warming = warming(&application.observed().await);
    let directory = tempfile::tempdir().expect("a directory");
    let optimizer = optimizer(patient(&postgres, &cache), directory.path());
    let state = optimizer
        .apply(&warming, person())
        .await
        .expect("it is applied");
    application.stop.store(true, Ordering::Relaxed);
    traffic.await.expect("it ran");

    let verdict = state.verdict(Check::Immediate).expect("a verdict");
    println!(
        "{} of {WARMED} warmed, predicted {:?} {:?}, actual {:?}: {}",
        state.warmed.len(),
        verdict.predicted,
        verdict.interval,
        verdict.actual,
        verdict.reason
    );
    assert_eq!(verdict.outcome, Outcome::Kept, "{verdict:?}");
    let predicted = verdict.predicted.expect("a figure");
    let actual = verdict.actual.expect("a figure");
    assert!(predicted > 0.15, "{verdict:?}");
    assert!((actual - predicted).abs() < TOLERANCE, "{verdict:?}");
    undone_but_for_what_changed(&optimizer, &state, connect(&cache).await).await;
}

/// One key is changed by the application: it stays, all others of ours go.
async fn undone_but_for_what_changed(
    optimizer: &Optimizer<FileJournal>,
    state: &State,
    mut redis: MultiplexedConnection,
) {
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
        let ours = left.as_deref().is_some_and(|value| value != FILLED);
        assert!(!ours, "{} is left: {left:?}", key.key);
    }
}
