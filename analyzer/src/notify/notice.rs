//! What is told: a finding in the few words that any receiver needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{alertmanager, generic, slack};

/// How urgent a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Worth a look.
    Warning,
    /// Worth a look now.
    Critical,
}

impl Severity {
    /// The word that receivers get.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A finding, or its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The finding's id, the same in every notice about it.
    pub id: String,
    /// What happened, in one line.
    pub title: String,
    /// How urgent it is.
    pub severity: Severity,
    /// What happened, in a few sentences.
    pub summary: String,
    /// What it happened to.
    pub labels: BTreeMap<String, String>,
    /// The relative change: 0.12 is 12 % more.
    pub effect: Option<f64>,
    /// The interval of the relative change, at 99 %.
    pub interval: Option<(f64, f64)>,
    /// Since when, in µs since the epoch.
    pub started_at_us: i64,
    /// Until when, once it is over, in µs since the epoch.
    pub ended_at_us: Option<i64>,
    /// Where to read on.
    pub link: Option<String>,
    /// The query that shows the evidence.
    pub sql: Option<String>,
}

/// The receiver's kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// A JSON object of our own, for any receiver.
    #[default]
    Json,
    /// Slack's incoming webhooks.
    Slack,
    /// Alertmanager's `/api/v2/alerts`.
    Alertmanager,
}

/// The payloads for some notices, each within the receiver's limits; `now_us` is the time of telling.
pub fn render(style: Style, notices: &[Notice], now_us: i64) -> Vec<Value> {
    match style {
        Style::Json => generic::payloads(notices),
        Style::Slack => slack::payloads(notices),
        Style::Alertmanager => alertmanager::payloads(notices, now_us),
    }
}

impl Notice {
    /// `+12.3 % (+9.8 % … +14.9 %)`; without numbers that are finite, nothing.
    pub(super) fn effect_text(&self) -> Option<String> {
        let effect = self.effect.filter(|effect| effect.is_finite())?;
        let interval = match self.interval {
            Some((low, high)) if low.is_finite() && high.is_finite() => {
                format!(" ({} … {})", percent(low), percent(high))
            }
            _ => String::new(),
        };
        Some(percent(effect) + &interval)
    }
}

fn percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// A time as RFC 3339 in UTC, to the millisecond; times outside its range are its bounds.
pub(super) fn rfc3339(at_us: i64) -> String {
    // Years 0000 to 9999, which is all that the format can express.
    let at_us = at_us.clamp(-62_167_219_200_000_000, 253_402_300_799_999_999);
    let time = chrono::DateTime::from_timestamp_micros(at_us).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// At most so many characters, with a sign where some are left out.
pub(super) fn cut(text: &str, at_most: usize) -> String {
    if text.chars().count() <= at_most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(at_most.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn notice() -> Notice {
        let labels = [("service", "shop"), ("http.route", "/cart?a=<b>&c")];
        Notice {
            id: "f-20260131-1".to_owned(),
            title: "p99 of /cart is up".to_owned(),
            severity: Severity::Critical,
            summary: "p99 rose from 12 ms to 15 ms <here> & there".to_owned(),
            labels: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            effect: Some(0.253),
            interval: Some((0.201, 0.31)),
            started_at_us: 1_769_860_800_000_000,
            ended_at_us: None,
            link: Some("https://driftline.example/findings/f-20260131-1".to_owned()),
            sql: Some("select * from samples where value > 1 -- ``` ".to_owned()),
        }
    }

    #[test]
    fn effects_are_percentages_and_what_is_not_finite_is_left_out() {
        let mut notice = notice();
        assert_eq!(
            notice.effect_text().as_deref(),
            Some("+25.3 % (+20.1 % … +31.0 %)")
        );
        notice.interval = Some((f64::NEG_INFINITY, 0.1));
        assert_eq!(notice.effect_text().as_deref(), Some("+25.3 %"));
        notice.effect = Some(f64::NAN);
        assert_eq!(notice.effect_text(), None);
    }

    #[test]
    fn times_that_cannot_be_written_are_the_bounds() {
        assert_eq!(rfc3339(1_769_860_800_000_000), "2026-01-31T12:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(i64::MIN), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn no_notices_are_no_payloads_and_equal_ones_are_equal_bytes() {
        for style in [Style::Json, Style::Slack, Style::Alertmanager] {
            assert!(render(style, &[], 0).is_empty());
            let once = render(style, &[notice(), notice()], 5);
            assert_eq!(once, render(style, &[notice(), notice()], 5));
            assert_eq!(once.len(), 1);
        }
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("ab", 0), "…");
    }
}
