//! What services cost: CPU time per pass over a Redis server, and beside it what the pass costs the
//! server; lines of an access log per second of CPU time, and beside it a bare reader's of the same file.
//!
//! Run by `cargo bench -p driftline-collector --bench services [-- PASSES]`. The figures are the
//! collector's own, `driftline.collector.service.cpu.time`, as they stand in its log. Needs redis-server.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use driftline_collector::config::{AccessLogConfig, DiscoverConfig, RedisConfig};
use driftline_collector::service::access_log::Format;
use driftline_collector::service::redis::RedisUrl;
use driftline_collector::{Config, Stop, run_ticks};
use driftline_eventlog::LogReader as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::SpoolReader;
use driftline_schemas::{Body, Envelope, Kind};
use rustix::time::{ClockId, clock_gettime};

#[path = "../../tests/services/servers.rs"]
mod fixture;
#[path = "../../tests/services/skipped.rs"]
mod skipped;

const DEFAULT_PASSES: u64 = 50;
/// Keys of the server.
const KEYS: u32 = 100_000;
/// Lines of the log.
const LINES: u32 = 2_000_000;
const PATIENCE: Duration = Duration::from_secs(300);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let passes = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(DEFAULT_PASSES);
    redis(passes)?;
    for format in [Format::Combined, Format::Json] {
        access_log(format)?;
    }
    Ok(())
}

/// A collector of services alone.
fn quiet() -> Config {
    let mut config = Config {
        interval: Duration::from_millis(100),
        discover: DiscoverConfig::nothing(),
        ..Config::default()
    };
    config.host.enabled = false;
    config.process.enabled = false;
    config.cgroup.enabled = false;
    config
}

fn redis(passes: u64) -> Outcome<()> {
    let options = ["--maxmemory-policy", "allkeys-lfu"];
    let Some(server) = fixture::RedisServer::start(&options) else {
        return Ok(());
    };
    let mut connection = redis::Client::open(server.url())?.get_connection()?;
    let mut fill = redis::pipe();
    for key in 0..KEYS {
        fill.cmd("SET")
            .arg(format!("user:{key}:name"))
            .arg("x".repeat(100))
            .ignore();
    }
    fill.exec(&mut connection)?;
    for (name, sampled) in [
        ("INFO, slow log and settings", false),
        ("a pass with 1,000 keys", true),
    ] {
        let mut config = quiet();
        let mut of_redis = RedisConfig {
            url: RedisUrl::new(server.url()),
            interval: Duration::from_millis(100),
            ..RedisConfig::default()
        };
        of_redis.slow_log.interval = Duration::from_millis(100);
        of_redis.settings_every = Duration::from_millis(100);
        of_redis.sample.enabled = sampled;
        of_redis.sample.interval = Duration::from_millis(100);
        config.redis = vec![of_redis];
        let directory = tempfile::tempdir()?;
        let before = cpu_of_server(&mut connection)?;
        run_ticks(&config, directory.path(), &Stop::new(), Some(passes))?;
        let spent = cpu_of_server(&mut connection)? - before;
        let cpu = values(directory.path(), "driftline.collector.service.cpu.time")?;
        let (Some(first), Some(last)) = (cpu.first(), cpu.last()) else {
            return Err("no pass was recorded".into());
        };
        // The first pass connects and builds the dictionary; it is not the steady state.
        let ours = (last - first) * 1e3 / (cpu.len() - 1) as f64;
        let its = spent * 1e3 / cpu.len() as f64;
        println!(
            "redis, {name}: {ours:.3} ms of CPU time per pass ({} passes), the server itself {its:.3} ms",
            cpu.len()
        );
    }
    Ok(())
}

/// Seconds that the server has spent on its main thread.
fn cpu_of_server(connection: &mut redis::Connection) -> Outcome<f64> {
    let told: String = redis::cmd("INFO").arg("cpu").query(connection)?;
    let figures = told.lines().filter_map(|line| {
        let (name, figure) = line.split_once(':')?;
        matches!(name, "used_cpu_sys" | "used_cpu_user").then(|| figure.parse::<f64>().ok())?
    });
    Ok(figures.sum())
}

fn access_log(format: Format) -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("access.log");
    let bytes = write_log(&path, format)? as f64;
    let mut config = quiet();
    config.access_log = vec![AccessLogConfig {
        name: "shop".to_owned(),
        path: path.clone(),
        format,
        duration_last: true,
        from_start: true,
        interval: Duration::from_millis(100),
        ..AccessLogConfig::default()
    }];
    let (stop, data) = (Stop::new(), directory.path().join("data"));
    let read = |name| values(&data, name);
    let begun = Instant::now();
    thread::scope(|scope| -> Outcome<()> {
        let running = scope.spawn(|| run_ticks(&config, &data, &stop, None));
        let all = loop {
            thread::sleep(Duration::from_millis(200));
            let is_read = read("http.server.log.lines")?.last() == Some(&f64::from(LINES));
            if is_read || running.is_finished() || begun.elapsed() > PATIENCE {
                break is_read;
            }
        };
        stop.request();
        running.join().map_err(|_| "the collector panicked")??;
        if all {
            Ok(())
        } else {
            Err("not all lines were read".into())
        }
    })?;
    if read("http.server.log.malformed")?.last() != Some(&0.0) {
        return Err("lines are malformed".into());
    }
    let cpu = read("driftline.collector.service.cpu.time")?;
    let spent = cpu.last().ok_or("no pass was recorded")?;
    let bare = bare_reader(&path)?.as_secs_f64();
    println!(
        "access log, {format:?}: {:.2} million lines per second of CPU time, {:.0} MB/s; a bare reader of lines {:.2} million",
        f64::from(LINES) / spent / 1e6,
        bytes / spent / 1e6,
        f64::from(LINES) / bare / 1e6,
    );
    Ok(())
}

/// What it takes to read the file and find its lines, and nothing more.
fn bare_reader(path: &Path) -> Outcome<Duration> {
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    let begun = cpu();
    let (mut file, mut buffer, mut lines) = (File::open(path)?, vec![0; 256 * 1024], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..read]).count();
    }
    if lines != LINES as usize {
        return Err("the file has not as many lines as were written".into());
    }
    Ok(cpu().saturating_sub(begun))
}

/// Writes lines of 200 endpoints, as a shop's server would; how many bytes they are.
fn write_log(path: &Path, format: Format) -> Outcome<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..LINES {
        let (user, endpoint) = (number % 50_000, number % 200);
        let (bytes, ms) = (100 + number % 7_919, number % 997);
        match format {
            Format::Json => writeln!(
                file,
                r#"{{"time_local":"29/Nov/2026:19:00:00 +0000","remote_addr":"203.0.113.7","request_method":"GET","request_uri":"/api/v1/part{endpoint}/{user}?page=2","status":200,"body_bytes_sent":{bytes},"request_time":0.{ms:03},"http_user_agent":"Mozilla/5.0 (X11; Linux x86_64)"}}"#
            )?,
            Format::Common | Format::Combined => writeln!(
                file,
                r#"203.0.113.7 - - [29/Nov/2026:19:00:00 +0000] "GET /api/v1/part{endpoint}/{user}?page=2 HTTP/1.1" 200 {bytes} "https://shop.example/list" "Mozilla/5.0 (X11; Linux x86_64)" 0.{ms:03}"#
            )?,
        }
    }
    file.flush()?;
    Ok(std::fs::metadata(path)?.len())
}

/// The values of a metric in the log, in the order of time.
fn values(data: &Path, name: &str) -> Outcome<Vec<f64>> {
    let mut reader = SpoolReader::read_only(Arc::new(RealDisk), &data.join("log"));
    let mut found = Vec::new();
    for source in reader.sources(Kind::Samples)? {
        let mut from = 0;
        loop {
            let records = reader.read(&source, from, 1 << 20)?;
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            for record in records {
                let Body::Samples(batch) = Envelope::parse(&record.payload)?.decode()? else {
                    continue;
                };
                for sample in &batch.samples {
                    let view = batch.series[sample.series as usize].metric.view();
                    if view.is_some_and(|view| view.name == name) {
                        found.push((sample.ts_us, sample.value));
                    }
                }
            }
        }
    }
    found.sort_by_key(|(ts_us, _)| *ts_us);
    Ok(found.into_iter().map(|(_, value)| value).collect())
}
