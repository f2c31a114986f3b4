//! What moved together in a fleet: many series on one time grid, and the steps that explain them.
//!
//! Ten series of one service that all rise by two percent are one finding, not ten; and each alone
//! may be too noisy to tell. So [`detect`] looks at groups: every set of series that up to
//! [`Options::max_labels`] labels select. Per series the daily cycle is removed ([`Options::period`])
//! and short incidents are left out; per group the series are averaged and what the rest of the
//! fleet does at the same time is subtracted; the group's series is scanned for steps, with a
//! p-value that holds after choosing the group, the interval and the place. The strongest step is
//! then explained by the labels that account for most of the movement, removed, and the scan is
//! repeated: what a service did must not be found again in each of its hosts.
//!
//! [`group()`] does the last part for alarms that come from other detectors over
//! series without a common grid. Reading series, naming labels and delivering findings are left to
//! the caller.

mod control;
mod explain;
mod gather;
mod grid;
mod group;
mod noise_model;
mod parallel;
mod prepare;
mod scan;
mod search;

pub use control::subtract_controls;
pub use grid::{Grid, TimedSeries};
pub use group::{Alarm, Group, GroupOptions, group};
pub use search::detect;

/// A label: its key and its value.
pub type Label = (String, String);

/// One series of a fleet; all series of a fleet share one evenly spaced time grid.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSeries {
    /// What the caller calls it; not interpreted.
    pub name: String,
    /// Its labels, such as service, host and metric; the order of the keys decides between
    /// explanations that are equally good.
    pub labels: Vec<Label>,
    /// Its values on the grid. NaN and infinities are gaps; a series shorter than the longest of
    /// the fleet has a gap at its end.
    pub values: Vec<f64>,
    /// What a relative change of this series costs, against the others; 1 where all count alike.
    pub weight: f64,
}

/// How [`detect`] looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Samples per cycle (24 for hourly samples of a daily cycle); the cycle is removed where a
    /// series holds at least three. `None` removes none.
    pub period: Option<usize>,
    /// Expected number of false events per fleet: the budget of false alarms.
    pub budget: f64,
    /// The most labels that a constraint may name; besides, the complete label set of a series is
    /// always one.
    pub max_labels: usize,
    /// Samples that must lie on each side of a step.
    pub min_side: usize,
    /// Incidents up to this many samples are left out before the scan.
    pub incident: usize,
    /// A level that returns within this many samples was an incident, not a step.
    pub persistence: usize,
    /// Events of which the 99 % interval comes nearer to zero than this are not reported: 0.002 is
    /// 0.2 % of the level.
    pub min_effect: f64,
    /// The most events that are reported.
    pub max_events: usize,
    /// Threads to use; the result is the same for any number.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            period: None,
            budget: 0.01,
            max_labels: 2,
            min_side: 6,
            incident: 4,
            persistence: 24,
            min_effect: 0.0,
            max_events: 1_000,
            threads: 1,
        }
    }
}

/// A step that a group of series made together.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The first sample of the new level.
    pub index: usize,
    /// The labels that select the members; empty where the whole fleet moved.
    pub constraint: Vec<Label>,
    /// The series that the constraint selects, in the order of the input.
    pub members: Vec<Member>,
    /// The pooled effect, as a part of the level: 0.05 is + 5 %.
    pub effect: f64,
    /// Lower end of the pooled effect's 99 % interval.
    pub ci_lo: f64,
    /// Upper end of the pooled effect's 99 % interval.
    pub ci_hi: f64,
    /// Probability that noise alone shows a step as clear anywhere in the fleet, at any time.
    pub p_value: f64,
    /// The part of the members that moved, 0 to 1.
    pub purity: f64,
    /// What the change costs: `|effect|` times the summed weights of the members that moved.
    pub cost: f64,
    /// Place in the order of costs, from 1.
    pub rank: usize,
}

/// What one series did at an [`Event`].
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its place in the input.
    pub series: usize,
    /// Its own step, as a part of its level.
    pub effect: f64,
    /// Lower end of the effect's 99 % interval.
    pub ci_lo: f64,
    /// Upper end of the effect's 99 % interval.
    pub ci_hi: f64,
    /// Adjusted p-value of its own step among the members, by Benjamini and Hochberg.
    pub q_value: f64,
    /// Whether its own step is nearer to the pooled one than to none.
    pub moved: bool,
}

#[cfg(test)]
mod simulate;
#[cfg(test)]
mod tests;
