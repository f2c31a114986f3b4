//! A bare HTTP/2 server by hyper on one thread, and requests against it from another, to see what a
//! request costs the client alone. Give each its own core:
//!
//! ```text
//! taskset -c 0 h2_bare_server serve 127.0.0.1:8099
//! taskset -c 1 h2_bare_server load 127.0.0.1:8099 CONNECTIONS STREAMS SECONDS
//! taskset -c 1 h2_bare_server journeys 127.0.0.1:8099 CONNECTIONS STREAMS SECONDS
//! taskset -c 1 h2load -c CONNECTIONS -m STREAMS -D SECONDS -t 1 http://127.0.0.1:8099/
//! ```
//!
//! `load` is a worker in the closed model, as in a run, on its fast path; `journeys` makes the same
//! requests as journeys are made. Both put every operation on a tape whose batches are only counted.
//! For each line of its standard input `serve` prints how many requests it has answered.

#[path = "bare/told.rs"]
mod told;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use driftline_loadgen::journey::{Client, User};
use driftline_loadgen::recorder::{Batch, Tape};
use driftline_loadgen::scenario::{HttpOptions, HttpVersion, Journey, Load, Stage, Step, Template};
use driftline_loadgen::target::Target;
use driftline_loadgen::worker::{Context, Gauges, Parts, Share, spawn};
use driftline_loadgen::{RunClock, Scenario, Stop};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, LocalSet};

type Failed = Box<dyn Error + Send + Sync>;

const USAGE: &str =
    "usage: h2_bare_server serve ADDRESS | load|journeys ADDRESS CONNECTIONS STREAMS SECONDS";
const BODY: &[u8] = b"ok";

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", address] => runtime.block_on(serve(address.parse()?)),
        [
            way @ ("load" | "journeys"),
            address,
            connections,
            streams,
            seconds,
        ] => {
            let http = options(connections.parse()?, streams.parse()?);
            let duration = Duration::from_secs(seconds.parse()?);
            let address = address.parse()?;
            match *way {
                "load" => load(address, http, duration),
                _ => LocalSet::new().block_on(&runtime, journeys(address, http, duration)),
            }
        }
        _ => Err(USAGE.into()),
    }
}

async fn serve(address: SocketAddr) -> Result<(), Failed> {
    let listener = TcpListener::bind(address).await?;
    let answered = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answered);
    // Started in the background it has no input, and serves all the same.
    told::on_request(move || counted.load(Ordering::Relaxed).to_string(), || {});
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answered = Arc::clone(&answered);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                answered.fetch_add(1, Ordering::Relaxed);
                answer(request)
            });
            let served = http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(1_000)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}

async fn answer(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(BODY))))
}

fn load(address: SocketAddr, http: HttpOptions, duration: Duration) -> Result<(), Failed> {
    let users = http.connections * http.streams;
    let mut scenario = scenario(http);
    scenario.drain = Duration::from_secs(1);
    scenario.stages = vec![Stage {
        name: "1".to_owned(),
        duration,
        load: Load::Users {
            from: users,
            to: users,
        },
    }];
    let (queue, batches) = sync_channel(1_024);
    let parts = Parts {
        scenario: Arc::new(scenario),
        target: Arc::new(target(address)?),
        share: Share { index: 0, of: 1 },
        clock: RunClock::starting_in(Duration::ZERO),
        queue,
        lost: Arc::new(AtomicU64::new(0)),
        stop: Stop::new(),
        gauges: Arc::new(Gauges::default()),
        cpu: None,
    };
    let counting = std::thread::spawn(move || count(&batches));
    let worker = spawn(parts)?;
    worker.join().map_err(|_| "the worker failed")??;
    report(counting, duration)
}

async fn journeys(
    address: SocketAddr,
    http: HttpOptions,
    duration: Duration,
) -> Result<(), Failed> {
    let users = u64::from(http.connections) * u64::from(http.streams);
    let (context, batches) = context(address, http)?;
    let client = Client::new(&context)?;
    let until_ns = u64::try_from(duration.as_nanos())?;
    let counting = std::thread::spawn(move || count(&batches));
    let mut tasks = JoinSet::new();
    for number in 0..users {
        let (context, client) = (context.clone(), client.clone());
        tasks.spawn_local(async move {
            let mut user = User::new(&context, number);
            let journey = &context.scenario.journeys[0];
            loop {
                let now_ns = context.clock.now_ns();
                if now_ns >= until_ns {
                    return;
                }
                client.iterate(&mut user, journey, now_ns).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    context.tape.flush();
    drop((client, context));
    report(counting, duration)
}

fn report(counting: JoinHandle<(u64, u64)>, duration: Duration) -> Result<(), Failed> {
    let (good, failed) = counting.join().map_err(|_| "the counting thread failed")?;
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_us = u64::try_from(cpu.tv_sec)? * 1_000_000 + u64::try_from(cpu.tv_nsec)? / 1_000;
    println!(
        "{:.0} requests/s, {good} good, {failed} failed, {:.2} us of CPU each",
        good as f64 / duration.as_secs_f64(),
        cpu_us as f64 / good as f64,
    );
    Ok(())
}

fn count(batches: &Receiver<Batch>) -> (u64, u64) {
    let (mut good, mut failed) = (0, 0);
    for operation in batches.iter().flat_map(|batch| batch.operations) {
        let is_whole = operation.status == 200 && operation.bytes == BODY.len() as u64;
        if operation.failure.is_none() && is_whole {
            good += 1;
        } else {
            failed += 1;
        }
    }
    (good, failed)
}

fn context(address: SocketAddr, http: HttpOptions) -> Result<(Context, Receiver<Batch>), Failed> {
    let (queue, batches) = sync_channel(1_024);
    let context = Context {
        scenario: Arc::new(scenario(http)),
        target: Arc::new(target(address)?),
        share: Share { index: 0, of: 1 },
        clock: RunClock::starting_in(Duration::ZERO),
        tape: Tape::new(0, queue, Arc::new(AtomicU64::new(0))),
        stop: Stop::new(),
        gauges: Arc::new(Gauges::default()),
    };
    Ok((context, batches))
}

fn target(address: SocketAddr) -> Result<Target, Failed> {
    Ok(Target {
        url: format!("http://{address}/").parse()?,
        tls: false,
        host: address.ip().to_string(),
        authority: address.to_string(),
        addresses: vec![address],
    })
}

fn options(connections: u32, streams: u32) -> HttpOptions {
    HttpOptions {
        version: HttpVersion::Http2,
        keep_alive: true,
        connections,
        streams,
        waiting: 1_000_000,
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        redirects: 0,
        compression: false,
        max_answer_bytes: 1 << 20,
        insecure: false,
        ca: None,
        headers: Vec::new(),
    }
}

fn scenario(http: HttpOptions) -> Scenario {
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
    let journey = Journey {
        name: "home".to_owned(),
        weight: 1.0,
        steps: vec![step],
        cookies: false,
    };
    Scenario {
        name: "bare".to_owned(),
        seed: 1,
        text: String::new(),
        hash: "0".repeat(16),
        warm_up: Duration::ZERO,
        drain: Duration::ZERO,
        stages: Vec::new(),
        http,
        journeys: vec![journey],
        websockets: Vec::new(),
        feeds: BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: vec!["home".to_owned()],
    }
}
