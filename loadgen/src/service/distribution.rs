//! Distributions of time: their text form, and their draws.
//!
//! A draw is a pure function of the seed, the number of the request and the purpose, so the same
//! requests in the same order meet the same times whichever thread serves them. Waiting for the time
//! drawn is left to `timer` and `station`.

use std::f64::consts::TAU;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// No draw is longer than this, so that a heavy tail cannot hold a request for hours.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// A distribution of durations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Always the same: `5ms`, or `0`.
    Constant {
        /// The time, in seconds.
        seconds: f64,
    },
    /// Exponential, `exp:5ms`: memoryless.
    Exponential {
        /// Its mean, in seconds.
        mean_s: f64,
    },
    /// Log-normal, `lognormal:5ms:0.5`: what most services look like.
    LogNormal {
        /// Its median, in seconds.
        median_s: f64,
        /// The standard deviation of the logarithm.
        sigma: f64,
    },
    /// Uniform, `uniform:1ms:10ms`.
    Uniform {
        /// The least, in seconds.
        low_s: f64,
        /// The greatest, in seconds.
        high_s: f64,
    },
    /// Pareto, `pareto:1ms:1.5`: a heavy tail; its mean is infinite at a shape of 1 and below.
    Pareto {
        /// The least, in seconds.
        scale_s: f64,
        /// The shape: the smaller, the heavier the tail.
        shape: f64,
    },
}

/// What a draw is for; draws for different purposes are independent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Latency = 1,
    Service = 2,
    Error = 3,
}

/// A text that is no distribution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{text:?} is not a distribution of time: {reason}; write 0, 5ms, exp:5ms, lognormal:5ms:0.5, uniform:1ms:10ms or pareto:1ms:1.5"
)]
pub struct DistributionError {
    text: String,
    reason: &'static str,
}

impl Distribution {
    /// No time at all.
    pub const ZERO: Self = Self::Constant { seconds: 0.0 };

    /// Whether every draw is zero.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The time of request `number`.
    pub(crate) fn draw(&self, seed: u64, number: u64, purpose: Purpose) -> Duration {
        let first = || uniform(seed, number, purpose as u64);
        let seconds = match *self {
            Self::Constant { seconds } => seconds,
            Self::Exponential { mean_s } => -mean_s * first().ln(),
            Self::LogNormal { median_s, sigma } => {
                // Box and Muller 1958: a normal deviate of two uniform ones.
                let second = uniform(seed, number, purpose as u64 + 16);
                let normal = (-2.0 * first().ln()).sqrt() * (TAU * second).cos();
                median_s * (sigma * normal).exp()
            }
            Self::Uniform { low_s, high_s } => low_s + (high_s - low_s) * first(),
            Self::Pareto { scale_s, shape } => scale_s * first().powf(-1.0 / shape),
        };
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(LONGEST)
            .min(LONGEST)
    }
}

/// A number in (0, 1], by the finaliser of SplitMix64 (Steele, Lea and Flood 2014) over a counter.
pub(crate) fn uniform(seed: u64, number: u64, purpose: u64) -> f64 {
    let mixed = mix(mix(seed ^ purpose.rotate_left(56)).wrapping_add(number));
    ((mixed >> 11) + 1) as f64 / (1u64 << 53) as f64
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Reads a time such as `0`, `150us`, `5ms`, `1.5s` or `2m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = parse_seconds(text).ok_or_else(|| {
        format!("{text:?} is not a time; write a number and us, ms, s or m, as in 5ms")
    })?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{text:?} is not a time: {error}"))
}

fn parse_seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let scale = match unit {
        "" if number == 0.0 => 1.0,
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(number * scale)
}

impl FromStr for Distribution {
    type Err = DistributionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason| DistributionError {
            text: text.to_owned(),
            reason,
        };
        let time = |part: &str| parse_seconds(part).ok_or(wrong("a time lacks its unit"));
        let positive = |part: &str| match part.parse::<f64>() {
            Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
            _ => Err(wrong("its last part must be a number above 0")),
        };
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["exp", mean] => Ok(Self::Exponential {
                mean_s: time(mean)?,
            }),
            ["lognormal", median, sigma] => Ok(Self::LogNormal {
                median_s: time(median)?,
                sigma: positive(sigma)?,
            }),
            ["uniform", low, high] => {
                let (low_s, high_s) = (time(low)?, time(high)?);
                if low_s > high_s {
                    return Err(wrong("the first time is above the second"));
                }
                Ok(Self::Uniform { low_s, high_s })
            }
            ["pareto", scale, shape] => Ok(Self::Pareto {
                scale_s: time(scale)?,
                shape: positive(shape)?,
            }),
            [constant] => Ok(Self::Constant {
                seconds: time(constant)?,
            }),
            _ => Err(wrong("its form is unknown")),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |seconds: f64| seconds * 1e3;
        match *self {
            Self::Constant { seconds } => write!(f, "{}ms", ms(seconds)),
            Self::Exponential { mean_s } => write!(f, "exp:{}ms", ms(mean_s)),
            Self::LogNormal { median_s, sigma } => {
                write!(f, "lognormal:{}ms:{sigma}", ms(median_s))
            }
            Self::Uniform { low_s, high_s } => {
                write!(f, "uniform:{}ms:{}ms", ms(low_s), ms(high_s))
            }
            Self::Pareto { scale_s, shape } => write!(f, "pareto:{}ms:{shape}", ms(scale_s)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &str) -> Vec<f64> {
        let distribution: Distribution = text.parse().expect("a distribution");
        let mut draws: Vec<f64> = (0..20_000)
            .map(|number| distribution.draw(7, number, Purpose::Latency).as_secs_f64())
            .collect();
        draws.sort_by(f64::total_cmp);
        draws
    }

    fn near(value: f64, expected: f64) {
        let ratio = value / expected;
        assert!(
            (0.97..1.03).contains(&ratio),
            "{value} is not near {expected}"
        );
    }

    #[test]
    fn draws_follow_their_distribution() {
        let mean = |draws: &[f64]| draws.iter().sum::<f64>() / draws.len() as f64;
        near(mean(&sorted("exp:5ms")), 5e-3);
        near(sorted("exp:5ms")[10_000], 5e-3 * 2f64.ln());
        near(sorted("lognormal:5ms:0.5")[10_000], 5e-3);
        near(mean(&sorted("lognormal:5ms:0.5")), 5e-3 * 0.125f64.exp());
        near(mean(&sorted("uniform:1ms:10ms")), 5.5e-3);
        near(
            sorted("pareto:1ms:1.5")[10_000],
            1e-3 * 2f64.powf(1.0 / 1.5),
        );
        assert_eq!(sorted("250us")[0], 250e-6);
        assert!(sorted("0").iter().all(|draw| *draw == 0.0));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        assert_eq!(uniform(1, 2, 3), uniform(1, 2, 3));
        assert_ne!(uniform(1, 2, 3), uniform(2, 2, 3));
        assert_ne!(uniform(1, 2, 3), uniform(1, 3, 3));
        assert_ne!(uniform(1, 2, 3), uniform(1, 2, 4));
    }

    #[test]
    fn text_survives_a_round_trip_and_nonsense_is_refused() {
        for text in [
            "0ms",
            "5ms",
            "exp:5ms",
            "lognormal:5ms:0.5",
            "uniform:1ms:10ms",
            "pareto:1ms:1.5",
        ] {
            let distribution: Distribution = text.parse().expect("a distribution");
            assert_eq!(distribution.to_string(), text);
        }
        for text in [
            "",
            "5",
            "exp",
            "exp:5",
            "uniform:2ms:1ms",
            "pareto:1ms:0",
            "gauss:1ms:2",
            "-1ms",
        ] {
            assert!(
                text.parse::<Distribution>().is_err(),
                "{text:?} was accepted"
            );
        }
    }
}
