//! CSV of both forms.

use driftline_loadgen::results::{Tool, content_hash, import, run_name};
use driftline_schemas::Better;

use super::bed::{Bed, attribute};

#[test]
fn series_become_samples() {
    let bed = Bed::new();
    let text = "\u{feff}series,timestamp,value\r\n\
        \"queue, main\",1700000001.5,3\r\n\
        depth,1700000000,1e3\r\n\
        depth,1700000000,7\r\n\
        depth,1700000002,NaN\r\n\
        depth,1700000002,-inf\r\n\
        \"queue, main\",1700000000.000001,-0.25";
    let imported = bed.import(Tool::Csv, text).expect("well formed");
    assert_eq!(imported.rows, 4);
    assert_eq!(imported.from_us, 1_700_000_000_000_000);
    assert_eq!(imported.until_us, 1_700_000_001_500_000);
    assert_eq!(
        imported.ignored,
        [("rows whose value is not finite".to_owned(), 2)]
    );
    let mut found: Vec<_> = bed
        .samples()
        .into_iter()
        .map(|(series, ts_us, value)| {
            let metric = series
                .metric
                .view()
                .expect("it travels with its definition");
            assert_eq!((metric.unit, metric.better), ("1", Better::Neither));
            (metric.name.to_owned(), ts_us - 1_700_000_000_000_000, value)
        })
        .collect();
    found.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
    let expected = [
        ("depth", 0, 7.0),
        ("depth", 0, 1_000.0),
        ("queue, main", 1, -0.25),
        ("queue, main", 1_500_000, 3.0),
    ];
    assert_eq!(
        found,
        expected.map(|(name, ts_us, value)| (name.to_owned(), ts_us, value))
    );
}

#[test]
fn requests_become_rows_of_a_run() {
    let bed = Bed::new();
    let text = "latency_ms,timestamp,endpoint,status,error,bytes\n\
        1.5,1700000000.25,home,200,,512\n\
        30000,1700000001,home,0,timeout,\n\
        2,1700000000,home,503,,\n";
    let imported = bed.import(Tool::Csv, text).expect("well formed");
    let rows = bed.requests();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.error.as_str(),
                row.request.status,
                row.request.done_ns,
                row.request.bytes,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("", 200, 1_500_000, 512),
            ("timeout", 0, 30_000_000_000, 0),
            ("status", 503, 2_000_000, 0)
        ]
    );
    assert!(
        rows.iter()
            .all(|row| row.request.sent_ns == 0 && row.request.first_byte_ns == -1)
    );
    assert_eq!(imported.until_us, 1_700_000_031_000_000);
    let events = bed.events();
    assert_eq!(attribute(&events[1], "answered"), "2");
    assert_eq!(
        attribute(&events[0], "labels"),
        r#"{"commit":"abc","latency_from":"sent"}"#
    );
}

#[test]
fn errors_name_line_column_and_remedy() {
    let bed = Bed::new();
    for (text, expected) in [
        ("", "the results are empty"),
        ("series,timestamp,value\n", "no row with a value"),
        ("series,timestamp,value\nx,1,nan\n", "no row with a value"),
        ("a,b\n", "line 1, column 1: found \"a\"; the columns are"),
        (
            "series,value\n",
            "line 1, column 3: found \"series,value\"; column timestamp is missing",
        ),
        (
            "series,timestamp,value,value\n",
            "line 1, column 4: found \"value\"; the column is there twice",
        ),
        (
            "series,timestamp,value\n\nx,1\n",
            "line 3, column 3: found 2 columns; the header has 3",
        ),
        (
            "series,timestamp,value\nx,1,2,3\n",
            "line 2, column 4: found 4 columns",
        ),
        (
            "series,timestamp,value\nx,1,\n",
            "line 2, column value: found \"\"; a decimal number",
        ),
        (
            "series,timestamp,value\nx,1700000000000,1\n",
            "line 2, column timestamp: found \"1700000000000\"; seconds",
        ),
        (
            "series,timestamp,value\n,1,1\n",
            "line 2, column series: found \"\"; a name",
        ),
        (
            "timestamp,endpoint,latency_ms\n1,x,NaN\n",
            "line 2, column latency_ms: found \"NaN\"; 0 to 7 days",
        ),
        (
            "timestamp,endpoint,latency_ms,status\n1,x,1,OK\n",
            "line 2, column status: found \"OK\"; a whole number",
        ),
        (
            "timestamp,endpoint,latency_ms,bytes\n1,x,1,-1\n",
            "line 2, column bytes: found \"-1\"; a whole number",
        ),
        (
            "timestamp,endpoint,latency_ms\n1,\"x,1\n",
            "line 2, column 2: found \"x,1\\n\"; the closing quote",
        ),
    ] {
        let message = bed.refusal(Tool::Csv, text);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn equal_bytes_have_equal_names() {
    let text = "series,timestamp,value\nx,1,2\n";
    let hash = content_hash(&mut text.as_bytes()).expect("memory");
    let (one, two) = (Bed::new(), Bed::new());
    let first = one.import(Tool::Csv, text).expect("well formed");
    let second = two.import(Tool::Csv, text).expect("well formed");
    assert_eq!(first, second);
    assert_eq!(first.run, run_name(Tool::Csv, hash));
    let other = Bed::new()
        .import(Tool::Csv, text.replace('2', "3"))
        .expect("well formed");
    assert_ne!(other.run, first.run);
}

#[test]
fn a_name_is_taken_and_checked() {
    let bed = Bed::new();
    let text = "series,timestamp,value\nx,1,2\n";
    let mut request = bed.request(Tool::Csv);
    request.run = Some("../x".to_owned());
    let error = import(&request, &mut std::io::Cursor::new(text), &mut |_| {});
    assert!(
        error
            .expect_err("no name")
            .to_string()
            .contains("is not valid")
    );
    assert!(!bed.has_log());
    request.run = Some("nightly-1".to_owned());
    let imported = import(&request, &mut std::io::Cursor::new(text), &mut |_| {});
    assert_eq!(imported.expect("well formed").run, "nightly-1");
}
