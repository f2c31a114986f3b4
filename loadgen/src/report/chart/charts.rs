//! The charts of a run: throughput, latency and errors over its time, and how latency is spread.

use super::{Band, Frame, Legend, Scale};
use crate::report::figures::{self, count};
use crate::report::{RunReport, TimelineRow};

/// All charts, as figures of a page.
pub(in crate::report) fn render(report: &RunReport) -> String {
    [
        throughput(report),
        latency(report),
        errors(report),
        spread(report),
    ]
    .concat()
}

/// The end of the axis of time, in seconds.
fn end_s(report: &RunReport) -> f64 {
    let step = report.timeline_step_s;
    let last = report.timeline.last().map_or(1, |row| row.from_s + step);
    last as f64
}

fn bands(report: &RunReport) -> Vec<Band> {
    let classes = ["band0", "band1"].into_iter().cycle();
    let stages = report
        .stages
        .iter()
        .zip(classes)
        .map(|(stage, class)| Band {
            from: stage.from_s,
            until: stage.until_s,
            name: stage.row.name.clone(),
            class,
        });
    let mut bands: Vec<Band> = stages.collect();
    if report.warm_up_s > 0.0 {
        bands.push(Band {
            from: 0.0,
            until: report.warm_up_s,
            name: String::new(),
            class: "warm-up",
        });
    }
    bands
}

/// Points stand in the middle of their rows.
fn middle(report: &RunReport, row: &TimelineRow) -> f64 {
    row.from_s as f64 + report.timeline_step_s as f64 / 2.0
}

fn warm_up_legend(report: &RunReport) -> Option<Legend> {
    (report.warm_up_s > 0.0).then_some(Legend {
        class: "a-warm-up",
        name: "warm-up",
    })
}

fn throughput(report: &RunReport) -> String {
    let step = report.timeline_step_s as f64;
    let per_s = |count: u64| count as f64 / step;
    let rows = report.timeline.iter();
    let largest = rows
        .map(|row| per_s(row.arrivals.max(row.completed)))
        .fold(0.0, f64::max);
    let legend = [
        Legend {
            class: "l1",
            name: "offered",
        },
        Legend {
            class: "l2",
            name: "answered",
        },
    ];
    let frame = Frame {
        id: "throughput",
        title: "Throughput",
        description: format!(
            "Operations per second over time: {} offered and {} answered in all, at most {} per second.",
            count(report.timeline.iter().map(|row| row.arrivals).sum()),
            count(report.timeline.iter().map(|row| row.completed).sum()),
            figures::number(largest)
        ),
        x: Scale::Seconds(end_s(report)),
        x_label: Scale::time_label(end_s(report)),
        y: Scale::amount(largest),
        y_label: "operations per second",
        bands: bands(report),
        legend: legend.into_iter().chain(warm_up_legend(report)).collect(),
    };
    let line = |class, value: fn(&TimelineRow) -> u64| {
        let rows = report.timeline.iter();
        frame.line(
            class,
            rows.map(|row| (middle(report, row), Some(per_s(value(row))))),
        )
    };
    let lines = line("l1", |row| row.arrivals) + &line("l2", |row| row.completed);
    frame.figure(&lines)
}

fn latency(report: &RunReport) -> String {
    let quantiles: [fn(&TimelineRow) -> Option<f64>; 3] =
        [|row| row.p50_ms, |row| row.p95_ms, |row| row.p99_ms];
    let rows = report.timeline.iter();
    let times = rows
        .flat_map(|row| quantiles.map(|quantile| quantile(row)))
        .flatten();
    let scale = Scale::milliseconds(times);
    let total = report.total.latency.as_ref();
    let legend = [
        Legend {
            class: "l1",
            name: "p50",
        },
        Legend {
            class: "l2",
            name: "p95",
        },
        Legend {
            class: "l3",
            name: "p99",
        },
    ];
    let frame = Frame {
        id: "latency",
        title: "Latency over time",
        description: match total {
            Some(times) => format!(
                "Response times by when operations were intended, on a logarithmic axis. Over the run p50 {}, p95 {}, p99 {}.",
                figures::time(times.p50),
                figures::time(times.p95),
                figures::time(times.p99)
            ),
            None => "There are no response times.".to_owned(),
        },
        x: Scale::Seconds(end_s(report)),
        x_label: Scale::time_label(end_s(report)),
        y: scale.clone().unwrap_or(Scale::Milliseconds {
            from: 1.0,
            until: 1_000.0,
        }),
        y_label: "latency from intended (log)",
        bands: bands(report),
        legend: legend.into_iter().chain(warm_up_legend(report)).collect(),
    };
    if scale.is_none() {
        return frame.figure(&frame.remark("no response times"));
    }
    let line = |(class, quantile): (&str, fn(&TimelineRow) -> Option<f64>)| {
        let rows = report.timeline.iter();
        frame.line(class, rows.map(|row| (middle(report, row), quantile(row))))
    };
    let lines: String = ["l1", "l2", "l3"]
        .into_iter()
        .zip(quantiles)
        .map(line)
        .collect();
    frame.figure(&lines)
}

fn errors(report: &RunReport) -> String {
    let step = report.timeline_step_s as f64;
    let per_s = |count: u64| count as f64 / step;
    let rows = report.timeline.iter();
    let largest = rows.map(|row| per_s(row.failed)).fold(0.0, f64::max);
    let frame = Frame {
        id: "errors",
        title: "Errors over time",
        description: format!(
            "Failed operations per second by when they were intended: {} in all, of which {} arrivals were dropped.",
            count(report.timeline.iter().map(|row| row.failed).sum()),
            count(report.timeline.iter().map(|row| row.dropped).sum())
        ),
        x: Scale::Seconds(end_s(report)),
        x_label: Scale::time_label(end_s(report)),
        y: Scale::amount(largest),
        y_label: "failed operations per second",
        bands: bands(report),
        legend: [
            Legend {
                class: "a3",
                name: "failed",
            },
            Legend {
                class: "a2",
                name: "of which dropped",
            },
        ]
        .into_iter()
        .chain(warm_up_legend(report))
        .collect(),
    };
    if largest == 0.0 {
        return frame.figure(&frame.remark("no errors"));
    }
    let bars = |class, value: fn(&TimelineRow) -> u64| {
        let rows = report.timeline.iter();
        frame.bars(
            class,
            step,
            rows.map(|row| (row.from_s as f64, per_s(value(row)))),
        )
    };
    let bars = bars("a3", |row| row.failed) + &bars("a2", |row| row.dropped);
    frame.figure(&bars)
}

fn spread(report: &RunReport) -> String {
    let scale = Scale::milliseconds(report.percentiles.iter().map(|row| row.time.ms));
    let last = report.percentiles.last().map_or(0.9, |row| row.quantile);
    let is_bound = report.percentiles.iter().any(|row| row.time.at_least);
    let mut legend = vec![Legend {
        class: "l1",
        name: "measured",
    }];
    if is_bound {
        legend.push(Legend {
            class: "l3",
            name: "at least",
        });
    }
    let max = report
        .total
        .latency
        .as_ref()
        .map(|times| figures::time(times.max));
    let frame = Frame {
        id: "spread",
        title: "Latency by percentile",
        description: format!(
            "Response time by the share of operations that took at most so long, each further nine as wide as the one before. The longest took {}.",
            max.as_deref().unwrap_or(figures::NONE)
        ),
        x: Scale::Nines((-(1.0 - last).log10()).max(1.0)),
        x_label: "share of operations (each nine as wide as the one before)",
        y: scale.clone().unwrap_or(Scale::Milliseconds {
            from: 1.0,
            until: 1_000.0,
        }),
        y_label: "latency from intended (log)",
        bands: Vec::new(),
        legend,
    };
    if scale.is_none() {
        return frame.figure(&frame.remark("no response times"));
    }
    let first_bound = report.percentiles.iter().position(|row| row.time.at_least);
    let split = first_bound.unwrap_or(report.percentiles.len());
    let line = |class, rows: &[crate::report::PercentileRow]| {
        frame.line(
            class,
            rows.iter().map(|row| (row.quantile, Some(row.time.ms))),
        )
    };
    // The lower bounds begin where the measured times end.
    let mut lines = line("l1", &report.percentiles[..split]);
    if first_bound.is_some() {
        lines += &line("l3", &report.percentiles[split.saturating_sub(1)..]);
    }
    frame.figure(&lines)
}
