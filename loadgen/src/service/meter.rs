//! The service's metrics of itself, as OpenMetrics text.
//!
//! Each thread counts for itself, so that no counter is shared on the hot path; a reader adds up.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clerk::Occupancy;

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS_US: [u64; 12] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000,
];

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Only the owning thread may call this: a load and a store are cheaper than a locked addition.
    pub(crate) fn add(&self, more: u64) {
        self.0
            .store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// The same rule holds.
    pub(crate) fn subtract(&self, less: u64) {
        self.0
            .store(self.get().wrapping_sub(less), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Meter {
    /// By the first digit of the status; those without an answer at 0.
    pub(crate) requests: [Count; 6],
    pub(crate) duration_us: Count,
    buckets: [Count; BOUNDS_US.len() + 1],
    pub(crate) in_flight: Count,
    pub(crate) connections: Count,
    pub(crate) open_connections: Count,
    pub(crate) accept_failures: Count,
    pub(crate) sockets: Count,
    pub(crate) messages: Count,
    pub(crate) deliveries: Count,
    pub(crate) lost_deliveries: Count,
    pub(crate) slow_disconnects: Count,
}

impl Meter {
    /// Counts a request that ended.
    pub(crate) fn finish(&self, status: u16, duration: Duration) {
        let class = usize::from(status / 100).min(5);
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.requests[class].add(1);
        self.duration_us.add(us);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)].add(1);
    }
}

/// Requests that ended, over all threads.
pub(crate) fn requests(meters: &[Meter]) -> u64 {
    meters
        .iter()
        .flat_map(|meter| &meter.requests)
        .map(Count::get)
        .sum()
}

/// A count of each thread.
type Field = fn(&Meter) -> &Count;

/// Gauges and counters that are sums over the threads.
const GAUGES: [(&str, &str, Field); 3] = [
    (
        "requests_in_flight",
        "Requests read and not yet answered.",
        |m| &m.in_flight,
    ),
    ("connections_open", "Open connections.", |m| {
        &m.open_connections
    }),
    ("websockets_open", "Open WebSocket connections.", |m| {
        &m.sockets
    }),
];
const COUNTERS: [(&str, &str, Field); 6] = [
    ("connections", "Connections accepted.", |m| &m.connections),
    (
        "accept_failures",
        "Connections that could not be accepted.",
        |m| &m.accept_failures,
    ),
    ("websocket_messages", "Messages received.", |m| &m.messages),
    (
        "room_deliveries",
        "Messages queued for members of rooms.",
        |m| &m.deliveries,
    ),
    (
        "room_lost_deliveries",
        "Messages lost by slow members.",
        |m| &m.lost_deliveries,
    ),
    (
        "room_slow_disconnects",
        "Members disconnected for being too slow.",
        |m| &m.slow_disconnects,
    ),
];

/// The whole exposition. A `capacity` of `usize::MAX` is unlimited.
pub(crate) fn exposition(
    meters: &[Meter],
    occupancy: Occupancy,
    capacity: usize,
    log_lost: u64,
) -> String {
    let sum = |of: Field| {
        meters
            .iter()
            .map(|meter| of(meter).get())
            .sum::<u64>()
            .to_string()
    };
    let capacity = match capacity {
        usize::MAX => "+Inf".to_owned(),
        bounded => bounded.to_string(),
    };
    let mut text = String::with_capacity(4096);
    let requests = "Requests that ended, by class of status.";
    family(
        &mut text,
        "requests",
        "counter",
        requests,
        &by_class(meters),
    );
    let mut gauge = |name, help, value| {
        family(&mut text, name, "gauge", help, &[(String::new(), value)]);
    };
    for (name, help, of) in GAUGES {
        gauge(name, help, sum(of));
    }
    let Occupancy {
        serving,
        waiting,
        most_serving,
    } = occupancy;
    gauge(
        "queue_length",
        "Requests that wait for a slot.",
        waiting.to_string(),
    );
    gauge(
        "in_service",
        "Requests that hold a slot.",
        serving.to_string(),
    );
    gauge(
        "in_service_max",
        "The most that ever held a slot.",
        most_serving.to_string(),
    );
    gauge("capacity", "Slots.", capacity);
    let mut counter = |name, help, value| {
        family(
            &mut text,
            name,
            "counter",
            help,
            &[("_total".to_owned(), value)],
        );
    };
    for (name, help, of) in COUNTERS {
        counter(name, help, sum(of));
    }
    counter(
        "log_rows_lost",
        "Rows that the log had no room for.",
        log_lost.to_string(),
    );
    let duration = "Time from a request's first byte to the end of its answer.";
    family(
        &mut text,
        "request_duration_seconds",
        "histogram",
        duration,
        &histogram(meters),
    );
    text.push_str("# EOF\n");
    text
}

/// Writes a family; a sample is the suffix of its name with its labels, and its value.
fn family(text: &mut String, name: &str, kind: &str, help: &str, samples: &[(String, String)]) {
    let name = format!("driftline_target_{name}");
    // Writing to a string cannot fail.
    let _ = write!(text, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
    for (suffix, value) in samples {
        let _ = writeln!(text, "{name}{suffix} {value}");
    }
}

fn by_class(meters: &[Meter]) -> Vec<(String, String)> {
    let names = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let sample = |(class, name): (usize, &str)| {
        let total: u64 = meters.iter().map(|meter| meter.requests[class].get()).sum();
        (format!("_total{{status=\"{name}\"}}"), total.to_string())
    };
    names.into_iter().enumerate().map(sample).collect()
}

fn histogram(meters: &[Meter]) -> Vec<(String, String)> {
    let mut samples = Vec::with_capacity(BOUNDS_US.len() + 3);
    let mut so_far = 0u64;
    for at in 0..=BOUNDS_US.len() {
        so_far += meters
            .iter()
            .map(|meter| meter.buckets[at].get())
            .sum::<u64>();
        let bound = BOUNDS_US
            .get(at)
            .map_or("+Inf".to_owned(), |us| format!("{:?}", *us as f64 / 1e6));
        samples.push((format!("_bucket{{le=\"{bound}\"}}"), so_far.to_string()));
    }
    let seconds = meters
        .iter()
        .map(|meter| meter.duration_us.get())
        .sum::<u64>() as f64
        / 1e6;
    samples.push(("_sum".to_owned(), seconds.to_string()));
    samples.push(("_count".to_owned(), so_far.to_string()));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let meters = [Meter::default(), Meter::default()];
        meters[0].finish(200, Duration::from_micros(80));
        meters[1].finish(204, Duration::from_millis(3));
        meters[1].finish(503, Duration::from_secs(9));
        meters[0].open_connections.add(3);
        meters[0].open_connections.subtract(1);
        let occupancy = Occupancy {
            serving: 2,
            waiting: 1,
            most_serving: 2,
        };
        let text = exposition(&meters, occupancy, 2, 0);
        for line in [
            "driftline_target_requests_total{status=\"2xx\"} 2",
            "driftline_target_requests_total{status=\"5xx\"} 1",
            "driftline_target_connections_open 2",
            "driftline_target_queue_length 1",
            "driftline_target_capacity 2",
            "driftline_target_request_duration_seconds_bucket{le=\"0.0001\"} 1",
            "driftline_target_request_duration_seconds_bucket{le=\"0.005\"} 2",
            "driftline_target_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "driftline_target_request_duration_seconds_count 3",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(requests(&meters), 3);
    }
}
