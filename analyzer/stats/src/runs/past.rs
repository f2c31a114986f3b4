//! One new run against those before it, by one number of each: is it where the next run would
//! lie if nothing had changed?
//!
//! What is predicted is a single run, not the mean of many, so that the spread between runs counts in
//! full: Student's prediction interval, Hahn and Meeker, "Statistical intervals" (1991), 4.7. Comparing
//! the requests of several runs on both sides is left to [`super::compare`].

use super::POWER;
use crate::distribution::normal_quantile;
use crate::student::{student_quantile, student_two_sided};

/// Fewer runs cannot tell what runs differ by.
pub const LEAST_PAST_RUNS: usize = 5;

/// Where a run lies beside those before it, in the unit of the numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgainstPast {
    /// What was usual: the mean of the runs before.
    pub usual: f64,
    /// By how much the run lies higher.
    pub shift: f64,
    /// Lower bound of the change behind it.
    pub ci_lo: f64,
    /// Upper bound of the change behind it.
    pub ci_hi: f64,
    /// Two-sided: how often a run among equal ones lies as far away.
    pub p_value: f64,
    /// The change that would have been found with a probability of 80 %, either way.
    pub detectable: f64,
}

/// Holds a number of a run against the same of earlier runs. `deviation` is how far such a number strays
/// within one run, where that is known: the runs count as no more alike than that. `None` for fewer than
/// [`LEAST_PAST_RUNS`], for numbers that are not finite, and where nothing is known to vary.
pub fn against_past(
    past: &[f64],
    now: f64,
    deviation: f64,
    confidence: f64,
) -> Option<AgainstPast> {
    let finite = past.iter().all(|value| value.is_finite()) && now.is_finite();
    if past.len() < LEAST_PAST_RUNS || !finite {
        return None;
    }
    let n = past.len() as f64;
    let usual = past.iter().sum::<f64>() / n;
    let squares: f64 = past.iter().map(|value| (value - usual).powi(2)).sum();
    let spread = (squares / (n - 1.0)).sqrt().max(deviation) * (1.0 + 1.0 / n).sqrt();
    if spread.is_nan() || spread <= 0.0 {
        return None;
    }
    let df = n - 1.0;
    let margin = student_quantile(0.5 + confidence / 2.0, df);
    let shift = now - usual;
    Some(AgainstPast {
        usual,
        shift,
        ci_lo: shift - margin * spread,
        ci_hi: shift + margin * spread,
        p_value: student_two_sided(shift / spread, df),
        detectable: (margin + normal_quantile(POWER)) * spread,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    /// 4,000 unchanged runs for each number of earlier ones: three standard errors about 1 %.
    #[test]
    fn equal_runs_stray_as_often_as_is_said() {
        let mut noise = Noise::new(1);
        for runs in [5, 7, 10] {
            let mut outside = 0;
            for _ in 0..4_000 {
                let past = noise.normals(runs);
                let found = against_past(&past, noise.normal(), 0.0, 0.99).expect("enough");
                outside += u32::from(found.ci_lo > 0.0 || found.ci_hi < 0.0);
                assert_eq!(found.ci_lo > 0.0 || found.ci_hi < 0.0, found.p_value < 0.01);
            }
            assert!(
                (21..=59).contains(&outside),
                "{outside} of 4,000 with {runs}"
            );
        }
    }

    #[test]
    fn what_is_said_to_be_detectable_is_found_four_times_of_five() {
        let mut noise = Noise::new(2);
        let (mut found, trials) = (0, 2_000);
        for _ in 0..trials {
            let past = noise.normals(10);
            // The deviation is known here, and larger than that of most samples.
            let by = against_past(&past, 0.0, 1.0, 0.99)
                .expect("enough")
                .detectable;
            let now = against_past(&past, by + noise.normal(), 1.0, 0.99).expect("enough");
            found += u32::from(now.ci_lo > 0.0);
        }
        let share = f64::from(found) / f64::from(trials);
        assert!((0.75..0.85).contains(&share), "{share}");
    }

    #[test]
    fn too_few_still_and_wild_numbers_have_a_defined_answer() {
        assert_eq!(against_past(&[1.0; 4], 1.0, 0.1, 0.99), None);
        assert_eq!(against_past(&[1.0; 9], 2.0, 0.0, 0.99), None);
        assert_eq!(against_past(&[1.0; 9], f64::NAN, 0.1, 0.99), None);
        assert_eq!(against_past(&[f64::INFINITY; 9], 1.0, 0.1, 0.99), None);
        let still = against_past(&[1.0; 9], 2.0, 0.1, 0.99).expect("a deviation");
        assert!(still.ci_lo > 0.5 && still.ci_hi < 1.5, "{still:?}");
    }
}
