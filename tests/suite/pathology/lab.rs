//! Servers with planted pathologies beside healthy ones, observed by one `driftline up` while all of
//! them work.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::load::Stop;
use super::told::{Planted, Told};
use super::{history, postgres_load, redis_load};
use crate::process::{Running, driftline, poll, stdout_of};
use crate::servers::{PostgresServer, RedisServer};

/// One of the servers is observed for so long before it wears out.
const USUAL: Duration = Duration::from_secs(15);
/// The loads run for so long before anything is judged, and at most for so long.
const AT_LEAST: Duration = Duration::from_secs(70);
const AT_MOST: Duration = Duration::from_secs(170);
/// Between two looks at what the rules say.
const LOOK: Duration = Duration::from_secs(5);

/// Durations for which the window is too short are shortened, and nothing else: the rule, its
/// parameter as it stands in the file, and what it is here.
const SHORTENED: [(&str, &str, &str); 4] = [
    (
        "p3_unused_index",
        "unused_s float = 7776000.0",
        "unused_s float = 40.0",
    ),
    (
        "p7_stale_statistics",
        "fresh_s float = 120.0",
        "fresh_s float = 30.0",
    ),
    (
        "p8_long_transaction",
        "open_s float = 120.0",
        "open_s float = 40.0",
    ),
    // A server that stops for ten milliseconds in a fork has a gigabyte or more.
    ("r8_fork", "fork_s float = 0.01", "fork_s float = 0.001"),
];

/// What is common to all that is observed here.
const BASE: &str = "data = \"data\"\n[collector.discover]\npostgres = false\nredis = false\n";

/// Plants, loads and observes until every planted pathology is told; what was told then, or at the
/// deadline. `None` where the servers cannot be had.
pub(super) fn observe(planted: &[Planted]) -> Option<Told> {
    let postgres = postgres_servers()?;
    let redis = redis_servers()?;
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    runtime.block_on(async {
        for (_, server, script) in &postgres {
            postgres_load::prepare(server.url(), script).await;
        }
    });
    configure(directory.path(), &postgres, &redis);
    let stop = Stop::default();
    let mut loads = JoinSet::new();
    {
        let _entered = runtime.enter();
        postgres_load::worn(postgres[3].1.url(), &stop, &mut loads);
    }
    wear_out(directory.path(), &postgres[3], &runtime);
    let mut up = driftline(&["up", "--config", "driftline.toml"]);
    let up = Running::start(up.current_dir(directory.path()), directory.path(), "up");
    let mut threads = Vec::new();
    {
        let _entered = runtime.enter();
        postgres_load::healthy(postgres[0].1.url(), &stop, &mut loads);
        postgres_load::schema(postgres[1].1.url(), &stop, &mut loads);
        let log = directory.path().join("access.log");
        loads.spawn(postgres_load::shelves(
            postgres[1].1.url().to_owned(),
            log,
            stop.clone(),
        ));
        postgres_load::pressure(postgres[2].1.url(), &stop, &mut loads);
    }
    let begin = [
        redis_load::healthy,
        redis_load::thrashing,
        redis_load::full,
        redis_load::busy,
        redis_load::crumbled,
        redis_load::shared,
    ];
    for (begin, (_, server)) in begin.iter().zip(&redis) {
        threads.extend(begin(server.url(), &stop));
    }
    let told = judge(directory.path(), planted);
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(loads.join_all());
    for thread in threads {
        thread.join().expect("a load ran to its end");
    }
    assert!(up.terminate(), "the collector ends well");
    Some(told)
}

/// Observes a server while its statements are cheap, tells the log that they always were, and wears it
/// out. The tables hear of the past before the present: a series is known from when it was first seen.
fn wear_out(directory: &Path, server: &(&str, PostgresServer, &str), runtime: &Runtime) {
    let (name, server, _) = server;
    let before = directory.join("before");
    std::fs::create_dir(&before).expect("a directory");
    let section = BASE.to_owned() + &postgres_section(name, server);
    std::fs::write(before.join("driftline.toml"), section).expect("written");
    let mut up = driftline(&["up", "--config", "driftline.toml"]);
    let up = Running::start(up.current_dir(&before), &before, "up");
    poll(USUAL, || false);
    history::tell(&before.join("data"), &directory.join("data"), name);
    assert!(up.terminate(), "the collector ends well");
    // It finds nothing to do, and leaves everything in the tables.
    let mut commit = driftline(&["optimize", "resume", "--config", "driftline.toml"]);
    stdout_of(commit.current_dir(directory));
    runtime.block_on(postgres_load::wear(server.url()));
}

/// Asks for recommendations until all that is planted is among them.
fn judge(directory: &Path, planted: &[Planted]) -> Told {
    let begun = Instant::now();
    poll(AT_LEAST, || false);
    loop {
        let last = format!("{}s", begun.elapsed().as_secs());
        let mut ask = driftline(&[
            "recommend",
            "--config",
            "driftline.toml",
            "--format",
            "json",
        ]);
        ask.args(["--last", &last, "--dry-run"])
            .current_dir(directory);
        let told = Told::parse(&stdout_of(&mut ask));
        let missing = told.missing(planted);
        if missing.is_empty() || begun.elapsed() > AT_MOST {
            return told;
        }
        eprintln!("after {last}, still missing: {missing:?}");
        park_timeout(LOOK);
    }
}

fn postgres_servers() -> Option<[(&'static str, PostgresServer, &'static str); 4]> {
    let scripts = [
        include_str!("../../services/pathologies/healthy.sql"),
        include_str!("../../services/pathologies/schema.sql"),
        include_str!("../../services/pathologies/pressure.sql"),
        include_str!("../../services/pathologies/worn.sql"),
    ];
    let little_log = [
        "max_connections=40",
        "max_wal_size=32MB",
        "min_wal_size=32MB",
    ];
    Some([
        ("healthy", PostgresServer::start(&[])?, scripts[0]),
        (
            "schema",
            PostgresServer::start(&["work_mem=64kB"])?,
            scripts[1],
        ),
        ("pressure", PostgresServer::start(&little_log)?, scripts[2]),
        (
            "worn",
            PostgresServer::start(&["shared_buffers=1MB"])?,
            scripts[3],
        ),
    ])
}

fn cache_server(memory: &str, policy: &str) -> Option<RedisServer> {
    RedisServer::start(&["--maxmemory", memory, "--maxmemory-policy", policy])
}

fn redis_servers() -> Option<[(&'static str, RedisServer); 6]> {
    Some([
        ("cache", cache_server("64mb", "allkeys-lfu")?),
        ("thrashing", cache_server("5mb", "allkeys-lru")?),
        ("full", cache_server("20mb", "noeviction")?),
        ("busy", cache_server("100mb", "allkeys-lfu")?),
        ("crumbled", RedisServer::start(&[])?),
        ("shared", RedisServer::start(&["--maxclients", "40"])?),
    ])
}

fn configure(
    directory: &Path,
    postgres: &[(&str, PostgresServer, &str)],
    redis: &[(&str, RedisServer)],
) {
    let mut text = BASE.to_owned() + "[recommend]\nqueries = \"rules\"\n";
    for (name, server, _) in postgres {
        text.push_str(&postgres_section(name, server));
    }
    for (name, server) in redis {
        write!(
            text,
            "[[collector.redis]]\nname = \"{name}\"\nurl = \"{}\"\ninterval = \"1s\"\n\
             settings_every = \"5s\"\nsample = {{ interval = \"5s\", count = 500 }}\n",
            server.url()
        )
        .expect("text");
    }
    text.push_str(
        "[[collector.access_log]]\nname = \"shop\"\npath = \"access.log\"\nformat = \"common\"\n\
         interval = \"1s\"\n",
    );
    std::fs::write(directory.join("driftline.toml"), text).expect("written");
    std::fs::write(directory.join("access.log"), "").expect("written");
    shorten(&directory.join("rules"));
}

fn postgres_section(name: &str, server: &PostgresServer) -> String {
    format!(
        "[[collector.postgres]]\nname = \"{name}\"\nurl = \"{}\"\ninterval = \"1s\"\n\
         statements_every = \"2s\"\ntables_every = \"5s\"\nfree_space_every = \"20s\"\n",
        server.driftline_url()
    )
}

fn shorten(directory: &Path) {
    std::fs::create_dir(directory).expect("a directory");
    for (rule, before, after) in SHORTENED {
        let name = format!("{rule}.sql");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("queries/recommendations")
            .join(&name);
        let text = std::fs::read_to_string(source).expect("the rule is there");
        assert!(text.contains(before), "{rule} has no parameter {before:?}");
        std::fs::write(directory.join(name), text.replace(before, after)).expect("written");
    }
}
