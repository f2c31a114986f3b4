//! A day's analysis as text: for a terminal, a program, a chat, a build server.

use std::fmt::Write as _;

use chrono::DateTime;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use driftline_analyzer::findings;
use driftline_analyzer::nightly::Evidence;
use driftline_analyzer::{Calendar, Finding, Nightly, Severity};
use serde_json::json;

use super::ReportFormat;
use super::page::Page;
use crate::human::human;

/// Members of a finding that are printed; the rest is counted.
const MOST_MEMBERS: usize = 5;

pub(super) fn render(
    nightly: &Nightly,
    day: &str,
    calendar: Calendar,
    format: ReportFormat,
) -> String {
    match format {
        ReportFormat::Html => Page {
            title: day,
            nightly,
            calendar,
        }
        .render(),
        ReportFormat::Table => table(nightly, day),
        ReportFormat::Json => json(nightly, day).to_string(),
        ReportFormat::Markdown => markdown(nightly, day),
        ReportFormat::Junit => junit(nightly, day),
    }
}

pub(super) fn summary(nightly: &Nightly, day: &str) -> String {
    let count = |severity| {
        let found = nightly
            .findings
            .iter()
            .filter(|finding| finding.severity == severity);
        found.count()
    };
    format!(
        "{day}: {} series and {} load runs judged; {} regressions, {} improvements, {} other changes",
        nightly.series,
        nightly.runs,
        count(Severity::Regression),
        count(Severity::Improvement),
        count(Severity::Change)
    )
}

fn table(nightly: &Nightly, day: &str) -> String {
    let mut text = summary(nightly, day);
    text.push('\n');
    if nightly.findings.is_empty() {
        return text;
    }
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "id",
            "severity",
            "since",
            "what moved",
            "before → after",
            "suspects",
        ]);
    for finding in &nightly.findings {
        let members = finding.evidence.iter().take(MOST_MEMBERS);
        let moved: Vec<String> = members
            .clone()
            .map(|e| format!("{} {}", e.name, effect(e)))
            .collect();
        let levels: Vec<String> = members.map(levels).collect();
        let suspects: Vec<&str> = finding
            .causes
            .iter()
            .map(|cause| cause.what.as_str())
            .collect();
        table.add_row([
            finding.id.clone(),
            finding.severity.as_str().to_owned(),
            moment(finding.onset_us),
            moved.join("\n") + &more(finding),
            levels.join("\n"),
            suspects.join("\n"),
        ]);
    }
    text.push_str(&table.to_string());
    text.push_str("\nLook further: driftline findings show ID\n");
    text
}

fn more(finding: &Finding) -> String {
    match finding.evidence.len().saturating_sub(MOST_MEMBERS) {
        0 => String::new(),
        rest => format!("\nand {rest} more"),
    }
}

pub(super) fn effect(evidence: &Evidence) -> String {
    match (evidence.effect_pct, evidence.interval_pct) {
        (Some(effect), Some((lo, hi))) => format!("{effect:+.1} % ({lo:+.1} … {hi:+.1})"),
        (Some(effect), None) => format!("{effect:+.1} %"),
        _ => String::new(),
    }
}

pub(super) fn levels(evidence: &Evidence) -> String {
    let level = |value| level(value, &evidence.unit);
    format!("{} → {}", level(evidence.before), level(evidence.after))
}

/// A level for people, with its unit.
pub(super) fn level(value: Option<f64>, unit: &str) -> String {
    match (value, unit) {
        (None, _) => "?".to_owned(),
        (Some(value), "ms") => human(value / 1e3, "s"),
        (Some(value), unit) => human(value, unit),
    }
}

fn moment(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map(|moment| moment.format("%Y-%m-%d %H:%M:%SZ").to_string())
        .unwrap_or_default()
}

fn markdown(nightly: &Nightly, day: &str) -> String {
    let mut text = format!("# {}\n", summary(nightly, day));
    for note in &nightly.notes {
        let _ = writeln!(text, "\n> {note}");
    }
    for finding in &nightly.findings {
        let _ = write!(
            text,
            "\n## {}: {}\n\n`{}`, since {}\n\n| what | before → after | change (99 % interval) | p |\n|---|---|---|---|\n",
            finding.severity.as_str(),
            finding.title,
            finding.id,
            moment(finding.onset_us)
        );
        for evidence in finding.evidence.iter().take(MOST_MEMBERS) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0e} |",
                evidence.name.replace('|', "\\|"),
                levels(evidence),
                effect(evidence),
                evidence.p_value
            );
        }
        text.push_str(&more(finding));
        for cause in &finding.causes {
            let _ = write!(
                text,
                "\n- suspect: {} ({})",
                cause.what,
                moment(cause.ts_us)
            );
        }
        let _ = write!(text, "\n\n```sql\n{}\n```\n", finding.sql);
    }
    text
}

fn json(nightly: &Nightly, day: &str) -> serde_json::Value {
    let finding = |finding: &Finding| {
        json!({
            "id": finding.id,
            "severity": finding.severity.as_str(),
            "title": finding.title,
            "onset_us": finding.onset_us,
            "scope": finding.scope.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "evidence": finding.evidence.iter().map(findings::evidence_json).collect::<Vec<_>>(),
            "causes": finding.causes.iter().map(|c| json!({ "ts_us": c.ts_us, "what": c.what })).collect::<Vec<_>>(),
            "sql": finding.sql,
        })
    };
    json!({
        "day": day,
        "series": nightly.series,
        "runs": nightly.runs,
        "notes": nightly.notes,
        "findings": nightly.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn junit(nightly: &Nightly, day: &str) -> String {
    let worse = |finding: &&Finding| finding.severity == Severity::Regression;
    let failures = nightly.findings.iter().filter(worse).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"driftline nightly {day}\" tests=\"{}\" failures=\"{failures}\">\n",
        nightly.findings.len().max(1)
    );
    if nightly.findings.is_empty() {
        text.push_str("    <testcase classname=\"driftline.nightly\" name=\"nothing changed\"/>\n");
    }
    for finding in &nightly.findings {
        let _ = write!(
            text,
            "    <testcase classname=\"driftline.nightly\" name=\"{}\">",
            escaped(&finding.title)
        );
        let members: Vec<String> = finding
            .evidence
            .iter()
            .map(|e| format!("{}: {} {}", e.name, levels(e), effect(e)))
            .collect();
        let members = escaped(&members.join("\n"));
        let _ = match finding.severity {
            Severity::Regression => writeln!(
                text,
                "<failure message=\"{}\">{members}</failure></testcase>",
                escaped(&finding.title)
            ),
            _ => writeln!(text, "<system-out>{members}</system-out></testcase>"),
        };
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
