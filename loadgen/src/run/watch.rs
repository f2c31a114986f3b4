//! Looks at a run while it goes on: shows it, judges it, and ends it when it must end.

use std::time::{Duration, Instant};

use driftline_schemas::Event;

use super::fleet::{Fleet, MemberState};
use super::health::BUSY_CPU;
use super::host::wall_us;
use super::local::Local;
use super::progress::{Progress, Quantiles, StageSpan, View, Wish};
use super::{Ended, Observed, RunRequest, Snapshot, events, generator_health, judging, spans};
use crate::clock::RunClock;
use crate::recorder::{Statistics, Times};
use crate::scenario::Load;
use crate::stop::Stop;

/// How often it is looked whether the run is to end.
const TICK: Duration = Duration::from_millis(100);
/// How often the run is shown and judged.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// How long worker processes may take beyond this process's own part: as long as a recorder waits
/// for its disk, and some seconds for the network.
const FLEET_GRACE: Duration = Duration::from_secs(90);

/// What was seen.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) ended: Ended,
    /// When measuring ended.
    pub(super) until_ns: u64,
    /// The part of the time for which a worker thread was at its limit.
    pub(super) busy: f64,
    pub(super) is_open: bool,
    /// Workers that were lost, where the log had no room for it at the time.
    pub(super) lost_events: Vec<Event>,
}

/// What the progress before showed.
#[derive(Debug)]
struct Before {
    at_ns: u64,
    answered: u64,
    response: Times,
    snapshot: Snapshot,
}

pub(super) struct Watch<'r> {
    request: &'r RunRequest,
    run: &'r str,
    clock: RunClock,
    stop: Stop,
    fleet: Option<&'r Fleet>,
    stages: Vec<StageSpan>,
    is_open: bool,
    before: Option<Before>,
    judged_s: f64,
    busy_s: f64,
    ended: Ended,
    stopped_at_ns: Option<u64>,
    told_lost: Vec<bool>,
    lost_events: Vec<Event>,
}

impl<'r> Watch<'r> {
    pub(super) fn new(
        request: &'r RunRequest,
        run: &'r str,
        clock: RunClock,
        stop: Stop,
        fleet: Option<&'r Fleet>,
    ) -> Self {
        let stages = &request.scenario.stages;
        Self {
            request,
            run,
            clock,
            stop,
            fleet,
            is_open: stages
                .iter()
                .any(|stage| matches!(stage.load, Load::Rate { .. })),
            stages: spans(&request.scenario),
            before: None,
            judged_s: 0.0,
            busy_s: 0.0,
            ended: Ended::Completed,
            stopped_at_ns: None,
            told_lost: Vec::new(),
            lost_events: Vec::new(),
        }
    }

    /// Until every thread and process has ended.
    pub(super) fn run(mut self, local: &mut Local, view: &mut dyn View) -> Watched {
        let mut shown = Instant::now();
        let mut local_ended = None;
        loop {
            let now = Instant::now();
            if view.poll() == Wish::Stop || self.request.stop.is_requested() {
                self.end(Ended::Interrupted);
            }
            self.notice_lost(local);
            if local_ended.is_none() && local.is_ended(now) {
                local_ended = Some(now);
            }
            if let Some(since) = local_ended {
                let fleet = self.fleet.filter(|fleet| !fleet.is_ended());
                match fleet {
                    None => break,
                    Some(fleet) if since.elapsed() > FLEET_GRACE => {
                        fleet.give_up();
                        self.notice_lost(local);
                        break;
                    }
                    Some(_) => {}
                }
            }
            if shown.elapsed() >= SHOW_EVERY {
                shown = now;
                let (progress, statistics) = self.progress(local);
                if self.request.abort
                    && let Some(broken) = judging::broken(&progress.thresholds)
                {
                    tracing::warn!(threshold = %broken.text, "the run ends early");
                    self.end(Ended::Aborted);
                }
                view.show(&progress);
                view.measured(&statistics, &progress.generator, progress.elapsed_ns);
            }
            std::thread::sleep(TICK);
        }
        let (progress, statistics) = self.progress(local);
        view.show(&progress);
        view.measured(&statistics, &progress.generator, progress.elapsed_ns);
        Watched {
            ended: self.ended,
            until_ns: self.stopped_at_ns.unwrap_or(u64::MAX),
            busy: self.busy(),
            is_open: self.is_open,
            lost_events: self.lost_events,
        }
    }

    /// No arrivals any more; the first reason counts, and none after the last stage.
    fn end(&mut self, ended: Ended) {
        if self.stop.is_requested() {
            return;
        }
        let now_ns = self.clock.now_ns();
        if self
            .stages
            .last()
            .is_some_and(|last| now_ns < last.until_ns)
        {
            self.ended = ended;
            self.stopped_at_ns = Some(now_ns);
        }
        self.stop.request();
        if let Some(fleet) = self.fleet {
            fleet.stop();
        }
    }

    fn notice_lost(&mut self, local: &Local) {
        let Some(fleet) = self.fleet else { return };
        let members = fleet.members().clone();
        self.told_lost.resize(members.len(), false);
        for (at, member) in members.iter().enumerate() {
            let MemberState::Lost(reason) = &member.state else {
                continue;
            };
            if std::mem::replace(&mut self.told_lost[at], true) {
                continue;
            }
            tracing::error!(process = at + 1, host = %member.host, %reason, "a worker process is lost; the run goes on, incomplete");
            let event = events::worker_lost(self.run, wall_us(), at + 1, member, reason);
            if !local.recording().tell(event.clone()) {
                self.lost_events.push(event);
            }
        }
    }

    /// What this process and the others have measured so far.
    fn gather(&self, local: &Local) -> (Statistics, Snapshot, u32, u32) {
        let (mut statistics, mut snapshot) = (local.statistics(), local.snapshot());
        let (mut processes, mut lost) = (1, 0);
        for member in self.fleet.iter().flat_map(|fleet| fleet.members().clone()) {
            match member.state {
                MemberState::Lost(_) => lost += 1,
                _ => processes += 1,
            }
            snapshot.merge(&member.snapshot);
            let part = member.statistics.map(|bytes| statistics.read_alike(&bytes));
            // Statistics that cannot be read make the run incomplete at its end.
            if let Some(Ok(part)) = part
                && let Err(error) = statistics.merge(&part)
            {
                tracing::warn!(%error, "statistics of a worker process are left out");
            }
        }
        (statistics, snapshot, processes, lost)
    }

    fn progress(&mut self, local: &Local) -> (Progress, Statistics) {
        let (statistics, snapshot, processes, lost_processes) = self.gather(local);
        let now_ns = local.clock().now_ns();
        let until_ns = self.stopped_at_ns.unwrap_or(now_ns);
        let all = statistics.select(None, None);
        let before = self.before.take();
        let seconds = before
            .as_ref()
            .map_or(now_ns, |before| now_ns - before.at_ns) as f64
            / 1e9;
        let per_s = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds.max(1e-3);
        let (rate, arrivals, recent) = match &before {
            Some(before) => (
                per_s(all.answered(), before.answered),
                per_s(snapshot.arrivals, before.snapshot.arrivals),
                all.response().since(&before.response),
            ),
            None => (
                per_s(all.answered(), 0),
                per_s(snapshot.arrivals, 0),
                all.response().clone(),
            ),
        };
        if let Some(before) = &before {
            self.judged_s += seconds;
            if snapshot.busiest_since(&before.snapshot, seconds) > BUSY_CPU {
                self.busy_s += seconds;
            }
        }
        let median = all.response().quantile_ns(0.5);
        let total_ns = self.stages.last().map_or(0, |stage| stage.until_ns);
        let progress = Progress {
            run: self.run.to_owned(),
            scenario: self.request.scenario.name.clone(),
            stages: self.stages.clone(),
            elapsed_ns: now_ns,
            is_draining: now_ns >= total_ns || self.stop.is_requested(),
            operations: all.operations(),
            failed: all.failed(),
            dropped: all.dropped(),
            rate_per_s: rate,
            arrivals_per_s: arrivals,
            latency: Quantiles::of(all.response()),
            recent: Quantiles::of(&recent),
            failures: all.failures(),
            thresholds: judging::judge(&self.request.scenario, &statistics, until_ns),
            health: generator_health(&Observed {
                snapshot: &snapshot,
                is_open: self.is_open,
                median_us: median.map(|ns| ns as f64 / 1e3),
                bound_us: judging::tightest_us(&self.request.scenario),
                busy: self.busy(),
            }),
            generator: snapshot.clone(),
            processes,
            lost_processes,
        };
        self.before = Some(Before {
            at_ns: now_ns,
            answered: all.answered(),
            response: all.response().clone(),
            snapshot,
        });
        (progress, statistics)
    }

    fn busy(&self) -> f64 {
        if self.judged_s > 0.0 {
            self.busy_s / self.judged_s
        } else {
            0.0
        }
    }
}
