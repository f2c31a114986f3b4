//! Whole runs, in one process and in several, with worker threads that push made-up operations: what
//! a run records, says of itself and decides. Real sending has tests of its own.

#[path = "run/support.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use driftline_loadgen::run::{Ended, Health, NoView, Progress, RunError, Verdict, View, Wish, run};
use driftline_loadgen::threshold::{Comparison, Measure, Threshold};
use driftline_schemas::EventName;
use support::{attribute, events, launch, pushing, refusing, request, rows, scenario};

#[test]
fn a_run_records_everything_and_passes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut request = request(directory.path(), scenario(1_500), pushing);
    request.labels = vec![("branch".to_owned(), "main".to_owned())];
    request.commit = Some("abc123".to_owned());
    request.workers = Some(2);
    let outcome = run(&request, &mut NoView).expect("it runs");
    assert_eq!(outcome.ended, Ended::Completed, "{:?}", outcome.notes);
    assert_eq!(outcome.verdict(), Verdict::Passed);
    assert_eq!((outcome.lost, outcome.health.clone()), (0, Health::Ok));
    assert_eq!(outcome.operations, 1_500, "1,000/s for 1.5 s");
    assert_eq!(outcome.measured.operations(), 1_500);
    assert_eq!(rows(directory.path()), 1_500);
    let events = events(directory.path());
    let names: Vec<_> = events.iter().map(|event| event.name.clone()).collect();
    assert_eq!(names, [EventName::RunStarted, EventName::RunFinished]);
    let started = &events[0];
    for (key, expected) in [
        ("run", "test-run"),
        ("scenario", "made up"),
        ("text", "1500"),
        ("hash", "00000000000000aa"),
        ("target", "http://127.0.0.1:9/"),
        ("seed", "7"),
        ("warm_up_ns", "0"),
        ("endpoints", r#"["home"]"#),
        ("workers", "2"),
        ("processes", "1"),
        ("commit", "abc123"),
        ("labels", r#"{"branch":"main"}"#),
    ] {
        assert_eq!(attribute(started, key), expected, "{key}");
    }
    assert!(attribute(started, "stages").contains(r#""until_ns":1500000000"#));
    let finished = &events[1];
    for (key, expected) in [
        ("ended", "completed"),
        ("verdict", "passed"),
        ("operations", "1500"),
        ("answered", "1500"),
        ("failed", "0"),
        ("lost", "0"),
        ("generator", "ok"),
        ("recording", "ok"),
        ("arrivals", "1500"),
    ] {
        assert_eq!(attribute(finished, key), expected, "{key}");
    }
    assert!(started.ts_us < finished.ts_us);
}

#[test]
fn a_broken_threshold_ends_the_run_where_it_may() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut scenario = scenario(60_000);
    scenario.thresholds = vec![Threshold {
        measure: Measure::Quantile(0.5),
        endpoint: None,
        stage: None,
        comparison: Comparison::Less,
        bound: 1_000.0,
        abort: true,
        text: "p50 < 1µs".to_owned(),
    }];
    let request = request(directory.path(), scenario, pushing);
    let outcome = run(&request, &mut NoView).expect("it runs");
    assert_eq!(outcome.ended, Ended::Aborted);
    assert_eq!(outcome.verdict(), Verdict::Failed);
    assert!(outcome.seconds < 30.0, "it went on to the end");
    let events = events(directory.path());
    assert_eq!(attribute(&events[1], "ended"), "aborted");
    assert_eq!(rows(directory.path()), outcome.operations);
}

#[test]
fn whoever_looks_on_can_stop_it_and_all_is_recorded() {
    #[derive(Default)]
    struct Impatient {
        shown: u32,
        rate_per_s: f64,
    }
    impl View for Impatient {
        fn show(&mut self, progress: &Progress) {
            self.shown += 1;
            self.rate_per_s = self.rate_per_s.max(progress.rate_per_s);
        }

        fn poll(&mut self) -> Wish {
            if self.shown >= 2 {
                Wish::Stop
            } else {
                Wish::GoOn
            }
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let request = request(directory.path(), scenario(60_000), pushing);
    let mut view = Impatient::default();
    let outcome = run(&request, &mut view).expect("it runs");
    assert_eq!(outcome.ended, Ended::Interrupted);
    assert!(!outcome.verdict().is_judgement());
    assert_eq!(outcome.verdict().exit_code(), 1);
    assert!(view.rate_per_s > 0.0);
    assert!(outcome.operations > 0);
    assert_eq!(rows(directory.path()), outcome.operations);
    let events = events(directory.path());
    assert_eq!(attribute(&events[1], "ended"), "interrupted");
}

#[test]
fn worker_threads_that_cannot_start_leave_an_incomplete_run_and_no_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let request = request(directory.path(), scenario(60_000), refusing);
    let outcome = run(&request, &mut NoView).expect("it is recorded");
    assert_eq!(outcome.ended, Ended::Incomplete);
    assert_eq!(outcome.verdict().exit_code(), 1);
    assert!(
        outcome.reasons()[0].contains("worker 0"),
        "{:?}",
        outcome.reasons()
    );
    let events = events(directory.path());
    assert_eq!(attribute(&events[1], "ended"), "incomplete");
}

#[test]
fn a_name_that_cannot_be_one_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut request = request(directory.path(), scenario(1_000), pushing);
    request.run = Some("No Name".to_owned());
    let error = run(&request, &mut NoView).expect_err("it is refused");
    assert!(matches!(error, RunError::Name(_)), "{error}");
    assert!(!directory.path().join("log").exists());
}

#[test]
fn processes_split_the_run_and_add_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut request = request(directory.path(), scenario(2_000), pushing);
    request.processes = Some(3);
    request.workers = Some(1);
    request.launch = Some(launch());
    let outcome = run(&request, &mut NoView).expect("it runs");
    assert_eq!(outcome.ended, Ended::Completed, "{:?}", outcome.notes);
    assert_eq!(outcome.operations, 2_000);
    assert_eq!(outcome.measured.operations(), 2_000);
    assert_eq!(outcome.lost, 0);
    assert_eq!(rows(directory.path()), 2_000);
    let events = events(directory.path());
    assert_eq!(attribute(&events[0], "processes"), "3");
    let clocks = attribute(&events[0], "clocks");
    assert_eq!(clocks.matches("offset_us").count(), 2, "{clocks}");
    assert_eq!(events.len(), 2);
}

#[test]
fn a_killed_process_leaves_an_incomplete_run_that_says_so() {
    /// Kills the first worker process as soon as it has reported.
    struct Killer(Arc<std::path::PathBuf>, bool);
    impl View for Killer {
        fn show(&mut self, progress: &Progress) {
            if !self.1 && progress.operations > 0 {
                self.1 = true;
                support::kill_child(&self.0);
            }
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut request = request(directory.path(), scenario(6_000), pushing);
    request.processes = Some(2);
    request.workers = Some(1);
    request.launch = Some(launch());
    let mut view = Killer(Arc::new(directory.path().to_owned()), false);
    let outcome = run(&request, &mut view).expect("it is recorded");
    assert!(view.1, "nobody was killed");
    assert_eq!(outcome.ended, Ended::Incomplete);
    assert!(!outcome.verdict().is_judgement());
    assert_eq!(outcome.verdict().exit_code(), 1);
    let events = events(directory.path());
    let names: Vec<_> = events.iter().map(|event| event.name.clone()).collect();
    assert_eq!(
        names,
        [
            EventName::RunStarted,
            EventName::WorkerLost,
            EventName::RunFinished
        ]
    );
    assert_eq!(attribute(&events[1], "process"), "1");
    assert_eq!(attribute(&events[2], "ended"), "incomplete");
    assert!(outcome.seconds < Duration::from_secs(30).as_secs_f64());
}

/// Not a test of its own: what a worker process of the tests above runs, started by [`launch`].
#[test]
fn worker_process() {
    support::work_if_started_as_worker();
}
