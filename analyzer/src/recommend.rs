//! Recommendations: every rule of `queries/recommendations/` over a window, its findings ordered by
//! what they would save, and what of them is new.
//!
//! Rules are SQL and stand in files; here they are run, held to their columns, and their confidence
//! is set right by what earlier actions truly saved. Applying anything is left to others.

mod confidence;
mod handover;
mod kept;
mod lifecycle;
mod rows;
mod rules;
mod show;
mod steps;
mod table;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::runtime::SpawnedTask;
use driftline_schemas::{Component, Event};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::compare::Window;
use crate::engine::{Engine, EngineError, Rows, Session};
use crate::rule::{Auto, Recommending, Risk, Rule, Verify};

use self::kept::Kept;

pub use self::confidence::{CLAIM_WEIGHT, Outcome, calibrated, confidence};
pub use self::handover::{Open, Suspect, open, steps, suspects};
pub use self::lifecycle::{Held, Lifecycle, State, held, lifecycle, raise};
pub use self::rules::{Rules, RulesConfig, RulesError};
pub use self::show::{to_json, to_markdown, to_table};
pub use self::window::Source;

/// Rows of one rule that are taken at most.
pub const MOST_ROWS: usize = 100;

/// What to judge.
#[derive(Debug, Clone)]
pub struct RecommendOptions {
    /// The rules.
    pub rules: Rules,
    /// The time that is judged.
    pub window: Window,
    /// What the window is read from.
    pub source: Source,
    /// When each rule was judged last: rules are left out until they are due again. Empty judges
    /// all of them.
    pub judged_us: BTreeMap<String, i64>,
}

/// One recommendation.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommendation {
    /// A fingerprint of rule, host, object and action: the same one tomorrow.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// What to do, in a few words.
    pub title: String,
    /// What is to be changed.
    pub component: Component,
    /// Where.
    pub host: String,
    /// The server that it is about, as it is named in the configuration.
    pub target: String,
    /// The object.
    pub subject: String,
    /// One sentence for a person.
    pub advice: String,
    /// A few numbers.
    pub evidence: String,
    /// Seconds per hour that would be saved, where that can be estimated.
    pub saved_s_per_h: Option<f64>,
    /// By which method.
    pub saved_method: Option<String>,
    /// What will be measured to verify it: a fraction of work or of the signal, or a gain of hits.
    pub predicted: Option<f64>,
    /// The interval of that, where it is known.
    pub interval: Option<(f64, f64)>,
    /// The statements that it is about.
    pub statements: Vec<i64>,
    /// What the rule itself claims, from 0 to 1.
    pub prior: f64,
    /// The same, set right by outcomes.
    pub confidence: f64,
    /// How many outcomes that rests on.
    pub outcomes: usize,
    /// The harm that it could do.
    pub risk: Risk,
    /// Whether it may be applied.
    pub auto: Auto,
    /// How it is seen that it helped.
    pub verify: Verify,
    /// How it is undone.
    pub undo: Option<String>,
    /// A typed action, where one can be prepared.
    pub action: Option<Value>,
    /// What was measured.
    pub observed: f64,
    /// What it was held against.
    pub threshold: f64,
    /// The unit of both.
    pub unit: String,
    /// Seconds per hour × confidence ÷ weight of the risk.
    pub priority: f64,
}

/// A rule that was not judged, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// The rule.
    pub rule: String,
    /// Why not.
    pub reason: String,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What to do, by priority.
    pub recommendations: Vec<Recommendation>,
    /// Rules that were judged.
    pub judged: Vec<String>,
    /// Rules whose inputs were not seen, or that are not due yet.
    pub waiting: Vec<Unjudged>,
    /// Rules that failed.
    pub failed: Vec<Unjudged>,
    /// Rules that found more than is taken, with how much they found.
    pub cut: Vec<(String, usize)>,
    /// How long its parts took: the tables that rules share, and each rule.
    pub took: Vec<Took>,
}

/// How long a part of a judgement took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Took {
    /// Which.
    pub of: String,
    /// Until it was known how to answer.
    pub planning: Duration,
    /// Until it was answered.
    pub reading: Duration,
}

impl Took {
    fn reading(of: &str, started: Instant) -> Self {
        Self {
            of: of.to_owned(),
            planning: Duration::ZERO,
            reading: started.elapsed(),
        }
    }
}

impl Unjudged {
    fn new(rule: &Rule, reason: String) -> Self {
        Self {
            rule: rule.id.clone(),
            reason,
        }
    }
}

/// Judges rules, and keeps how each is answered from one time to the next.
#[derive(Debug, Default)]
pub struct Judge {
    kept: Arc<Kept>,
}

impl Judge {
    /// Judges every rule. A rule that fails is told in the report and stops none of the others.
    ///
    /// The future is boxed so that it is compiled here, once, and not by each crate that waits for
    /// it.
    pub fn recommend<'a>(
        &'a mut self,
        engine: &'a Engine,
        options: &'a RecommendOptions,
    ) -> BoxFuture<'a, Result<Report, EngineError>> {
        Box::pin(async {
            let report = judge(&self.kept, engine, options).await;
            let rules = &options.rules;
            let there = rules.recommendations.iter().chain(&rules.windows);
            self.kept
                .rest(&there.map(|rule| rule.id.as_str()).collect());
            report
        })
    }
}

/// Judges every rule, once.
pub fn recommend<'a>(
    engine: &'a Engine,
    options: &'a RecommendOptions,
) -> BoxFuture<'a, Result<Report, EngineError>> {
    Box::pin(async { Judge::default().recommend(engine, options).await })
}

/// What a report adds to what is held already; see [`lifecycle()`].
pub fn events(
    report: &Report,
    options: &RecommendOptions,
    held: &[Held],
    now_us: i64,
) -> Vec<Event> {
    let every_s = |rule: &str| {
        let rules = options.rules.recommendations.iter();
        let found = rules
            .filter(|one| one.id == rule)
            .find_map(|one| one.recommending.as_ref());
        found.map_or(lifecycle::LEAST_LIFE_S, |keys| keys.every_s)
    };
    let lives = |rule: &str| lifecycle::life_us(every_s(rule));
    let judged: BTreeSet<&str> = report.judged.iter().map(String::as_str).collect();
    let cut: BTreeSet<&str> = report.cut.iter().map(|(rule, _)| rule.as_str()).collect();
    let told = Lifecycle {
        held,
        found: &report.recommendations,
        judged: &|rule| judged.contains(rule) && !cut.contains(rule),
        life_us: &lives,
        window: options.window,
    };
    lifecycle(&told, now_us)
}

async fn judge(
    kept: &Arc<Kept>,
    engine: &Engine,
    options: &RecommendOptions,
) -> Result<Report, EngineError> {
    let mut report = Report::default();
    let due = due(options, &mut report);
    let started = Instant::now();
    let session = Arc::new(engine.session()?);
    report.took.push(Took::reading("session", started));
    let started = Instant::now();
    let wanted = metrics(due.iter().map(|(_, keys)| *keys));
    let window = options.window;
    let source = options.source;
    let seen = window::add_window(kept, &session, engine, window, source, &wanted).await?;
    report.took.push(Took::reading("window", started));
    let seen = judged(due, &seen, &mut report);
    add_tables(kept, &session, engine, options, &seen, &mut report).await?;
    let started = Instant::now();
    let outcomes = confidence::outcomes(&session).await?;
    report.took.push(Took::reading("outcomes", started));
    let at_once = Arc::new(Semaphore::new(engine.partitions()));
    let asked: Vec<_> = seen
        .iter()
        .map(|(rule, _)| ask(kept, &session, rule, &at_once))
        .collect();
    for ((rule, keys), asked) in seen.iter().zip(asked) {
        let outcomes = outcomes
            .get(&rule.id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let found = match asked.join().await {
            Ok(Ok((rows, took))) => {
                report.took.push(took);
                rows::read(rule, keys, outcomes, &rows).map_err(|error| error.to_string())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(stopped) => Err(stopped.to_string()),
        };
        match found {
            Ok(found) => take(&mut report, rule, found),
            Err(reason) => report.failed.push(Unjudged::new(rule, reason)),
        }
    }
    sort(&mut report.recommendations);
    Ok(report)
}

fn due<'a>(
    options: &'a RecommendOptions,
    report: &mut Report,
) -> Vec<(&'a Rule, &'a Recommending)> {
    let mut due = Vec::new();
    for rule in &options.rules.recommendations {
        let Some(keys) = &rule.recommending else {
            continue;
        };
        let last = options.judged_us.get(&rule.id);
        let every_us = i64::try_from(keys.every_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000);
        if last.is_some_and(|last| options.window.until_us < last.saturating_add(every_us)) {
            let reason = "not due yet".to_owned();
            report.waiting.push(Unjudged::new(rule, reason));
            continue;
        }
        due.push((rule, keys));
    }
    due
}

/// The metrics that rules rest on.
fn metrics<'a>(rules: impl Iterator<Item = &'a Recommending>) -> window::Metrics {
    let all = rules.flat_map(|keys| keys.metrics());
    all.map(|(component, metric, _)| (component, metric.to_owned()))
        .collect()
}

/// The rules whose inputs were seen; the others wait.
fn judged<'a>(
    due: Vec<(&'a Rule, &'a Recommending)>,
    seen: &BTreeSet<(String, String)>,
    report: &mut Report,
) -> Vec<(&'a Rule, &'a Recommending)> {
    let mut judged = Vec::with_capacity(due.len());
    for (rule, keys) in due {
        match missing(keys, seen) {
            Some(reason) => report.waiting.push(Unjudged::new(rule, reason)),
            None => judged.push((rule, keys)),
        }
    }
    judged
}

/// The tables that a rule reads, and those that these read.
fn reads<'a>(rule: &'a Rule, windows: &'a [Rule]) -> BTreeSet<&'a str> {
    let mut all: BTreeSet<&str> = rule.reads.iter().map(String::as_str).collect();
    for window in windows.iter().rev() {
        if all.contains(window.id.as_str()) {
            all.extend(window.reads.iter().map(String::as_str));
        }
    }
    all
}

/// Adds the days before and the windows, as far as these rules read them.
async fn add_tables(
    kept: &Kept,
    session: &Session,
    engine: &Engine,
    options: &RecommendOptions,
    rules: &[(&Rule, &Recommending)],
    report: &mut Report,
) -> Result<(), EngineError> {
    let windows = &options.rules.windows;
    let read: BTreeSet<&str> = rules
        .iter()
        .flat_map(|(rule, _)| reads(rule, windows))
        .collect();
    let looking_back = rules
        .iter()
        .filter(|(rule, _)| reads(rule, windows).contains(window::HISTORY));
    let started = Instant::now();
    let wanted = metrics(looking_back.map(|(_, keys)| *keys));
    window::add_history(kept, session, engine, options.window, &wanted).await?;
    report.took.push(Took::reading("history", started));
    for window in windows
        .iter()
        .filter(|window| read.contains(window.id.as_str()))
    {
        match answer(kept, session, window).await {
            Ok((rows, took)) => {
                kept.fill_rows(session, &window.id, rows)?;
                report.took.push(took);
            }
            Err(error) => report.failed.push(Unjudged::new(window, error.to_string())),
        }
    }
    Ok(())
}

/// Why a rule cannot be judged, where it cannot.
fn missing(keys: &Recommending, seen: &BTreeSet<(String, String)>) -> Option<String> {
    let unseen: Vec<String> = keys
        .metrics()
        .filter(|(_, _, optional)| !optional)
        .map(|(component, metric, _)| (component.as_str().to_owned(), metric.to_owned()))
        .filter(|input| !seen.contains(input))
        .map(|(component, metric)| format!("{component}/{metric}"))
        .collect();
    (!unseen.is_empty()).then(|| format!("no samples of {} in the window", unseen.join(", ")))
}

/// Asks a rule in a task of its own; so many are answered at once as there are permits.
fn ask(
    kept: &Arc<Kept>,
    session: &Arc<Session>,
    rule: &Rule,
    at_once: &Arc<Semaphore>,
) -> SpawnedTask<Result<(Rows, Took), EngineError>> {
    let (kept, session) = (Arc::clone(kept), Arc::clone(session));
    let (rule, at_once) = (rule.clone(), Arc::clone(at_once));
    SpawnedTask::spawn(async move {
        let _permit = at_once.acquire().await.expect("nobody closes it");
        answer(&kept, &session, &rule).await
    })
}

async fn answer(kept: &Kept, session: &Session, rule: &Rule) -> Result<(Rows, Took), EngineError> {
    let started = Instant::now();
    let plan = kept.plan(session, rule, rule.bind(&[])?).await?;
    let planning = started.elapsed();
    let rows = session.collect(plan).await?;
    let took = Took {
        of: rule.id.clone(),
        planning,
        reading: started.elapsed() - planning,
    };
    Ok((rows, took))
}

fn take(report: &mut Report, rule: &Rule, mut found: Vec<Recommendation>) {
    report.judged.push(rule.id.clone());
    if found.len() > MOST_ROWS {
        report.cut.push((rule.id.clone(), found.len()));
    }
    sort(&mut found);
    report
        .recommendations
        .extend(found.into_iter().take(MOST_ROWS));
}

/// By priority; those whose saving is unknown come last, the surest and least risky first.
fn sort(recommendations: &mut [Recommendation]) {
    recommendations.sort_by(|a, b| {
        let surest = |one: &Recommendation| one.confidence / one.risk.weight();
        b.priority
            .total_cmp(&a.priority)
            .then_with(|| surest(b).total_cmp(&surest(a)))
            .then_with(|| {
                (&a.rule, &a.host, &a.target, &a.subject)
                    .cmp(&(&b.rule, &b.host, &b.target, &b.subject))
            })
    });
}

#[cfg(test)]
mod tests;
