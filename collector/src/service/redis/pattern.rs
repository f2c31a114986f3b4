//! Which keys are alike: a key's pattern has `*` for what tells single things apart.
//!
//! Digits, hexadecimal numbers and UUIDs are replaced at once. Words are kept as long as few of them
//! stand at the same place; where there are many (`user:alice`, `user:bob`, …) they are names, and
//! become `*` too. Pure; which keys are looked at is left to [`super::sample`].

use std::collections::{HashMap, HashSet};

/// So many different words at one place are still words.
const MAX_WORDS: usize = 24;
/// At most so many places are remembered; at further ones every word becomes `*`.
const MAX_PLACES: usize = 1_000;
/// The longest pattern, in characters.
const MAX_PATTERN_CHARS: usize = 80;
/// From so many characters on, hexadecimal digits among them a decimal one, it is a number.
const MIN_HEX_CHARS: usize = 6;
/// Longer words are no words.
const MAX_WORD_CHARS: usize = 32;
/// The lengths of the parts of a UUID.
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];
const SEPARATORS: [char; 18] = [
    ':', '/', '.', '-', '_', '|', ';', ',', '#', '@', '{', '}', '[', ']', '(', ')', ' ', '=',
];

/// The words that were seen at each place of keys.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    /// By what stands before the place; `None` where there are too many.
    places: HashMap<String, Option<HashSet<String>>>,
}

impl Vocabulary {
    /// Learns the words of a key. Learn a whole sample before asking for patterns.
    pub(super) fn learn(&mut self, key: &[u8]) {
        let mut before = String::new();
        for (token, separator) in tokens(key) {
            if is_word(&token) {
                before.push_str(self.learn_word(&before, &token));
            } else {
                before.push_str(&token);
            }
            before.extend(separator);
        }
    }

    /// Notes a word at a place; the word itself, or `*` where it is one of too many.
    fn learn_word<'a>(&mut self, before: &str, word: &'a str) -> &'a str {
        if !self.places.contains_key(before) {
            if self.places.len() >= MAX_PLACES {
                return "*";
            }
            let words = Some(HashSet::new());
            self.places.insert(before.to_owned(), words);
        }
        let Some(Some(words)) = self.places.get_mut(before) else {
            return "*";
        };
        if !words.contains(word) {
            words.insert(word.to_owned());
        }
        if words.len() <= MAX_WORDS {
            return word;
        }
        // What stands behind these words is one place from now on.
        self.places
            .retain(|place, _| place.len() <= before.len() || !place.starts_with(before));
        self.places.insert(before.to_owned(), None);
        "*"
    }

    /// The pattern of a key.
    pub(super) fn pattern(&self, key: &[u8]) -> String {
        let mut pattern = String::new();
        for (token, separator) in tokens(key) {
            let known = |words: &HashSet<String>| words.contains(token.as_str());
            if !is_word(&token)
                || matches!(self.places.get(pattern.as_str()), Some(Some(words)) if known(words))
            {
                pattern.push_str(&token);
            } else {
                pattern.push('*');
            }
            pattern.extend(separator);
        }
        if pattern.chars().count() > MAX_PATTERN_CHARS {
            pattern = pattern.chars().take(MAX_PATTERN_CHARS).collect();
            pattern.push('*');
        }
        pattern
    }
}

/// A token that is more than `*` and the like.
fn is_word(token: &str) -> bool {
    token.chars().any(char::is_alphanumeric)
}

/// The parts of a key and the separator behind each, numbers replaced.
fn tokens(key: &[u8]) -> Vec<(String, Option<char>)> {
    let text = String::from_utf8_lossy(key);
    let mut all = Vec::new();
    let mut rest = &*text;
    loop {
        if let Some(length) = uuid(rest) {
            let separator = rest[length..].chars().next();
            all.push(("*".to_owned(), separator));
            rest = &rest[length + separator.map_or(0, char::len_utf8)..];
        } else {
            let end = rest.find(SEPARATORS).unwrap_or(rest.len());
            let separator = rest[end..].chars().next();
            all.push((masked(&rest[..end]), separator));
            rest = &rest[end + separator.map_or(0, char::len_utf8)..];
        }
        if rest.is_empty() {
            return all;
        }
    }
}

/// The length of the UUID that the text begins with.
fn uuid(text: &str) -> Option<usize> {
    let length = UUID_PARTS.iter().sum::<usize>() + UUID_PARTS.len() - 1;
    let candidate = text.get(..length)?;
    let ends = text[length..]
        .chars()
        .next()
        .is_none_or(|c| SEPARATORS.contains(&c));
    let mut parts = candidate.split('-');
    let fits = UUID_PARTS.iter().all(|expected| {
        parts.next().is_some_and(|part| {
            part.len() == *expected && part.bytes().all(|b| b.is_ascii_hexdigit())
        })
    });
    (ends && fits && parts.next().is_none()).then_some(length)
}

/// A token with its numbers replaced; what is no text at all is replaced whole.
fn masked(token: &str) -> String {
    let is_number = token.len() >= MIN_HEX_CHARS
        && token.bytes().all(|b| b.is_ascii_hexdigit())
        && token.bytes().any(|b| b.is_ascii_digit());
    let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    if is_number || token.chars().any(odd) || token.chars().count() > MAX_WORD_CHARS {
        return "*".to_owned();
    }
    let mut masked = String::with_capacity(token.len());
    for c in token.chars() {
        if !c.is_numeric() && c != '*' {
            masked.push(c);
        } else if !masked.ends_with('*') {
            masked.push('*');
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(keys: &[&str]) -> Vec<String> {
        let mut vocabulary = Vocabulary::default();
        for key in keys {
            vocabulary.learn(key.as_bytes());
        }
        keys.iter()
            .map(|key| vocabulary.pattern(key.as_bytes()))
            .collect()
    }

    #[test]
    fn numbers_of_all_kinds_become_stars() {
        for (key, pattern) in [
            ("user:1234", "user:*"),
            ("user:1234:cart", "user:*:cart"),
            ("v2/item-77.json", "v*/item-*.json"),
            ("session:6f1ed002ab5595859014ebf0951522d9", "session:*"),
            (
                "job:2f1e4b9c-0a6d-4a34-9f11-abcdefabcdef:state",
                "job:*:state",
            ),
            ("2f1e4b9c-0a6d-4a34-9f11-abcdefabcdef", "*"),
            ("order12a3", "order*a*"),
            ("12", "*"),
            ("", ""),
            (":", ":"),
            ("a::b", "a::b"),
            ("cafe", "cafe"),
            ("größe:5", "größe:*"),
            ("x:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x:*"),
        ] {
            assert_eq!(patterns(&[key]), [pattern], "{key}");
        }
        let mut vocabulary = Vocabulary::default();
        vocabulary.learn(b"blob:\xff\xfe\x00");
        assert_eq!(vocabulary.pattern(b"blob:\xff\xfe\x00"), "blob:*");
    }

    #[test]
    fn names_become_stars_once_there_are_many() {
        let name = |n: usize| -> String {
            let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
            ['n', letter(n), letter(n / 26)].iter().collect()
        };
        let keys: Vec<String> = (0..200)
            .map(|n| format!("user:{}:{}", name(n), ["cart", "mail"][n % 2]))
            .chain(["config:colour", "config:size"].map(str::to_owned))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut found = patterns(&keys);
        found.sort();
        found.dedup();
        let expected = ["config:colour", "config:size", "user:*:cart", "user:*:mail"];
        assert_eq!(found, expected);
    }

    #[test]
    fn words_that_were_not_learnt_are_not_shown() {
        let mut vocabulary = Vocabulary::default();
        vocabulary.learn(b"user:1:cart");
        assert_eq!(vocabulary.pattern(b"user:2:secret"), "user:*:*");
        assert_eq!(vocabulary.pattern(b"other:2"), "*:*");
    }

    #[test]
    fn places_are_bounded() {
        let mut vocabulary = Vocabulary::default();
        let letters = |n: usize| -> String {
            format!("{n:05}")
                .bytes()
                .map(|b| char::from(b - b'0' + b'a'))
                .collect()
        };
        for n in 0..20 * MAX_PLACES {
            let text = letters(n);
            let parts: Vec<&str> = text.split("").filter(|part| !part.is_empty()).collect();
            vocabulary.learn(parts.join(":").as_bytes());
        }
        assert!(vocabulary.places.len() <= MAX_PLACES);
    }
}
