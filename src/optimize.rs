//! `optimize`: recommendations planned, applied, verified, kept or reverted. The protocol is
//! `driftline_optimizer`'s; here it gets its memory, its recommendations and a face.

mod journal;
mod role;
mod seen;
mod show;
mod warm;

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use driftline_analyzer::At;
use driftline_optimizer::gate::Approval;
use driftline_optimizer::protocol::{Actions, Closure, Next, State};
use driftline_optimizer::run::{Report, system_clock};
use driftline_optimizer::{OptimizeError, Optimizer, Recommendation};

pub(crate) use self::journal::LogJournal;
use self::seen::{Applied, Seen, Wanted};
use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::query::Format;
use crate::{facts, query, roles};

pub(crate) use role::start;
pub(crate) use show::judged as verdict;

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
        /// Judge every rule, and apply all that the configuration allows to be applied without a person
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
    /// Observe which keys of a Redis server are asked for, tell what a larger or a warmer cache would
    /// give, and recommend warming where it pays
    #[command(
        after_help = "Example:\n  driftline optimize warm cache --pattern 'order:*' --for 10s"
    )]
    Warm(warm::WarmArgs),
    /// Go on with what was interrupted, and measure again what is due after a day and a week, or what
    /// something got worse after
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
                    true => apply_all(settings).await,
                    false => apply(settings, ids, *yes).await,
                }
            }));
            committed(settings, outcome)
        }
        OptimizeAction::Revert { id, message } => {
            let outcome = runtime.block_on(interruptible(revert(settings, id, message)));
            committed(settings, outcome)
        }
        OptimizeAction::Warm(args) => {
            let outcome = runtime.block_on(interruptible(warm::run(settings, args)));
            committed(settings, outcome)
        }
        OptimizeAction::Resume => {
            let outcome = runtime.block_on(interruptible(async {
                let optimizer = optimizer(settings, true)?;
                let seen = Seen::read(&optimizer).await?;
                for damaged in &seen.actions.damaged {
                    eprintln!("note: {}", show::damaged(damaged));
                }
                let mut resumed = recheck(&optimizer, &seen).await;
                resumed.extend(optimizer.resume(seen.actions.states).await);
                if resumed.is_empty() {
                    eprintln!("nothing is under way, and nothing is due");
                }
                let told = resumed.iter().map(|(id, resumed)| match resumed {
                    Ok(state) => tell(&optimizer, state),
                    Err(error) => {
                        eprintln!("{id}: {error}");
                        Outcome::Error
                    }
                });
                Ok(told.fold(Outcome::Ok, worse))
            }));
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

/// The optimizer over the log; with `shown`, its steps are told while they are taken.
pub(crate) fn optimizer(
    settings: &Settings,
    shown: bool,
) -> Result<Optimizer<LogJournal>, OptimizeError> {
    let journal = LogJournal::new(settings, shown);
    Optimizer::new(settings.config.optimizer.clone(), journal, system_clock)
}

/// Judges the rules; what one of them recommends for a server and can be applied, if anything.
pub(crate) async fn judged(
    settings: &Settings,
    rule: &str,
    server: &str,
) -> anyhow::Result<Option<Recommendation>> {
    role::judge(settings, &mut role::Judged::default()).await?;
    let engine = query::open(settings, At::Latest, &[]).await?;
    let open = seen::open(&engine).await?;
    let mut readable = open.into_iter().filter_map(|one| one.read.ok());
    Ok(readable.find(|one| one.rule == rule && one.target == server && one.action.is_some()))
}

async fn plan(settings: &Settings, ids: &[String], format: Format) -> anyhow::Result<()> {
    let optimizer = optimizer(settings, false)?;
    let mut seen = Seen::read(&optimizer).await?;
    let all: Vec<Recommendation> = if ids.is_empty() {
        let mut all = Vec::new();
        for one in seen.open {
            match one.read {
                Ok(read) if read.action.is_some() => all.push(read),
                Ok(_) => {}
                Err(error) => eprintln!("note: {} cannot be applied: {error:#}", one.id),
            }
        }
        all
    } else {
        seen.named(ids)?
    };
    let mut plans = Vec::with_capacity(all.len());
    for recommendation in all {
        let one = std::slice::from_ref(&recommendation);
        let report = optimizer.plan(one, &seen.actions.states).await;
        let report = report.map(|mut reports| reports.pop());
        plans.push((recommendation, report));
    }
    show::plans(&plans, format)
}

async fn apply(settings: &Settings, ids: &[String], yes: bool) -> anyhow::Result<Outcome> {
    let optimizer = optimizer(settings, true)?;
    let by = Approval::Person(facts::person());
    let mut worst = Outcome::Ok;
    let mut seen = Seen::read(&optimizer).await?;
    for recommendation in seen.named(ids)? {
        let one = std::slice::from_ref(&recommendation);
        let report = optimizer.plan(one, &seen.actions.states).await?.pop();
        eprint!("{}", show::plan(&recommendation, report.as_ref()));
        if !(yes || is_wanted(&recommendation.id, report.as_ref())?) {
            eprintln!("nothing was changed");
            continue;
        }
        let state = optimizer.apply(&recommendation, by.clone()).await?;
        worst = worse(worst, tell(&optimizer, &state));
        seen.actions.states.push(state);
    }
    Ok(worst)
}

/// Judges the rules and applies what the configuration allows; says how each went.
async fn apply_all(settings: &Settings) -> anyhow::Result<Outcome> {
    role::judge(settings, &mut role::Judged::default()).await?;
    let optimizer = optimizer(settings, true)?;
    let all = apply_automatic(&optimizer, Seen::read(&optimizer).await?.open).await;
    if !all.iter().any(|(_, applied)| applied.is_ok()) {
        eprintln!("nothing was applied");
    }
    let told = all.iter().map(|(id, applied)| match applied {
        Ok(state) => tell(&optimizer, state),
        Err(error) => {
            eprintln!("{id}: {error}");
            Outcome::Ok
        }
    });
    Ok(told.fold(Outcome::Ok, worse))
}

/// Applies each of these that the configuration allows to be applied without a person.
async fn apply_automatic(optimizer: &Optimizer<LogJournal>, open: Vec<Wanted>) -> Vec<Applied> {
    let mut all = Vec::new();
    for one in open {
        let Ok(recommendation) = one.read else {
            continue;
        };
        if recommendation.action.is_some() {
            let applied = optimizer.apply(&recommendation, Approval::Automatic).await;
            all.push((one.id, applied));
        }
    }
    all
}

/// Measures actions again after which something got worse; one that does harm is undone without asking.
async fn recheck(optimizer: &Optimizer<LogJournal>, seen: &Seen) -> Vec<Applied> {
    let mut all = Vec::new();
    for (state, suspect) in seen.suspected(optimizer) {
        tracing::warn!(
            "{} is measured again, since {} got worse after it ({})",
            suspect.action,
            suspect.title,
            suspect.finding
        );
        all.push((state.action.clone(), optimizer.recheck(state).await));
    }
    all
}

async fn status(settings: &Settings, id: Option<&str>, format: Format) -> anyhow::Result<()> {
    let optimizer = optimizer(settings, false)?;
    let actions = match id {
        Some(id) => Actions {
            states: vec![optimizer.status(id).await.map_err(unknown)?],
            damaged: Vec::new(),
        },
        None => optimizer.actions().await?,
    };
    let standing: Vec<(State, Next)> = actions
        .states
        .into_iter()
        .map(|state| {
            let next = optimizer.next(&state);
            (state, next)
        })
        .collect();
    show::states(&standing, &actions.damaged, id.is_some(), format)
}

/// An action that is not there is a mistake of whoever names it.
fn unknown(error: OptimizeError) -> anyhow::Error {
    match error {
        OptimizeError::UnknownAction { id } => UsageError(format!(
            "there is no action {id}; driftline optimize status lists them"
        ))
        .into(),
        error => error.into(),
    }
}

async fn revert(settings: &Settings, id: &str, message: &str) -> anyhow::Result<Outcome> {
    let optimizer = optimizer(settings, true)?;
    let state = optimizer.revert(id, message).await.map_err(unknown)?;
    tell(&optimizer, &state);
    match optimizer.next(&state) {
        Next::Closed(Closure::Reverted) => Ok(Outcome::Ok),
        _ => Ok(Outcome::Error),
    }
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
