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
use super::{postgres_load, redis_load};
use crate::process::{Running, driftline, poll, stdout_of};
use crate::servers::{PostgresServer, RedisServer};

/// The loads run for so long before anything is judged, and at most for so long.
const AT_LEAST: Duration = Duration::from_secs(70);
const AT_MOST: Duration = Duration::from_secs(170);
/// Between two looks at what the rules say.
const LOOK: Duration = Duration::from_secs(5);

/// Durations for which the window is too short are shortened, and nothing else: the rule, its
/// parameter as it stands in the file, and what it is here.
const SHORTENED: [(&str, &str, &str); 3] = [
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
];

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
    let mut up = driftline(&["up", "--config", "driftline.toml"]);
    let up = Running::start(up.current_dir(directory.path()), directory.path(), "up");
    let stop = Stop::default();
    let mut loads = JoinSet::new();
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

fn postgres_servers() -> Option<[(&'static str, PostgresServer, &'static str); 3]> {
    let scripts = [
        include_str!("../../services/pathologies/healthy.sql"),
        include_str!("../../services/pathologies/schema.sql"),
        include_str!("../../services/pathologies/pressure.sql"),
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
    ])
}

fn cache_server(memory: &str, policy: &str) -> Option<RedisServer> {
    RedisServer::start(&["--maxmemory", memory, "--maxmemory-policy", policy])
}

fn redis_servers() -> Option<[(&'static str, RedisServer); 4]> {
    Some([
        ("cache", cache_server("64mb", "allkeys-lfu")?),
        ("thrashing", cache_server("5mb", "allkeys-lru")?),
        ("full", cache_server("20mb", "noeviction")?),
        ("busy", cache_server("100mb", "allkeys-lfu")?),
    ])
}

fn configure(
    directory: &Path,
    postgres: &[(&str, PostgresServer, &str)],
    redis: &[(&str, RedisServer)],
) {
    let mut text = "data = \"data\"\n[recommend]\nqueries = \"rules\"\n[collector.discover]\n\
        postgres = false\nredis = false\n"
        .to_owned();
    for (name, server, _) in postgres {
        write!(
            text,
            "[[collector.postgres]]\nname = \"{name}\"\nurl = \"{}\"\ninterval = \"1s\"\n\
             statements_every = \"2s\"\ntables_every = \"5s\"\nfree_space_every = \"20s\"\n",
            server.driftline_url()
        )
        .expect("text");
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
