use super::super::Ending;
use super::super::state::HISTORY_MAX;
use super::*;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn enrolled() -> Record {
    Record::Enrolled {
        at_us: 0,
        cron: "* * * * *".to_owned(),
        zone: "UTC".to_owned(),
    }
}

fn run(scheduled_us: i64) -> [Record; 2] {
    let begun = Record::Begun {
        at_us: scheduled_us,
        scheduled_us,
        start: 1,
    };
    let finished = Record::Finished {
        at_us: scheduled_us + 1,
        scheduled_us,
        begun_us: scheduled_us,
        starts: 1,
        ending: Ending::Exited(0),
    };
    [begun, finished]
}

/// A ledger with a job that ran at 10 and at 20.
fn written(directory: &Path) -> (PathBuf, JobState) {
    let mut ledger = Ledger::open(directory, "nightly").expect("open");
    ledger.append(&enrolled()).expect("append");
    for record in run(10).iter().chain(&run(20)) {
        ledger.append(record).expect("append");
    }
    (ledger.path().to_path_buf(), ledger.state().clone())
}

#[test]
fn what_was_written_is_read_again() {
    let dir = directory();
    let (_, state) = written(dir.path());
    assert_eq!(state.settled_through_us(), Some(20));
    assert_eq!(Ledger::look(dir.path(), "nightly").expect("look"), state);
    assert_eq!(
        Ledger::open(dir.path(), "nightly").expect("open").state(),
        &state
    );
    assert_eq!(
        Ledger::look(dir.path(), "other").expect("look"),
        JobState::default()
    );
}

#[test]
fn a_second_scheduler_is_told_who_serves_the_job() {
    let dir = directory();
    let first = Ledger::open(dir.path(), "nightly").expect("first");
    let second = Ledger::open(dir.path(), "nightly").expect_err("second");
    assert!(matches!(second, ScheduleError::Held { .. }), "{second}");
    assert!(
        second
            .to_string()
            .contains(&format!("process {})", std::process::id())),
        "{second}"
    );
    Ledger::open(dir.path(), "hourly").expect("another job is free");
    drop(first);
    Ledger::open(dir.path(), "nightly").expect("after the first has gone");
}

#[test]
fn a_tail_torn_anywhere_is_dropped_and_written_over() {
    let dir = directory();
    let (path, _) = written(dir.path());
    let whole = fs::read(&path).expect("read");
    let last_line = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .expect("lines")
        + 1;
    for cut in last_line..whole.len() {
        let mut torn = whole[..cut].to_vec();
        if cut % 2 == 0 {
            // After a loss of power the size may be there without the bytes.
            torn.resize(whole.len() + 3, 0);
        }
        fs::write(&path, &torn).expect("write");
        let looked = Ledger::look(dir.path(), "nightly").expect("look");
        let mut ledger = Ledger::open(dir.path(), "nightly").expect("open");
        assert_eq!(ledger.state(), &looked);
        assert_eq!(
            ledger.state().open().map(|open| open.scheduled_us),
            Some(20)
        );
        ledger.append(&run(20)[1]).expect("append");
        drop(ledger);
        assert_eq!(fs::read(&path).expect("read"), whole);
    }
    // The header itself may be torn.
    for cut in 0..10 {
        fs::write(&path, &whole[..cut]).expect("write");
        let ledger = Ledger::open(dir.path(), "nightly").expect("open");
        assert_eq!(ledger.state(), &JobState::default());
    }
}

#[test]
fn damage_before_the_last_line_is_told_with_its_line() {
    let dir = directory();
    let (path, _) = written(dir.path());
    let mut bytes = fs::read(&path).expect("read");
    let third = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(1)
        .expect("a third line")
        .0;
    bytes[third + 20] ^= 4;
    fs::write(&path, &bytes).expect("write");
    let error = Ledger::open(dir.path(), "nightly").expect_err("damaged");
    assert!(
        matches!(error, ScheduleError::Damaged { line: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(
        fs::read(&path).expect("read"),
        bytes,
        "it is left as it was found"
    );
}

#[test]
fn a_run_settled_twice_or_of_another_job_is_damage() {
    let dir = directory();
    let (path, _) = written(dir.path());
    let mut text = fs::read_to_string(&path).expect("read");
    text += &line(&run(20)[1]).expect("line");
    fs::write(&path, &text).expect("write");
    let error = Ledger::open(dir.path(), "nightly").expect_err("twice");
    assert!(error.to_string().contains("second time"), "{error}");
    let mut ledger = Ledger::open(dir.path(), "other").expect("open");
    ledger.append(&enrolled()).expect("append");
    let never_begun = Record::Retrying {
        at_us: 1,
        scheduled_us: 1,
        ending: Ending::Exited(1),
        retry_at_us: 2,
    };
    let before = fs::read(ledger.path()).expect("read");
    assert!(ledger.append(&never_begun).is_err());
    assert_eq!(
        fs::read(ledger.path()).expect("read"),
        before,
        "nothing is written"
    );
    fs::copy(ledger.path(), &path).expect("copy");
    let error = Ledger::open(dir.path(), "nightly").expect_err("another job's");
    assert!(error.to_string().contains("ledger of job other"), "{error}");
}

#[test]
fn a_newer_format_is_left_alone() {
    let dir = directory();
    let path = path_of(dir.path(), "nightly");
    let newer =
        line(&serde_json::json!({"format": 2, "job": "nightly", "more": true})).expect("line");
    fs::write(&path, &newer).expect("write");
    let error = Ledger::open(dir.path(), "nightly").expect_err("newer");
    assert!(
        matches!(error, ScheduleError::Newer { found: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("upgrade"), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("read"), newer);
}

#[test]
fn a_full_disk_is_passed_on_and_ends_the_ledger() {
    let dir = directory();
    let ledger = Ledger::open(dir.path(), "nightly").expect("open");
    // Every write to this device fails as on a full disk.
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("device");
    let mut ledger = Ledger {
        file: full,
        ..ledger
    };
    let error = ledger.append(&enrolled()).expect_err("full");
    let ScheduleError::Io {
        op: "write",
        source,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("is there room"), "{error}");
    assert_eq!(
        ledger.state(),
        &JobState::default(),
        "what is not written did not happen"
    );
    let error = ledger.append(&enrolled()).expect_err("broken");
    assert!(matches!(error, ScheduleError::Broken { .. }), "{error}");
}

#[test]
fn a_long_ledger_is_replaced_by_what_is_remembered_of_it() {
    let dir = directory();
    let mut ledger = Ledger::open(dir.path(), "nightly").expect("open");
    ledger.compact_at = 8_192;
    ledger.append(&enrolled()).expect("append");
    let mut most = 0;
    for n in 1..=60 {
        for record in run(n * 10) {
            ledger.append(&record).expect("append");
            most = most.max(ledger.bytes);
        }
    }
    let missed: Vec<i64> = (1_000..1_000 + HISTORY_MAX as i64 - 20).collect();
    ledger
        .append(&Record::Skipped {
            at_us: 5_000,
            scheduled_us: missed,
        })
        .expect("append");
    let passed = Record::PassedOver {
        at_us: 6_000,
        after_us: 5_000,
        through_us: 6_000,
    };
    ledger.append(&passed).expect("append");
    let state = ledger.state().clone();
    assert_eq!(state.history().count(), HISTORY_MAX);
    assert_eq!(
        ledger.bytes,
        fs::metadata(ledger.path()).expect("size").len()
    );
    ledger.append(&run(7_000)[0]).expect("append");
    drop(ledger);
    // What was compacted is what was remembered, the open run comes after it, and nothing that is
    // settled can be begun again.
    let mut again = Ledger::open(dir.path(), "nightly").expect("open");
    assert!(state.history().eq(again.state().history()));
    assert_eq!(
        again.state().open().map(|open| open.scheduled_us),
        Some(7_000)
    );
    assert!(again.append(&run(7_000)[1]).is_ok());
    assert!(again.append(&run(10)[0]).is_err());
    assert!(most < 16_384, "{most}");
}
