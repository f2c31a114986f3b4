//! The access trace: in which order sampled URLs were asked for, as hashes, so that the reuse
//! distances of the whole can be estimated (SHARDS, Waldspurger et al., FAST '15).
//!
//! A URL is sampled if its hash is below a threshold: then every request of it is in the trace, and a
//! distance among sampled URLs divided by the rate estimates the distance among all. When a trace is
//! full its threshold is halved and what is not below it any more is taken out, which leaves a sample
//! of half the rate; the event tells the rate that holds for all of it. Who reads several events takes
//! the lowest rate and keeps the hashes below its threshold. The estimate is left to the analyzer.

use std::fmt::Write as _;

use driftline_schemas::{Component, Event, EventName};

/// What the event is called.
const EVENT: &str = "AccessTrace";
/// Which hash it is: SipHash-1-3 of the target with both keys 0, so that it is the same everywhere.
const HASH: &str = "siphash-1-3";
/// The threshold is halved so many times; a URL that is asked for more often than there is room for
/// would otherwise end the trace.
const MAX_HALVINGS: u32 = 12;

/// The trace of the interval under way.
#[derive(Debug)]
pub(super) struct Trace {
    /// Where it begins: one URL in so many.
    one_in: u64,
    max: usize,
    halvings: u32,
    keys: Vec<u64>,
    requests: u64,
    /// Over all intervals.
    pub(super) requests_in_all: u64,
    /// Over all intervals.
    pub(super) dropped_in_all: u64,
    dropped: u64,
}

impl Trace {
    /// One URL in `one_in`, and at most `max` requests in an interval.
    pub(super) fn new(one_in: u32, max: usize) -> Self {
        Self {
            one_in: u64::from(one_in.max(1)),
            max,
            halvings: 0,
            keys: Vec::new(),
            requests: 0,
            requests_in_all: 0,
            dropped_in_all: 0,
            dropped: 0,
        }
    }

    /// Hashes up to here are in the sample.
    fn threshold(&self) -> u64 {
        (u64::MAX / self.one_in) >> self.halvings
    }

    /// Notes a request by the hash of its URL.
    pub(super) fn note(&mut self, hash: u64) {
        self.requests += 1;
        self.requests_in_all += 1;
        if hash > self.threshold() {
            return;
        }
        while self.keys.len() >= self.max && self.halvings < MAX_HALVINGS {
            self.halvings += 1;
            let (threshold, before) = (self.threshold(), self.keys.len());
            self.keys.retain(|key| *key <= threshold);
            self.drop_some((before - self.keys.len()) as u64);
        }
        if self.keys.len() < self.max && hash <= self.threshold() {
            self.keys.push(hash);
        } else {
            self.drop_some(1);
        }
    }

    fn drop_some(&mut self, count: u64) {
        self.dropped += count;
        self.dropped_in_all += count;
    }

    /// Ends the interval; `None` where nothing was asked for.
    pub(super) fn take(&mut self, ts_us: i64, subject: &str, service: &str) -> Option<Event> {
        if self.requests == 0 {
            return None;
        }
        let mut keys = String::with_capacity(self.keys.len() * 17);
        for key in &self.keys {
            let separator = if keys.is_empty() { "" } else { " " };
            let _ = write!(keys, "{separator}{key:016x}");
        }
        let threshold = self.threshold();
        let rate = threshold as f64 / u64::MAX as f64;
        let message = format!(
            "{} of {} requests are in the trace of {service}, one URL in {:.0}",
            self.keys.len(),
            self.requests,
            1.0 / rate
        );
        let attributes = [
            ("service.name", service.to_owned()),
            ("hash", HASH.to_owned()),
            ("rate", rate.to_string()),
            ("threshold", format!("{threshold:016x}")),
            ("requests", self.requests.to_string()),
            ("sampled", self.keys.len().to_string()),
            ("dropped", self.dropped.to_string()),
            ("keys", keys),
        ];
        // A quiet interval allows twice the rate in the next one.
        if self.keys.len() < self.max / 4 {
            self.halvings = self.halvings.saturating_sub(1);
        }
        (self.requests, self.dropped) = (0, 0);
        self.keys.clear();
        Some(Event {
            ts_us,
            name: EventName::Other(EVENT.to_owned()),
            component: Component::Http,
            subject: subject.to_owned(),
            message,
            attributes: attributes
                .map(|(key, value)| (key.to_owned(), value))
                .to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(event: &Event, key: &str) -> String {
        let mut all = event.attributes.iter();
        all.find(|pair| pair.0 == key).expect(key).1.clone()
    }

    /// Well-mixed numbers in place of hashes.
    fn hash(number: u64) -> u64 {
        let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn every_request_of_a_sampled_url_is_kept_in_order() {
        let mut trace = Trace::new(4, 10_000);
        let order: Vec<u64> = (0..4_000).map(|at| hash(at % 400)).collect();
        for key in &order {
            trace.note(*key);
        }
        let event = trace.take(1, "access_log.x", "x").expect("requests");
        let kept: Vec<u64> = attribute(&event, "keys")
            .split(' ')
            .map(|key| u64::from_str_radix(key, 16).expect("hexadecimal"))
            .collect();
        let expected: Vec<u64> = order
            .into_iter()
            .filter(|key| *key <= u64::MAX / 4)
            .collect();
        assert_eq!(kept, expected);
        assert!((600..1_400).contains(&kept.len()), "{}", kept.len());
        assert_eq!(attribute(&event, "rate"), "0.25");
        assert_eq!(
            trace.take(2, "access_log.x", "x"),
            None,
            "nothing was asked for"
        );
    }

    #[test]
    fn a_full_trace_is_a_sample_of_a_lower_rate() {
        let mut trace = Trace::new(1, 500);
        for at in 0..20_000 {
            trace.note(hash(at));
        }
        let event = trace.take(1, "access_log.x", "x").expect("requests");
        let threshold =
            u64::from_str_radix(&attribute(&event, "threshold"), 16).expect("hexadecimal");
        let expected = (0..20_000).filter(|at| hash(*at) <= threshold).count();
        let sampled: usize = attribute(&event, "sampled").parse().expect("a number");
        assert_eq!(sampled, expected, "nothing below the threshold is missing");
        assert!(sampled <= 500 && sampled > 100, "{sampled}");
        let dropped: u64 = attribute(&event, "dropped").parse().expect("a number");
        assert!(dropped > 0 && dropped == trace.dropped_in_all, "{dropped}");
    }

    #[test]
    fn one_url_alone_cannot_overflow_it() {
        let mut trace = Trace::new(1, 10);
        for _ in 0..1_000 {
            trace.note(1);
        }
        let event = trace.take(1, "access_log.x", "x").expect("requests");
        assert_eq!(attribute(&event, "sampled"), "10");
        assert_eq!(attribute(&event, "dropped"), "990");
    }
}
