//! Times as HAR has them (RFC 3339), as milliseconds on one scale. Only differences matter here.

/// Milliseconds since 1970 UTC, if the text is a time.
pub(super) fn unix_ms(text: &str) -> Option<f64> {
    let (date, clock) = text.trim().split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, offset_minutes) = split_offset(clock)?;
    let mut clock = clock.splitn(3, ':');
    let hour: u32 = clock.next()?.parse().ok()?;
    let minute: u32 = clock.next()?.parse().ok()?;
    let second: f64 = clock.next()?.parse().ok()?;
    if hour > 23 || minute > 59 || !(0.0..61.0).contains(&second) {
        return None;
    }
    let minutes = days(year, month, day) * 1_440 + i64::from(hour) * 60 + i64::from(minute);
    Some((minutes - offset_minutes) as f64 * 60_000.0 + second * 1_000.0)
}

fn split_offset(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else {
        return Some((clock, 0));
    };
    let digits: String = clock[at + 1..].split(':').collect();
    if digits.len() != 4 || !digits.is_ascii() {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = digits[2..].parse().ok()?;
    let sign = if clock[at..].starts_with('-') { -1 } else { 1 };
    Some((&clock[..at], sign * (hours * 60 + minutes)))
}

/// Days since 1970-01-01 in the Gregorian calendar, with years that begin in March so that the leap
/// day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset() {
        assert_eq!(unix_ms("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(
            unix_ms("2024-02-29T12:00:00.250Z"),
            Some(1_709_208_000_250.0)
        );
        assert_eq!(
            unix_ms("2024-02-29T13:00:00.250+01:00"),
            Some(1_709_208_000_250.0)
        );
        assert_eq!(
            unix_ms("2024-03-01T00:00:00-0130"),
            Some(1_709_256_600_000.0)
        );
        for wrong in [
            "",
            "yesterday",
            "2024-13-01T00:00:00Z",
            "2024-01-01",
            "2024-01-01T25:00:00Z",
        ] {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
    }
}
