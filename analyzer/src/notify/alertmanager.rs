//! Alertmanager's API v2: an array of alerts for `POST /api/v2/alerts`.
//!
//! Alertmanager knows an alert by its labels, hence they are the same in every notice about a
//! finding, its id among them. It takes an alert for over when it is not told again in time, five
//! minutes by default; each alert therefore says for how long it holds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Notice;
use super::notice::rfc3339;

/// Alerts of one payload.
const ALERTS_MAX: usize = 100;
/// How long an alert holds after it was told, unless its end is told: a day and an hour, so that a
/// nightly repetition comes in time.
const HOLDS_US: i64 = 25 * 3_600 * 1_000_000;

pub(super) fn payloads(notices: &[Notice], now_us: i64) -> Vec<Value> {
    notices
        .chunks(ALERTS_MAX)
        .map(|notices| notices.iter().map(|notice| alert(notice, now_us)).collect())
        .collect()
}

fn alert(notice: &Notice, now_us: i64) -> Value {
    let ends_us = notice
        .ended_at_us
        .unwrap_or(now_us.saturating_add(HOLDS_US));
    let mut annotations = BTreeMap::from([
        ("summary", notice.title.clone()),
        ("description", notice.summary.clone()),
    ]);
    annotations.extend(notice.effect_text().map(|effect| ("effect", effect)));
    annotations.extend(notice.sql.clone().map(|sql| ("sql", sql)));
    let mut alert = json!({
        "labels": labels(notice),
        "annotations": annotations,
        "startsAt": rfc3339(notice.started_at_us),
        // An end before the start would be refused.
        "endsAt": rfc3339(ends_us.max(notice.started_at_us)),
    });
    if let Some(link) = &notice.link {
        alert["generatorURL"] = json!(link);
    }
    alert
}

fn labels(notice: &Notice) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), "DriftlineFinding".to_owned()),
        ("finding".to_owned(), notice.id.clone()),
        ("severity".to_owned(), notice.severity.as_str().to_owned()),
    ]);
    for (key, value) in &notice.labels {
        let mut name = label_name(key);
        // Two names that become one must not hide each other, nor one of ours.
        while labels.contains_key(&name) {
            name.push('_');
        }
        labels.insert(name, value.clone());
    }
    labels
}

/// Prometheus's label names: letters, digits and underscores, no digit first, and no two
/// underscores first, which are kept for internal use.
fn label_name(key: &str) -> String {
    let plain: String = key
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let plain = plain.trim_start_matches('_');
    match plain.chars().next() {
        Some(first) if !first.is_ascii_digit() => plain.to_owned(),
        _ => format!("label_{plain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::notice::tests::notice;
    use super::*;

    const NOW_US: i64 = 1_769_860_860_000_000;

    #[test]
    fn an_alert_is_known_by_its_labels_and_holds_until_the_next_night() {
        let told = &payloads(&[notice()], NOW_US)[0][0];
        assert_eq!(
            told["labels"],
            json!({
                "alertname": "DriftlineFinding",
                "finding": "f-20260131-1",
                "severity": "critical",
                "http_route": "/cart?a=<b>&c",
                "service": "shop",
            })
        );
        assert_eq!(told["startsAt"], "2026-01-31T12:00:00.000Z");
        assert_eq!(told["endsAt"], "2026-02-01T13:01:00.000Z");
        assert_eq!(told["annotations"]["summary"], "p99 of /cart is up");
        assert_eq!(told["annotations"]["effect"], "+25.3 % (+20.1 % … +31.0 %)");
        assert_eq!(
            told["generatorURL"],
            "https://driftline.example/findings/f-20260131-1"
        );
        let mut ended = notice();
        ended.ended_at_us = Some(1_769_860_830_000_000);
        let over = &payloads(&[ended], NOW_US)[0][0];
        assert_eq!(over["labels"], told["labels"]);
        assert_eq!(over["endsAt"], "2026-01-31T12:00:30.000Z");
    }

    #[test]
    fn label_names_become_valid_and_hide_nothing() {
        let mut odd = notice();
        odd.labels = ["a.b", "a_b", "severity", "9lives", "__name__", "", "ä"]
            .map(|key| (key.to_owned(), format!("of {key}")))
            .into();
        let labels = labels(&odd);
        assert_eq!(labels.len(), 3 + 7);
        assert_eq!(labels["severity"], "critical");
        assert_eq!(labels["severity_"], "of severity");
        assert_eq!(labels["a_b"], "of a.b");
        assert_eq!(labels["a_b_"], "of a_b");
        assert_eq!(labels["label_9lives"], "of 9lives");
        assert_eq!(labels["name__"], "of __name__");
    }
}
