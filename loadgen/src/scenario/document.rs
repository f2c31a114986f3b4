//! A TOML text with the place of everything in it. Readers ask a [`Section`] for its keys and an
//! [`Item`] for its value; whatever does not fit becomes a fault at its place. What keys mean is
//! left to the readers.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Faults, remedy};
use super::quantity;

/// A table of a scenario.
#[derive(Clone)]
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    faults: &'a Faults<'a>,
    /// Where it begins.
    pub(super) span: Range<usize>,
    /// How messages call it: `stage 2`.
    pub(super) what: String,
}

impl<'a> Section<'a> {
    /// A table that may hold these keys and no others.
    pub(super) fn new(
        table: &'a DeTable<'a>,
        span: Range<usize>,
        what: impl Into<String>,
        known: &[&str],
        faults: &'a Faults<'a>,
    ) -> Self {
        let section = Self::open(table, span, what, faults);
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                faults.add(
                    &key.span(),
                    format!(
                        "unknown key `{name}` in {}; {}",
                        section.what,
                        remedy(name, known.iter().copied())
                    ),
                );
            }
        }
        section
    }

    /// A table whose keys are names that the user gives.
    fn open(
        table: &'a DeTable<'a>,
        span: Range<usize>,
        what: impl Into<String>,
        faults: &'a Faults<'a>,
    ) -> Self {
        Self {
            table,
            faults,
            span,
            what: what.into(),
        }
    }

    /// The value of a key, if there is one.
    pub(super) fn get(&self, key: &str) -> Option<Item<'a>> {
        let (spanned, value) = self.table.get_key_value(key)?;
        Some(Item {
            value,
            faults: self.faults,
            key_span: spanned.span(),
            key: spanned.get_ref(),
            what: format!("`{key}` of {}", self.what),
        })
    }

    /// The value of a key without which the section means nothing.
    pub(super) fn need(&self, key: &str, example: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.fault(format!("{} has no `{key}`; write {example}", self.what));
        }
        item
    }

    /// Everything in it, in the order of the text.
    pub(super) fn items(&self) -> Vec<Item<'a>> {
        let mut items: Vec<Item<'a>> = self
            .table
            .keys()
            .filter_map(|key| self.get(key.get_ref()))
            .collect();
        items.sort_by_key(|item| item.key_span.start);
        items
    }

    /// Records a fault of the whole section.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(&self.span, message);
    }

    /// The elements of an array of tables, none if the key is missing.
    pub(super) fn sections(&self, key: &str, what: &str, known: &[&str]) -> Vec<Section<'a>> {
        let Some(item) = self.get(key) else {
            return Vec::new();
        };
        let Some(elements) = item.elements() else {
            return Vec::new();
        };
        let sections = elements
            .into_iter()
            .enumerate()
            .filter_map(|(at, element)| {
                element.named_section(&format!("{what} {}", at + 1), known)
            });
        sections.collect()
    }
}

/// A value of a scenario.
#[derive(Clone)]
pub(super) struct Item<'a> {
    value: &'a Spanned<DeValue<'a>>,
    faults: &'a Faults<'a>,
    /// The key; of an element the key of its array.
    pub(super) key: &'a str,
    key_span: Range<usize>,
    /// How messages call it: `` `rate` of stage 2 ``.
    pub(super) what: String,
}

impl<'a> Item<'a> {
    /// The value as it stands.
    pub(super) fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Records a fault of the value.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(&self.value.span(), message);
    }

    /// Records a fault of the key.
    pub(super) fn key_fault(&self, message: impl Into<String>) {
        self.faults.add(&self.key_span, message);
    }

    fn misfit<T>(&self, wanted: &str) -> Option<T> {
        let is = match self.value() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.fault(format!("{} is {is}; write {wanted}", self.what));
        None
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value() {
            DeValue::String(text) => Some(text),
            _ => self.misfit("a text in quotes"),
        }
    }

    /// A text that is not empty.
    pub(super) fn filled_text(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.fault(format!("{} is empty; write a text", self.what));
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.misfit("true or false"),
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(integer) = self.value() else {
            return self.misfit("a whole number");
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if bounds.contains(&number) => Some(number),
            _ => {
                self.fault(format!(
                    "{} is {integer}; write a whole number from {} to {}",
                    self.what,
                    bounds.start(),
                    bounds.end()
                ));
                None
            }
        }
    }

    /// The same as 32 bits.
    pub(super) fn whole_u32(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let number = self.whole(u64::from(*bounds.start())..=u64::from(*bounds.end()))?;
        u32::try_from(number).ok()
    }

    /// Whether the value is a number of any kind.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.value(), DeValue::Integer(_) | DeValue::Float(_))
    }

    /// A number within bounds, whole or not.
    pub(super) fn number(&self, bounds: RangeInclusive<f64>, remedy: &str) -> Option<f64> {
        let (number, written) = match self.value() {
            DeValue::Integer(integer) => (
                i64::from_str_radix(integer.as_str(), integer.radix())
                    .ok()
                    .map(|number| number as f64),
                integer.to_string(),
            ),
            DeValue::Float(float) => (float.as_str().parse().ok(), float.to_string()),
            _ => return self.misfit(&format!("a number {remedy}")),
        };
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => {
                self.fault(format!(
                    "{} is {written}; write a number {remedy}",
                    self.what
                ));
                None
            }
        }
    }

    /// A time longer than nothing, such as `"1m 30s"`.
    pub(super) fn duration(&self) -> Option<Duration> {
        let duration = self.duration_or_zero()?;
        if duration.is_zero() {
            self.fault(format!(
                "{} is zero; write a time such as \"30s\"",
                self.what
            ));
            return None;
        }
        Some(duration)
    }

    /// A time, possibly none.
    pub(super) fn duration_or_zero(&self) -> Option<Duration> {
        let DeValue::String(text) = self.value() else {
            return self.misfit("a time with its unit in quotes, such as \"30s\"");
        };
        match quantity::duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.fault(format!("{}: {error}", self.what));
                None
            }
        }
    }

    /// Bytes, such as `4096` or `"16KiB"`.
    pub(super) fn size(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::String(text) = self.value() else {
            return self.whole(bounds);
        };
        match quantity::size(text) {
            Ok(size) if bounds.contains(&size) => Some(size),
            Ok(size) => {
                self.fault(format!(
                    "{} is {size} bytes; write from {} to {}",
                    self.what,
                    bounds.start(),
                    bounds.end()
                ));
                None
            }
            Err(error) => {
                self.fault(format!("{}: {error}", self.what));
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(format!(
                "{} is `{text}`; {}",
                self.what,
                remedy(text, known.iter().copied())
            ));
        }
        found.map(|(_, value)| *value)
    }

    /// A table with these keys and no others.
    pub(super) fn section(&self, known: &[&str]) -> Option<Section<'a>> {
        self.named_section(&self.what, known)
    }

    fn named_section(&self, what: &str, known: &[&str]) -> Option<Section<'a>> {
        match self.value() {
            DeValue::Table(table) => Some(Section::new(
                table,
                self.value.span(),
                what,
                known,
                self.faults,
            )),
            _ => self.misfit(&format!(
                "a table of {}",
                super::fault::quoted(known.iter().copied())
            )),
        }
    }

    /// A table whose keys are names that the user gives.
    pub(super) fn names(&self) -> Option<Section<'a>> {
        match self.value() {
            DeValue::Table(table) => Some(Section::open(
                table,
                self.value.span(),
                self.what.clone(),
                self.faults,
            )),
            _ => self.misfit("a table"),
        }
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Option<Vec<Item<'a>>> {
        let DeValue::Array(array) = self.value() else {
            return self.misfit("an array");
        };
        let elements = array.iter().enumerate().map(|(at, value)| Item {
            value,
            faults: self.faults,
            key: self.key,
            key_span: value.span(),
            what: format!("element {} of {}", at + 1, self.what),
        });
        Some(elements.collect())
    }

    /// The elements of an array, or the value itself.
    pub(super) fn one_or_more(&self) -> Vec<Item<'a>> {
        match self.value() {
            DeValue::Array(_) => self.elements().unwrap_or_default(),
            _ => vec![self.clone()],
        }
    }
}
