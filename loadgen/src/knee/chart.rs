//! The result as a chart in SVG, to stand inside a page: throughput and p95 against the offered
//! rate, the knee's interval shaded, the fitted law as a curve. No script, no outside resource, and
//! the colours follow the reader's light or dark scheme. The same result gives the same bytes.

use std::fmt::Write;

use super::judgement::Judgement;
use super::text::rate;
use super::{Knee, StepSummary};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const PANEL: f64 = 200.0;
const TOP: f64 = 64.0;
const GAP: f64 = 44.0;
const BOTTOM: f64 = 48.0;
const TICKS: usize = 5;
/// Points of the law's curve.
const CURVE_POINTS: usize = 120;

const STYLE: &str = "\
.knee{--ink:#1f2328;--faint:#d0d7de;--good:#0969da;--bad:#cf222e;--unsure:#9a6700;--law:#8250df;--band:#cf222e22;font:12px system-ui,sans-serif;max-width:100%;height:auto}\
@media(prefers-color-scheme:dark){.knee{--ink:#e6edf3;--faint:#3d444d;--good:#58a6ff;--bad:#ff7b72;--unsure:#d29922;--law:#bc8cff;--band:#ff7b7233}}\
.knee text{fill:var(--ink)}.knee .grid{stroke:var(--faint)}.knee .axis{stroke:var(--ink)}.knee .band{fill:var(--band)}\
.knee .mark{stroke:var(--bad);stroke-dasharray:4 3}.knee .law{fill:none;stroke:var(--law);stroke-width:2}.knee .ideal{stroke:var(--ink);stroke-dasharray:2 4;opacity:.6}\
.knee .good{fill:var(--good);stroke:var(--good)}.knee .bad{fill:var(--bad);stroke:var(--bad)}.knee .unsure{fill:var(--unsure);stroke:var(--unsure)}.knee .limited{fill:none;stroke:var(--ink)}";

/// The chart of a result: an `<svg>` element that a page can hold as it is.
pub fn svg(knee: &Knee) -> String {
    let height = TOP + 2.0 * PANEL + GAP + BOTTOM;
    let title = title(knee);
    let mut svg = format!(
        "<svg class=\"knee\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\"><title>{title}</title><style>{STYLE}</style>\
         <text x=\"{LEFT}\" y=\"20\" font-weight=\"600\">{title}</text>"
    );
    let most = |take: &dyn Fn(&StepSummary) -> Option<f64>| {
        knee.steps
            .iter()
            .filter_map(take)
            .filter(|it| it.is_finite())
            .fold(0.0, f64::max)
    };
    let rates = Axis::up_to(most(&|step| Some(step.report.rate)), LEFT, WIDTH - RIGHT);
    let throughput_of = |step: &StepSummary| {
        step.report
            .throughput_per_s
            .map(|it| (it.value, it.low, it.high))
    };
    let p95_of = |step: &StepSummary| {
        step.report
            .p95_ns
            .map(|it| (it.value * 1e-6, it.low * 1e-6, it.high * 1e-6))
    };
    let throughputs = Axis::up_to(
        most(&|step| throughput_of(step).map(|it| it.0)),
        TOP + PANEL,
        TOP,
    );
    let lower = TOP + PANEL + GAP;
    let times = Axis::up_to(shown_p95(knee), lower + PANEL, lower);

    panel(
        &mut svg,
        knee,
        &rates,
        &throughputs,
        "completed, operations/s",
    );
    ideal(&mut svg, &rates, &throughputs);
    curve(&mut svg, knee, &rates, |offered, usl| {
        let peak = usl.peak.map(|peak| peak.throughput_per_s.value);
        Some(throughputs.at(peak.map_or(offered, |peak| offered.min(peak))))
    });
    points(&mut svg, knee, &rates, &throughputs, throughput_of);
    let name = match knee.usl {
        Some(_) => "p95 response time, ms (curve: mean by the scalability law)",
        None => "p95 response time, ms",
    };
    panel(&mut svg, knee, &rates, &times, name);
    curve(&mut svg, knee, &rates, |offered, usl| {
        let mean_ms = usl.concurrency(offered)? / offered * 1e3;
        (mean_ms <= times.most).then(|| times.at(mean_ms))
    });
    points(&mut svg, knee, &rates, &times, p95_of);
    write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">offered, operations/s</text>{}</svg>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        height - 10.0,
        legend(knee)
    )
    .expect("writing to a string cannot fail");
    svg
}

fn title(knee: &Knee) -> String {
    match (knee.rate, knee.interval) {
        (Some(at), Some((low, high))) => {
            format!(
                "Breaking point at {}/s ({} to {}/s)",
                rate(at),
                rate(low),
                rate(high)
            )
        }
        _ => "No breaking point was found".to_owned(),
    }
}

/// The scale of p95 leaves out what is far beyond the knee, where it measures only how long the
/// overload lasted: four times the p95 of the highest good rate, or all where nothing was good.
fn shown_p95(knee: &Knee) -> f64 {
    const FAR_BEYOND: f64 = 4.0;
    let p95 = |step: &StepSummary| step.report.p95_ns.map(|it| it.value * 1e-6);
    let most = |is_wanted: &dyn Fn(&&StepSummary) -> bool| {
        knee.steps
            .iter()
            .filter(is_wanted)
            .filter_map(p95)
            .fold(0.0, f64::max)
    };
    let good = most(&|step| step.judgement == Judgement::Good);
    let all = most(&|_| true);
    if good > 0.0 {
        all.min(good * FAR_BEYOND)
    } else {
        all
    }
}

/// A linear axis from 0.
struct Axis {
    most: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// With round ticks; `from` and `to` are where 0 and the end are drawn.
    fn up_to(most: f64, from: f64, to: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 {
            most
        } else {
            1.0
        };
        let rough = most / TICKS as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .map(|round| round * power)
            .into_iter()
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(10.0 * power);
        let most = (most / step).ceil() * step;
        Self {
            most,
            step,
            from,
            to,
        }
    }

    /// Where a value is drawn; values beyond the end are drawn at the end.
    fn at(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * (value / self.most).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let count = (self.most / self.step).round() as usize;
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        // A step of 2.5 needs one digit more than its size says.
        let digits = digits + usize::from((self.step * 10_f64.powi(digits as i32)).fract() > 1e-6);
        (0..=count).map(move |tick| {
            let value = tick as f64 * self.step;
            (self.at(value), format!("{value:.digits$}"))
        })
    }
}

/// A panel's frame, ticks and names, and the knee in it.
fn panel(svg: &mut String, knee: &Knee, x: &Axis, y: &Axis, name: &str) {
    let (left, right) = (x.from, x.to);
    for (at, label) in y.ticks() {
        push(
            svg,
            format_args!(
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 6.0,
                at + 4.0
            ),
        );
    }
    for (at, label) in x.ticks() {
        push(
            svg,
            format_args!(
                "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                y.from,
                y.from + 4.0,
                y.from + 18.0
            ),
        );
    }
    if let Some((low, high)) = knee.interval {
        let width = (x.at(high) - x.at(low)).max(1.0);
        push(
            svg,
            format_args!(
                "<rect class=\"band\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{PANEL}\"/>",
                x.at(low),
                y.to
            ),
        );
    }
    if let Some(at) = knee.rate {
        let at = x.at(at);
        push(
            svg,
            format_args!(
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                y.from, y.to
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/><text x=\"{left}\" y=\"{1:.1}\">{name}</text>",
            y.from,
            y.to - 6.0
        ),
    );
}

/// Completed as much as offered.
fn ideal(svg: &mut String, x: &Axis, y: &Axis) {
    let end = x.most.min(y.most);
    push(
        svg,
        format_args!(
            "<line class=\"ideal\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            x.at(0.0),
            y.at(0.0),
            x.at(end),
            y.at(end)
        ),
    );
}

fn curve(
    svg: &mut String,
    knee: &Knee,
    x: &Axis,
    y_at: impl Fn(f64, &super::UslFit) -> Option<f64>,
) {
    let Some(usl) = &knee.usl else { return };
    let points: Vec<String> = (1..=CURVE_POINTS)
        .filter_map(|at| {
            let offered = x.most * at as f64 / CURVE_POINTS as f64;
            Some(format!("{:.1},{:.1}", x.at(offered), y_at(offered, usl)?))
        })
        .collect();
    push(
        svg,
        format_args!("<polyline class=\"law\" points=\"{}\"/>", points.join(" ")),
    );
}

fn points(
    svg: &mut String,
    knee: &Knee,
    x: &Axis,
    y: &Axis,
    take: impl Fn(&StepSummary) -> Option<(f64, f64, f64)>,
) {
    for step in &knee.steps {
        let Some((value, low, high)) = take(step) else {
            continue;
        };
        let class = match step.judgement {
            Judgement::Good => "good",
            Judgement::Bad => "bad",
            Judgement::Unsure => "unsure",
            Judgement::GeneratorLimited => "limited",
        };
        let at = x.at(step.report.rate);
        push(
            svg,
            format_args!(
                "<g class=\"{class}\"><title>step {}: {}/s offered, {value:.2} ({low:.2} to {high:.2})</title><line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\"/></g>",
                step.number,
                rate(step.report.rate),
                y.at(low),
                y.at(high),
                y.at(value)
            ),
        );
    }
}

fn legend(knee: &Knee) -> String {
    let mut entries = vec![
        ("good", "good"),
        ("bad", "bad"),
        ("unsure", "not sure"),
        ("limited", "generator-limited"),
    ];
    if knee.usl.is_some() {
        entries.push(("law", "scalability law"));
    }
    if knee.interval.is_some() {
        entries.push(("band", "breaking point's interval"));
    }
    let mut text = String::new();
    let mut x = LEFT;
    for (class, name) in entries {
        push(
            &mut text,
            format_args!(
                "<g><rect class=\"{class}\" x=\"{x:.1}\" y=\"26\" width=\"9\" height=\"5\"/><text x=\"{:.1}\" y=\"33\" font-size=\"10\">{name}</text></g>",
                x + 13.0
            ),
        );
        x += 26.0 + name.len() as f64 * 5.6;
    }
    text
}

fn push(svg: &mut String, arguments: std::fmt::Arguments<'_>) {
    svg.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
