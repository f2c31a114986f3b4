//! One worker at full speed: a closed model without pauses on one CPU, every operation recorded
//! into batches that a second thread counts. Prints what a comparison needs.
//!
//! `closed_loop URL CONNECTIONS SECONDS [CPU] [RATE]`: with a rate, an open model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use driftline_loadgen::recorder::Batch;
use driftline_loadgen::scenario::{
    Arrival, HttpOptions, HttpVersion, Journey, Load, Scenario, Stage, Step, Template,
};
use driftline_loadgen::target::Target;
use driftline_loadgen::worker::{Gauges, Parts, Share, spawn};
use driftline_loadgen::{Operation, RunClock, Stop};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, connections, seconds, rest @ ..] = arguments.as_slice() else {
        panic!("closed_loop URL CONNECTIONS SECONDS [CPU] [RATE]");
    };
    let connections: u32 = connections.parse().expect("a number of connections");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let cpu = rest.first().map(|text| text.parse().expect("a CPU"));
    let rate: Option<f64> = rest.get(1).map(|text| text.parse().expect("a rate"));
    let load = match rate {
        Some(rate) => Load::Rate {
            from: rate,
            to: rate,
            arrival: Arrival::Constant,
        },
        None => Load::Users {
            from: connections,
            to: connections,
        },
    };
    let (queue, batches) = sync_channel::<Batch>(256);
    let gauges = Arc::new(Gauges::default());
    let lost = Arc::new(AtomicU64::new(0));
    let parts = Parts {
        scenario: Arc::new(scenario(load, connections, seconds)),
        target: Arc::new(Target::resolve(url, &[]).expect("a target")),
        share: Share { index: 0, of: 1 },
        clock: RunClock::starting_in(Duration::from_millis(20)),
        queue,
        lost: Arc::clone(&lost),
        stop: Stop::new(),
        gauges: Arc::clone(&gauges),
        cpu,
    };
    let worker = spawn(parts).expect("a worker");
    let mut count = 0_u64;
    let mut failed = 0_u64;
    let mut lateness = Vec::new();
    for batch in batches {
        count += batch.operations.len() as u64;
        failed += batch
            .operations
            .iter()
            .filter(|operation| operation.failure.is_some())
            .count() as u64;
        if rate.is_some() {
            lateness.extend(batch.operations.iter().map(late_ns));
        }
    }
    worker.join().expect("no panic").expect("a whole run");
    let cpu_us = gauges.cpu_ns.load(Ordering::Relaxed) as f64 / 1e3;
    println!(
        "{:.0} req/s, {count} operations, {failed} failed, {} lost, {:.2} us of CPU each",
        count as f64 / seconds as f64,
        lost.load(Ordering::Relaxed),
        cpu_us / count as f64,
    );
    if !lateness.is_empty() {
        lateness.sort_unstable();
        let at =
            |quantile: f64| lateness[((lateness.len() - 1) as f64 * quantile) as usize] / 1_000;
        println!(
            "lateness of sends: p50 {} us, p99 {} us, p99.9 {} us",
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
}

fn late_ns(operation: &Operation) -> u64 {
    operation.sent_ns.saturating_sub(operation.intended_ns)
}

fn scenario(load: Load, connections: u32, seconds: u64) -> Scenario {
    let step = Step {
        endpoint: 0,
        method: "GET".to_owned(),
        path: Template::literal("/"),
        headers: Vec::new(),
        body: None,
        checks: Vec::new(),
        captures: Vec::new(),
        think: None,
    };
    Scenario {
        name: "closed loop".to_owned(),
        seed: 1,
        text: String::new(),
        hash: String::new(),
        warm_up: Duration::ZERO,
        drain: Duration::from_secs(1),
        stages: vec![Stage {
            name: "1".to_owned(),
            duration: Duration::from_secs(seconds),
            load,
        }],
        http: HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections,
            streams: 1,
            waiting: 10_000,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            redirects: 0,
            compression: false,
            max_answer_bytes: 1 << 20,
            insecure: false,
            ca: None,
            headers: Vec::new(),
        },
        journeys: vec![Journey {
            name: "root".to_owned(),
            weight: 1.0,
            steps: vec![step],
            cookies: false,
        }],
        websockets: Vec::new(),
        feeds: std::collections::BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: vec!["root".to_owned()],
    }
}
