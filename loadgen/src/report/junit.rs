//! The report for a build server, in JUnit's XML: one test case for each threshold, and one that says
//! whether the run can be believed at all.

use super::text::markup as escaped;
use super::{RunReport, Verdict, text};

/// A whole XML document.
pub(super) fn render(report: &RunReport) -> String {
    let passed = |wanted| {
        report
            .thresholds
            .iter()
            .filter(|one| one.passed == wanted)
            .count()
    };
    let (run_case, outcome) = run_case(report);
    let count = |wanted: Outcome| usize::from(outcome == wanted);
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\"",
        report.thresholds.len() + 1,
        passed(Some(false)),
        count(Outcome::Error),
        passed(None) + count(Outcome::Skipped),
        report.seconds
    );
    let name = escaped(&report.scenario);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {totals}>\n  <testsuite name=\"{name}\" {totals}>\n    <properties>\n"
    );
    for (name, value) in text::identity(report) {
        xml += &format!(
            "      <property name=\"{}\" value=\"{}\"/>\n",
            escaped(&name),
            escaped(&value)
        );
    }
    xml += "    </properties>\n";
    for result in &report.thresholds {
        let said = escaped(&result.text);
        let child = match result.passed {
            Some(true) => String::new(),
            Some(false) => {
                format!("<failure message=\"{said}\" type=\"threshold\">{said}</failure>")
            }
            None => format!("<skipped message=\"{said}\"/>"),
        };
        // The name has no measured value in it, so that it stays the same from run to run.
        xml += &case(report, &escaped(&result.threshold), &child);
    }
    xml += &run_case;
    xml + "  </testsuite>\n</testsuites>\n"
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Error,
}

fn run_case(report: &RunReport) -> (String, Outcome) {
    let said = escaped(&format!(
        "{}. {}",
        text::verdict(report),
        text::generator(report)
    ));
    let (child, outcome) = match report.verdict {
        Verdict::Passed | Verdict::Failed => (String::new(), Outcome::Passed),
        Verdict::TooLittleData => (format!("<skipped message=\"{said}\"/>"), Outcome::Skipped),
        Verdict::GeneratorLimited | Verdict::RecordingLimited | Verdict::Incomplete => {
            let kind = report.verdict.as_str();
            let error = format!("<error message=\"{said}\" type=\"{kind}\">{said}</error>");
            (error, Outcome::Error)
        }
    };
    (case(report, "the run and its generator", &child), outcome)
}

fn case(report: &RunReport, name: &str, child: &str) -> String {
    let class = escaped(&format!("load.{}", report.scenario));
    match child.is_empty() {
        true => format!("    <testcase classname=\"{class}\" name=\"{name}\"/>\n"),
        false => {
            format!("    <testcase classname=\"{class}\" name=\"{name}\">{child}</testcase>\n")
        }
    }
}
