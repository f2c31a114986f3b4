//! Which buckets a pass makes: pure decisions over what the log says of files.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use chrono::NaiveDate;

use crate::batch::{Day, US_PER_DAY};
use crate::table::DataFile;

/// A file of the source and the times that it may hold, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
}

/// What a pass has to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) files: Vec<Source>,
    /// Buckets that are in the table and have changed, or may have.
    pub(super) late: BTreeSet<i64>,
    /// Buckets that have closed since.
    pub(super) closed: BTreeSet<i64>,
}

impl Source {
    /// What a live file may hold; `None` on the two days that stand for all times beyond the
    /// calendar's: of those no rollups are kept.
    pub(super) fn of(file: DataFile) -> Option<Self> {
        Self::new(file.path, &file.date, file.min_ts_us, file.max_ts_us)
    }

    pub(super) fn new(
        path: PathBuf,
        date: &str,
        min_ts_us: Option<i64>,
        max_ts_us: Option<i64>,
    ) -> Option<Self> {
        let day = date.parse::<NaiveDate>().ok()?;
        let number = day.signed_duration_since(NaiveDate::default()).num_days();
        let start = number.checked_mul(US_PER_DAY)?;
        let beyond = |at: i64| Day::of(at).to_date() == date;
        if beyond(start.saturating_sub(1)) || beyond(start.saturating_add(US_PER_DAY)) {
            return None;
        }
        let end = start + US_PER_DAY - 1;
        Some(Self {
            path,
            first_us: min_ts_us.unwrap_or(start).clamp(start, end),
            last_us: max_ts_us.unwrap_or(end).clamp(start, end),
        })
    }

    /// Whether it may hold times of a range.
    pub(super) fn reaches(&self, range: &Range<i64>) -> bool {
        self.first_us < range.end && self.last_us >= range.start
    }
}

/// The start of the bucket of a time.
pub(super) fn floor(ts_us: i64, width: i64) -> i64 {
    ts_us.saturating_sub(ts_us.rem_euclid(width))
}

/// The buckets within a range that files may hold rows of.
pub(super) fn buckets(files: &[Source], within: Range<i64>, width: i64) -> BTreeSet<i64> {
    let mut buckets = BTreeSet::new();
    for file in files.iter().filter(|file| file.reaches(&within)) {
        let first = floor(file.first_us.max(within.start), width);
        let mut at = first;
        while at <= file.last_us && at < within.end {
            buckets.insert(at);
            at += width;
        }
    }
    buckets
}

/// Ascending buckets, cut where a unit ends.
pub(super) fn parts(buckets: &BTreeSet<i64>, unit: i64) -> Vec<Vec<i64>> {
    let buckets: Vec<i64> = buckets.iter().copied().collect();
    let same = |a: &i64, b: &i64| floor(*a, unit) == floor(*b, unit);
    buckets.chunk_by(same).map(<[i64]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn source(date: &str, range: Option<(i64, i64)>) -> Option<Source> {
        let (min, max) = range.unzip();
        Source::new(PathBuf::new(), date, min, max)
    }

    #[test]
    fn buckets_are_those_that_a_file_may_hold_within_the_range() {
        let file = source("1970-01-01", Some((MINUTE + 1, 3 * MINUTE))).expect("a file");
        let all = buckets(std::slice::from_ref(&file), i64::MIN..i64::MAX, MINUTE);
        assert_eq!(all, BTreeSet::from([MINUTE, 2 * MINUTE, 3 * MINUTE]));
        let some = buckets(std::slice::from_ref(&file), 2 * MINUTE..3 * MINUTE, MINUTE);
        assert_eq!(some, BTreeSet::from([2 * MINUTE]));
        assert!(buckets(&[file], 4 * MINUTE..i64::MAX, MINUTE).is_empty());
    }

    #[test]
    fn a_file_without_statistics_may_hold_its_whole_day() {
        let file = source("1970-01-02", None).expect("a file");
        assert_eq!(
            (file.first_us, file.last_us),
            (US_PER_DAY, 2 * US_PER_DAY - 1)
        );
        assert_eq!(buckets(&[file], i64::MIN..i64::MAX, MINUTE).len(), 1_440);
    }

    #[test]
    fn the_days_that_stand_for_all_times_beyond_the_calendar_have_none() {
        assert_eq!(source("0001-01-01", None), None);
        assert_eq!(source("9999-12-31", Some((i64::MAX, i64::MAX))), None);
        assert_eq!(source("not a date", None), None);
        assert!(source("0001-01-02", None).is_some());
        assert!(source("9999-12-30", None).is_some());
    }

    #[test]
    fn parts_end_with_their_unit() {
        let buckets = BTreeSet::from([-MINUTE, 0, MINUTE, 59 * MINUTE, 60 * MINUTE]);
        let parts = parts(&buckets, 60 * MINUTE);
        assert_eq!(
            parts,
            [
                vec![-MINUTE],
                vec![0, MINUTE, 59 * MINUTE],
                vec![60 * MINUTE]
            ]
        );
        assert_eq!(floor(i64::MIN + 1, MINUTE), i64::MIN, "saturates");
    }
}
