//! The comments at the head of a query file.

use std::collections::BTreeMap;

use super::recommendation::Recommending;
use super::{Parameter, ParameterKind, Rule, RuleError, RuleKind};

/// What marks a line that continues the one above.
const CONTINUED: &str = "  ";
/// Keys with a text that every file has.
const COMMON: [&str; 4] = ["id", "kind", "reads", "why"];
/// Keys with a text that only recommendations have.
const OF_RECOMMENDATIONS: [&str; 9] = [
    "title",
    "component",
    "risk",
    "auto",
    "verify",
    "undo",
    "inputs",
    "sources",
    "every",
];

/// Reads a query file. `file` is its name for messages.
pub fn parse(file: &str, text: &str) -> Result<Rule, RuleError> {
    let mut draft = Draft::default();
    let mut sql_from = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let Some(comment) = line.strip_prefix("--") else {
            break;
        };
        sql_from += line.len();
        let wrong = |reason: String| RuleError::FrontMatter {
            file: file.to_owned(),
            line: number + 1,
            reason,
        };
        draft
            .take(comment.strip_prefix(' ').unwrap_or(comment).trim_end())
            .map_err(wrong)?;
    }
    let lines = text[..sql_from].lines().count();
    let sql = text[sql_from..].trim();
    draft.finish(sql).map_err(|reason| RuleError::FrontMatter {
        file: file.to_owned(),
        line: lines + 1,
        reason,
    })
}

#[derive(Default)]
struct Draft {
    texts: BTreeMap<&'static str, String>,
    parameters: Option<Vec<Parameter>>,
    last: Last,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Last {
    #[default]
    Nothing,
    Text(&'static str),
    Parameters,
}

impl Draft {
    fn take(&mut self, line: &str) -> Result<(), String> {
        if let Some(more) = line.strip_prefix(CONTINUED) {
            return self.go_on(more.trim());
        }
        let (key, value) = line
            .split_once(':')
            .ok_or_else(|| format!("{line:?} is not of the form key: value"))?;
        let value = value.trim().to_owned();
        if key == "parameters" {
            if !value.is_empty() || self.parameters.is_some() {
                return Err("parameters stands once, alone on its line".to_owned());
            }
            self.parameters = Some(Vec::new());
            self.last = Last::Parameters;
            return Ok(());
        }
        let mut keys = COMMON.into_iter().chain(OF_RECOMMENDATIONS);
        let key = keys.find(|known| *known == key).ok_or_else(|| {
            let (common, ours) = (COMMON.join(", "), OF_RECOMMENDATIONS.join(", "));
            format!("key {key} is not known; there are {common}, parameters, and for recommendations {ours}")
        })?;
        if self.texts.insert(key, value).is_some() {
            return Err(format!("key {key} stands twice"));
        }
        self.last = Last::Text(key);
        Ok(())
    }

    fn go_on(&mut self, more: &str) -> Result<(), String> {
        match self.last {
            Last::Nothing => Err("the first line continues nothing".to_owned()),
            Last::Parameters => {
                let parameter = read_parameter(more)?;
                self.parameters.get_or_insert_default().push(parameter);
                Ok(())
            }
            Last::Text(key) => {
                let text = self.texts.entry(key).or_default();
                text.push(' ');
                text.push_str(more);
                Ok(())
            }
        }
    }

    fn finish(mut self, sql: &str) -> Result<Rule, String> {
        let mut given = |key: &str| {
            let value = self.texts.remove(key).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("key {key} is missing"))
        };
        let id = given("id")?;
        if !is_name(&id) {
            return Err(format!("id {id:?} must consist of a to z, 0 to 9 and _"));
        }
        if sql.is_empty() {
            return Err("the SQL is missing".to_owned());
        }
        let reads = given("reads")?;
        let kind = given("kind")?.parse()?;
        let why = given("why")?;
        let recommending = match kind {
            RuleKind::Recommendation => Some(Recommending::read(|key| self.texts.remove(key))?),
            _ => None,
        };
        if let Some(key) = self.texts.keys().next() {
            return Err(format!("only recommendations have the key {key}"));
        }
        Ok(Rule {
            id,
            kind,
            reads: reads
                .split(',')
                .map(|read| read.trim().to_owned())
                .collect(),
            why,
            parameters: self.parameters.unwrap_or_default(),
            recommending,
            sql: sql.to_owned(),
        })
    }
}

/// `name type: about` or `name type = default: about`.
fn read_parameter(line: &str) -> Result<Parameter, String> {
    let form = || format!("{line:?} is not of the form name type = default: what it means");
    let (head, about) = line.split_once(':').ok_or_else(form)?;
    let (head, default) = match head.split_once('=') {
        Some((head, default)) => (head, Some(default.trim())),
        None => (head, None),
    };
    let (name, kind) = head.trim().split_once(' ').ok_or_else(form)?;
    if !is_name(name) {
        return Err(form());
    }
    let kind: ParameterKind = kind.trim().parse()?;
    let default = match default {
        None => None,
        Some(text) => Some(
            kind.read(text)
                .ok_or_else(|| format!("{text} cannot be the default of a {kind}"))?,
        ),
    };
    Ok(Parameter {
        name: name.to_owned(),
        kind,
        default,
        about: about.trim().to_owned(),
    })
}

fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RuleKind;
    use datafusion::scalar::ScalarValue;

    const GOOD: &str = "-- id: x_1\n-- kind: baseline\n-- reads: samples, series\n-- why: Because\n--   of this.\n-- parameters:\n--   from timestamp: the start\n--   share float = 0.5: how much\nSELECT 1 -- one\n";

    #[test]
    fn reads_what_the_format_says() {
        let rule = parse("x.sql", GOOD).expect("a rule");
        assert_eq!((rule.id.as_str(), rule.kind), ("x_1", RuleKind::Baseline));
        assert_eq!(rule.reads, ["samples", "series"]);
        assert_eq!(rule.why, "Because of this.");
        assert_eq!(rule.sql, "SELECT 1 -- one");
        assert_eq!(rule.parameters[0].default, None);
        assert_eq!(
            rule.parameters[1].default,
            Some(ScalarValue::Float64(Some(0.5)))
        );
        assert_eq!(rule.parameters[1].about, "how much");
    }

    #[test]
    fn says_where_it_is_wrong() {
        for (from, to, line, part) in [
            ("-- why", "-- whi", 4, "key whi is not known"),
            ("-- kind: baseline", "-- kind: table", 9, "kind table"),
            ("-- kind: baseline\n", "", 8, "kind is missing"),
            ("x_1", "X", 9, "id \"X\""),
            ("-- id: x_1", "-- id: x_1\n-- id: y", 2, "stands twice"),
            (
                "share float = 0.5",
                "share float = much",
                8,
                "default of a float",
            ),
            ("share float", "share money", 8, "type money"),
            ("from timestamp:", "from timestamp", 7, "form name type"),
            ("SELECT 1 -- one\n", "", 9, "SQL is missing"),
            ("-- id: x_1", "--   id: x_1", 1, "continues nothing"),
        ] {
            let text = GOOD.replace(from, to);
            let error = parse("x.sql", &text).expect_err(part).to_string();
            assert!(
                error.starts_with(&format!("x.sql, line {line}: ")),
                "{error}"
            );
            assert!(error.contains(part), "{error}");
        }
    }
}
