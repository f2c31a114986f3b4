//! The payload for receivers of no special kind.
//!
//! `{"format": 1, "notices": [{"id", "status", "title", "severity", "summary", "labels", "effect",
//! "interval": [low, high], "started_at", "ended_at", "link", "sql"}]}`; what is not known is null.

use serde_json::{Value, json};

use super::Notice;
use super::notice::rfc3339;

/// The version of the format.
const FORMAT: u32 = 1;
/// Notices of one payload.
const NOTICES_MAX: usize = 100;

pub(super) fn payloads(notices: &[Notice]) -> Vec<Value> {
    notices
        .chunks(NOTICES_MAX)
        .map(|notices| {
            let notices: Vec<Value> = notices.iter().map(object).collect();
            json!({"format": FORMAT, "notices": notices})
        })
        .collect()
}

fn object(notice: &Notice) -> Value {
    let finite = |number: f64| Some(number).filter(|number| number.is_finite());
    json!({
        "id": notice.id,
        "status": if notice.ended_at_us.is_some() { "resolved" } else { "firing" },
        "title": notice.title,
        "severity": notice.severity.as_str(),
        "summary": notice.summary,
        "labels": notice.labels,
        "effect": notice.effect.and_then(finite),
        "interval": notice.interval.map(|(low, high)| [finite(low), finite(high)]),
        "started_at": rfc3339(notice.started_at_us),
        "ended_at": notice.ended_at_us.map(rfc3339),
        "link": notice.link,
        "sql": notice.sql,
    })
}

#[cfg(test)]
mod tests {
    use super::super::notice::tests::notice;
    use super::*;

    #[test]
    fn all_that_is_known_is_told() {
        let mut ended = notice();
        ended.ended_at_us = Some(1_769_864_400_000_000);
        ended.interval = Some((f64::NEG_INFINITY, 0.5));
        let payloads = payloads(&[notice(), ended]);
        let told = &payloads[0];
        assert_eq!(told["format"], 1);
        let first = &told["notices"][0];
        assert_eq!(first["id"], "f-20260131-1");
        assert_eq!(first["status"], "firing");
        assert_eq!(first["severity"], "critical");
        assert_eq!(first["labels"]["http.route"], "/cart?a=<b>&c");
        assert_eq!(first["effect"], 0.253);
        assert_eq!(first["interval"], json!([0.201, 0.31]));
        assert_eq!(first["started_at"], "2026-01-31T12:00:00.000Z");
        assert_eq!(first["ended_at"], Value::Null);
        assert_eq!(told["notices"][1]["status"], "resolved");
        assert_eq!(told["notices"][1]["ended_at"], "2026-01-31T13:00:00.000Z");
        assert_eq!(told["notices"][1]["interval"], json!([null, 0.5]));
    }

    #[test]
    fn many_notices_are_several_payloads() {
        let payloads = payloads(&vec![notice(); 201]);
        let counts: Vec<usize> = payloads
            .iter()
            .map(|payload| payload["notices"].as_array().expect("an array").len())
            .collect();
        assert_eq!(counts, [100, 100, 1]);
    }
}
