//! The one binary: parse, run, exit code. Everything else is in the modules and the crates.

mod analysis;
mod baseline;
mod cli;
mod compare;
mod config;
mod demo;
mod detect;
mod exit;
mod facts;
mod findings;
mod human;
mod import;
mod live;
mod load;
mod mark;
mod nightly;
mod notify;
mod optimize;
mod query;
mod recommend;
mod report;
mod roles;
mod schedule;
mod stopping;
mod up;
mod validate;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::exit::Outcome;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; everything else is a usage error.
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            let printed = error.print();
            return if asked && printed.is_ok() {
                ExitCode::SUCCESS
            } else {
                Outcome::Usage.into()
            };
        }
    };
    match cli.run() {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            exit::outcome_of(&error).into()
        }
    }
}
