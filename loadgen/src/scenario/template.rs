//! Text with variables, and whether something gives each variable its value.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::remedy;
use super::{Feed, Template, TemplatePart};

/// Variables that every template may use.
pub(crate) const BUILTINS: [&str; 3] = ["user", "iteration", "random"];

/// A template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `${` that nothing closes.
    #[error("`${{` without `}}`; close the variable, or write `$${{` for the plain characters")]
    Unclosed,
    /// A variable without a name, or with one that cannot be a name.
    #[error(
        "`${{{0}}}` is not a variable; write a name such as `${{user}}`, or `$${{` for the plain characters"
    )]
    Name(String),
}

impl Template {
    /// Reads a text with variables.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at]);
                literal.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let inside = &rest[at + 2..];
            let end = inside.find('}').ok_or(TemplateError::Unclosed)?;
            let name = inside[..end].trim();
            let is_name = |letter: char| !matches!(letter, '$' | '{' | '"' | '\n');
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(TemplateError::Name(inside[..end].to_owned()));
            }
            if !literal.is_empty() {
                parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
            }
            parts.push(TemplatePart::Variable(name.to_owned()));
            rest = &inside[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Variable(name) => Some(name.as_str()),
            TemplatePart::Literal(_) => None,
        })
    }

    /// Its plain pieces of text.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Literal(text) => Some(text.as_str()),
            TemplatePart::Variable(_) => None,
        })
    }
}

/// What gives variables their values at one place of a scenario.
#[derive(Clone)]
pub(super) struct Scope<'s> {
    feeds: &'s BTreeMap<String, Arc<Feed>>,
    captured: Vec<String>,
}

impl<'s> Scope<'s> {
    pub(super) fn new(feeds: &'s BTreeMap<String, Arc<Feed>>) -> Self {
        Self {
            feeds,
            captured: Vec::new(),
        }
    }

    /// A variable that later templates may use.
    pub(super) fn capture(&mut self, name: &str) {
        self.captured.push(name.to_owned());
    }

    /// What is wrong with a variable's name here, and what to do.
    pub(super) fn fault_of(&self, name: &str) -> Option<String> {
        if BUILTINS.contains(&name) || self.captured.iter().any(|captured| captured == name) {
            return None;
        }
        if let Some((feed_name, column)) = name.split_once('.')
            && let Some(feed) = self.feeds.get(feed_name)
        {
            if feed.columns.iter().any(|known| known == column) {
                return None;
            }
            return Some(format!(
                "feed `{feed_name}` has no column `{column}` for `${{{name}}}`; {}",
                remedy(column, feed.columns.iter().map(String::as_str))
            ));
        }
        let columns: Vec<String> = self
            .feeds
            .iter()
            .flat_map(|(feed_name, feed)| {
                feed.columns
                    .iter()
                    .map(move |column| format!("{feed_name}.{column}"))
            })
            .collect();
        let known = BUILTINS
            .into_iter()
            .chain(self.captured.iter().map(String::as_str))
            .chain(columns.iter().map(String::as_str));
        Some(format!(
            "nothing gives `${{{name}}}` a value: no earlier capture, no feed and no builtin; {}",
            remedy(name, known)
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str) -> TemplatePart {
        TemplatePart::Variable(name.to_owned())
    }

    fn literal(text: &str) -> TemplatePart {
        TemplatePart::Literal(text.to_owned())
    }

    #[test]
    fn variables_stand_between_literals() {
        let parts = |text: &str| Template::parse(text).map(|template| template.parts);
        assert_eq!(parts(""), Ok(vec![]));
        assert_eq!(parts("/a"), Ok(vec![literal("/a")]));
        assert_eq!(
            parts("/a/${id}?u=${users.name}"),
            Ok(vec![
                literal("/a/"),
                variable("id"),
                literal("?u="),
                variable("users.name")
            ])
        );
        assert_eq!(parts("$${x}${y}"), Ok(vec![literal("${x}"), variable("y")]));
        assert_eq!(parts("a $ b {c}"), Ok(vec![literal("a $ b {c}")]));
        assert_eq!(parts("${x"), Err(TemplateError::Unclosed));
        assert_eq!(parts("${}"), Err(TemplateError::Name(String::new())));
        assert_eq!(
            parts("${a${b}"),
            Err(TemplateError::Name("a${b".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn escaped_text_is_a_literal(text in "[a-z${}]{0,20}") {
            prop_assume!(!text.contains("$${") );
            let template = Template::parse(&text.replace("${", "$${")).expect("it is escaped");
            prop_assert_eq!(template.as_literal(), Some(text.as_str()));
        }
    }
}
