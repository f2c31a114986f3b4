//! Whether a statement's text, as `pg_stat_statements` keeps it, can be given to the planner: one
//! whole SELECT, INSERT, UPDATE or DELETE, and nothing beside it.
//!
//! The text is only read as far as that takes: quotes, comments and brackets. Whether it is valid is
//! left to the server.

use std::str::Chars;

/// The longest text that is explained, in bytes.
pub const TEXT_BYTES_MAX: usize = 65_536;
/// What the text begins with that can be explained.
const VERBS: [&str; 5] = ["select", "insert", "update", "delete", "with"];

/// Why a text is not explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The server does not tell it.
    #[error("its text is not told; the role needs pg_read_all_stats")]
    Hidden,
    /// It is longer than what is explained.
    #[error("its text has {0} bytes, more than {TEXT_BYTES_MAX}")]
    TooLong(usize),
    /// It ends within something.
    #[error("its text is cut off")]
    CutOff,
    /// There is more than one statement.
    #[error("its text holds several statements")]
    Several,
    /// It is of a kind that has no plan, or whose plan is not asked for.
    #[error("it is no SELECT, INSERT, UPDATE or DELETE")]
    Kind,
}

/// What the text has shown so far.
#[derive(Default)]
struct Reading {
    /// Open brackets.
    depth: usize,
    /// Whether a semicolon ended the statement.
    ended: bool,
    /// The first word.
    verb: String,
    /// Whether the first word is complete.
    verb_ended: bool,
}

/// Whether the planner can be asked about `text`.
pub fn check(text: &str) -> Result<(), Unfit> {
    if text.trim().is_empty() || text.starts_with('<') {
        return Err(Unfit::Hidden);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Unfit::TooLong(text.len()));
    }
    let mut reading = Reading::default();
    let mut rest = text.chars();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        reading.take(c, before, &mut rest)?;
        before = c;
    }
    if reading.depth > 0 {
        return Err(Unfit::CutOff);
    }
    if VERBS.contains(&reading.verb.to_ascii_lowercase().as_str()) {
        Ok(())
    } else {
        Err(Unfit::Kind)
    }
}

impl Reading {
    fn take(&mut self, c: char, before: char, rest: &mut Chars<'_>) -> Result<(), Unfit> {
        let next = rest.clone().next();
        if c == '-' && next == Some('-') {
            rest.by_ref().find(|c| *c == '\n');
            return Ok(());
        }
        if c == '/' && next == Some('*') {
            return comment(rest);
        }
        if c.is_whitespace() {
            self.verb_ended |= !self.verb.is_empty();
            return Ok(());
        }
        if self.ended && c != ';' {
            return Err(Unfit::Several);
        }
        match c {
            '\'' => quoted(rest, c, matches!(before, 'e' | 'E'))?,
            '"' => quoted(rest, c, false)?,
            '$' if !word(before) && !next.is_some_and(|n| n.is_ascii_digit()) => dollar(rest)?,
            '(' => self.depth += 1,
            ')' => self.depth = self.depth.checked_sub(1).ok_or(Unfit::CutOff)?,
            ';' => self.ended = true,
            c if word(c) && !self.verb_ended => self.verb.push(c),
            _ => {}
        }
        self.verb_ended |= !self.verb.is_empty() && !word(c);
        Ok(())
    }
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The rest of a quoted text. A doubled quote reads as one that ends and one that begins.
fn quoted(rest: &mut Chars<'_>, quote: char, escapes: bool) -> Result<(), Unfit> {
    while let Some(c) = rest.next() {
        if c == quote {
            return Ok(());
        }
        if escapes && c == '\\' {
            rest.next();
        }
    }
    Err(Unfit::CutOff)
}

/// The rest of a comment, which may hold others.
fn comment(rest: &mut Chars<'_>) -> Result<(), Unfit> {
    rest.next();
    let mut depth = 1_usize;
    let mut before = ' ';
    for c in rest.by_ref() {
        match (before, c) {
            ('/', '*') => (depth, before) = (depth + 1, ' '),
            ('*', '/') => (depth, before) = (depth - 1, ' '),
            _ => before = c,
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err(Unfit::CutOff)
}

/// The rest of `$tag$ … $tag$`. A dollar that begins no tag is left alone.
fn dollar(rest: &mut Chars<'_>) -> Result<(), Unfit> {
    let text = rest.as_str();
    let Some((tag, _)) = text.split_once('$').filter(|(t, _)| t.chars().all(word)) else {
        return Ok(());
    };
    let end = format!("${tag}$");
    let body = &text[tag.len() + 1..];
    let at = body.find(&end).ok_or(Unfit::CutOff)?;
    *rest = body[at + end.len()..].chars();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_statements_are_fit() {
        for fit in [
            "SELECT note FROM orders WHERE customer = $1",
            "  /* app: shop; */ select 1;  ",
            "-- shop;\nUPDATE t SET a = $1 WHERE b = 'x;''y'",
            "(SELECT 1) UNION (SELECT 2)",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "INSERT INTO t VALUES (E'it\\'s; (', $tag$ ; ( $tag$, $$;$$)",
            "DELETE FROM \"a;(b\" WHERE c IN ($1 /*, ... */)",
            "SELECT a[1] /* x /* y; */ */ FROM t",
        ] {
            assert_eq!(check(fit), Ok(()), "{fit}");
        }
    }

    #[test]
    fn what_is_cut_off_or_several_or_of_another_kind_is_not() {
        for (text, why) in [
            ("", Unfit::Hidden),
            ("<insufficient privilege>", Unfit::Hidden),
            ("SELECT a FROM t WHERE b = 'x", Unfit::CutOff),
            ("SELECT a FROM t WHERE b IN ($1, $2", Unfit::CutOff),
            ("SELECT a FROM \"t", Unfit::CutOff),
            ("SELECT /* a", Unfit::CutOff),
            ("SELECT $x$ a", Unfit::CutOff),
            ("SELECT 1)", Unfit::CutOff),
            ("SELECT 1; DROP TABLE t", Unfit::Several),
            ("SELECT 'a';;SELECT 2", Unfit::Several),
            ("VACUUM t", Unfit::Kind),
            ("PREPARE x AS SELECT 1", Unfit::Kind),
            ("selected", Unfit::Kind),
            ("CALL f($1)", Unfit::Kind),
        ] {
            assert_eq!(check(text), Err(why), "{text}");
        }
        let long = format!("SELECT '{}'", "x".repeat(TEXT_BYTES_MAX));
        assert_eq!(check(&long), Err(Unfit::TooLong(long.len())));
    }
}
