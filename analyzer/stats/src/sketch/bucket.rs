//! Which bucket a magnitude falls into, and the value that stands for a bucket.

use super::MAX_BUCKETS;

/// Buckets per octave.
const PER_OCTAVE: usize = 35;
/// Lower bounds of the buckets between 1 and 2: 2^(j/35), each the nearest `f64`. They are written
/// out, since they belong to the encoding.
#[rustfmt::skip]
const BOUNDS: [f64; PER_OCTAVE] = [
    1.0, 1.0200016094211992, 1.0404032832218364, 1.0612130233333728,
    1.0824389917387767, 1.1040895136738123, 1.1261730808923576, 1.148698354997035,
    1.1716741708364595, 1.195109539970438, 1.2190136542044754, 1.2433958891949821,
    1.2682658081265845, 1.293633165462994, 1.3195079107728942, 1.3459001926323562,
    1.3728203626053053, 1.4002789793036055, 1.4282868125283514, 1.456854847493993,
    1.4859942891369484, 1.515716566510398, 1.5460333372669801, 1.5769564922311472,
    1.6084981600629789, 1.640670712015276, 1.673486766785806, 1.706959195466601,
    1.7411011265922482, 1.775925951289156, 1.8114473285278134, 1.8476791904801013,
    1.8846357479837614, 1.9223314961161622, 1.960781219879547,
];
/// Equal slices of an octave by which the search for a bucket starts; each is narrower than any
/// bucket, so that it holds one bound at most.
const SLICES: usize = 64;
/// The last bucket whose lower bound is not above the slice's start.
const STARTS: [u8; SLICES] = starts();
const MANTISSA_BITS: u32 = 52;
const EXPONENT_BIAS: i32 = 1023;

/// A bucket's place among all buckets of normal numbers; 0 starts at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bucket(i32);

impl Bucket {
    /// The first bucket: that of the smallest normal number.
    pub(super) const FIRST: Self = Self((1 - EXPONENT_BIAS) * PER_OCTAVE as i32);
    /// The last bucket: that of the greatest finite number.
    pub(super) const LAST: Self = Self((EXPONENT_BIAS + 1) * PER_OCTAVE as i32 - 1);

    /// The bucket of a finite magnitude; `None` for zero and subnormal numbers.
    pub(super) fn of(magnitude: f64) -> Option<Self> {
        if magnitude < f64::MIN_POSITIVE {
            return None;
        }
        let bits = magnitude.to_bits();
        let exponent = (bits >> MANTISSA_BITS) as i32 - EXPONENT_BIAS;
        let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
        let slice = (mantissa >> (MANTISSA_BITS - SLICES.ilog2())) as usize;
        let start = usize::from(STARTS[slice]);
        let scaled = f64::from_bits(mantissa | (EXPONENT_BIAS as u64) << MANTISSA_BITS);
        let above = BOUNDS.get(start + 1).is_some_and(|bound| scaled >= *bound);
        Some(Self(
            exponent * PER_OCTAVE as i32 + start as i32 + i32::from(above),
        ))
    }

    /// The value with the least greatest relative error within the bucket: the harmonic mean of its
    /// bounds.
    pub(super) fn middle(self) -> f64 {
        let exponent = self.0.div_euclid(PER_OCTAVE as i32);
        let at = self.0.rem_euclid(PER_OCTAVE as i32) as usize;
        let lower = BOUNDS[at];
        let upper = BOUNDS.get(at + 1).copied().unwrap_or(2.0);
        let octave = f64::from_bits(((exponent + EXPONENT_BIAS) as u64) << MANTISSA_BITS);
        2.0 * lower * upper / (lower + upper) * octave
    }

    /// The lowest bucket that a sketch keeps beside this one as its greatest.
    pub(super) fn lowest_beside(self) -> Self {
        Self(self.0 - (MAX_BUCKETS as i32 - 1)).max(Self::FIRST)
    }

    /// The place as a number.
    pub(super) fn index(self) -> i32 {
        self.0
    }

    /// The bucket at a place; `None` where no finite number falls there.
    pub(super) fn at(index: i64) -> Option<Self> {
        let index = Self(i32::try_from(index).ok()?);
        (Self::FIRST..=Self::LAST).contains(&index).then_some(index)
    }
}

const fn starts() -> [u8; SLICES] {
    let mut starts = [0; SLICES];
    let mut slice = 0;
    while slice < SLICES {
        let from = 1.0 + slice as f64 / SLICES as f64;
        let mut at = 0;
        while at + 1 < PER_OCTAVE && BOUNDS[at + 1] <= from {
            at += 1;
        }
        starts[slice] = at as u8;
        slice += 1;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn the_bounds_are_powers_of_one_growth() {
        for (at, bound) in BOUNDS.iter().enumerate() {
            let power = (at as f64 / PER_OCTAVE as f64).exp2();
            assert!((bound - power).abs() < 1e-15, "bound {at}");
        }
    }

    #[test]
    fn each_bound_opens_its_bucket_and_the_number_before_it_closes_the_last() {
        for exponent in [-1022, -30, 0, 1, 52, 1023] {
            let octave = f64::from_bits(((exponent + EXPONENT_BIAS) as u64) << MANTISSA_BITS);
            for (at, bound) in BOUNDS.iter().enumerate() {
                let expected = exponent * PER_OCTAVE as i32 + at as i32;
                let bucket = Bucket::of(octave * bound).expect("normal");
                assert_eq!(bucket.index(), expected);
                if let Some(before) = Bucket::of((octave * bound).next_down()) {
                    assert_eq!(before.index(), expected - 1);
                }
            }
        }
        assert_eq!(Bucket::of(f64::MIN_POSITIVE), Some(Bucket::FIRST));
        assert_eq!(Bucket::of(f64::MAX), Some(Bucket::LAST));
        assert_eq!(Bucket::of(f64::MIN_POSITIVE.next_down()), None);
        assert_eq!(Bucket::of(0.0), None);
    }

    #[test]
    fn the_middle_is_within_a_hundredth_of_every_value_of_its_bucket() {
        let mut noise = Noise::new(35);
        let mut worst = 0.0_f64;
        for _ in 0..200_000 {
            let bits = noise.next_u64() >> 1;
            let value = f64::from_bits(bits);
            let Some(bucket) = Some(value).filter(|v| v.is_finite()).and_then(Bucket::of) else {
                continue;
            };
            worst = worst.max((bucket.middle() / value - 1.0).abs());
        }
        // (γ − 1)/(γ + 1) is 0.0099018.
        assert!(worst < 0.009_902 && worst > 0.009_8, "{worst}");
    }
}
