//! The order of things in a run.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use driftline_eventlog::disk::RealDisk;

use super::events::{self, Size};
use super::fleet::{Children, Fleet, Member, Prepare, TargetParts};
use super::host::{cores, host_name, wall_us};
use super::local::{Local, LocalEnd, LocalParts, with_causes};
use super::watch::{Watch, Watched};
use super::{
    Ended, RunError, RunOutcome, RunRequest, View, health, judging, limits, log_dir, name,
};
use crate::clock::RunClock;
use crate::recorder::{Recorder, RecorderParts};
use crate::stop::Stop;

/// From when the beginning is fixed until it comes, for the event to become durable and every
/// worker to be ready.
const LEAD: Duration = Duration::from_millis(500);
/// The same with worker processes, which are told over the network.
const FLEET_LEAD: Duration = Duration::from_millis(1_500);

/// How many threads and processes, and where.
#[derive(Debug)]
struct Plan {
    run: String,
    /// Worker processes on this host beside this one.
    children: u32,
    /// Worker processes on other hosts.
    remotes: u32,
    /// Threads of each process on this host.
    threads: u32,
}

pub(super) fn conduct(request: &RunRequest, view: &mut dyn View) -> Result<RunOutcome, RunError> {
    let plan = plan(request)?;
    // Dropped after the fleet, whose end is what children wait for.
    let mut children = Children::default();
    let fleet = gather(request, &plan, &mut children)?;
    let members = fleet
        .as_ref()
        .map_or_else(Vec::new, |fleet| fleet.members().clone());
    let threads: u32 = plan.threads
        + members
            .iter()
            .map(|one| threads_of(one, &plan))
            .sum::<u32>();
    let host = host_name();
    let clock = RunClock::starting_in(if fleet.is_some() { FLEET_LEAD } else { LEAD });
    let parts = RecorderParts {
        disk: Arc::new(RealDisk),
        log: log_dir(&request.data),
        spool: request.spool.clone(),
        run: plan.run.clone(),
        process: 0,
        host: host.clone(),
        scenario: Arc::clone(&request.scenario),
    };
    let recorder = Recorder::open(parts, clock)?;
    if request.stop.is_requested() {
        return Err(RunError::Interrupted);
    }
    let size = Size {
        workers: threads,
        processes: members.len() as u32 + 1,
    };
    let clock = RunClock::starting_in(if fleet.is_some() { FLEET_LEAD } else { LEAD });
    let first = events::started(request, &plan.run, &clock, size, &members, &host);
    let recording = recorder.start(clock, Some(first))?;
    if let Some(fleet) = &fleet {
        fleet.go(clock.origin_us());
    }
    let stop = Stop::new();
    let mut local = Local::start(LocalParts {
        scenario: Arc::clone(&request.scenario),
        target: Arc::clone(&request.target),
        clock,
        first: 0,
        threads: plan.threads,
        of: threads,
        stop: stop.clone(),
        spawn: request.spawn,
        recording,
    });
    let watched = Watch::new(request, &plan.run, clock, stop, fleet.as_ref()).run(&mut local, view);
    finish(request, plan.run, clock, local.finish(), watched, fleet)
}

fn plan(request: &RunRequest) -> Result<Plan, RunError> {
    let run = match &request.run {
        Some(run) if name::is_valid(run) => run.clone(),
        Some(run) => return Err(RunError::Name(run.clone())),
        None => name::default_name(&request.scenario.name, SystemTime::now()),
    };
    let remotes = request.remote.as_ref().map_or(0, |remote| remote.processes);
    let limit = limits::raise_descriptors();
    let connections = limits::connections(&request.scenario);
    let asked = request
        .processes
        .map(|here| here.max(1).saturating_add(remotes));
    let in_all = limits::processes(connections, limit, asked)?;
    let here = in_all.saturating_sub(remotes).max(1);
    if here > 1 && request.launch.is_none() {
        return Err(RunError::NoLaunch(here));
    }
    Ok(Plan {
        run,
        children: here - 1,
        remotes,
        threads: request.workers.unwrap_or(cores() / here).max(1),
    })
}

/// Starts and awaits the worker processes, if there are to be any, until each is ready to begin.
fn gather(
    request: &RunRequest,
    plan: &Plan,
    children: &mut Children,
) -> Result<Option<Fleet>, RunError> {
    let expected = plan.children + plan.remotes;
    if expected == 0 {
        return Ok(None);
    }
    let address = match &request.remote {
        Some(remote) => remote.listen,
        None => ([127, 0, 0, 1], 0).into(),
    };
    let fleet = Fleet::listen(address, expected as usize)?;
    if let Some(remote) = &request.remote {
        fleet
            .secret()
            .write(&remote.token_file)
            .map_err(super::FleetError::from)?;
        tracing::info!(
            address = %fleet.address(), token_file = %remote.token_file.display(), workers = remote.processes,
            "waiting for worker processes"
        );
    }
    if let Some(launch) = request.launch.as_ref().filter(|_| plan.children > 0) {
        let address = local_address(fleet.address());
        *children = Children::start(
            launch,
            plan.children,
            address,
            fleet.secret(),
            &request.data,
        )?;
    }
    let mut look = || !request.stop.is_requested();
    let waited = fleet.wait_joined(&mut look).and_then(|()| {
        let parts = parts(request, plan, &fleet.members());
        fleet.prepare(parts, &mut look)
    });
    match waited {
        Ok(()) => Ok(Some(fleet)),
        Err(_) if request.stop.is_requested() => Err(RunError::Interrupted),
        Err(error) => Err(error.into()),
    }
}

/// Children connect over the loopback where the coordinator listens everywhere.
fn local_address(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// Processes on this host share its cores; others have their own.
fn threads_of(member: &Member, plan: &Plan) -> u32 {
    if plan.children > 0 && member.host == host_name() {
        plan.threads
    } else {
        member.cores.max(1)
    }
}

fn parts(request: &RunRequest, plan: &Plan, members: &[Member]) -> Vec<Prepare> {
    let of = plan.threads + members.iter().map(|one| threads_of(one, plan)).sum::<u32>();
    let mut first = plan.threads;
    let mut part = |(at, member): (usize, &Member)| {
        let threads = threads_of(member, plan);
        let part = Prepare {
            run: plan.run.clone(),
            process: at as u32 + 1,
            first,
            threads,
            of,
            text: request.scenario.text.clone(),
            hash: request.scenario.hash.clone(),
            path: request.path.clone(),
            target: TargetParts::from(&*request.target),
        };
        first += threads;
        part
    };
    members.iter().enumerate().map(&mut part).collect()
}

/// Adds up what the processes came to, judges it, and writes the last event.
fn finish(
    request: &RunRequest,
    run: String,
    clock: RunClock,
    end: LocalEnd,
    watched: Watched,
    fleet: Option<Fleet>,
) -> Result<RunOutcome, RunError> {
    let mut statistics = end.recorded.statistics.clone();
    let mut generator = end.snapshot;
    let (mut lost, mut log_bytes) = (end.recorded.counts.lost, end.recorded.counts.bytes);
    let mut notes = end.failures;
    let mut ended = watched.ended;
    for (at, member) in fleet
        .iter()
        .flat_map(|fleet| fleet.members().clone())
        .enumerate()
    {
        let process = at + 1;
        generator.merge(&member.snapshot);
        lost += member.finished.lost;
        log_bytes += member.finished.bytes;
        let told = member.finished.failures.iter();
        notes.extend(told.map(|failure| format!("process {process}: {failure}")));
        if let Some(reason) = member.lost_because() {
            notes.push(format!(
                "process {process} on {} is lost: {reason}",
                member.host
            ));
        }
        let Some(bytes) = &member.statistics else {
            continue;
        };
        let merged = statistics
            .read_alike(bytes)
            .and_then(|part| statistics.merge(&part));
        if let Err(error) = merged {
            notes.push(format!("process {process}: {}", with_causes(&error)));
        }
    }
    if !notes.is_empty() {
        ended = Ended::Incomplete;
    }
    let measured = statistics.select(None, None);
    let median = measured.response().quantile_ns(0.5);
    let outcome = RunOutcome {
        ended,
        until_ns: watched.until_ns,
        operations: generator.offered,
        lost,
        log_bytes,
        thresholds: judging::judge(&request.scenario, &statistics, watched.until_ns),
        health: health::generator_health(&health::Observed {
            snapshot: &generator,
            is_open: watched.is_open,
            median_us: median.map(|ns| ns as f64 / 1e3),
            bound_us: judging::tightest_us(&request.scenario),
            busy: watched.busy,
        }),
        generator,
        measured,
        statistics,
        notes,
        seconds: clock.now_ns() as f64 / 1e9,
        run,
    };
    let mut last = watched.lost_events;
    last.push(events::finished(&outcome, wall_us()));
    end.recorded.end(last)?;
    Ok(outcome)
}
