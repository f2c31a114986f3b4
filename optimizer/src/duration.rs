//! Durations as text in the configuration: `250ms`, `1s`, `2m`, `1h`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

/// Units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a duration; `None` for anything that is not a whole number with a unit.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|known| known.0 == unit)?.1;
    let milliseconds = number.parse::<u64>().ok()?.checked_mul(factor)?;
    Some(Duration::from_millis(milliseconds))
}

/// The shortest text for a duration, to the millisecond.
pub fn format(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    UNITS
        .iter()
        .find(|(_, factor)| milliseconds.is_multiple_of(*factor) && milliseconds >= *factor)
        .map_or_else(
            || "0s".to_owned(),
            |(unit, factor)| format!("{}{unit}", milliseconds / factor),
        )
}

/// Microseconds, as times in events are.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| {
        D::Error::custom(format!(
            "{text:?} is no duration: expected a whole number with ms, s, m or h, such as \"1s\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_duration_agree() {
        for text in ["0s", "250ms", "1s", "2m", "24h"] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
        for bad in ["", "1", "s", "1.5s", "1d", "18446744073709551615h"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
