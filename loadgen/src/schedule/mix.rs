//! Which journey an arrival or an iteration takes: by weight, as a function of its number alone.

use crate::scenario::Scenario;

/// Weights as a table of cumulative bounds.
#[derive(Debug, Clone)]
pub struct Mix {
    seed: u64,
    /// Journey `i` takes the numbers below bound `i` and not below the one before it; the last
    /// journey takes the rest.
    bounds: Vec<u64>,
}

impl Mix {
    /// The weights of a scenario's journeys.
    pub fn new(scenario: &Scenario) -> Self {
        let weights: Vec<f64> = scenario
            .journeys
            .iter()
            .map(|journey| journey.weight)
            .collect();
        Self::of_weights(scenario.seed, &weights)
    }

    fn of_weights(seed: u64, weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let mut cumulative = 0.0;
        let bounds = weights
            .iter()
            .take(weights.len().saturating_sub(1))
            .map(|weight| {
                cumulative += weight;
                (cumulative / sum * u64::MAX as f64) as u64
            })
            .collect();
        Self { seed, bounds }
    }

    /// The journey of a number: the same for the same seed, stream and number, wherever it is
    /// asked. Streams are independent of each other.
    pub fn choose(&self, stream: u64, number: u64) -> u32 {
        if self.bounds.is_empty() {
            return 0;
        }
        let start = scramble(self.seed ^ scramble(stream));
        let uniform = scramble(start.wrapping_add(number.wrapping_mul(GOLDEN)));
        self.bounds.partition_point(|bound| *bound <= uniform) as u32
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014).
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(GOLDEN);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_weights() {
        let mix = Mix::of_weights(7, &[3.0, 1.0, 6.0]);
        let mut counts = [0u32; 3];
        for number in 0..100_000 {
            counts[mix.choose(0, number) as usize] += 1;
        }
        // Five standard deviations of a binomial of 100,000 are below 800.
        for (count, expected) in counts.into_iter().zip([30_000, 10_000, 60_000]) {
            assert!(count.abs_diff(expected) < 800, "{counts:?}");
        }
    }

    #[test]
    fn a_choice_depends_on_seed_stream_and_number_alone() {
        let choices = |seed, stream| -> Vec<u32> {
            let mix = Mix::of_weights(seed, &[1.0, 1.0]);
            (0..64).map(|number| mix.choose(stream, number)).collect()
        };
        assert_eq!(choices(1, 0), choices(1, 0));
        assert_ne!(choices(1, 0), choices(2, 0));
        assert_ne!(choices(1, 0), choices(1, 1));
    }
}
