//! Recommendations: every rule of `queries/recommendations/` over a window, its findings ordered by
//! what they would save, and what of them is new.
//!
//! Rules are SQL and stand in files; here they are run, held to their columns, and their confidence
//! is set right by what earlier actions truly saved. Applying anything is left to others.

mod confidence;
mod handover;
mod lifecycle;
mod rows;
mod rules;
mod show;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use driftline_schemas::{Component, Event};
use serde_json::Value;

use crate::compare::Window;
use crate::engine::{Engine, EngineError};
use crate::rule::{Auto, Recommending, Risk, Rule, Verify, timestamp};

pub use self::confidence::{CLAIM_WEIGHT, Outcome, calibrated};
pub use self::handover::{Open, open, steps};
pub use self::lifecycle::{Held, Lifecycle, State, held, lifecycle};
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
}

/// Judges every rule. A rule that fails is told in the report and stops none of the others.
pub async fn recommend(engine: &Engine, options: &RecommendOptions) -> Result<Report, EngineError> {
    let mut report = Report::default();
    let due: Vec<(&Rule, &Recommending)> = due(options, &mut report);
    let wanted = wanted(&due, &options.rules.windows);
    let tables = window::tables(engine, options.window, options.source, &wanted).await?;
    let session = engine.with_tables(tables).await?;
    for window in &options.rules.windows {
        if let Err(error) = session.add_rule_view(window).await {
            report.failed.push(Unjudged {
                rule: window.id.clone(),
                reason: error.to_string(),
            });
        }
    }
    let seen = rows::metrics_seen(&session).await?;
    let outcomes = confidence::outcomes(engine).await?;
    for (rule, keys) in due {
        if let Some(reason) = missing(keys, &seen) {
            let rule = rule.id.clone();
            report.waiting.push(Unjudged { rule, reason });
            continue;
        }
        match judge(&session, rule, keys, options.window, &outcomes).await {
            Ok(found) => {
                report.judged.push(rule.id.clone());
                if found.len() > MOST_ROWS {
                    report.cut.push((rule.id.clone(), found.len()));
                }
                let taken = found.into_iter().take(MOST_ROWS);
                report.recommendations.extend(taken);
            }
            Err(error) => report.failed.push(Unjudged {
                rule: rule.id.clone(),
                reason: error.to_string(),
            }),
        }
    }
    sort(&mut report.recommendations);
    Ok(report)
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
            report.waiting.push(Unjudged {
                rule: rule.id.clone(),
                reason: "not due yet".to_owned(),
            });
            continue;
        }
        due.push((rule, keys));
    }
    due
}

/// The metrics that rules rest on; over the days before, only those of rules that look there.
fn wanted(due: &[(&Rule, &Recommending)], windows: &[Rule]) -> window::Wanted {
    let mut looking_back: BTreeSet<&str> = BTreeSet::from([window::HISTORY]);
    for window in windows {
        if window
            .reads
            .iter()
            .any(|read| looking_back.contains(read.as_str()))
        {
            looking_back.insert(&window.id);
        }
    }
    let mut wanted = window::Wanted::default();
    for (rule, keys) in due {
        let metrics = || {
            keys.metrics()
                .map(|(component, metric, _)| (component, metric.to_owned()))
        };
        wanted.metrics.extend(metrics());
        if rule
            .reads
            .iter()
            .any(|read| looking_back.contains(read.as_str()))
        {
            wanted.history.extend(metrics());
        }
    }
    wanted
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

async fn judge(
    session: &Engine,
    rule: &Rule,
    keys: &Recommending,
    window: Window,
    outcomes: &BTreeMap<String, Vec<Outcome>>,
) -> Result<Vec<Recommendation>, EngineError> {
    let bounds = [("from_ts", window.from_us), ("until_ts", window.until_us)];
    let bounds: Vec<_> = bounds
        .into_iter()
        .filter(|(name, _)| {
            rule.parameters
                .iter()
                .any(|parameter| parameter.name == *name)
        })
        .map(|(name, us)| (name.to_owned(), timestamp(us)))
        .collect();
    let found = session.collect_rule(rule, &bounds).await?;
    let outcomes = outcomes
        .get(&rule.id)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut found = rows::read(rule, keys, outcomes, &found)?;
    sort(&mut found);
    Ok(found)
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
