//! `optimize`: recommendations planned, applied, verified, kept or reverted. The protocol is
//! `driftline_optimizer`'s; here it gets its memory, its recommendations and a face.

mod journal;
mod role;
mod show;

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use driftline_analyzer::{At, recommend};
use driftline_optimizer::gate::Approval;
use driftline_optimizer::protocol::{Closure, Next, State};
use driftline_optimizer::run::{Report, system_clock};
use driftline_optimizer::{OptimizeError, Optimizer, Recommendation};

use self::journal::LogJournal;
use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::query::Format;
use crate::{query, roles};

pub(crate) use role::start;

/// What is done with recommendations.
#[derive(Debug, Args)]
pub(crate) struct OptimizeArgs {
    #[command(subcommand)]
    action: OptimizeAction,
}

#[derive(Debug, Subcommand)]
enum OptimizeAction {
    /// What would be done, what would undo it, and what stands against it; changes nothing
    Plan {
        /// Recommendations [default: all open ones with an action]
        ids: Vec<String>,
        /// table or json
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Apply recommendations one after another, and keep or revert each by what is measured
    Apply {
        /// Recommendations
        #[arg(required_unless_present = "auto")]
        ids: Vec<String>,
        /// All open ones that the configuration allows to be applied without a person
        #[arg(long, conflicts_with = "ids")]
        auto: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Where actions stand: predicted beside actual
    Status {
        /// One action with its steps [default: all]
        id: Option<String>,
        /// table or json
        #[arg(long, default_value = "table")]
        format: Format,
    },
    /// Undo an action, whatever its verdict
    Revert {
        /// The action
        id: String,
        /// Why
        #[arg(long, short, default_value = "asked for by a person")]
        message: String,
    },
    /// Go on with what was interrupted, and measure again what is due after a day and a week
    Resume,
}

/// `driftline optimize`.
pub(crate) fn run(settings: &Settings, args: &OptimizeArgs) -> anyhow::Result<Outcome> {
    let runtime = query::runtime()?;
    match &args.action {
        OptimizeAction::Plan { ids, format } => {
            runtime.block_on(plan(settings, ids, *format))?;
            Ok(Outcome::Ok)
        }
        OptimizeAction::Status { id, format } => {
            runtime.block_on(status(settings, id.as_deref(), *format))?;
            Ok(Outcome::Ok)
        }
        OptimizeAction::Apply { ids, auto, yes } => {
            let outcome = runtime.block_on(interruptible(async {
                match auto {
                    true => apply_automatic(settings).await,
                    false => apply(settings, ids, *yes).await,
                }
            }));
            committed(settings, outcome)
        }
        OptimizeAction::Revert { id, message } => {
            let outcome = runtime.block_on(interruptible(revert(settings, id, message)));
            committed(settings, outcome)
        }
        OptimizeAction::Resume => {
            let outcome = runtime.block_on(interruptible(resume(settings)));
            committed(settings, outcome)
        }
    }
}

/// Brings the steps into the tables, however it went.
fn committed(settings: &Settings, outcome: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    if settings.config.kafka.is_none() {
        roles::commit_now(&settings.config, &settings.data)?;
    }
    outcome
}

/// The same, until Ctrl-C: every step is in the log, so that it can be gone on with.
async fn interruptible(
    work: impl Future<Output = anyhow::Result<Outcome>>,
) -> anyhow::Result<Outcome> {
    tokio::select! {
        outcome = work => outcome,
        heard = tokio::signal::ctrl_c() => {
            heard.context("signals cannot be heard")?;
            anyhow::bail!("interrupted; driftline optimize resume goes on or undoes")
        }
    }
}

fn optimizer(settings: &Settings, shown: bool) -> Result<Optimizer<LogJournal>, OptimizeError> {
    let journal = LogJournal::new(settings, shown);
    Optimizer::new(settings.config.optimizer.clone(), journal, system_clock)
}

/// A recommendation as it is held, and whether it can be read as one to apply.
struct Wanted {
    id: String,
    read: anyhow::Result<Recommendation>,
}

/// The open recommendations, the most worthwhile first.
async fn open(settings: &Settings) -> anyhow::Result<Vec<Wanted>> {
    let engine = query::open(settings, At::Latest, &[]).await?;
    let open = recommend::open(&engine).await?;
    let wanted = |one: recommend::Open| Wanted {
        read: Recommendation::from_json(&one.detail).map_err(anyhow::Error::from),
        id: one.id,
    };
    Ok(open.into_iter().map(wanted).collect())
}

/// Those that are named, in the order in which they are named.
async fn named(settings: &Settings, ids: &[String]) -> anyhow::Result<Vec<Recommendation>> {
    let mut open = open(settings).await?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let at = open.iter().position(|one| one.id == *id).ok_or_else(|| {
            UsageError(format!(
                "there is no open recommendation {id}; driftline recommend raises what is due, \
                 driftline optimize plan lists what can be applied"
            ))
        })?;
        let one = open.swap_remove(at);
        found.push(
            one.read
                .with_context(|| format!("{id} cannot be applied"))?,
        );
    }
    Ok(found)
}

async fn plan(settings: &Settings, ids: &[String], format: Format) -> anyhow::Result<()> {
    let all: Vec<Recommendation> = if ids.is_empty() {
        let mut all = Vec::new();
        for one in open(settings).await? {
            match one.read {
                Ok(read) if read.action.is_some() => all.push(read),
                Ok(_) => {}
                Err(error) => eprintln!("note: {} cannot be applied: {error:#}", one.id),
            }
        }
        all
    } else {
        named(settings, ids).await?
    };
    let optimizer = optimizer(settings, false)?;
    let mut plans = Vec::with_capacity(all.len());
    for recommendation in all {
        let report = optimizer.plan(std::slice::from_ref(&recommendation)).await;
        let report = report.map(|mut reports| reports.pop());
        plans.push((recommendation, report));
    }
    show::plans(&plans, format)
}

async fn apply(settings: &Settings, ids: &[String], yes: bool) -> anyhow::Result<Outcome> {
    let optimizer = optimizer(settings, true)?;
    let by = Approval::Person(std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned()));
    let mut worst = Outcome::Ok;
    for recommendation in named(settings, ids).await? {
        let mut reports = optimizer
            .plan(std::slice::from_ref(&recommendation))
            .await?;
        let report = reports.pop();
        eprint!("{}", show::plan(&recommendation, report.as_ref()));
        if !(yes || is_wanted(&recommendation.id, report.as_ref())?) {
            eprintln!("nothing was changed");
            continue;
        }
        let state = optimizer.apply(&recommendation, by.clone()).await?;
        worst = worse(worst, tell(&optimizer, &state));
    }
    Ok(worst)
}

async fn apply_automatic(settings: &Settings) -> anyhow::Result<Outcome> {
    let optimizer = optimizer(settings, true)?;
    let (mut worst, mut applied) = (Outcome::Ok, 0);
    for one in open(settings).await? {
        let Ok(recommendation) = one.read else {
            continue;
        };
        if recommendation.action.is_none() {
            continue;
        }
        match optimizer.apply(&recommendation, Approval::Automatic).await {
            Ok(state) => {
                applied += 1;
                worst = worse(worst, tell(&optimizer, &state));
            }
            Err(error) => eprintln!("{}: {error:#}", one.id),
        }
    }
    if applied == 0 {
        eprintln!("nothing was applied");
    }
    Ok(worst)
}

async fn status(settings: &Settings, id: Option<&str>, format: Format) -> anyhow::Result<()> {
    let optimizer = optimizer(settings, false)?;
    let states = match id {
        Some(id) => vec![known(&optimizer, id).await?],
        None => optimizer.states().await?,
    };
    let standing: Vec<(State, Next)> = states
        .into_iter()
        .map(|state| {
            let next = optimizer.next(&state);
            (state, next)
        })
        .collect();
    show::states(&standing, id.is_some(), format)
}

async fn known(optimizer: &Optimizer<LogJournal>, id: &str) -> anyhow::Result<State> {
    optimizer.status(id).await.map_err(|error| match error {
        OptimizeError::UnknownAction { .. } => UsageError(format!(
            "there is no action {id}; driftline optimize status lists them"
        ))
        .into(),
        error => error.into(),
    })
}

async fn revert(settings: &Settings, id: &str, message: &str) -> anyhow::Result<Outcome> {
    let optimizer = optimizer(settings, true)?;
    known(&optimizer, id).await?;
    let state = optimizer.revert(id, message).await?;
    tell(&optimizer, &state);
    match optimizer.next(&state) {
        Next::Closed(Closure::Reverted) => Ok(Outcome::Ok),
        _ => Ok(Outcome::Error),
    }
}

async fn resume(settings: &Settings) -> anyhow::Result<Outcome> {
    let optimizer = optimizer(settings, true)?;
    let mut worst = Outcome::Ok;
    let mut resumed = 0;
    for state in optimizer.states().await? {
        if optimizer.next(&state).rests() {
            continue;
        }
        resumed += 1;
        let state = optimizer.go_on(state).await?;
        worst = worse(worst, tell(&optimizer, &state));
    }
    if resumed == 0 {
        eprintln!("nothing is under way, and nothing is due");
    }
    Ok(worst)
}

/// Asks, where somebody can answer and nothing stands against it.
fn is_wanted(id: &str, report: Option<&Report>) -> anyhow::Result<bool> {
    if report.is_none_or(|report| !report.refusals.is_empty()) {
        return Ok(false);
    }
    if !std::io::stdin().is_terminal() {
        eprintln!("this was a dry run; driftline optimize apply {id} --yes applies it");
        return Ok(false);
    }
    eprint!("Apply it? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints how an action ended.
fn tell(optimizer: &Optimizer<LogJournal>, state: &State) -> Outcome {
    let next = optimizer.next(state);
    println!("{}", show::ending(state, &next));
    match next {
        Next::Closed(Closure::Kept) | Next::Wait { .. } => Outcome::Ok,
        Next::Closed(Closure::Stuck(_)) => Outcome::Error,
        _ => Outcome::Failed,
    }
}

/// What a caller must know of first.
fn worse(a: Outcome, b: Outcome) -> Outcome {
    match (a, b) {
        (Outcome::Error, _) | (_, Outcome::Error) => Outcome::Error,
        (Outcome::Failed, _) | (_, Outcome::Failed) => Outcome::Failed,
        _ => Outcome::Ok,
    }
}
