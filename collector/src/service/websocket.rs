//! WebSocket services, by a synthetic probe: how long a handshake, an echo and a fan-out take, and
//! what fails. On request a connection is kept open beside the passes, and the connections to a port
//! of this machine are counted.
//!
//! That a target is down is a result and not a failure of the pass, so that it is measured on.

mod port;
mod session;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::Component;
use driftline_schemas::metric::catalogue::id;
use serde::{Deserialize, Serialize};

use super::http::dial::{Failure, Target, Tls};
use super::http::headers::{self, HeaderSource, Headers};
use super::http::{GRACE, tell};
use super::options::Section;
use super::{Pass, Service, ServiceError};
use crate::config::duration;
use port::Port;
use session::{FanOut, Tried};
use watch::Watch;

const SERVICE: &str = "service.name";
/// Where the kernel's tables of sockets are.
const TABLES: &str = "/proc/net";
/// Subscribers and messages that can be asked for.
const MAX_SUBSCRIBERS: usize = 100;
const MAX_MESSAGES: usize = 100;

/// An address that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebsocketProbeConfig {
    /// What the service is called in labels and events.
    pub name: String,
    /// `ws://` or `wss://`, without credentials; empty where only a port is counted.
    pub url: String,
    /// Headers of the handshake; secrets as `{ file = … }` or `{ env = … }`.
    pub headers: BTreeMap<String, HeaderSource>,
    /// How often it is probed.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// After so long a handshake, an echo or a fan-out has failed, each by itself.
    #[serde(with = "duration")]
    pub time_out: Duration,
    /// Whether the service sends back what it is sent.
    pub echo: bool,
    /// What is sent for that.
    pub message: String,
    /// Publishing on one connection, and receiving on others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<FanOutConfig>,
    /// Whether a connection is kept open beside the passes.
    pub watch: bool,
    /// A port of this machine whose connections are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count_port: Option<u16>,
    /// Certificates in PEM that are trusted instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// What is published, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FanOutConfig {
    /// Connections that receive.
    pub subscribers: usize,
    /// Messages of a pass, one after the other.
    pub messages: usize,
    /// What a subscriber sends first, if anything.
    pub subscribe: String,
    /// What is published; `{id}` stands for a mark that is new each time.
    pub publish: String,
}

impl Default for FanOutConfig {
    fn default() -> Self {
        Self {
            subscribers: 5,
            messages: 5,
            subscribe: String::new(),
            publish: "{id}".to_owned(),
        }
    }
}

impl Default for WebsocketProbeConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            headers: Headers::new(),
            interval: Duration::from_secs(10),
            time_out: Duration::from_secs(5),
            echo: false,
            message: "driftline-probe".to_owned(),
            fan_out: None,
            watch: false,
            count_port: None,
            ca_file: None,
        }
    }
}

pub(super) fn services(configs: &[WebsocketProbeConfig]) -> Vec<Box<dyn Service>> {
    let service = |config: &WebsocketProbeConfig| -> Box<dyn Service> {
        Box::new(Probe::new(config.clone(), Path::new(TABLES)))
    };
    configs.iter().map(service).collect()
}

/// A probe and what it has counted.
struct Probe {
    subject: String,
    config: WebsocketProbeConfig,
    tables: PathBuf,
    /// Made at the first pass.
    plan: Option<(Target, Option<Tls>)>,
    watch: Option<Watch>,
    port: Port,
    totals: Totals,
    is_failing: bool,
}

/// Counts since the beginning.
#[derive(Debug, Default)]
struct Totals {
    handshakes: u64,
    refused: BTreeMap<String, u64>,
    errors: BTreeMap<&'static str, u64>,
    closes: BTreeMap<u16, u64>,
    deliveries: u64,
    lost: u64,
}

/// What a pass came to.
#[derive(Debug, Default)]
struct Outcome {
    tried: Tried,
    echo_ns: Option<u64>,
    fan_out: FanOut,
    /// What failed after the handshake.
    error: Option<Failure>,
    failure: Option<Failure>,
}

impl Probe {
    fn new(config: WebsocketProbeConfig, tables: &Path) -> Self {
        Self {
            subject: format!("websocket.{}", config.name),
            config,
            tables: tables.to_owned(),
            plan: None,
            watch: None,
            port: Port::default(),
            totals: Totals::default(),
            is_failing: false,
        }
    }

    async fn probe(&self, target: &Target, tls: Option<&Tls>) -> Result<Outcome, ServiceError> {
        let headers = headers::read(&self.config.headers)?;
        let time_out = self.config.time_out;
        let mut outcome = Outcome::default();
        let tried = &mut outcome.tried;
        let mut socket = match session::open(target, tls, &headers, time_out, tried).await {
            Ok(socket) => socket,
            Err(failure) => {
                outcome.failure = Some(failure);
                return Ok(outcome);
            }
        };
        // Those of the subscribers are under load; the first one's stand for a single client.
        let alone = (tried.connect_ns, tried.handshake_ns);
        if self.config.echo {
            let echoing = session::echo(&mut socket, &self.config.message, tried);
            match bounded(time_out, echoing).await {
                Ok(took_ns) => outcome.echo_ns = Some(took_ns),
                Err(failure) => outcome.error = Some(failure),
            }
        }
        if let Some(config) = self
            .config
            .fan_out
            .as_ref()
            .filter(|_| outcome.error.is_none())
        {
            let mut subscribers = Vec::with_capacity(config.subscribers);
            while subscribers.len() < config.subscribers && outcome.failure.is_none() {
                match session::open(target, tls, &headers, time_out, tried).await {
                    Ok(subscriber) => subscribers.push(subscriber),
                    Err(failure) => outcome.failure = Some(failure),
                }
            }
            if outcome.failure.is_none() {
                let found = &mut outcome.fan_out;
                let fanning = session::fan_out(&mut socket, &mut subscribers, config, found, tried);
                outcome.error = bounded(time_out, fanning).await.err();
            }
        }
        (outcome.tried.connect_ns, outcome.tried.handshake_ns) = alone;
        if outcome.failure.is_none() {
            outcome.failure.clone_from(&outcome.error);
        }
        Ok(outcome)
    }

    fn record(&mut self, outcome: Outcome, out: &mut Pass) {
        let name = self.config.name.as_str();
        let totals = &mut self.totals;
        totals.handshakes += outcome.tried.handshakes;
        for (reason, count) in outcome.tried.refused {
            *totals.refused.entry(reason).or_default() += count;
        }
        for (code, count) in outcome.tried.closes {
            *totals.closes.entry(code).or_default() += count;
        }
        if let Some(error) = &outcome.error {
            *totals.errors.entry(error.reason).or_default() += 1;
        }
        let mut delays_ns = outcome.fan_out.delays_ns;
        delays_ns.sort_unstable();
        totals.deliveries += outcome.fan_out.deliveries;
        totals.lost += outcome.fan_out.deliveries - delays_ns.len() as u64;

        let recorder = &mut out.recorder;
        let labels = [(SERVICE, name)];
        let up = if outcome.failure.is_none() { 1.0 } else { 0.0 };
        recorder.record(const { id("websocket.probe.up") }, &mut labels.clone(), up);
        let handshakes = const { id("websocket.probe.handshakes") };
        recorder.count(handshakes, &mut labels.clone(), totals.handshakes);
        let times = [
            (
                const { id("websocket.probe.connect.duration") },
                outcome.tried.connect_ns,
            ),
            (
                const { id("websocket.probe.handshake.duration") },
                outcome.tried.handshake_ns,
            ),
            (
                const { id("websocket.probe.echo.duration") },
                outcome.echo_ns,
            ),
        ];
        for (metric, ns) in times {
            if let Some(ns) = ns {
                recorder.record(metric, &mut labels.clone(), ns as f64 / 1e9);
            }
        }
        for (quantile, label) in [(0.5, "0.5"), (0.99, "0.99"), (1.0, "1")] {
            if let Some(ns) = quantile_of(&delays_ns, quantile) {
                let labels = &mut [(SERVICE, name), ("quantile", label)];
                let metric = const { id("websocket.probe.fan_out.duration") };
                recorder.record(metric, labels, ns as f64 / 1e9);
            }
        }
        if self.config.fan_out.is_some() {
            let deliveries = const { id("websocket.probe.fan_out.deliveries") };
            recorder.count(deliveries, &mut labels.clone(), totals.deliveries);
            let lost = const { id("websocket.probe.fan_out.lost") };
            recorder.count(lost, &mut labels.clone(), totals.lost);
        }
        for (reason, count) in &totals.refused {
            let labels = &mut [(SERVICE, name), ("error.type", reason.as_str())];
            let metric = const { id("websocket.probe.handshake.failures") };
            recorder.count(metric, labels, *count);
        }
        for (reason, count) in &totals.errors {
            let labels = &mut [(SERVICE, name), ("error.type", *reason)];
            recorder.count(const { id("websocket.probe.errors") }, labels, *count);
        }
        record_closes(
            const { id("websocket.probe.closes") },
            &totals.closes,
            name,
            out,
        );
    }

    fn record_watch(&self, out: &mut Pass) {
        let Some(seen) = self.watch.as_ref().map(Watch::seen) else {
            return;
        };
        let name = self.config.name.as_str();
        let counts = [
            (
                const { id("websocket.watch.connected") },
                u64::from(seen.connected),
            ),
            (
                const { id("websocket.watch.reconnects") },
                seen.reconnects(),
            ),
            (const { id("websocket.watch.messages") }, seen.messages),
            (const { id("websocket.watch.io") }, seen.bytes),
        ];
        for (metric, count) in counts {
            out.recorder.count(metric, &mut [(SERVICE, name)], count);
        }
        record_closes(
            const { id("websocket.watch.closes") },
            &seen.closes,
            name,
            out,
        );
    }

    fn record_port(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        let Some(number) = self.config.count_port else {
            return Ok(());
        };
        let looked = self.port.look(&self.tables, number, out.ts_us());
        let state = looked.map_err(|source| ServiceError::Unreachable {
            what: format!("the kernel's table of connections to port {number}"),
            source: source.into(),
            remedy: "leave out count_port where /proc/net/tcp cannot be read",
        })?;
        let (name, port) = (self.config.name.as_str(), number.to_string());
        let labels = [(SERVICE, name), ("server.port", port.as_str())];
        let connections = const { id("websocket.server.connections") };
        out.recorder
            .count(connections, &mut labels.clone(), state.connections);
        let opened = const { id("websocket.server.connections.opened") };
        out.recorder
            .count(opened, &mut labels.clone(), state.opened);
        let reopened = const { id("websocket.server.connections.reopened") };
        out.recorder
            .count(reopened, &mut labels.clone(), state.reopened);
        let age = const { id("websocket.server.queue.age") };
        out.recorder
            .record(age, &mut labels.clone(), state.oldest_us as f64 / 1e6);
        for (direction, queue) in [("receive", state.receive), ("transmit", state.transmit)] {
            let [service, port] = labels;
            let labels = [service, port, ("network.io.direction", direction)];
            let sum = const { id("websocket.server.queue.size") };
            out.recorder.count(sum, &mut labels.clone(), queue.sum);
            let max = const { id("websocket.server.queue.max") };
            out.recorder.count(max, &mut labels.clone(), queue.max);
        }
        Ok(())
    }
}

#[async_trait]
impl Service for Probe {
    fn component(&self) -> Component {
        Component::Websocket
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        self.config.interval
    }

    /// Every step has its own time-out: handshakes one after the other, echo and fan-out.
    fn time_out(&self) -> Duration {
        let steps = if self.config.fan_out.is_some() { 4 } else { 2 };
        self.config.time_out * steps + GRACE
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        self.record_port(out)?;
        if self.config.url.is_empty() && self.config.count_port.is_some() {
            return Ok(());
        }
        let (target, tls) = match self.plan.take() {
            Some(plan) => plan,
            None => plan(&self.config)?,
        };
        if self.config.watch && self.watch.is_none() {
            let watch = Watch::default();
            let (headers, time_out) = (self.config.headers.clone(), self.config.time_out);
            out.spawn(
                watch
                    .clone()
                    .run(target.clone(), tls.clone(), headers, time_out),
            );
            self.watch = Some(watch);
        }
        let outcome = self.probe(&target, tls.as_ref()).await;
        let shown = target.shown.clone();
        self.plan = Some((target, tls));
        let outcome = outcome?;
        let told = tell(
            &mut self.is_failing,
            outcome.failure.as_ref(),
            (Component::Websocket, &self.subject, &shown),
            out.ts_us(),
        );
        out.events.extend(told);
        self.record(outcome, out);
        self.record_watch(out);
        Ok(())
    }
}

async fn bounded<T>(
    time_out: Duration,
    doing: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(time_out, doing).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::timeout(time_out)),
    }
}

/// The smallest of sorted values that is not exceeded by this share of them.
fn quantile_of(sorted: &[u64], quantile: f64) -> Option<u64> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn record_closes(metric: u32, closes: &BTreeMap<u16, u64>, name: &str, out: &mut Pass) {
    for (code, count) in closes {
        let code = code.to_string();
        let labels = &mut [(SERVICE, name), ("websocket.close_code", code.as_str())];
        out.recorder.count(metric, labels, *count);
    }
}

/// Says what cannot work of a section.
pub(super) fn check(config: &WebsocketProbeConfig) -> Result<(), ServiceError> {
    let section = Section {
        kind: "websocket",
        name: &config.name,
    };
    section.check_name()?;
    section.check_times(&[("interval", config.interval), ("time_out", config.time_out)])?;
    if config.url.is_empty() && config.count_port.is_some() {
        return Ok(());
    }
    target(config).map(drop)
}

fn target(config: &WebsocketProbeConfig) -> Result<Target, ServiceError> {
    let fan_out = config.fan_out.as_ref();
    let is_bounded = fan_out.is_none_or(|fan_out| {
        (1..=MAX_SUBSCRIBERS).contains(&fan_out.subscribers)
            && (1..=MAX_MESSAGES).contains(&fan_out.messages)
            && fan_out.publish.contains("{id}")
    });
    if config.name.is_empty() || !is_bounded || (config.echo && config.message.is_empty()) {
        return Err(ServiceError::Misconfigured {
            what: format!("collector.websocket {:?} cannot be probed", config.name),
            remedy: "give it a name, a message that is not empty, 1 to 100 subscribers and \
                     messages, and {id} in what is published"
                .to_owned(),
        });
    }
    Target::parse(&config.url, ["ws", "wss"])
}

fn plan(config: &WebsocketProbeConfig) -> Result<(Target, Option<Tls>), ServiceError> {
    let target = target(config)?;
    let tls = match target.is_secure {
        true => Some(Tls::new(config.ca_file.as_deref(), &[b"http/1.1"])?),
        false => None,
    };
    Ok((target, tls))
}
