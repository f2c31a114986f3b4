//! What the rules said: recommendations by rule, server and object. An object is a part of what is
//! said of it: of the subject, or of the advice where the subject is a number.

use serde_json::Value;

/// A pathology and where it was planted.
pub(super) type Planted = (&'static str, &'static str, &'static str);

/// The output of `driftline recommend`.
#[derive(Debug)]
pub(super) struct Told(Value);

impl Told {
    pub(super) fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("recommend writes JSON"))
    }

    /// Of the planted ones those that no rule names.
    pub(super) fn missing(&self, planted: &[Planted]) -> Vec<Planted> {
        let unnamed =
            |&&(rule, target, object): &&Planted| self.find(rule, target, object).is_none();
        planted.iter().filter(unnamed).copied().collect()
    }

    /// The recommendation of a rule on an object, which must be there.
    #[track_caller]
    pub(super) fn of(&self, (rule, target, object): Planted) -> &Value {
        let found = self.find(rule, target, object);
        found.unwrap_or_else(|| panic!("{rule} must fire on {object} of {target}:\n{self}"))
    }

    /// A rule must have fired on these objects of a server and on nothing else of it.
    #[track_caller]
    pub(super) fn fires_only_on(&self, rule: &str, target: &str, objects: &[&str]) {
        let fired: Vec<&Value> = self
            .on(target)
            .filter(|one| text(one, "rule") == rule)
            .collect();
        let named = |object: &&str| fired.iter().any(|one| is_about(one, object));
        let among = |one: &&Value| objects.iter().any(|object| is_about(one, object));
        let all = objects.iter().all(named) && fired.iter().all(among);
        assert!(
            all && objects.len() == fired.len(),
            "{rule} must fire on {objects:?} of {target} and on nothing else of it:\n{self}"
        );
    }

    /// A rule must have fired on a server and on no other.
    #[track_caller]
    pub(super) fn fires_only_at(&self, rule: &str, target: &str) {
        let fired = self.all().filter(|one| text(one, "rule") == rule);
        let mut targets: Vec<&str> = fired.map(|one| text(one, "target")).collect();
        targets.dedup();
        assert_eq!(targets, [target], "{rule}:\n{self}");
    }

    /// A field of a recommendation must contain a text.
    #[track_caller]
    pub(super) fn says(&self, planted: Planted, field: &str, words: &str) {
        let one = self.of(planted);
        let said = text(one, field);
        assert!(
            said.contains(words),
            "{field} {said:?} must say {words:?}:\n{self}"
        );
    }

    /// The action of a recommendation must be this one.
    #[track_caller]
    pub(super) fn prepares(&self, planted: Planted, action: &Value) {
        let prepared = &self.of(planted)["action"];
        assert_eq!(prepared, action, "{planted:?}:\n{self}");
    }

    /// The rules that fired on a server.
    pub(super) fn rules_on(&self, target: &str) -> Vec<&str> {
        self.on(target).map(|one| text(one, "rule")).collect()
    }

    /// Rules that failed.
    pub(super) fn failed(&self) -> &Value {
        &self.0["failed"]
    }

    fn find(&self, rule: &str, target: &str, object: &str) -> Option<&Value> {
        self.on(target)
            .find(|one| text(one, "rule") == rule && is_about(one, object))
    }

    fn on(&self, target: &str) -> impl Iterator<Item = &Value> {
        self.all().filter(move |one| text(one, "target") == target)
    }

    fn all(&self) -> impl Iterator<Item = &Value> {
        let all = self.0["recommendations"].as_array().expect("a list");
        all.iter()
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

fn text<'a>(one: &'a Value, field: &str) -> &'a str {
    one[field].as_str().unwrap_or_default()
}

fn is_about(one: &Value, object: &str) -> bool {
    text(one, "subject").contains(object) || text(one, "advice").contains(object)
}
