//! Series and their values: a metric with one label set, sampled over time.

use std::collections::HashMap;
use std::sync::Arc;

use crate::metric::{Better, Category, Component, MetricKind, metric};

/// A canonical label set: `key=value` pairs sorted by key and joined by commas, with `\`, `,` and
/// `=` escaped by a backslash. Equal sets have equal text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// The canonical form of these pairs; of two pairs with one key the last one stays.
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        let mut pairs = pairs.to_vec();
        let mut text = String::new();
        write_canonical(&mut pairs, &mut text);
        Self(Arc::from(text))
    }

    /// No labels.
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// Takes text that is canonical already, as it comes from a block or from [`write_canonical`].
    pub fn from_canonical(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of one label, unescaped.
    pub fn get(&self, key: &str) -> Option<String> {
        label_value(&self.0, key)
    }
}

/// Sorts the pairs by key and appends their canonical form, so that hot paths can reuse a buffer.
pub fn write_canonical(pairs: &mut [(&str, &str)], out: &mut String) {
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    let mut first = true;
    for (at, (key, value)) in pairs.iter().enumerate() {
        if pairs.get(at + 1).is_some_and(|next| next.0 == *key) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        escape(key, out);
        out.push('=');
        escape(value, out);
    }
}

/// The value of one label in canonical text, unescaped; `None` where the key is absent.
pub fn label_value(canonical: &str, key: &str) -> Option<String> {
    let mut rest = canonical;
    while !rest.is_empty() {
        let (found, after_key) = take_token(rest, '=')?;
        let (value, after_value) = take_token(after_key, ',')?;
        if found == key {
            return Some(value);
        }
        rest = after_value;
    }
    None
}

/// Every label of canonical text, unescaped, in its order; `None` where the text is not canonical.
pub fn label_pairs(canonical: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = canonical;
    while !rest.is_empty() {
        let (key, after_key) = take_token(rest, '=')?;
        let (value, after_value) = take_token(after_key, ',')?;
        pairs.push((key, value));
        rest = after_value;
    }
    Some(pairs)
}

/// Reads an escaped token up to an unescaped `end` (or the end of the text) and skips that `end`.
fn take_token(text: &str, end: char) -> Option<(String, &str)> {
    let mut token = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            token.push(chars.next()?.1);
        } else if c == end {
            return Some((token, text.get(at + c.len_utf8()..)?));
        } else {
            token.push(c);
        }
    }
    Some((token, ""))
}

fn escape(text: &str, out: &mut String) {
    if !text.contains(['\\', ',', '=']) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
}

/// The definition of a metric that is not in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricDef {
    /// The metric's name.
    pub name: String,
    /// What it is a metric of.
    pub component: Component,
    /// Its unit, in UCUM.
    pub unit: String,
    /// How its values behave.
    pub kind: MetricKind,
    /// What it says about a resource.
    pub category: Category,
    /// Which direction is good.
    pub better: Better,
}

/// A metric, by its frozen id or by its definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricRef {
    /// A metric of the catalogue. An id that this version does not know stays a number.
    Known(u32),
    /// A metric that travels with its definition.
    Custom(Arc<MetricDef>),
}

/// What tables say of a metric, wherever it was defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricView<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// What it is a metric of.
    pub component: Component,
    /// Its unit, in UCUM.
    pub unit: &'a str,
    /// How its values behave.
    pub kind: MetricKind,
    /// What it says about a resource.
    pub category: Category,
    /// Which direction is good.
    pub better: Better,
}

impl MetricRef {
    /// The metric's definition; `None` for an id from a newer catalogue than this one.
    pub fn view(&self) -> Option<MetricView<'_>> {
        match self {
            Self::Known(id) => metric(*id).map(|m| MetricView {
                name: m.name,
                component: m.component,
                unit: m.unit,
                kind: m.kind,
                category: m.category,
                better: m.better,
            }),
            Self::Custom(def) => Some(MetricView {
                name: &def.name,
                component: def.component,
                unit: &def.unit,
                kind: def.kind,
                category: def.category,
                better: def.better,
            }),
        }
    }
}

/// A metric and one label set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The metric.
    pub metric: MetricRef,
    /// The labels.
    pub labels: Labels,
}

/// A series' value at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Index into [`SampleBatch::series`].
    pub series: u32,
    /// When, in microseconds since 1970 UTC.
    pub ts_us: i64,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// Samples with the dictionary of their series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleBatch {
    /// The dictionary. Series that no sample uses are not encoded.
    pub series: Vec<Series>,
    /// The samples, in any order; decoding yields them by series, then by time as they came.
    pub samples: Vec<Sample>,
}

impl SampleBatch {
    /// Builds a batch from whole rows, interning their series. For tests and slow paths.
    pub fn from_rows(rows: impl IntoIterator<Item = (Series, i64, f64)>) -> Self {
        let mut batch = Self::default();
        let mut index: HashMap<Series, u32> = HashMap::new();
        for (series, ts_us, value) in rows {
            let next = batch.series.len() as u32;
            let at = *index.entry(series.clone()).or_insert(next);
            if at == next {
                batch.series.push(series);
            }
            batch.samples.push(Sample {
                series: at,
                ts_us,
                value,
            });
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_label_sets_have_equal_text() {
        let one = Labels::new(&[("b", "2"), ("a", "1")]);
        assert_eq!(one, Labels::new(&[("a", "1"), ("b", "2")]));
        assert_eq!(one.as_str(), "a=1,b=2");
        assert_eq!(Labels::new(&[("a", "1"), ("a", "2")]).as_str(), "a=2");
        assert_eq!(Labels::new(&[]), Labels::empty());
    }

    #[test]
    fn values_with_separators_survive() {
        let labels = Labels::new(&[("path", "/a=b,c\\d"), ("k,=", "v")]);
        assert_eq!(labels.get("path").as_deref(), Some("/a=b,c\\d"));
        assert_eq!(labels.get("k,=").as_deref(), Some("v"));
        assert_eq!(labels.get("absent"), None);
        let pairs = [("k,=", "v"), ("path", "/a=b,c\\d")];
        let own = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(label_pairs(labels.as_str()), Some(own.to_vec()));
        assert_eq!(label_pairs("a\\"), None);
    }
}
