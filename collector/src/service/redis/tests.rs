//! Tests against a real server.

use std::time::{Duration, Instant};

use crate::service::fixture::RedisServer;
use driftline_schemas::{Event, EventName};
use redis::aio::MultiplexedConnection;

use super::config::{RedisConfig, RedisUrl};
use super::server::Server;
use crate::clock;
use crate::recorder::Recorder;
use crate::service::run::{Meter, Services, Yield};
use crate::service::{Pass, Service as _, ServiceError};
use crate::testing::{Row, rows_of, value};

const MINUTE_US: i64 = 60_000_000;
/// Stands for what must never leave the server.
const SECRET: &str = "hunter2";
/// The longest that is waited for something to happen.
const DEADLINE: Duration = Duration::from_secs(60);
const MAIN: &str = "service.instance.id=main";

/// What one pass came to.
struct Seen {
    rows: Vec<Row>,
    events: Vec<Event>,
    outcome: Result<(), ServiceError>,
}

impl Seen {
    fn ok(self) -> Self {
        if let Err(error) = &self.outcome {
            panic!("the pass failed: {error}");
        }
        self
    }

    /// The value of the one series with these labels and the server's name.
    fn value(&self, metric: &str, labels: &str) -> f64 {
        let mut all: Vec<&str> = labels
            .split(',')
            .filter(|label| !label.is_empty())
            .collect();
        all.push(MAIN);
        all.sort_unstable();
        value(&self.rows, metric, &all.join(","))
    }

    fn has(&self, metric: &str) -> bool {
        self.rows.iter().any(|row| row.0 == metric)
    }

    fn failures(&self) -> Vec<&str> {
        let failed = self.events.iter();
        let failed = failed.filter(|event| event.name == EventName::ComponentFailed);
        failed.map(|event| event.message.as_str()).collect()
    }

    fn named(&self, name: &str) -> Vec<&Event> {
        let all = self.events.iter();
        all.filter(|event| event.name == EventName::Other(name.to_owned()))
            .collect()
    }
}

/// Passes a minute apart, so that each of them samples keys.
struct Observed {
    server: Server,
    ts_us: i64,
}

impl Observed {
    fn new(config: RedisConfig) -> Self {
        let ts_us = clock::now().wall_us;
        let server = Server::new(config);
        Self { server, ts_us }
    }

    async fn pass(&mut self) -> Seen {
        let mut recorder = Recorder::new();
        recorder.begin(self.ts_us);
        self.ts_us += MINUTE_US;
        let mut out = Pass {
            recorder,
            batches: Vec::new(),
            events: Vec::new(),
            meter: Meter::default(),
        };
        let outcome = self.server.pass(&mut out).await;
        Seen {
            rows: rows_of(&out.recorder.finish()),
            events: out.events,
            outcome,
        }
    }
}

fn at(url: &str) -> RedisConfig {
    RedisConfig {
        url: RedisUrl::new(url),
        time_out: Duration::from_secs(30),
        ..RedisConfig::default()
    }
}

async fn client(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("an address");
    // A busy machine may take long for thousands of commands.
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&patient);
    connecting.await.expect("a connection")
}

fn command(words: &str) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command
}

/// Sends a command; its answer.
async fn run<T: redis::FromRedisValue>(client: &mut MultiplexedConnection, words: &str) -> T {
    let answer = command(words).query_async(client).await;
    answer.unwrap_or_else(|error| panic!("{words}: {error}"))
}

async fn do_all(client: &mut MultiplexedConnection, commands: &[&str]) {
    for words in commands {
        let _: redis::Value = run(client, words).await;
    }
}

/// Fifty small keys, ten of which expire, a key that is read more often than all others, a list of
/// 6,000 items, and a text of 200 kB.
async fn fill(client: &mut MultiplexedConnection) {
    let mut all = redis::pipe();
    for user in 0..50 {
        let mut set = command(&format!("SET user:{user} x"));
        if user < 10 {
            set.arg("EX").arg(1_000);
        }
        all.add_command(set);
    }
    all.cmd("SET").arg("hot:1").arg("x");
    for _ in 0..3_000 {
        all.cmd("GET").arg("hot:1");
    }
    let items: Vec<u32> = (0..6_000).collect();
    all.cmd("RPUSH").arg("jobs:1").arg(items);
    all.cmd("SET").arg("blob:1").arg("x".repeat(200_000));
    let _: redis::Value = all.query_async(client).await.expect("filled");
}

/// Waits for the server's own round over keys that expire, ten times a second, which averages TTLs.
async fn has_averaged_ttls(client: &mut MultiplexedConnection) {
    let averaged = async {
        loop {
            let keyspace: String = run(client, "INFO keyspace").await;
            if keyspace.contains("avg_ttl=") && !keyspace.contains("avg_ttl=0") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), averaged).await;
    waited.expect("it averages TTLs");
}

#[tokio::test]
async fn what_a_server_tells_and_what_its_keys_are_like_is_seen() {
    let options = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lfu"];
    let Some(fixture) = RedisServer::start(&options) else {
        return;
    };
    let mut load = client(&fixture).await;
    fill(&mut load).await;
    has_averaged_ttls(&mut load).await;
    let wrong: Result<String, _> = command("GET jobs:1").query_async(&mut load).await;
    wrong.expect_err("a list is no text");
    let mut observed = Observed::new(at(fixture.url()));
    let seen = observed.pass().await.ok();
    assert!(seen.failures().is_empty(), "{:?}", seen.failures());
    assert!(seen.value("redis.memory.used", "") > 200_000.0);
    assert_eq!(seen.value("redis.maxmemory", ""), 100.0 * 1024.0 * 1024.0);
    assert_eq!(seen.value("redis.db.keys", "db=0"), 53.0);
    assert_eq!(seen.value("redis.db.expires", "db=0"), 10.0);
    assert!(seen.value("redis.db.avg_ttl", "db=0") > 900.0);
    assert_eq!(seen.value("redis.cmd.calls", "cmd=get"), 3_001.0);
    let failed = seen.value("redis.cmd.errors", "cmd=get,outcome=failed");
    assert_eq!(failed, 1.0);
    assert_eq!(seen.value("redis.errors", "error.type=WRONGTYPE"), 1.0);
    let policy = "setting=maxmemory-policy,value=allkeys-lfu";
    assert_eq!(seen.value("redis.setting", policy), 1.0);
    assert_eq!(seen.value("redis.sample.keys", "db=0"), 53.0);
    let users = "db=0,pattern=user:*";
    assert_eq!(seen.value("redis.pattern.keys", users), 50.0);
    assert_eq!(seen.value("redis.pattern.expires", users), 10.0);
    let blob = seen.value("redis.key.memory", "db=0,pattern=blob:*,type=string");
    assert!(blob > 200_000.0, "{blob}");
    let jobs = seen.value("redis.key.length", "db=0,pattern=jobs:*,type=list");
    assert_eq!(jobs, 6_000.0);
    let hot = "db=0,pattern=hot:*";
    assert!(seen.value("redis.key.frequency", hot) > 10.0);
    let share = seen.value("redis.key.share", hot);
    let others = seen.value("redis.key.share", users);
    assert!(share > 10.0 * others, "{share} of all, {others} beside it");

    do_all(
        &mut load,
        &[
            "CONFIG SET slowlog-log-slower-than 0",
            "GET user:7",
            "CONFIG SET slowlog-log-slower-than 10000",
            "DEBUG SLEEP 0.02",
        ],
    )
    .await;
    let seen = observed.pass().await.ok();
    let slow = seen.named("SlowCommandSeen");
    let told = |words: &str| slow.iter().any(|event| event.message.starts_with(words));
    assert!(
        told("get user:* took ") && told("debug|sleep took 2"),
        "{slow:?}"
    );
    let slowest = seen.value("redis.slowlog.slowest", "cmd=debug|sleep");
    assert!(slowest >= 0.02, "{slowest}");
    let entries = seen.value("redis.slowlog.entries", "");
    assert!(entries >= 2.0, "{entries}");
    let seen = observed.pass().await.ok();
    assert!(seen.named("SlowCommandSeen").is_empty(), "told once");
    assert_eq!(seen.value("redis.slowlog.entries", ""), entries);
}

#[tokio::test]
async fn looking_at_keys_does_not_make_them_look_used() {
    // With this factor every access raises a counter.
    let options = ["--maxmemory-policy", "allkeys-lfu", "--lfu-log-factor", "0"];
    let Some(fixture) = RedisServer::start(&options) else {
        return;
    };
    let mut load = client(&fixture).await;
    fill(&mut load).await;
    let mut before = Vec::new();
    let keys = ["user:1", "jobs:1", "blob:1"];
    for key in keys {
        before.push(run::<u32>(&mut load, &format!("OBJECT FREQ {key}")).await);
    }
    let mut observed = Observed::new(at(fixture.url()));
    for _ in 0..5 {
        let seen = observed.pass().await.ok();
        let jobs = seen.value("redis.key.length", "db=0,pattern=jobs:*,type=list");
        assert_eq!(jobs, 6_000.0);
    }
    for (key, before) in keys.into_iter().zip(before) {
        let now: u32 = run(&mut load, &format!("OBJECT FREQ {key}")).await;
        // The length of a list is an access to the server: it is asked for once.
        let own = u32::from(key == "jobs:1");
        assert!(now <= before + own, "{key}: {before} before, {now} now");
    }
}

/// The rules of the documentation of [`super`], for a user of this name.
fn documented(user: &str, password: &str) -> String {
    let text: String = include_str!("../redis.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .skip_while(|line| !line.contains("ACL SETUSER driftline"))
        .take_while(|line| !line.contains("```"))
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let rules = words
        .join(" ")
        .replace(">PASSWORD", &format!(">{password}"));
    rules.replace("SETUSER driftline", &format!("SETUSER {user}"))
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_passwords_come_from_files_and_variables() {
    let Some(fixture) = RedisServer::start(&["--maxmemory-policy", "allkeys-lfu"]) else {
        return;
    };
    let mut load = client(&fixture).await;
    fill(&mut load).await;
    do_all(&mut load, &["SELECT 3", "SET user:1 x"]).await;
    let variable = "CARGO_PKG_NAME";
    let from_variable = std::env::var(variable).expect("cargo sets it");
    do_all(
        &mut load,
        &[
            &documented("driftline", SECRET),
            &documented("other", &from_variable),
        ],
    )
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, format!("{SECRET}\n")).expect("written");
    let of = |user: &str| at(&fixture.url().replace("//", &format!("//{user}@")));
    let by_file = RedisConfig {
        password_file: Some(file.clone()),
        ..of("driftline")
    };
    let by_variable = RedisConfig {
        password_env: Some(variable.to_owned()),
        ..of("other")
    };
    for config in [by_file.clone(), by_variable] {
        let seen = Observed::new(config).pass().await.ok();
        assert!(seen.failures().is_empty(), "{:?}", seen.failures());
        for metric in [
            "redis.memory.used",
            "redis.slowlog.entries",
            "redis.key.memory",
            "redis.key.length",
            "redis.key.frequency",
            "redis.pattern.expires",
        ] {
            assert!(seen.has(metric), "{metric}");
        }
        assert_eq!(seen.value("redis.sample.keys", "db=3"), 1.0);
        let setting = "setting=lfu-log-factor,value=10";
        assert_eq!(seen.value("redis.setting", setting), 1.0);
    }
    std::fs::write(&file, "wrong").expect("written");
    let error = Observed::new(by_file).pass().await.outcome;
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("password_file"), "{error}");
    assert!(
        !error.contains(SECRET) && !error.contains("wrong"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_refused_is_told_once_and_not_asked_for_every_time() {
    let Some(fixture) = RedisServer::start(&["--maxmemory-policy", "allkeys-lfu"]) else {
        return;
    };
    let mut load = client(&fixture).await;
    fill(&mut load).await;
    let reset = "on resetkeys resetchannels -@all";
    do_all(
        &mut load,
        &[
            &format!("ACL SETUSER little >{SECRET} {reset} +info"),
            &format!("ACL SETUSER nothing >{SECRET} {reset}"),
            &format!("ACL SETUSER keyless >{SECRET} {reset} +@all"),
        ],
    )
    .await;
    let url = |user| fixture.url().replace("//", &format!("//{user}:{SECRET}@"));
    let mut observed = Observed::new(at(&url("little")));
    let seen = observed.pass().await.ok();
    let told = seen.failures();
    assert_eq!(told.len(), 3, "{told:#?}");
    for rule in ["little +config|get", "little +slowlog|get", "little +scan"] {
        let remedy = format!("ACL SETUSER {rule}");
        assert!(told.iter().any(|text| text.ends_with(&remedy)), "{told:#?}");
    }
    assert_eq!(seen.value("redis.db.keys", "db=0"), 53.0);
    // What INFO tells stands in for the settings.
    let policy = "setting=maxmemory-policy,value=allkeys-lfu";
    assert_eq!(seen.value("redis.setting", policy), 1.0);
    let refusals = |seen: &Seen| seen.value("redis.errors", "error.type=NOPERM");
    let second = observed.pass().await.ok();
    let third = observed.pass().await.ok();
    assert_eq!(refusals(&second), refusals(&third), "it is not asked again");
    assert!(second.events.is_empty() && third.events.is_empty());
    for _ in 0..10 {
        let seen = observed.pass().await.ok();
        assert!(seen.events.is_empty(), "told once: {:?}", seen.events);
    }
    do_all(&mut load, &["ACL SETUSER little +scan"]).await;
    let mut recovered = Vec::new();
    for _ in 0..12 {
        recovered.extend(observed.pass().await.ok().events);
    }
    let keys: Vec<_> = recovered
        .iter()
        .filter(|event| event.subject == "redis.main.keys")
        .collect();
    assert_eq!(keys.len(), 1, "{recovered:?}");
    assert_eq!(keys[0].name, EventName::ComponentRecovered);

    let seen = Observed::new(at(&url("keyless"))).pass().await.ok();
    let told = seen.failures();
    assert!(
        !told.is_empty() && told.iter().all(|text| text.contains("%R~*")),
        "{told:#?}"
    );
    let refused = Observed::new(at(&url("nothing"))).pass().await.outcome;
    let error = refused.expect_err("INFO is refused").to_string();
    assert!(
        error.contains("+info") && !error.contains(SECRET),
        "{error}"
    );
}

/// Takes what comes until this much has been told; everything that came.
fn until(services: &mut Services, enough: impl Fn(&[Event]) -> bool) -> (Vec<Yield>, Vec<Event>) {
    let begun = Instant::now();
    let (mut yields, mut events): (Vec<Yield>, Vec<Event>) = (Vec::new(), Vec::new());
    while !enough(&events) {
        assert!(begun.elapsed() < DEADLINE, "only these came: {events:#?}");
        std::thread::sleep(Duration::from_millis(10));
        for mut yielded in services.take() {
            events.append(&mut yielded.events);
            yields.push(yielded);
        }
    }
    (yields, events)
}

fn processed(yields: &[Yield]) -> Vec<f64> {
    let batches = yields.iter().flat_map(|yielded| &yielded.batches);
    let rows = batches.flat_map(rows_of);
    rows.filter(|row| row.0 == "redis.commands.processed")
        .map(|row| row.2)
        .collect()
}

#[test]
fn a_killed_server_is_told_once_and_its_return_with_new_counters_too() {
    let Some(fixture) = RedisServer::start(&[]) else {
        return;
    };
    let config = RedisConfig {
        interval: Duration::from_millis(100),
        ..at(fixture.url())
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { fill(&mut client(&fixture).await).await });
    let services: Vec<Box<dyn crate::service::Service>> = vec![Box::new(Server::new(config))];
    let mut services = Services::start(services).expect("a thread");
    let begun = Instant::now();
    let mut before = Vec::new();
    while before.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "nothing was observed");
        std::thread::sleep(Duration::from_millis(10));
        before = processed(&services.take());
    }
    fixture.kill();
    let is = |name: EventName| move |event: &Event| event.name == name;
    let (_, events) = until(&mut services, |events| {
        events.iter().any(is(EventName::ComponentFailed))
    });
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].message.contains("start the server"), "{events:?}");
    // Some more passes fail, at longer and longer intervals, and none of them says so again.
    let begun = Instant::now();
    let mut passes = Vec::new();
    while passes.len() < 3 {
        assert!(begun.elapsed() < DEADLINE, "passes do not go on");
        std::thread::sleep(Duration::from_millis(10));
        passes.extend(services.take());
    }
    assert!(passes.iter().all(|pass| pass.events.is_empty()));
    let pauses: Vec<i64> = passes
        .windows(2)
        .map(|pair| pair[1].ts_us - pair[0].ts_us)
        .collect();
    assert!(
        pauses.iter().all(|pause_us| *pause_us >= 200_000),
        "{pauses:?}"
    );
    fixture.restart();
    let restarted = || EventName::Other("ServerRestarted".to_owned());
    let (yields, events) = until(&mut services, |events| events.iter().any(is(restarted())));
    // That it has recovered is told when it has been good for a while.
    assert_eq!(events.len(), 1, "{events:?}");
    let after = processed(&yields);
    assert!(after[0] < before[0], "{before:?} {after:?}");
}
