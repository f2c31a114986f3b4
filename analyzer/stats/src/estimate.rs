//! What a change would be worth: the estimates that recommendations carry.
//!
//! Each is a plain formula with a stated range. Outside of it the answer is that there is none,
//! since a wrong figure would decide what is done first.

/// The queueing formulas describe a steady state. Near saturation it takes long to be reached:
/// about 1 / (1 − √ρ)² service times (relaxation time of M/M/1: Cohen, "The single server queue",
/// 1982, II.2; Morse, "Queues, inventories and maintenance", 1958), 1,560 at this utilisation.
/// Above it windows of minutes show the queue growing rather than its length.
pub const MOST_UTILISATION: f64 = 0.95;
/// More servers than this are not reckoned with one by one.
pub const MOST_SERVERS: u32 = 100_000;
const SECONDS_PER_HOUR: f64 = 3_600.0;

/// How a resource serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Arrivals wait for one of so many servers: connections of a pool, workers. Exponential
    /// service times, Poisson arrivals (M/M/c). With steadier service it overstates the waiting,
    /// with more variable service it understates it.
    Servers(u32),
    /// All are served at once, each with its part of the whole (M/G/1-PS): a processor, a disk with
    /// deep queues. The mean does not depend on how service times vary.
    Shared,
}

/// An estimate, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimate {
    /// The figure.
    Value(f64),
    /// Above [`MOST_UTILISATION`] the formulas do not hold; at 1 the queue has no end.
    Saturated {
        /// The utilisation that is too high.
        utilisation: f64,
    },
    /// An input is not a number that it can be.
    Invalid(&'static str),
}

impl Estimate {
    /// The figure, where there is one.
    pub fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::Saturated { .. } | Self::Invalid(_) => None,
        }
    }

    /// Another figure made of this one.
    pub fn map(self, f: impl FnOnce(f64) -> f64) -> Self {
        match self {
            Self::Value(value) => Self::Value(f(value)),
            other => other,
        }
    }
}

/// E3: mean response time in units of the mean service time.
///
/// M/M/c: 1 + C(c, a) / (c (1 − ρ)), with Erlang's C (Kleinrock, "Queueing systems" I, 1975, 3.5).
/// M/G/1-PS: 1 / (1 − ρ) (Kleinrock, "Time-shared systems: a theoretical treatment", J. ACM 14,
/// 1967; for general service times Sakata, Noguchi and Oizumi, Operations Research 19, 1971).
pub fn response(queue: Queue, utilisation: f64) -> Estimate {
    if !(utilisation >= 0.0 && utilisation.is_finite()) {
        return Estimate::Invalid("a utilisation is a number from 0 on");
    }
    if utilisation > MOST_UTILISATION {
        return Estimate::Saturated { utilisation };
    }
    match queue {
        Queue::Shared => Estimate::Value(1.0 / (1.0 - utilisation)),
        Queue::Servers(0) => Estimate::Invalid("there is at least one server"),
        Queue::Servers(many) if many > MOST_SERVERS => {
            Estimate::Invalid("there are at most 100,000 servers")
        }
        Queue::Servers(servers) => {
            let waiting = erlang_c(servers, f64::from(servers) * utilisation);
            Estimate::Value(1.0 + waiting / (f64::from(servers) * (1.0 - utilisation)))
        }
    }
}

/// E3: how the mean response time changes from one utilisation to another, as a ratio: 0.5 for half.
/// The service time cancels, so that it need not be known.
pub fn response_ratio(queue: Queue, from: f64, to: f64) -> Estimate {
    match (response(queue, from), response(queue, to)) {
        (Estimate::Value(before), after) => after.map(|after| after / before),
        (none, _) => none,
    }
}

/// The utilisation of servers by the utilisation law (Denning and Buzen, "The operational analysis
/// of queueing network models", ACM Computing Surveys 10, 1978): rate times service time, per
/// server.
pub fn utilisation(rate_per_s: f64, service_s: f64, servers: u32) -> Estimate {
    if servers == 0 {
        return Estimate::Invalid("there is at least one server");
    }
    match (known(rate_per_s), known(service_s)) {
        (true, true) => Estimate::Value(rate_per_s * service_s / f64::from(servers)),
        _ => Estimate::Invalid("a rate and a service time are numbers from 0 on"),
    }
}

/// E1: the share of a server's time that a cheaper plan of one statement saves: its share of the
/// time, times the share of its cost that goes. Costs have any unit, but the same. A plan that is
/// not cheaper saves nothing.
///
/// This is Amdahl's law ("Validity of the single processor approach", 1967) for one statement. Only
/// the *share* of a planner's cost is trustworthy: it is no time.
pub fn saved_by_plan(share_of_time: f64, cost: f64, cheaper_cost: f64) -> Estimate {
    if !(0.0..=1.0).contains(&share_of_time) {
        return Estimate::Invalid("a share of time is from 0 to 1");
    }
    if !(cost > 0.0 && cost.is_finite() && known(cheaper_cost)) {
        return Estimate::Invalid("a cost is a positive number");
    }
    Estimate::Value(share_of_time * (1.0 - cheaper_cost / cost).max(0.0))
}

/// E2: seconds saved per hour if a share of requests more is answered by a cache. What it costs to
/// miss is the difference to a hit, both measured at the client of the cache.
pub fn saved_by_hits(rate_per_s: f64, hits_added: f64, miss_s: f64, hit_s: f64) -> Estimate {
    if !(-1.0..=1.0).contains(&hits_added) {
        return Estimate::Invalid("a difference of shares is from -1 to 1");
    }
    if !(known(rate_per_s) && known(miss_s) && known(hit_s)) {
        return Estimate::Invalid("a rate and times are numbers from 0 on");
    }
    Estimate::Value(rate_per_s * SECONDS_PER_HOUR * hits_added * (miss_s - hit_s))
}

/// E4: seconds saved per hour if something returns to what it was. Nothing where it is no worse.
pub fn saved_by_return(observed_s: f64, baseline_s: f64, rate_per_s: f64) -> Estimate {
    if !(known(observed_s) && known(baseline_s) && known(rate_per_s)) {
        return Estimate::Invalid("a rate and times are numbers from 0 on");
    }
    Estimate::Value((observed_s - baseline_s).max(0.0) * rate_per_s * SECONDS_PER_HOUR)
}

/// The priority of a recommendation: saved seconds per hour times confidence, by the risk's weight.
pub fn priority(saved_s_per_h: f64, confidence: f64, risk_weight: f64) -> Estimate {
    if !(known(saved_s_per_h) && (0.0..=1.0).contains(&confidence) && risk_weight >= 1.0) {
        return Estimate::Invalid("a confidence is from 0 to 1, a weight at least 1");
    }
    Estimate::Value(saved_s_per_h * confidence / risk_weight)
}

fn known(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

/// The probability to wait, of Erlang's second formula, by the recurrence of the first: B(0) = 1,
/// B(n) = a B(n − 1) / (n + a B(n − 1)), which neither overflows nor cancels (Jagerman, "Some
/// properties of the Erlang loss function", Bell System Technical Journal 53, 1974).
fn erlang_c(servers: u32, offered: f64) -> f64 {
    let blocked = (1..=servers).fold(1.0, |blocked, n| {
        offered * blocked / (f64::from(n) + offered * blocked)
    });
    let utilisation = offered / f64::from(servers);
    blocked / (1.0 - utilisation * (1.0 - blocked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn close(found: Estimate, want: f64, within: f64) {
        let value = found.value().unwrap_or(f64::NAN);
        assert!(
            (value / want - 1.0).abs() <= within,
            "{found:?} is not {want}"
        );
    }

    #[test]
    fn waiting_agrees_with_published_values() {
        // Erlang C tables: 10 servers, 7 erlangs: 0.2217; 2 servers, 1 erlang: exactly 1/3.
        assert!(
            (erlang_c(10, 7.0) - 0.2217).abs() < 5e-5,
            "{}",
            erlang_c(10, 7.0)
        );
        assert!((erlang_c(2, 1.0) - 1.0 / 3.0).abs() < 1e-12);
        // One server is M/M/1, whose mean is that of processor sharing.
        for utilisation in [0.0, 0.3, 0.9] {
            close(
                response(Queue::Servers(1), utilisation),
                1.0 / (1.0 - utilisation),
                1e-12,
            );
            close(
                response(Queue::Shared, utilisation),
                1.0 / (1.0 - utilisation),
                1e-12,
            );
        }
        // M/M/2 has the closed form 1 / (1 - ρ²).
        close(response(Queue::Servers(2), 0.8), 1.0 / (1.0 - 0.64), 1e-12);
        close(response(Queue::Servers(MOST_SERVERS), 0.9), 1.0, 1e-6);
    }

    /// Mean response of a queue with several servers, by Kiefer and Wolfowitz' recurrence.
    fn simulated(servers: usize, utilisation: f64, requests: usize, seed: u64) -> f64 {
        let mut noise = Noise::new(seed);
        let mut free_at = vec![0.0_f64; servers];
        let (mut now, mut total) = (0.0, 0.0);
        for _ in 0..requests {
            now -= noise.uniform().ln() / (utilisation * servers as f64);
            let service = -noise.uniform().ln();
            let next = free_at.iter_mut().min_by(|a, b| a.total_cmp(b));
            let next = next.expect("there is a server");
            *next = next.max(now) + service;
            total += *next - now;
        }
        total / requests as f64
    }

    #[test]
    fn a_simulated_queue_takes_as_long() {
        for (servers, utilisation) in [(1, 0.5), (1, 0.8), (4, 0.7), (16, 0.9)] {
            let found = response(Queue::Servers(servers), utilisation);
            let want = simulated(servers as usize, utilisation, 400_000, 11);
            close(found, want, 0.05);
        }
        let ratio = response_ratio(Queue::Servers(4), 0.9, 0.6);
        let want = simulated(4, 0.6, 400_000, 12) / simulated(4, 0.9, 800_000, 13);
        close(ratio, want, 0.08);
    }

    #[test]
    fn near_saturation_there_is_no_figure() {
        let saturated = Estimate::Saturated { utilisation: 0.96 };
        assert_eq!(response(Queue::Shared, 0.96), saturated);
        assert_eq!(response_ratio(Queue::Servers(8), 0.96, 0.5), saturated);
        assert_eq!(response_ratio(Queue::Servers(8), 0.5, 0.96), saturated);
        for (queue, utilisation) in [
            (Queue::Shared, -0.1),
            (Queue::Shared, f64::NAN),
            (Queue::Servers(0), 0.5),
            (Queue::Servers(MOST_SERVERS + 1), 0.5),
        ] {
            assert!(matches!(response(queue, utilisation), Estimate::Invalid(_)));
        }
        assert_eq!(utilisation(200.0, 0.01, 4), Estimate::Value(0.5));
        assert_eq!(utilisation(200.0, 0.01, 0).value(), None);
        assert_eq!(utilisation(f64::NAN, 0.01, 1).value(), None);
    }

    #[test]
    fn savings_are_shares_of_what_there_is() {
        // A statement with 40 % of the time whose cost falls from 71,218 to 87.6.
        close(saved_by_plan(0.4, 71_218.0, 87.6), 0.4 * 0.998_77, 1e-5);
        assert_eq!(saved_by_plan(0.4, 100.0, 150.0), Estimate::Value(0.0));
        assert_eq!(saved_by_plan(1.4, 100.0, 50.0).value(), None);
        assert_eq!(saved_by_plan(0.4, 0.0, 0.0).value(), None);
        // 100 requests/s, a tenth more hits, 9 ms each: 0.09 s per second.
        close(saved_by_hits(100.0, 0.1, 0.010, 0.001), 324.0, 1e-12);
        assert_eq!(saved_by_hits(100.0, 1.1, 0.01, 0.0).value(), None);
        close(saved_by_return(0.030, 0.020, 50.0), 1_800.0, 1e-12);
        assert_eq!(saved_by_return(0.010, 0.020, 50.0), Estimate::Value(0.0));
        assert_eq!(saved_by_return(f64::NAN, 0.0, 1.0).value(), None);
        close(priority(900.0, 0.6, 3.0), 180.0, 1e-12);
        assert_eq!(priority(900.0, 1.2, 3.0).value(), None);
    }
}
