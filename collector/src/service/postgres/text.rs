//! Takes the literals out of statements, so that no value of a user's reaches the log. Pure.
//!
//! The server has done so already for all but utility statements; here nothing is taken for granted.
//! Comments go too: libraries write values into them.

/// What stands for a literal.
const LITERAL: char = '?';
/// What shows that a text was cut.
const CUT: char = '…';

/// The statement with every literal replaced, in one line of at most so many characters.
pub(super) fn without_literals(sql: &str, max_chars: usize) -> String {
    let mut out = Cleaned::default();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        rest = step(first, rest, &mut out);
        // The end is not needed; a statement may be megabytes long.
        if out.chars > max_chars {
            break;
        }
    }
    let text = hide_assignment(out.text.trim_end());
    if text.chars().count() <= max_chars {
        return text;
    }
    let mut cut: String = text.chars().take(max_chars.saturating_sub(1)).collect();
    cut.push(CUT);
    cut
}

#[derive(Default)]
struct Cleaned {
    text: String,
    chars: usize,
}

impl Cleaned {
    fn push(&mut self, c: char) {
        if c == ' ' && (self.text.is_empty() || self.text.ends_with(' ')) {
            return;
        }
        self.text.push(c);
        self.chars += 1;
    }

    fn push_all(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }
}

/// Takes one token and returns what follows it.
fn step<'a>(first: char, rest: &'a str, out: &mut Cleaned) -> &'a str {
    let second = rest[first.len_utf8()..].chars().next();
    match (first, second) {
        ('\'', _) => {
            out.push(LITERAL);
            after_quoted(rest, '\'', false)
        }
        ('"', _) => {
            let after = after_quoted(rest, '"', false);
            out.push_all(&rest[..rest.len() - after.len()]);
            after
        }
        ('-', Some('-')) => {
            out.push(' ');
            rest.find('\n').map_or("", |end| &rest[end..])
        }
        ('/', Some('*')) => {
            out.push(' ');
            after_comment(rest)
        }
        ('$', Some(next)) if next.is_ascii_digit() => {
            let end = end_of(&rest[1..], |c| c.is_ascii_digit()) + 1;
            out.push_all(&rest[..end]);
            &rest[end..]
        }
        ('$', _) => match dollar_quoted(rest) {
            Some(after) => {
                out.push(LITERAL);
                after
            }
            None => {
                out.push('$');
                &rest[1..]
            }
        },
        (digit, _) if digit.is_ascii_digit() => {
            out.push(LITERAL);
            after_number(rest)
        }
        ('.', Some(digit)) if digit.is_ascii_digit() => {
            out.push(LITERAL);
            after_number(rest)
        }
        (letter, _) if letter.is_alphabetic() || letter == '_' => word(rest, out),
        (space, _) if space.is_whitespace() => {
            out.push(' ');
            &rest[space.len_utf8()..]
        }
        (other, _) => {
            out.push(other);
            &rest[other.len_utf8()..]
        }
    }
}

/// A word, or the literal whose prefix it is.
fn word<'a>(rest: &'a str, out: &mut Cleaned) -> &'a str {
    let end = end_of(rest, |c| c.is_alphanumeric() || c == '_' || c == '$');
    let (word, after) = rest.split_at(end);
    let prefix = word.to_ascii_lowercase();
    if after.starts_with('\'') && matches!(prefix.as_str(), "e" | "b" | "x" | "n") {
        out.push(LITERAL);
        return after_quoted(after, '\'', prefix == "e");
    }
    if prefix == "u" && after.starts_with("&'") {
        out.push(LITERAL);
        return after_quoted(&after[1..], '\'', false);
    }
    out.push_all(word);
    after
}

fn end_of(text: &str, inside: impl Fn(char) -> bool) -> usize {
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

/// What follows a quoted text; a doubled quote belongs to it. Without an end it is all.
fn after_quoted(rest: &str, quote: char, escapes: bool) -> &str {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return &rest[at + 1..],
            }
        }
    }
    ""
}

/// What follows a comment; comments nest.
fn after_comment(rest: &str) -> &str {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_u32, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return &rest[at..];
        }
    }
    ""
}

fn dollar_quoted(rest: &str) -> Option<&str> {
    let tag_end = rest[1..].find('$')? + 2;
    let tag = &rest[..tag_end];
    let named = |c: char| c.is_alphanumeric() || c == '_';
    if !tag[1..tag_end - 1].chars().all(named) {
        return None;
    }
    let body = &rest[tag_end..];
    Some(body.find(tag).map_or("", |end| &body[end + tag_end..]))
}

/// Digits with what numbers may hold: `0x1F`, `1_000`, `1.5e-3`.
fn after_number(rest: &str) -> &str {
    let mut previous = ' ';
    for (at, c) in rest.char_indices() {
        let sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
        if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || sign) {
            return &rest[at..];
        }
        previous = c;
    }
    ""
}

/// A value that is assigned needs no quotes: `SET app.token TO abc`.
fn hide_assignment(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let assigns = lower.starts_with("set ") || (lower.starts_with("alter ") && lower.contains(" set "));
    if !assigns || lower.starts_with("set transaction") || lower.starts_with("alter table") {
        return text.to_owned();
    }
    let ends = [lower.find('=').map(|at| at + 1), lower.find(" to ").map(|at| at + 4)];
    match ends.into_iter().flatten().min() {
        Some(end) => format!("{} {LITERAL}", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_go_and_the_rest_stays() {
        for (sql, expected) in [
            ("SELECT * FROM t WHERE a = $1 AND b2=3", "SELECT * FROM t WHERE a = $1 AND b2=?"),
            ("ALTER ROLE x PASSWORD 'it''s secret'", "ALTER ROLE x PASSWORD ?"),
            (r"SELECT E'a\'secret', b", "SELECT ?, b"),
            ("DO $$ secret $$", "DO ?"),
            ("DO $a$ $$ secret $$ $a$ x", "DO ? x"),
            ("SELECT 1.5e-3, .5, 0x1F, t1.c2", "SELECT ?, ?, ?, t1.c2"),
            ("SELECT /* secret /* nested */ */ 1 -- secret\nFROM t", "SELECT ? FROM t"),
            ("SELECT \"a 'b' 1\"  \n FROM t", "SELECT \"a 'b' 1\" FROM t"),
            ("SET app.token TO abc123secret", "SET app.token TO ?"),
            ("SET app.token = secret", "SET app.token = ?"),
            ("ALTER DATABASE d SET app.token = secret", "ALTER DATABASE d SET app.token = ?"),
            ("UPDATE t SET a = b", "UPDATE t SET a = b"),
            ("SELECT 'secret never ends", "SELECT ?"),
            ("SELECT U&'secret', x'ff', n'secret'", "SELECT ?, ?, ?"),
            ("SELECT 'é', ü FROM „x“", "SELECT ?, ü FROM „x“"),
            ("SELECT $tag", "SELECT $tag"),
        ] {
            assert_eq!(without_literals(sql, 200), expected, "{sql}");
        }
    }

    #[test]
    fn long_statements_are_cut_between_characters() {
        let sql = format!("SELECT {}", "é, ".repeat(10_000));
        let text = without_literals(&sql, 100);
        assert_eq!(text.chars().count(), 100);
        assert!(text.ends_with('…'), "{text}");
    }
}
