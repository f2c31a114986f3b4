//! The report as one page: no scripts, nothing from elsewhere, light or dark as the reader's system
//! is, and fit for printing. Charts are left to [`super::chart`].

use super::chart::charts;
use super::figures::{COLUMNS, NONE, bytes, cells, count, rate, share, time, times};
use super::text::markup as escaped;
use super::{Row, RunReport, Verdict, table, text};

/// The style sheet of pages like this one, so that other reports look the same.
pub const STYLE: &str = include_str!("report.css");

/// A whole document.
pub(super) fn render(report: &RunReport) -> String {
    let title = format!("Load test {}: {}", report.scenario, report.verdict.as_str());
    let sections = [
        header(report),
        thresholds(report),
        figures(report),
        format!(
            "<section class=\"charts\" aria-label=\"Charts\">\n{}</section>\n",
            charts::render(report)
        ),
        distributions(&report.total),
        groups("Endpoints", "endpoint", report.endpoints.iter()),
        stages(report),
        errors(report),
        run(report),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{}</main>\n</body>\n</html>\n",
        escaped(&title),
        sections.concat()
    )
}

fn header(report: &RunReport) -> String {
    let class = match report.verdict {
        Verdict::Passed => "good",
        Verdict::Failed => "bad",
        _ => "open",
    };
    format!(
        "<header>\n<p class=\"verdict {class}\"><b>{}</b> {}</p>\n<h1>{}</h1>\n<p>run <code>{}</code> against <code>{}</code><br>{}</p>\n</header>\n",
        report.verdict.as_str(),
        escaped(&text::verdict(report)),
        escaped(&report.scenario),
        escaped(&report.run),
        escaped(&report.target),
        escaped(&text::extent(report))
    )
}

fn thresholds(report: &RunReport) -> String {
    if report.thresholds.is_empty() {
        return String::new();
    }
    let item = |one: &super::ThresholdRow| {
        let class = match one.passed {
            Some(true) => "good",
            Some(false) => "bad",
            None => "open",
        };
        format!(
            "<li class=\"{class}\"><span aria-hidden=\"true\">{}</span> {}</li>\n",
            table::sign(one.passed),
            escaped(&one.text)
        )
    };
    let items: String = report.thresholds.iter().map(item).collect();
    format!("<section>\n<h2>Thresholds</h2>\n<ul class=\"thresholds\">\n{items}</ul>\n</section>\n")
}

fn figures(report: &RunReport) -> String {
    let total = &report.total;
    let latency = total.latency.as_ref();
    let at = |pick: fn(&super::Times) -> super::Time| {
        latency.map_or_else(|| NONE.to_owned(), |times| time(pick(times)))
    };
    let figures = [
        ("operations", count(total.operations)),
        ("answered", rate(total.rate_per_s)),
        ("errors", share(total.error_rate)),
        ("dropped", count(total.dropped)),
        ("mean latency", at(|times| times.mean)),
        ("p95 latency", at(|times| times.p95)),
        ("p99 latency", at(|times| times.p99)),
        ("received", bytes(total.bytes)),
    ];
    let figure =
        |(name, value): (&str, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    let figures: String = figures.into_iter().map(figure).collect();
    format!(
        "<section>\n<h2>Key figures</h2>\n<dl class=\"figures\">\n{figures}</dl>\n<p>{}</p>\n<p class=\"note\">{}</p>\n</section>\n",
        escaped(&text::generator(report)),
        text::COUNTS_FROM
    )
}

/// A table in a box that scrolls by itself where the page is narrow.
fn titled_table(title: &str, header: &[&str], rows: &str) -> String {
    let header: String = header
        .iter()
        .map(|name| format!("<th scope=\"col\">{name}</th>"))
        .collect();
    format!(
        "<section>\n<h2>{title}</h2>\n<div class=\"scroll\">\n<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</section>\n"
    )
}

fn table_row<'c>(name: &str, cells: impl IntoIterator<Item = &'c String>) -> String {
    let cells: String = cells
        .into_iter()
        .map(|cell| format!("<td>{}</td>", escaped(cell)))
        .collect();
    format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escaped(name))
}

fn distributions(total: &Row) -> String {
    let rows = table_row("Latency, from intended", &times(total.latency.as_ref()))
        + &table_row("Service time, from sent", &times(total.service.as_ref()));
    titled_table(
        "Times",
        &["", "mean", "p50", "p95", "p99", "p99.9", "max"],
        &rows,
    )
}

fn groups<'r>(title: &str, name: &'static str, rows: impl Iterator<Item = &'r Row>) -> String {
    let rows: String = rows.map(|row| table_row(&row.name, &cells(row))).collect();
    if rows.is_empty() {
        return rows;
    }
    let header: Vec<&str> = std::iter::once(name).chain(COLUMNS).collect();
    titled_table(title, &header, &rows)
}

fn stages(report: &RunReport) -> String {
    if report.stages.is_empty() {
        return String::new();
    }
    let row = |stage: &super::StageRow| {
        let cells = cells(&stage.row);
        table_row(&stage.row.name, std::iter::once(&stage.load).chain(&cells))
    };
    let rows: String = report.stages.iter().map(row).collect();
    let header: Vec<&str> = ["stage", "load"].into_iter().chain(COLUMNS).collect();
    titled_table("Stages", &header, &rows)
}

fn errors(report: &RunReport) -> String {
    if report.errors.is_empty() {
        return String::new();
    }
    let row = |row: &super::ErrorRow| table_row(&row.error, [&count(row.count)]);
    let rows: String = report.errors.iter().map(row).collect();
    titled_table("Errors", &["error", "count"], &rows)
}

fn run(report: &RunReport) -> String {
    let pair = |(name, value): (String, String)| {
        format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escaped(&name),
            escaped(&value)
        )
    };
    let pairs: String = text::identity(report).into_iter().map(pair).collect();
    let scenario = match report.text.is_empty() {
        true => String::new(),
        false => format!(
            "<details>\n<summary>Scenario</summary>\n<pre>{}</pre>\n</details>\n",
            escaped(&report.text)
        ),
    };
    format!("<section>\n<h2>The run</h2>\n<dl class=\"run\">\n{pairs}</dl>\n{scenario}</section>\n")
}
