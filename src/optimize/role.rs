//! The optimizer as a role of `up`: rules are judged as they fall due, what the configuration allows
//! is applied without a person, and what was kept is measured again after a day and a week.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use driftline_analyzer::recommend::{self, RecommendOptions, Rules, Source, held};
use driftline_analyzer::{At, Window};
use driftline_collector::Stop;

use super::{apply_automatic, resume};
use crate::cli::Settings;
use crate::roles::Running;
use crate::{facts, query};

/// How often the role looks whether something is due.
const EVERY: Duration = Duration::from_secs(60);
/// What rules judge: the last hour.
const WINDOW_US: i64 = 3_600 * 1_000_000;

/// Starts the role, where something may be optimized: servers are named.
pub(crate) fn start(settings: &Settings, stop: &Stop) -> anyhow::Result<Option<Running<()>>> {
    if settings.config.optimizer.servers.is_empty() {
        return Ok(None);
    }
    let (settings, stop) = (settings.clone(), stop.clone());
    let thread = thread::Builder::new()
        .name("optimizer".to_owned())
        .spawn(move || run(&settings, &stop))
        .context("cannot start the optimizer's thread")?;
    Ok(Some(thread))
}

/// Goes round until a stop is requested. A round that fails is told, once until one succeeds.
fn run(settings: &Settings, stop: &Stop) -> anyhow::Result<()> {
    let runtime = query::runtime()?;
    let mut judged_us = BTreeMap::new();
    let mut failed = false;
    while !stop.wait(EVERY) {
        let round = runtime.block_on(async {
            let work = round(settings, &mut judged_us);
            tokio::select! {
                done = work => done,
                // Every step is in the log; the next start goes on.
                () = stopped(stop) => Ok(()),
            }
        });
        match round {
            Ok(()) => failed = false,
            Err(error) if failed => tracing::debug!("the optimizer failed again: {error:#}"),
            Err(error) => {
                failed = true;
                tracing::warn!("the optimizer failed and goes on: {error:#}");
            }
        }
    }
    Ok(())
}

async fn stopped(stop: &Stop) {
    while !stop.is_requested() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn round(settings: &Settings, judged_us: &mut BTreeMap<String, i64>) -> anyhow::Result<()> {
    resume(settings).await?;
    judge(settings, judged_us).await?;
    let config = &settings.config.optimizer;
    if config.auto_approve && !config.dry_run {
        apply_automatic(settings).await?;
    }
    Ok(())
}

/// Judges the rules that are due, and keeps what is new.
async fn judge(settings: &Settings, judged_us: &mut BTreeMap<String, i64>) -> anyhow::Result<()> {
    let until_us = facts::now_us();
    let options = RecommendOptions {
        rules: Rules::load(&settings.config.recommend)?,
        window: Window {
            from_us: until_us.saturating_sub(WINDOW_US),
            until_us,
        },
        source: Source::Auto,
        judged_us: judged_us.clone(),
    };
    let engine = query::open(settings, At::Latest, &[]).await?;
    let report = recommend::recommend(&engine, &options).await?;
    let held = held(&engine).await?;
    let events = recommend::events(&report, &options, &held, until_us);
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || facts::append(&settings, &events)).await??;
    judged_us.extend(report.judged.into_iter().map(|rule| (rule, until_us)));
    Ok(())
}
