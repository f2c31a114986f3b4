//! The options of a load test, the same in every binary that has the command, and what they do.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use driftline_eventlog::spool::{OnFull, SpoolConfig};

use super::local::with_causes;
use super::{
    Launch, LiveView, PlainView, Prepare, Remote, RemoteError, RunError, RunRequest,
    SECRET_VARIABLE, Secret, SecretError, View, WorkerRequest, json, run, table, work,
};
use crate::scenario::{Scenario, ScenarioError};
use crate::stop::Stop;
use crate::target::{Target, TargetError};

/// Most labels of a run.
const MAX_LABELS: usize = 64;

/// Makes a target of what the user wrote; the second argument names the public hosts allowed.
pub type Resolve = fn(&str, &[String]) -> Result<Target, TargetError>;

/// A load test.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The scenario, as a TOML file
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: PathBuf,
    /// Where load goes: http://, https://, ws:// or wss://, host and port
    #[arg(long, value_name = "URL", env = "DRIFTLINE_TARGET")]
    pub target: String,
    /// The run's name [default: the scenario's name and the time]
    #[arg(long = "run", value_name = "NAME")]
    pub run_name: Option<String>,
    /// Worker threads of each process [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Processes on this host [default: as many as the connections need file descriptors for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub processes: Option<u32>,
    /// Something to find the run by, as key=value; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// The commit of what is tested
    #[arg(long, value_name = "HASH", env = "DRIFTLINE_COMMIT")]
    pub commit: Option<String>,
    /// A public host that may be loaded; may be repeated
    #[arg(long = "allow-target", value_name = "HOST")]
    pub allow_target: Vec<String>,
    /// Go on when a threshold is broken that would end the run
    #[arg(long)]
    pub no_abort: bool,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = SummaryFormat::Table)]
    pub format: SummaryFormat,
    /// Progress lines also in a terminal
    #[arg(long)]
    pub plain: bool,
    /// Wait for worker processes of other hosts
    #[arg(long, value_name = "N", requires_all = ["listen", "token_file"], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub remote_workers: Option<u32>,
    /// Where worker processes of other hosts connect to
    #[arg(long, value_name = "HOST:PORT", requires = "remote_workers")]
    pub listen: Option<SocketAddr>,
    /// The file that the secret for worker processes is written to; copy it to their hosts
    #[arg(long, value_name = "FILE", requires = "remote_workers")]
    pub token_file: Option<PathBuf>,
}

/// A worker process.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// The coordinator
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: SocketAddr,
    /// The file with the secret that the coordinator has written
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// How a summary is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SummaryFormat {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Too many labels.
    #[error("{0} labels are too many: use at most {MAX_LABELS}")]
    Labels(usize),
    /// No secret was given.
    #[error("a worker process needs the secret of its run: pass --token-file")]
    NoSecret,
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The worker process.
    #[error(transparent)]
    Worker(#[from] RemoteError),
    /// The terminal, or where the summary goes.
    #[error("cannot write to the terminal or to standard output")]
    Output(#[from] io::Error),
}

impl LoadError {
    /// The exit code: 2 for what was asked for, 1 for what failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Scenario(_)
            | Self::Target(TargetError::Invalid { .. } | TargetError::NotAllowed { .. })
            | Self::Labels(_)
            | Self::NoSecret
            | Self::Run(RunError::Name(_) | RunError::Descriptors(_)) => 2,
            Self::Target(TargetError::Resolve { .. })
            | Self::Secret(_)
            | Self::Run(_)
            | Self::Worker(_)
            | Self::Output(_) => 1,
        }
    }

    /// The message, with those of its causes.
    pub fn message(&self) -> String {
        with_causes(self)
    }
}

/// How a run's spool uses its disk when nothing else is said: what is full refuses, so that nothing
/// that was recorded is forgotten to make room.
pub fn spool() -> SpoolConfig {
    SpoolConfig {
        on_full: OnFull::Refuse,
        ..SpoolConfig::default()
    }
}

impl LoadArgs {
    /// Runs the scenario, prints the summary to standard output and says the exit code. `launch`
    /// starts further processes of this program.
    pub fn execute(
        &self,
        data: &Path,
        spool: SpoolConfig,
        launch: Option<Launch>,
        resolve: Resolve,
        stop: Stop,
    ) -> Result<u8, LoadError> {
        let request = self.request(data, spool, launch, resolve, stop)?;
        let outcome = if io::stderr().is_terminal() && !self.plain {
            let mut view = LiveView::new()?;
            // The view is dropped, and the terminal given back, before anything is printed.
            let outcome = run(&request, &mut view);
            drop(view);
            outcome?
        } else {
            run(&request, &mut PlainView::new() as &mut dyn View)?
        };
        let mut out = io::stdout().lock();
        match self.format {
            SummaryFormat::Json => writeln!(out, "{}", json(&outcome))?,
            SummaryFormat::Table => write!(out, "{}", table(&outcome, &request.scenario))?,
        }
        out.flush()?;
        Ok(outcome.verdict().exit_code())
    }

    /// The run that these options ask for.
    pub fn request(
        &self,
        data: &Path,
        spool: SpoolConfig,
        launch: Option<Launch>,
        resolve: Resolve,
        stop: Stop,
    ) -> Result<RunRequest, LoadError> {
        if self.labels.len() > MAX_LABELS {
            return Err(LoadError::Labels(self.labels.len()));
        }
        let scenario = Scenario::read(&self.scenario)?;
        let target = resolve(&self.target, &self.allow_target)?;
        let remote = match (self.listen, self.remote_workers, &self.token_file) {
            (Some(listen), Some(processes), Some(token_file)) => Some(Remote {
                listen,
                processes,
                token_file: token_file.clone(),
            }),
            // The options require one another.
            _ => None,
        };
        let path = std::path::absolute(&self.scenario)?;
        Ok(RunRequest {
            run: self.run_name.clone(),
            spool,
            workers: self.workers,
            processes: self.processes,
            launch,
            remote,
            path: Some(path),
            labels: self.labels.clone(),
            commit: self.commit.clone(),
            abort: !self.no_abort,
            stop,
            ..RunRequest::new(Arc::new(scenario), Arc::new(target), data)
        })
    }
}

impl WorkerArgs {
    /// Does this process's part of a run.
    pub fn execute(&self, data: &Path, spool: SpoolConfig, stop: Stop) -> Result<(), LoadError> {
        let secret = match &self.token_file {
            Some(path) => Secret::read(path)?,
            None => {
                let text = std::env::var(SECRET_VARIABLE).map_err(|_| LoadError::NoSecret)?;
                Secret::parse(&text)?
            }
        };
        Ok(work(&WorkerRequest {
            coordinator: self.connect,
            secret,
            data: data.to_owned(),
            spool,
            spawn: crate::worker::spawn,
            read: read_scenario,
            stop,
        })?)
    }
}

/// The scenario as the coordinator has it, with feeds and certificates from this host: from the
/// directory of the scenario's file where that is here, otherwise from the working directory.
fn read_scenario(prepare: &Prepare) -> Result<Scenario, String> {
    let here = Path::new("");
    let base = prepare.path.as_deref().and_then(Path::parent);
    let base = base.filter(|base| base.is_dir()).unwrap_or(here);
    Scenario::parse(&prepare.text, base).map_err(|error| with_causes(&error))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::run::testing;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn parse(arguments: &[&str]) -> Result<LoadArgs, clap::Error> {
        let all = ["load", "s.toml", "--target", "http://127.0.0.1:1"];
        let all = all.iter().chain(arguments);
        Cli::try_parse_from(all).map(|cli| cli.load)
    }

    #[test]
    fn options_become_a_request() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("s.toml");
        let text =
            "name = \"s\"\n[[stages]]\nduration = \"1s\"\nrate = 1\n[[requests]]\npath = \"/\"\n";
        std::fs::write(&file, text).expect("it can be written");
        let mut args = parse(&[
            "--label",
            "a=b=c",
            "--run",
            "n-1",
            "--workers",
            "2",
            "--no-abort",
        ])
        .expect("they are right");
        args.scenario = file;
        let request = args
            .request(
                directory.path(),
                spool(),
                None,
                |_, _| Ok(testing::target()),
                Stop::new(),
            )
            .expect("all is there");
        assert_eq!(request.labels, [("a".to_owned(), "b=c".to_owned())]);
        assert_eq!(request.run.as_deref(), Some("n-1"));
        assert_eq!((request.workers, request.abort), (Some(2), false));
        assert_eq!(request.scenario.name, "s");
        assert_eq!(request.spool.on_full, OnFull::Refuse);
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in [
            &["--label", "a"][..],
            &["--workers", "0"],
            &["--remote-workers", "2"],
            &["--listen", "127.0.0.1:0"],
            &["--format", "xml"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?} was taken");
        }
        parse(&[]).expect("everything has a default");
    }

    #[test]
    fn a_missing_scenario_is_a_usage_error_and_a_lost_coordinator_is_not() {
        let args = parse(&[]).expect("they are right");
        let error = args
            .request(
                Path::new(""),
                spool(),
                None,
                |_, _| Ok(testing::target()),
                Stop::new(),
            )
            .expect_err("there is no such file");
        assert_eq!(error.exit_code(), 2, "{}", error.message());
        let gone = LoadError::Worker(RemoteError::Gone("x".to_owned()));
        assert_eq!(gone.exit_code(), 1);
    }
}
