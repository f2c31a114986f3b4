//! Scenarios for tests, and runs of them that end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use driftline_loadgen::recorder::Batch;
use driftline_loadgen::scenario::{
    Arrival, HttpOptions, HttpVersion, Journey, Load, Scenario, Stage, Step, Template,
};
use driftline_loadgen::target::Target;
use driftline_loadgen::worker::{Gauges, Parts, Share, spawn};
use driftline_loadgen::{Failure, Operation, RunClock, Stop};

/// No run of a test takes longer.
const LONGEST: Duration = Duration::from_secs(20);

/// What became of a run.
pub(crate) struct Outcome {
    pub(crate) clock: RunClock,
    pub(crate) operations: Vec<Operation>,
    pub(crate) gauges: Vec<Arc<Gauges>>,
}

impl Outcome {
    pub(crate) fn arrivals(&self) -> u64 {
        let each = self
            .gauges
            .iter()
            .map(|gauges| gauges.arrivals.load(Ordering::SeqCst));
        each.sum()
    }

    pub(crate) fn failed_with(&self, failure: Failure) -> usize {
        let failed = |operation: &&Operation| operation.failure == Some(failure);
        self.operations.iter().filter(failed).count()
    }

    /// All operations failed so, and there are some.
    pub(crate) fn assert_all(&self, failure: Option<Failure>, of: &str) {
        assert!(!self.operations.is_empty(), "{of}: nothing was recorded");
        for operation in &self.operations {
            assert_eq!(operation.failure, failure, "{of}: {operation:?}");
        }
    }
}

/// Runs a scenario with so many workers; `meanwhile` may ask for its end.
pub(crate) fn run(scenario: Scenario, url: &str, workers: u32, stop: &Stop) -> Outcome {
    let (queue, batches) = sync_channel::<Batch>(1_024);
    let lost = Arc::new(AtomicU64::new(0));
    let clock = RunClock::starting_in(Duration::from_millis(30));
    let scenario = Arc::new(scenario);
    let target = Arc::new(Target::resolve(url, &[]).expect("a target on this machine"));
    let mut gauges = Vec::new();
    let mut threads = Vec::new();
    for index in 0..workers {
        let own = Arc::new(Gauges::default());
        gauges.push(Arc::clone(&own));
        let parts = Parts {
            scenario: Arc::clone(&scenario),
            target: Arc::clone(&target),
            share: Share { index, of: workers },
            clock,
            queue: queue.clone(),
            lost: Arc::clone(&lost),
            stop: stop.clone(),
            gauges: own,
            cpu: None,
        };
        threads.push(spawn(parts).expect("a worker"));
    }
    drop(queue);
    let begun = Instant::now();
    let mut operations = Vec::new();
    loop {
        let left = LONGEST
            .checked_sub(begun.elapsed())
            .expect("a run that ends in time");
        match batches.recv_timeout(left) {
            Ok(batch) => operations.extend(batch.operations),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("the run has not ended after {LONGEST:?}"),
        }
    }
    for thread in threads {
        thread
            .join()
            .expect("a worker does not panic")
            .expect("a whole run");
    }
    assert_eq!(lost.load(Ordering::SeqCst), 0);
    for gauges in &gauges {
        assert!(gauges.ended.load(Ordering::SeqCst));
        assert!(gauges.cpu_ns.load(Ordering::SeqCst) > 0);
        assert_eq!(gauges.connections.load(Ordering::SeqCst), 0);
        assert_eq!(gauges.waiting.load(Ordering::SeqCst), 0);
    }
    Outcome {
        clock,
        operations,
        gauges,
    }
}

/// A stage of constant arrivals.
pub(crate) fn rate(per_second: f64, milliseconds: u64) -> Stage {
    let load = Load::Rate {
        from: per_second,
        to: per_second,
        arrival: Arrival::Constant,
    };
    stage(load, milliseconds)
}

/// A stage of virtual users.
pub(crate) fn users(from: u32, to: u32, milliseconds: u64) -> Stage {
    stage(Load::Users { from, to }, milliseconds)
}

fn stage(load: Load, milliseconds: u64) -> Stage {
    Stage {
        name: "stage".to_owned(),
        duration: Duration::from_millis(milliseconds),
        load,
    }
}

/// A single request of a method.
pub(crate) fn request(method: &str) -> Journey {
    let step = Step {
        endpoint: 0,
        method: method.to_owned(),
        path: Template::literal("/"),
        headers: Vec::new(),
        body: None,
        checks: Vec::new(),
        captures: Vec::new(),
        think: None,
    };
    Journey {
        name: method.to_owned(),
        weight: 1.0,
        steps: vec![step],
        cookies: false,
    }
}

/// GET requests in these stages.
pub(crate) fn scenario(stages: Vec<Stage>) -> Scenario {
    Scenario {
        name: "test".to_owned(),
        seed: 1,
        text: String::new(),
        hash: String::new(),
        warm_up: Duration::ZERO,
        drain: Duration::from_secs(5),
        stages,
        http: HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections: 64,
            streams: 1,
            waiting: 1_000,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            redirects: 0,
            compression: false,
            max_answer_bytes: 100_000,
            insecure: false,
            ca: None,
            headers: Vec::new(),
        },
        journeys: vec![request("GET")],
        websockets: Vec::new(),
        feeds: BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: vec!["root".to_owned()],
    }
}
