//! Blocks, spool, sink, commits and compaction, measured on this host's own samples; the sink beside
//! a bare `parquet::ArrowWriter` that is given the same rows already in Arrow, in the same run.
//!
//!     cargo bench --workspace --bench pipeline [-- blocks spool sink commits]
//!
//! Timings are figures to look at; nothing here passes or fails.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use driftline_collector::{Config, Stop, snapshot};
use driftline_eventlog::LogWriter as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::{Clock as SpoolClock, SpoolConfig, SpoolProducer, SpoolReader};
use driftline_schemas::{
    BlockHeader, Body, Decoder, Encoder, Envelope, Incarnation, Kind, ProducerId, SampleBatch,
    StreamId, encode,
};
use driftline_sink::batch::BatchBuilder;
use driftline_sink::parquet_file::{Level, properties};
use driftline_sink::table::{At, TableName, snapshot as table_snapshot};
use driftline_sink::{Clock, Maintenance, Reporter, Sink, SinkConfig, Steps};
use parquet::arrow::ArrowWriter;
use prost::bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

const TICKS: usize = 12;
const SINK_ROWS: usize = 3_000_000;
const COMMITS: usize = 5_000;
/// Where it is there, commits are measured in memory: the goal is about CPU, and 5,000 commits wait
/// minutes for a disk.
const MEMORY: &str = "/dev/shm";

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|it| it == part);
    let config = Config::default();
    let seen = snapshot(&config, config.interval * TICKS as u32, &Stop::new())?;
    let ticks: Vec<SampleBatch> = seen.batches.into_iter().skip(1).collect();
    println!(
        "host data: {} ticks of about {} samples",
        ticks.len(),
        ticks[0].samples.len()
    );
    if wanted("blocks") {
        blocks(&ticks)?;
    }
    let dir = tempfile::tempdir()?;
    if wanted("spool") {
        spool(dir.path(), &ticks)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    if wanted("sink") {
        runtime.block_on(sink(&dir.path().join("sink"), &ticks, "one tick"))?;
        let ten = [joined(&ticks[..10])];
        runtime.block_on(sink(&dir.path().join("sink-ten"), &ten, "ten ticks"))?;
    }
    if wanted("commits") {
        let memory = Path::new(MEMORY);
        let place = if memory.is_dir() { memory } else { dir.path() };
        let dir = tempfile::tempdir_in(place)?;
        println!("commits in {}", place.display());
        runtime.block_on(commits(dir.path(), &ticks))?;
    }
    Ok(())
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn header(stream: &StreamId, seq: u64) -> BlockHeader {
    BlockHeader {
        stream: stream.clone(),
        seq,
        host: "bench".to_owned(),
    }
}

fn stream(incarnation: u128) -> anyhow::Result<StreamId> {
    let incarnation = Incarnation::from_u128(incarnation);
    Ok(StreamId {
        producer: ProducerId::new("bench")?,
        incarnation,
        kind: Kind::Samples,
    })
}

/// Several ticks as one block.
fn joined(ticks: &[SampleBatch]) -> SampleBatch {
    let rows = ticks.iter().flat_map(|tick| {
        tick.samples
            .iter()
            .map(|s| (tick.series[s.series as usize].clone(), s.ts_us, s.value))
    });
    SampleBatch::from_rows(rows)
}

fn blocks(ticks: &[SampleBatch]) -> anyhow::Result<()> {
    let stream = stream(1)?;
    let ten = joined(&ticks[..10.min(ticks.len())]);
    for (name, batch) in [("1 tick", ticks[1].clone()), ("10 ticks", ten)] {
        let samples = batch.samples.len();
        let body = Body::Samples(batch);
        let payload = Bytes::from(encode(&header(&stream, 0), &body)?);
        let rounds = 1 + 2_000_000 / samples;
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let header = header(&stream, 0);
        let begun = cpu();
        for _ in 0..rounds {
            let payload = Bytes::copy_from_slice(encoder.encode(&header, &body)?);
            let envelope = Envelope::parse(&payload)?;
            anyhow::ensure!(decoder.rows(&envelope)?.len() == samples, "rows were lost");
        }
        let each = (cpu() - begun).as_nanos() as f64 / (rounds * samples) as f64;
        let bytes = payload.len() as f64 / samples as f64;
        println!(
            "block of {name}: {bytes:.2} bytes per sample, {each:.0} ns per sample to encode and decode"
        );
    }
    Ok(())
}

fn spool(dir: &Path, ticks: &[SampleBatch]) -> anyhow::Result<()> {
    let id = ProducerId::new("bench")?;
    let disk = Arc::new(RealDisk);
    let incarnation = Incarnation::from_u128(2);
    let producer = SpoolProducer::open(
        disk,
        &dir.join("spool"),
        id,
        incarnation,
        SpoolConfig::default(),
    )?;
    let mut writer = producer.writer(Kind::Samples)?;
    let batch = joined(&ticks[..10.min(ticks.len())]);
    let samples = batch.samples.len();
    let body = Body::Samples(batch);
    let blocks = 20_000_000 / samples;
    let mut encoder = Encoder::default();
    let (cpu_begun, begun) = (cpu(), Instant::now());
    for at in 0..blocks {
        let seq = writer.next_seq();
        let payload = encoder.encode(&header(writer.stream(), seq), &body)?;
        writer.append(seq, payload)?;
        if at % 100 == 99 {
            writer.sync()?;
        }
    }
    writer.close()?;
    let all = (blocks * samples) as f64 / 1e6;
    println!(
        "spool: {:.1} M samples/s durably appended, {:.1} M per CPU-second, encoding included",
        all / begun.elapsed().as_secs_f64(),
        all / (cpu() - cpu_begun).as_secs_f64()
    );
    Ok(())
}

/// Appends the ticks over and over, moved on in time, until there are so many rows.
fn fill(
    log: &Path,
    ticks: &[SampleBatch],
    rows: usize,
    incarnation: u128,
) -> anyhow::Result<usize> {
    let id = ProducerId::new("bench")?;
    let incarnation = Incarnation::from_u128(incarnation);
    let producer = SpoolProducer::open(
        Arc::new(RealDisk),
        log,
        id,
        incarnation,
        SpoolConfig::default(),
    )?;
    let mut writer = producer.writer(Kind::Samples)?;
    let mut written = 0;
    while written < rows {
        let seq = writer.next_seq();
        let mut batch = ticks[seq as usize % ticks.len()].clone();
        let moved = (seq as i64 / ticks.len() as i64) * ticks.len() as i64 * 1_000_000;
        for sample in &mut batch.samples {
            sample.ts_us += moved;
        }
        written += batch.samples.len();
        let payload = encode(&header(writer.stream(), seq), &Body::Samples(batch))?;
        writer.append(seq, &payload)?;
    }
    writer.close()?;
    Ok(written)
}

async fn open_sink(data: &Path, config: SinkConfig, incarnation: u128) -> anyhow::Result<Sink> {
    let log = data.join("log");
    let id = ProducerId::new("sink")?;
    let incarnation = Incarnation::from_u128(incarnation);
    let producer = SpoolProducer::open(
        Arc::new(RealDisk),
        &log,
        id,
        incarnation,
        SpoolConfig::default(),
    )?;
    let events = producer.writer(Kind::Events)?;
    let stream = events.stream().clone();
    let reporter = Reporter::new(Box::new(events), stream, "bench".to_owned());
    let begun = Instant::now();
    let clock: SpoolClock = Arc::new(move || begun.elapsed());
    let reader = SpoolReader::open(Arc::new(RealDisk), &log, &SpoolConfig::default(), clock);
    let steps = Arc::new(Steps::default());
    Ok(Sink::open(
        data,
        config,
        Box::new(reader),
        reporter,
        Clock::system(),
        steps,
    )
    .await?)
}

async fn sink(data: &Path, ticks: &[SampleBatch], blocks: &str) -> anyhow::Result<()> {
    let rows = fill(&data.join("log"), ticks, SINK_ROWS, 3)?;
    let mut sink = open_sink(data, SinkConfig::default(), 4).await?;
    let (cpu_begun, begun) = (cpu(), Instant::now());
    sink.drain().await?;
    let ours = rows as f64 / 1e6 / (cpu() - cpu_begun).as_secs_f64();
    let wall = rows as f64 / 1e6 / begun.elapsed().as_secs_f64();

    // The reference: the same rows, already in Arrow, with the same encodings.
    let mut reader = SpoolReader::read_only(Arc::new(RealDisk), &data.join("log"));
    let mut builder = BatchBuilder::new(TableName::Samples);
    read_all(&mut reader, &mut builder)?;
    let batches = builder.finish()?;
    let begun = cpu();
    for (day, batch) in &batches {
        let file = std::fs::File::create(data.join(format!("{}.parquet", day.to_date())))?;
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties(Level::Raw)))?;
        writer.write(batch)?;
        writer.into_inner()?.sync_all()?;
    }
    let bare = rows as f64 / 1e6 / (cpu() - begun).as_secs_f64();
    println!(
        "sink, blocks of {blocks}: {ours:.2} M rows per CPU-second from log to commit ({wall:.2} M/s), bare ArrowWriter {bare:.2}, ratio {:.2}; peak memory {} MiB",
        ours / bare,
        peak_memory_mib()?
    );
    compacted(data, rows).await
}

fn read_all(reader: &mut SpoolReader, builder: &mut BatchBuilder) -> anyhow::Result<()> {
    use driftline_eventlog::LogReader as _;
    let mut decoder = Decoder::default();
    for source in reader.sources(Kind::Samples)? {
        let mut from = 0;
        loop {
            let records = reader.read(&source, from, 4 << 20)?;
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            for record in &records {
                let envelope = Envelope::parse(&record.payload)?;
                builder.push(&envelope, &decoder.rows(&envelope)?, &mut |_, _| {});
            }
        }
    }
    Ok(())
}

async fn compacted(data: &Path, rows: usize) -> anyhow::Result<()> {
    let before = bytes_of(data).await?;
    let config = SinkConfig {
        compact_files: 2,
        ..SinkConfig::default()
    };
    let steps = Arc::new(Steps::default());
    let mut maintenance = Maintenance::open(data, config, Clock::system(), steps).await?;
    maintenance.round(false, &false.into()).await?;
    let after = bytes_of(data).await?;
    let rows = rows as f64;
    println!(
        "parquet: {:.2} bytes per sample as committed, {:.2} after compaction",
        before as f64 / rows,
        after as f64 / rows
    );
    Ok(())
}

async fn bytes_of(data: &Path) -> anyhow::Result<u64> {
    let table = table_snapshot(data, TableName::Samples, At::Latest)
        .await?
        .context("a table")?;
    Ok(table.files.iter().map(|file| file.size).sum())
}

async fn commits(data: &Path, ticks: &[SampleBatch]) -> anyhow::Result<()> {
    let config = SinkConfig {
        commit_seconds: 1e-9,
        read_bytes: 1,
        ..SinkConfig::default()
    };
    let most = ticks
        .iter()
        .map(|tick| tick.samples.len())
        .max()
        .context("a tick")?;
    let rows = COMMITS * most;
    fill(&data.join("log"), ticks, rows, 5)?;
    let mut sink = open_sink(data, config.clone(), 6).await?;
    let steps = Arc::new(Steps::default());
    let mut maintenance = Maintenance::open(data, config, Clock::system(), steps).await?;
    let mut first = None;
    let (mut begun, started) = (cpu(), Instant::now());
    for commit in 1..=COMMITS {
        sink.turn().await?;
        if commit % 100 == 0 {
            let commits = cpu() - begun;
            maintenance.round(false, &false.into()).await?;
            let upkeep = cpu() - begun - commits;
            let each = |time: Duration| time.as_secs_f64() * 10.0;
            let first = *first.get_or_insert(each(commits));
            if commit % 1_000 == 0 || commit == 100 {
                println!(
                    "commit: {:.2} ms of CPU each at {commit}, {:.2} times that at 100; upkeep beside it {:.2}; {:.0} s so far",
                    each(commits),
                    each(commits) / first,
                    each(upkeep),
                    started.elapsed().as_secs_f64()
                );
            }
            begun = cpu();
        }
    }
    Ok(())
}

fn peak_memory_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .context("VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmHWM")?.parse()?;
    Ok(kib / 1024)
}
