//! Recommendations as a role of `up`: rules are judged as they fall due. Where servers are named, what
//! the configuration allows is applied without a person, and what was kept is measured again after a
//! day and a week.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use driftline_analyzer::Window;
use driftline_analyzer::recommend::{self, Judge, RecommendOptions, Rules, Source};
use driftline_collector::Stop;
use driftline_optimizer::protocol::Damaged;
use driftline_optimizer::{OptimizeError, Optimizer};

use super::journal::LogJournal;
use super::seen::{Applied, Seen};
use super::{apply_automatic, optimizer, recheck, show};
use crate::cli::Settings;
use crate::roles::Running;
use crate::{facts, query};

/// How often the role looks whether an action is due.
const EVERY: Duration = Duration::from_secs(60);
/// Rules that are due are judged once in so many rounds; none asks for more.
const ROUNDS_PER_JUDGEMENT: u64 = 5;
/// What rules judge: the last hour.
const WINDOW_US: i64 = 3_600 * 1_000_000;

/// Starts the role.
pub(crate) fn start(settings: &Settings, stop: &Stop) -> anyhow::Result<Running<()>> {
    let (settings, stop) = (settings.clone(), stop.clone());
    thread::Builder::new()
        .name("optimizer".to_owned())
        .spawn(move || run(&settings, &stop))
        .context("cannot start the optimizer's thread")
}

/// Goes round until a stop is requested; the first time at once, since an earlier process may have been
/// stopped in the middle of an action.
fn run(settings: &Settings, stop: &Stop) -> anyhow::Result<()> {
    let runtime = query::runtime()?;
    let mut judged = Judged::default();
    let mut troubles = Troubles::default();
    for round in 1_u64.. {
        runtime.block_on(async {
            tokio::select! {
                () = go_round(settings, round, &mut judged, &mut troubles) => {}
                // Every step is in the log; the next start goes on.
                () = stopped(stop) => {}
            }
        });
        if stop.wait(EVERY) {
            break;
        }
    }
    Ok(())
}

/// What is kept from one judgement to the next.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// When each rule was judged last.
    last_us: BTreeMap<String, i64>,
    judge: Judge,
}

/// What failed in the last round, each part for itself, and what is known to be damaged.
#[derive(Debug, Default)]
struct Troubles {
    failed: BTreeSet<&'static str>,
    damaged: BTreeSet<String>,
}

impl Troubles {
    /// Tells a failure, once until the part succeeds.
    fn note(&mut self, part: &'static str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => {
                self.failed.remove(part);
            }
            Err(error) if self.failed.insert(part) => {
                tracing::warn!("{part} failed, and is tried again: {error:#}");
            }
            Err(error) => tracing::debug!("{part} failed again: {error:#}"),
        }
    }

    /// Tells once that an action is damaged.
    fn damaged(&mut self, damaged: &Damaged) {
        if self.damaged.insert(damaged.action.clone()) {
            tracing::warn!("{}", show::damaged(damaged));
        }
    }
}

async fn stopped(stop: &Stop) {
    while !stop.is_requested() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn go_round(settings: &Settings, round: u64, judged: &mut Judged, troubles: &mut Troubles) {
    if round.is_multiple_of(ROUNDS_PER_JUDGEMENT) {
        troubles.note("judging the rules", judge(settings, judged).await);
    }
    if !settings.config.optimizer.servers.is_empty() {
        let acted = act(settings, troubles).await;
        troubles.note("reading what there is to do", acted);
    }
}

/// Measures again what is suspected, goes on with what is under way or due, and applies what may be
/// applied without a person.
async fn act(settings: &Settings, troubles: &mut Troubles) -> anyhow::Result<()> {
    let optimizer = optimizer(settings, false)?;
    let seen = Seen::read(&optimizer).await?;
    for damaged in &seen.actions.damaged {
        troubles.damaged(damaged);
    }
    let measured = recheck(&optimizer, &seen).await;
    troubles.note("measuring again", told(&optimizer, measured));
    let gone_on = optimizer.resume(seen.actions.states).await;
    troubles.note("going on with actions", told(&optimizer, gone_on));
    let config = &settings.config.optimizer;
    if config.auto_approve && !config.dry_run {
        let applied = apply_automatic(&optimizer, seen.open).await;
        troubles.note("applying", told(&optimizer, applied));
    }
    Ok(())
}

/// Tells how each went; the first failure is that of the whole.
fn told(optimizer: &Optimizer<LogJournal>, all: Vec<Applied>) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for (id, applied) in all {
        match applied {
            Ok(state) => {
                tracing::info!("{}", show::ending(&state, &optimizer.next(&state)));
            }
            Err(OptimizeError::Refused(why)) => tracing::debug!("{id} is not applied: {why:?}"),
            Err(error) => outcome = outcome.and(Err(error).context(id)),
        }
    }
    outcome
}

/// Judges the rules that are due, and keeps what is new.
pub(super) async fn judge(settings: &Settings, judged: &mut Judged) -> anyhow::Result<()> {
    let until_us = facts::now_us();
    let options = RecommendOptions {
        rules: Rules::load(&settings.config.recommend)?,
        window: Window {
            from_us: until_us.saturating_sub(WINDOW_US),
            until_us,
        },
        source: Source::Auto,
        judged_us: judged.last_us.clone(),
    };
    let (report, held) = crate::recommend::judge(settings, &mut judged.judge, &options).await?;
    let events = recommend::events(&report, &options, &held, until_us);
    facts::append_from_task(settings, events).await?;
    let last_us = &mut judged.last_us;
    last_us.extend(report.judged.into_iter().map(|rule| (rule, until_us)));
    Ok(())
}
