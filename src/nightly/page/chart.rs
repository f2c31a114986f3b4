//! The charts of a day: each series of a finding, how sure its effects are, and when what began.

use std::fmt::Write as _;

use driftline_analyzer::nightly::{Cause, Plot};
use driftline_analyzer::{Calendar, Finding, Nightly, Severity};
use driftline_loadgen::report::markup as escaped;

use super::super::report::{effect, level};
use super::scale::{Time, Values};

/// The size of a chart in its own units; the page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 270.0;
/// Room for the labels of the axes, and for the names of marks.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 28.0;
/// The widest that a character of a label becomes.
const CHARACTER: f64 = 7.4;
/// How much of the time before the day is drawn, in seconds.
const BEFORE_S: i64 = 2 * 86_400;
/// Points this many usual steps apart are not joined.
const GAP_STEPS: i64 = 3;
/// Rows of a chart of intervals at most.
const MOST_INTERVALS: usize = 20;
/// Marks of a chart at most.
const MOST_MARKS: usize = 30;
/// Longest name of a mark that is written into a chart; the whole is in its title.
const MARK_NAME: usize = 24;

/// A series with its usual band, its levels, its change and what else happened.
pub(super) fn series(id: &str, plot: &Plot, nightly: &Nightly, calendar: &Calendar) -> String {
    let day_s = nightly.day.from_us.div_euclid(1_000_000);
    let first = plot
        .at_s
        .partition_point(|at_s| *at_s < day_s - BEFORE_S)
        .min(plot.change);
    let (Some(from_s), Some(until_s)) = (plot.at_s.get(first), plot.at_s.last()) else {
        return String::new();
    };
    let frame = Frame {
        time: Time {
            from_s: *from_s,
            until_s: *until_s,
        },
        values: Values::around(
            plot.values[first..]
                .iter()
                .copied()
                .chain(plot.band.iter().flat_map(|(lo, hi)| [*lo, *hi]))
                .chain(plot.before)
                .chain(plot.after),
        ),
        day_s: (day_s, nightly.day.until_us.div_euclid(1_000_000)),
    };
    let said = format!(
        "{} on {}: {} before, {} since {}.",
        plot.name,
        plot.host,
        level(plot.before, &plot.unit),
        level(plot.after, &plot.unit),
        calendar.format(plot.at_s[plot.change] * 1_000_000, "%Y-%m-%d %H:%M")
    );
    let content = [
        frame.day(),
        frame.usual(plot),
        frame.grid(plot, calendar),
        frame.marks(&nightly.marks),
        frame.points(plot, first),
        frame.levels(plot),
        frame.onset(plot, calendar),
    ];
    format!(
        "<figure>\n<figcaption><b>{}</b>{LEGEND}</figcaption>\n{}</figure>\n",
        escaped(&plot.name),
        svg(id, HEIGHT, &plot.name, &said, &content.concat())
    )
}

const LEGEND: &str = "<span><svg width=\"22\" height=\"10\" aria-hidden=\"true\"><path class=\"usual\" d=\"M0 0h22v10h-22z\"/>\
    <path class=\"before\" d=\"M0 5h22\"/></svg>usual before</span>\
    <span><svg width=\"22\" height=\"10\" aria-hidden=\"true\"><path class=\"after\" d=\"M0 5h22\"/></svg>since</span>\
    <span><svg width=\"22\" height=\"10\" aria-hidden=\"true\"><path class=\"mark\" d=\"M11 0v10\"/></svg>mark</span>";

fn svg(id: &str, height: f64, title: &str, description: &str, content: &str) -> String {
    let (id, title, description) = (escaped(id), escaped(title), escaped(description));
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{description}</desc>\n{content}</svg>\n"
    )
}

/// A chart's axes.
struct Frame {
    time: Time,
    values: Values,
    /// The day, in seconds since 1970.
    day_s: (i64, i64),
}

impl Frame {
    fn x(&self, at_s: i64) -> f64 {
        LEFT + self.time.share(at_s) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.values.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn rectangle(&self, class: &str, x: (f64, f64), y: (f64, f64)) -> String {
        let (width, height) = ((x.1 - x.0).max(0.0), (y.1 - y.0).max(0.0));
        format!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n",
            x.0, y.0
        )
    }

    fn day(&self) -> String {
        let x = (self.x(self.day_s.0), self.x(self.day_s.1));
        self.rectangle("day", x, (TOP, HEIGHT - BOTTOM))
    }

    /// What was usual, as strong as it was learnt, and faintly on from there for comparison.
    fn usual(&self, plot: &Plot) -> String {
        let Some((lo, hi)) = plot.band else {
            return String::new();
        };
        let y = (self.y(hi), self.y(lo));
        let change = self.x(plot.at_s[plot.change]);
        self.rectangle("usual", (self.x(plot.at_s[plot.from]), change), y)
            + &self.rectangle("usual-later", (change, WIDTH - RIGHT), y)
    }

    fn grid(&self, plot: &Plot, calendar: &Calendar) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = String::new();
        for value in self.values.ticks() {
            let y = self.y(value);
            let label = escaped(&level(Some(value), &plot.unit));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        svg + &times(&self.time, calendar, TOP, bottom)
            + &format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n")
    }

    fn marks(&self, marks: &[Cause]) -> String {
        vertical_marks(marks, &self.time, HEIGHT - BOTTOM)
    }

    fn points(&self, plot: &Plot, first: usize) -> String {
        let at_s = &plot.at_s[first..];
        let step = at_s
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .min()
            .unwrap_or(1);
        let mut path = String::new();
        let mut before = None;
        for (at_s, value) in at_s.iter().zip(&plot.values[first..]) {
            let joined = before.is_some_and(|before| at_s - before <= GAP_STEPS * step);
            let letter = if joined { 'L' } else { 'M' };
            let _ = write!(path, "{letter}{:.1} {:.1}", self.x(*at_s), self.y(*value));
            before = Some(*at_s);
        }
        format!("<path class=\"points\" d=\"{path}\"/>\n")
    }

    fn levels(&self, plot: &Plot) -> String {
        let end = plot
            .at_s
            .get(plot.until)
            .or(plot.at_s.last())
            .map_or(WIDTH - RIGHT, |at_s| self.x(*at_s));
        let change = self.x(plot.at_s[plot.change]);
        let parts = [
            ("before", plot.before, self.x(plot.at_s[plot.from]), change),
            ("after", plot.after, change, end),
        ];
        let line = |(class, value, from, until): (&str, Option<f64>, f64, f64)| {
            value.map(|value| {
                let y = self.y(value);
                format!("<path class=\"{class}\" d=\"M{from:.1} {y:.1}H{until:.1}\"/>\n")
            })
        };
        parts.into_iter().filter_map(line).collect()
    }

    fn onset(&self, plot: &Plot, calendar: &Calendar) -> String {
        let at_s = plot.at_s[plot.change];
        let (x, bottom) = (self.x(at_s), HEIGHT - BOTTOM);
        let text = format!(
            "{} → {} since {}",
            level(plot.before, &plot.unit),
            level(plot.after, &plot.unit),
            calendar.format(at_s.saturating_mul(1_000_000), "%H:%M")
        );
        let half = text.chars().count() as f64 * CHARACTER / 2.0;
        let middle = x.clamp(LEFT + half, (WIDTH - RIGHT - half).max(LEFT + half));
        format!(
            "<path class=\"onset\" d=\"M{x:.1} {}V{bottom}\"/><text class=\"onset-name\" x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            TOP - 8.0,
            TOP - 13.0,
            escaped(&text)
        )
    }
}

/// Ticks of time with their grid and labels.
fn times(time: &Time, calendar: &Calendar, top: f64, bottom: f64) -> String {
    let mut svg = String::new();
    let mut free_from = 0.0;
    for (at_s, label) in time.ticks(calendar) {
        let x = LEFT + time.share(at_s) * (WIDTH - LEFT - RIGHT);
        let _ = write!(svg, "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>");
        let half = label.chars().count() as f64 * CHARACTER / 2.0;
        if x - half < free_from {
            continue;
        }
        free_from = x + half + CHARACTER;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x.min(WIDTH - half),
            bottom + 17.0,
            escaped(&label)
        );
    }
    svg
}

/// Marks as vertical lines; their names where there is room.
fn vertical_marks(marks: &[Cause], time: &Time, bottom: f64) -> String {
    let mut svg = String::new();
    let mut free_from = LEFT;
    let here = marks
        .iter()
        .map(|mark| (mark.ts_us.div_euclid(1_000_000), mark))
        .filter(|(at_s, _)| time.holds(*at_s));
    for (at_s, mark) in here.take(MOST_MARKS) {
        let x = LEFT + time.share(at_s) * (WIDTH - LEFT - RIGHT);
        let _ = write!(
            svg,
            "<path class=\"mark\" d=\"M{x:.1} {}V{bottom}\"><title>{}</title></path>",
            TOP - 4.0,
            escaped(&mark.what)
        );
        let name = shortened(&mark.what);
        let taken = name.chars().count() as f64 * CHARACTER;
        let left = (x - taken / 2.0).clamp(free_from, (WIDTH - taken).max(free_from));
        // A name that would stand far from its line is in the title alone.
        if (left + taken / 2.0 - x).abs() <= taken / 2.0 + CHARACTER && left + taken <= WIDTH {
            let _ = write!(
                svg,
                "<text class=\"mark-name\" x=\"{left:.1}\" y=\"12\">{}</text>",
                escaped(&name)
            );
            free_from = left + taken + CHARACTER;
        }
    }
    svg
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MARK_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// When what began: a lane for each severity, marks across.
pub(super) fn day(nightly: &Nightly, calendar: &Calendar) -> String {
    const LANE: f64 = 26.0;
    let lanes = [
        Severity::Regression,
        Severity::Change,
        Severity::Improvement,
    ];
    let bottom = TOP + LANE * lanes.len() as f64;
    let height = bottom + BOTTOM;
    let time = Time {
        from_s: nightly.day.from_us.div_euclid(1_000_000),
        until_s: nightly.day.until_us.div_euclid(1_000_000),
    };
    let mut content = times(&time, calendar, TOP, bottom);
    content += &vertical_marks(&nightly.marks, &time, bottom);
    for (number, severity) in lanes.into_iter().enumerate() {
        let y = TOP + LANE * (number as f64 + 0.5);
        let name = severity.as_str();
        let _ = writeln!(
            content,
            "<path class=\"grid\" d=\"M{LEFT} {y}H{}\"/><text class=\"lane\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            match severity {
                Severity::Regression => "worse",
                Severity::Change => "other",
                Severity::Improvement => "better",
            }
        );
        for finding in nightly.findings.iter().filter(|f| f.severity == severity) {
            let x =
                LEFT + time.share(finding.onset_us.div_euclid(1_000_000)) * (WIDTH - LEFT - RIGHT);
            // The area grows with the number of series.
            let radius = (4.0 + (finding.evidence.len() as f64).sqrt()).min(LANE / 2.0 - 1.0);
            let _ = writeln!(
                content,
                "<a href=\"#{}\"><circle class=\"{name}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"{radius:.1}\" fill-opacity=\".75\"><title>{}</title></circle></a>",
                escaped(&finding.id),
                escaped(&finding.title)
            );
        }
    }
    let said = format!(
        "{} findings by the time when they began.",
        nightly.findings.len()
    );
    format!(
        "<figure class=\"wide\">\n<figcaption><b>When what began</b></figcaption>\n{}</figure>\n",
        svg("day", height, "When what began", &said, &content)
    )
}

/// The effects of a finding's members with their intervals; nothing where there is one alone.
pub(super) fn intervals(finding: &Finding) -> String {
    const ROW: f64 = 22.0;
    const NAMES: f64 = 250.0;
    let rows: Vec<_> = finding
        .evidence
        .iter()
        .filter_map(|e| Some((e, e.effect_pct?, e.interval_pct?)))
        .take(MOST_INTERVALS)
        .collect();
    if rows.len() < 2 {
        return String::new();
    }
    let bounds = rows
        .iter()
        .flat_map(|(_, effect, (lo, hi))| [*effect, *lo, *hi]);
    let scale = Values::around(bounds.chain([0.0]));
    let x = |value: f64| NAMES + scale.share(value) * (WIDTH - NAMES - RIGHT);
    let (top, bottom) = (8.0, 8.0 + ROW * rows.len() as f64);
    let mut content = String::new();
    for tick in scale.ticks() {
        let at = x(tick);
        let class = if tick == 0.0 { "zero" } else { "grid" };
        let _ = write!(
            content,
            "<path class=\"{class}\" d=\"M{at:.1} {top}V{bottom}\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{} %</text>",
            bottom + 17.0,
            (tick * 1e6).round() / 1e6
        );
    }
    for (number, (evidence, at, (lo, hi))) in rows.iter().enumerate() {
        let y = top + ROW * (number as f64 + 0.5);
        let room = (NAMES / CHARACTER) as usize - 2;
        let name = match evidence.name.char_indices().nth(room) {
            Some((end, _)) => format!("{}…", &evidence.name[..end]),
            None => evidence.name.clone(),
        };
        let _ = writeln!(
            content,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}<title>{}: {}</title></text>\
             <path class=\"interval\" d=\"M{:.1} {y}H{:.1}\"/><circle class=\"estimate\" cx=\"{:.1}\" cy=\"{y}\" r=\"4\"/>",
            NAMES - 8.0,
            y + 4.0,
            escaped(&name),
            escaped(&evidence.name),
            escaped(&effect(evidence)),
            x(*lo),
            x(*hi),
            x(*at)
        );
    }
    let id = format!("{}-intervals", finding.id);
    let said = format!(
        "Changes of {} members of the finding in percent, with 99 % intervals.",
        rows.len()
    );
    format!(
        "<figure>\n<figcaption><b>By how much each moved</b></figcaption>\n{}</figure>\n",
        svg(
            &id,
            bottom + BOTTOM,
            "By how much each moved",
            &said,
            &content
        )
    )
}
