//! Journeys as users make them: steps in order with pauses, captured values, cookies and checks,
//! over HTTP/1.1 or 2, with or without TLS. Single static requests over plain HTTP/1.1 go the fast
//! path of [`crate::client`] instead.
//!
//! An operation is one step: its request, the redirects that were followed, and the whole answer.
//! Response time counts from *intended* and so holds the wait for a connection and the making of one;
//! service time counts from *sent*. A request whose kept connection turns out to have ended is sent
//! once more where that is safe, within the same operation. `bytes` are those of bodies, as they
//! travelled.

mod answer;
mod connect;
mod cookies;
mod deadline;
mod exchange;
mod failure;
mod judge;
mod pause;
mod plan;
mod pool;
mod redirect;
mod template;
mod user;
mod wire;

use std::rc::Rc;
use std::sync::Arc;

use crate::operation::{Failure, NEVER_NS, Operation};
use crate::scenario::{HttpOptions, Journey, Step};
use crate::target::Target;
use crate::tls::TlsError;
use crate::worker::Context;

use deadline::Deadlines;
use exchange::{Answer, Exchange};
use pause::Pauses;
use plan::{Base, Plan, PlannedStep};
use pool::Pool;

pub(crate) use plan::Request;
pub use user::User;

/// The connections of one worker thread; cheap to clone within it. They end with its last clone.
#[derive(Debug, Clone)]
pub struct Client(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    context: Context,
    /// In the order of the scenario's journeys.
    plans: Vec<Rc<Plan>>,
    exchange: Exchange,
    deadlines: Deadlines,
    pauses: Pauses,
}

/// The request of a step in which nothing varies.
pub(crate) fn fixed_request(
    http: &HttpOptions,
    target: &Arc<Target>,
    step: &Step,
) -> Option<Rc<Request>> {
    PlannedStep::new(&Base::of(http, target), step).fixed
}

/// How a step ended.
struct Ended {
    at_ns: u64,
    failed: bool,
}

impl Client {
    /// Makes the client of a worker. Connections are made when they are needed.
    ///
    /// # Errors
    /// The certificates cannot be read, or the target's name cannot be in any.
    pub fn new(context: &Context) -> Result<Self, TlsError> {
        let http = &context.scenario.http;
        let base = Base::new(context);
        let plans = context
            .scenario
            .journeys
            .iter()
            .map(|journey| Rc::new(Plan::new(&base, journey)));
        let timeout_ns = u64::try_from(http.timeout.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self(Rc::new(Shared {
            plans: plans.collect(),
            exchange: Exchange {
                clock: context.clock,
                gauges: Arc::clone(&context.gauges),
                base,
                pool: Rc::new(Pool::new(context)?),
                redirects: http.redirects,
                compression: http.compression,
                max_bytes: http.max_answer_bytes,
            },
            deadlines: Deadlines::new(context.clock, timeout_ns),
            pauses: Pauses::new(context.clock),
            context: context.clone(),
        })))
    }

    /// Makes one journey. The first step's intended time is given; a later step is intended when
    /// the step before it has ended and its pause is over. Every step is recorded as an operation;
    /// a failed step ends the journey.
    ///
    /// The pause after the last step, or after one that failed, is made too, so that a user who
    /// comes again comes after it. A stop ends the journey at its next pause. Dropped under way, it
    /// records the step that was under way as [`Failure::Unfinished`]: drop it before the tape's last
    /// flush. Must be called within a `LocalSet`.
    pub async fn iterate(&self, user: &mut User, journey: &Journey, intended_ns: u64) {
        let shared = &*self.0;
        let plan = shared.plan(journey);
        user.begin();
        let mut intended_ns = intended_ns;
        for (step, planned) in journey.steps.iter().zip(&plan.0) {
            let cookies = journey.cookies;
            let ended = shared.step(user, step, planned, cookies, intended_ns).await;
            intended_ns = ended.at_ns;
            if let Some(think) = step.think {
                intended_ns = intended_ns.saturating_add(user.pause_ns(think));
                tokio::select! {
                    biased;
                    () = shared.pauses.until(intended_ns) => {}
                    () = shared.context.stop.wait() => return,
                }
            }
            if ended.failed {
                return;
            }
        }
    }
}

impl Shared {
    /// A journey of the scenario has its plan ready; one from elsewhere gets its own.
    fn plan(&self, journey: &Journey) -> Rc<Plan> {
        let known = &self.context.scenario.journeys;
        let from_first = std::ptr::from_ref(journey)
            .addr()
            .checked_sub(known.as_ptr().addr());
        from_first
            .map(|bytes| bytes / size_of::<Journey>())
            .filter(|&at| {
                known
                    .get(at)
                    .is_some_and(|known| std::ptr::eq(known, journey))
            })
            .and_then(|at| self.plans.get(at))
            .map_or_else(
                || Rc::new(Plan::new(&self.exchange.base, journey)),
                Rc::clone,
            )
    }

    /// Makes one step and records it.
    async fn step(
        &self,
        user: &mut User,
        step: &Step,
        planned: &PlannedStep,
        cookies: bool,
        intended_ns: u64,
    ) -> Ended {
        let mut recording = Recording::new(&self.context, step.endpoint, intended_ns);
        let operation = &mut recording.operation;
        let answered = self.answer(user, step, planned, cookies, operation).await;
        operation.done_ns = self.context.clock.now_ns();
        let judged = answered.and_then(|answer| judge(user, step, operation, &answer));
        operation.failure = judged.err();
        let ended = Ended {
            at_ns: operation.done_ns,
            failed: judged.is_err(),
        };
        let was_sent = operation.sent_ns != NEVER_NS;
        recording.finish();
        if !was_sent {
            // What fails without ever waiting must not keep others from the thread.
            tokio::task::yield_now().await;
        }
        ended
    }

    async fn answer(
        &self,
        user: &mut User,
        step: &Step,
        planned: &PlannedStep,
        cookies: bool,
        operation: &mut Operation,
    ) -> Result<Answer, Failure> {
        let exchange = &self.exchange;
        let feeds = &self.context.scenario.feeds;
        let request = planned.request(&exchange.base, step, user, feeds)?;
        let lease = exchange.pool.acquire().await?;
        let jar = cookies.then_some(&mut user.jar);
        let deadline = self.deadlines.begin();
        deadline
            .run(exchange.run(request, lease, jar, planned.keeps_body, operation))
            .await
            .unwrap_or(Err(Failure::Timeout))
    }
}

/// Holds a whole answer to the step's checks, and keeps what later steps need.
fn judge(
    user: &mut User,
    step: &Step,
    operation: &Operation,
    answer: &Answer,
) -> Result<(), Failure> {
    let took_ns = operation.done_ns.saturating_sub(operation.sent_ns);
    judge::check(&step.checks, operation.status, &answer.body, took_ns)?;
    if step.captures.is_empty() {
        return Ok(());
    }
    for (name, value) in judge::capture(&step.captures, &answer.headers, &answer.body)? {
        user.keep(name, value);
    }
    Ok(())
}

/// Puts an operation on the tape exactly once: when it has ended, or when it is given up.
struct Recording<'a> {
    context: &'a Context,
    operation: Operation,
}

impl<'a> Recording<'a> {
    fn new(context: &'a Context, endpoint: u32, intended_ns: u64) -> Self {
        let operation = Operation {
            endpoint,
            status: 0,
            failure: Some(Failure::Unfinished),
            intended_ns,
            sent_ns: NEVER_NS,
            first_byte_ns: NEVER_NS,
            done_ns: NEVER_NS,
            bytes: 0,
        };
        Self { context, operation }
    }

    fn finish(self) {
        // Dropping it is what records it.
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if self.operation.done_ns == NEVER_NS {
            self.operation.done_ns = self.context.clock.now_ns();
        }
        self.context.tape.push(self.operation);
    }
}
