//! Takes what components measure and yields one batch of samples per tick.
//!
//! Series are interned for the life of the collector, so that a tick neither builds labels anew nor
//! allocates for them. A component records the same series in the same order nearly every time, so
//! the one that came next the last time is tried first; only another one is sought by its labels.
//! What the samples mean stands in the catalogue; encoding is for `schemas`.

use std::collections::HashMap;

use driftline_schemas::{Labels, MetricRef, Sample, SampleBatch, Series, write_canonical};

/// After this many ticks, series that none of them used are forgotten (processes come and go).
const FORGET_AFTER_TICKS: u32 = 60;

/// Collects the samples of one tick after the other.
#[derive(Debug, Default)]
pub struct Recorder {
    ts_us: i64,
    /// By metric id, then by canonical labels: the index of the series.
    index: Vec<HashMap<Box<str>, u32>>,
    series: Vec<Series>,
    /// For each series, whether a tick used it since the last time that series were forgotten.
    used: Vec<bool>,
    /// For each section the series that it recorded the last time, in order.
    sections: Vec<Vec<Expected>>,
    section: usize,
    /// The place in the section.
    next: usize,
    samples: Vec<Sample>,
    labels: String,
    ticks: u32,
    recorded: u64,
}

/// A series at its place in a section.
#[derive(Debug)]
struct Expected {
    metric: u32,
    /// The labels as they were given, each key and each value followed by a zero byte.
    given: Box<[u8]>,
    series: u32,
}

impl Expected {
    fn new(metric: u32, labels: &[(&str, &str)], series: u32) -> Self {
        let mut given = Vec::new();
        for part in labels.iter().flat_map(|(key, value)| [key, value]) {
            given.extend_from_slice(part.as_bytes());
            given.push(0);
        }
        Self {
            metric,
            given: given.into(),
            series,
        }
    }

    /// Whether it is this one. The names and values that a kernel gives hold no zero byte.
    fn is(&self, metric: u32, labels: &[(&str, &str)]) -> bool {
        let mut rest = &*self.given;
        let mut follows = |part: &str| match rest.strip_prefix(part.as_bytes()) {
            Some([0, after @ ..]) => {
                rest = after;
                true
            }
            _ => false,
        };
        metric == self.metric
            && labels
                .iter()
                .all(|(key, value)| follows(key) && follows(value))
            && rest.is_empty()
    }
}

impl Recorder {
    /// Nothing recorded yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a tick: the samples that follow bear this time, in microseconds since 1970 UTC.
    pub fn begin(&mut self, ts_us: i64) {
        self.ts_us = ts_us;
        self.begin_section(0);
    }

    /// Begins a part of the tick that is recorded in much the same order each time: a component.
    pub(crate) fn begin_section(&mut self, section: usize) {
        if section >= self.sections.len() {
            self.sections.resize_with(section + 1, Vec::new);
        }
        self.section = section;
        self.next = 0;
    }

    /// The time of the current tick, in microseconds since 1970 UTC.
    pub fn ts_us(&self) -> i64 {
        self.ts_us
    }

    /// Records a value of a metric of the catalogue. The labels may be sorted in place.
    pub fn record(&mut self, metric: u32, labels: &mut [(&str, &str)], value: f64) {
        let expected = self
            .sections
            .get(self.section)
            .and_then(|section| section.get(self.next));
        let series = match expected.filter(|expected| expected.is(metric, labels)) {
            Some(expected) => expected.series,
            None => self.seek(metric, labels),
        };
        self.next += 1;
        self.used[series as usize] = true;
        self.samples.push(Sample {
            series,
            ts_us: self.ts_us,
            value,
        });
    }

    /// Records a count; counts above 2^53 lose their last digits, as every `f64` does.
    pub fn count(&mut self, metric: u32, labels: &mut [(&str, &str)], value: u64) {
        self.record(metric, labels, value as f64);
    }

    /// Samples recorded since the beginning.
    pub fn recorded(&self) -> u64 {
        self.recorded + self.samples.len() as u64
    }

    /// Samples of the ticks that have ended.
    pub(crate) fn recorded_before(&self) -> u64 {
        self.recorded
    }

    /// Ends the tick and yields its samples. The dictionary may hold series that none of them uses.
    pub fn finish(&mut self) -> SampleBatch {
        self.recorded += self.samples.len() as u64;
        let room = self.samples.len() + self.samples.len() / 8;
        let samples = std::mem::replace(&mut self.samples, Vec::with_capacity(room));
        let batch = SampleBatch {
            series: self.series.clone(),
            samples,
        };
        self.ticks += 1;
        if self.ticks.is_multiple_of(FORGET_AFTER_TICKS) {
            self.forget_unused();
        }
        batch
    }

    /// Finds or makes a series by its labels and notes it as the one at this place.
    fn seek(&mut self, metric: u32, labels: &mut [(&str, &str)]) -> u32 {
        let mut expected = Expected::new(metric, labels, 0);
        self.labels.clear();
        write_canonical(labels, &mut self.labels);
        let by_labels = metric as usize;
        if by_labels >= self.index.len() {
            self.index.resize_with(by_labels + 1, HashMap::new);
        }
        let known = self.index[by_labels].get(self.labels.as_str()).copied();
        expected.series = known.unwrap_or_else(|| self.intern(metric));
        let series = expected.series;
        if self.sections.is_empty() {
            self.sections.push(Vec::new());
        }
        let section = &mut self.sections[self.section];
        section.truncate(self.next);
        section.push(expected);
        series
    }

    fn intern(&mut self, metric: u32) -> u32 {
        let series =
            u32::try_from(self.series.len()).expect("components bound the number of series");
        self.series.push(Series {
            metric: MetricRef::Known(metric),
            labels: Labels::from_canonical(&self.labels),
        });
        self.used.push(true);
        self.index[metric as usize].insert(self.labels.as_str().into(), series);
        series
    }

    fn forget_unused(&mut self) {
        if self.used.iter().all(|used| *used) {
            self.used.fill(false);
            return;
        }
        // They hold indices that are about to change.
        self.sections.clear();
        let kept = std::mem::take(&mut self.series);
        for by_labels in &mut self.index {
            by_labels.clear();
        }
        for (series, used) in kept.into_iter().zip(std::mem::take(&mut self.used)) {
            let MetricRef::Known(metric) = series.metric else {
                continue;
            };
            if used {
                let at = self.series.len() as u32;
                self.index[metric as usize].insert(series.labels.as_str().into(), at);
                self.series.push(series);
            }
        }
        self.used = vec![false; self.series.len()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_interned_over_ticks_whatever_the_order_of_labels() {
        let mut recorder = Recorder::new();
        recorder.begin(1_000_000);
        recorder.record(
            3,
            &mut [("cpu.mode", "user"), ("cpu.logical_number", "0")],
            1.0,
        );
        recorder.record(1, &mut [], 7.0);
        let first = recorder.finish();
        recorder.begin(2_000_000);
        recorder.record(
            3,
            &mut [("cpu.logical_number", "0"), ("cpu.mode", "user")],
            2.0,
        );
        let second = recorder.finish();
        assert_eq!(first.series, second.series);
        assert_eq!(
            first.series[0].labels.as_str(),
            "cpu.logical_number=0,cpu.mode=user"
        );
        assert_eq!(
            second.samples,
            [Sample {
                series: 0,
                ts_us: 2_000_000,
                value: 2.0
            }]
        );
        assert_eq!(recorder.recorded(), 3);
    }

    #[test]
    fn another_order_finds_the_same_series() {
        let mut recorder = Recorder::new();
        let mut seen = Vec::new();
        for tick in 0..4_i64 {
            recorder.begin(tick);
            for section in [1, 2] {
                recorder.begin_section(section);
                for step in 0..5_usize {
                    // The order changes between ticks, and every other tick lacks the last one.
                    let device = ["a", "b", "c", "d", "e"][(step + tick as usize) % 5];
                    if step < 4 || tick % 2 == 0 {
                        let labels =
                            &mut [("system.device", device), ("disk.io.direction", "read")];
                        recorder.record(70, labels, section as f64);
                    }
                }
            }
            let batch = recorder.finish();
            for sample in &batch.samples {
                let labels = batch.series[sample.series as usize]
                    .labels
                    .as_str()
                    .to_owned();
                seen.push((labels, sample.series));
            }
            assert_eq!(batch.series.len(), 5, "tick {tick}");
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5, "each label set has one index: {seen:?}");
    }

    #[test]
    fn series_of_the_past_are_forgotten() {
        let mut recorder = Recorder::new();
        for tick in 0..10 * u64::from(FORGET_AFTER_TICKS) {
            recorder.begin(tick as i64);
            recorder.record(1, &mut [], 1.0);
            recorder.record(200, &mut [("process.pid", &tick.to_string())], 2.0);
            let batch = recorder.finish();
            let bound = 2 * FORGET_AFTER_TICKS as usize + 2;
            assert!(
                batch.series.len() <= bound,
                "{} series at tick {tick}",
                batch.series.len()
            );
            let last = batch.samples[1];
            let labels = &batch.series[last.series as usize].labels;
            assert_eq!(labels.get("process.pid"), Some(tick.to_string()));
        }
    }
}
