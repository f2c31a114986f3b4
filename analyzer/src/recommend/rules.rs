//! Which rules there are: those that are built in, and a directory of the user's own, whose files
//! add to them or stand in their place.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::rule::{self, Rule, RuleError, RuleKind};

/// Files of a directory that are read at most; more are surely the wrong directory.
const MAX_FILES: usize = 1_000;

/// Which rules are judged: the section `recommend` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// A directory of query files: recommendations and windows, at any depth. A file with the id
    /// of a built-in one stands in its place.
    pub queries: Option<PathBuf>,
    /// Ids of rules that are never judged.
    pub silence: Vec<String>,
}

/// Rules that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file is not in order.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A directory or file that cannot be read.
    #[error("cannot read {path}: {source}; check recommend.queries")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too many files.
    #[error(
        "{path} holds more than {MAX_FILES} query files; is it the right directory for recommend.queries?"
    )]
    TooMany {
        /// Where.
        path: PathBuf,
    },
    /// A file of a kind that has no place among recommendations.
    #[error("{path} is a {kind}; recommend.queries takes recommendations and windows")]
    Kind {
        /// The file.
        path: PathBuf,
        /// Its kind.
        kind: &'static str,
    },
    /// A silenced rule that does not exist.
    #[error("recommend.silence names {id}, which no rule has; there are {known}")]
    Unknown {
        /// What was named.
        id: String,
        /// The ids that there are.
        known: String,
    },
}

/// The rules, and the tables over the window that they share.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Recommendations, by id.
    pub recommendations: Vec<Rule>,
    /// Windows, each after those that it reads.
    pub windows: Vec<Rule>,
}

impl Rules {
    /// Built-in rules and those of the configuration.
    pub fn load(config: &RulesConfig) -> Result<Self, RulesError> {
        let mut found = by_id(rule::built_in()?);
        if let Some(place) = &config.queries {
            for (path, rule) in files(place)? {
                if !matches!(rule.kind, RuleKind::Recommendation | RuleKind::Window) {
                    let kind = rule.kind.as_str();
                    return Err(RulesError::Kind { path, kind });
                }
                found.insert(rule.id.clone(), rule);
            }
        }
        let mut rules = Self::of(found)?;
        for id in &config.silence {
            let before = rules.recommendations.len();
            rules.recommendations.retain(|rule| rule.id != *id);
            if rules.recommendations.len() == before {
                let known = rules.recommendations.iter().map(|rule| rule.id.as_str());
                return Err(RulesError::Unknown {
                    id: id.clone(),
                    known: known.collect::<Vec<_>>().join(", "),
                });
            }
        }
        Ok(rules)
    }

    /// The rules of a directory alone, other files than recommendations and windows left out.
    pub fn of_directory(place: &Path) -> Result<Self, RulesError> {
        let found = files(place)?.into_iter().map(|(_, rule)| rule).collect();
        Self::of(by_id(found))
    }

    fn of(found: BTreeMap<String, Rule>) -> Result<Self, RulesError> {
        let (windows, others): (Vec<Rule>, Vec<Rule>) = found
            .into_values()
            .partition(|rule| rule.kind == RuleKind::Window);
        let recommendation = |rule: &Rule| rule.kind == RuleKind::Recommendation;
        Ok(Self {
            recommendations: others.into_iter().filter(recommendation).collect(),
            windows: rule::in_order(windows)?,
        })
    }
}

fn by_id(rules: Vec<Rule>) -> BTreeMap<String, Rule> {
    let named = rules.into_iter().map(|rule| (rule.id.clone(), rule));
    named.collect()
}

/// Every `.sql` file below a directory, in the order of their paths.
fn files(place: &Path) -> Result<Vec<(PathBuf, Rule)>, RulesError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RulesError::Read { path, source }
    };
    let mut waiting = vec![place.to_path_buf()];
    let mut paths = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let path = entry.path();
            if entry.file_type().map_err(failed(&path))?.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "sql") {
                paths.push(path);
            }
            if paths.len() + waiting.len() > MAX_FILES {
                let path = place.to_path_buf();
                return Err(RulesError::TooMany { path });
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(failed(&path))?;
        let rule = rule::parse(&path.display().to_string(), &text)?;
        Ok((path, rule))
    };
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str, kind: &str, title: &str) -> String {
        let keys = match kind {
            "recommendation" => format!(
                "-- title: {title}\n-- component: host\n-- risk: low\n-- auto: advice\n-- verify: signal_clears\n-- inputs: host/system.uptime\n-- sources: ours\n-- every: 5m\n"
            ),
            _ => String::new(),
        };
        format!(
            "-- id: {id}\n-- kind: {kind}\n{keys}-- reads: window_series\n-- why: Because.\nSELECT 1\n"
        )
    }

    fn own(files: &[(&str, String)]) -> (tempfile::TempDir, RulesConfig) {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("deep")).expect("a folder");
        for (name, text) in files {
            fs::write(place.path().join(name), text).expect("a file");
        }
        let config = RulesConfig {
            queries: Some(place.path().to_path_buf()),
            silence: Vec::new(),
        };
        (place, config)
    }

    #[test]
    fn own_files_add_and_override_and_silence() {
        let built_in = Rules::load(&RulesConfig::default()).expect("rules");
        let (_place, mut config) = own(&[
            ("deep/a.sql", file("our_own", "recommendation", "First")),
            ("w.sql", file("our_window", "window", "")),
            ("notes.txt", "none".to_owned()),
        ]);
        let rules = Rules::load(&config).expect("rules");
        assert_eq!(
            rules.recommendations.len(),
            built_in.recommendations.len() + 1
        );
        assert!(rules.windows.iter().any(|rule| rule.id == "our_window"));
        config.silence = vec!["our_own".to_owned()];
        let rules = Rules::load(&config).expect("rules");
        assert_eq!(rules.recommendations.len(), built_in.recommendations.len());
        config.silence = vec!["nobody".to_owned()];
        let error = Rules::load(&config).expect_err("nobody").to_string();
        assert!(error.contains("names nobody"), "{error}");
    }

    #[test]
    fn files_of_other_kinds_are_refused() {
        let (_place, config) = own(&[("v.sql", file("v", "view", ""))]);
        let error = Rules::load(&config).expect_err("a view").to_string();
        assert!(error.contains("is a view"), "{error}");
    }
}
