//! Measures what a WebSocket connection costs on the client's side: memory when idle, connects per
//! second, and round trips per CPU-second beside raw TCP that sends the same bytes at the same times.
//! Runs `ws_bare_server` beside itself (build it first); everything is over after some 25 s. `idle`,
//! `64` or `19900` as its argument measures that part alone, `raw CONNECTIONS` raw TCP alone.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use driftline_loadgen::recorder::{Batch, Tape};
use driftline_loadgen::scenario::{
    HttpOptions, HttpVersion, Load, Pattern, Scenario, Stage, Template, WebSocket,
    WebSocketEndpoints,
};
use driftline_loadgen::target::Target;
use driftline_loadgen::worker::{Context, Gauges, Share};
use driftline_loadgen::{RunClock, Stop, websocket};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// Round trips per second, about half of what two cores can do.
const RATE: u64 = 40_000;
const SIZE: u32 = 64;
const MEASURED: Duration = Duration::from_secs(3);
/// A raw message is as long as a frame with its header and mask.
const RAW_BYTES: usize = SIZE as usize + 6;
const TIMER: u64 = u64::MAX;

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(mode: &str) -> io::Result<Self> {
        let path = std::env::current_exe()?.with_file_name("ws_bare_server");
        let mut child = Command::new(path)
            .arg(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, address })
    }

    /// CPU time of the server and of this process, in seconds.
    fn cpu(&self) -> io::Result<(f64, f64)> {
        Ok((cpu(&self.child.id().to_string())?, cpu("self")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu(process: &str) -> io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}

fn kib(file: &str, key: &str) -> io::Result<f64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0.0))
}

fn scenario(connections: u32, seconds: u64, pattern: Pattern) -> Scenario {
    Scenario {
        name: "measure".to_owned(),
        seed: 1,
        text: String::new(),
        hash: String::new(),
        warm_up: Duration::ZERO,
        drain: Duration::from_secs(5),
        stages: vec![Stage {
            name: "1".to_owned(),
            duration: Duration::from_secs(seconds),
            load: Load::Hold,
        }],
        http: HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections: 1,
            streams: 1,
            waiting: 1,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            redirects: 0,
            compression: false,
            max_answer_bytes: 1 << 20,
            insecure: false,
            ca: None,
            headers: Vec::new(),
        },
        journeys: Vec::new(),
        websockets: vec![WebSocket {
            name: "ws".to_owned(),
            path: Template::literal("/"),
            headers: Vec::new(),
            connections,
            // As fast as it can.
            connect_rate: 1e9,
            pattern,
            reconnect: None,
            timeout: Duration::from_secs(10),
            endpoints: WebSocketEndpoints {
                connect: 0,
                message: 1,
                delivery: 2,
                ping: 3,
                close: 4,
            },
        }],
        feeds: BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: Vec::new(),
    }
}

struct Run {
    gauges: Arc<Gauges>,
    batches: Receiver<Batch>,
    clock: RunClock,
    worker: std::thread::JoinHandle<()>,
}

fn start(scenario: Scenario, address: SocketAddr) -> Run {
    let gauges = Arc::new(Gauges::default());
    let theirs = Arc::clone(&gauges);
    let (queue, batches) = sync_channel(1_024);
    let clock = RunClock::starting_in(Duration::from_millis(10));
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            websocket::run(Context {
                scenario: Arc::new(scenario),
                target: Arc::new(Target {
                    url: url::Url::parse("ws://localhost").expect("a URL"),
                    tls: false,
                    host: "localhost".to_owned(),
                    authority: "localhost".to_owned(),
                    addresses: vec![address],
                }),
                share: Share { index: 0, of: 1 },
                clock,
                tape: Tape::new(0, queue, Arc::new(AtomicU64::new(0))),
                stop: Stop::new(),
                gauges: theirs,
            })
            .await;
        });
    });
    Run {
        gauges,
        batches,
        clock,
        worker,
    }
}

impl Run {
    /// Waits until all are open; seconds from the first connect.
    fn wait_open(&self, connections: u32) -> f64 {
        let limit = Instant::now() + Duration::from_secs(5);
        while self.gauges.connections.load(Ordering::Relaxed) < i64::from(connections)
            && Instant::now() < limit
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.clock.now_ns() as f64 / 1e9
    }
}

fn idle(connections: u32) -> io::Result<()> {
    let server = Server::start("ws")?;
    let (rss, slab) = (
        kib("/proc/self/status", "VmRSS")?,
        kib("/proc/meminfo", "Slab")?,
    );
    let ping = Duration::from_secs(2);
    let run = start(
        scenario(connections, 3, Pattern::Idle { ping }),
        server.address,
    );
    let seconds = run.wait_open(connections);
    let (rss_after, slab_after) = (
        kib("/proc/self/status", "VmRSS")?,
        kib("/proc/meminfo", "Slab")?,
    );
    let per = |kib: f64| kib / f64::from(connections);
    println!(
        "idle {connections}: {:.0} connects/s; process {:.2} KiB, kernel (both ends, half) {:.2} KiB per connection",
        f64::from(connections) / seconds,
        per(rss_after - rss),
        per(slab_after - slab) / 2.0
    );
    run.worker.join().expect("the worker lives");
    let failed = run
        .batches
        .iter()
        .flat_map(|batch| batch.operations)
        .filter(|operation| operation.failure.is_some());
    println!("idle {connections}: {} failures", failed.count());
    Ok(())
}

fn print(name: &str, connections: u32, count: u64, (server, client): (f64, f64)) {
    println!(
        "{name} {connections}: {count} round trips in {:.1} s; µs of CPU per round trip: client {:.2}, server {:.2}; per CPU-second: client {:.0}, both {:.0}",
        MEASURED.as_secs_f64(),
        client * 1e6 / count as f64,
        server * 1e6 / count as f64,
        count as f64 / client,
        count as f64 / (client + server),
    );
}

fn echo(connections: u32) -> io::Result<()> {
    let server = Server::start("ws")?;
    let every = Duration::from_nanos(u64::from(connections) * 1_000_000_000 / RATE);
    let run = start(
        scenario(connections, 6, Pattern::Echo { every, size: SIZE }),
        server.address,
    );
    run.wait_open(connections);
    std::thread::sleep(Duration::from_millis(500));
    let (from, before) = (run.clock.now_ns(), server.cpu()?);
    std::thread::sleep(MEASURED);
    let (until, after) = (run.clock.now_ns(), server.cpu()?);
    run.worker.join().expect("the worker lives");
    let operations: Vec<_> = run
        .batches
        .iter()
        .flat_map(|batch| batch.operations)
        .collect();
    let good = operations.iter().filter(|it| {
        it.endpoint == 1 && it.failure.is_none() && (from..until).contains(&it.done_ns)
    });
    let count = good.count() as u64;
    let spent = (after.0 - before.0, after.1 - before.1);
    print("websocket", connections, count, spent);
    let mut late: Vec<u64> = operations
        .iter()
        .filter(|it| it.endpoint == 1 && (from..until).contains(&it.intended_ns))
        .map(|it| it.sent_ns.saturating_sub(it.intended_ns) / 1_000)
        .collect();
    late.sort_unstable();
    let Some(last) = late.len().checked_sub(1) else {
        return Err(io::Error::other("nothing was sent while it was measured"));
    };
    println!(
        "websocket {connections}: sends late by p50 {} µs, p99 {} µs; {} failures",
        late[last / 2],
        late[last * 99 / 100],
        operations.iter().filter(|it| it.failure.is_some()).count()
    );
    Ok(())
}

/// The same bytes at the same times without a protocol, and without a record.
fn raw(connections: u32) -> io::Result<()> {
    let server = Server::start("raw")?;
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&poller, &timer, EventData::new_u64(TIMER), flags)?;
    let mut sockets = Vec::new();
    for number in 0..connections {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        let source = IpAddr::from(Ipv4Addr::from_bits(0x7f00_0002 + number / 4_000));
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect(&server.address.into())?;
        let socket: TcpStream = socket.into();
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(&poller, &socket, EventData::new_u64(number.into()), flags)?;
        sockets.push(socket);
    }
    let mut events: Vec<Event> = Vec::with_capacity(256);
    let message = [b'.'; RAW_BYTES];
    let mut buffer = vec![0; 64 * 1024];
    let begin = Instant::now();
    let (mut sent, mut received, mut before) = (0u64, 0u64, None);
    let warm_up = Duration::from_millis(500);
    loop {
        let elapsed = begin.elapsed();
        if elapsed >= warm_up && before.is_none() {
            before = Some((server.cpu()?, received));
        }
        if elapsed >= warm_up + MEASURED {
            break;
        }
        let due = elapsed.as_nanos() as u64 * RATE / 1_000_000_000;
        while sent < due {
            let at = (sent % u64::from(connections)) as usize;
            sockets[at].write_all(&message)?;
            sent += 1;
        }
        let wait = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: 50_000,
            },
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &wait)?;
        events.clear();
        epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let mark = event.data.u64();
            if mark != TIMER {
                received += sockets[mark as usize].read(&mut buffer)? as u64;
            }
        }
    }
    let (before, received_before) = before.expect("measured after the warm-up");
    let after = server.cpu()?;
    let count = (received - received_before) / RAW_BYTES as u64;
    let spent = (after.0 - before.0, after.1 - before.1);
    print("raw TCP", connections, count, spent);
    Ok(())
}

fn main() -> io::Result<()> {
    let wanted = std::env::args().nth(1);
    if wanted.as_deref() == Some("raw") {
        let connections = std::env::args().nth(2).and_then(|text| text.parse().ok());
        return raw(connections.expect("a number of connections"));
    }
    let is_wanted = |part: &str| wanted.as_deref().is_none_or(|wanted| wanted == part);
    if is_wanted("idle") {
        idle(10_000)?;
    }
    for connections in [64, 19_900] {
        if is_wanted(&connections.to_string()) {
            raw(connections)?;
            echo(connections)?;
        }
    }
    Ok(())
}
