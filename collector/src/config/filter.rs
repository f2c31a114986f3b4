//! Which names are wanted: lists of patterns in which `*` stands for any text.

use serde::{Deserialize, Serialize};

/// Names to include and to exclude. With no `include`, everything that is not excluded is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NameFilter {
    /// Only these, if any are given.
    pub include: Vec<String>,
    /// Never these.
    pub exclude: Vec<String>,
}

impl NameFilter {
    /// Whether a name is wanted.
    pub fn admits(&self, name: &str) -> bool {
        (self.include.is_empty() || self.includes(name)) && !matches_any(&self.exclude, name)
    }

    /// Whether `include` names it.
    pub fn includes(&self, name: &str) -> bool {
        matches_any(&self.include, name)
    }
}

/// Whether one of the patterns matches.
pub(crate) fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Whether the pattern matches the whole name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    // Each part between two stars is taken where it first fits: that leaves the most for the rest.
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, expected) in [
            ("sda", "sda", true),
            ("sda", "sda1", false),
            ("loop*", "loop12", true),
            ("loop*", "xloop", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("*fuse*", "x.fuse.y", true),
            ("**x", "x", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn exclusion_wins() {
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        let filter = NameFilter {
            include: names(&["eth*"]),
            exclude: names(&["eth9"]),
        };
        assert!(filter.admits("eth0") && !filter.admits("eth9") && !filter.admits("lo"));
        assert!(NameFilter::default().admits("lo"));
    }
}
