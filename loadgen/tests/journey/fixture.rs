//! Scenarios, and what a run of them recorded.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use driftline_loadgen::journey::{Client, User};
use driftline_loadgen::recorder::{Batch, Tape};
use driftline_loadgen::scenario::{
    Capture, CaptureFrom, HttpOptions, HttpVersion, Journey, Step, Template, TemplatePart,
};
use driftline_loadgen::target::Target;
use driftline_loadgen::worker::{Context, Gauges, Share};
use driftline_loadgen::{Operation, RunClock, Scenario, Stop};

/// Longer than any test takes; ends one that hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs a test as a worker runs its tasks.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        tokio::time::timeout(LIMIT, test)
            .await
            .expect("the test hangs")
    })
}

/// Waits for something that another task brings about.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A client and what it recorded.
pub(crate) struct Fixture {
    pub(crate) context: Context,
    pub(crate) client: Client,
    batches: Receiver<Batch>,
}

impl Fixture {
    /// A client of `http://address/`, or https, with a scenario as `edit` makes it.
    pub(crate) fn new(target: Target, edit: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = scenario();
        edit(&mut scenario);
        let (queue, batches) = sync_channel(1_024);
        let context = Context {
            scenario: Arc::new(scenario),
            target: Arc::new(target),
            share: Share { index: 0, of: 1 },
            clock: RunClock::starting_in(Duration::ZERO),
            tape: Tape::new(0, queue, Arc::new(AtomicU64::new(0))),
            stop: Stop::new(),
            gauges: Arc::new(Gauges::default()),
        };
        let client = Client::new(&context).expect("the client can be made");
        Self {
            context,
            client,
            batches,
        }
    }

    /// Makes the scenario's first journey once, as a user of its own.
    pub(crate) async fn once(&self, user: u64) {
        let mut user = User::new(&self.context, user);
        self.again(&mut user).await;
    }

    /// Makes the scenario's first journey as a user that is known.
    pub(crate) async fn again(&self, user: &mut User) {
        let now_ns = self.context.clock.now_ns();
        self.client
            .iterate(user, &self.context.scenario.journeys[0], now_ns)
            .await;
    }

    /// What was recorded since the last call.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.context.tape.flush();
        self.batches
            .try_iter()
            .flat_map(|batch| batch.operations)
            .collect()
    }

    /// The only operation recorded since the last call.
    pub(crate) fn operation(&self) -> Operation {
        let operations = self.operations();
        assert_eq!(operations.len(), 1, "{operations:?}");
        operations[0]
    }

    pub(crate) fn connections(&self) -> i64 {
        self.context.gauges.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn waiting(&self) -> i64 {
        self.context.gauges.waiting.load(Ordering::Relaxed)
    }
}

/// A plain target at an address.
pub(crate) fn plain(address: SocketAddr) -> Target {
    target(&format!("http://{address}"), address)
}

/// A target at an address that goes by a URL.
pub(crate) fn target(url: &str, address: SocketAddr) -> Target {
    let url: url::Url = url.parse().expect("a valid URL");
    let host = url.host_str().expect("it has a host").to_owned();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    Target {
        tls: url.scheme() == "https",
        url,
        host,
        authority,
        addresses: vec![address],
    }
}

/// A scenario of one journey without steps.
fn scenario() -> Scenario {
    Scenario {
        name: "test".to_owned(),
        seed: 7,
        text: String::new(),
        hash: "0".repeat(16),
        warm_up: Duration::ZERO,
        drain: Duration::ZERO,
        stages: Vec::new(),
        http: HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections: 4,
            streams: 100,
            waiting: 1_000,
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            redirects: 0,
            compression: false,
            max_answer_bytes: 1 << 20,
            insecure: false,
            ca: None,
            headers: Vec::new(),
        },
        journeys: vec![Journey {
            name: "journey".to_owned(),
            weight: 1.0,
            steps: Vec::new(),
            cookies: false,
        }],
        websockets: Vec::new(),
        feeds: BTreeMap::new(),
        thresholds: Vec::new(),
        endpoints: vec!["all".to_owned()],
    }
}

/// Puts steps into the first journey.
pub(crate) fn steps(scenario: &mut Scenario, steps: Vec<Step>) {
    scenario.journeys[0].steps = steps;
}

/// A step that gets a path, in which `${name}` is a variable.
pub(crate) fn get(path: &str) -> Step {
    Step {
        endpoint: 0,
        method: "GET".to_owned(),
        path: template(path),
        headers: Vec::new(),
        body: None,
        checks: Vec::new(),
        captures: Vec::new(),
        think: None,
    }
}

/// A step that posts a body.
pub(crate) fn post(path: &str, body: &str) -> Step {
    Step {
        method: "POST".to_owned(),
        body: Some(template(body)),
        ..get(path)
    }
}

/// A capture.
pub(crate) fn capture(name: &str, from: CaptureFrom) -> Capture {
    Capture {
        name: name.to_owned(),
        from,
    }
}

/// A template as scenarios write it.
pub(crate) fn template(text: &str) -> Template {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, variable)) = rest.split_once("${") {
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal.to_owned()));
        }
        let (name, after) = variable.split_once('}').expect("it is closed");
        parts.push(TemplatePart::Variable(name.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(TemplatePart::Literal(rest.to_owned()));
    }
    Template { parts }
}
