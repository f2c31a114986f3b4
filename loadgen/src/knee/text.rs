//! The result in words: sentences for who asked, and a table of the steps.

use std::fmt::Write;

use super::judgement::Judgement;
use super::statistics::Estimate;
use super::usl::UslFit;
use super::{Knee, SAFE_SHARE, StepSummary, Verdict};

/// The result as plain text, ending with a newline.
pub fn text(knee: &Knee) -> String {
    let mut lines = vec![headline(knee)];
    if let (Some(safe), Some(held)) = (knee.safe_rate, knee.held_rate) {
        lines.push(format!(
            "Safe operating rate: {}/s ({:.0} % of {}/s, the highest rate that surely holds).",
            rate(safe),
            SAFE_SHARE * 100.0,
            rate(held)
        ));
    }
    if let Some(saturated) = &knee.saturated {
        lines.push(format!("Saturated: {}.", saturated.evidence));
    } else if knee.interval.is_some() {
        lines.push(
            "Saturated: not known; no resource of the target's host was seen at its limit."
                .to_owned(),
        );
    }
    lines.extend(knee.usl.as_ref().map(law));
    lines.extend(knee.notes.iter().map(|note| format!("Note: {note}.")));
    let mut text = lines.join("\n");
    text.push_str("\n\n");
    text.push_str(&table(&knee.steps));
    text
}

fn headline(knee: &Knee) -> String {
    let because = knee
        .reason
        .as_ref()
        .map_or(String::new(), |reason| format!(": {reason}"));
    let held = knee
        .held_rate
        .map_or("no rate".to_owned(), |held| format!("{}/s", rate(held)));
    let found = knee.rate.zip(knee.interval).map(|(at, (low, high))| {
        format!(
            "{}/s, surely between {} and {}/s{because}",
            rate(at),
            rate(low),
            rate(high)
        )
    });
    match (knee.verdict, found) {
        (Verdict::Found, Some(found)) => format!("Breaking point: {found}."),
        (Verdict::TimeBox, Some(found)) => {
            format!(
                "Breaking point, less narrow than asked for because the search's time was up: {found}."
            )
        }
        (Verdict::TimeBox | Verdict::Found, _) => {
            format!("No breaking point yet: the search's time was up; {held} holds.")
        }
        (Verdict::NotReached, _) => {
            format!("No breaking point up to the highest rate that was tried; {held} holds.")
        }
        (Verdict::GeneratorLimited, _) => format!(
            "No breaking point: the generator reached its own limit first; {held} holds. Add workers, or run it on another host."
        ),
        (Verdict::TargetFailed, _) => {
            format!("The target does not hold even the lowest rate that was tried{because}.")
        }
    }
}

fn law(usl: &UslFit) -> String {
    let of = |it: &Estimate, digits: usize| {
        format!(
            "{:.digits$} ({:.digits$} to {:.digits$})",
            it.value, it.low, it.high
        )
    };
    let mut sentence = format!(
        "Universal Scalability Law over {} rates: contention σ {}, coherency κ {:.2e} ({:.2e} to {:.2e}), {} requests/s at a concurrency of 1",
        usl.points.len(),
        of(&usl.sigma, 4),
        usl.kappa.value,
        usl.kappa.low,
        usl.kappa.high,
        of(&usl.lambda, 1),
    );
    let end = match &usl.peak {
        Some(peak) => format!(
            "; it peaks at {} requests/s with a concurrency of {}.",
            of(&peak.throughput_per_s, 0),
            of(&peak.concurrency, 0)
        ),
        None => "; κ cannot be told from 0, so no peak can be foreseen: still scaling as far as the steps show.".to_owned(),
    };
    sentence.push_str(&end);
    sentence
}

fn table(steps: &[StepSummary]) -> String {
    let header = [
        "step",
        "offered/s",
        "completed/s",
        "p95 ms",
        "± %",
        "errors %",
        "dropped",
        "seconds",
        "verdict",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(steps.iter().map(row));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 9] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row[..8].iter().zip(widths) {
            write!(text, "{cell:>width$}  ").expect("writing to a string cannot fail");
        }
        text.push_str(&row[8]);
        text.push('\n');
    }
    text
}

fn row(step: &StepSummary) -> [String; 9] {
    let report = &step.report;
    let show = |estimate: Option<Estimate>, scale: f64, digits: usize| {
        estimate.map_or("-".to_owned(), |it| {
            format!("{:.digits$}", it.value * scale)
        })
    };
    let width = report.p95_ns.map_or("-".to_owned(), |it| {
        format!("{:.1}", it.relative_half_width() * 100.0)
    });
    let mut verdict = match step.judgement {
        Judgement::Good => "good",
        Judgement::Bad => "bad",
        Judgement::Unsure => "not sure",
        Judgement::GeneratorLimited => "generator-limited",
    }
    .to_owned();
    for (at, reason) in step.reasons.iter().enumerate() {
        let joint = match (at, step.judgement) {
            (0, Judgement::Unsure) => " whether ",
            (0, _) => ": ",
            _ => ", ",
        };
        write!(verdict, "{joint}{reason}").expect("writing to a string cannot fail");
    }
    [
        step.number.to_string(),
        rate(report.rate),
        show(report.throughput_per_s, 1.0, 1),
        show(report.p95_ns, 1e-6, 2),
        width,
        show(report.error_share, 100.0, 2),
        report.dropped.to_string(),
        format!("{:.0}", report.seconds),
        verdict,
    ]
}

/// A rate with about four digits.
pub(super) fn rate(value: f64) -> String {
    if value >= 1_000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
