//! Durations as text in the configuration: `250ms`, `1s`, `2m`, `1h`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// Units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a duration; `None` for anything that is not a whole number with a unit.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|known| known.0 == unit)?.1;
    Some(Duration::from_millis(
        number.parse::<u64>().ok()?.checked_mul(factor)?,
    ))
}

/// The shortest text for a duration, to the millisecond.
pub fn format(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = |unit: &&(&str, u64)| milliseconds.is_multiple_of(unit.1) && milliseconds >= unit.1;
    match UNITS.iter().find(whole) {
        Some((unit, factor)) => format!("{}{unit}", milliseconds / factor),
        None => "0s".to_owned(),
    }
}

/// Writes it for `#[serde(with = …)]`.
///
/// # Errors
/// What the format says.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// Reads it for `#[serde(with = …)]`.
///
/// # Errors
/// When it is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = "expected a whole number with ms, s, m or h, such as \"1s\"";
    parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no duration: {expected}")))
}

/// The same for durations that may be left out.
pub(crate) mod optional {
    use super::{Deserializer, Duration, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_duration_agree() {
        for (text, milliseconds) in [
            ("1s", 1_000),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Some(duration));
            assert_eq!(format(duration), text);
        }
        for bad in [
            "",
            "1",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
