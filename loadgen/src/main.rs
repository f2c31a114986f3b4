//! `driftline-loadgen`: the load generator alone, for hosts that should stay lean.
//!
//! Arguments, signals and exit codes; everything else is the library's.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use driftline_loadgen::run::Launch;
use driftline_loadgen::run::args::{LoadArgs, LoadError, WorkerArgs, spool};
use driftline_loadgen::stop::Stop;
use driftline_loadgen::target::Target;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a process that was told twice to end.
const TOLD_TWICE: i32 = 130;

/// Loads HTTP and WebSocket services and records every operation in the event log.
#[derive(Debug, Parser)]
#[command(name = "driftline-loadgen", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where the log is
    #[arg(
        long,
        value_name = "DIR",
        env = "DRIFTLINE_DATA",
        default_value = "./driftline-data",
        global = true
    )]
    data: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario against a target; exits 3 when a threshold is broken
    #[command(
        after_help = "Example:\n  driftline-loadgen run scenarios/api.toml --target http://127.0.0.1:8080"
    )]
    Run(LoadArgs),
    /// Do a part of another process's run, on this or another host
    #[command(
        after_help = "Example:\n  driftline-loadgen worker --connect 10.0.0.5:7100 --token-file run.token"
    )]
    Worker(WorkerArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match execute(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("driftline-loadgen: {}", error.message());
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(cli: &Cli) -> Result<u8, LoadError> {
    let stop = Stop::new();
    stop_on_signals(stop.clone())?;
    match &cli.command {
        Command::Run(args) => {
            let launch = Launch::this(&["worker"])?;
            args.execute(&cli.data, spool(), Some(launch), Target::resolve, stop)
        }
        Command::Worker(args) => args.execute(&cli.data, spool(), stop).map(|()| 0),
    }
}

/// Stops in order on SIGINT and SIGTERM, from now on; at once when told a second time.
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
            let mut heard = || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                });
            };
            heard();
            stop.request();
            heard();
            std::process::exit(TOLD_TWICE);
        })?;
    Ok(())
}
