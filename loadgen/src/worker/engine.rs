//! A worker's loop: what is due is begun, what has ended is recorded, and in between it waits. When
//! something is due comes from the schedule and the users alone, never from the target.

use std::iter::Peekable;
use std::mem;
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use tokio::task::JoinHandle;

use super::elsewhere::Elsewhere;
use super::events::{Events, Until};
use super::gauges::{Said, arrived};
use super::users::{Users, pause_ns};
use super::waiting::{Due, Waiting};
use super::ways::{Way, ways};
use super::{Context, WorkerError};
use crate::client::{Connections, Ended, Http1, Http2, Job};
use crate::operation::{Failure, NEVER_NS, Operation};
use crate::scenario::{HttpVersion, Load, Scenario};
use crate::schedule::{Arrivals, Mix, next_change, users_at};

/// Between two looks at deadlines and at a stop.
const TEND_NS: u64 = 10_000_000;

/// Between two hand-overs of what was recorded.
const FLUSH_NS: u64 = 100_000_000;

/// Arrivals, or users, begun before connections have their turn.
const BURST: usize = 64;

/// A pause of users who got no connection at all, so that a target that refuses does not make each
/// of them record a hundred thousand refusals per second.
const REFUSED_PAUSE_NS: u64 = 10_000_000;

/// Streams of random choices below this belong to arrivals, those from it on to users.
const USER_STREAMS: u64 = 1 << 32;

/// A worker at work.
pub(crate) struct Engine {
    context: Context,
    events: Events,
    http: Connections,
    elsewhere: Option<Elsewhere>,
    websockets: Option<JoinHandle<()>>,
    /// In the order of the scenario's journeys.
    ways: Vec<Way>,
    mix: Mix,
    arrivals: Option<Peekable<Arrivals>>,
    arrived: u64,
    users: Users,
    most_users: u32,
    next_change_ns: Option<u64>,
    waiting: Waiting,
    /// Most requests and journeys under way.
    limit: usize,
    total_ns: u64,
    tend_ns: u64,
    flush_ns: u64,
    said: Said,
    ready: Vec<(u64, EventFlags)>,
    more: Vec<u64>,
    ended: Vec<Ended>,
}

impl Engine {
    /// Must be made within the worker's runtime and `LocalSet`.
    pub(crate) fn new(context: Context) -> Result<Self, WorkerError> {
        let scenario = context.scenario.clone();
        let share = context.share;
        let (ways, requests) = ways(&scenario, &context);
        let needs_elsewhere = ways.iter().any(|way| matches!(way, Way::Elsewhere));
        let is_shared = needs_elsewhere || !scenario.websockets.is_empty();
        let events = Events::new(is_shared).map_err(WorkerError::Start)?;
        let connections = share.split(scenario.http.connections).max(1) as usize;
        let limit = match scenario.http.version {
            HttpVersion::Http2 if scenario.http.keep_alive => {
                connections.saturating_mul(scenario.http.streams.max(1) as usize)
            }
            HttpVersion::Http1 | HttpVersion::Http2 => connections,
        };
        let most_users = share.split(most_users(&scenario));
        let is_closed = !scenario
            .stages
            .iter()
            .any(|stage| matches!(stage.load, Load::Rate { .. }));
        let owned = is_closed && most_users as usize <= limit;
        Ok(Self {
            http: match scenario.http.version {
                HttpVersion::Http1 => {
                    let table = Http1::new(&context, events.epoll(), requests, owned);
                    Connections::Http1(Box::new(table))
                }
                HttpVersion::Http2 => {
                    let table = Http2::new(&context, events.epoll(), requests)?;
                    Connections::Http2(Box::new(table))
                }
            },
            elsewhere: match needs_elsewhere {
                true => Some(Elsewhere::new(&context)?),
                false => None,
            },
            websockets: None,
            ways,
            mix: Mix::new(&scenario),
            arrivals: Some(Arrivals::new(&scenario, share).peekable()),
            arrived: 0,
            users: Users::default(),
            most_users,
            next_change_ns: Some(0),
            waiting: Waiting::new(share.split(scenario.http.waiting) as usize),
            limit,
            total_ns: scenario
                .stages
                .iter()
                .map(|stage| stage.duration.as_nanos() as u64)
                .sum(),
            tend_ns: 0,
            flush_ns: 0,
            said: Said::default(),
            ready: Vec::new(),
            more: Vec::new(),
            ended: Vec::new(),
            events,
            context,
        })
    }

    /// Makes the worker's share of the run, from its beginning to its end.
    pub(crate) async fn run(mut self) -> Result<(), WorkerError> {
        self.begin().await?;
        let drain_ns = self.context.scenario.drain.as_nanos() as u64;
        let mut end_ns = None;
        loop {
            let now_ns = self.context.clock.now_ns();
            if end_ns.is_none() && self.is_over(now_ns) {
                self.arrivals = None;
                self.next_change_ns = None;
                self.users.want(0, now_ns);
                end_ns = Some(now_ns.saturating_add(drain_ns));
            }
            self.tend(now_ns);
            if end_ns.is_some_and(|end_ns| now_ns >= end_ns || self.is_quiet()) {
                break;
            }
            self.users_due(now_ns);
            self.arrivals_due();
            self.flush();
            let until = self.until(end_ns);
            let waited = self.events.wait(until, self.elsewhere.as_mut()).await;
            waited.map_err(WorkerError::Wait)?;
            self.serve();
        }
        self.finish().await;
        Ok(())
    }

    /// Waits for the run's beginning, which may still be ahead.
    async fn begin(&mut self) -> Result<(), WorkerError> {
        let origin = self.context.clock.instant(0);
        while Instant::now() < origin && !self.context.stop.is_requested() {
            let tend = Instant::now() + std::time::Duration::from_nanos(TEND_NS);
            let until = Until {
                coarse: tend,
                precise: Some(origin),
            };
            self.events
                .wait(until, None)
                .await
                .map_err(WorkerError::Wait)?;
            self.events.drain(&mut self.ready);
            self.ready.clear();
        }
        if !self.context.scenario.websockets.is_empty() {
            let task = crate::websocket::run(self.context.clone());
            self.websockets = Some(tokio::task::spawn_local(task));
        }
        Ok(())
    }

    /// Whether nothing new is to begin: the stages are over and all their arrivals have come.
    fn is_over(&mut self, now_ns: u64) -> bool {
        let has_arrivals = self
            .arrivals
            .as_mut()
            .is_some_and(|arrivals| arrivals.peek().is_some());
        self.context.stop.is_requested() || (now_ns >= self.total_ns && !has_arrivals)
    }

    /// Whether nothing is under way.
    fn is_quiet(&self) -> bool {
        let websockets = self.websockets.as_ref();
        self.under_way() == 0
            && self.waiting.is_empty()
            && websockets.is_none_or(JoinHandle::is_finished)
    }

    fn under_way(&self) -> usize {
        self.http.busy() + self.elsewhere.as_ref().map_or(0, Elsewhere::busy)
    }

    /// Whether one more may be begun.
    fn has_room(&mut self) -> bool {
        self.under_way() < self.limit && self.http.has_room()
    }

    fn until(&mut self, end_ns: Option<u64>) -> Until {
        let clock = self.context.clock;
        let arrival = self.arrivals.as_mut().and_then(|arrivals| arrivals.peek());
        let times = [
            arrival.map(|arrival| arrival.at_ns),
            self.users.next_ns(),
            self.next_change_ns,
        ];
        let precise_ns = times.into_iter().flatten().min();
        let more_ns = self.http.has_more().then_some(0);
        let coarse_ns = [Some(self.tend_ns), end_ns, more_ns]
            .into_iter()
            .flatten()
            .min();
        Until {
            coarse: clock.instant(coarse_ns.unwrap_or(0)),
            precise: precise_ns.map(|at| clock.instant(at)),
        }
    }

    /// Begins what the schedule calls for.
    fn arrivals_due(&mut self) {
        for _ in 0..BURST {
            let now_ns = self.context.clock.now_ns();
            let Some(arrivals) = self.arrivals.as_mut() else {
                return;
            };
            let Some(arrival) = arrivals.next_if(|arrival| arrival.at_ns <= now_ns) else {
                return;
            };
            arrived(&self.context.gauges, now_ns - arrival.at_ns);
            let number = self.number(u64::from(self.most_users) + self.arrived);
            self.arrived += 1;
            let due = Due {
                intended_ns: arrival.at_ns,
                journey: arrival.journey,
                user: None,
                number,
            };
            self.start(due, now_ns);
        }
    }

    /// Lets users come and go, and those go on whose pause is over.
    fn users_due(&mut self, now_ns: u64) {
        if self.next_change_ns.is_some_and(|change| change <= now_ns) {
            let (scenario, share) = (&self.context.scenario, self.context.share);
            self.users.want(users_at(scenario, share, now_ns), now_ns);
            self.next_change_ns = next_change(scenario, share, now_ns);
        }
        for _ in 0..BURST {
            let now_ns = self.context.clock.now_ns();
            let Some((user, iteration)) = self.users.next(now_ns) else {
                return;
            };
            self.iterate(user, iteration, now_ns);
        }
    }

    fn iterate(&mut self, user: u32, iteration: u64, now_ns: u64) {
        arrived(&self.context.gauges, 0);
        let number = self.number(u64::from(user));
        let due = Due {
            intended_ns: now_ns,
            journey: self.mix.choose(USER_STREAMS + number, iteration),
            user: Some(user),
            number,
        };
        self.start(due, now_ns);
    }

    /// A number of the whole run from one of the worker's own.
    fn number(&self, own: u64) -> u64 {
        let share = self.context.share;
        u64::from(share.index) + own * u64::from(share.of)
    }

    fn start(&mut self, due: Due, now_ns: u64) {
        if self.waiting.is_empty() && self.has_room() {
            self.launch(due, now_ns);
        } else if !self.waiting.push(due) {
            self.record_unsent(due, Failure::Dropped);
        }
    }

    fn launch(&mut self, due: Due, now_ns: u64) {
        match self.ways[due.journey as usize] {
            Way::Fast(request) => {
                let job = Job {
                    request,
                    user: due.user,
                    intended_ns: due.intended_ns,
                };
                if let Some(ended) = self.http.begin(job, now_ns) {
                    self.context.tape.push(ended.operation);
                    if let Some(user) = job.user {
                        // Not at once: it might end at once again, and again.
                        let pause_ns = self.pause_ns(user, &ended);
                        self.users.think(user, ended.operation.done_ns + pause_ns);
                    }
                }
            }
            Way::Elsewhere => {
                let elsewhere = self.elsewhere.as_mut();
                elsewhere.expect("such a journey has a client").begin(due);
            }
        }
    }

    /// Takes what connections and journeys have to tell.
    fn serve(&mut self) {
        let mut ready = mem::take(&mut self.ready);
        self.events.drain(&mut ready);
        self.http.take_more(&mut self.more);
        for (token, flags) in ready.drain(..) {
            self.turn(token, flags);
        }
        self.ready = ready;
        let mut more = mem::take(&mut self.more);
        for token in more.drain(..) {
            self.turn(token, EventFlags::IN);
        }
        self.more = more;
        while let Some(due) = self.elsewhere.as_mut().and_then(Elsewhere::take) {
            if let Some(user) = due.user {
                // Its pause was part of the journey.
                self.go_on(user, self.context.clock.now_ns());
            }
            self.launch_waiting();
        }
    }

    /// Gives a connection its turn.
    fn turn(&mut self, token: u64, flags: EventFlags) {
        let mut ended = mem::take(&mut self.ended);
        self.http.ready(token, flags, &mut ended);
        self.take_ended(ended);
        self.flush();
    }

    /// Writes what was begun. What ends by it may begin something new, which is written in its turn.
    fn flush(&mut self) {
        let mut ended = mem::take(&mut self.ended);
        self.http.flush(&mut ended);
        self.take_ended(ended);
    }

    fn take_ended(&mut self, mut ended: Vec<Ended>) {
        for ended in ended.drain(..) {
            self.ended(&ended);
        }
        self.ended = ended;
    }

    fn ended(&mut self, ended: &Ended) {
        self.context.tape.push(ended.operation);
        if let Some(user) = ended.job.user {
            let done_ns = ended.operation.done_ns;
            match self.pause_ns(user, ended) {
                0 => self.go_on(user, done_ns),
                pause_ns => self.users.think(user, done_ns + pause_ns),
            }
        }
        self.launch_waiting();
    }

    fn go_on(&mut self, user: u32, now_ns: u64) {
        if let Some(iteration) = self.users.go_on(user) {
            self.iterate(user, iteration, now_ns);
        }
    }

    fn pause_ns(&self, user: u32, ended: &Ended) -> u64 {
        let own_ns = self
            .http
            .request(ended.job.request)
            .think
            .map_or(0, |think| {
                let iteration = self.users.iterations(user);
                let number = self.number(u64::from(user));
                pause_ns(think, self.context.scenario.seed, number, iteration)
            });
        match ended.operation.sent_ns {
            NEVER_NS => own_ns.max(REFUSED_PAUSE_NS),
            _ => own_ns,
        }
    }

    fn launch_waiting(&mut self) {
        while !self.waiting.is_empty() && self.has_room() {
            let Some(due) = self.waiting.pop() else {
                return;
            };
            self.launch(due, self.context.clock.now_ns());
        }
    }

    /// Deadlines, gauges, and what was recorded.
    fn tend(&mut self, now_ns: u64) {
        if now_ns < self.tend_ns {
            return;
        }
        self.tend_ns = now_ns + TEND_NS;
        let mut ended = mem::take(&mut self.ended);
        self.http.sweep(now_ns, &mut ended);
        self.take_ended(ended);
        // A connection that failed at once has freed its place without an event.
        self.launch_waiting();
        if now_ns >= self.flush_ns {
            self.flush_ns = now_ns + FLUSH_NS;
            self.context.tape.flush();
            self.say();
        }
    }

    fn say(&mut self) {
        let active = match self.users.present() {
            0 => self.under_way() as i64,
            present => i64::from(present),
        };
        let now = Said {
            active,
            connections: self.http.open() as i64,
            waiting: (self.waiting.len() + self.http.waiting()) as i64,
        };
        self.said.say(now, &self.context.gauges);
    }

    /// Records what the end has left unanswered or unsent.
    async fn finish(mut self) {
        self.http.abandon(&mut self.ended);
        for ended in self.ended.drain(..) {
            self.context.tape.push(ended.operation);
        }
        while let Some(due) = self.waiting.pop() {
            self.record_unsent(due, Failure::Unfinished);
        }
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.abandon().await;
        }
        if let Some(task) = self.websockets.take() {
            task.abort();
            if let Err(error) = task.await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        self.context.tape.flush();
        self.said.say(Said::default(), &self.context.gauges);
    }

    fn record_unsent(&self, due: Due, failure: Failure) {
        let steps = &self.context.scenario.journeys[due.journey as usize].steps;
        self.context.tape.push(Operation {
            endpoint: steps.first().map_or(0, |step| step.endpoint),
            status: 0,
            failure: Some(failure),
            intended_ns: due.intended_ns,
            sent_ns: NEVER_NS,
            first_byte_ns: NEVER_NS,
            done_ns: self.context.clock.now_ns(),
            bytes: 0,
        });
    }
}

fn most_users(scenario: &Scenario) -> u32 {
    let users = scenario.stages.iter().map(|stage| match stage.load {
        Load::Users { from, to } => from.max(to),
        Load::Rate { .. } | Load::Hold => 0,
    });
    users.max().unwrap_or(0)
}
