//! What is wrong with a scenario, where, and what to do about it. All faults of a text are
//! collected, so that it is mended in one go.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// Most faults that are written out; the others are counted.
const FAULTS_SHOWN: usize = 20;

/// A scenario that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("cannot read scenario {}: give the path of a TOML file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any scenario.
    #[error(
        "scenario {} has more than {limit} bytes: put data into feed files", path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes of a scenario.
        limit: u64,
    },
    /// The text is wrong in one or more places.
    #[error("{}", Listed(.0))]
    Invalid(Vec<Fault>),
}

/// One thing that is wrong with a scenario's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

/// Faults as one message: a single one in its line, more of them one below the other.
struct Listed<'a>(&'a [Fault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = self.0 {
            return write!(formatter, "scenario is wrong at {fault}");
        }
        write!(formatter, "scenario is wrong in {} places", self.0.len())?;
        for fault in self.0.iter().take(FAULTS_SHOWN) {
            write!(formatter, "\n  {fault}")?;
        }
        match self.0.len().checked_sub(FAULTS_SHOWN) {
            Some(more @ 1..) => write!(formatter, "\n  and {more} more"),
            _ => Ok(()),
        }
    }
}

/// The faults found so far in a text. Readers record a fault and go on with a default, which never
/// gets out: a text with faults gives no scenario.
pub(super) struct Faults<'t> {
    text: &'t str,
    found: RefCell<Vec<(usize, String)>>,
}

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: RefCell::new(Vec::new()),
        }
    }

    /// Records what is wrong at a place, given in bytes.
    pub(super) fn add(&self, span: &Range<usize>, message: impl Into<String>) {
        self.found.borrow_mut().push((span.start, message.into()));
    }

    /// All of them in the order of the text; an error if there are any.
    pub(super) fn finish(&self) -> Result<(), ScenarioError> {
        let mut found = self.found.take();
        if found.is_empty() {
            return Ok(());
        }
        found.sort();
        found.dedup();
        let faults = found
            .into_iter()
            .map(|(at, message)| {
                let (line, column) = line_and_column(self.text, at);
                Fault {
                    line,
                    column,
                    message,
                }
            })
            .collect();
        Err(ScenarioError::Invalid(faults))
    }
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// The word that was most likely meant, if one is near.
pub(super) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements of a character between two words (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, from) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// Words as they stand in a message: `` `a`, `b` ``.
pub(super) fn quoted<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// What to do about a word that is not among the known ones.
pub(crate) fn remedy<'w>(word: &str, known: impl IntoIterator<Item = &'w str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known = quoted(known);
            if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("known are {known}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters() {
        assert_eq!(line_and_column("", 0), (1, 1));
        assert_eq!(line_and_column("a\nöb = 1", 4), (2, 2));
        assert_eq!(line_and_column("a\n", 99), (2, 1));
    }

    #[test]
    fn the_nearest_word_must_be_near() {
        let known = ["duration", "rate", "users"];
        assert_eq!(nearest("durration", known), Some("duration"));
        assert_eq!(nearest("Rate", known), Some("rate"));
        assert_eq!(nearest("headers", known), None);
    }

    #[test]
    fn faults_beyond_those_shown_are_counted() {
        let text = "\n".repeat(30);
        let faults = Faults::new(&text);
        for at in 0..25 {
            faults.add(&(at..at), "wrong");
        }
        let message = faults.finish().expect_err("there are faults").to_string();
        assert!(message.starts_with("scenario is wrong in 25 places\n  line 1, column 1: wrong\n"));
        assert!(message.ends_with("\n  and 5 more"));
    }
}
