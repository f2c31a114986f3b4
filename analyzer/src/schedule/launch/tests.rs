use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::job::tests::spec;
use super::super::{Ending, Job};
use super::*;

/// A job that runs a shell script; `$0` is the test's directory.
fn run(dir: &Path, script: &str, timeout: Duration, stop: &AtomicBool) -> Ending {
    let mut spec = spec("job", "0 0 * * *");
    spec.command = vec![
        "-c".to_owned(),
        script.to_owned(),
        dir.display().to_string(),
    ];
    spec.timeout = timeout;
    let job = Job::new(spec).expect("job");
    let launcher = Launcher {
        program: "/bin/sh".into(),
        environment: vec![("DRIFTLINE_DATA".into(), "here".into())],
        directory: dir.to_path_buf(),
    };
    let attempt = Attempt {
        job: &job,
        scheduled_us: 0,
        start: 1,
    };
    launcher.run(&attempt, &|_| stop.load(Ordering::SeqCst))
}

fn run_quietly(dir: &Path, script: &str) -> Ending {
    run(
        dir,
        script,
        Duration::from_secs(30),
        &AtomicBool::new(false),
    )
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("read")
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn exit_codes_and_signals_come_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    assert_eq!(run_quietly(dir.path(), "exit 0"), Ending::Exited(0));
    assert_eq!(run_quietly(dir.path(), "exit 3"), Ending::Exited(3));
    assert_eq!(run_quietly(dir.path(), "kill -9 $$"), Ending::Signalled(9));
    // Standard input is empty, the environment is handed on.
    let script = "read line && exit 1; test \"$DRIFTLINE_DATA\" = here";
    assert_eq!(run_quietly(dir.path(), script), Ending::Exited(0));
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let job = Job::new(spec("job", "0 0 * * *")).expect("job");
    let launcher = Launcher {
        program: dir.path().join("missing"),
        environment: Vec::new(),
        directory: dir.path().to_path_buf(),
    };
    let attempt = Attempt {
        job: &job,
        scheduled_us: 0,
        start: 1,
    };
    let ending = launcher.run(&attempt, &|_| false);
    assert!(
        matches!(&ending, Ending::NotStarted(reason) if reason.contains("missing")),
        "{ending}"
    );
}

#[test]
fn at_the_time_out_the_whole_group_is_ended() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let script = "sleep 600 & echo $! > $0/child; sleep 600";
    let ending = run(
        dir.path(),
        script,
        Duration::from_millis(300),
        &AtomicBool::new(false),
    );
    assert_eq!(ending, Ending::TimedOut);
    let child = text(&dir.path().join("child"));
    until("the grandchild is gone", || !is_running(&child));
}

#[test]
fn a_request_to_stop_ends_the_child_and_says_so() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let stop = AtomicBool::new(false);
    let ending = thread::scope(|scope| {
        let running = scope.spawn(|| {
            run(
                dir.path(),
                "echo > $0/up; sleep 600",
                Duration::from_secs(600),
                &stop,
            )
        });
        until("the child runs", || dir.path().join("up").exists());
        stop.store(true, Ordering::SeqCst);
        running.join().expect("the run")
    });
    assert_eq!(ending, Ending::Stopped);
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let script = "sleep 600 & echo $! > $0/child";
    assert_eq!(run_quietly(dir.path(), script), Ending::Exited(0));
    let child = text(&dir.path().join("child"));
    until("the grandchild is gone", || !is_running(&child));
}

#[test]
fn an_attempt_whose_scheduler_was_killed_is_ended_before_the_next() {
    let dir = tempfile::tempdir().expect("temporary directory");
    // As a killed scheduler leaves it: a process in a group of its own whose input bears the lock.
    let lock = dir.path().join("job.running");
    File::create(&lock)
        .expect("lock file")
        .write_all(b"")
        .expect("write");
    let claimed = claim(&lock).expect("claim");
    let mut left = Command::new("/bin/sh")
        .args(["-c", "sleep 600; exit 0"])
        .stdin(Stdio::from(claimed))
        .process_group(0)
        .spawn()
        .expect("spawn");
    assert_eq!(run_quietly(dir.path(), "exit 0"), Ending::Exited(0));
    let status = left.wait().expect("wait");
    assert_eq!(status.signal(), Some(9));
}
