//! Alarms that belong together: clusters by time and labels, for alarms that other detectors raised
//! over series without a common grid. Whether an alarm is right is left to those detectors.

use std::collections::{BTreeMap, BinaryHeap};

use super::Label;
use super::gather::{Candidate, candidates};
use crate::multiple::benjamini_hochberg;

/// A change that a detector saw in one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// The labels of its series.
    pub labels: Vec<Label>,
    /// When, in any unit; [`GroupOptions::tolerance`] has the same.
    pub time: i64,
    /// How much, as a part of the level: 0.05 is + 5 %.
    pub effect: f64,
    /// How likely under noise alone, after choosing the place.
    pub p_value: f64,
    /// What a relative change of this series costs, against the others; 1 where all count alike.
    pub weight: f64,
}

/// How [`group`] looks.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupOptions {
    /// Alarms of one group lie within this time of each other.
    pub tolerance: i64,
    /// The false discovery rate to which the alarms are held before they are grouped; 1 keeps all.
    pub discovery_rate: f64,
    /// The most labels that a constraint may name; besides, a complete label set is always one.
    pub max_labels: usize,
    /// The least part of the series that a constraint selects which must have alarms.
    pub min_purity: f64,
    /// The label sets of all series that were looked at, those without alarms included; the series
    /// of the alarms need not be repeated.
    pub population: Vec<Vec<Label>>,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            tolerance: 0,
            discovery_rate: 0.01,
            max_labels: 2,
            min_purity: 0.5,
            population: Vec::new(),
        }
    }
}

/// Alarms that one constraint explains.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The median time of its alarms; with an even count the earlier of the middle two.
    pub time: i64,
    /// The labels that select its series.
    pub constraint: Vec<Label>,
    /// Places of its alarms in the input, ascending.
    pub alarms: Vec<usize>,
    /// The median effect of its alarms.
    pub effect: f64,
    /// The least p-value of its alarms, adjusted by Benjamini and Hochberg over all alarms.
    pub q_value: f64,
    /// The part of the series that the constraint selects which have alarms in it.
    pub purity: f64,
    /// What the change costs: the sum of `|effect|` times weight over its alarms.
    pub cost: f64,
    /// Place in the order of costs, from 1.
    pub rank: usize,
}

/// Groups alarms into findings, in the order of their cost.
///
/// First the alarms are held to a false discovery rate; alarms whose p-value or effect is not finite
/// are left out. Then, again and again, the constraint and the stretch of time are taken that explain
/// most: with alarms in `c` of the `n` series that a constraint selects, it explains `c² / n`, the
/// part of the sum of squares that one common step would account for. An alarm that no constraint
/// explains together with others is a group of its own.
pub fn group(alarms: &[Alarm], options: &GroupOptions) -> Vec<Group> {
    let known: Vec<usize> = (0..alarms.len())
        .filter(|i| alarms[*i].p_value.is_finite() && alarms[*i].effect.is_finite())
        .collect();
    let p_values: Vec<f64> = known
        .iter()
        .map(|i| alarms[*i].p_value.clamp(0.0, 1.0))
        .collect();
    let mut q_values = vec![1.0; alarms.len()];
    for (i, q) in known.iter().zip(benjamini_hochberg(&p_values)) {
        q_values[*i] = q;
    }
    let mut kept = known;
    kept.retain(|i| q_values[*i] <= options.discovery_rate);
    kept.sort_by_key(|i| (alarms[*i].time, *i));

    let mut groups: Vec<Group> = Cover::new(alarms, &kept, options)
        .run()
        .into_iter()
        .map(|part| summary(alarms, &q_values, part))
        .collect();
    groups.sort_by(|a, b| {
        b.cost
            .total_cmp(&a.cost)
            .then(a.time.cmp(&b.time))
            .then_with(|| a.alarms.cmp(&b.alarms))
    });
    for (place, group) in groups.iter_mut().enumerate() {
        group.rank = place + 1;
    }
    groups
}

/// Alarms under one constraint, and the number of series that it selects.
struct Part {
    constraint: Vec<Label>,
    alarms: Vec<usize>,
    purity: f64,
}

/// The greedy cover of alarms by constraints.
struct Cover<'a> {
    alarms: &'a [Alarm],
    options: &'a GroupOptions,
    /// The row (distinct label set) of each alarm.
    rows: Vec<usize>,
    candidates: Vec<Candidate>,
    /// Per candidate its alarms in the order of time.
    covered: Vec<Vec<usize>>,
    /// Alarms that no part holds yet.
    open: Vec<bool>,
}

/// The best stretch of a candidate's open alarms.
struct Window {
    alarms: Vec<usize>,
    series: usize,
}

impl<'a> Cover<'a> {
    fn new(alarms: &'a [Alarm], kept: &[usize], options: &'a GroupOptions) -> Self {
        let mut place: BTreeMap<Vec<Label>, usize> = BTreeMap::new();
        let mut distinct: Vec<Vec<Label>> = Vec::new();
        let mut row = |labels: &[Label]| {
            let mut sorted = labels.to_vec();
            sorted.sort_unstable();
            *place.entry(sorted).or_insert_with(|| {
                distinct.push(labels.to_vec());
                distinct.len() - 1
            })
        };
        let rows: Vec<usize> = alarms.iter().map(|alarm| row(&alarm.labels)).collect();
        for labels in &options.population {
            row(labels);
        }
        let labels: Vec<&[Label]> = distinct.iter().map(Vec::as_slice).collect();
        let candidates = candidates(&labels, &vec![true; labels.len()], options.max_labels);
        let mut selecting: Vec<Vec<usize>> = vec![Vec::new(); labels.len()];
        for (c, candidate) in candidates.iter().enumerate() {
            candidate
                .members
                .iter()
                .for_each(|row| selecting[*row].push(c));
        }
        let mut covered = vec![Vec::new(); candidates.len()];
        let mut open = vec![false; alarms.len()];
        for alarm in kept {
            open[*alarm] = true;
            selecting[rows[*alarm]]
                .iter()
                .for_each(|c| covered[*c].push(*alarm));
        }
        Self {
            alarms,
            options,
            rows,
            candidates,
            covered,
            open,
        }
    }

    /// Takes the best part until no open alarm is left. What a candidate explains can only shrink
    /// while alarms are taken, so a candidate whose value, taken anew, is still at the top is the best.
    fn run(mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        // Positive floats are ordered as their bits are; earlier candidates win ties.
        let mut queue: BinaryHeap<(u64, std::cmp::Reverse<usize>)> = (0..self.candidates.len())
            .filter_map(|c| Some((self.value(c, &self.window(c)?)?, std::cmp::Reverse(c))))
            .collect();
        while let Some((value, std::cmp::Reverse(c))) = queue.pop() {
            let Some(window) = self.window(c) else {
                continue;
            };
            let Some(now) = self.value(c, &window) else {
                continue;
            };
            if now == value {
                window
                    .alarms
                    .iter()
                    .for_each(|alarm| self.open[*alarm] = false);
                let candidate = &self.candidates[c];
                parts.push(Part {
                    constraint: candidate.constraint.clone(),
                    purity: window.series as f64 / candidate.members.len() as f64,
                    alarms: window.alarms,
                });
                let rest = self.window(c).and_then(|window| self.value(c, &window));
                queue.extend(rest.map(|value| (value, std::cmp::Reverse(c))));
            } else {
                queue.push((now, std::cmp::Reverse(c)));
            }
        }
        // A label set that is part of many others may have no pure constraint of its own.
        for alarm in (0..self.alarms.len()).filter(|alarm| self.open[*alarm]) {
            let constraint = self.alarms[alarm].labels.clone();
            parts.push(Part {
                constraint,
                alarms: vec![alarm],
                purity: 1.0,
            });
        }
        parts
    }

    /// What a candidate explains, as ordered bits; `None` where it is not pure enough.
    fn value(&self, candidate: usize, window: &Window) -> Option<u64> {
        let (count, of) = (
            window.series as f64,
            self.candidates[candidate].members.len() as f64,
        );
        (count / of >= self.options.min_purity).then(|| (count * count / of).to_bits())
    }

    /// The stretch of at most the tolerance with open alarms of the most distinct series; the earliest
    /// of equals.
    fn window(&self, candidate: usize) -> Option<Window> {
        let open: Vec<usize> = self.covered[candidate]
            .iter()
            .copied()
            .filter(|alarm| self.open[*alarm])
            .collect();
        let mut inside: BTreeMap<usize, usize> = BTreeMap::new();
        let mut best: Option<(usize, usize, usize)> = None;
        let mut first = 0;
        for (last, alarm) in open.iter().enumerate() {
            *inside.entry(self.rows[*alarm]).or_default() += 1;
            let time = self.alarms[*alarm].time;
            while time.saturating_sub(self.alarms[open[first]].time) > self.options.tolerance.max(0)
            {
                let row = self.rows[open[first]];
                if let Some(count) = inside.get_mut(&row) {
                    *count -= 1;
                    if *count == 0 {
                        inside.remove(&row);
                    }
                }
                first += 1;
            }
            // Of equally many series the longer stretch: a repeated alarm belongs to the first.
            let longer = |(most, from, to): (usize, usize, usize)| {
                inside.len() > most || (inside.len() == most && from == first && last > to)
            };
            if best.is_none_or(longer) {
                best = Some((inside.len(), first, last));
            }
        }
        let (series, first, last) = best?;
        let mut alarms = open[first..=last].to_vec();
        alarms.sort_unstable();
        Some(Window { alarms, series })
    }
}

fn summary(alarms: &[Alarm], q_values: &[f64], part: Part) -> Group {
    let of = |f: &dyn Fn(&Alarm) -> f64| {
        part.alarms
            .iter()
            .map(|i| f(&alarms[*i]))
            .collect::<Vec<f64>>()
    };
    let mut times: Vec<i64> = part.alarms.iter().map(|i| alarms[*i].time).collect();
    times.sort_unstable();
    Group {
        time: times[(times.len() - 1) / 2],
        effect: crate::median(&of(&|alarm| alarm.effect)).unwrap_or(0.0),
        q_value: part.alarms.iter().map(|i| q_values[*i]).fold(1.0, f64::min),
        cost: of(&|alarm| alarm.effect.abs() * alarm.weight).iter().sum(),
        constraint: part.constraint,
        purity: part.purity,
        alarms: part.alarms,
        rank: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn labels(service: usize, host: usize, metric: &str) -> Vec<Label> {
        let pairs = [
            ("service", format!("s{service}")),
            ("host", format!("h{host}")),
            ("metric", metric.to_owned()),
        ];
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    fn population() -> Vec<Vec<Label>> {
        (0..10)
            .flat_map(|s| (0..4).flat_map(move |h| ["cpu", "latency"].map(|m| labels(s, h, m))))
            .collect()
    }

    fn alarm(labels: Vec<Label>, time: i64, p_value: f64) -> Alarm {
        Alarm {
            labels,
            time,
            effect: 0.05,
            p_value,
            weight: 1.0,
        }
    }

    fn options() -> GroupOptions {
        GroupOptions {
            tolerance: 60,
            population: population(),
            ..GroupOptions::default()
        }
    }

    fn constraints(groups: &[Group]) -> Vec<String> {
        groups
            .iter()
            .map(|g| {
                g.constraint
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect()
    }

    #[test]
    fn one_finding_per_cause() {
        let mut noise = Noise::new(4);
        let mut jitter = || (noise.uniform() * 50.0) as i64;
        let mut alarms = Vec::new();
        for host in 0..4 {
            // A service moves in full but for one series; at the same time an endpoint of another.
            alarms.push(alarm(labels(3, host, "latency"), 1_000 + jitter(), 1e-9));
            if host > 0 {
                alarms.push(alarm(labels(3, host, "cpu"), 1_000 + jitter(), 1e-9));
            }
            alarms.push(alarm(labels(5, host, "latency"), 1_000 + jitter(), 1e-9));
            // The same service again, later.
            alarms.push(alarm(labels(3, host, "latency"), 9_000 + jitter(), 1e-9));
        }
        alarms.push(alarm(labels(7, 2, "cpu"), 1_020, 1e-9));
        // Held back by the discovery rate.
        alarms.push(alarm(labels(8, 2, "cpu"), 1_020, 0.3));
        let groups = group(&alarms, &options());
        let want = [
            "service=s3",
            "service=s5,metric=latency",
            "service=s3,metric=latency",
            "service=s7,host=h2,metric=cpu",
        ];
        assert_eq!(constraints(&groups), want);
        assert_eq!(
            groups.iter().map(|g| g.alarms.len()).collect::<Vec<_>>(),
            [7, 4, 4, 1]
        );
        assert!((groups[0].purity - 0.875).abs() < 1e-12 && groups[0].rank == 1);
        assert!((groups[0].cost - 0.35).abs() < 1e-12);
    }

    #[test]
    fn every_kept_alarm_is_in_exactly_one_group_whatever_the_order() {
        let mut noise = Noise::new(9);
        let mut alarms: Vec<Alarm> = (0..300)
            .map(|_| {
                let pick = |noise: &mut Noise, n: f64| (noise.uniform() * n) as usize;
                let metric = ["cpu", "latency"][pick(&mut noise, 2.0)];
                let (service, host) = (pick(&mut noise, 10.0), pick(&mut noise, 4.0));
                alarm(
                    labels(service, host, metric),
                    pick(&mut noise, 5_000.0) as i64,
                    1e-6,
                )
            })
            .collect();
        let groups = group(&alarms, &options());
        let mut all: Vec<usize> = groups.iter().flat_map(|g| g.alarms.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());
        for g in &groups {
            let times: Vec<i64> = g.alarms.iter().map(|i| alarms[*i].time).collect();
            let (min, max) = (times.iter().min(), times.iter().max());
            assert!(max.zip(min).is_some_and(|(max, min)| max - min <= 60) && g.purity >= 0.5);
        }
        alarms.reverse();
        assert_eq!(constraints(&group(&alarms, &options())).len(), groups.len());
    }

    #[test]
    fn bad_input_is_left_out() {
        assert!(group(&[], &options()).is_empty());
        let bad = [
            alarm(labels(1, 1, "cpu"), 5, f64::NAN),
            Alarm {
                effect: f64::INFINITY,
                ..alarm(labels(1, 1, "cpu"), 5, 1e-9)
            },
        ];
        assert!(group(&bad, &options()).is_empty());
        let extreme = [
            alarm(Vec::new(), i64::MIN, 1e-9),
            alarm(Vec::new(), i64::MAX, 0.0),
        ];
        assert_eq!(group(&extreme, &GroupOptions::default()).len(), 2);
    }
}
