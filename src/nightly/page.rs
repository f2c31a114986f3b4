//! A day's analysis as one page: no scripts, nothing from elsewhere, light or dark as the reader's
//! system is. Charts are left to [`chart`]; the style sheet is that of a run's report, and a little
//! more.

mod chart;
mod scale;

use driftline_analyzer::nightly::{Evidence, Plot};
use driftline_analyzer::{Calendar, Finding, Nightly, Severity};
use driftline_loadgen::report::{STYLE as SHARED_STYLE, markup as escaped};

use super::report::{effect, levels, summary};

const STYLE: &str = include_str!("page/page.css");
/// Findings that are shown one by one; the rest is counted.
const MOST_FINDINGS: usize = 60;
/// Members of a finding that are listed; the rest is counted.
const MOST_MEMBERS: usize = 20;

/// A page and what it is about.
pub(crate) struct Page<'p> {
    pub(crate) title: &'p str,
    pub(crate) nightly: &'p Nightly,
    pub(crate) calendar: Calendar,
}

impl Page<'_> {
    /// A whole document.
    pub(crate) fn render(&self) -> String {
        let shown = self.nightly.findings.iter().take(MOST_FINDINGS);
        let findings: String = shown.map(|finding| self.finding(finding)).collect();
        let rest = self.nightly.findings.len().saturating_sub(MOST_FINDINGS);
        let rest = match rest {
            0 => String::new(),
            rest => format!(
                "<p class=\"note\">{rest} more findings are listed above and by <code>driftline findings</code>.</p>\n"
            ),
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{SHARED_STYLE}{STYLE}</style>\n</head>\n\
             <body>\n<main>\n{}{}{}{findings}{rest}</main>\n</body>\n</html>\n",
            escaped(self.title),
            self.header(),
            self.figures(),
            self.overview()
        )
    }

    fn count(&self, severity: Severity) -> usize {
        let findings = self.nightly.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }

    fn header(&self) -> String {
        let worse = self.count(Severity::Regression);
        let (class, word) = match (worse, self.nightly.findings.len()) {
            (0, 0) => ("good", "quiet"),
            (0, _) => ("open", "changed"),
            _ => ("bad", "worse"),
        };
        let notes: String = self
            .nightly
            .notes
            .iter()
            .map(|note| format!("<li>{}</li>\n", escaped(note)))
            .collect();
        let notes = match notes.is_empty() {
            true => notes,
            false => format!("<ul class=\"notes\">\n{notes}</ul>\n"),
        };
        format!(
            "<header>\n<p class=\"verdict {class}\"><b>{word}</b> {}</p>\n<h1>{}</h1>\n<p>{} to {}, {}</p>\n{notes}</header>\n",
            escaped(&summary(self.nightly, self.title)),
            escaped(self.title),
            self.moment(self.nightly.day.from_us),
            self.moment(self.nightly.day.until_us),
            escaped(self.calendar.zone())
        )
    }

    fn figures(&self) -> String {
        let figures = [
            ("series judged", self.nightly.series),
            ("load runs judged", self.nightly.runs),
            ("regressions", self.count(Severity::Regression)),
            ("other changes", self.count(Severity::Change)),
            ("improvements", self.count(Severity::Improvement)),
            ("marks", self.marks_of_the_day()),
        ];
        let figure =
            |(name, value): (&str, usize)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
        let figures: String = figures.into_iter().map(figure).collect();
        format!(
            "<section>\n<h2>Key figures</h2>\n<dl class=\"figures\">\n{figures}</dl>\n</section>\n"
        )
    }

    fn marks_of_the_day(&self) -> usize {
        let day = self.nightly.day;
        let marks = self.nightly.marks.iter();
        marks
            .filter(|mark| (day.from_us..day.until_us).contains(&mark.ts_us))
            .count()
    }

    /// The whole fleet at a glance: when what began, and a line for each finding.
    fn overview(&self) -> String {
        if self.nightly.findings.is_empty() {
            return "<section>\n<h2>Findings</h2>\n<p>Nothing changed that is both sure and large enough.</p>\n</section>\n".to_owned();
        }
        let rows: String = self
            .nightly
            .findings
            .iter()
            .map(|finding| self.row(finding))
            .collect();
        format!(
            "<section>\n<h2>The day</h2>\n{}</section>\n<section>\n<h2>Findings</h2>\n<div class=\"scroll\">\n<table class=\"findings\">\n<thead><tr>\
             <th scope=\"col\">what moved</th><th scope=\"col\">where</th><th scope=\"col\">since</th><th scope=\"col\">series</th>\
             <th scope=\"col\">before → after</th><th scope=\"col\">change (99 % interval)</th><th scope=\"col\">suspect</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table>\n</div>\n</section>\n",
            chart::day(self.nightly, &self.calendar)
        )
    }

    fn row(&self, finding: &Finding) -> String {
        let first = finding.evidence.first();
        let of = |text: fn(&Evidence) -> String| first.map(text).unwrap_or_default();
        let scope: Vec<String> = finding
            .scope
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let suspect = finding.causes.first().map(|cause| cause.what.as_str());
        format!(
            "<tr><th scope=\"row\"><a href=\"#{}\"><span class=\"dot {}\" aria-hidden=\"true\"></span>{}</a></th>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}</td></tr>\n",
            escaped(&finding.id),
            finding.severity.as_str(),
            escaped(&first.map_or_else(|| finding.title.clone(), |first| first.name.clone())),
            escaped(&scope.join(", ")),
            self.calendar.format(finding.onset_us, "%H:%M"),
            finding.evidence.len(),
            escaped(&of(levels)),
            escaped(&of(effect)),
            escaped(suspect.unwrap_or("—"))
        )
    }

    fn finding(&self, finding: &Finding) -> String {
        let mut plots: Vec<&Plot> = Vec::new();
        plots.extend(
            self.nightly
                .plots
                .iter()
                .filter(|plot| plot.finding == finding.id),
        );
        let charts: String = plots
            .iter()
            .enumerate()
            .map(|(number, plot)| {
                let id = format!("{}-{number}", finding.id);
                chart::series(&id, plot, self.nightly, &self.calendar)
            })
            .collect();
        let causes: String = finding
            .causes
            .iter()
            .map(|cause| {
                format!(
                    "<li>{} ({})</li>\n",
                    escaped(&cause.what),
                    self.moment(cause.ts_us)
                )
            })
            .collect();
        let causes = match causes.is_empty() {
            true => String::new(),
            false => format!("<h3>Suspects</h3>\n<ul>\n{causes}</ul>\n"),
        };
        format!(
            "<section class=\"finding\" id=\"{id}\">\n<h2><span class=\"tag {severity}\">{severity}</span> {}</h2>\n\
             <p>since {} · <code>{id}</code></p>\n<div class=\"charts\">\n{charts}{}</div>\n{}{causes}\
             <details>\n<summary>Look further</summary>\n<pre>{}</pre>\n</details>\n</section>\n",
            escaped(&finding.title),
            self.moment(finding.onset_us),
            chart::intervals(finding),
            members(finding),
            escaped(&finding.sql),
            id = escaped(&finding.id),
            severity = finding.severity.as_str(),
        )
    }

    fn moment(&self, us: i64) -> String {
        self.calendar.format(us, "%Y-%m-%d %H:%M:%S")
    }
}

fn members(finding: &Finding) -> String {
    let shown = finding.evidence.iter().take(MOST_MEMBERS);
    let row = |evidence: &Evidence| {
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{:.0e}</td></tr>\n",
            escaped(&evidence.name),
            escaped(&levels(evidence)),
            escaped(&effect(evidence)),
            evidence.p_value
        )
    };
    let rows: String = shown.map(row).collect();
    let rest = match finding.evidence.len().saturating_sub(MOST_MEMBERS) {
        0 => String::new(),
        rest => format!("<p class=\"note\">and {rest} more</p>\n"),
    };
    format!(
        "<div class=\"scroll\">\n<table>\n<thead><tr><th scope=\"col\">series</th><th scope=\"col\">before → after</th>\
         <th scope=\"col\">change (99 % interval)</th><th scope=\"col\">p</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n{rest}"
    )
}

#[cfg(test)]
mod tests;
