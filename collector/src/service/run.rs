//! Runs the passes of all services on one thread: each at its interval, with a time-out, a back-off
//! after failures, and an account of its CPU time.
//!
//! What the passes yield goes into a bounded channel; a service waits while it is full.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use driftline_schemas::metric::catalogue::id;
use driftline_schemas::{Event, SampleBatch};
use futures::FutureExt;
use tokio::sync::{mpsc, watch};

use super::{Pass, Service};
use crate::clock;
use crate::health::{Health, panic_message};
use crate::recorder::Recorder;
use crate::tick::micros;

/// Yields of passes that wait for the tick.
const MAX_WAITING: usize = 64;
/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How long a service may take to end in order.
const CLOSE_TIME_OUT: Duration = Duration::from_secs(3);
/// After so many doublings the pause grows no more.
const MAX_DOUBLINGS: u32 = 6;

/// What a pass came to.
#[derive(Debug)]
pub(crate) struct Yield {
    pub(crate) ts_us: i64,
    pub(crate) batches: Vec<SampleBatch>,
    pub(crate) events: Vec<Event>,
}

/// The running services. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Services {
    yields: mpsc::Receiver<Yield>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Services {
    /// Starts them; `None` where there are none, or where the system gives no thread (told).
    pub(crate) fn start(services: Vec<Box<dyn Service>>) -> Option<Self> {
        if services.is_empty() {
            return None;
        }
        let (sender, yields) = mpsc::channel(MAX_WAITING);
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let started = runtime.and_then(|runtime| {
            thread::Builder::new()
                .name("collector-services".to_owned())
                .spawn(move || runtime.block_on(run_all(services, sender, stopped)))
        });
        match started {
            Ok(thread) => Some(Self {
                yields,
                stop,
                thread: Some(thread),
            }),
            Err(source) => {
                tracing::error!(
                    "services cannot be observed ({source}): raise the limit of threads"
                );
                None
            }
        }
    }

    /// What has been yielded since the last call.
    pub(crate) fn take(&mut self) -> Vec<Yield> {
        std::iter::from_fn(|| self.yields.try_recv().ok()).collect()
    }

    /// Ends the services in order; what they still had. Passes under way are given up.
    pub(crate) fn finish(mut self) -> Vec<Yield> {
        // Where nobody listens any more, nobody has anything.
        let _ = self.stop.send(true);
        // It ends when the last service has ended, which each does within its time.
        std::iter::from_fn(|| self.yields.blocking_recv()).collect()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        // A task that waits for room would wait for ever.
        self.yields.close();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread of the services panicked: please report it");
        }
    }
}

async fn run_all(
    services: Vec<Box<dyn Service>>,
    sender: mpsc::Sender<Yield>,
    stopped: watch::Receiver<bool>,
) {
    let tasks: Vec<_> = services
        .into_iter()
        .map(|service| run_one(service, sender.clone(), stopped.clone()))
        .collect();
    // The channel ends with the last service.
    drop(sender);
    futures::future::join_all(tasks).await;
}

/// Waits until the services are to end; a sender that is gone means that too.
async fn told(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Passes until it is to end, or nobody listens any more.
async fn run_one(
    mut service: Box<dyn Service>,
    sender: mpsc::Sender<Yield>,
    mut stopped: watch::Receiver<bool>,
) {
    let meter = Meter::default();
    let mut health = Health::default();
    let mut pass = Pass {
        recorder: Recorder::new(),
        batches: Vec::new(),
        events: Vec::new(),
        meter: meter.clone(),
    };
    let mut failures = 0_u32;
    loop {
        let every_us = micros(service.interval()).max(1);
        let now_us = clock::now().wall_us;
        let pass_us = now_us - now_us.rem_euclid(every_us);
        pass.recorder.begin(pass_us);
        let recorded = pass.recorder.recorded();
        let begun = clock::mono_ns();
        let outcome = tokio::select! {
            biased;
            () = told(&mut stopped) => break,
            outcome = bounded_pass(service.as_mut(), &mut pass, &meter) => outcome,
        };
        let took = Duration::from_nanos(clock::mono_ns().saturating_sub(begun));
        failures = if outcome.is_ok() {
            0
        } else {
            failures.saturating_add(1)
        };
        let subject = service.subject().to_owned();
        let is_new = health.observe(service.component(), &subject, outcome, pass_us);
        pass.events.extend(is_new);
        // Where there is nothing to observe, there is no cost worth telling either.
        if failures > 0 || pass.has_more_than(recorded) {
            account(&subject, took, &meter, &mut pass.recorder);
            if sender.send(pass.take(pass_us)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            biased;
            () = told(&mut stopped) => break,
            () = sleep_until_next(every_us, failures) => {}
        }
    }
    close(service, pass, &meter, &sender).await;
}

/// Ends a service; what it still had is handed over, with what a pass under way had recorded.
async fn close(
    mut service: Box<dyn Service>,
    mut pass: Pass,
    meter: &Meter,
    sender: &mpsc::Sender<Yield>,
) {
    let now_us = clock::now().wall_us;
    let recorded = pass.recorder.recorded_before();
    pass.recorder.begin(now_us);
    let guarded = AssertUnwindSafe(service.close(&mut pass)).catch_unwind();
    let closing = meter.clone().meter(guarded);
    let problem = match tokio::time::timeout(CLOSE_TIME_OUT, closing).await {
        Ok(Ok(())) => None,
        Ok(Err(panic)) => Some(format!(
            "it panicked ({}): please report it",
            panic_message(&*panic)
        )),
        Err(_) => Some("it took too long".to_owned()),
    };
    if let Some(problem) = problem {
        tracing::error!(
            service = service.subject(),
            problem,
            "a service did not end in order"
        );
    }
    if pass.has_more_than(recorded) {
        // Nobody listens where the collector did not end in order itself.
        let _ = sender.send(pass.take(now_us)).await;
    }
}

async fn sleep_until_next(every_us: i64, failures: u32) {
    let now_us = clock::now().wall_us;
    let due_us = next_pass_us(now_us, every_us, failures);
    let wait_us = u64::try_from(due_us - now_us).unwrap_or(0);
    tokio::time::sleep(Duration::from_micros(wait_us)).await;
}

/// One pass that ends in time and never panics. The error is what an operator reads.
async fn bounded_pass(
    service: &mut dyn Service,
    pass: &mut Pass,
    meter: &Meter,
) -> Result<(), String> {
    let time_out = service.time_out();
    let guarded = AssertUnwindSafe(service.pass(pass)).catch_unwind();
    match tokio::time::timeout(time_out, meter.clone().meter(guarded)).await {
        Ok(Ok(outcome)) => outcome.map_err(|error| error.to_string()),
        Ok(Err(panic)) => Err(format!(
            "the pass panicked ({}): please report it",
            panic_message(&*panic)
        )),
        Err(_) => Err(format!(
            "the pass took longer than {:.1} s and was given up: look whether the service is overloaded, or raise its time_out",
            time_out.as_secs_f64()
        )),
    }
}

/// Records what the pass itself cost.
fn account(subject: &str, took: Duration, meter: &Meter, out: &mut Recorder) {
    let labels = &mut [("driftline.component", subject)];
    let duration = const { id("driftline.collector.collect.duration") };
    out.record(duration, labels, took.as_secs_f64());
    let cpu = const { id("driftline.collector.service.cpu.time") };
    out.record(cpu, labels, meter.spent().as_secs_f64());
}

/// The next multiple of the interval, or a later one after failures.
fn next_pass_us(now_us: i64, every_us: i64, failures: u32) -> i64 {
    let next_us = (now_us.div_euclid(every_us) + 1) * every_us;
    if failures < 2 {
        return next_us;
    }
    let doublings = (failures - 1).min(MAX_DOUBLINGS);
    let pause_us = (every_us << doublings).min(micros(MAX_PAUSE).max(every_us));
    let skipped = (pause_us / every_us - 1).max(0);
    next_us + skipped * every_us
}

/// The CPU time of a service's futures, which all run on one thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(self.clone().meter(task)));
    }

    fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn meter<F: Future>(self, future: F) -> Metered<F> {
        Metered {
            future: Box::pin(future),
            meter: self,
        }
    }
}

/// A future whose polls are timed.
struct Metered<F> {
    future: Pin<Box<F>>,
    meter: Meter,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let begun = clock::thread_cpu();
        let polled = self.future.as_mut().poll(context);
        let spent = clock::thread_cpu().saturating_sub(begun).as_nanos();
        let spent = u64::try_from(spent).unwrap_or(u64::MAX);
        self.meter.0.fetch_add(spent, Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use async_trait::async_trait;
    use driftline_schemas::{Component, EventName, MetricRef};

    use super::*;
    use crate::service::ServiceError;

    /// A service whose passes behave as told.
    struct Scripted(fn(u32) -> Step, u32);

    enum Step {
        Record,
        Fail,
        Panic,
        Hang,
        Burn,
    }

    #[async_trait]
    impl Service for Scripted {
        fn component(&self) -> Component {
            Component::Redis
        }

        fn subject(&self) -> &str {
            "redis.test"
        }

        fn interval(&self) -> Duration {
            Duration::from_millis(10)
        }

        fn time_out(&self) -> Duration {
            Duration::from_millis(200)
        }

        async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
            self.1 += 1;
            out.recorder.record(1, &mut [], 7.0);
            match (self.0)(self.1) {
                Step::Record => Ok(()),
                Step::Fail => Err(ServiceError::Unavailable {
                    what: "it".to_owned(),
                    remedy: "start it".to_owned(),
                }),
                Step::Panic => panic!("out of luck"),
                Step::Hang => std::future::pending().await,
                Step::Burn => {
                    let until = clock::thread_cpu() + Duration::from_millis(30);
                    while clock::thread_cpu() < until {
                        std::hint::black_box(out.ts_us());
                    }
                    Ok(())
                }
            }
        }
    }

    fn yields(script: fn(u32) -> Step, count: usize) -> Vec<Yield> {
        let mut services = Services::start(vec![Box::new(Scripted(script, 0))]).expect("a thread");
        let until = Instant::now() + Duration::from_secs(20);
        let mut all = Vec::new();
        while all.len() < count && Instant::now() < until {
            all.extend(services.yields.blocking_recv());
        }
        assert!(all.len() >= count, "{} yields", all.len());
        all
    }

    fn told(yields: &[Yield]) -> Vec<(EventName, String)> {
        let events = yields.iter().flat_map(|yielded| &yielded.events);
        events
            .map(|event| (event.name.clone(), event.message.clone()))
            .collect()
    }

    #[test]
    fn passes_go_on_after_failures_panics_and_hangs() {
        let script = |pass| match pass {
            1 => Step::Fail,
            2 => Step::Panic,
            3 => Step::Hang,
            _ => Step::Record,
        };
        let all = yields(script, 5);
        let has_sample = |yielded: &Yield| {
            let batch = &yielded.batches[0];
            batch
                .samples
                .iter()
                .any(|sample| batch.series[sample.series as usize].metric == MetricRef::Known(1))
        };
        assert!(all.iter().all(has_sample), "what was recorded stays");
        let told = told(&all);
        assert_eq!(told.len(), 1, "a failure is told once: {told:?}");
        assert_eq!(told[0].0, EventName::ComponentFailed);
        assert!(told[0].1.contains("start it"), "{told:?}");
        assert!(all.windows(2).all(|pair| pair[0].ts_us < pair[1].ts_us));
    }

    #[test]
    fn the_cpu_time_of_passes_is_accounted_for() {
        let all = yields(|_| Step::Burn, 2);
        let batch = &all[1].batches[0];
        let cpu = MetricRef::Known(id("driftline.collector.service.cpu.time"));
        let spent = batch.samples.iter().find_map(|sample| {
            let series = &batch.series[sample.series as usize];
            (series.metric == cpu).then_some(sample.value)
        });
        assert!(spent.is_some_and(|spent| spent > 0.01), "{spent:?}");
    }

    #[test]
    fn pauses_grow_with_failures_and_are_bounded() {
        let second = 1_000_000;
        assert_eq!(next_pass_us(5 * second + 1, second, 0), 6 * second);
        assert_eq!(next_pass_us(5 * second + 1, second, 1), 6 * second);
        assert_eq!(next_pass_us(5 * second + 1, second, 2), 7 * second);
        assert_eq!(next_pass_us(5 * second + 1, second, 4), 13 * second);
        assert_eq!(next_pass_us(5 * second + 1, second, 99), 65 * second);
        assert_eq!(next_pass_us(1, 300 * second, 99), 300 * second);
    }
}
