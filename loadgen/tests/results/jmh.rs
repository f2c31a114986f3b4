//! JMH's JSON.

use driftline_loadgen::results::Tool;
use driftline_schemas::{Better, EventName};

use super::bed::{AT_US, Bed, attribute};

const GOLDEN: &str = r#"[
  {
    "jmhVersion": "1.37", "benchmark": "org.example.Lists.sort", "mode": "avgt", "threads": 1, "forks": 2,
    "params": { "size": "1000", "mode": "fast" },
    "primaryMetric": {
      "score": 12.5, "scoreError": "NaN", "scoreUnit": "us/op",
      "rawData": [ [ 12.0, 13.0 ], [ 12.25, "NaN" ] ]
    },
    "secondaryMetrics": {
      "·gc.alloc.rate": { "score": 100.5, "scoreUnit": "MB/sec", "rawData": [ [ 100.0, 101.0 ], [ 99.0, 102.0 ] ] }
    }
  },
  {
    "benchmark": "org.example.Lists.get", "mode": "sample",
    "primaryMetric": { "scoreUnit": "ops/s", "rawDataHistogram": [ [ [ [ 1.0, 3 ], [ 5.0, 1 ] ] ] ] },
    "secondaryMetrics": {}
  }
]"#;

#[test]
fn iterations_become_samples() {
    let bed = Bed::new();
    let imported = bed.import(Tool::Jmh, GOLDEN).expect("well formed");
    assert_eq!(imported.rows, 8);
    assert_eq!(
        imported.ignored,
        [("iterations without a finite score".to_owned(), 1)]
    );
    assert_eq!(
        (imported.from_us, imported.until_us),
        (AT_US - 3_000_000, AT_US)
    );
    let mut found: Vec<_> = bed
        .samples()
        .iter()
        .map(|(series, ts_us, value)| {
            let metric = series
                .metric
                .view()
                .expect("it travels with its definition");
            assert_eq!(
                metric.better,
                match metric.unit {
                    "us/{operation}" => Better::Lower,
                    "{operation}/s" => Better::Higher,
                    _ => Better::Neither,
                }
            );
            format!(
                "{} {} {} {} {value}",
                metric.name,
                metric.unit,
                series.labels.as_str(),
                (AT_US - ts_us) / 1_000_000
            )
        })
        .collect();
    found.sort();
    let labels = |fork| format!("fork={fork},mode=avgt,param_mode=fast,size=1000");
    let sort = "jmh.org.example.Lists.sort";
    let rate = format!("{sort}.gc.alloc.rate MBy/s");
    let mut expected = [
        "jmh.org.example.Lists.get {operation}/s fork=1,mode=sample 0 2".to_owned(),
        format!("{sort} us/{{operation}} {} 3 12", labels(1)),
        format!("{sort} us/{{operation}} {} 2 13", labels(1)),
        format!("{sort} us/{{operation}} {} 1 12.25", labels(2)),
        format!("{rate} {} 3 100", labels(1)),
        format!("{rate} {} 2 101", labels(1)),
        format!("{rate} {} 1 99", labels(2)),
        format!("{rate} {} 0 102", labels(2)),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn samples_are_marked_before_and_after() {
    let bed = Bed::new();
    let imported = bed.import(Tool::Jmh, GOLDEN).expect("well formed");
    let events = bed.events();
    assert!(
        events
            .iter()
            .all(|event| event.name == EventName::Marked && event.subject == imported.run)
    );
    let phases: Vec<_> = events
        .iter()
        .map(|event| attribute(event, "import"))
        .collect();
    assert_eq!(phases, ["started", "finished"]);
    assert_eq!(attribute(&events[1], "samples"), "8");
    assert_eq!(attribute(&events[1], "series"), "5");
}

#[test]
fn what_is_no_result_is_refused_with_the_remedy() {
    let bed = Bed::new();
    for (text, expected) in [
        ("", "the results are empty"),
        ("[]", "no iteration with a score; import what"),
        ("[\n {\"mode\": 1}]", "line 2, column 11: invalid type"),
        (&GOLDEN[..GOLDEN.len() - 2], "when JMH has ended"),
    ] {
        let message = bed.refusal(Tool::Jmh, text);
        assert!(message.contains(expected), "{message}");
    }
    let mut request = bed.request(Tool::Jmh);
    request.at_us = None;
    let mut input = std::io::Cursor::new(GOLDEN);
    let error = driftline_loadgen::results::import(&request, &mut input, &mut |_| {});
    assert!(
        error
            .expect_err("no time")
            .to_string()
            .contains("give the time")
    );
}
