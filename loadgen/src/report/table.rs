//! The report for a person at a terminal: the verdict first.

use super::figures::{COLUMNS, bytes, cells, count, rate, share, times};
use super::{Row, RunReport, text};

/// The sign before a threshold.
pub(super) fn sign(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "✓",
        Some(false) => "✗",
        None => "?",
    }
}

/// Lines without colours.
pub(super) fn render(report: &RunReport) -> String {
    let mut lines = vec![
        format!(
            "{}: {}",
            report.verdict.as_str().to_uppercase(),
            text::verdict(report)
        ),
        String::new(),
    ];
    lines.push(text::line(&format!(
        "run {} of {} against {}",
        report.run, report.scenario, report.target
    )));
    lines.push(text::extent(report));
    if !report.thresholds.is_empty() {
        lines.push(String::new());
        let results = report.thresholds.iter();
        lines
            .extend(results.map(|one| format!("  {} {}", sign(one.passed), text::line(&one.text))));
    }
    lines.push(String::new());
    let total = &report.total;
    lines.push(format!(
        "{} operations, {} answered ({}), {} failed ({}), {} dropped, {} received",
        count(total.operations),
        count(total.answered),
        rate(total.rate_per_s),
        count(total.failed),
        share(total.error_rate),
        count(total.dropped),
        bytes(total.bytes)
    ));
    lines.extend(distributions(total));
    lines.extend(groups("endpoint", report.endpoints.iter()));
    if report.stages.len() > 1 {
        lines.extend(groups(
            "stage",
            report.stages.iter().map(|stage| &stage.row),
        ));
    }
    if !report.errors.is_empty() {
        lines.push(String::new());
        let rows = report.errors.iter();
        let rows = rows
            .map(|row| vec![text::line(&row.error), count(row.count)])
            .collect();
        lines.extend(aligned(&["error", "count"], rows));
    }
    lines.push(String::new());
    lines.push(text::line(&text::generator(report)));
    lines.push(text::COUNTS_FROM.to_owned());
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn distributions(total: &Row) -> Vec<String> {
    let row = |name: &str, times: [String; 6]| {
        std::iter::once(name.to_owned())
            .chain(times)
            .collect::<Vec<_>>()
    };
    let rows = vec![
        row("latency (from intended)", times(total.latency.as_ref())),
        row("service time (from sent)", times(total.service.as_ref())),
    ];
    aligned(&["", "mean", "p50", "p95", "p99", "p99.9", "max"], rows)
}

fn groups<'r>(name: &str, rows: impl Iterator<Item = &'r Row>) -> Vec<String> {
    let row = |row: &Row| {
        let cells = cells(row);
        std::iter::once(text::line(&row.name))
            .chain(cells)
            .collect::<Vec<_>>()
    };
    let rows: Vec<_> = rows.map(row).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let header: Vec<&str> = std::iter::once(name).chain(COLUMNS).collect();
    let mut lines = vec![String::new()];
    lines.extend(aligned(&header, rows));
    lines
}

/// The first column to the left, all others to the right.
fn aligned(header: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cell = |(at, cell): (usize, &String)| match at {
            0 => format!("  {cell:<width$}", width = widths[at]),
            _ => format!("  {cell:>width$}", width = widths[at]),
        };
        row.iter().enumerate().map(cell).collect()
    };
    rows.iter().map(line).collect()
}
