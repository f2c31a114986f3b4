//! `driftline-collector`: the collector alone, for hosts that should stay lean.
//!
//! Arguments, configuration file, signals and exit codes; everything else is the library's.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use driftline_collector::config::duration;
use driftline_collector::{Config, Stop, observe, run_ticks};
use driftline_schemas::{Event, SampleBatch};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Looked for in the working directory when no other file is named.
const DEFAULT_CONFIG: &str = "driftline.toml";
/// Where everything is kept when nothing else is said.
const DEFAULT_DATA: &str = "./driftline-data";
/// The exit code of a mistake in arguments or configuration.
const USAGE: u8 = 2;

/// Collects this host's metrics, every second, into the event log.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where everything is kept; by default what the configuration says, or ./driftline-data.
    #[arg(long, value_name = "DIR", env = "DRIFTLINE_DATA")]
    data: Option<PathBuf>,
    /// The configuration: the same file as for `driftline`; by default ./driftline.toml if there is one.
    #[arg(long, value_name = "FILE", env = "DRIFTLINE_CONFIG")]
    config: Option<PathBuf>,
    /// Kafka brokers to forward to: `host:port`, several with commas.
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "BROKERS", env = "DRIFTLINE_KAFKA_BROKERS")]
    kafka_brokers: Option<String>,
    /// Collects once and ends.
    #[arg(long, conflicts_with = "time")]
    once: bool,
    /// Collects for this long and ends, for example `5s`.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Prints samples and events as JSON lines instead of appending them to the log.
    #[arg(long)]
    print: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let (config, data) = match configuration(&arguments) {
        Ok(configured) => configured,
        Err(error) => return complain(&*error, USAGE),
    };
    let stop = Stop::new();
    if let Err(error) = stop_on_signals(stop.clone()) {
        return complain(&error, 1);
    }
    let ticks = ticks(&arguments, &config);
    let outcome = if arguments.print {
        print(&config, ticks, &stop)
    } else {
        collect(&config, &data, ticks, &stop)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&*error, 1),
    }
}

fn collect(
    config: &Config,
    data: &Path,
    ticks: Option<u64>,
    stop: &Stop,
) -> Result<(), Box<dyn Error>> {
    eprintln!(
        "collecting every {} into {}",
        duration::format(config.interval),
        data.display()
    );
    let summary = run_ticks(config, data, stop, ticks)?;
    eprintln!(
        "{} ticks, {} missed, {} samples, {} blocks dropped",
        summary.ticks, summary.missed, summary.samples, summary.blocks_dropped
    );
    Ok(())
}

/// How many ticks were asked for: both ends of the time count.
fn ticks(arguments: &Arguments, config: &Config) -> Option<u64> {
    let of_time = |time: Duration| {
        u64::try_from(time.as_micros() / config.interval.as_micros().max(1)).unwrap_or(u64::MAX - 1)
            + 1
    };
    if arguments.once {
        Some(1)
    } else {
        arguments.time.map(of_time)
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .ok_or_else(|| "expected a whole number with ms, s, m or h, such as 5s".to_owned())
}

/// The file that all roles share, of which the collector needs a part.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sections {
    data: Option<PathBuf>,
    collector: Config,
    spool: driftline_eventlog::spool::SpoolConfig,
    #[cfg(feature = "kafka")]
    kafka: Option<driftline_eventlog::kafka::KafkaConfig>,
    #[cfg(not(feature = "kafka"))]
    kafka: Option<IgnoredAny>,
    #[serde(rename = "sink")]
    _sink: IgnoredAny,
    #[serde(rename = "query")]
    _query: IgnoredAny,
}

/// The configuration and the data directory: by flag, environment, file or default.
fn configuration(arguments: &Arguments) -> Result<(Config, PathBuf), Box<dyn Error>> {
    let path = arguments.config.clone().or_else(|| {
        let path = PathBuf::from(DEFAULT_CONFIG);
        path.exists().then_some(path)
    });
    let sections = path.map_or_else(|| Ok(Sections::default()), |path| read_sections(&path))?;
    let data = arguments
        .data
        .clone()
        .or(sections.data)
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA));
    #[cfg(not(feature = "kafka"))]
    if sections.kafka.is_some() {
        return Err(
            "[kafka] is configured, but this build cannot forward: use one with the feature kafka"
                .into(),
        );
    }
    let mut config = sections.collector;
    config.spool = sections.spool;
    #[cfg(feature = "kafka")]
    {
        config.kafka = sections.kafka;
        if let Some(brokers) = &arguments.kafka_brokers {
            match &mut config.kafka {
                Some(kafka) => kafka.brokers.clone_from(brokers),
                None => config.kafka = Some(driftline_eventlog::kafka::KafkaConfig::new(brokers)),
            }
        }
    }
    config.validate()?;
    Ok((config, data))
}

fn read_sections(path: &Path) -> Result<Sections, Box<dyn Error>> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    toml::from_str(&text)
        .map_err(|error| format!("{name} is not a valid configuration: {error}").into())
}

/// Stops in order on SIGINT and SIGTERM, from now on.
fn stop_on_signals(stop: Stop) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            stop.request();
        })?;
    Ok(())
}

/// Prints instead of writing; ends early when nobody reads.
fn print(config: &Config, ticks: Option<u64>, stop: &Stop) -> Result<(), Box<dyn Error>> {
    let mut failure = None;
    observe(config, ticks, stop, |events, batch| {
        if let Err(error) = print_lines(&events, batch.as_ref()) {
            stop.request();
            failure = Some(error);
        }
    })?;
    match failure {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn print_lines(events: &[Event], batch: Option<&SampleBatch>) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for event in events {
        let attributes: serde_json::Map<_, _> = event
            .attributes
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let line = json!({
            "ts_us": event.ts_us, "event": event.name.as_str(), "component": event.component.as_str(),
            "subject": event.subject, "message": event.message, "attributes": attributes,
        });
        writeln!(out, "{line}")?;
    }
    if let Some(batch) = batch {
        for sample in &batch.samples {
            let Some(series) = batch.series.get(sample.series as usize) else {
                continue;
            };
            let Some(metric) = series.metric.view() else {
                continue;
            };
            let line = json!({
                "ts_us": sample.ts_us, "metric": metric.name, "unit": metric.unit,
                "labels": series.labels.as_str(), "value": sample.value,
            });
            writeln!(out, "{line}")?;
        }
    }
    out.flush()
}

/// Tells an error with those of its causes that its own message does not name.
fn complain(error: &dyn Error, code: u8) -> ExitCode {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    eprintln!("driftline-collector: {message}");
    ExitCode::from(code)
}
