//! What the collector costs: CPU time per 1,000 metrics with encoding and spool included, resident
//! memory, lateness of ticks; beside it what no collector of these metrics can do without (a wake-up,
//! the kernel's files read, as many bytes appended and synced) and node_exporter, scraped every second in the same run, where
//! it is installed (Debian: `prometheus-node-exporter`) or named by `NODE_EXPORTER`.
//!
//! Run by `cargo bench -p driftline-collector --bench collector [-- SECONDS]`. Both are measured at
//! their real pace, because caches that have gone cold within a second are part of the cost.

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use driftline_collector::{Config, Stop, run_ticks};
use driftline_eventlog::LogReader as _;
use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::SpoolReader;
use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Body, Envelope, Kind, MetricRef};
use rustix::time::{ClockId, clock_gettime};

const DEFAULT_SECONDS: u64 = 30;
/// Ticks of this long are counted by the kernel for each process.
const KERNEL_TICK: Duration = Duration::from_millis(10);

/// What the host's metrics of every tick are read from, this process's own memory included.
const KERNEL_FILES: [&str; 17] = [
    "stat",
    "loadavg",
    "uptime",
    "meminfo",
    "vmstat",
    "pressure/cpu",
    "pressure/memory",
    "pressure/io",
    "diskstats",
    "self/net/dev",
    "self/net/softnet_stat",
    "self/net/snmp",
    "self/net/netstat",
    "self/net/sockstat",
    "self/net/sockstat6",
    "sys/fs/file-nr",
    "self/statm",
];
/// A sample takes so much of the spool.
const BYTES_PER_SAMPLE: f64 = 10.0;

/// What one collector cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    metrics_per_tick: f64,
    cpu_ms_per_tick: f64,
    resident_mib: f64,
}

impl Cost {
    fn ms_per_1000(&self) -> f64 {
        self.cpu_ms_per_tick / self.metrics_per_tick * 1_000.0
    }

    fn print(&self, name: &str, notes: &str) {
        println!(
            "{name:<28} {:>9.0} {:>11.3} {:>17.2} {:>9.1}  {notes}",
            self.metrics_per_tick,
            self.cpu_ms_per_tick,
            self.ms_per_1000(),
            self.resident_mib,
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(DEFAULT_SECONDS);
    let path = node_exporter();
    let reference = path
        .as_deref()
        .map(|path| measure_node_exporter(path, seconds));
    println!("each collected {seconds} times, once per second");
    println!(
        "{:<28} {:>9} {:>11} {:>17} {:>9}",
        "", "metrics", "CPU ms/tick", "CPU ms/1k metrics", "RSS MiB"
    );
    let (ours, notes) = measure_collector(Config::default(), seconds)?;
    ours.print("driftline-collector", &notes);
    let mut host = Config::default();
    host.process.enabled = false;
    host.cgroup.enabled = false;
    let (host_only, notes) = measure_collector(host, seconds)?;
    host_only.print("  component host alone", &notes);
    let bare = measure_bare(host_only.metrics_per_tick, seconds)?;
    bare.print("  bare reads, append, sync", "");
    let ratio = host_only.cpu_ms_per_tick / bare.cpu_ms_per_tick;
    println!("component host alone / bare: {ratio:.1}");
    match reference.transpose()? {
        Some(reference) => {
            reference.print("node_exporter, scraped", "");
            let ratio = reference.ms_per_1000() / ours.ms_per_1000();
            println!("node_exporter / driftline-collector, CPU per metric: {ratio:.1}");
        }
        None => println!(
            "node_exporter is not installed: no reference (install prometheus-node-exporter)"
        ),
    }
    Ok(())
}

/// Collects into a real spool and measures this process.
fn measure_collector(config: Config, seconds: u64) -> Result<(Cost, String), Box<dyn Error>> {
    let directory = tempfile::tempdir_in(scratch())?;
    // The first tick opens files and builds the dictionary; it is not the steady state.
    run_ticks(&config, directory.path(), &Stop::new(), Some(2))?;
    let cpu = process_cpu();
    let summary = run_ticks(&config, directory.path(), &Stop::new(), Some(seconds))?;
    let cpu = process_cpu().saturating_sub(cpu);
    let resident_mib = resident_mib("self")?;
    let ticks = summary.ticks as f64;
    let cost = Cost {
        metrics_per_tick: summary.samples as f64 / ticks,
        cpu_ms_per_tick: cpu.as_secs_f64() * 1e3 / ticks,
        resident_mib,
    };
    let read = read_log(
        directory.path(),
        const { id("driftline.collector.tick.lateness") },
    )?;
    let mut lateness = read.values;
    lateness.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        lateness
            .get(((lateness.len() - 1) as f64 * q) as usize)
            .copied()
            .unwrap_or(0.0)
            * 1e3
    };
    let notes = format!(
        "lateness p50 {:.2} p99 {:.2} max {:.2} ms, {} missed, {:.1} bytes per sample",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        summary.missed,
        read.bytes as f64 / read.rows as f64,
    );
    Ok((cost, notes))
}

/// Reads the same files at the same pace and appends as many bytes durably, and does nothing else.
fn measure_bare(metrics_per_tick: f64, seconds: u64) -> Result<Cost, Box<dyn Error>> {
    let proc = Path::new("/proc");
    // Some kernels do not offer all of them.
    let files: Vec<File> = KERNEL_FILES
        .iter()
        .filter_map(|name| File::open(proc.join(name)).ok())
        .collect();
    let mut log = tempfile::tempfile_in(scratch())?;
    let bytes = vec![7; (metrics_per_tick * BYTES_PER_SAMPLE) as usize];
    let mut buffer = vec![0; 64 * 1024];
    let begun = Instant::now();
    let cpu = process_cpu();
    for tick in 1..=seconds {
        thread::sleep(Duration::from_secs(tick).saturating_sub(begun.elapsed()));
        for file in &files {
            // What stands in it does not matter, nor whether it can be read.
            drop(file.read_at(&mut buffer, 0));
        }
        log.write_all(&bytes)?;
        log.sync_data()?;
    }
    let cpu = process_cpu().saturating_sub(cpu);
    Ok(Cost {
        metrics_per_tick,
        cpu_ms_per_tick: cpu.as_secs_f64() * 1e3 / seconds as f64,
        resident_mib: resident_mib("self")?,
    })
}

/// Where the spools of the measurement are: on the disk, beside what is built.
fn scratch() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// What stands in the log.
struct Read {
    /// The values of one metric.
    values: Vec<f64>,
    rows: usize,
    bytes: usize,
}

fn read_log(data: &Path, metric: u32) -> Result<Read, Box<dyn Error>> {
    let mut reader = SpoolReader::read_only(Arc::new(RealDisk), &data.join("log"));
    let mut found = Read {
        values: Vec::new(),
        rows: 0,
        bytes: 0,
    };
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
                found.rows += batch.samples.len();
                found.bytes += record.payload.len();
                let wanted =
                    |series: u32| batch.series[series as usize].metric == MetricRef::Known(metric);
                found.values.extend(
                    batch
                        .samples
                        .iter()
                        .filter(|s| wanted(s.series))
                        .map(|s| s.value),
                );
            }
        }
    }
    Ok(found)
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

fn resident_mib(process: &str) -> Result<f64, Box<dyn Error>> {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: f64 = statm
        .split_ascii_whitespace()
        .nth(1)
        .ok_or("statm has no resident pages")?
        .parse()?;
    Ok(pages * rustix::param::page_size() as f64 / (1 << 20) as f64)
}

fn node_exporter() -> Option<PathBuf> {
    let named = std::env::var_os("NODE_EXPORTER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["prometheus-node-exporter", "node_exporter"];
    let installed =
        std::env::split_paths(&path).flat_map(|directory| names.map(|name| directory.join(name)));
    named
        .into_iter()
        .chain(installed)
        .find(|path| path.is_file())
}

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing left to do then.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn measure_node_exporter(path: &Path, seconds: u64) -> Result<Cost, Box<dyn Error>> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let exporter = Command::new(path)
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let exporter = Running(exporter);
    let pid = exporter.0.id().to_string();
    let begun = Instant::now();
    while scrape(&address).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("node_exporter does not answer".into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    let cpu = cpu_of(&pid)?;
    let mut metrics = 0;
    let begun = Instant::now();
    for tick in 1..=seconds {
        metrics += scrape(&address)?;
        thread::sleep(Duration::from_secs(tick).saturating_sub(begun.elapsed()));
    }
    let cpu = cpu_of(&pid)?.saturating_sub(cpu);
    Ok(Cost {
        metrics_per_tick: metrics as f64 / seconds as f64,
        cpu_ms_per_tick: cpu.as_secs_f64() * 1e3 / seconds as f64,
        resident_mib: resident_mib(&pid)?,
    })
}

/// Scrapes once and counts the samples.
fn scrape(address: &str) -> Result<usize, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    Ok(body
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .count())
}

fn cpu_of(pid: &str) -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("stat has no name")?;
    let ticks: u32 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap_or(0))
        .sum();
    Ok(KERNEL_TICK * ticks)
}
