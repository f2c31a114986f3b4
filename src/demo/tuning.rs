//! The demo's last part: a statement without its index is found, the index recommended, created,
//! measured, and kept only if it saved what was predicted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use driftline_collector::config::{DiscoverConfig, PostgresConfig};
use driftline_optimizer::action::ActionKind;
use driftline_optimizer::config::{ServerConfig, ServerKind};
use driftline_optimizer::gate::Approval;
use driftline_optimizer::protocol::State;
use driftline_optimizer::{OptimizerConfig, Recommendation};
use tokio_postgres::{Client, NoTls};

use super::throwaway::Postgres;
use crate::cli::Settings;
use crate::stopping::Stopping;
use crate::up::Up;
use crate::{optimize, query};

/// What the server is called.
const SERVER: &str = "demo";
/// The rule that must see it.
const RULE: &str = "p2_missing_index";
/// Orders of a thousand customers, and no index by customer.
const TABLE: &str = "
CREATE EXTENSION pg_stat_statements;
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, note text NOT NULL);
INSERT INTO orders SELECT n, n % 1000, repeat('x', 60) FROM generate_series(1, 40000) n;";
const STATEMENT: &str = "SELECT note FROM orders WHERE customer = $1";
/// Between two statements.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the server is looked at, and the rules are judged.
const EVERY: Duration = Duration::from_secs(2);
/// How long it may take until the rule sees it.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// What was recommended, and what became of it.
pub(super) struct Tuned {
    pub(super) recommendation: Recommendation,
    pub(super) state: State,
}

/// Runs it all; `None` when it was interrupted.
pub(super) fn run(
    settings: &Settings,
    server: &Postgres,
    stopping: &Stopping,
) -> anyhow::Result<Option<Tuned>> {
    let runtime = query::runtime()?;
    let traffic = runtime.block_on(Traffic::start(&server.url()))?;
    let up = Up::start(&collecting(settings, server), stopping.clone())?;
    let tuned = runtime.block_on(tune(&optimizing(settings, server), &up));
    let totals = up.stop();
    runtime.block_on(traffic.end())?;
    totals?;
    tuned
}

/// The server is observed, and nothing else but the host; nothing is optimized by itself.
fn collecting(settings: &Settings, server: &Postgres) -> Settings {
    let mut settings = settings.clone();
    let collector = &mut settings.config.collector;
    collector.discover = DiscoverConfig::nothing();
    collector.postgres = vec![PostgresConfig {
        name: SERVER.to_owned(),
        url: server.url(),
        interval: EVERY,
        statements_every: EVERY,
        tables_every: EVERY,
        ..PostgresConfig::default()
    }];
    settings.config.live.enabled = false;
    settings.config.optimizer.servers.clear();
    settings
}

/// Everything may be done to this server, in windows as short as the demo needs them.
fn optimizing(settings: &Settings, server: &Postgres) -> Settings {
    let mut settings = settings.clone();
    settings.config.optimizer = OptimizerConfig {
        dry_run: false,
        create_index: true,
        allow: [ActionKind::CreateIndex].into(),
        disk_unknown: true,
        cpu_busy_max_percent: 100.0,
        cpu_pressure_max_percent: 100.0,
        window: EVERY,
        settle: Duration::from_millis(200),
        servers: vec![ServerConfig {
            name: SERVER.to_owned(),
            kind: ServerKind::Postgres,
            url: server.url(),
            password_file: None,
            password_env: None,
            memory_bytes: None,
            data_directory: None,
        }],
        ..OptimizerConfig::default()
    };
    settings
}

async fn tune(settings: &Settings, up: &Up) -> anyhow::Result<Option<Tuned>> {
    let Some(recommendation) = recommended(settings, up).await? else {
        return Ok(None);
    };
    println!(
        "Recommended by {RULE}: {}\n  {}",
        recommendation.advice,
        recommendation.evidence.join("; ")
    );
    let by = Approval::Person("demo".to_owned());
    let optimizer = optimize::optimizer(settings, true)?;
    let state = optimizer.apply(&recommendation, by).await?;
    Ok(Some(Tuned {
        recommendation,
        state,
    }))
}

/// What the rule recommends, as soon as it does.
async fn recommended(settings: &Settings, up: &Up) -> anyhow::Result<Option<Recommendation>> {
    let deadline = Instant::now() + FOUND_WITHIN;
    loop {
        if tokio::task::block_in_place(|| up.wait(EVERY)) {
            return Ok(None);
        }
        if let Some(found) = optimize::judged(settings, RULE, SERVER).await? {
            return Ok(Some(found));
        }
        if Instant::now() > deadline {
            bail!(
                "{RULE} has not seen the missing index within {} s",
                FOUND_WITHIN.as_secs()
            );
        }
    }
}

/// The statement, again and again.
struct Traffic {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Traffic {
    async fn start(url: &str) -> anyhow::Result<Self> {
        let connected = tokio_postgres::connect(url, NoTls).await;
        let (client, connection) = connected.context("the demo's server cannot be reached")?;
        tokio::spawn(connection);
        client.batch_execute(TABLE).await?;
        // Several statements sent at once are one transaction, in which VACUUM cannot run.
        client.batch_execute("VACUUM ANALYZE orders").await?;
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(ask(client, Arc::clone(&stop)));
        Ok(Self { stop, task })
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await??)
    }
}

async fn ask(client: Client, stop: Arc<AtomicBool>) -> Result<(), tokio_postgres::Error> {
    let prepared = client.prepare(STATEMENT).await?;
    let mut customer = 0_i32;
    while !stop.load(Ordering::Relaxed) {
        customer = (customer + 1) % 1000;
        client.query(&prepared, &[&customer]).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
