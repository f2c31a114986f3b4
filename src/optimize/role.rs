//! Recommendations as a role of `up`: rules are judged as they fall due. Where servers are named, what
//! the configuration allows is applied without a person, and what was kept is measured again after a
//! day and a week.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use driftline_analyzer::recommend::{self, Judge, RecommendOptions, Rules, Source};
use driftline_analyzer::{At, Window};
use driftline_collector::Stop;
use driftline_optimizer::protocol::State;
use driftline_optimizer::{OptimizeError, Optimizer};

use super::journal::LogJournal;
use super::{apply_automatic, optimizer, resume, show};
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

/// Goes round until a stop is requested.
fn run(settings: &Settings, stop: &Stop) -> anyhow::Result<()> {
    let runtime = query::runtime()?;
    let mut judged = Judged::default();
    let mut troubles = Troubles::default();
    let mut round = 0;
    while !stop.wait(EVERY) {
        round += 1;
        runtime.block_on(async {
            tokio::select! {
                () = go_round(settings, round, &mut judged, &mut troubles) => {}
                // Every step is in the log; the next start goes on.
                () = stopped(stop) => {}
            }
        });
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

/// What failed in the last round, each part for itself.
#[derive(Debug, Default)]
struct Troubles(BTreeSet<&'static str>);

impl Troubles {
    /// Tells a failure, once until the part succeeds.
    fn note(&mut self, part: &'static str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => {
                self.0.remove(part);
            }
            Err(error) if self.0.insert(part) => {
                tracing::warn!("{part} failed, and is tried again: {error:#}");
            }
            Err(error) => tracing::debug!("{part} failed again: {error:#}"),
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
        troubles.note("measuring again", recheck(settings).await);
        troubles.note("going on with actions", go_on(settings).await);
        troubles.note("applying", apply(settings).await);
    }
}

async fn go_on(settings: &Settings) -> anyhow::Result<()> {
    let optimizer = optimizer(settings, false)?;
    for (id, resumed) in resume(&optimizer).await? {
        let state = resumed.with_context(|| format!("{id} rests"))?;
        tell(&optimizer, &state);
    }
    Ok(())
}

async fn apply(settings: &Settings) -> anyhow::Result<()> {
    let config = &settings.config.optimizer;
    if !config.auto_approve || config.dry_run {
        return Ok(());
    }
    let optimizer = optimizer(settings, false)?;
    for (id, applied) in apply_automatic(settings, &optimizer).await? {
        match applied {
            Ok(state) => tell(&optimizer, &state),
            Err(OptimizeError::Refused(why)) => tracing::debug!("{id} is not applied: {why:?}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn tell(optimizer: &Optimizer<LogJournal>, state: &State) {
    tracing::info!("{}", show::ending(state, &optimizer.next(state)));
}

/// Measures actions again after which something got worse; one that does harm is undone without
/// asking.
async fn recheck(settings: &Settings) -> anyhow::Result<()> {
    let optimizer = optimizer(settings, false)?;
    let engine = query::open(settings, At::Latest, &[]).await?;
    for suspect in recommend::suspects(&engine).await? {
        tracing::warn!(
            "{} is measured again, since {} got worse after it ({})",
            suspect.action,
            suspect.title,
            suspect.finding
        );
        let state = optimizer.recheck(&suspect.action).await?;
        tell(&optimizer, &state);
    }
    Ok(())
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
