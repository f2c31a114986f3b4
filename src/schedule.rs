//! `schedule`: jobs by the clock, as the configuration names them, each as a command of this binary.
//! When a job is due and what is written down about it is decided in `driftline_analyzer::schedule`.

mod config;
mod log;
mod show;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use driftline_analyzer::schedule::{
    Environment, Installation, Job, Launcher, Until, kubernetes, serve, systemd,
};
use driftline_sink::Clock;

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::query::Format;
use crate::roles;
use crate::stopping::Stopping;

use self::log::JobLog;
pub(crate) use config::ScheduleConfig;

/// Where ledgers and leases are kept, below the data directory.
const DIRECTORY: &str = "schedule";

/// What is scheduled, or asked of the schedule.
#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    #[command(subcommand)]
    question: Option<Question>,
    /// Run what is due by now to its end, retries included, and end: what a timer calls
    #[arg(long)]
    once: bool,
    /// Only this job; may be given several times [default: all]
    #[arg(long = "job", value_name = "NAME", global = true)]
    jobs: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// The jobs, with their last and their next run
    List {
        /// table or json
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// The runs that are over, the latest last
    History {
        /// At most so many
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        last: usize,
        /// table or json
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Print what makes systemd or Kubernetes call `schedule --once` at the right times
    #[command(
        after_help = "Examples:\n  driftline schedule install --systemd\n  driftline schedule install --kubernetes --image registry.example/driftline:0.1.0 | kubectl apply -f -"
    )]
    Install(Install),
}

#[derive(Debug, Args)]
struct Install {
    #[command(flatten)]
    target: Target,
    /// The container image, for Kubernetes
    #[arg(long, default_value = concat!("driftline:", env!("CARGO_PKG_VERSION")), value_name = "IMAGE")]
    image: String,
    /// The installed binary, for systemd [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Who calls.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// A service and a timer for each job
    #[arg(long)]
    systemd: bool,
    /// A CronJob for each job
    #[arg(long)]
    kubernetes: bool,
}

/// `driftline schedule`.
pub(crate) fn run(settings: &Settings, args: &ScheduleArgs) -> anyhow::Result<Outcome> {
    let config = &settings.config;
    let jobs = chosen(config.schedule.jobs(config.nightly.zone())?, &args.jobs)?;
    if jobs.is_empty() {
        bail!("no job is configured: add [[schedule.jobs]] to driftline.toml");
    }
    let directory = settings.data.join(DIRECTORY);
    let now_us = Clock::system().now_us();
    match &args.question {
        None => serve_jobs(settings, &jobs, &directory, args.once),
        Some(_) if args.once => bail!(UsageError(
            "--once runs what is due; leave it out to look at the schedule".to_owned()
        )),
        Some(Question::List { format }) => show::list(&jobs, &directory, now_us, *format),
        Some(Question::History { last, format }) => {
            show::history(&jobs, &directory, *last, *format)
        }
        Some(Question::Install(install)) => print_installation(settings, &jobs, install),
    }
}

fn chosen(jobs: Vec<Job>, names: &[String]) -> anyhow::Result<Vec<Job>> {
    let known = |name: &&String| jobs.iter().any(|job| job.name() == name.as_str());
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let known: Vec<&str> = jobs.iter().map(Job::name).collect();
        bail!(UsageError(format!(
            "no job is called {unknown:?}; the configuration has {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        )));
    }
    let wanted = |job: &Job| names.is_empty() || names.iter().any(|name| name == job.name());
    Ok(jobs.into_iter().filter(wanted).collect())
}

fn serve_jobs(
    settings: &Settings,
    jobs: &[Job],
    directory: &Path,
    once: bool,
) -> anyhow::Result<Outcome> {
    roles::prepare(&settings.data)?;
    let stopping = Stopping::on_signals()?;
    let stop = &stopping.collector;
    let clock = Clock::system();
    let launcher = Launcher {
        program: std::env::current_exe().context("cannot find this program's own file")?,
        environment: environment(settings)?,
        directory: directory.to_path_buf(),
    };
    let wait = |time: Duration| stop.wait(time);
    let log = JobLog::new(settings);
    let served = serve(
        jobs,
        directory,
        if once { Until::Settled } else { Until::Stopped },
        Environment {
            now_us: &|| clock.now_us(),
            wait: &wait,
            stop: &|| stop.request(),
            run: &|attempt| launcher.run(attempt, &wait),
            told: &|job, record| log.tell(job, record, &wait),
        },
    )?;
    for busy in &served.busy {
        eprintln!(
            "note: {} is in the hands of process {}",
            busy.job, busy.holder
        );
    }
    eprintln!(
        "{} finished, {} failed, {} skipped",
        served.finished, served.failed, served.skipped
    );
    // Failures of a scheduler that ran for weeks are not those of its end.
    Ok(if once && served.failed > 0 {
        Outcome::Error
    } else {
        Outcome::Ok
    })
}

/// What makes a command work on the same data with the same configuration as this process.
fn environment(settings: &Settings) -> anyhow::Result<Vec<(OsString, OsString)>> {
    let data = absolute(&settings.data)?;
    let mut environment = vec![("DRIFTLINE_DATA".into(), data.into_os_string())];
    if let Some(config) = &settings.config_path {
        environment.push((
            "DRIFTLINE_CONFIG".into(),
            absolute(config)?.into_os_string(),
        ));
    }
    if let Some(kafka) = &settings.config.kafka {
        environment.push((
            "DRIFTLINE_KAFKA_BROKERS".into(),
            kafka.brokers.clone().into(),
        ));
    }
    Ok(environment)
}

fn print_installation(
    settings: &Settings,
    jobs: &[Job],
    install: &Install,
) -> anyhow::Result<Outcome> {
    let binary = match &install.binary {
        Some(binary) => absolute(binary)?,
        None => std::env::current_exe().context("cannot find this program's own file")?,
    };
    let config = settings.config_path.as_deref().map(absolute).transpose()?;
    let installation = Installation {
        binary: binary.display().to_string(),
        data: absolute(&settings.data)?.display().to_string(),
        config: config.map(|path| path.display().to_string()),
        image: install.image.clone(),
    };
    let text = if install.target.systemd {
        systemd(jobs, &installation)?
    } else {
        kubernetes(jobs, &installation)?
    };
    print!("{text}");
    Ok(Outcome::Ok)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))
}
