//! The same queries over minutes and over hours: what reads samples can read their rollups in their
//! place, at a sixtieth or less of the rows. The query is written once; its form over rollups has every
//! name in it replaced for which there is one.

use super::Rule;

/// What marks a name as that of such a form, and in words.
const WIDTHS: [(&str, &str); 2] = [("minute_", "minutes"), ("hour_", "hours")];
/// Files that have such forms.
const WITH_FORMS: [&str; 6] = [
    "cpu_utilisation",
    "disk_latency",
    "disk_utilisation",
    "derived_series",
    "series_points",
    "series_values",
];
/// What stands for what: the files above, and the views that are written for each width.
const WRITTEN: [&str; 2] = ["samples", "counter_rates"];

/// A file's forms over rollups, where it has any.
pub(super) fn over_rollups(rule: &Rule) -> Vec<Rule> {
    if !WITH_FORMS.contains(&rule.id.as_str()) {
        return Vec::new();
    }
    let form = |(prefix, words): (&str, &str)| Rule {
        id: format!("{prefix}{}", rule.id),
        reads: rule
            .reads
            .iter()
            .map(|name| replaced(name, prefix))
            .collect(),
        why: format!("{} This is its form over {words}.", rule.why),
        sql: replace_names(&rule.sql, prefix),
        ..rule.clone()
    };
    WIDTHS.into_iter().map(form).collect()
}

fn replaced(name: &str, prefix: &str) -> String {
    if WITH_FORMS.contains(&name) || WRITTEN.contains(&name) {
        format!("{prefix}{name}")
    } else {
        name.to_owned()
    }
}

/// Replaces whole identifiers, never parts of one and nothing inside of quotes or comments.
fn replace_names(sql: &str, prefix: &str) -> String {
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
                out.push_str(&replaced(&std::mem::take(&mut word), prefix));
                out.push(c);
            }
            out.push_str(&replaced(&word, prefix));
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
            replace_names(sql, "minute_"),
            "SELECT minute_samples.ts, my_samples -- of samples\nFROM minute_samples WHERE a = 'samples'"
        );
    }
}
