//! Feed files: rows of named values from CSV or JSON lines, read whole and of bounded size.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Feed;
use super::csv;
use super::document::Section;

/// Largest feed file.
pub const MAX_FEED_BYTES: u64 = 64 << 20;
/// Most rows of a feed.
pub const MAX_FEED_ROWS: usize = 1_000_000;

/// A feed file that cannot be used.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("cannot read feed file {}: {source}; give a path from the scenario's directory", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("feed file {} has more than {MAX_FEED_BYTES} bytes; write fewer rows", .0.display())]
    TooLarge(PathBuf),
    #[error("feed file {} has more than {MAX_FEED_ROWS} rows; write fewer rows", .0.display())]
    TooManyRows(PathBuf),
    #[error("feed file {} is of no known kind; name it .csv, .jsonl or .ndjson", .0.display())]
    Kind(PathBuf),
    #[error("feed file {} has no rows; write a row of names and at least one of values", .0.display())]
    Empty(PathBuf),
    #[error("feed file {}, line {line}: {reason}", path.display())]
    Row {
        path: PathBuf,
        line: usize,
        reason: String,
    },
}

/// Reads `[feeds]`: `[feeds.NAME] file = "users.csv"`.
pub(super) fn read(root: &Section<'_>, base: &Path) -> BTreeMap<String, Arc<Feed>> {
    let mut feeds = BTreeMap::new();
    let named = root.get("feeds").and_then(|item| item.names());
    for item in named.iter().flat_map(Section::items) {
        let name = item.key;
        let Some(section) = item.section(&["file"]) else {
            continue;
        };
        if name.is_empty() || name.contains(['.', '}', '$', '{']) {
            item.key_fault(format!(
                "feed `{name}` cannot be named in a variable; write letters, digits, `-` and `_`"
            ));
            continue;
        }
        let Some(file) = section.need("file", "file = \"users.csv\"") else {
            continue;
        };
        let Some(text) = file.filled_text() else {
            continue;
        };
        match read_file(&base.join(text)) {
            Ok(feed) => {
                feeds.insert(name.to_owned(), Arc::new(feed));
            }
            Err(error) => file.fault(error.to_string()),
        }
    }
    feeds
}

fn read_file(path: &Path) -> Result<Feed, FeedError> {
    let owned = || path.to_owned();
    let failed = |source| FeedError::Read {
        path: owned(),
        source,
    };
    let kind = path.extension().and_then(|kind| kind.to_str());
    let is_csv = match kind.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => true,
        Some("jsonl" | "ndjson") => false,
        _ => return Err(FeedError::Kind(owned())),
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FEED_BYTES + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > MAX_FEED_BYTES {
        return Err(FeedError::TooLarge(owned()));
    }
    let text = text.trim_start_matches('\u{feff}');
    let feed = match is_csv {
        true => from_csv(text),
        false => from_json_lines(text),
    };
    let feed = feed.map_err(|(line, reason)| FeedError::Row {
        path: owned(),
        line,
        reason,
    })?;
    if feed.rows.is_empty() {
        return Err(FeedError::Empty(owned()));
    }
    if feed.rows.len() > MAX_FEED_ROWS {
        return Err(FeedError::TooManyRows(owned()));
    }
    Ok(feed)
}

/// A line and what is wrong with it.
type RowFault = (usize, String);

fn from_csv(text: &str) -> Result<Feed, RowFault> {
    let mut records = csv::records(text)?.into_iter();
    let Some((line, columns)) = records.next() else {
        return Ok(Feed {
            columns: Vec::new(),
            rows: Vec::new(),
        });
    };
    let columns: Vec<String> = columns
        .into_iter()
        .map(|column| column.trim().to_owned())
        .collect();
    if columns.iter().any(|column| column.is_empty()) {
        return Err((line, "a column has no name; name every column".to_owned()));
    }
    if columns.iter().collect::<BTreeSet<_>>().len() < columns.len() {
        return Err((line, "two columns have one name; rename one".to_owned()));
    }
    let mut rows = Vec::new();
    for (line, row) in records {
        if row.len() != columns.len() {
            return Err((
                line,
                format!(
                    "{} values for {} columns; write one value for each, with commas inside quotes",
                    row.len(),
                    columns.len()
                ),
            ));
        }
        rows.push(row);
    }
    Ok(Feed { columns, rows })
}

fn from_json_lines(text: &str) -> Result<Feed, RowFault> {
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let fault = |reason: String| (at + 1, reason);
        let Ok(Value::Object(object)) = serde_json::from_str(line) else {
            return Err(fault(
                "not a JSON object; write one object per line".to_owned(),
            ));
        };
        if rows.is_empty() {
            columns = object.keys().cloned().collect();
        }
        if !object.keys().eq(columns.iter()) {
            return Err(fault(format!(
                "its keys are not those of the first line; write {}",
                columns.join(", ")
            )));
        }
        let mut row = Vec::with_capacity(columns.len());
        for (key, value) in object {
            row.push(match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                Value::Null => String::new(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(fault(format!(
                        "the value of {key:?} is not plain; write a text, a number, true or false"
                    )));
                }
            });
        }
        rows.push(row);
    }
    Ok(Feed { columns, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_give_the_same_rows() {
        let csv = from_csv("password,user\n\"a,b\",ann\n2,bob\n").expect("it is right");
        let json = from_json_lines(
            "{\"user\":\"ann\",\"password\":\"a,b\"}\n\n{\"user\":\"bob\",\"password\":2}",
        )
        .expect("it is right");
        assert_eq!(csv, json);
        assert_eq!(csv.rows[0], ["a,b", "ann"]);
    }

    #[test]
    fn wrong_rows_are_named_by_their_line() {
        let csv = |text: &str| from_csv(text).expect_err("it is wrong");
        assert_eq!(
            csv("a,b\n1,2\n1\n"),
            (
                3,
                "1 values for 2 columns; write one value for each, with commas inside quotes"
                    .to_owned()
            )
        );
        assert_eq!(csv("a,a\n").0, 1);
        assert_eq!(csv("a,\n1,2").0, 1);
        let json = |text: &str| from_json_lines(text).expect_err("it is wrong").0;
        assert_eq!(json("{\"a\":1}\n[]"), 2);
        assert_eq!(json("{\"a\":1}\n{\"b\":1}"), 2);
        assert_eq!(json("{\"a\":{}}"), 1);
    }

    #[test]
    fn files_are_bounded_and_of_a_known_kind() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("it can be written");
            read_file(&path)
        };
        assert!(at("a.csv", "\u{feff}user\r\nann\r\n").is_ok_and(|feed| feed.columns == ["user"]));
        assert!(matches!(at("a.txt", "user\nann"), Err(FeedError::Kind(_))));
        assert!(matches!(at("b.csv", "user\n"), Err(FeedError::Empty(_))));
        let many = "u\n".to_owned() + &"1\n".repeat(MAX_FEED_ROWS + 1);
        assert!(matches!(at("c.csv", &many), Err(FeedError::TooManyRows(_))));
        let missing = read_file(&directory.path().join("d.csv"));
        assert!(matches!(missing, Err(FeedError::Read { .. })));
    }
}
