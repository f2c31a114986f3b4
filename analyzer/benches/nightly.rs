//! The analysis of a day, from tables that the sink itself has written, beside a plain aggregate over
//! the same rows in the same run.
//!
//!     cargo bench -p driftline-analyzer --bench nightly -- [--series 10000] [--every 30] [--days 1] [--data DIR] [--sql 1]
//!
//! `--every` is the distance of samples in seconds. What is analysed are the rollups by minute and hour, whose
//! rows are as many at any distance up to a minute; at one second a day of 10,000 series is 864 million samples, which this
//! does not write unless it is asked to. With `--sql 1` the same points are also read by the query that groups and
//! orders them in SQL. A directory that is given is kept, and used again where it holds tables.
//!
//! Timings are figures to look at; nothing here passes or fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use driftline_analyzer::nightly::{self, Finding, NightlyOptions, nightly};
use driftline_analyzer::{
    At, Engine, EngineConfig, Lake, LakeOptions, QueryOptions, Tail, Window, rule,
};
use driftline_eventlog::LogWriter as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{Clock as SpoolClock, SpoolConfig, SpoolProducer, SpoolReader};
use driftline_schemas::{
    BlockHeader, Body, Encoder, Incarnation, Kind, Labels, MetricRef, ProducerId, Sample,
    SampleBatch, Series, metric_named,
};
use driftline_sink::table::{TableName, snapshot};
use driftline_sink::{Clock, Maintenance, Reporter, Sink, SinkConfig, Steps};
use driftline_stats::noise::Noise;

type Failure = Box<dyn std::error::Error>;

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;
/// The first midnight.
const FIRST_S: i64 = 20_000 * DAY_S;
const SERIES_PER_HOST: usize = 500;
/// Every so many series one gets a step in its last day.
const STEP_IN: usize = 500;
/// Ticks of a block.
const TICKS: i64 = 6;
/// Rounds of the maintenance at most.
const MOST_ROUNDS: usize = 200;

struct Arguments {
    series: usize,
    every_s: i64,
    days: i64,
    data: Option<PathBuf>,
    sql: bool,
}

fn main() -> Result<(), Failure> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let arguments = arguments()?;
    let temporary = tempfile::tempdir()?;
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => temporary.path().to_path_buf(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if !data.join("tables").exists() {
            write(&data, &arguments).await?;
        }
        analyse(&data, &arguments).await
    })
}

fn arguments() -> Result<Arguments, Failure> {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
        given.insert(name, value);
    }
    let number = |name: &str, default: i64| match given.get(name) {
        Some(value) => value.parse(),
        None => Ok(default),
    };
    Ok(Arguments {
        series: usize::try_from(number("--series", 10_000)?)?,
        every_s: number("--every", 30)?,
        days: number("--days", 1)?,
        data: given.get("--data").map(PathBuf::from),
        sql: number("--sql", 0)? != 0,
    })
}

/// Samples through the spool and the sink into tables, and their rollups.
async fn write(data: &Path, arguments: &Arguments) -> Result<(), Failure> {
    let until_s = FIRST_S + arguments.days * DAY_S;
    let begun = Instant::now();
    let hosts = arguments.series.div_ceil(SERIES_PER_HOST);
    let mut samples = 0;
    for host in 0..hosts {
        samples += spool(&data.join("log"), host, arguments)?;
    }
    println!(
        "{samples} samples of {} series on {hosts} hosts, every {} s over {} days, in the log after {:.0} s",
        arguments.series,
        arguments.every_s,
        arguments.days,
        begun.elapsed().as_secs_f64()
    );
    let config = SinkConfig::default();
    let mut sink = sink(data, config.clone()).await?;
    sink.drain().await?;
    drop(sink);
    println!("in `samples` after {:.0} s", begun.elapsed().as_secs_f64());
    let clock = Clock::new(move || (until_s + 600) * SECOND_US);
    let steps = Arc::new(Steps::default());
    let mut maintenance = Maintenance::open(data, config, clock, steps).await?;
    for _ in 0..MOST_ROUNDS {
        maintenance.round(false, &false.into()).await?;
        let days = snapshot(data, TableName::Samples1d, At::Latest).await?;
        let rows: u64 = days.map_or(0, |days| days.files.iter().map(|file| file.rows).sum());
        if rows >= arguments.series as u64 * arguments.days.unsigned_abs() {
            break;
        }
    }
    println!("in rollups after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// One host's samples: nine gauges of ten, and counters.
fn spool(log: &Path, host: usize, arguments: &Arguments) -> Result<usize, Failure> {
    let first = host * SERIES_PER_HOST;
    let last = (first + SERIES_PER_HOST).min(arguments.series);
    let series: Vec<Series> = (first..last).map(one).collect::<Result<_, _>>()?;
    let mut levels: Vec<f64> = vec![0.0; series.len()];
    let mut noise = Noise::new(host as u64);
    let id = ProducerId::new(&format!("bench-{host}"))?;
    let incarnation = Incarnation::from_u128(1 + host as u128);
    let producer = SpoolProducer::open(
        Arc::new(RealDisk),
        log,
        id,
        incarnation,
        SpoolConfig::default(),
    )?;
    let mut writer = producer.writer(Kind::Samples)?;
    let mut encoder = Encoder::default();
    let until_s = FIRST_S + arguments.days * DAY_S;
    let step_s = until_s - DAY_S / 2;
    let mut written = 0;
    let mut at_s = FIRST_S;
    while at_s < until_s {
        let mut batch = SampleBatch {
            series: series.clone(),
            samples: Vec::with_capacity(series.len() * TICKS as usize),
        };
        for _ in 0..TICKS {
            let time = (at_s % DAY_S) as f64 / DAY_S as f64 * std::f64::consts::TAU;
            for (place, level) in levels.iter_mut().enumerate() {
                let number = first + place;
                let stepped = has_step(number) && at_s >= step_s;
                let value = 100.0
                    * (1.0 + 0.1 * time.sin() + 0.1 * (noise.uniform() - 0.5))
                    * if stepped { 1.4 } else { 1.0 };
                *level = match number % 10 {
                    0 => *level + (value * arguments.every_s as f64).round(),
                    _ => (value * 100.0).round() / 100.0,
                };
                batch.samples.push(Sample {
                    series: place as u32,
                    ts_us: at_s * SECOND_US,
                    value: *level,
                });
            }
            at_s += arguments.every_s;
        }
        written += batch.samples.len();
        let seq = writer.next_seq();
        let header = BlockHeader {
            stream: writer.stream().clone(),
            seq,
            host: format!("bench-{host}"),
        };
        writer.append(seq, encoder.encode(&header, &Body::Samples(batch))?)?;
    }
    writer.close()?;
    Ok(written)
}

fn has_step(number: usize) -> bool {
    number % STEP_IN == 7
}

fn one(number: usize) -> Result<Series, Failure> {
    let (metric, label) = match number % 10 {
        0 => ("system.network.io", "network.interface.name"),
        _ => ("system.memory.linux.available", "unit"),
    };
    let metric = metric_named(metric).ok_or("a metric of the catalogue is missing")?;
    let name = format!("u{number}");
    Ok(Series {
        metric: MetricRef::Known(metric.id),
        labels: Labels::new(&[(label, name.as_str())]),
    })
}

async fn sink(data: &Path, config: SinkConfig) -> Result<Sink, Failure> {
    let log = data.join("log");
    let id = ProducerId::new("sink")?;
    let producer = SpoolProducer::open(
        Arc::new(RealDisk),
        &log,
        id,
        Incarnation::from_u128(0),
        SpoolConfig::default(),
    )?;
    let events = producer.writer(Kind::Events)?;
    let stream = events.stream().clone();
    let reporter = Reporter::new(Box::new(events), stream, "bench".to_owned());
    let begun = Instant::now();
    let clock: SpoolClock = Arc::new(move || begun.elapsed());
    let reader = SpoolReader::open(Arc::new(RealDisk), &log, &SpoolConfig::default(), clock);
    let steps = Arc::new(Steps::default());
    let reader = Box::new(reader);
    Ok(Sink::open(data, config, reader, reporter, Clock::system(), steps).await?)
}

async fn analyse(data: &Path, arguments: &Arguments) -> Result<(), Failure> {
    let until_us = (FIRST_S + arguments.days * DAY_S) * SECOND_US;
    let options = NightlyOptions {
        day: Window {
            from_us: until_us - DAY_S * SECOND_US,
            until_us,
        },
        ..NightlyOptions::default()
    };
    let whole = Window {
        from_us: options.day.from_us - options.history_us,
        until_us,
    };
    let lake = LakeOptions {
        at: At::Latest,
        tail: Tail::Spool,
        ..LakeOptions::default()
    };
    let opened = Instant::now();
    let lake = Lake::open(data, &lake).await?;
    let config = EngineConfig::default();
    let engine = Engine::over(lake, &config).await?;
    println!("opened in {:.2} s", opened.elapsed().as_secs_f64());

    let begun = Instant::now();
    let (step_s, series) = nightly::series(&engine, whole).await?;
    let read = begun.elapsed();
    let points: usize = series.iter().map(|series| series.values.len()).sum();
    println!(
        "nightly reads {points} points of {} series, {step_s} s apart, in {:.1} s",
        series.len(),
        read.as_secs_f64()
    );
    drop(series);
    let begun = Instant::now();
    let analysed = nightly(&engine, &options).await?;
    let whole = begun.elapsed();
    println!(
        "nightly: {:.1} s in all, {} series judged, {} samples on the day, {} findings; peak memory {} MiB",
        whole.as_secs_f64(),
        analysed.series,
        analysed.rows,
        analysed.findings.len(),
        peak_memory_mib()?
    );
    told(&analysed.findings, arguments.series);
    if arguments.sql {
        let rule = rule::built_in_named("minute_series_points")?;
        let given = [
            ("from".to_owned(), rule::timestamp(options.day.from_us)),
            ("until".to_owned(), rule::timestamp(until_us)),
            ("step_s".to_owned(), rule::integer(60)),
        ];
        let begun = Instant::now();
        match engine.collect_rule(&rule, &given).await {
            Ok(rows) => println!(
                "the minutes of the day grouped and ordered in SQL: {} rows in {:.1} s",
                rows.batches
                    .iter()
                    .map(RecordBatch::num_rows)
                    .sum::<usize>(),
                begun.elapsed().as_secs_f64()
            ),
            Err(error) => println!(
                "the minutes of the day grouped and ordered in SQL: given up after {:.1} s: {error}",
                begun.elapsed().as_secs_f64()
            ),
        }
    }
    for table in ["samples_1m", "samples"] {
        let plain = plain(&engine, table).await?;
        println!(
            "a plain aggregate over `{table}`: {:.1} s; nightly takes {:.2} times as long",
            plain.as_secs_f64(),
            whole.as_secs_f64() / plain.as_secs_f64()
        );
    }
    Ok(())
}

/// Which of the planted steps are among the findings, and what else is.
fn told(findings: &[Finding], series: usize) {
    let planted: Vec<String> = (0..series)
        .filter(|number| has_step(*number))
        .map(|number| format!("=u{number}}}"))
        .collect();
    let is_planted = |name: &str| {
        planted
            .iter()
            .any(|planted| name.contains(planted.as_str()))
    };
    let evidence = || findings.iter().flat_map(|finding| &finding.evidence);
    let found = evidence().filter(|found| is_planted(&found.name)).count();
    println!("{found} of {} planted steps are told", planted.len());
    for finding in findings {
        for other in finding
            .evidence
            .iter()
            .filter(|other| !is_planted(&other.name))
        {
            println!(
                "not planted: {} at {} s of the day: {:?} to {:?}, p {:.1e}",
                other.name,
                finding.onset_us / SECOND_US % DAY_S,
                other.before,
                other.after,
                other.p_value
            );
        }
    }
}

/// Two numbers of each series.
async fn plain(engine: &Engine, table: &str) -> Result<Duration, Failure> {
    let value = if table == "samples" { "value" } else { "sum" };
    let sql = format!(
        "SELECT component, host, metric, labels, count(*) AS n, avg({value}) AS mean FROM {table} \
         GROUP BY component, host, metric, labels"
    );
    let begun = Instant::now();
    engine.collect(&sql, &QueryOptions::default()).await?;
    Ok(begun.elapsed())
}

fn peak_memory_mib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("VmHWM is missing")?.parse::<u64>()? / 1024)
}
