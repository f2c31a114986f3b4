//! Servers, traffic, and a journal that stops where a test wants a crash.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use driftline_optimizer::action::{ActionKind, TableName};
use driftline_optimizer::config::{ServerConfig, ServerKind};
use driftline_optimizer::gate::Approval;
use driftline_optimizer::recommendation::{Auto, Risk, Verification};
use driftline_optimizer::run::system_clock;
use driftline_optimizer::{
    Action, Journal, JournalError, Optimizer, OptimizerConfig, Recommendation,
};
use driftline_schemas::event::Event;
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::journal::FileJournal;
use super::servers::{PostgresServer, RedisServer};

/// The servers' password as one round of SCRAM-SHA-256 makes it (RFC 5802): of the usual 4096 rounds
/// each login would cost an unoptimised test a tenth of a second of CPU, and there are hundreds.
const VERIFIER: &str = "SCRAM-SHA-256$1:ZHJpZnRsaW5lLXRlc3RzIQ==$tGuaNSlHlWW+wqH7MIDDr5EKmFbXUcyu4FEwnAwowOc=:el0PjI2oVDsQNHDpGx9T0rsxAYaeDVqMj6XpCBrApYM=";

/// A server that answers, and is killed with its data when it is dropped.
pub(crate) struct Server {
    kind: ServerKind,
    pub(crate) url: String,
    cheap_logins: OnceCell<()>,
    _running: Running,
}

enum Running {
    Postgres { _server: PostgresServer },
    Redis { _server: RedisServer },
}

impl Server {
    pub(crate) fn postgres() -> Option<Self> {
        let server = PostgresServer::start(&[])?;
        let url = server.url().to_owned();
        let running = Running::Postgres { _server: server };
        Some(Self::of(ServerKind::Postgres, url, running))
    }

    pub(crate) fn redis() -> Option<Self> {
        let server = RedisServer::start(&[])?;
        let url = server.url().to_owned();
        let running = Running::Redis { _server: server };
        Some(Self::of(ServerKind::Redis, url, running))
    }

    fn of(kind: ServerKind, url: String, running: Running) -> Self {
        Self {
            kind,
            url,
            cheap_logins: OnceCell::new(),
            _running: running,
        }
    }

    pub(crate) fn config(&self, name: &str) -> ServerConfig {
        ServerConfig {
            name: name.to_owned(),
            kind: self.kind,
            url: self.url.clone(),
            password_file: None,
            password_env: None,
            memory_bytes: None,
            data_directory: None,
        }
    }

    /// A session of a test.
    pub(crate) async fn client(&self) -> Client {
        self.cheap_logins
            .get_or_init(|| async {
                let role = format!("ALTER ROLE postgres PASSWORD '{VERIFIER}'");
                let client = Self::connect(&self.url).await;
                client.batch_execute(&role).await.expect("it is changed");
            })
            .await;
        Self::connect(&self.url).await
    }

    /// A session of a test with another database.
    pub(crate) async fn client_of(&self, database: &str) -> Client {
        let (server, _) = self.url.rsplit_once('/').expect("the url has a database");
        Self::connect(&format!("{server}/{database}")).await
    }

    async fn connect(url: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(url, NoTls)
            .await
            .expect("it connects");
        tokio::spawn(connection);
        client
    }
}

/// As few and as short windows as there can be, and as many as it takes until there is enough in them:
/// where nothing is said about windows, a test neither waits for them nor fails for want of them.
pub(crate) fn hasty(servers: Vec<ServerConfig>) -> OptimizerConfig {
    let mut config = OptimizerConfig {
        window: Duration::from_millis(200),
        settle: Duration::from_millis(20),
        windows_min: 2,
        windows_max: 1_000,
        ..config(servers)
    };
    config.verify.calls_min = 5;
    // A table that was only just filled was written more than read.
    config.reads_per_write_min = 0.0;
    config
}

/// A configuration in which everything is allowed and windows are short.
pub(crate) fn config(servers: Vec<ServerConfig>) -> OptimizerConfig {
    let mut config = OptimizerConfig {
        dry_run: false,
        create_index: true,
        disk_unknown: true,
        cpu_busy_max_percent: 100.0,
        cpu_pressure_max_percent: 100.0,
        window: Duration::from_millis(1_200),
        settle: Duration::from_millis(200),
        windows_max: 20,
        lock_timeout: Duration::from_secs(3),
        cleanup_timeout: Duration::from_secs(30),
        servers,
        ..OptimizerConfig::default()
    };
    config
        .allow
        .extend([ActionKind::CreateIndex, ActionKind::DropIndex]);
    config
}

pub(crate) fn recommendation(
    rule: &str,
    target: &str,
    action: Action,
    verification: Verification,
) -> Recommendation {
    let subject = action
        .table()
        .map_or_else(|| target.to_owned(), ToString::to_string);
    Recommendation {
        id: Recommendation::fingerprint(rule, target, &subject, Some(&action)),
        rule: rule.to_owned(),
        component: action.component(),
        target: target.to_owned(),
        subject,
        advice: format!("{action:?}").chars().take(80).collect(),
        action: Some(action),
        evidence: Vec::new(),
        estimate: None,
        risk: Risk::Medium,
        auto: Auto::Automatic,
        verification,
        raised_us: 0,
        expires_us: i64::MAX,
    }
}

pub(crate) fn index_on(column: &str) -> Action {
    Action::CreateIndex {
        table: TableName::new("public", "orders"),
        columns: vec![column.to_owned()],
        predicate: None,
    }
}

pub(crate) fn person() -> Approval {
    Approval::Person("tester".to_owned())
}

pub(crate) fn optimizer(config: OptimizerConfig, directory: &Path) -> Optimizer<FileJournal> {
    let journal = FileJournal::open(directory.join("steps.jsonl")).expect("a journal");
    Optimizer::new(config, journal, system_clock).expect("a good configuration")
}

/// A table of orders with some free space in its pages, and room to read and update.
pub(crate) async fn orders(client: &Client, rows: u32) {
    client
        .batch_execute(&format!(
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
             CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, state int NOT NULL,
                                  note text NOT NULL) WITH (fillfactor = 50, autovacuum_enabled = off);
             INSERT INTO orders SELECT n, n % 1000, 0, repeat('x', 60) FROM generate_series(1, {rows}) n;"
        ))
        .await
        .expect("a table");
    // Several statements sent at once are one transaction, in which VACUUM cannot run.
    client
        .batch_execute("VACUUM ANALYZE orders")
        .await
        .expect("a vacuumed table");
}

/// Traffic that goes on until it is dropped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Traffic {
    /// Runs `statement` with the numbers from 1, as fast as it goes with a breath between.
    pub(crate) fn run(client: Client, statement: &'static str, modulo: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let prepared = client.prepare(statement).await.expect("it prepares");
            let mut number = 0_i32;
            while !stopped.load(Ordering::Relaxed) {
                number = number % modulo + 1;
                client
                    .execute(&prepared, &[&number])
                    .await
                    .expect("it runs");
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
        Self { stop, task }
    }

    /// Ends it in order, and tells if it failed.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the traffic did not fail");
    }
}

/// A journal that stops for ever at its `stop`-th event: before it is kept, or after.
pub(crate) struct Stopping {
    pub(crate) inner: FileJournal,
    pub(crate) stop: usize,
    pub(crate) after: bool,
    pub(crate) seen: AtomicUsize,
    pub(crate) stopped: Arc<Notify>,
}

#[async_trait]
impl Journal for Stopping {
    async fn append(&self, event: Event) -> Result<(), JournalError> {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        if number == self.stop {
            if self.after {
                self.inner.append(event).await?;
            }
            self.stopped.notify_one();
            std::future::pending::<()>().await;
            return Ok(());
        }
        self.inner.append(event).await
    }

    async fn events(&self) -> Result<Vec<Event>, JournalError> {
        self.inner.events().await
    }
}
