//! The report for a comment on a change: the verdict first, tables after it.

use super::figures::{COLUMNS, cells, count, rate, share, times};
use super::text::markdown as escaped;
use super::{Row, RunReport, table, text};

/// GitHub's Markdown.
pub(super) fn render(report: &RunReport) -> String {
    let mut page = format!(
        "## Load test {}: {}\n\n{}.\n\n",
        escaped(&report.scenario),
        report.verdict.as_str(),
        capital(&text::verdict(report))
    );
    if !report.thresholds.is_empty() {
        for result in &report.thresholds {
            let (sign, said) = (table::sign(result.passed), escaped(&result.text));
            page += &format!("- {sign} {said}\n");
        }
        page.push('\n');
    }
    let total = &report.total;
    page += &format!(
        "{} operations, {} answered ({}), {} failed ({}), {} dropped. {}\n\n",
        count(total.operations),
        count(total.answered),
        rate(total.rate_per_s),
        count(total.failed),
        share(total.error_rate),
        count(total.dropped),
        escaped(&text::extent(report))
    );
    page += &distributions(total);
    page += &groups("Endpoint", report.endpoints.iter());
    if report.stages.len() > 1 {
        page += &groups("Stage", report.stages.iter().map(|stage| &stage.row));
    }
    if !report.errors.is_empty() {
        page += "| Error | Count |\n|---|---:|\n";
        for row in &report.errors {
            page += &format!("| {} | {} |\n", escaped(&row.error), count(row.count));
        }
        page.push('\n');
    }
    page += &format!("{}\n\n", escaped(&text::generator(report)));
    page += &format!("{}\n\n", text::COUNTS_FROM);
    page += "<details><summary>The run</summary>\n\n| | |\n|---|---|\n";
    for (name, value) in text::identity(report) {
        page += &format!("| {} | {} |\n", escaped(&name), escaped(&value));
    }
    page + "\n</details>\n"
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn distributions(total: &Row) -> String {
    let row = |name: &str, times: [String; 6]| format!("| {name} | {} |\n", times.join(" | "));
    format!(
        "| | mean | p50 | p95 | p99 | p99.9 | max |\n|---|---:|---:|---:|---:|---:|---:|\n{}{}\n",
        row("Latency (from intended)", times(total.latency.as_ref())),
        row("Service time (from sent)", times(total.service.as_ref()))
    )
}

fn groups<'r>(name: &str, rows: impl Iterator<Item = &'r Row>) -> String {
    let row = |row: &Row| format!("| {} | {} |\n", escaped(&row.name), cells(row).join(" | "));
    let rows: String = rows.map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let rule = "---:|".repeat(COLUMNS.len());
    format!(
        "| {name} | {} |\n|---|{rule}\n{rows}\n",
        COLUMNS.join(" | ")
    )
}
