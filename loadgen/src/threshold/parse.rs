//! Reads a threshold: a measure with what it selects, and a comparison with a bound in the
//! measure's unit.

use super::{Comparison, Measure, Threshold};
use crate::scenario::quantity;

/// Names that a threshold may select.
#[derive(Debug, Clone, Copy)]
pub struct Selectable<'s> {
    /// The scenario's endpoints.
    pub endpoints: &'s [String],
    /// The names of its stages.
    pub stages: &'s [&'s str],
}

/// A threshold that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// A measure that does not exist.
    #[error(
        "`{0}` is not a measure; write mean, max, a percentile such as p95 or p99.9, error_rate, dropped_rate or rate"
    )]
    Measure(String),
    /// Braces that do not hold `endpoint=NAME` or `stage=NAME`.
    #[error("`{0}` selects nothing; write {{endpoint=NAME}}, {{stage=NAME}} or both with a comma")]
    Selector(String),
    /// A name that the scenario does not have.
    #[error("threshold on {kind} `{name}`, which does not exist; {remedy}")]
    Unknown {
        /// `endpoint` or `stage`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What to do.
        remedy: String,
    },
    /// A condition without a comparison.
    #[error("`{0}` is not a condition; write a comparison and a bound, such as \"< 200ms\"")]
    Comparison(String),
    /// A bound that does not fit the measure.
    #[error("`{bound}` does not fit {measure}; write {remedy}")]
    Bound {
        /// The bound.
        bound: String,
        /// The measure.
        measure: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl ThresholdError {
    /// Whether it is about the condition rather than about the measure.
    pub fn is_of_bound(&self) -> bool {
        matches!(self, Self::Comparison(_) | Self::Bound { .. })
    }
}

impl Threshold {
    /// Reads `p95{endpoint=home}` and `< 200ms`.
    pub fn parse(
        key: &str,
        condition: &str,
        abort: bool,
        selectable: &Selectable<'_>,
    ) -> Result<Self, ThresholdError> {
        let key = key.trim();
        let (name, selector) = match key.find('{') {
            Some(at) => {
                let selector = key[at + 1..].strip_suffix('}');
                let selector =
                    selector.ok_or_else(|| ThresholdError::Selector(key[at..].to_owned()))?;
                (key[..at].trim(), Some(selector))
            }
            None => (key, None),
        };
        let measure =
            parse_measure(name).ok_or_else(|| ThresholdError::Measure(name.to_owned()))?;
        let (mut endpoint, mut stage) = (None, None);
        if let Some(selector) = selector {
            for (kind, value) in parse_selector(selector)? {
                match kind {
                    Kind::Endpoint => endpoint = Some(find_endpoint(&value, selectable)? as u32),
                    Kind::Stage => stage = Some(find_stage(&value, selectable)?),
                }
            }
        }
        let condition = condition.trim();
        let (comparison, bound) = split_comparison(condition)
            .ok_or_else(|| ThresholdError::Comparison(condition.to_owned()))?;
        let value = parse_bound(measure, bound).map_err(|remedy| ThresholdError::Bound {
            bound: bound.to_owned(),
            measure: name.to_owned(),
            remedy,
        })?;
        Ok(Self {
            measure,
            endpoint,
            stage,
            comparison,
            bound: value,
            abort,
            text: format!("{key} {comparison} {bound}"),
        })
    }
}

fn parse_measure(name: &str) -> Option<Measure> {
    match name {
        "mean" => return Some(Measure::Mean),
        "max" => return Some(Measure::Max),
        "error_rate" => return Some(Measure::ErrorRate),
        "dropped_rate" => return Some(Measure::DroppedRate),
        "rate" => return Some(Measure::Rate),
        _ => {}
    }
    let digits = name.strip_prefix('p')?;
    let (percent, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if percent.is_empty() || !all_digits(percent) || !all_digits(fraction) {
        return None;
    }
    // Decimals of the quantile, so that p99.9 is 0.999 to the last bit. p999 is p99.9, p5 is 5 %,
    // and there is no p100.
    let decimals = match (digits.contains('.'), percent.len()) {
        (_, 1) => format!("0{percent}{fraction}"),
        (_, 2) => format!("{percent}{fraction}"),
        (false, 3..) if !percent.starts_with("100") => percent.to_owned(),
        _ => return None,
    };
    let quantile = format!("0.{decimals}").parse::<f64>().ok()?;
    (quantile > 0.0 && quantile <= MAX_QUANTILE).then_some(Measure::Quantile(quantile))
}

/// Beyond it, no run has enough operations.
const MAX_QUANTILE: f64 = 0.999_999_9;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Endpoint,
    Stage,
}

/// `endpoint=home, stage=\"peak, late\"`; a value with a comma stands in quotes.
fn parse_selector(selector: &str) -> Result<Vec<(Kind, String)>, ThresholdError> {
    let wrong = || ThresholdError::Selector(format!("{{{selector}}}"));
    let mut pairs: Vec<(Kind, String)> = Vec::new();
    let mut rest = selector.trim();
    loop {
        let (key, after) = rest.split_once('=').ok_or_else(wrong)?;
        let kind = match key.trim() {
            "endpoint" => Kind::Endpoint,
            "stage" => Kind::Stage,
            _ => return Err(wrong()),
        };
        let after = after.trim_start();
        let quote = after
            .chars()
            .next()
            .filter(|first| ['"', '\''].contains(first));
        let (value, following) = match quote {
            Some(quote) => after[1..].split_once(quote).ok_or_else(wrong)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end(), &after[end..])
            }
        };
        if value.is_empty() || pairs.iter().any(|(known, _)| *known == kind) {
            return Err(wrong());
        }
        pairs.push((kind, value.to_owned()));
        let following = following.trim_start();
        if following.is_empty() {
            return Ok(pairs);
        }
        rest = following.strip_prefix(',').ok_or_else(wrong)?;
    }
}

fn find_endpoint(name: &str, selectable: &Selectable<'_>) -> Result<usize, ThresholdError> {
    let names = || selectable.endpoints.iter().map(String::as_str);
    names()
        .position(|known| known == name)
        .ok_or_else(|| ThresholdError::Unknown {
            kind: "endpoint",
            name: name.to_owned(),
            remedy: crate::scenario::remedy(name, names().collect::<Vec<_>>()),
        })
}

fn find_stage(name: &str, selectable: &Selectable<'_>) -> Result<usize, ThresholdError> {
    selectable
        .stages
        .iter()
        .position(|known| *known == name)
        .ok_or_else(|| ThresholdError::Unknown {
            kind: "stage",
            name: name.to_owned(),
            remedy: crate::scenario::remedy(name, selectable.stages.to_vec()),
        })
}

fn split_comparison(condition: &str) -> Option<(Comparison, &str)> {
    // The longer signs first, since the shorter ones begin them.
    let signs = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    signs.into_iter().find_map(|(sign, comparison)| {
        let bound = condition.strip_prefix(sign)?.trim();
        (!bound.is_empty()).then_some((comparison, bound))
    })
}

/// The bound in the measure's unit, or what to write instead.
fn parse_bound(measure: Measure, bound: &str) -> Result<f64, &'static str> {
    match measure {
        Measure::Mean | Measure::Quantile(_) | Measure::Max => {
            let remedy = "a time above zero with its unit, such as 200ms";
            let time = quantity::duration(bound).map_err(|_| remedy)?;
            match time.is_zero() {
                true => Err(remedy),
                false => Ok(time.as_nanos() as f64),
            }
        }
        Measure::ErrorRate | Measure::DroppedRate => {
            let remedy = "a share from 0% to 100%, such as 1% or 0.01";
            let (number, unit) = quantity::split_number(bound);
            let number = number.parse::<f64>().map_err(|_| remedy)?;
            let share = match unit {
                "" => number,
                "%" => number / 100.0,
                _ => return Err(remedy),
            };
            match (0.0..=1.0).contains(&share) {
                true => Ok(share),
                false => Err(remedy),
            }
        }
        Measure::Rate => {
            let remedy = "a number per second, such as 1000/s";
            let (number, unit) = quantity::split_number(bound);
            let number = number.parse::<f64>().map_err(|_| remedy)?;
            match (unit, number.is_finite()) {
                ("" | "/s", true) => Ok(number),
                _ => Err(remedy),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, condition: &str) -> Result<Threshold, ThresholdError> {
        let endpoints = ["home".to_owned(), "GET /a,b".to_owned()];
        let selectable = Selectable {
            endpoints: &endpoints,
            stages: &["up", "peak"],
        };
        Threshold::parse(key, condition, false, &selectable)
    }

    #[test]
    fn measures_have_their_units() {
        let measure = |key, condition| {
            parse(key, condition).map(|threshold| (threshold.measure, threshold.bound))
        };
        assert_eq!(
            measure("p95", "< 200ms"),
            Ok((Measure::Quantile(0.95), 200e6))
        );
        assert_eq!(
            measure("p999", "<1.5s"),
            Ok((Measure::Quantile(0.999), 1.5e9))
        );
        assert_eq!(
            measure("p99.9", "< 1s"),
            Ok((Measure::Quantile(0.999), 1e9))
        );
        assert_eq!(measure("p5", "< 1s"), Ok((Measure::Quantile(0.05), 1e9)));
        assert_eq!(
            measure("error_rate", "<= 1%"),
            Ok((Measure::ErrorRate, 0.01))
        );
        assert_eq!(
            measure("dropped_rate", "<= 0"),
            Ok((Measure::DroppedRate, 0.0))
        );
        assert_eq!(measure("rate", "> 1000/s"), Ok((Measure::Rate, 1000.0)));
    }

    #[test]
    fn selectors_name_endpoint_and_stage() {
        let threshold = parse("mean{ endpoint=\"GET /a,b\", stage = peak }", "< 1s");
        let threshold = threshold.expect("it is right");
        assert_eq!((threshold.endpoint, threshold.stage), (Some(1), Some(1)));
        assert_eq!(
            threshold.text,
            "mean{ endpoint=\"GET /a,b\", stage = peak } < 1s"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_remedy() {
        let message = |key, condition| parse(key, condition).expect_err("it is wrong").to_string();
        assert_eq!(
            message("p95{endpoint=hone}", "< 1s"),
            "threshold on endpoint `hone`, which does not exist; did you mean `home`?"
        );
        assert_eq!(
            message("p95{stage=evening}", "< 1s"),
            "threshold on stage `evening`, which does not exist; known are `up`, `peak`"
        );
        assert_eq!(
            message("p95", "200ms"),
            "`200ms` is not a condition; write a comparison and a bound, such as \"< 200ms\""
        );
        assert_eq!(
            message("p95", "< 200"),
            "`200` does not fit p95; write a time above zero with its unit, such as 200ms"
        );
        assert_eq!(
            message("error_rate", "< 101%"),
            "`101%` does not fit error_rate; write a share from 0% to 100%, such as 1% or 0.01"
        );
        for key in ["p0", "p100", "p100.0", "p", "p9x", "latency", "p-5"] {
            assert_eq!(
                parse(key, "< 1s"),
                Err(ThresholdError::Measure(key.to_owned()))
            );
        }
        for key in [
            "p95{}",
            "p95{home}",
            "p95{stage=}",
            "p95{stage=up",
            "p95{stage=up,stage=up}",
        ] {
            assert!(matches!(
                parse(key, "< 1s"),
                Err(ThresholdError::Selector(_))
            ));
        }
    }
}
