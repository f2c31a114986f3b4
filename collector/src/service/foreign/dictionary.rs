//! The series of one source, known over time: by the bytes in which the sender names them (fast),
//! and by metric and canonical labels (what they are).
//!
//! Both are bounded. A series without samples for some time is forgotten and its place used again;
//! with it goes what was summed up for it.

use std::collections::HashMap;
use std::sync::Arc;

use driftline_schemas::series::{Labels, MetricDef, MetricRef, Series, write_canonical};

use super::{MAX_LABEL_BYTES, MAX_LABELS, MAX_METRICS, MAX_NAME_BYTES, MAX_UNIT_BYTES, Reason};

/// Names longer than this are resolved anew each time.
const MAX_KEY_BYTES: usize = 8 * 1024;
/// All names together; beyond it they are all resolved anew once.
const MAX_KEYS_BYTES: usize = 64 * 1024 * 1024;
/// What a name costs beside its bytes.
const KEY_OVERHEAD_BYTES: usize = 64;

/// What a sender's bytes stand for.
#[derive(Debug, Clone)]
pub(crate) enum Resolved {
    /// A series, or a metric.
    One(u32),
    /// The series of a distribution.
    Many(Arc<[u32]>),
}

/// A series and what is kept for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) series: Series,
    metric: u32,
    /// When a sample came last, in seconds since 1970 UTC; `None` where the place is free.
    used_s: Option<i64>,
    /// The sum of the deltas.
    pub(super) total: f64,
    /// The time of the newest delta.
    pub(super) newest_us: i64,
}

#[derive(Debug)]
struct Metric {
    def: Arc<MetricDef>,
    by_labels: HashMap<Box<str>, u32>,
}

/// The dictionary.
#[derive(Debug)]
pub(crate) struct Dictionary {
    keys: HashMap<Box<[u8]>, Resolved>,
    keys_bytes: usize,
    metrics: Vec<Metric>,
    by_def: HashMap<Arc<MetricDef>, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    max_series: usize,
    labels: String,
}

impl Dictionary {
    pub(crate) fn new(max_series: usize) -> Self {
        Self {
            keys: HashMap::new(),
            keys_bytes: 0,
            metrics: Vec::new(),
            by_def: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            max_series,
            labels: String::new(),
        }
    }

    /// What these bytes stood for the last time.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Resolved> {
        self.keys.get(key)
    }

    /// Remembers what these bytes stand for.
    pub(crate) fn remember(&mut self, key: &[u8], resolved: Resolved) {
        if key.len() > MAX_KEY_BYTES {
            return;
        }
        let many = match &resolved {
            Resolved::One(_) => 0,
            Resolved::Many(series) => series.len() * size_of::<u32>(),
        };
        self.keys_bytes += key.len() + many + KEY_OVERHEAD_BYTES;
        if self.keys_bytes > MAX_KEYS_BYTES {
            self.forget_keys();
            self.keys_bytes = key.len() + many + KEY_OVERHEAD_BYTES;
        }
        self.keys.insert(key.into(), resolved);
    }

    /// Forgets what bytes stand for, because their meaning changed.
    pub(crate) fn forget_keys(&mut self) {
        self.keys.clear();
        self.keys_bytes = 0;
    }

    /// The number of a metric.
    pub(crate) fn metric(&mut self, def: MetricDef) -> Result<u32, Reason> {
        if let Some(known) = self.by_def.get(&def) {
            return Ok(*known);
        }
        if def.name.is_empty() || def.name.len() > MAX_NAME_BYTES || def.unit.len() > MAX_UNIT_BYTES
        {
            return Err(Reason::BadName);
        }
        if self.metrics.len() >= MAX_METRICS {
            return Err(Reason::TooManyMetrics);
        }
        Ok(self.add_metric(Arc::new(def)))
    }

    fn add_metric(&mut self, def: Arc<MetricDef>) -> u32 {
        let at = index(self.metrics.len());
        self.by_def.insert(Arc::clone(&def), at);
        self.metrics.push(Metric {
            def,
            by_labels: HashMap::new(),
        });
        at
    }

    /// The number of a series of a metric. The labels are sorted in place; empty values count as
    /// absent, as Prometheus has it.
    pub(crate) fn series(
        &mut self,
        metric: u32,
        labels: &mut Vec<(&str, &str)>,
    ) -> Result<u32, Reason> {
        labels.retain(|(_, value)| !value.is_empty());
        if labels.len() > MAX_LABELS {
            return Err(Reason::LabelsTooLong);
        }
        self.labels.clear();
        write_canonical(labels, &mut self.labels);
        if self.labels.len() > MAX_LABEL_BYTES {
            return Err(Reason::LabelsTooLong);
        }
        let len = self.len();
        let known = &mut self.metrics[metric as usize];
        if let Some(series) = known.by_labels.get(self.labels.as_str()) {
            return Ok(*series);
        }
        if len >= self.max_series {
            return Err(Reason::TooManySeries);
        }
        let entry = Entry {
            series: Series {
                metric: MetricRef::Custom(Arc::clone(&known.def)),
                labels: Labels::from_canonical(&self.labels),
            },
            metric,
            used_s: Some(i64::MAX),
            total: 0.0,
            newest_us: i64::MIN,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                index(self.entries.len() - 1)
            }
        };
        known.by_labels.insert(self.labels.as_str().into(), at);
        Ok(at)
    }

    /// Series that are known.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Places, used and free: series are numbered below it.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(super) fn entry(&mut self, series: u32) -> &mut Entry {
        &mut self.entries[series as usize]
    }

    /// Notes that a sample of the series came.
    pub(super) fn touch(&mut self, series: u32, now_s: i64) -> &Series {
        let entry = &mut self.entries[series as usize];
        entry.used_s = Some(now_s);
        &entry.series
    }

    /// Forgets the series without samples since then, and the metrics without series.
    pub(super) fn forget_unused(&mut self, before_s: i64, now_s: i64) {
        let mut forgotten = false;
        for (at, entry) in self.entries.iter_mut().enumerate() {
            match entry.used_s {
                // It was named and has no sample yet: its time begins now.
                Some(i64::MAX) => entry.used_s = Some(now_s),
                Some(used_s) if used_s < before_s => {
                    entry.used_s = None;
                    entry.series.labels = Labels::empty();
                    self.free.push(index(at));
                    forgotten = true;
                }
                _ => {}
            }
        }
        if !forgotten {
            return;
        }
        self.forget_keys();
        self.metrics.clear();
        self.by_def.clear();
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            let MetricRef::Custom(def) = &entry.series.metric else {
                continue;
            };
            if entry.used_s.is_none() {
                continue;
            }
            let def = Arc::clone(def);
            let labels = entry.series.labels.as_str().into();
            let metric = match self.by_def.get(&def) {
                Some(metric) => *metric,
                None => self.add_metric(def),
            };
            self.entries[at].metric = metric;
            self.metrics[metric as usize]
                .by_labels
                .insert(labels, index(at));
        }
    }
}

/// Both dictionaries are bounded far below 2^32.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use driftline_schemas::metric::{Component, MetricKind};

    use super::*;
    use crate::service::foreign::definition::{Part, define};

    fn def(name: &str) -> MetricDef {
        let name = name.to_owned();
        define(Component::Otlp, name, "1", MetricKind::Gauge, Part::Value)
    }

    #[test]
    fn equal_label_sets_are_one_series_and_the_bound_holds() {
        let mut known = Dictionary::new(2);
        let metric = known.metric(def("a")).expect("room");
        assert_eq!(known.metric(def("a")), Ok(metric));
        let one = known.series(metric, &mut vec![("x", "1"), ("y", "2"), ("z", "")]);
        assert_eq!(known.series(metric, &mut vec![("y", "2"), ("x", "1")]), one);
        known.series(metric, &mut vec![("x", "2")]).expect("room");
        let third = known.series(metric, &mut vec![("x", "3")]);
        assert_eq!(third, Err(Reason::TooManySeries));
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn long_names_and_labels_are_refused() {
        let mut known = Dictionary::new(9);
        assert_eq!(known.metric(def("")), Err(Reason::BadName));
        assert_eq!(known.metric(def(&"x".repeat(513))), Err(Reason::BadName));
        let metric = known.metric(def("a")).expect("room");
        let long = "v".repeat(MAX_LABEL_BYTES);
        let refused = known.series(metric, &mut vec![("x", &long)]);
        assert_eq!(refused, Err(Reason::LabelsTooLong));
        let keys: Vec<String> = (0..=MAX_LABELS).map(|at| at.to_string()).collect();
        let mut many = keys.iter().map(|key| (key.as_str(), "v")).collect();
        assert_eq!(known.series(metric, &mut many), Err(Reason::LabelsTooLong));
    }

    #[test]
    fn unused_series_are_forgotten_and_their_places_used_again() {
        let mut known = Dictionary::new(2);
        let (a, b) = (
            known.metric(def("a")).expect("a"),
            known.metric(def("b")).expect("b"),
        );
        let old = known.series(a, &mut vec![]).expect("room");
        let kept = known.series(b, &mut vec![]).expect("room");
        known.remember(b"old", Resolved::One(old));
        known.touch(old, 100);
        known.touch(kept, 200);
        known.forget_unused(50, 200);
        assert!(known.get(b"old").is_some() && known.len() == 2);
        known.forget_unused(150, 200);
        assert!(known.get(b"old").is_none() && known.len() == 1);
        let b = known.metric(def("b")).expect("it stayed");
        assert_eq!(known.series(b, &mut vec![]), Ok(kept));
        let c = known.metric(def("c")).expect("room");
        assert_eq!(
            known.series(c, &mut vec![]),
            Ok(old),
            "the place is used again"
        );
    }
}
