//! Numbers for people: short, and with their unit.

/// A number with a unit's prefix, three significant digits.
pub(crate) fn human(value: f64, unit: &str) -> String {
    let magnitude = value.abs();
    match unit {
        "By" | "By/s" => {
            let suffix = unit.strip_prefix("By").unwrap_or_default();
            let steps = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
            for (name, shift) in steps {
                let step = (1_u64 << shift) as f64;
                if magnitude >= step {
                    return format!("{}{name}{suffix}", significant(value / step));
                }
            }
            format!("{}B{suffix}", significant(value))
        }
        "s" if magnitude > 0.0 && magnitude < 1e-3 => format!("{}µs", significant(value * 1e6)),
        "s" if magnitude > 0.0 && magnitude < 1.0 => format!("{}ms", significant(value * 1e3)),
        "s" => format!("{}s", significant(value)),
        // What is many times one is no share of anything: a plain number without a unit.
        "1" if magnitude > 10.0 => thousands(value),
        "1" => format!("{}%", significant(value * 100.0)),
        other if other.starts_with('{') => {
            // An annotation in UCUM counts things: `{operation}/s`.
            let rate = other.split_once('}').map_or("", |(_, rest)| rest);
            format!("{}{rate}", thousands(value))
        }
        other => format!("{}{other}", thousands(value)),
    }
}

fn thousands(value: f64) -> String {
    let magnitude = value.abs();
    for (suffix, step) in [("G", 1e9), ("M", 1e6), ("k", 1e3)] {
        if magnitude >= step {
            return format!("{}{suffix}", significant(value / step));
        }
    }
    significant(value)
}

/// Three significant digits, without an exponent.
fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || !value.is_finite() {
        return format!("{value:.0}");
    }
    let decimals = (2 - magnitude.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_bear_their_unit() {
        assert_eq!(human(1536.0, "By"), "1.5KiB");
        assert_eq!(human(3.0 * 1024.0 * 1024.0, "By/s"), "3MiB/s");
        assert_eq!(human(0.000_25, "s"), "250µs");
        assert_eq!(human(0.5, "1"), "50%");
        assert_eq!(human(99.99, "1"), "100");
        assert_eq!(human(12_345.0, "{operation}/s"), "12.3k/s");
        assert_eq!(human(0.0, "s"), "0s");
    }
}
