//! A worker process: joins a coordinator, does its part of the run, records it in its own spool and
//! reports every second. Without its coordinator it ends, so that no load goes on unattended.

mod link;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use driftline_eventlog::disk::RealDisk;
use driftline_eventlog::spool::SpoolConfig;

use super::fleet::message::{Finished, FromWorker};
use super::fleet::{Prepare, Secret, SecretError};
use super::host::{host_name, wall_us};
use super::local::{Local, LocalParts, Spawn, with_causes};
use super::{limits, log_dir};
use crate::clock::RunClock;
use crate::recorder::{Recorder, RecorderError, RecorderParts};
use crate::scenario::Scenario;
use crate::stop::Stop;
use link::{Heard, Link};

/// How often a worker process reports.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often it looks whether it has ended or was told to.
const TICK: Duration = Duration::from_millis(50);
/// How long it waits for its part, and then for the beginning.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a worker process is made of.
#[derive(Debug)]
pub struct WorkerRequest {
    /// The coordinator.
    pub coordinator: SocketAddr,
    /// What the coordinator gave out.
    pub secret: Secret,
    /// Where this process's log is.
    pub data: PathBuf,
    /// How the spool uses its disk.
    pub spool: SpoolConfig,
    /// Starts worker threads.
    pub spawn: Spawn,
    /// Makes a scenario of what the coordinator says; an error is told to it.
    pub read: fn(&Prepare) -> Result<Scenario, String>,
    /// Ends the process early.
    pub stop: Stop,
}

/// A worker process that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No connection.
    #[error(
        "cannot join the coordinator at {address}: is the address right, and is the token file this run's?"
    )]
    Join {
        /// Its address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection was lost.
    #[error("the coordinator is gone ({0}); this worker process has stopped")]
    Gone(String),
    /// The coordinator does not go on.
    #[error("the coordinator did not say what to do within {} seconds", PATIENCE.as_secs())]
    Silent,
    /// The scenario cannot be used here.
    #[error("the scenario cannot be used here: {0}")]
    Scenario(String),
    /// No log.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
}

/// Does a worker process's part of one run.
pub fn work(request: &WorkerRequest) -> Result<(), RemoteError> {
    limits::raise_descriptors();
    let link = Link::join(request.coordinator, &request.secret)?;
    let outcome = part(request, &link);
    match &outcome {
        Err(RemoteError::Gone(_)) | Ok(()) => {}
        Err(error) => link.send(FromWorker::Failed(with_causes(error)), Vec::new()),
    }
    link.close();
    outcome
}

fn part(request: &WorkerRequest, link: &Link) -> Result<(), RemoteError> {
    let prepare = match wait(request, link)? {
        Some(Heard::Prepare(prepare)) => prepare,
        Some(_) => return Err(RemoteError::Scenario("it was not sent".to_owned())),
        None => return Ok(()),
    };
    let scenario = (request.read)(&prepare).map_err(RemoteError::Scenario)?;
    if scenario.hash != prepare.hash {
        let reason = "its text is not the coordinator's".to_owned();
        return Err(RemoteError::Scenario(reason));
    }
    let scenario = Arc::new(scenario);
    let target = prepare.target.target();
    let target = target.ok_or_else(|| RemoteError::Scenario("its target is no URL".to_owned()))?;
    let parts = RecorderParts {
        disk: Arc::new(RealDisk),
        log: log_dir(&request.data),
        spool: request.spool.clone(),
        run: prepare.run.clone(),
        process: prepare.process,
        host: host_name(),
        scenario: Arc::clone(&scenario),
    };
    // The clock is known only when the beginning is.
    let recorder = Recorder::open(parts, RunClock::starting_in(Duration::ZERO))?;
    link.send(FromWorker::Ready, Vec::new());
    let clock = match wait(request, link)? {
        Some(Heard::Go { t0_us, offset_us }) => clock(t0_us, offset_us),
        Some(_) => return Err(RemoteError::Silent),
        None => return Ok(()),
    };
    let stop = Stop::new();
    let local = Local::start(LocalParts {
        scenario,
        target: Arc::new(target),
        clock,
        first: prepare.first,
        threads: prepare.threads,
        of: prepare.of,
        stop: stop.clone(),
        spawn: request.spawn,
        recording: recorder.start(clock, None)?,
    });
    load(request, link, &stop, local)
}

/// Reports while the threads work, then records and reports the rest.
fn load(
    request: &WorkerRequest,
    link: &Link,
    stop: &Stop,
    mut local: Local,
) -> Result<(), RemoteError> {
    let mut gone = None;
    let mut reported = Instant::now();
    while !local.is_ended(Instant::now()) {
        match link.hear(TICK) {
            Ok(Heard::Stop) => stop.request(),
            Ok(Heard::Gone(reason)) => {
                stop.request();
                gone.get_or_insert(reason);
                // The channel is at its end and would not wait any more.
                std::thread::sleep(TICK);
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                stop.request();
                gone.get_or_insert("the connection's thread ended".to_owned());
                std::thread::sleep(TICK);
            }
        }
        if request.stop.is_requested() {
            stop.request();
        }
        if gone.is_none() && reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            let statistics = local.statistics().to_bytes();
            link.offer(FromWorker::Report(local.snapshot()), statistics);
        }
    }
    let end = local.finish();
    let counts = end.recorded.counts.clone();
    let statistics = end.recorded.statistics.to_bytes();
    let mut failures = end.failures;
    if let Err(error) = end.recorded.end(Vec::new()) {
        failures.push(with_causes(&error));
    }
    if let Some(reason) = gone {
        return Err(RemoteError::Gone(reason));
    }
    let finished = Finished {
        snapshot: end.snapshot,
        durable: counts.durable,
        lost: counts.lost,
        bytes: counts.bytes,
        disk_failures: counts.disk_failures,
        failures,
    };
    link.send(FromWorker::Finished(finished), statistics);
    Ok(())
}

/// What the coordinator says next; none when there will be nothing to do.
fn wait(request: &WorkerRequest, link: &Link) -> Result<Option<Heard>, RemoteError> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if request.stop.is_requested() {
            return Ok(None);
        }
        match link.hear(TICK) {
            Ok(Heard::Stop) => return Ok(None),
            Ok(Heard::Gone(reason)) => return Err(RemoteError::Gone(reason)),
            Ok(heard) => return Ok(Some(heard)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(RemoteError::Gone(
                    "the connection's thread ended".to_owned(),
                ));
            }
        }
    }
    Err(RemoteError::Silent)
}

/// The run's clock on this host: it begins when this host's wall clock, which is ahead of the
/// coordinator's by `offset_us`, shows the beginning; times are told by the coordinator's.
fn clock(t0_us: i64, offset_us: i64) -> RunClock {
    let until_us = t0_us.saturating_add(offset_us) - wall_us();
    let now = Instant::now();
    let away = Duration::from_micros(until_us.unsigned_abs());
    let origin = if until_us >= 0 {
        now + away
    } else {
        now.checked_sub(away).unwrap_or(now)
    };
    RunClock::new(origin, t0_us)
}
