//! Commands and their options, with help texts that begin with what a user wants to do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use driftline_collector::config::duration;
use driftline_eventlog::kafka::{KafkaConfig, create_topics};
use driftline_loadgen::service::ServiceArgs;

use crate::baseline::{self, BaselineArgs};
use crate::compare::{self, CompareArgs};
use crate::config::Config;
use crate::detect::{self, DetectArgs};
use crate::exit::Outcome;
use crate::findings::{self, FindingsCommand};
use crate::import::{self, ImportArgs};
use crate::load::{self, LoadCommand};
use crate::mark::{self, MarkArgs};
use crate::nightly::{self, NightlyArgs};
use crate::optimize::{self, OptimizeArgs};
use crate::query::{Format, QueryArgs, SqlArgs};
use crate::recommend::{self, RecommendArgs};
use crate::report::{self, ReportArgs};
use crate::schedule::{self, ScheduleArgs};
use crate::validate::{self, ValidateCommand};
use crate::{analysis, demo, query, roles, up};

/// What long-running roles tell: our own notices, and only warnings of libraries; but not that sink
/// and maintenance commit to one table, which the Delta library warns of each time.
const TOLD_BY_ROLES: &str = "warn,driftline=info,driftline_collector=info,driftline_eventlog=info,\
     driftline_sink=info,driftline_analyzer=info,deltalake_core::kernel::transaction=error";

/// Driftline: this host's metrics every second, through an event log, into SQL.
#[derive(Debug, Parser)]
#[command(name = "driftline", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Where the log and the tables live [default: ./driftline-data]
    #[arg(long, value_name = "DIR", env = "DRIFTLINE_DATA", global = true)]
    data: Option<PathBuf>,
    /// The configuration [default: ./driftline.toml where it exists]
    #[arg(long, value_name = "FILE", env = "DRIFTLINE_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Kafka brokers, `host:port` with commas between them; without, everything stays on this machine
    #[arg(
        long,
        value_name = "BROKERS",
        env = "DRIFTLINE_KAFKA_BROKERS",
        global = true
    )]
    kafka_brokers: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole product on this machine: a baseline run, a slowed one, and what moved between them
    #[command(after_help = "Example:\n  driftline demo --exit")]
    Demo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: demo::DemoArgs,
    },
    /// Everything in one process: collector, sink, table maintenance, live detection
    #[command(after_help = "Example:\n  driftline up --data /var/lib/driftline")]
    Up {
        #[command(flatten)]
        common: Common,
    },
    /// Collect this host's metrics into the log, and forward it where Kafka is configured
    #[command(after_help = "Example:\n  driftline collect --kafka-brokers broker-1:9092")]
    Collect {
        #[command(flatten)]
        common: Common,
    },
    /// Write the log into the tables, exactly once, and keep the tables in shape
    #[command(after_help = "Example:\n  driftline sink --kafka-brokers broker-1:9092")]
    Sink {
        #[command(flatten)]
        common: Common,
        /// Commit what the log holds now, and end
        #[arg(long)]
        once: bool,
    },
    /// Ask the tables and the fresh tail of the log in SQL
    #[command(
        after_help = "Examples:\n  driftline query \"select metric, avg(value) from samples where ts > now() - interval '1 minute' group by metric\"\n  driftline query --at 2026-01-31T12:00:00Z \"select count(*) from samples\"\n  driftline query --table t='results/*.parquet' \"select count(*) from t\""
    )]
    Query {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        query: QueryArgs,
    },
    /// A prompt for SQL
    #[command(after_help = "Example:\n  driftline sql --data /var/lib/driftline")]
    Sql {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        sql: SqlArgs,
    },
    /// A one-shot analysis of this system, component by component and category by category
    #[command(after_help = "Example:\n  driftline analyze --for 5s")]
    Analyze {
        #[command(flatten)]
        common: Common,
        /// How long to look
        #[arg(long = "for", value_name = "TIME", value_parser = parse_time, default_value = "5s")]
        time: Duration,
        /// Every series, not only those that a person looks at first
        #[arg(long)]
        all: bool,
        /// table or json
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Keep what is usual for each series over the last while; `analyze` holds its values against it
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  driftline baseline --last 10m --name quiet-evening\n  driftline baseline list\n  driftline baseline show quiet-evening"
    )]
    Baseline {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        baseline: BaselineArgs,
    },
    /// Run a load test, record every operation, and report; exit code 3 when a threshold fails
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "Examples:\n  driftline target --listen 127.0.0.1:8080\n  driftline load loadgen/scenarios/api.toml --target http://127.0.0.1:8080\n  driftline load find-limit loadgen/scenarios/api.toml --target http://127.0.0.1:8080"
    )]
    Load {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        load: Box<LoadCommand>,
    },
    /// The report of a load run, rebuilt from its events
    #[command(
        after_help = "Example:\n  driftline report api-20260131t120000z --format html -o report.html"
    )]
    Report {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        report: ReportArgs,
    },
    /// Two load runs held against each other: what got slower, by how much, how sure; exit code 3
    /// when the second is worse, 4 when that cannot be said
    #[command(
        after_help = "Examples:\n  driftline compare api-before api-after\n  driftline compare before-1,before-2,before-3 after-1,after-2,after-3\n  driftline compare --window now-2h..now-1h --window now-1h..now\n  driftline compare --window now-2h..now-1h --window now-1h..now --canary host=web-3 --controls component=host"
    )]
    Compare {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        compare: CompareArgs,
    },
    /// Change points, anomalies and fleet-wide events, in CSV files or in the tables
    #[command(
        after_help = "Examples:\n  driftline detect --mode change-point --input history.csv --output found.csv\n  driftline detect --last 24h --metric system.cpu.utilization\n  tail -f history.csv | driftline detect --input - --stream"
    )]
    Detect {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        detect: DetectArgs,
    },
    /// The analysis of a day: what changed on it and lasted; exit code 3 when something got worse, 4
    /// when there is too little data
    #[command(
        after_help = "Examples:\n  driftline nightly\n  driftline nightly --date 2026-01-31 --format html -o report.html"
    )]
    Nightly {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        nightly: NightlyArgs,
    },
    /// What detection is worth on this installation: its own false alarms, and its power
    #[command(after_help = "Example:\n  driftline validate detection")]
    Validate {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        validate: ValidateCommand,
    },
    /// Run jobs by the clock, each due time exactly once, over restarts and kills
    #[command(
        after_help = "Examples:\n  driftline schedule\n  driftline schedule list\n  driftline schedule install --systemd"
    )]
    Schedule {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        schedule: ScheduleArgs,
    },
    /// What was found, and what has become of it
    #[command(
        after_help = "Examples:\n  driftline findings\n  driftline findings show change-0123456789abcdef\n  driftline findings resolve change-0123456789abcdef --as accepted"
    )]
    Findings {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        findings: FindingsCommand,
    },
    /// What to do about what was measured, by priority, with evidence, estimate and risk
    #[command(
        after_help = "Examples:\n  driftline recommend\n  driftline recommend --last 24h --format markdown -o todo.md"
    )]
    Recommend {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        recommend: RecommendArgs,
    },
    /// Apply recommendations safely: planned, verified against a baseline, kept or reverted
    #[command(
        after_help = "Examples:\n  driftline optimize plan\n  driftline optimize apply recommendation-0123456789abcdef\n  driftline optimize status\n  driftline optimize revert action-0123456789abcdef"
    )]
    Optimize {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        optimize: OptimizeArgs,
    },
    /// A mark in time, such as a deploy, that findings refer to
    #[command(
        after_help = "Examples:\n  driftline mark deploy version=1.4.2 service=checkout\n  driftline mark note -m \"moved to new racks\" --at 2026-01-31T12:00:00Z"
    )]
    Mark {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        mark: MarkArgs,
    },
    /// Bring results of k6, JMH or a CSV file into the same tables
    #[command(after_help = "Example:\n  driftline import k6 results.json")]
    Import {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        import: ImportArgs,
    },
    /// A small HTTP and WebSocket service to load, with tunable latency, capacity and faults
    #[command(
        after_help = "Example:\n  driftline target --listen 127.0.0.1:8080 --latency lognormal:5ms:0.5 --capacity 64"
    )]
    Target {
        #[command(flatten)]
        service: ServiceArgs,
    },
    /// Kafka topics
    #[command(after_help = "Example:\n  driftline topics create --kafka-brokers broker-1:9092")]
    Topics {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        action: Topics,
    },
    /// The configuration
    #[command(after_help = "Example:\n  driftline config check --config driftline.toml")]
    Config {
        #[command(flatten)]
        common: Common,
        #[command(subcommand)]
        action: ConfigAction,
    },
}

#[derive(Debug, Subcommand)]
enum Topics {
    /// Create the topics that are missing, with partitions and retention as configured
    Create,
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Say whether the configuration is valid, and what is wrong with it
    Check,
}

/// A command's configuration after file, environment and flags.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    /// Where it was read from, if it was.
    pub(crate) config_path: Option<PathBuf>,
    pub(crate) data: PathBuf,
}

impl Common {
    pub(crate) fn settings(self) -> anyhow::Result<Settings> {
        let config_path = Config::file(self.config);
        let mut config = Config::read(config_path.as_deref())?;
        if let Some(brokers) = self.kafka_brokers {
            match &mut config.kafka {
                Some(kafka) => kafka.brokers = brokers,
                None => config.kafka = Some(KafkaConfig::new(brokers)),
            }
        }
        let data = self
            .data
            .or(config.data.take())
            .unwrap_or_else(|| "driftline-data".into());
        Ok(Settings {
            config,
            config_path,
            data,
        })
    }
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let long_running = matches!(
            self.command,
            Command::Up { .. }
                | Command::Collect { .. }
                | Command::Sink { once: false, .. }
                | Command::Schedule { .. }
        );
        start_logging(if long_running { TOLD_BY_ROLES } else { "warn" });
        match self.command {
            Command::Demo { common, options } => demo::run(&common.settings()?, &options),
            Command::Up { common } => up::run(&common.settings()?),
            Command::Collect { common } => roles::collect(&common.settings()?),
            Command::Sink { common, once } => roles::sink(&common.settings()?, once),
            Command::Query { common, query } => query::run(&common.settings()?, query),
            Command::Sql { common, sql } => query::prompt(&common.settings()?, sql),
            Command::Analyze {
                common,
                time,
                all,
                format,
            } => analysis::analyze(&common.settings()?, time, all, format),
            Command::Baseline { common, baseline } => baseline::run(&common.settings()?, &baseline),
            Command::Load { common, load } => load::run(&common.settings()?, *load),
            Command::Report { common, report } => report::run(&common.settings()?, &report),
            Command::Compare { common, compare } => compare::run(&common.settings()?, &compare),
            Command::Detect { common, detect } => detect::run(&common.settings()?, &detect),
            Command::Nightly { common, nightly } => nightly::run(&common.settings()?, &nightly),
            Command::Validate { common, validate } => validate::run(&common.settings()?, &validate),
            Command::Schedule { common, schedule } => schedule::run(&common.settings()?, &schedule),
            Command::Recommend { common, recommend } => {
                recommend::run(&common.settings()?, &recommend)
            }
            Command::Optimize { common, optimize } => optimize::run(&common.settings()?, &optimize),
            Command::Findings { common, findings } => findings::run(&common.settings()?, &findings),
            Command::Mark { common, mark } => mark::run(&common.settings()?, &mark),
            Command::Import { common, import } => import::run(&common.settings()?, &import),
            Command::Target { service } => {
                driftline_loadgen::service::run(service)?;
                Ok(Outcome::Ok)
            }
            Command::Topics {
                common,
                action: Topics::Create,
            } => create(&common.settings()?),
            Command::Config {
                common,
                action: ConfigAction::Check,
            } => {
                common.settings()?;
                println!("the configuration is valid");
                Ok(Outcome::Ok)
            }
        }
    }
}

fn create(settings: &Settings) -> anyhow::Result<Outcome> {
    let kafka = settings.config.kafka.as_ref().context(
        "no broker is configured: name one with --kafka-brokers or kafka.brokers in driftline.toml",
    )?;
    for report in create_topics(kafka)? {
        println!(
            "{} {}",
            report.topic,
            if report.created { "created" } else { "existed" }
        );
    }
    Ok(Outcome::Ok)
}

/// A duration as in the configuration.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a whole number above 0 with ms, s, m or h, such as 5s".to_owned())
}

/// Notices go to stderr; `DRIFTLINE_LOG` sets what is told, as `tracing` filters.
fn start_logging(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DRIFTLINE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
