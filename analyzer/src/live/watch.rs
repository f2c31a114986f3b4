//! What is watched, and how findings begin, grow and end. Pure: points in, facts out.

use std::collections::BTreeMap;

use chrono::DateTime;
use driftline_schemas::EventName;
use driftline_stats::onset::{Change, Direction, Onset, OnsetDetector, Options};

use super::{LivePoint, Look};
use crate::findings::{self, LIVE};
use crate::nightly::changes::quoted;
use crate::nightly::{Cause, Evidence, Finding, Severity, cause, id};

/// Series that are watched at most; more are left to the nightly analysis.
const MAX_SERIES: usize = 100_000;
/// Onsets that began so long before a restart are told after it, if nobody has told them.
const MISSED_S: i64 = 600;
/// A series that has not been seen for so long is forgotten.
const FORGET_AFTER_S: i64 = 2 * 3_600;

/// How the live look judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LiveOptions {
    /// Seconds of a point.
    pub step_s: i64,
    /// Seconds before the end of a step and the first look at it: what samples take to be durable.
    pub settle_s: i64,
    /// Seconds of the past that a restart reads.
    pub history_s: i64,
    /// Changes below this percentage of the level before do not count.
    pub min_effect_pct: f64,
    /// Onsets within so many seconds may have one cause.
    pub join_s: i64,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            step_s: 10,
            settle_s: 3,
            history_s: 7_200,
            min_effect_pct: 25.0,
            join_s: 120,
        }
    }
}

/// Everything that is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    options: LiveOptions,
    series: BTreeMap<String, Watched>,
    open: Vec<Open>,
    judged_until_s: i64,
    /// Onsets that nobody was there to tell.
    missed: Vec<Began>,
    /// Whether there are series that no room was left for.
    refused: bool,
}

#[derive(Debug, Clone)]
struct Watched {
    detector: OnsetDetector,
    last_s: i64,
    /// Whether it was away and has become the new level.
    adopted: bool,
}

/// A finding that has begun and is not over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Open {
    pub(super) day: String,
    pub(super) finding: Finding,
}

/// A series that has left its level for the worse.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Began {
    point: LivePoint,
    onset: Onset,
}

impl Began {
    pub(super) fn point(&self) -> &LivePoint {
        &self.point
    }

    pub(super) fn onset(&self) -> &Onset {
        &self.onset
    }

    pub(super) fn tells(&self) -> bool {
        self.point.tells
    }

    pub(super) fn rose(&self) -> bool {
        self.onset.direction == Direction::Up
    }

    fn effect_pct(&self) -> Option<f64> {
        let Onset { before, after, .. } = self.onset;
        (before != 0.0).then(|| 100.0 * (after - before) / before.abs())
    }

    /// Whether two onsets may have one cause: near in time, and of one host or one metric.
    fn belongs_with(&self, other: &Self, join_s: i64) -> bool {
        let near = (self.onset.at_s - other.onset.at_s).abs() <= join_s;
        near && (self.point.host == other.point.host || self.point.metric == other.point.metric)
    }
}

impl Watch {
    pub(super) fn new(options: LiveOptions, open: Vec<Open>) -> Self {
        Self {
            options,
            series: BTreeMap::new(),
            open,
            judged_until_s: 0,
            missed: Vec::new(),
            refused: false,
        }
    }

    /// How it judges.
    pub fn options(&self) -> LiveOptions {
        self.options
    }

    /// Up to when points have been taken, in seconds since 1970.
    pub fn judged_until_s(&self) -> i64 {
        self.judged_until_s
    }

    /// The end of the last step that is whole and durable by now.
    pub(super) fn until_s(&self, now_us: i64) -> i64 {
        let now_s = now_us.div_euclid(1_000_000) - self.options.settle_s;
        now_s.div_euclid(self.options.step_s) * self.options.step_s
    }

    pub(super) fn series(&self) -> usize {
        self.series.len()
    }

    pub(super) fn warm(&self) -> usize {
        let warm = |watched: &&Watched| watched.detector.is_warm();
        self.series.values().filter(warm).count()
    }

    /// Takes the points of a past that is known already, but for an onset that began of late, lasts,
    /// and is in no finding.
    pub(super) fn warm_up(&mut self, points: &[LivePoint], until_s: i64) {
        let mut began = self.take(points, until_s);
        began.retain(|began| {
            let name = began.point.name();
            let lasts = self.series.get(&name).is_some_and(|w| w.detector.is_away());
            let mut told = self.open.iter().flat_map(|open| &open.finding.evidence);
            lasts
                && until_s - began.onset.at_s <= MISSED_S
                && !told.any(|evidence| evidence.name == name)
        });
        self.missed = began;
    }

    /// Takes new points and says which series have left their level for the worse.
    pub(super) fn take(&mut self, points: &[LivePoint], until_s: i64) -> Vec<Began> {
        let mut began = std::mem::take(&mut self.missed);
        for point in points {
            let name = point.name();
            if !self.series.contains_key(&name) && self.series.len() >= MAX_SERIES {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!(
                        "more than {MAX_SERIES} series: the live look leaves the rest to nightly"
                    );
                }
                continue;
            }
            let options = self.options;
            let watched = self.series.entry(name).or_insert_with(|| Watched {
                detector: detector(options, point.min_effect),
                last_s: point.at_s,
                adopted: false,
            });
            watched.last_s = point.at_s;
            match watched.detector.push(point.at_s, point.value) {
                Some(Change::Began(onset)) => {
                    watched.adopted = false;
                    let rose = onset.direction == Direction::Up;
                    if Severity::of(&point.better, rose) == Severity::Regression {
                        let point = point.clone();
                        began.push(Began { point, onset });
                    }
                }
                Some(Change::Adopted) => watched.adopted = true,
                Some(Change::Ended) | None => {}
            }
        }
        self.judged_until_s = until_s;
        self.series
            .retain(|_, watched| until_s - watched.last_s <= FORGET_AFTER_S);
        began
    }

    /// What the onsets mean for what is open: findings that begin, that grow, and that are over.
    pub(super) fn settle(&mut self, began: Vec<Began>, marks: &[Cause], now_us: i64) -> Look {
        let mut look = Look::default();
        for group in groups(began, self.options.join_s) {
            self.join_or_open(group, marks, now_us, &mut look);
        }
        let (open, over): (Vec<Open>, Vec<Open>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|open| !self.is_over(&open.finding));
        self.open = open;
        for Open { day, finding } in over {
            let adopted = self.members(&finding).any(|watched| watched.adopted);
            let message = match adopted {
                true => "it has stayed for an hour and is taken as the new level",
                false => "it is back within what was usual before",
            };
            look.events
                .push(findings::over(&finding.id, &day, adopted, message, now_us));
            look.ended.push(finding);
        }
        look
    }

    fn join_or_open(&mut self, group: Vec<Began>, marks: &[Cause], now_us: i64, look: &mut Look) {
        let join_us = self.options.join_s * 1_000_000;
        let hosts = |finding: &Finding, began: &Began| {
            let suffix = format!(" on {}", began.point.host);
            finding.evidence.iter().any(|e| e.name.ends_with(&suffix))
        };
        let near = |finding: &Finding, began: &Began| {
            (began.onset.at_s * 1_000_000 - finding.onset_us).abs() <= join_us
        };
        let joined = self.open.iter_mut().find(|open| {
            let belongs = |began: &Began| near(&open.finding, began) && hosts(&open.finding, began);
            group.iter().any(belongs)
        });
        if let Some(open) = joined {
            let known = open.finding.evidence.len();
            for began in &group {
                let name = began.point.name();
                if !open.finding.evidence.iter().any(|e| e.name == name) {
                    open.finding.evidence.push(evidence(began));
                }
            }
            if open.finding.evidence.len() > known {
                let name = EventName::FindingUpdated;
                look.events
                    .push(findings::told(name, &open.finding, &open.day, now_us));
            }
            return;
        }
        let Some(mut finding) = finding(group) else {
            return;
        };
        cause::suspect(
            std::slice::from_mut(&mut finding),
            marks,
            self.options.step_s,
        );
        let day = DateTime::from_timestamp_micros(finding.onset_us).unwrap_or_default();
        let day = day.date_naive().to_string();
        let name = EventName::FindingOpened;
        look.events
            .push(findings::told(name, &finding, &day, now_us));
        look.opened.push(finding.clone());
        self.open.push(Open { day, finding });
    }

    /// Whether every series of a finding that is still seen is back.
    fn is_over(&self, finding: &Finding) -> bool {
        let mut seen = false;
        for watched in self.members(finding) {
            if !watched.detector.is_warm() || watched.detector.is_away() {
                return false;
            }
            seen = true;
        }
        seen
    }

    fn members<'w>(&'w self, finding: &'w Finding) -> impl Iterator<Item = &'w Watched> {
        let named = finding.evidence.iter();
        named.filter_map(|evidence| self.series.get(&evidence.name))
    }
}

fn detector(options: LiveOptions, min_effect: f64) -> OnsetDetector {
    let options = Options {
        step_s: options.step_s,
        min_share: options.min_effect_pct / 100.0,
        ..Options::default()
    };
    OnsetDetector::new(options, min_effect)
}

/// Onsets that may have one cause, transitively.
fn groups(began: Vec<Began>, join_s: i64) -> Vec<Vec<Began>> {
    let mut groups: Vec<Vec<Began>> = Vec::new();
    for onset in began {
        let belongs =
            |group: &Vec<Began>| group.iter().any(|other| other.belongs_with(&onset, join_s));
        let (mut together, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(belongs);
        let mut group: Vec<Began> = together.drain(..).flatten().collect();
        group.push(onset);
        groups = apart;
        groups.push(group);
    }
    groups
}

/// The finding of a group; none where nothing in it is worth a person's attention by itself.
fn finding(mut group: Vec<Began>) -> Option<Finding> {
    group.sort_by(|a, b| {
        let size = |began: &Began| began.effect_pct().unwrap_or(f64::INFINITY).abs();
        (b.tells().cmp(&a.tells()))
            .then(size(b).total_cmp(&size(a)))
            .then_with(|| a.point.name().cmp(&b.point.name()))
    });
    let first = group.first().filter(|first| first.tells())?;
    let onset_s = group.iter().map(|began| began.onset.at_s).min()?;
    let verb = if first.rose() { "rose" } else { "fell" };
    let more = match group.len() {
        1 => String::new(),
        n => format!(", and {} more series", n - 1),
    };
    let (point, onset) = (&first.point, &first.onset);
    let title = format!(
        "{} {verb} from {} to {}{more}",
        point.name(),
        point.in_words(onset.before),
        point.in_words(onset.after)
    );
    Some(Finding {
        id: id(LIVE, &[&point.name(), &onset_s.to_string()]),
        severity: Severity::Regression,
        title,
        onset_us: onset_s * 1_000_000,
        scope: scope(&group),
        sql: format!(
            "SELECT ts, value FROM derived_series WHERE host = '{}' AND metric = '{}' AND labels = '{}' AND ts > to_timestamp_micros({}) ORDER BY ts",
            quoted(&point.host),
            quoted(&point.metric),
            quoted(&point.labels),
            (onset_s - 600) * 1_000_000
        ),
        evidence: group.iter().map(evidence).collect(),
        causes: Vec::new(),
    })
}

/// What all members share.
fn scope(group: &[Began]) -> Vec<(String, String)> {
    type Part = fn(&LivePoint) -> &str;
    let parts: [(&str, Part); 3] = [
        ("component", |point| &point.component),
        ("host", |point| &point.host),
        ("metric", |point| &point.metric),
    ];
    let shared = |(key, part): (&str, Part)| {
        let value = part(&group.first()?.point);
        let same = group.iter().all(|began| part(&began.point) == value);
        same.then(|| (key.to_owned(), value.to_owned()))
    };
    parts.into_iter().filter_map(shared).collect()
}

fn evidence(began: &Began) -> Evidence {
    Evidence {
        name: began.point.name(),
        unit: began.point.unit.clone(),
        before: Some(began.onset.before),
        after: Some(began.onset.after),
        effect_pct: began.effect_pct(),
        interval_pct: None,
        p_value: began.onset.p_value,
    }
}

/// A value for people: shares in percent, times and bytes with the usual prefixes.
pub(super) fn display(value: f64, unit: &str) -> String {
    let scaled = |scales: &[(f64, &str)]| {
        let fits = |scale: &&(f64, &str)| value.abs() >= scale.0;
        let (scale, name) = scales
            .iter()
            .find(fits)
            .unwrap_or(&scales[scales.len() - 1]);
        format!("{:.3} {name}", value / scale)
    };
    match unit {
        "1" => format!("{:.1} %", 100.0 * value),
        "s" => scaled(&[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")]),
        "By" | "By/s" => {
            let names = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")];
            let per = unit.strip_prefix("By").unwrap_or_default();
            scaled(&names) + per
        }
        unit => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests;
