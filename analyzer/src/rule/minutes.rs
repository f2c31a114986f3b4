//! The same queries over minutes: what reads samples can read the rollups of each minute in their
//! place, at a sixtieth of the rows. The query is written once; its form over minutes has every name
//! in it replaced for which there is one over minutes.

use super::Rule;

/// What marks a name as that of the form over minutes.
const PREFIX: &str = "minute_";
/// Files that have such a form.
const WITH_MINUTES: [&str; 5] = [
    "cpu_utilisation",
    "disk_latency",
    "disk_utilisation",
    "derived_series",
    "series_points",
];
/// What stands for what: the files above, and the two views that are written for minutes.
const WRITTEN: [&str; 2] = ["samples", "counter_rates"];

/// A file's form over minutes, where it has one.
pub(super) fn over_minutes(rule: &Rule) -> Option<Rule> {
    if !WITH_MINUTES.contains(&rule.id.as_str()) {
        return None;
    }
    Some(Rule {
        id: format!("{PREFIX}{}", rule.id),
        reads: rule.reads.iter().map(|name| replaced(name)).collect(),
        why: format!("{} This is its form over minutes.", rule.why),
        sql: replace_names(&rule.sql),
        ..rule.clone()
    })
}

fn replaced(name: &str) -> String {
    if WITH_MINUTES.contains(&name) || WRITTEN.contains(&name) {
        format!("{PREFIX}{name}")
    } else {
        name.to_owned()
    }
}

/// Replaces whole identifiers, never parts of one and nothing inside of quotes or comments.
fn replace_names(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 64);
    for line in sql.split_inclusive('\n') {
        let (code, comment) = line.split_at(line.find("--").unwrap_or(line.len()));
        for (place, piece) in code.split('\'').enumerate() {
            if place > 0 {
                out.push('\'');
            }
            if place % 2 == 1 {
                out.push_str(piece);
                continue;
            }
            let mut word = String::new();
            for c in piece.chars() {
                if c.is_ascii_alphanumeric() || c == '_' {
                    word.push(c);
                    continue;
                }
                out.push_str(&replaced(&std::mem::take(&mut word)));
                out.push(c);
            }
            out.push_str(&replaced(&word));
        }
        out.push_str(comment);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_nothing_else() {
        let sql = "SELECT samples.ts, my_samples -- of samples\nFROM samples WHERE a = 'samples'";
        assert_eq!(
            replace_names(sql),
            "SELECT minute_samples.ts, my_samples -- of samples\nFROM minute_samples WHERE a = 'samples'"
        );
    }
}
