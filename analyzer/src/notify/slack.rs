//! Slack's incoming webhooks: a text for notifications, and blocks.
//!
//! Limits are those of Slack's Block Kit reference: 50 blocks in a message, 150 characters in a
//! header, 3,000 in a section, 2,000 in a field, 10 fields, 3,000 in a link.

use serde_json::{Value, json};

use super::notice::{cut, rfc3339};
use super::{Notice, Severity};

/// At most five blocks each, and 50 in a message.
const NOTICES_MAX: usize = 10;
const HEADER_MAX: usize = 150;
const TEXT_MAX: usize = 3_000;
const FIELD_MAX: usize = 2_000;
const FIELDS_MAX: usize = 10;

pub(super) fn payloads(notices: &[Notice]) -> Vec<Value> {
    notices.chunks(NOTICES_MAX).map(message).collect()
}

fn message(notices: &[Notice]) -> Value {
    let titles: Vec<String> = notices.iter().map(title).collect();
    let blocks: Vec<Value> = notices.iter().flat_map(blocks).collect();
    json!({"text": cut(&escape(&titles.join("; ")), TEXT_MAX), "blocks": blocks})
}

fn title(notice: &Notice) -> String {
    let sign = match (notice.ended_at_us, notice.severity) {
        (Some(_), _) => "✅ over:",
        (None, Severity::Critical) => "🔴",
        (None, Severity::Warning) => "🟠",
        (None, Severity::Info) => "🔵",
    };
    format!("{sign} {}", notice.title)
}

fn blocks(notice: &Notice) -> Vec<Value> {
    // A header is plain text, in which nothing is escaped.
    let header = cut(&title(notice).replace('\n', " "), HEADER_MAX);
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": header, "emoji": true},
    })];
    if !notice.summary.trim().is_empty() {
        blocks.push(section(&cut_escaped(&notice.summary, TEXT_MAX)));
    }
    blocks.push(json!({"type": "section", "fields": fields(notice)}));
    if let Some(sql) = &notice.sql {
        // Three backticks would end the block of code.
        let sql = cut_escaped(&sql.replace("```", "'''"), TEXT_MAX - 8);
        blocks.push(section(&format!("```\n{sql}\n```")));
    }
    // A link that is cut leads nowhere.
    if let Some(link) = notice
        .link
        .as_ref()
        .filter(|link| link.chars().count() <= TEXT_MAX)
    {
        blocks.push(json!({
            "type": "actions",
            "elements": [{
                "type": "button",
                "text": {"type": "plain_text", "text": "Open the finding"},
                "url": link,
            }],
        }));
    }
    blocks
}

fn fields(notice: &Notice) -> Vec<Value> {
    let mut pairs = vec![("severity".to_owned(), notice.severity.as_str().to_owned())];
    pairs.extend(
        notice
            .effect_text()
            .map(|effect| ("change".to_owned(), effect)),
    );
    pairs.push(("since".to_owned(), rfc3339(notice.started_at_us)));
    pairs.extend(
        notice
            .ended_at_us
            .map(|end| ("until".to_owned(), rfc3339(end))),
    );
    let labels = notice
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    let room = FIELDS_MAX - pairs.len();
    if notice.labels.len() <= room {
        pairs.extend(labels);
    } else {
        pairs.extend(labels.take(room - 1));
        let left = notice.labels.len() - (room - 1);
        pairs.push(("and".to_owned(), format!("{left} more labels")));
    }
    pairs
        .iter()
        .map(|(name, value)| {
            let value = cut_escaped(value, FIELD_MAX / 2);
            let text = format!("*{}*\n{value}", cut_escaped(name, FIELD_MAX / 4));
            json!({"type": "mrkdwn", "text": text})
        })
        .collect()
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

/// The three characters that Slack's markup gives a meaning to.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// As much of a text as fits once it is escaped, so that no escape is cut in two.
fn cut_escaped(text: &str, at_most: usize) -> String {
    let mut room = at_most;
    let mut kept = at_most;
    for (index, c) in text.chars().enumerate() {
        let width = match c {
            '&' => 5,
            '<' | '>' => 4,
            _ => 1,
        };
        if width > room {
            // The sign of what is left out takes the place of the last character that fitted.
            kept = index;
            break;
        }
        room -= width;
    }
    escape(&cut(text, kept))
}

#[cfg(test)]
mod tests {
    use super::super::notice::tests::notice;
    use super::*;

    #[test]
    fn a_finding_is_a_header_its_facts_its_query_and_a_button() {
        let payloads = payloads(&[notice()]);
        let blocks = payloads[0]["blocks"].as_array().expect("blocks");
        let kinds: Vec<&str> = blocks
            .iter()
            .filter_map(|block| block["type"].as_str())
            .collect();
        assert_eq!(
            kinds,
            ["header", "section", "section", "section", "actions"]
        );
        assert_eq!(blocks[0]["text"]["text"], "🔴 p99 of /cart is up");
        assert_eq!(
            blocks[1]["text"]["text"],
            "p99 rose from 12 ms to 15 ms &lt;here&gt; &amp; there"
        );
        let fields: Vec<&str> = blocks[2]["fields"]
            .as_array()
            .expect("fields")
            .iter()
            .filter_map(|field| field["text"].as_str())
            .collect();
        assert_eq!(
            fields,
            [
                "*severity*\ncritical",
                "*change*\n+25.3 % (+20.1 % … +31.0 %)",
                "*since*\n2026-01-31T12:00:00.000Z",
                "*http.route*\n/cart?a=&lt;b&gt;&amp;c",
                "*service*\nshop",
            ]
        );
        assert_eq!(
            blocks[3]["text"]["text"],
            "```\nselect * from samples where value &gt; 1 -- ''' \n```"
        );
        assert_eq!(payloads[0]["text"], "🔴 p99 of /cart is up");
    }

    #[test]
    fn the_end_of_a_finding_is_told_as_such() {
        let mut ended = notice();
        ended.ended_at_us = Some(1_769_864_400_000_000);
        let payloads = payloads(&[ended]);
        assert_eq!(payloads[0]["text"], "✅ over: p99 of /cart is up");
    }

    #[test]
    fn nothing_exceeds_what_slack_takes() {
        let mut long = notice();
        long.title = "é\n".repeat(500);
        long.summary = "<&>".repeat(5_000);
        long.sql = Some("`<".repeat(5_000));
        long.labels = (0..40)
            .map(|n| (format!("{n}<").repeat(900), "&".repeat(9_000)))
            .collect();
        let payloads = payloads(&vec![long; 23]);
        assert_eq!(payloads.len(), 3);
        for payload in &payloads {
            assert!(payload["text"].as_str().expect("text").chars().count() <= TEXT_MAX);
            let blocks = payload["blocks"].as_array().expect("blocks");
            assert!(blocks.len() <= 50);
            for block in blocks {
                let most = if block["type"] == "header" {
                    HEADER_MAX
                } else {
                    TEXT_MAX
                };
                let text = block["text"]["text"].as_str().unwrap_or_default();
                assert!(text.chars().count() <= most, "{}", text.chars().count());
                assert!(block["type"] != "header" || !text.contains('\n'));
                let fields = block["fields"].as_array().cloned().unwrap_or_default();
                assert!(fields.len() <= FIELDS_MAX);
                for field in &fields {
                    let text = field["text"].as_str().expect("text");
                    assert!(
                        text.chars().count() <= FIELD_MAX,
                        "{}",
                        text.chars().count()
                    );
                }
            }
        }
        assert_eq!(cut_escaped("ab<", 3), "a…");
        assert_eq!(cut_escaped("ab<", 6), "ab&lt;");
    }
}
