//! Lasting changes of series that began on the day, and which of them belong together.

use std::num::NonZeroUsize;
use std::thread;

use driftline_schemas::label_pairs;
use driftline_stats::changepoint::{ChangePoint, Direction};
use driftline_stats::{benjamini_hochberg, daily, fleet, median};

use super::plot::{MOST_PLOTS, Plot};
use super::points::PointSeries;
use super::{Evidence, Finding, NightlyOptions, Severity, id};

/// Fewer points on either side of a change are too little to call it lasting.
pub(crate) const MIN_SIDE: usize = 6;
const DAY_S: i64 = 86_400;
/// What it costs to observe is for whoever runs Driftline to look at, not an alarm about the system
/// observed: microseconds move whenever that is busy.
const OWN_METRICS: &str = "driftline.";
/// Changes this many steps apart may have begun at the same time.
pub(crate) const SAME_TIME_STEPS: i64 = 3;
/// For ratios, a change of a point of percent is the least that counts: from 0.1 % to 0.4 % is no
/// event, however many times more it is.
const MIN_RATIO: f64 = 0.01;

/// What the series of a day came to.
pub(crate) struct Changed {
    pub(crate) judged: usize,
    pub(crate) findings: Vec<Finding>,
    pub(crate) plots: Vec<Plot>,
    /// Every change that passed, alone: the place of its series among those given, and its time in
    /// seconds since 1970.
    pub(crate) steps: Vec<(usize, i64)>,
}

/// A change of a series on the day.
struct Alarm<'s> {
    series: &'s PointSeries,
    at_s: i64,
    change: ChangePoint,
    /// The change's neighbours: where the level before begins and the level since ends.
    from: usize,
    until: usize,
    q_value: f64,
    severity: Severity,
}

/// Looks for changes in each series, keeps those of the day that are sure and large enough among
/// all, and groups them.
pub(crate) fn find(series: &[PointSeries], step_s: i64, options: &NightlyOptions) -> Changed {
    let (places, judged): (Vec<usize>, Vec<&PointSeries>) = series
        .iter()
        .enumerate()
        .filter(|(_, series)| is_judged(series))
        .unzip();
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let found = on_threads(threads, &judged, step_s, &judging(options, step_s));
    // Every series is one test, whether it raised an alarm or not.
    let p_values: Vec<f64> = found
        .iter()
        .map(|changes| changes.iter().map(|c| c.p_value).fold(1.0, f64::min))
        .collect();
    let q_values = benjamini_hochberg(&p_values);
    let (mut alarms, mut steps) = (Vec::new(), Vec::new());
    for (((series, place), changes), q_value) in judged.iter().zip(places).zip(found).zip(q_values)
    {
        if q_value > options.false_discovery_rate {
            continue;
        }
        for (number, change) in changes.iter().enumerate() {
            if let Some(alarm) = alarm(series, &changes, number, *change, q_value, options) {
                steps.push((place, alarm.at_s));
                alarms.push(alarm);
            }
        }
    }
    let (findings, plots): (Vec<Finding>, Vec<Vec<Plot>>) =
        group(alarms, &judged, step_s).into_iter().unzip();
    Changed {
        judged: judged.len(),
        findings,
        plots: plots.into_iter().flatten().collect(),
        steps,
    }
}

/// Whether a series is looked at: it has points enough, and is no cost of looking.
pub(crate) fn is_judged(series: &PointSeries) -> bool {
    series.values.len() >= 2 * MIN_SIDE && !series.metric.starts_with(OWN_METRICS)
}

/// The changes of each series, in the order of the series. Each depends on its own points alone, so
/// that the number of threads changes nothing but the time.
pub(super) fn on_threads(
    threads: usize,
    series: &[&PointSeries],
    step_s: i64,
    options: &daily::Options,
) -> Vec<Vec<ChangePoint>> {
    let size = series.len().div_ceil(threads.max(1)).max(1);
    thread::scope(|scope| {
        let detect = |part: &[&PointSeries]| -> Vec<Vec<ChangePoint>> {
            let lasting = |series: &&PointSeries| {
                daily::detect_at(&series.at_s, &series.values, step_s, options)
            };
            part.iter().map(lasting).collect()
        };
        let workers: Vec<_> = series
            .chunks(size)
            .map(|part| scope.spawn(move || detect(part)))
            .collect();
        let results = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        results.flatten().collect()
    })
}

/// How the series are judged on the day.
pub(super) fn judging(options: &NightlyOptions, step_s: i64) -> daily::Options {
    daily::Options {
        weekend: options.calendar.is_weekend(options.day.from_us),
        ..daily::Options::of_day(usize::try_from(DAY_S / step_s).unwrap_or(1))
    }
}

/// A change as an alarm, when it began on the day and even the near end of its interval is large
/// enough.
fn alarm<'s>(
    series: &'s PointSeries,
    changes: &[ChangePoint],
    number: usize,
    change: ChangePoint,
    q_value: f64,
    options: &NightlyOptions,
) -> Option<Alarm<'s>> {
    let at_s = *series.at_s.get(change.index)?;
    let at_us = at_s * 1_000_000;
    if at_us < options.day.from_us || at_us >= options.day.until_us {
        return None;
    }
    let from = number
        .checked_sub(1)
        .map_or(0, |before| changes[before].index);
    let until = changes
        .get(number + 1)
        .map_or(series.values.len(), |next| next.index);
    if change.index - from < MIN_SIDE || until - change.index < MIN_SIDE {
        return None;
    }
    let (lo, hi) = change.interval?;
    let near = if change.effect > 0.0 { lo } else { -hi };
    let near = if change.relative.is_some() {
        near
    } else {
        f64::INFINITY
    };
    if near < options.min_effect_pct / 100.0 {
        return None;
    }
    if series.unit == "1" && change.effect.abs() < MIN_RATIO {
        return None;
    }
    Some(Alarm {
        from,
        until,
        severity: Severity::of(&series.better, change.direction == Direction::Up),
        series,
        at_s,
        change,
        q_value,
    })
}

/// What moved together on several hosts is one finding, with the labels that explain it; what is left
/// is gathered by host, since what moves on one host at one time has one cause more often than not.
fn group(
    alarms: Vec<Alarm<'_>>,
    judged: &[&PointSeries],
    step_s: i64,
) -> Vec<(Finding, Vec<Plot>)> {
    let tolerance = SAME_TIME_STEPS * step_s;
    let seen: Vec<fleet::Alarm> = alarms
        .iter()
        .map(|alarm| fleet::Alarm {
            labels: labels(alarm.series),
            time: alarm.at_s,
            effect: alarm.change.relative.unwrap_or(f64::MAX.sqrt()),
            p_value: alarm.q_value,
            weight: 1.0,
        })
        .collect();
    let options = fleet::GroupOptions {
        tolerance,
        // They are held to a rate already.
        discovery_rate: 1.0,
        population: judged.iter().map(|series| labels(series)).collect(),
        ..fleet::GroupOptions::default()
    };
    let mut findings = Vec::new();
    let mut alone: Vec<&Alarm<'_>> = Vec::new();
    for group in fleet::group(&seen, &options) {
        let members: Vec<&Alarm<'_>> = group.alarms.iter().map(|at| &alarms[*at]).collect();
        let first = &members[0].series.host;
        if members.iter().all(|alarm| alarm.series.host == *first) {
            alone.extend(members);
        } else {
            findings.push(finding(members, group.constraint));
        }
    }
    alone.sort_by(|a, b| {
        let key = |alarm: &Alarm<'_>| (alarm.series.host.clone(), alarm.at_s, alarm.series.name());
        key(a).cmp(&key(b))
    });
    let mut rest = alone.as_slice();
    while let Some(first) = rest.first() {
        let together = rest.iter().take_while(|alarm| {
            alarm.series.host == first.series.host && alarm.at_s - first.at_s <= tolerance
        });
        let (members, others) = rest.split_at(together.count());
        let scope = vec![("host".to_owned(), first.series.host.clone())];
        findings.push(finding(members.to_vec(), scope));
        rest = others;
    }
    findings
}

/// The labels of a series, its host and metric among them.
fn labels(series: &PointSeries) -> Vec<fleet::Label> {
    let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut labels = vec![
        own("component", &series.component),
        own("host", &series.host),
        own("metric", &series.metric),
    ];
    labels.extend(label_pairs(&series.labels).unwrap_or_default());
    labels
}

fn finding(mut members: Vec<&Alarm<'_>>, scope: Vec<fleet::Label>) -> (Finding, Vec<Plot>) {
    let size = |alarm: &Alarm<'_>| alarm.change.relative.unwrap_or(f64::INFINITY).abs();
    members.sort_by(|a, b| {
        (a.severity.cmp(&b.severity))
            .then(size(b).total_cmp(&size(a)))
            .then_with(|| a.series.name().cmp(&b.series.name()))
    });
    let first = members[0];
    let several = members
        .iter()
        .any(|alarm| alarm.series.host != first.series.host);
    let onset_s = members
        .iter()
        .map(|alarm| alarm.at_s)
        .min()
        .unwrap_or(first.at_s);
    let more = match members.len() {
        1 => String::new(),
        n => format!(" and {} more series", n - 1),
    };
    let effect = first.change.relative.map_or_else(
        || "from zero".to_owned(),
        |relative| format!("by {:+.1} %", 100.0 * relative),
    );
    let series = first.series;
    let name = series.name();
    let id = id("change", &[&series.host, &name, &onset_s.to_string()]);
    let plots = members.iter().take(MOST_PLOTS).map(|alarm| Plot {
        finding: id.clone(),
        name: member_name(alarm, several),
        ..Plot::of(alarm.series, alarm.from, alarm.change.index, alarm.until)
    });
    let plots = plots.collect();
    let finding = Finding {
        id,
        severity: first.severity,
        title: format!("{name} on {} moved {effect}{more}", series.host),
        onset_us: onset_s * 1_000_000,
        scope,
        sql: format!(
            "SELECT ts, value FROM derived_series WHERE host = '{}' AND metric = '{}' AND labels = '{}' ORDER BY ts",
            quoted(&series.host),
            quoted(&series.metric),
            quoted(&series.labels)
        ),
        evidence: members
            .into_iter()
            .map(|alarm| evidence(alarm, several))
            .collect(),
        causes: Vec::new(),
    };
    (finding, plots)
}

fn member_name(alarm: &Alarm<'_>, several_hosts: bool) -> String {
    match several_hosts {
        true => format!("{} on {}", alarm.series.name(), alarm.series.host),
        false => alarm.series.name(),
    }
}

fn evidence(alarm: &Alarm<'_>, several_hosts: bool) -> Evidence {
    let percent = |share: f64| 100.0 * share;
    let relative = alarm.change.relative;
    let values = &alarm.series.values;
    let after = median(&values[alarm.change.index..alarm.until]);
    // Of a series that follows the day the level before is that of the same hours, not of all.
    let same_hours = |relative: f64| Some(after? / (1.0 + relative));
    let before = match relative {
        Some(relative) if relative > -1.0 => same_hours(relative),
        _ => median(&values[alarm.from..alarm.change.index]),
    };
    Evidence {
        name: member_name(alarm, several_hosts),
        unit: alarm.series.unit.clone(),
        before,
        after,
        effect_pct: relative.map(percent),
        interval_pct: alarm
            .change
            .interval
            .filter(|_| relative.is_some())
            .map(|(lo, hi)| (percent(lo), percent(hi))),
        p_value: alarm.q_value,
    }
}

/// As it may stand in a text of SQL.
pub(crate) fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use driftline_stats::noise::Noise;

    use super::*;
    use crate::compare::Window;

    /// Ten-minute points over a day before the day and the day itself, with a step at noon.
    fn series(metric: &str, seed: u64, step: f64) -> PointSeries {
        let mut noise = Noise::new(seed);
        let at_s: Vec<i64> = (0..288).map(|n| n * 600).collect();
        let value = |at: &i64| {
            let level = if *at >= DAY_S + DAY_S / 2 {
                1.0 + step
            } else {
                1.0
            };
            100.0 * level * (1.0 + 0.02 * noise.normal())
        };
        PointSeries {
            component: "host".to_owned(),
            host: "h1".to_owned(),
            metric: metric.to_owned(),
            labels: String::new(),
            unit: "s".to_owned(),
            better: "lower".to_owned(),
            values: at_s.iter().map(value).collect(),
            at_s,
        }
    }

    fn options() -> NightlyOptions {
        NightlyOptions {
            day: Window {
                from_us: DAY_S * 1_000_000,
                until_us: 2 * DAY_S * 1_000_000,
            },
            ..NightlyOptions::default()
        }
    }

    #[test]
    fn what_moved_together_is_one_finding_with_its_effect() {
        let mut all: Vec<PointSeries> = (0..20)
            .map(|n| series(&format!("quiet{n}"), n, 0.0))
            .collect();
        all.push(series("slow", 100, 0.3));
        all.push(series("slower", 101, 0.5));
        let changed = find(&all, 600, &options());
        assert_eq!(changed.judged, 22);
        assert_eq!(changed.findings.len(), 1, "{:?}", changed.findings);
        let finding = &changed.findings[0];
        assert_eq!(finding.severity, Severity::Regression);
        let names: Vec<&str> = finding.evidence.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["slower", "slow"]);
        let (lo, hi) = finding.evidence[0].interval_pct.expect("an interval");
        assert!(lo < 50.0 && 50.0 < hi, "{lo} to {hi}");
        let noon = (DAY_S + DAY_S / 2) * 1_000_000;
        assert!((finding.onset_us - noon).abs() <= 3 * 600_000_000);
        // A rerun gives the same to the last letter.
        assert_eq!(find(&all, 600, &options()).findings, changed.findings);
    }

    #[test]
    fn changes_of_other_days_small_ones_and_quiet_are_left_alone() {
        let mut yesterday = options();
        yesterday.day.until_us = (DAY_S + DAY_S / 4) * 1_000_000;
        let moved = [series("slow", 100, 0.3)];
        assert!(find(&moved, 600, &yesterday).findings.is_empty());
        let small = [series("slow", 100, 0.02)];
        assert!(find(&small, 600, &options()).findings.is_empty());
        let short = [PointSeries {
            at_s: vec![0, 600, 1200],
            values: vec![1.0, 2.0, 3.0],
            ..series("short", 1, 0.0)
        }];
        assert_eq!(find(&short, 600, &options()).judged, 0);
    }

    #[test]
    fn what_moved_on_several_hosts_is_one_finding_with_its_labels() {
        let mut all = Vec::new();
        for host in 0..6 {
            for (number, metric) in ["latency", "errors", "memory"].into_iter().enumerate() {
                let step = if metric == "latency" { 0.3 } else { 0.0 };
                all.push(PointSeries {
                    host: format!("h{host}"),
                    ..series(metric, (host * 10 + number) as u64, step)
                });
            }
        }
        let findings = find(&all, 600, &options()).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].evidence.len(), 6);
        let metric = ("metric".to_owned(), "latency".to_owned());
        assert!(
            findings[0].scope.contains(&metric),
            "{:?}",
            findings[0].scope
        );
    }

    #[test]
    fn a_fall_of_what_should_be_high_is_worse() {
        let fallen = [PointSeries {
            better: "higher".to_owned(),
            ..series("free", 7, -0.3)
        }];
        let changed = find(&fallen, 600, &options());
        assert_eq!(changed.findings[0].severity, Severity::Regression);
    }
}
