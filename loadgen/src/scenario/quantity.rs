//! Times and sizes as they are written: `1m 30s`, `250ms`, `16KiB`.

use std::time::Duration;

/// The longest time that a scenario may name.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);

const TIME_UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A quantity that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuantityError {
    #[error("`{0}` is not a time; write numbers with units, such as 250ms, 30s or 1m 30s")]
    Time(String),
    #[error("`{0}` is longer than 30 days; write a shorter time")]
    Long(String),
    #[error("`{0}` is not a size; write a number of bytes, such as 4096, 16KiB or 1MB")]
    Size(String),
}

/// A time as the sum of numbers with units; whole nanoseconds.
pub(crate) fn duration(text: &str) -> Result<Duration, QuantityError> {
    let wrong = || QuantityError::Time(text.to_owned());
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let letters = after
            .find(|letter: char| !letter.is_alphabetic())
            .unwrap_or(after.len());
        let unit = TIME_UNITS
            .iter()
            .find(|(unit, _)| *unit == &after[..letters])
            .ok_or_else(wrong)?;
        let ns = number.parse::<f64>().map_err(|_| wrong())? * unit.1;
        if !(0.0..=MAX_DURATION.as_nanos() as f64).contains(&ns) {
            return Err(QuantityError::Long(text.to_owned()));
        }
        sum += Duration::from_nanos(ns.round() as u64);
        rest = after[letters..].trim_start();
    }
    if sum > MAX_DURATION {
        return Err(QuantityError::Long(text.to_owned()));
    }
    Ok(sum)
}

/// A number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, QuantityError> {
    let wrong = || QuantityError::Size(text.to_owned());
    let (number, unit) = split_number(text.trim());
    let factor = SIZE_UNITS
        .iter()
        .find(|(known, _)| *known == unit.trim())
        .ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor.1).ok_or_else(wrong)
}

/// Digits and points at the beginning, and what follows them without its leading space.
pub(crate) fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A time in a unit that suits it, to three significant digits: `183 ms`.
pub(crate) fn human_ns(ns: f64) -> String {
    let (value, unit) = match ns.abs() {
        below if below < 1e3 => (ns, "ns"),
        below if below < 999.5e3 => (ns / 1e3, "µs"),
        below if below < 999.5e6 => (ns / 1e6, "ms"),
        below if below < 120e9 => (ns / 1e9, "s"),
        below if below < 7_200e9 => (ns / 60e9, "min"),
        _ => (ns / 3_600e9, "h"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A number to three significant digits, whole from 100 on.
pub(crate) fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        below if below < 0.01 => 5,
        below if below < 0.1 => 4,
        below if below < 1.0 => 3,
        below if below < 9.995 => 2,
        below if below < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let ms = |text: &str| duration(text).map(|time| time.as_micros());
        assert_eq!(ms("250ms"), Ok(250_000));
        assert_eq!(ms("1m 30s"), Ok(90_000_000));
        assert_eq!(ms("1.5 s"), Ok(1_500_000));
        assert_eq!(ms("10µs"), Ok(10));
        assert_eq!(ms("0s"), Ok(0));
        for wrong in ["", "5", "s", "-1s", "1 fortnight", "1..5s", "s5"] {
            assert_eq!(ms(wrong), Err(QuantityError::Time(wrong.to_owned())));
        }
        assert_eq!(ms("31d"), Err(QuantityError::Long("31d".to_owned())));
        assert_eq!(
            ms("29d 29d"),
            Err(QuantityError::Long("29d 29d".to_owned()))
        );
    }

    #[test]
    fn sizes_may_have_units() {
        assert_eq!(size("64"), Ok(64));
        assert_eq!(size("16 KiB"), Ok(16_384));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert!(size("1.5MB").is_err());
        assert!(size("99999999999GiB").is_err());
    }

    #[test]
    fn numbers_for_people_are_short() {
        assert_eq!(human_ns(183_400_000.0), "183 ms");
        assert_eq!(human_ns(1_500.0), "1.5 µs");
        assert_eq!(human_ns(90e9), "90 s");
        assert_eq!(human_ns(300e9), "5 min");
        assert_eq!(human_ns(0.0), "0 ns");
        assert_eq!(three_digits(0.01234), "0.0123");
        assert_eq!(three_digits(100.0), "100");
    }
}
