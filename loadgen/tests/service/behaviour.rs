//! Latency, capacity, failures, slowdowns and stalls, judged by the service's own log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use driftline_loadgen::service::{Distribution, LogRow, Service};

use crate::support::{Client, PATIENCE, await_metric, get, log_of, metric, service};

const MS: Duration = Duration::from_millis(1);

fn constant(time: Duration) -> Distribution {
    Distribution::Constant {
        seconds: time.as_secs_f64(),
    }
}

/// Loads `/` from that many connections, one request at a time each, until the log has `rows`.
fn load(service: &Service, connections: usize, rows: usize) -> Vec<LogRow> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut client = Client::new(service);
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
        let log = log_of(service, rows);
        done.store(true, Ordering::Relaxed);
        log
    })
}

#[test]
fn latency_is_never_short() {
    for us in [300, 5_000] {
        let service = service(|config| config.knobs.latency = constant(Duration::from_micros(us)));
        let mut client = Client::new(&service);
        for _ in 0..20 {
            client.get("/");
        }
        // Both times are cut to whole microseconds.
        let least = us as i64 - 1;
        let log = log_of(&service, 20);
        assert!(
            log.iter().all(|row| row.end_us - row.arrival_us >= least),
            "{log:?}"
        );
    }
}

#[test]
fn a_planted_slowdown_strikes_its_path_alone() {
    let service = service(|config| {
        config.slow_path = "/items/1".to_owned();
        config.knobs.slow_add = 20 * MS;
    });
    let mut client = Client::new(&service);
    for path in ["/items/1", "/items/1?q=2", "/items/10", "/items", "/"] {
        assert_eq!(client.get(path).status, 200);
    }
    let log = log_of(&service, 5);
    let slow = |row: &LogRow| row.path.starts_with("/items/1") && !row.path.ends_with('0');
    for row in &log {
        // Both times are cut to whole microseconds.
        let took = row.end_us - row.arrival_us;
        assert!(!slow(row) || took >= 20_000 - 1, "{row:?}");
    }
    let struck = log
        .iter()
        .filter(|row| row.end_us - row.arrival_us >= 20_000 - 1);
    assert_eq!(struck.filter(|row| slow(row)).count(), 2, "{log:?}");
}

#[test]
fn the_capacity_holds_and_the_queue_is_bounded() {
    let service = service(|config| {
        config.capacity = 3;
        config.knobs.service_time = constant(2 * MS);
    });
    let log = load(&service, 12, 200);
    assert_eq!(service.most_in_service(), 3);
    assert!(
        log.iter().any(|row| row.start_us > row.arrival_us + 1_000),
        "nobody waited"
    );
    service.stop().expect("it stops");
}

#[test]
fn a_full_queue_refuses() {
    let service = service(|config| {
        config.capacity = 1;
        config.queue = 1;
        // Without a service time, the latency holds the slot.
        config.knobs.latency = constant(600_000 * MS);
    });
    let mut clients = [(); 3].map(|()| Client::new(&service));
    clients[0].send(get("/", ""));
    await_metric(&service, "in_service", |n| n == 1);
    clients[1].send(get("/", ""));
    await_metric(&service, "queue_length", |n| n == 1);
    let refused = clients[2].get("/");
    assert_eq!(
        (refused.status, refused.field("retry-after").as_deref()),
        (503, Some("1"))
    );
    assert_eq!(
        clients[2].get("/health").status,
        200,
        "its health can still be asked for"
    );
    assert_eq!(metric(&service, "capacity"), 1);
    service.stop().expect("it stops with requests in service");
}

#[test]
fn throughput_follows_the_universal_scalability_law() {
    let (n, contention, coherency, service_ms) = (8.0, 0.1, 0.01, 10.0);
    let service = service(|config| {
        config.capacity = 8;
        config.contention = contention;
        config.coherency = coherency;
        config.knobs.service_time = constant(10 * MS);
    });
    // Five times as many as are served, so that a slow machine does not empty the queue. Starts from
    // the queue are exact times of the model.
    let log = load(&service, 40, 400);
    let mut starts: Vec<i64> = log.iter().map(|row| row.start_us).collect();
    starts.sort_unstable();
    let (first, last) = (starts[40], starts[360]);
    let per_s = 320.0 / ((last - first) as f64 / 1e6);
    let law = n / (service_ms / 1e3 * (1.0 + contention * (n - 1.0) + coherency * n * (n - 1.0)));
    assert!(
        (per_s / law - 1.0).abs() < 0.05,
        "{per_s}/s instead of {law}/s"
    );
}

#[test]
fn failures_have_their_rate_spare_the_health_and_repeat_with_their_seed() {
    let statuses = |seed: u64| {
        let service = service(|config| {
            config.seed = seed;
            config.knobs.error_rate = 0.3;
        });
        let mut client = Client::new(&service);
        let statuses: Vec<u16> = (0..200).map(|_| client.get("/").status).collect();
        assert!((0..20).all(|_| client.get("/health").status == 200));
        statuses
    };
    let first = statuses(7);
    assert_eq!(first, statuses(7));
    assert_ne!(first, statuses(8));
    let failed = first.iter().filter(|status| **status == 500).count();
    assert!((30..90).contains(&failed), "{failed}");
}

#[test]
fn a_slowdown_can_be_planted_while_it_runs() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.get("/?before");
    service.control().set_slowdown(1.0, 30 * MS);
    client.get("/?after");
    let log = log_of(&service, 2);
    let took = |query: &str| {
        let row = log
            .iter()
            .find(|row| row.path.ends_with(query))
            .expect("logged");
        row.end_us - row.arrival_us
    };
    assert!(took("after") >= 30_000);
    assert!(took("before") < took("after"));
}

#[test]
fn nothing_is_answered_during_a_stall_but_connections_are_accepted() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.get("/?before");
    assert!(service.control().stall(400 * MS));
    // The threads may be late to stall, so whoever is answered before tries again.
    let start = Instant::now();
    let longest = loop {
        let mut fresh = Client::new(&service);
        let sent = Instant::now();
        assert_eq!(fresh.get("/").status, 200);
        let took = sent.elapsed();
        if took > 200 * MS || start.elapsed() > 2 * PATIENCE {
            break took;
        }
    };
    assert!(longest > 200 * MS, "{longest:?}");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_stall_holds_the_slots_too() {
    let service = service(|config| {
        config.capacity = 1;
        config.knobs.service_time = constant(600 * MS);
    });
    let mut client = Client::new(&service);
    client.send(get("/", ""));
    await_metric(&service, "in_service", |n| n == 1);
    // Both the rest of the service and the queue wait for the end of the stall.
    assert!(service.control().stall(300 * MS));
    client.receive();
    client.get("/");
    // A connection logs one answer before it reads the next request.
    client.get("/health");
    let log = service.log();
    let rows: Vec<&LogRow> = log.iter().filter(|row| &*row.path == "/").collect();
    let took = |row: &LogRow| row.end_us - row.arrival_us;
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter().map(|row| took(row)).sum::<i64>() >= 1_500_000 - 10,
        "{rows:?}"
    );
}

#[test]
fn control_is_refused_unless_allowed() {
    let refusing = service(|_| {});
    let body = r#"{"slow_add_ms":5,"latency":"1ms"}"#;
    assert_eq!(
        Client::new(&refusing).post("/control", "", body).status,
        403
    );
    assert_eq!(refusing.control().knobs().slow_add, Duration::ZERO);

    let allowing = service(|config| config.allow_control = true);
    let mut client = Client::new(&allowing);
    let response = client.post("/control", "", body);
    assert_eq!(
        (response.status, response.json()["latency"].as_str()),
        (200, Some("1ms"))
    );
    assert_eq!(allowing.control().knobs().slow_add, 5 * MS);
    for wrong in [
        r#"{"slow_add_ms":-1,"latency":"9ms"}"#,
        r#"{"latency":"fast"}"#,
        r#"{"latency":"9ms","unknown":1}"#,
        r#"{"latency":"9ms","stall":"1000s"}"#,
        "",
    ] {
        assert_eq!(client.post("/control", "", wrong).status, 400, "{wrong}");
    }
    assert_eq!(
        allowing.control().knobs().latency,
        constant(MS),
        "a wrong request changes nothing"
    );
}
