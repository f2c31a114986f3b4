//! A scheduler that is killed without warning, a hundred times at random moments, settles every due
//! run exactly once.
//!
//! The test starts itself as the scheduler, with children as jobs and with a clock that is faster
//! than the world's, so that a minute passes in an eighth of a second.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::record::checked;
use super::{CatchUp, Environment, Job, JobSpec, Launcher, Ledger, Record, Until, serve};

/// Names the directory to the process that is the scheduler.
const ROLE: &str = "DRIFTLINE_TEST_SCHEDULER";
/// How much faster its clock is.
const SPEED: i64 = 480;
const KILLS: u64 = 100;
const MINUTE_US: i64 = 60_000_000;
/// The first due time is a minute after this.
const ORIGIN_US: i64 = 1_767_225_600_000_000;

#[test]
fn a_hundred_kills_leave_every_due_run_settled_exactly_once() {
    if let Some(directory) = std::env::var_os(ROLE) {
        be_the_scheduler(Path::new(&directory));
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let seed: u64 = 20_260_131;
    println!("seed {seed}");
    // Enrolled before any kill, so that it is known which runs are due.
    for job in jobs(dir.path()) {
        let mut ledger = Ledger::open(dir.path(), job.name()).expect("ledger");
        ledger.append(&enrolment(&job)).expect("enrol");
    }
    fs::write(dir.path().join("origin"), real_us().to_string()).expect("origin");
    let mut random = seed;
    for _ in 0..KILLS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut scheduler = start(dir.path());
        thread::sleep(Duration::from_millis(15 + (random >> 33) % 100));
        scheduler.kill().expect("kill");
        scheduler.wait().expect("wait");
    }
    // The last scheduler is let live until it has settled what is due by the next full minute.
    let end_us = now_us(dir.path()).div_euclid(MINUTE_US) * MINUTE_US + MINUTE_US;
    fs::write(dir.path().join("end"), end_us.to_string()).expect("end");
    let status = start(dir.path()).wait().expect("wait");
    assert!(status.success(), "{status}");
    let mut settled = 0;
    let mut begun = 0;
    for job in jobs(dir.path()) {
        let (mut runs, starts) = settled_times(dir.path(), &job);
        runs.retain(|time, _| *time <= end_us);
        // By arithmetic of its own: every minute after the origin.
        let due: Vec<i64> = (1..=(end_us - ORIGIN_US) / MINUTE_US)
            .map(|n| ORIGIN_US + n * MINUTE_US)
            .collect();
        let expected: BTreeMap<i64, usize> = due.into_iter().map(|time| (time, 1)).collect();
        assert_eq!(runs, expected, "job {}", job.name());
        settled += runs.len();
        begun += starts;
    }
    println!("{settled} runs settled by {begun} attempts in {KILLS} kills");
    // Otherwise the test would not have tested anything.
    assert!(settled > 60, "only {settled} runs were due");
    assert!(begun > settled / 4, "only {begun} attempts were begun");
}

fn jobs(directory: &Path) -> Vec<Job> {
    let job = |name: &str, catch_up, script: &str| {
        Job::new(JobSpec {
            name: name.to_owned(),
            cron: "* * * * *".to_owned(),
            zone: "UTC".to_owned(),
            command: vec![
                "-c".to_owned(),
                script.to_owned(),
                directory.display().to_string(),
            ],
            catch_up,
            jitter: Duration::ZERO,
            timeout: Duration::from_secs(60),
            retries: 2,
        })
        .expect("job")
    };
    vec![
        job("all", CatchUp::All, "sleep 0.01"),
        job("last", CatchUp::Last, "sleep 0.03"),
        // Every other attempt or so fails.
        job("none", CatchUp::None, "test $(($$ % 2)) = 0"),
    ]
}

fn enrolment(job: &Job) -> Record {
    Record::Enrolled {
        at_us: ORIGIN_US,
        cron: job.cadence().expression().to_owned(),
        zone: job.cadence().zone().to_owned(),
    }
}

fn start(directory: &Path) -> std::process::Child {
    // The test's own name; the thread's is another where tests run one by one.
    let (_, module) = module_path!().split_once("::").expect("a module");
    let this = format!("{module}::a_hundred_kills_leave_every_due_run_settled_exactly_once");
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", &this, "--nocapture"])
        .env(ROLE, directory)
        .stdout(Stdio::null())
        .spawn()
        .expect("start the scheduler")
}

fn be_the_scheduler(directory: &Path) {
    let launcher = Launcher {
        program: "/bin/sh".into(),
        environment: Vec::new(),
        directory: directory.to_path_buf(),
    };
    let jobs = jobs(directory);
    // Killed, or, once an end is written down, when everything until then is settled.
    let wait = |time: Duration| {
        thread::sleep(time / u32::try_from(SPEED).expect("small"));
        number(directory, "end").is_some_and(|end_us| {
            jobs.iter().all(|job| {
                let state = Ledger::look(directory, job.name()).expect("look");
                state.settled_through_us() >= Some(end_us)
            })
        })
    };
    let environment = Environment {
        now_us: &|| now_us(directory),
        wait: &wait,
        stop: &|| {},
        run: &|attempt| launcher.run(attempt, &|_| false),
        told: &|_, _| {},
    };
    serve(&jobs, directory, Until::Stopped, environment).expect("served");
}

fn real_us() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_micros()).expect("before 294,000")
}

/// The fast clock.
fn now_us(directory: &Path) -> i64 {
    let origin = number(directory, "origin").expect("origin");
    ORIGIN_US + (real_us() - origin) * SPEED
}

fn number(directory: &Path, name: &str) -> Option<i64> {
    let text = fs::read_to_string(directory.join(name)).ok()?;
    text.parse().ok()
}

/// How often each run is settled by the ledger's lines, and how many attempts were begun.
fn settled_times(directory: &Path, job: &Job) -> (BTreeMap<i64, usize>, usize) {
    let text =
        fs::read_to_string(directory.join(format!("{}.ledger", job.name()))).expect("ledger");
    let mut times = BTreeMap::new();
    let mut starts = 0;
    for line in text.lines().skip(1) {
        let json = checked(line.as_bytes()).expect("whole");
        let settled = match serde_json::from_str(json).expect("record") {
            Record::Finished { scheduled_us, .. } | Record::Failed { scheduled_us, .. } => {
                vec![scheduled_us]
            }
            Record::Skipped { scheduled_us, .. } => scheduled_us,
            Record::Begun { .. } => {
                starts += 1;
                Vec::new()
            }
            Record::PassedOver { .. } => panic!("fewer are due"),
            Record::Enrolled { .. } | Record::Retrying { .. } => Vec::new(),
        };
        for time in settled {
            *times.entry(time).or_default() += 1;
        }
    }
    (times, starts)
}
