//! What is kept of one series in one stretch of time: count, moments, extremes, ends and a sketch.
//!
//! Of equal samples in equal order, and of equal parts in equal order, the result is equal bit for
//! bit. Which stretches there are, and in what order samples come, is left to whoever keeps them.

use crate::sketch::{Sketch, SketchError, varint};

const VERSION: u8 = 1;

/// A series over one stretch of time. There is none of no samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    sum: f64,
    m2: f64,
    first: f64,
    last: f64,
    first_ts_us: i64,
    last_ts_us: i64,
    sketch: Sketch,
}

/// The values of a [`Rollup`] that are stored beside its sketch, which holds the count and the
/// extremes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Sum of the values.
    pub sum: f64,
    /// Sum of the squared distances from the mean.
    pub m2: f64,
    /// The earliest value.
    pub first: f64,
    /// The latest value.
    pub last: f64,
    /// Time of the earliest value, in microseconds since 1970 UTC.
    pub first_ts_us: i64,
    /// Time of the latest value.
    pub last_ts_us: i64,
}

impl Rollup {
    /// Reduces samples, given as times in microseconds and values, that ascend by time; values that
    /// are NaN or infinite are left out. `None` where nothing is left.
    ///
    /// M2 is computed in two passes with the correction for the mean's rounding: Chan, Golub and
    /// LeVeque, "Algorithms for computing the sample variance" (1983), equation 1.7. What exceeds
    /// the greatest finite number stays there.
    pub fn of(samples: &[(i64, f64)]) -> Option<Self> {
        let finite: Vec<(i64, f64)> = samples
            .iter()
            .copied()
            .filter(|s| s.1.is_finite())
            .collect();
        let (first, last) = (*finite.first()?, *finite.last()?);
        let values: Vec<f64> = finite.iter().map(|(_, value)| *value).collect();
        let n = values.len() as f64;
        let sum = values.iter().fold(0.0, |sum, value| saturated(sum + value));
        let mean = sum / n;
        let squares = values.iter().fold(0.0, |m2, value| {
            let deviation = saturated(value - mean);
            saturated(m2 + saturated(deviation * deviation))
        });
        let rest = values
            .iter()
            .fold(0.0, |rest, value| saturated(rest + saturated(value - mean)));
        let m2 = (squares - saturated(rest * rest) / n).max(0.0);
        Some(Self {
            sum,
            m2,
            first: first.1,
            last: last.1,
            first_ts_us: first.0,
            last_ts_us: last.0,
            sketch: Sketch::of(&values),
        })
    }

    /// Puts together what was stored apart. An error where it cannot belong together.
    pub fn from_parts(moments: Moments, sketch: Sketch) -> Result<Self, SketchError> {
        let Moments {
            sum,
            m2,
            first,
            last,
            first_ts_us,
            last_ts_us,
        } = moments;
        if sketch.count() == 0 {
            return Err(SketchError::Malformed("it is a rollup of nothing"));
        }
        let finite = [sum, m2, first, last].iter().all(|value| value.is_finite());
        if !finite || m2 < 0.0 || first_ts_us > last_ts_us {
            return Err(SketchError::Malformed("its moments are impossible"));
        }
        Ok(Self {
            sum,
            m2,
            first,
            last,
            first_ts_us,
            last_ts_us,
            sketch,
        })
    }

    /// Takes in another stretch of the same series, by the pairwise update of Chan, Golub and
    /// LeVeque (1983), equation 2.1. Of two values at one time, this one's counts as the first and
    /// the other's as the last.
    pub fn merge(&mut self, other: &Self) {
        let (a, b) = (self.sketch.count() as f64, other.sketch.count() as f64);
        let distance = saturated(other.sum / b - self.sum / a);
        let between = saturated(saturated(distance * distance) * (a / (a + b) * b));
        self.m2 = saturated(saturated(self.m2 + other.m2) + between);
        self.sum = saturated(self.sum + other.sum);
        if other.first_ts_us < self.first_ts_us {
            (self.first_ts_us, self.first) = (other.first_ts_us, other.first);
        }
        if other.last_ts_us >= self.last_ts_us {
            (self.last_ts_us, self.last) = (other.last_ts_us, other.last);
        }
        self.sketch.merge(&other.sketch);
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.sketch.count()
    }

    /// Sum, M2 and ends.
    pub fn moments(&self) -> Moments {
        Moments {
            sum: self.sum,
            m2: self.m2,
            first: self.first,
            last: self.last,
            first_ts_us: self.first_ts_us,
            last_ts_us: self.last_ts_us,
        }
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.count() as f64
    }

    /// The variance with n − 1 as its divisor; `None` of a single value.
    pub fn variance(&self) -> Option<f64> {
        let n = self.count();
        (n > 1).then(|| self.m2 / (n - 1) as f64)
    }

    /// The least value.
    pub fn min(&self) -> f64 {
        // A rollup holds at least one value.
        self.sketch.min().unwrap_or(self.first)
    }

    /// The greatest value.
    pub fn max(&self) -> f64 {
        self.sketch.max().unwrap_or(self.last)
    }

    /// The distribution of the values.
    pub fn sketch(&self) -> &Sketch {
        &self.sketch
    }

    /// The rollup as bytes, the same for equal rollups: a version byte, the moments, the sketch.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for value in [self.sum, self.m2, self.first, self.last] {
            varint::put_bits(&mut bytes, value.to_bits());
        }
        varint::put_signed(&mut bytes, self.first_ts_us);
        varint::put_signed(&mut bytes, self.last_ts_us);
        self.sketch.encode_into(&mut bytes);
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = varint::Reader::new(bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(SketchError::Version(version));
        }
        let mut float = || reader.bits().map(f64::from_bits);
        let (sum, m2, first, last) = (float()?, float()?, float()?, float()?);
        let moments = Moments {
            sum,
            m2,
            first,
            last,
            first_ts_us: reader.signed()?,
            last_ts_us: reader.signed()?,
        };
        let sketch = Sketch::decode_from(&mut reader)?;
        reader.finish()?;
        Self::from_parts(moments, sketch)
    }
}

/// The nearest finite number.
fn saturated(value: f64) -> f64 {
    value.clamp(-f64::MAX, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn samples(values: &[f64]) -> Vec<(i64, f64)> {
        (0..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn known_moments() {
        // R: x <- c(2, 4, 4, 4, 5, 5, 7, 9); sum(x) = 40; sum((x - mean(x))^2) = 32
        let rollup = Rollup::of(&samples(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]));
        let rollup = rollup.expect("a rollup");
        let moments = rollup.moments();
        assert_eq!((rollup.count(), moments.sum, moments.m2), (8, 40.0, 32.0));
        assert_eq!((rollup.min(), rollup.max()), (2.0, 9.0));
        assert_eq!((moments.first, moments.last), (2.0, 9.0));
        assert_eq!((moments.first_ts_us, moments.last_ts_us), (0, 7));
        assert_eq!((rollup.mean(), rollup.variance()), (5.0, Some(32.0 / 7.0)));
    }

    #[test]
    fn a_large_offset_costs_no_precision() {
        let mut noise = Noise::new(17);
        let values: Vec<f64> = noise.normals(3_600).iter().map(|v| 1e9 + v).collect();
        let whole = Rollup::of(&samples(&values)).expect("a rollup");
        let exact: Vec<f64> = values.iter().map(|v| v - 1e9).collect();
        let mean = exact.iter().sum::<f64>() / 3_600.0;
        let m2: f64 = exact.iter().map(|v| (v - mean) * (v - mean)).sum();
        assert!((whole.moments().m2 / m2 - 1.0).abs() < 1e-9);
        let timed = samples(&values);
        let mut parts = timed.chunks(60).filter_map(Rollup::of);
        let mut merged = parts.next().expect("a part");
        parts.for_each(|part| merged.merge(&part));
        // A sum of 3,600 terms near 1e9 has lost 1e-7 of each term's unit.
        assert!((merged.moments().m2 / m2 - 1.0).abs() < 1e-6);
        assert_eq!(merged.sketch(), whole.sketch());
        assert_eq!(merged.count(), 3_600);
    }

    #[test]
    fn ends_follow_time_whatever_the_order_of_merging() {
        let early = Rollup::of(&[(1, 10.0), (2, 20.0)]).expect("a rollup");
        let late = Rollup::of(&[(3, 30.0), (4, 40.0)]).expect("a rollup");
        for (mut a, b) in [(early.clone(), late.clone()), (late, early)] {
            a.merge(&b);
            let moments = a.moments();
            assert_eq!((moments.first, moments.last), (10.0, 40.0));
            assert_eq!((moments.first_ts_us, moments.last_ts_us), (1, 4));
            assert_eq!(moments.m2, 500.0);
        }
    }

    #[test]
    fn impossible_values_are_left_out_and_huge_ones_stay_finite() {
        assert_eq!(Rollup::of(&[]), None);
        assert_eq!(Rollup::of(&[(0, f64::NAN), (1, f64::INFINITY)]), None);
        let some = Rollup::of(&[(0, f64::NAN), (1, 3.0), (2, f64::INFINITY)]).expect("one");
        assert_eq!((some.count(), some.moments().first_ts_us), (1, 1));
        assert_eq!((some.moments().m2, some.variance()), (0.0, None));
        let mut huge = Rollup::of(&[(0, f64::MAX), (1, f64::MAX), (2, -f64::MAX)]).expect("one");
        huge.merge(&Rollup::of(&[(3, -f64::MAX)]).expect("one"));
        let moments = huge.moments();
        assert!(
            moments.sum.is_finite() && moments.m2 == f64::MAX,
            "{moments:?}"
        );
        assert_eq!(Rollup::decode(&huge.encode()), Ok(huge));
    }

    #[test]
    fn what_was_encoded_is_decoded_and_what_was_damaged_is_not() {
        let mut noise = Noise::new(3);
        let rollup = Rollup::of(&samples(&noise.normals(60))).expect("a rollup");
        let bytes = rollup.encode();
        assert_eq!(Rollup::decode(&bytes).as_ref(), Ok(&rollup));
        for end in 0..bytes.len() {
            assert!(Rollup::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for _ in 0..20_000 {
            let mut damaged = bytes.clone();
            let at = (noise.next_u64() % bytes.len() as u64) as usize;
            damaged[at] = noise.next_u64() as u8;
            if let Ok(rollup) = Rollup::decode(&damaged) {
                assert_eq!(rollup.encode(), damaged);
            }
        }
        let empty = Rollup::from_parts(rollup.moments(), Sketch::default());
        assert!(empty.is_err(), "{empty:?}");
    }
}
