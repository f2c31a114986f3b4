//! Load runs for tests.

use driftline_schemas::{Body, Component, Event, EventName, Request, RequestBatch};
use driftline_sink::table::TableName;
use driftline_stats::noise::Noise;

use super::{S, T0, block, engine, lake};
use crate::engine::Engine;

/// Requests of one second.
const RATE: i64 = 50;

/// A run whose two endpoints answer after about 10 ms, `item` slower by a factor.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) seconds: i64,
    pub(crate) per_second: i64,
    pub(crate) slower: f64,
    pub(crate) failing: f64,
    pub(crate) generator: &'static str,
}

impl Plan {
    pub(crate) const fn new(name: &'static str, seed: u64) -> Self {
        Self {
            name,
            seed,
            seconds: 40,
            per_second: RATE,
            slower: 1.0,
            failing: 0.0,
            generator: "ok",
        }
    }

    fn requests(&self, from: i64) -> Body {
        let mut noise = Noise::new(self.seed);
        let request = |number: i64| {
            let endpoint = u32::from(number % 2 == 0);
            let factor = if endpoint == 1 { self.slower } else { 1.0 };
            let failed = endpoint == 1 && noise.uniform() < self.failing;
            let done_ns = (10e6 * factor * (0.2 * noise.normal()).exp()) as i64;
            Request {
                endpoint,
                intended_us: from + number * S / self.per_second,
                sent_ns: 1_000,
                first_byte_ns: done_ns,
                done_ns,
                status: if failed { 500 } else { 200 },
                bytes: 100,
                error: u32::from(failed),
            }
        };
        Body::Requests(RequestBatch {
            run: self.name.to_owned(),
            worker: 0,
            endpoints: vec!["home".to_owned(), "item".to_owned()],
            errors: vec!["status".to_owned()],
            requests: (0..self.seconds * self.per_second).map(request).collect(),
        })
    }

    fn events(&self, from: i64) -> [Event; 2] {
        let event = |name, ts_us, attributes: &[(&str, &str)]| Event {
            ts_us,
            name,
            component: Component::Driftline,
            subject: self.name.to_owned(),
            message: String::new(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let operations = (self.seconds * self.per_second).to_string();
        let started = [("scenario", "s"), ("hash", "1"), ("warm_up_ns", "0")];
        let finished = [
            ("ended", "completed"),
            ("generator", self.generator),
            ("recording", "ok"),
            ("operations", operations.as_str()),
        ];
        [
            event(EventName::RunStarted, from, &started),
            event(EventName::RunFinished, from + self.seconds * S, &finished),
        ]
    }
}

/// Runs an hour apart, the first at [`T0`]; each begins as another has ended long ago.
pub(crate) async fn engine_of(plans: &[Plan]) -> (tempfile::TempDir, Engine) {
    engine_with(plans, &[]).await
}

/// The same, and more events.
pub(crate) async fn engine_with(plans: &[Plan], more: &[Event]) -> (tempfile::TempDir, Engine) {
    let (dir, mut lake) = lake(&[], &[]);
    let (mut requests, mut events) = (Vec::new(), Vec::new());
    events.extend_from_slice(more);
    for (number, plan) in plans.iter().enumerate() {
        let from = T0 + number as i64 * 3600 * S;
        requests.extend(block(TableName::Requests, plan.requests(from)));
        events.extend(plan.events(from));
    }
    for (table, tail) in [
        (TableName::Requests, requests),
        (
            TableName::Events,
            block(TableName::Events, Body::Events(events)),
        ),
    ] {
        let mut contents = lake.contents(table);
        contents.tail = tail;
        lake.tables.push(contents);
    }
    (dir, engine(lake).await)
}
