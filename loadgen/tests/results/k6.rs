//! k6's JSON lines.

use driftline_loadgen::results::Tool;
use driftline_schemas::EventName;

use super::bed::{Bed, attribute};

fn request(time: &str, tags: &str, blocked: &str, parts: [&str; 3], failed: u8) -> String {
    let [sending, waiting, receiving] = parts;
    let total: f64 = parts
        .iter()
        .map(|part| part.parse::<f64>().expect("a number"))
        .sum();
    [
        ("http_reqs", "1"),
        ("http_req_duration", total.to_string().as_str()),
        ("http_req_blocked", blocked),
        ("http_req_connecting", "0"),
        ("http_req_tls_handshaking", "0"),
        ("http_req_sending", sending),
        ("http_req_waiting", waiting),
        ("http_req_receiving", receiving),
        ("http_req_failed", failed.to_string().as_str()),
    ]
    .map(|(metric, value)| point(metric, time, value, tags))
    .concat()
}

fn point(metric: &str, time: &str, value: &str, tags: &str) -> String {
    format!(
        r#"{{"metric":"{metric}","type":"Point","data":{{"time":"{time}","value":{value},"tags":{{{tags}}}}}}}"#
    ) + "\n"
}

const DECLARATION: &str = r#"{"type":"Metric","data":{"name":"http_reqs","type":"counter","contains":"default","thresholds":[],"submetrics":null},"metric":"http_reqs"}
"#;
const BROWSE: &str = r#""expected_response":"true","group":"","method":"GET","name":"browse","proto":"HTTP/1.1","scenario":"default","status":"200","url":"http://127.0.0.1:8080/items/7""#;
const REFUSED: &str = r#""error":"dial: connection refused","error_code":"1212","expected_response":"false","group":"","method":"POST","name":"http://127.0.0.1:8080/pay","scenario":"default","status":"0","url":"http://127.0.0.1:8080/pay""#;
const MISSING: &str = r#""error_code":"1404","expected_response":"false","group":"","method":"GET","name":"browse","scenario":"default","status":"404","url":"http://127.0.0.1:8080/items/8""#;
const LATER: &str = "2026-01-31T13:00:02.000000500+01:00";

fn golden() -> String {
    [
        DECLARATION.to_owned(),
        request("2026-01-31T12:00:01Z", BROWSE, "2", ["1", "20.5", "3.5"], 0),
        point("iterations", "2026-01-31T12:00:01Z", "1", r#""scenario":"default""#),
        point("ws_connecting", "2026-01-31T12:00:01Z", "3.5", ""),
        r#"{"metric":"vus","type":"Point","data":{"time":"2026-01-31T12:00:01Z","value":1,"tags":null}}"#.to_owned() + "\n",
        request(LATER, REFUSED, "0.25", ["0", "0", "0"], 1),
        request(LATER, MISSING, "0", ["0", "1", "0"], 1),
        point("iterations", LATER, "1", r#""scenario":"default""#),
    ]
    .concat()
}

#[test]
fn requests_become_rows_of_a_run() {
    let bed = Bed::new();
    let imported = bed.import(Tool::K6, golden()).expect("well formed");
    let rows = bed.requests();
    assert_eq!(imported.rows, 3);
    assert_eq!(rows.len(), 3);
    let [first, second, third] = [0, 1, 2].map(|at| rows[at].clone());
    // It ended at 12:00:01, after 2 ms of waiting for a connection and 25 ms of its own.
    let end_us = 1_769_860_801_000_000;
    assert_eq!(
        (first.endpoint.as_str(), first.error.as_str()),
        ("GET browse", "")
    );
    assert_eq!(first.run, imported.run);
    assert_eq!(first.request.intended_us, end_us - 27_000);
    assert_eq!(first.request.sent_ns, 2_000_000);
    assert_eq!(first.request.first_byte_ns, 23_500_000);
    assert_eq!(first.request.done_ns, 27_000_000);
    assert_eq!(first.request.status, 200);
    assert_eq!(second.endpoint, "POST http://127.0.0.1:8080/pay");
    assert_eq!(
        (second.error.as_str(), second.request.status),
        ("refused", 0)
    );
    assert_eq!(second.request.first_byte_ns, -1);
    // 500 ns beyond the microsecond are in every time of the row.
    assert_eq!(second.request.intended_us, end_us + 1_000_000 - 250);
    assert_eq!(
        (second.request.sent_ns, second.request.done_ns),
        (250_500, 250_500)
    );
    assert_eq!(
        (third.error.as_str(), third.request.status),
        ("status", 404)
    );
    assert_eq!(imported.from_us, end_us - 27_000);
    assert_eq!(imported.until_us, end_us + 1_000_001);
    let ignored = [("iterations", 2), ("vus", 1), ("ws_connecting", 1)];
    assert_eq!(
        imported.ignored,
        ignored.map(|(name, count)| (name.to_owned(), count))
    );
}

#[test]
fn the_run_begins_and_ends_in_events() {
    let bed = Bed::new();
    let imported = bed.import(Tool::K6, golden()).expect("well formed");
    let events = bed.events();
    let names: Vec<_> = events.iter().map(|event| event.name.clone()).collect();
    assert_eq!(names, [EventName::RunStarted, EventName::RunFinished]);
    let [started, finished] = [&events[0], &events[1]];
    assert_eq!(started.ts_us, imported.from_us);
    assert_eq!(started.subject, imported.run);
    assert_eq!(imported.run, format!("k6-{}", imported.hash));
    for (key, value) in [
        ("scenario", "k6"),
        ("target", "imported"),
        ("warm_up_ns", "0"),
        ("commit", "abc"),
        (
            "endpoints",
            r#"["GET browse","POST http://127.0.0.1:8080/pay"]"#,
        ),
        ("labels", r#"{"commit":"abc","latency_from":"sent"}"#),
    ] {
        assert_eq!(attribute(started, key), value, "{key}");
    }
    for (key, value) in [
        ("ended", "completed"),
        ("generator", "imported"),
        ("recording", "ok"),
        ("operations", "3"),
        ("answered", "2"),
        ("failed", "2"),
        ("lost", "0"),
    ] {
        assert_eq!(attribute(finished, key), value, "{key}");
    }
}

#[test]
fn interleaved_points_find_their_request() {
    let (one, two) = (
        request("2026-01-31T12:00:01Z", BROWSE, "0", ["0", "10", "0"], 0),
        request("2026-01-31T12:00:01Z", BROWSE, "0", ["0", "20", "0"], 0),
    );
    let lines: Vec<_> = one
        .lines()
        .zip(two.lines())
        .flat_map(|(a, b)| [a, b])
        .collect();
    let bed = Bed::new();
    let imported = bed.import(Tool::K6, lines.join("\n")).expect("well formed");
    assert_eq!(imported.rows, 2);
    assert!(imported.ignored.is_empty(), "{:?}", imported.ignored);
    // Same time, same tags: nothing but the order tells them apart, and no point may be lost.
    let sum: i64 = bed.requests().iter().map(|row| row.request.done_ns).sum();
    assert_eq!(sum, 30_000_000);
}

#[test]
fn points_of_a_filtered_file_are_enough() {
    let text: String = (0..600)
        .map(|at| {
            point(
                "http_req_duration",
                &format!("2026-01-31T12:00:01.{at:03}Z"),
                "5",
                BROWSE,
            )
        })
        .chain([point("http_req_waiting", LATER, "5", BROWSE)])
        .collect();
    let bed = Bed::new();
    let imported = bed.import(Tool::K6, text).expect("well formed");
    assert_eq!(imported.rows, 600);
    assert_eq!(
        imported.ignored,
        [("requests without http_req_duration".to_owned(), 1)]
    );
    assert!(
        bed.requests()
            .iter()
            .all(|row| row.request.first_byte_ns == -1)
    );
}

#[test]
fn what_is_no_result_is_refused_with_the_remedy() {
    let bed = Bed::new();
    for (text, expected) in [
        ("{\n  \"root_group\": {}\n}\n", "a summary of k6"),
        (
            "{\"metrics\":{\"http_reqs\":{\"count\":1}}}",
            "a summary of k6",
        ),
        ("", "the results are empty"),
        (
            "\u{1f}\u{fffd}",
            "line 1, column 1: expected value; import what",
        ),
        (
            DECLARATION,
            "no point of http_req_duration; import what `k6 run",
        ),
        (
            &golden()[..golden().len() - 40],
            "if this is the last line of a test that was killed, remove it",
        ),
    ] {
        let message = bed.refusal(Tool::K6, text);
        assert!(message.contains(expected), "{message}");
    }
    let message = bed.refusal(Tool::K6, b"\x1f\x8b\x08\x00");
    assert!(message.contains("gunzip"), "{message}");
    let cut = DECLARATION.to_owned() + &point("http_req_duration", "yesterday", "1", "");
    assert!(
        bed.refusal(Tool::K6, cut)
            .starts_with("line 2, column data.time: found \"yesterday\";")
    );
    let negative = point("http_req_duration", LATER, "-1", "");
    assert!(
        bed.refusal(Tool::K6, negative)
            .starts_with("line 1, column data.value: found \"-1\"")
    );
}

#[test]
fn ids_in_urls_are_refused_with_the_remedy() {
    let text: String = (0..1_001)
        .map(|at| {
            point(
                "http_req_duration",
                LATER,
                "1",
                &format!(r#""name":"/items/{at}""#),
            )
        })
        .collect();
    let message = Bed::new().refusal(Tool::K6, text);
    assert!(message.contains("in k6: the tag name"), "{message}");
}
