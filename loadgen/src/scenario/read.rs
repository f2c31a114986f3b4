//! Reads a whole scenario: the text, its tables, and what holds only between them.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::document::Section;
use super::fault::{Faults, ScenarioError};
use super::requests::{self, Endpoints};
use super::stages::Subjects;
use super::template::Scope;
use super::{HttpOptions, Scenario, Stage, feeds, http, stages, websockets};
use crate::threshold::{Selectable, Threshold};

/// Largest scenario.
pub const MAX_SCENARIO_BYTES: u64 = 4 << 20;
/// Of a scenario that names none.
pub const DEFAULT_SEED: u64 = 1;
/// Of a scenario that names none: unanswered operations go on for so long after the last stage.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
/// Of a scenario that has none and no file.
pub const DEFAULT_NAME: &str = "scenario";

const KEYS: [&str; 11] = [
    "name",
    "seed",
    "warm_up",
    "drain",
    "http",
    "feeds",
    "stages",
    "requests",
    "journeys",
    "websockets",
    "thresholds",
];

impl Scenario {
    /// Reads and checks a file. Feeds and certificates are looked up from its directory; without a
    /// `name` it is called as the file is.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_SCENARIO_BYTES + 1).read_to_string(&mut text))
            .map_err(|source| ScenarioError::Read {
                path: path.to_owned(),
                source,
            })?;
        if text.len() as u64 > MAX_SCENARIO_BYTES {
            return Err(ScenarioError::TooLarge {
                path: path.to_owned(),
                limit: MAX_SCENARIO_BYTES,
            });
        }
        let base = path.parent().unwrap_or(Path::new(""));
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        read(&text, base, stem.unwrap_or(DEFAULT_NAME))
    }

    /// Reads and checks a text. Feeds and certificates are looked up from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ScenarioError> {
        read(text, base, DEFAULT_NAME)
    }
}

fn read(text: &str, base: &Path, default_name: &str) -> Result<Scenario, ScenarioError> {
    let faults = Faults::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().replace('\n', ", ");
        faults.add(&span, format!("not TOML: {message}"));
    }
    // What the keys of a broken text mean would be guesswork.
    faults.finish()?;
    // Faults of the whole text stand at its beginning.
    let root = Section::new(document.get_ref(), 0..0, "the scenario", &KEYS, &faults);
    let scenario = read_root(&root, text, base, default_name);
    faults.finish()?;
    Ok(scenario)
}

fn read_root(root: &Section<'_>, text: &str, base: &Path, default_name: &str) -> Scenario {
    let feeds = feeds::read(root, base);
    let scope = Scope::new(&feeds);
    let mut endpoints = Endpoints::default();
    let journeys = requests::read(root, &scope, &mut endpoints);
    let subjects = Subjects {
        journeys: has_elements(root, "requests") || has_elements(root, "journeys"),
        websockets: has_elements(root, "websockets"),
    };
    if !subjects.journeys && !subjects.websockets {
        root.fault(
            "the scenario sends nothing; write [[requests]], [[journeys]] or [[websockets]]",
        );
    }
    let stages = stages::read(root, subjects);
    let total = || stages.iter().map(|stage| stage.duration).sum();
    let websockets = websockets::read(root, &scope, &mut endpoints, total);
    let http: HttpOptions = http::read(root, base, &stages, &scope);
    let thresholds = read_thresholds(root, &endpoints.names, &stages);
    let name = root.get("name").and_then(|item| item.filled_text());
    let seed = root
        .get("seed")
        .and_then(|item| item.whole(0..=i64::MAX as u64));
    let drain = root.get("drain").and_then(|item| item.duration_or_zero());
    Scenario {
        name: name.unwrap_or(default_name).to_owned(),
        seed: seed.unwrap_or(DEFAULT_SEED),
        text: text.to_owned(),
        hash: format!("{:016x}", fnv1a(text.as_bytes())),
        warm_up: read_warm_up(root, total()),
        drain: drain.unwrap_or(DEFAULT_DRAIN),
        stages,
        http,
        journeys,
        websockets,
        thresholds,
        endpoints: endpoints.names,
        feeds,
    }
}

fn has_elements(root: &Section<'_>, key: &str) -> bool {
    match root.get(key).map(|item| item.value()) {
        Some(DeValue::Array(elements)) => !elements.is_empty(),
        other => other.is_some(),
    }
}

fn read_warm_up(root: &Section<'_>, total: Duration) -> Duration {
    let Some(item) = root.get("warm_up") else {
        return Duration::ZERO;
    };
    let warm_up = item.duration_or_zero().unwrap_or_default();
    if !total.is_zero() && warm_up >= total {
        item.fault(format!(
            "{} is not shorter than the stages, which last {total:?}, so that nothing is measured; shorten it",
            item.what
        ));
    }
    warm_up
}

/// `[thresholds]`: `"p95" = "< 200ms"` or `"p95" = { limit = "< 200ms", abort = true }`.
fn read_thresholds(root: &Section<'_>, endpoints: &[String], stages: &[Stage]) -> Vec<Threshold> {
    let stages: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let selectable = Selectable {
        endpoints,
        stages: &stages,
    };
    let mut thresholds = Vec::new();
    let named = root.get("thresholds").and_then(|item| item.names());
    for item in named.iter().flat_map(Section::items) {
        let mut abort = false;
        let limit = match item.value() {
            DeValue::Table(_) => {
                let Some(section) = item.section(&["limit", "abort"]) else {
                    continue;
                };
                let flag = section.get("abort").and_then(|item| item.boolean());
                abort = flag.unwrap_or(false);
                section.need("limit", "limit = \"< 200ms\"")
            }
            _ => Some(item.clone()),
        };
        let Some(limit) = limit else { continue };
        let Some(text) = limit.filled_text() else {
            continue;
        };
        match Threshold::parse(item.key, text, abort, &selectable) {
            Ok(threshold) => thresholds.push(threshold),
            Err(error) if error.is_of_bound() => limit.fault(error.to_string()),
            Err(error) => item.key_fault(error.to_string()),
        }
    }
    thresholds
}

/// FNV-1a with 64 bits: short, and the same on every machine and in every release.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of the algorithm's authors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
