//! Sentences that every format shares, and how texts of others are kept from being taken for markup
//! or for commands to a terminal.

use super::figures::{count, moment, seconds};
use super::{RunReport, Verdict};
use crate::scenario::quantity::human_ns;

/// Where latency counts from.
pub(super) const COUNTS_FROM: &str = "Latency counts from when the schedule wanted an operation, so \
that a target that stalls cannot hide it; service time counts from when it was sent. ≥ marks lower \
bounds: operations that were given up are in with the time that they were waited for. Dropped arrivals \
have no time.";

/// What stands for a character that must not be there.
const REPLACEMENT: char = '\u{fffd}';

/// The verdict with its reason.
pub(super) fn verdict(report: &RunReport) -> String {
    let of = report.thresholds.len();
    let broken = report
        .thresholds
        .iter()
        .filter(|one| one.passed == Some(false))
        .count();
    let plural = if of == 1 { "threshold" } else { "thresholds" };
    match report.verdict {
        Verdict::Passed if of == 0 => "the run completed; it has no thresholds".to_owned(),
        Verdict::Passed if of == 1 => "the threshold holds".to_owned(),
        Verdict::Passed => format!("all {of} thresholds hold"),
        Verdict::Failed if broken == 0 => "a threshold ended the run".to_owned(),
        Verdict::Failed => format!("{broken} of {of} {plural} broken"),
        Verdict::GeneratorLimited => {
            "the generator could not keep to its schedule, so these times are not the target's alone; \
             use more workers or less load"
                .to_owned()
        }
        Verdict::RecordingLimited => format!(
            "{} operations are missing from the record, so nothing is said about the target; use a \
             faster disk or less load",
            count(report.lost)
        ),
        Verdict::Incomplete if report.ended == "interrupted" => {
            "the run was interrupted before its end".to_owned()
        }
        Verdict::Incomplete => "the run has no proper end, so operations may be missing".to_owned(),
        Verdict::TooLittleData if report.total.operations == 0 => "there are no operations".to_owned(),
        Verdict::TooLittleData => "too few operations for some thresholds".to_owned(),
    }
}

/// The generator's health in one sentence.
pub(super) fn generator(report: &RunReport) -> String {
    let generator = &report.generator;
    let state = match generator.state.as_str() {
        "ok" => "kept to its schedule",
        "limited" => "could not keep to its schedule",
        _ => "left no account of itself",
    };
    let time = |us: Option<f64>| us.map(|us| human_ns(us * 1e3));
    let lateness = [
        ("p50", time(generator.lateness_p50_us)),
        ("p99", time(generator.lateness_p99_us)),
        ("max", time(generator.lateness_max_us)),
    ];
    let lateness: Vec<String> = lateness
        .into_iter()
        .filter_map(|(name, time)| Some(format!("{name} {}", time?)))
        .collect();
    let mut sentence = format!("The generator {state}");
    if !generator.reasons.is_empty() {
        sentence += &format!(" ({})", generator.reasons.join("; "));
    }
    if !lateness.is_empty() {
        sentence += &format!("; sends were late by {}", lateness.join(", "));
    }
    if let Some(retries) = generator.retries.filter(|&retries| retries > 0) {
        let plural = if retries == 1 {
            "request was"
        } else {
            "requests were"
        };
        let times = count(retries);
        sentence += &format!("; {times} {plural} sent once more");
    }
    if let Some(cpu_s) = generator.cpu_s {
        sentence += &format!("; it used {} of CPU time", seconds(cpu_s));
    }
    match report.recording.as_str() {
        "ok" => sentence + "; every operation is recorded.",
        "limited" => format!(
            "{sentence}; {} operations are not recorded.",
            count(report.lost)
        ),
        _ => sentence + ".",
    }
}

/// When, how long, by how many.
pub(super) fn extent(report: &RunReport) -> String {
    let mut text = format!(
        "{} · {} measured",
        moment(report.started_us),
        seconds(report.seconds)
    );
    if report.warm_up_s > 0.0 {
        text += &format!(
            " after a warm-up of {} ({} operations, not counted)",
            seconds(report.warm_up_s),
            count(report.warm_up_operations)
        );
    }
    if report.workers > 0 {
        let plural = |count: u64, one: &str, more: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {more}"),
        };
        text += &format!(
            " · {} in {}",
            plural(report.workers, "worker", "workers"),
            plural(report.processes, "process", "processes")
        );
    }
    text
}

/// Name and value of what identifies a run, without what is not known.
pub(super) fn identity(report: &RunReport) -> Vec<(String, String)> {
    let known = [
        ("run", &report.run),
        ("scenario", &report.scenario),
        ("scenario hash", &report.hash),
        ("target", &report.target),
        ("commit", &report.commit),
        ("host", &report.host),
        ("version", &report.version),
    ];
    let mut pairs: Vec<(String, String)> = known
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    pairs.push(("seed".to_owned(), report.seed.to_string()));
    pairs.push(("ended".to_owned(), report.ended.clone()));
    pairs.extend(
        report
            .labels
            .iter()
            .map(|(key, value)| (format!("label {key}"), value.clone())),
    );
    pairs
}

/// For HTML and XML, in elements and in attributes. Characters that XML 1.0 does not have are
/// replaced.
pub fn markup(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(letter),
            '\u{fffe}' | '\u{ffff}' => escaped.push(REPLACEMENT),
            control if control.is_control() => escaped.push(REPLACEMENT),
            other => escaped.push(other),
        }
    }
    escaped
}

/// For a terminal: one line, and nothing in it moves the cursor or turns the reading direction.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' | '\r' | '\t' => ' ',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => {
                REPLACEMENT
            }
            control if control.is_control() => REPLACEMENT,
            other => other,
        })
        .collect()
}

/// For Markdown, in a line or in the cell of a table.
pub(super) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in line(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A zero-width space keeps names from being notified.
            '@' => escaped.push_str("@\u{200b}"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '!' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_stay_texts() {
        assert_eq!(
            markup("<a href=\"x\">'&\u{0}\u{1b}</a>"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\u{fffd}&lt;/a&gt;"
        );
        assert_eq!(line("a\u{1b}[2Jb\nc\u{202e}"), "a\u{fffd}[2Jb c\u{fffd}");
        assert_eq!(markdown("a|b*<i>\n@c"), "a\\|b\\*&lt;i&gt; @\u{200b}c");
    }
}
