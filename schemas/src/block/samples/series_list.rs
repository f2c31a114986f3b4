//! The series that a block names. The blocks of a stream mostly name the same ones, so a decoder
//! keeps them from block to block and only compares bytes.

use std::sync::Arc;

use super::decode::{Message, Names, number};
use crate::block::{DecodeError, expect_len, known};
use crate::metric::{Better, Category, Component, MetricKind};
use crate::series::{MetricDef, MetricRef};

/// The series of a block, in its order.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeriesList<'a> {
    runs: &'a [Run],
    labels: &'a str,
    fields: &'a [u8],
}

/// A series and how many samples of it follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesRun<'a> {
    /// The metric.
    pub metric: &'a MetricRef,
    /// The labels, in canonical form.
    pub labels: &'a str,
    /// Number of samples.
    pub samples: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Run {
    metric: MetricRef,
    /// Where its labels end in the text that all labels make.
    labels_end: usize,
    samples: usize,
}

impl<'a> SeriesList<'a> {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The series, with the number of samples of each.
    pub fn iter(&self) -> impl Iterator<Item = SeriesRun<'a>> + use<'a> {
        let labels = self.labels;
        self.runs.iter().scan(0, move |start, run| {
            let text = &labels[*start..run.labels_end];
            *start = run.labels_end;
            Some(SeriesRun {
                metric: &run.metric,
                labels: text,
                samples: run.samples,
            })
        })
    }

    /// The bytes that the list was read from: equal bytes make equal lists. Empty where the block's
    /// writer has not kept them together.
    pub fn fields(&self) -> &'a [u8] {
        self.fields
    }
}

impl PartialEq for SeriesList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.runs == other.runs && self.labels == other.labels
    }
}

/// The series of the last block, with the bytes of the body that named them.
#[derive(Debug, Default)]
pub(in crate::block) struct KnownSeries {
    runs: Vec<Run>,
    labels: String,
    samples: usize,
    /// What names series at the head of a body, and after it what defines custom metrics at the end.
    fields: Vec<u8>,
    head: usize,
    /// Size of the body that they were read from.
    body: usize,
}

impl KnownSeries {
    /// The list.
    pub(super) fn list(&self) -> SeriesList<'_> {
        SeriesList {
            runs: &self.runs,
            labels: &self.labels,
            fields: &self.fields,
        }
    }

    /// Samples of each series, in the order of the list.
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> {
        self.runs.iter().map(|run| run.samples)
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Samples of all series together.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Bytes that this takes at most: the fields, the texts once more, and the runs.
    pub(super) fn memory(&self) -> usize {
        2 * self.body + self.runs.len() * size_of::<Run>()
    }

    /// What lies between the fields that name the known series; `None` where the body begins or ends
    /// with others. Whether there are more of them in between is for the caller to see.
    pub(super) fn strip<'a>(&self, raw: &'a [u8]) -> Option<&'a [u8]> {
        if self.fields.is_empty() {
            return None;
        }
        let (head, tail) = self.fields.split_at(self.head);
        raw.strip_prefix(head)?.strip_suffix(tail)
    }

    /// Reads the series of another body.
    pub(super) fn learn(&mut self, raw: &[u8], message: &Message<'_>) -> Result<(), DecodeError> {
        // Whatever fails below must not leave bytes that stand for half a list.
        self.fields.clear();
        self.body = raw.len();
        self.read(&message.names)?;
        if let Some((head, tail)) = message.layout.ends(raw.len()) {
            self.fields.extend_from_slice(&raw[..head]);
            self.fields.extend_from_slice(&raw[tail..]);
            self.head = head;
        }
        Ok(())
    }

    fn read(&mut self, names: &Names<'_>) -> Result<(), DecodeError> {
        let len = names.labels.len();
        expect_len("series_metric", names.metric.len(), len)?;
        expect_len("series_samples", names.count.len(), len)?;
        let customs = read_customs(names)?;
        let mut metrics = names.metric.varints();
        let mut counts = names.count.varints();
        self.runs.clear();
        self.labels.clear();
        self.samples = 0;
        for labels in &names.labels {
            let metric = number(&mut metrics, "series_metric")?;
            let at = metric >> 1;
            let metric = if metric & 1 == 0 {
                MetricRef::Known(at)
            } else {
                known("series_metric", at, |at| customs.get(at as usize))
                    .map(|def| MetricRef::Custom(Arc::clone(def)))?
            };
            let samples = number(&mut counts, "series_samples")? as usize;
            self.samples = self.samples.saturating_add(samples);
            self.labels.push_str(labels);
            self.runs.push(Run {
                metric,
                labels_end: self.labels.len(),
                samples,
            });
        }
        Ok(())
    }
}

fn read_customs(names: &Names<'_>) -> Result<Vec<Arc<MetricDef>>, DecodeError> {
    let len = names.custom_name.len();
    expect_len("custom_unit", names.custom_unit.len(), len)?;
    expect_len("custom_component", names.custom_component.len(), len)?;
    expect_len("custom_kind", names.custom_kind.len(), len)?;
    expect_len("custom_category", names.custom_category.len(), len)?;
    expect_len("custom_better", names.custom_better.len(), len)?;
    let mut components = names.custom_component.varints();
    let mut kinds = names.custom_kind.varints();
    let mut categories = names.custom_category.varints();
    let mut betters = names.custom_better.varints();
    let texts = names.custom_name.iter().zip(&names.custom_unit);
    texts
        .map(|(name, unit)| {
            let component = number(&mut components, "component")?;
            let kind = number(&mut kinds, "metric kind")?;
            let category = number(&mut categories, "category")?;
            let better = number(&mut betters, "better")?;
            Ok(Arc::new(MetricDef {
                name: (*name).to_owned(),
                unit: (*unit).to_owned(),
                component: known("component", component, Component::from_number)?,
                kind: known("metric kind", kind, MetricKind::from_number)?,
                category: known("category", category, Category::from_number)?,
                better: known("better", better, Better::from_number)?,
            }))
        })
        .collect()
}
