//! What was taken and waits for the pass: requests go in wholly or not at all, batches come out.

use std::time::Duration;

use driftline_schemas::series::{Sample, SampleBatch};

use super::dictionary::Dictionary;
use super::{Limits, Reason, Refusal};

/// Most samples of a batch; a block holds 65,536 rows.
const MAX_BATCH: usize = 50_000;
/// How often unused series are looked for.
const FORGET_EVERY_S: i64 = 60;
/// Room that an empty buffer keeps.
const KEPT_SAMPLES: usize = 65_536;
/// A series that has no place in the batch yet.
const ABSENT: u32 = u32::MAX;

/// What has been taken and rejected since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    /// Requests that were taken, at least in part.
    pub(crate) taken: u64,
    pub(crate) malformed: u64,
    pub(crate) full: u64,
    pub(crate) rejected: [u64; Reason::ALL.len()],
}

/// What came of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) samples: u64,
    /// Points that were not taken.
    pub(crate) rejected: u64,
    /// Why, of those that were most.
    pub(crate) reason: Option<Reason>,
}

/// The buffer, its dictionary and its counts.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) dictionary: Dictionary,
    pending: Vec<Sample>,
    limits: Limits,
    tally: Tally,
    now_us: i64,
    /// Where the request under way begins.
    mark: usize,
    rejected: [u64; Reason::ALL.len()],
    /// What the sums of deltas were before the request under way.
    undo: Vec<(u32, f64, i64)>,
    looked_s: i64,
    /// For each series its place in the batch under construction.
    places: Vec<u32>,
}

impl Intake {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            dictionary: Dictionary::new(limits.max_series),
            pending: Vec::new(),
            limits,
            tally: Tally::default(),
            now_us: 0,
            mark: 0,
            rejected: [0; Reason::ALL.len()],
            undo: Vec::new(),
            looked_s: i64::MIN,
            places: Vec::new(),
        }
    }

    /// Begins a request.
    pub(crate) fn begin(&mut self, now_us: i64, bytes: usize) {
        self.now_us = now_us;
        self.mark = self.pending.len();
        self.rejected = [0; Reason::ALL.len()];
        self.undo.clear();
        self.tally.bytes += bytes as u64;
    }

    /// The time of the request under way.
    pub(crate) fn now_us(&self) -> i64 {
        self.now_us
    }

    /// Whether a time lies within its bounds.
    #[inline]
    pub(crate) fn admits(&self, ts_us: i64) -> bool {
        ts_us >= self.now_us.saturating_sub(micros(self.limits.max_age))
            && ts_us <= self.now_us.saturating_add(micros(self.limits.max_ahead))
    }

    /// Takes a sample. NaN says that there is no value, so there is no sample.
    ///
    /// # Errors
    /// Where the buffer has no room.
    #[inline]
    pub(crate) fn push(&mut self, series: u32, ts_us: i64, value: f64) -> Result<(), Refusal> {
        if value.is_nan() {
            return Ok(());
        }
        let limit = self.limits.max_queued;
        if self.pending.len() >= limit {
            return Err(if self.mark == 0 {
                Refusal::TooMany { limit }
            } else {
                Refusal::Full { limit }
            });
        }
        self.pending.push(Sample {
            series,
            ts_us,
            value,
        });
        Ok(())
    }

    /// Whether a delta of this time is newer than those before.
    pub(crate) fn is_newer(&mut self, series: u32, ts_us: i64) -> bool {
        self.dictionary.entry(series).newest_us < ts_us
    }

    /// Adds a delta to the sum of its series and takes the sum. Of a new series it is also said that
    /// it was 0 at the start of the first delta, so that this one counts as an increase.
    ///
    /// # Errors
    /// Where the buffer has no room.
    pub(crate) fn add(
        &mut self,
        series: u32,
        start_us: i64,
        ts_us: i64,
        delta: f64,
    ) -> Result<(), Refusal> {
        // A sum that is not finite would stay so for ever.
        if !delta.is_finite() {
            return Ok(());
        }
        let entry = self.dictionary.entry(series);
        self.undo.push((series, entry.total, entry.newest_us));
        let is_new = entry.newest_us == i64::MIN;
        entry.total += delta;
        entry.newest_us = ts_us;
        let total = entry.total;
        if is_new && start_us < ts_us && self.admits(start_us) {
            self.push(series, start_us, 0.0)?;
        }
        self.push(series, ts_us, total)
    }

    /// Counts points that are not taken.
    pub(crate) fn reject(&mut self, reason: Reason, points: u64) {
        self.rejected[reason as usize] += points;
    }

    /// Ends a request that can be taken.
    pub(crate) fn commit(&mut self) -> Outcome {
        let samples = (self.pending.len() - self.mark) as u64;
        self.tally.samples += samples;
        self.tally.taken += 1;
        let counts = self.tally.rejected.iter_mut().zip(self.rejected);
        counts.for_each(|(all, now)| *all += now);
        let most = Reason::ALL
            .into_iter()
            .max_by_key(|reason| self.rejected[*reason as usize]);
        Outcome {
            samples,
            rejected: self.rejected.iter().sum(),
            reason: most.filter(|reason| self.rejected[*reason as usize] > 0),
        }
    }

    /// Ends a request that cannot be taken: nothing of it stays.
    pub(crate) fn roll_back(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::Malformed(_) => self.tally.malformed += 1,
            Refusal::Full { .. } | Refusal::TooMany { .. } => self.tally.full += 1,
        }
        self.undo_samples();
    }

    /// Counts a request that could not even be unpacked.
    pub(crate) fn count_malformed(&mut self) {
        self.tally.malformed += 1;
    }

    fn undo_samples(&mut self) {
        self.pending.truncate(self.mark);
        for (series, total, newest_us) in self.undo.drain(..).rev() {
            let entry = self.dictionary.entry(series);
            entry.total = total;
            entry.newest_us = newest_us;
        }
    }

    /// The counts since the beginning.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Samples that wait.
    pub(crate) fn queued(&self) -> usize {
        self.pending.len()
    }

    /// Everything that waits, in batches.
    pub(crate) fn take(&mut self, now_us: i64) -> Vec<SampleBatch> {
        let now_s = now_us.div_euclid(1_000_000);
        let pending = std::mem::take(&mut self.pending);
        let batches = pending
            .chunks(MAX_BATCH)
            .map(|chunk| self.batch(chunk, now_s));
        let batches = batches.collect();
        self.pending = pending;
        self.pending.clear();
        self.pending.shrink_to(KEPT_SAMPLES);
        self.mark = 0;
        self.undo.clear();
        if now_s - FORGET_EVERY_S >= self.looked_s {
            self.looked_s = now_s;
            let before_s = now_s.saturating_sub(self.limits.forget_after.as_secs() as i64);
            self.dictionary.forget_unused(before_s, now_s);
        }
        batches
    }

    /// Samples with a dictionary of their own series.
    fn batch(&mut self, samples: &[Sample], now_s: i64) -> SampleBatch {
        self.places.clear();
        self.places.resize(self.dictionary.places(), ABSENT);
        let mut batch = SampleBatch {
            series: Vec::new(),
            samples: Vec::with_capacity(samples.len()),
        };
        for sample in samples {
            let place = &mut self.places[sample.series as usize];
            if *place == ABSENT {
                *place = batch.series.len() as u32;
                let series = self.dictionary.touch(sample.series, now_s);
                batch.series.push(series.clone());
            }
            batch.samples.push(Sample {
                series: *place,
                ..*sample
            });
        }
        batch
    }
}

/// Whole microseconds; what does not fit lies beyond every time.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use driftline_schemas::metric::{Component, MetricKind};

    use super::super::definition::{Part, define};
    use super::super::wire::Malformed;
    use super::*;

    const NOW_US: i64 = 1_790_000_000_000_000;

    fn intake(max_queued: usize) -> (Intake, u32) {
        let mut intake = Intake::new(Limits {
            max_series: 10,
            max_queued,
            max_age: Duration::from_secs(3_600),
            max_ahead: Duration::from_secs(60),
            forget_after: Duration::from_secs(900),
        });
        let name = "a".to_owned();
        let def = define(Component::Otlp, name, "1", MetricKind::Counter, Part::Value);
        let metric = intake.dictionary.metric(def).expect("room");
        let series = intake.dictionary.series(metric, &mut Vec::new());
        (intake, series.expect("room"))
    }

    fn values(batches: &[SampleBatch]) -> Vec<(i64, f64)> {
        let samples = batches.iter().flat_map(|batch| &batch.samples);
        samples
            .map(|sample| (sample.ts_us - NOW_US, sample.value))
            .collect()
    }

    #[test]
    fn a_request_is_taken_wholly_or_not_at_all() {
        let (mut intake, a) = intake(3);
        intake.begin(NOW_US, 10);
        intake.add(a, NOW_US - 10, NOW_US, 5.0).expect("room");
        assert_eq!(intake.commit().samples, 2, "with the zero at the start");
        intake.begin(NOW_US, 10);
        intake.add(a, NOW_US, NOW_US + 1, 2.0).expect("room");
        let full = intake
            .add(a, NOW_US + 1, NOW_US + 2, 3.0)
            .expect_err("no room");
        assert_eq!(full, Refusal::Full { limit: 3 });
        intake.roll_back(&full);
        assert_eq!(values(&intake.take(NOW_US)), [(-10, 0.0), (0, 5.0)]);
        // The same request again: nothing was counted twice.
        intake.begin(NOW_US, 10);
        intake.add(a, NOW_US, NOW_US + 1, 2.0).expect("room");
        intake.add(a, NOW_US + 1, NOW_US + 2, 3.0).expect("room");
        intake.commit();
        assert_eq!(values(&intake.take(NOW_US)), [(1, 7.0), (2, 10.0)]);
        assert_eq!((intake.tally().full, intake.tally().taken), (1, 2));
        assert_eq!((intake.tally().samples, intake.tally().bytes), (4, 30));
    }

    #[test]
    fn what_can_never_fit_is_told_apart() {
        let (mut intake, a) = intake(1);
        intake.begin(NOW_US, 1);
        intake.push(a, NOW_US, 1.0).expect("room");
        assert_eq!(
            intake.push(a, NOW_US, 1.0),
            Err(Refusal::TooMany { limit: 1 })
        );
        intake.roll_back(&Refusal::Malformed(Malformed { what: "it" }));
        assert_eq!((intake.queued(), intake.tally().malformed), (0, 1));
    }

    #[test]
    fn nan_is_no_sample_and_times_are_bounded() {
        let (mut intake, a) = intake(9);
        intake.begin(NOW_US, 1);
        for value in [f64::NAN, f64::INFINITY, 1.0] {
            intake.push(a, NOW_US, value).expect("room");
        }
        assert!(intake.admits(NOW_US - 3_600_000_000) && !intake.admits(NOW_US - 3_600_000_001));
        assert!(intake.admits(NOW_US + 60_000_000) && !intake.admits(i64::MAX));
        intake.reject(Reason::TimeOutOfRange, 2);
        let outcome = intake.commit();
        assert_eq!((outcome.samples, outcome.rejected), (2, 2));
        assert_eq!(outcome.reason, Some(Reason::TimeOutOfRange));
    }

    #[test]
    fn batches_are_bounded_and_carry_only_their_series() {
        let (mut intake, a) = intake(MAX_BATCH * 2);
        intake.begin(NOW_US, 1);
        for at in 0..=MAX_BATCH {
            intake.push(a, NOW_US + at as i64, 1.0).expect("room");
        }
        intake.commit();
        let batches = intake.take(NOW_US);
        let lens: Vec<usize> = batches.iter().map(|batch| batch.samples.len()).collect();
        assert_eq!(lens, [MAX_BATCH, 1]);
        assert!(batches.iter().all(|batch| batch.series.len() == 1));
    }
}
