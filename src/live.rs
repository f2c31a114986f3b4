//! The live look as a role of `up`: every few seconds what is new is judged, findings go into the log
//! and regressions to the webhook, each once.
//!
//! What an onset is and what belongs together is decided in `driftline_analyzer::live`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use driftline_analyzer::live::{self, LiveOptions, Look, Untold, Watch};
use driftline_analyzer::{At, Finding};
use driftline_collector::Stop;
use driftline_collector::config::duration;
use serde::Deserialize;

use crate::cli::Settings;
use crate::roles::Running;
use crate::{facts, notify, query};

/// After a failed look the next one is so much later.
const PAUSE: Duration = Duration::from_secs(30);

/// How the live look is run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiveConfig {
    /// Whether it is run at all.
    pub(crate) enabled: bool,
    /// How often it looks.
    #[serde(with = "duration")]
    pub(crate) every: Duration,
    /// Changes below this percentage of the level before do not count.
    pub(crate) min_effect_pct: f64,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            every: Duration::from_secs(10),
            min_effect_pct: LiveOptions::default().min_effect_pct,
        }
    }
}

impl LiveConfig {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let range = Duration::from_secs(1)..=Duration::from_secs(600);
        if !range.contains(&self.every) {
            bail!("live.every must be 1s to 10m");
        }
        if !(self.min_effect_pct >= 0.0 && self.min_effect_pct.is_finite()) {
            bail!("live.min_effect_pct must be a number of at least 0");
        }
        Ok(())
    }
}

/// Starts the role, where it is wanted.
pub(crate) fn start(settings: &Settings, stop: &Stop) -> anyhow::Result<Option<Running<()>>> {
    if !settings.config.live.enabled {
        return Ok(None);
    }
    let (settings, stop) = (settings.clone(), stop.clone());
    let thread = thread::Builder::new()
        .name("live".to_owned())
        .spawn(move || run(&settings, &stop))
        .context("cannot start the thread of the live look")?;
    Ok(Some(thread))
}

/// Looks until a stop is requested. A look that fails is told, once until one succeeds; what could not
/// be kept is kept with a later one.
fn run(settings: &Settings, stop: &Stop) -> anyhow::Result<()> {
    let every = settings.config.live.every;
    let runtime = query::runtime()?;
    let mut watch = None;
    let mut untold = Untold::default();
    let mut failed = false;
    while !stop.wait(pause(every, failed)) {
        let begun = Instant::now();
        let outcome = runtime
            .block_on(look(settings, &mut watch))
            .and_then(|look| {
                tracing::debug!(
                    "looked at {} points of {} series ({} can be judged) in {} ms",
                    look.points,
                    look.series,
                    look.warm,
                    begun.elapsed().as_millis()
                );
                untold.add(look);
                facts::append(settings, &untold.events(facts::now_us()))?;
                let (told, came_apart) = untold.told();
                if came_apart {
                    watch = None;
                }
                tell(settings, &told)
            });
        match outcome {
            Ok(()) => failed = false,
            Err(error) if failed => tracing::debug!("the live look failed again: {error:#}"),
            Err(error) => {
                failed = true;
                tracing::warn!("the live look failed and goes on: {error:#}");
            }
        }
    }
    Ok(())
}

/// The time to the next whole interval of the wall clock, so that looks and steps keep their distance.
fn pause(every: Duration, failed: bool) -> Duration {
    let every_us = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
    // Samples of the last second of a step are durable a moment after it.
    let settle_us = LiveOptions::default().settle_s * 1_000_000;
    let left_us = every_us - (facts::now_us() - settle_us).rem_euclid(every_us);
    let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0));
    if failed { left + PAUSE } else { left }
}

async fn look(settings: &Settings, watch: &mut Option<Watch>) -> anyhow::Result<Look> {
    let engine = query::open(settings, At::Latest, &[]).await?;
    let now_us = facts::now_us();
    let watch = match watch {
        Some(watch) => watch,
        None => {
            let options = LiveOptions {
                min_effect_pct: settings.config.live.min_effect_pct,
                ..LiveOptions::default()
            };
            watch.insert(live::resume(&engine, options, now_us).await?)
        }
    };
    Ok(live::look(watch, &engine, now_us).await?)
}

/// Tells what stands in the log by now. What a webhook does not take is not told later; it stands in
/// `driftline findings`.
fn tell(settings: &Settings, look: &Look) -> anyhow::Result<()> {
    for finding in &look.opened {
        tracing::warn!("{} ({})", finding.title, finding.id);
    }
    for finding in &look.ended {
        tracing::info!("over: {} ({})", finding.title, finding.id);
    }
    let opened: Vec<&Finding> = look.opened.iter().collect();
    notify::tell(settings, &opened)?;
    let ended: Vec<&Finding> = look.ended.iter().collect();
    notify::tell_ended(settings, &ended)
}
