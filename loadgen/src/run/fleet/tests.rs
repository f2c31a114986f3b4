//! The protocol over real sockets, with workers that behave and workers that do not.

use std::io::Write as _;
use std::net::TcpStream as StdStream;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::gauges::Snapshot;
use super::super::host::wall_us;
use super::message::{Finished, FromCoordinator, FromWorker, Hello, MAX_MESSAGE_BYTES, PROTOCOL};
use super::secret::SERVER_NAME;
use super::*;
use crate::run::testing;

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a silent worker is listened to here.
const SHORT: Duration = Duration::from_millis(400);

fn fleet(expected: usize) -> Fleet {
    Fleet::listen_with(([127, 0, 0, 1], 0).into(), expected, SHORT).expect("a port is free")
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} took too long");
        std::thread::yield_now();
    }
}

/// A worker whose every message is written by the test.
struct Puppet {
    runtime: tokio::runtime::Runtime,
    stream: TlsStream<TcpStream>,
}

impl Puppet {
    fn connect(fleet: &Fleet, secret: &Secret) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = secret.client().expect("TLS can be set up");
        let stream = runtime.block_on(async {
            let stream = TcpStream::connect(fleet.address()).await?;
            let name = ServerName::try_from(SERVER_NAME).expect("a constant");
            TlsConnector::from(client).connect(name, stream).await
        })?;
        Ok(Self { runtime, stream })
    }

    /// Connects, shows the token and answers the pings.
    fn join(fleet: &Fleet) -> Self {
        let mut puppet = Self::connect(fleet, fleet.secret()).expect("it is the fleet's secret");
        puppet.say(&hello(&fleet.secret().token_text()), &[]);
        for _ in 0..8 {
            let FromCoordinator::Ping { number } = puppet.hear().expect("a ping") else {
                panic!("pings come first");
            };
            let wall_us = wall_us() + 5_000_000;
            puppet.say(&FromWorker::Pong { number, wall_us }, &[]);
        }
        puppet
    }

    fn say(&mut self, message: &FromWorker, attached: &[u8]) {
        let said = message::write(&mut self.stream, message, attached);
        self.runtime.block_on(said).expect("it is listened to");
    }

    /// What the coordinator says next.
    fn hear(&mut self) -> std::io::Result<FromCoordinator> {
        let heard = message::read(&mut self.stream, (MAX_MESSAGE_BYTES, 0));
        let heard = async { tokio::time::timeout(PATIENCE, heard).await };
        let heard = self.runtime.block_on(heard).expect("it says something");
        heard.map(|(message, _)| message)
    }

    /// The same, without the messages that only say that it is there.
    fn hear_order(&mut self) -> FromCoordinator {
        loop {
            match self.hear().expect("it speaks") {
                FromCoordinator::Ping { .. } => self.say(&FromWorker::Alive, &[]),
                order => return order,
            }
        }
    }
}

fn hello(token: &str) -> FromWorker {
    FromWorker::Hello(Hello {
        protocol: PROTOCOL,
        token: token.to_owned(),
        host: "elsewhere".to_owned(),
        pid: 7,
        cores: 3,
    })
}

fn part() -> Prepare {
    let scenario = testing::scenario(&["a"], &[1]);
    Prepare {
        run: "r".to_owned(),
        process: 1,
        first: 2,
        threads: 3,
        of: 5,
        text: scenario.text,
        hash: scenario.hash,
        path: None,
        target: TargetParts::from(&testing::target()),
    }
}

fn state(fleet: &Fleet) -> MemberState {
    fleet.members()[0].state.clone()
}

#[test]
fn a_worker_joins_prepares_reports_and_finishes() {
    let fleet = fleet(1);
    let mut puppet = Puppet::join(&fleet);
    fleet.wait_joined(&mut || true).expect("it has joined");
    let member = fleet.members()[0].clone();
    assert_eq!((member.host.as_str(), member.cores), ("elsewhere", 3));
    let ahead_us = member.offset.offset_us - 5_000_000;
    assert!(
        ahead_us.abs() <= member.offset.rtt_us,
        "{:?}",
        member.offset
    );
    std::thread::scope(|scope| {
        let prepared = scope.spawn(|| fleet.prepare(vec![part()], &mut || true));
        assert_eq!(
            puppet.hear_order(),
            FromCoordinator::Prepare(Box::new(part()))
        );
        puppet.say(&FromWorker::Ready, &[]);
        prepared.join().expect("no panic").expect("it is ready");
    });
    fleet.go(77);
    let offset_us = member.offset.offset_us;
    assert_eq!(
        puppet.hear_order(),
        FromCoordinator::Go {
            t0_us: 77,
            offset_us
        }
    );
    let snapshot = Snapshot {
        arrivals: 9,
        ..Snapshot::default()
    };
    puppet.say(&FromWorker::Report(snapshot.clone()), b"first");
    wait("the report", || state(&fleet) == MemberState::Running);
    assert_eq!(fleet.members()[0].snapshot, snapshot);
    assert_eq!(
        fleet.members()[0].statistics.as_deref(),
        Some(&b"first"[..])
    );
    fleet.stop();
    assert_eq!(puppet.hear_order(), FromCoordinator::Stop);
    let finished = Finished {
        durable: 5,
        ..Finished::default()
    };
    puppet.say(&FromWorker::Finished(finished), b"last");
    wait("the end", || fleet.is_ended());
    assert_eq!(state(&fleet), MemberState::Finished);
    assert_eq!(fleet.members()[0].finished.durable, 5);
    assert_eq!(fleet.members()[0].statistics.as_deref(), Some(&b"last"[..]));
}

#[test]
fn without_the_token_nobody_joins_and_the_run_is_not_disturbed() {
    let fleet = fleet(1);
    let mut stranger = Puppet::connect(&fleet, fleet.secret()).expect("TLS alone works");
    stranger.say(&hello(&"0".repeat(64)), &[]);
    assert!(stranger.hear().is_err(), "it was answered");
    let mut older = Puppet::connect(&fleet, fleet.secret()).expect("TLS alone works");
    older.say(&FromWorker::Ready, &[]);
    assert!(older.hear().is_err(), "it was answered without a hello");
    assert_eq!(fleet.members().len(), 0);
    let _puppet = Puppet::join(&fleet);
    fleet
        .wait_joined(&mut || true)
        .expect("the right one joins");
}

#[test]
fn a_worker_talks_to_nobody_but_its_coordinator() {
    let (fleet, other) = (fleet(1), fleet(1));
    let error = Puppet::connect(&fleet, other.secret()).map(drop);
    assert!(error.is_err(), "another certificate was taken");
    assert_eq!(fleet.members().len(), 0);
}

#[test]
fn garbage_is_cut_off() {
    let fleet = fleet(1);
    let mut raw = StdStream::connect(fleet.address()).expect("it listens");
    raw.write_all(&[0xff; 4_096]).expect("it is taken");
    raw.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    let mut answer = Vec::new();
    // Either end may come first: what matters is that the connection ends.
    let ended = std::io::Read::read_to_end(&mut raw, &mut answer);
    assert!(
        ended.map_or_else(
            |error| error.kind() == std::io::ErrorKind::ConnectionReset,
            |_| true
        ),
        "the connection was kept"
    );
    let mut huge = Puppet::connect(&fleet, fleet.secret()).expect("TLS alone works");
    let sent = huge.runtime.block_on(async {
        huge.stream.write_all(&u32::MAX.to_be_bytes()).await?;
        huge.stream.write_all(&u32::MAX.to_be_bytes()).await?;
        huge.stream.flush().await
    });
    sent.expect("it is taken");
    assert!(huge.hear().is_err(), "it was answered");
    let _puppet = Puppet::join(&fleet);
    fleet
        .wait_joined(&mut || true)
        .expect("the right one joins");
    assert_eq!(fleet.members().len(), 1);
}

#[test]
fn silence_and_death_are_losses_with_a_reason() {
    let fleet = fleet(2);
    let silent = Puppet::join(&fleet);
    wait("the silence", || {
        fleet.members().first().is_some_and(Member::is_ended)
    });
    let reason = fleet.members()[0].lost_because().expect("it is lost");
    assert!(reason.contains("silent for 0.4 s"), "{reason}");
    drop(silent);
    let dying = Puppet::join(&fleet);
    wait("joining", || fleet.members().len() == 2);
    // As a kill does: the socket is closed, and nothing is said.
    drop(dying);
    wait("the death", || fleet.members()[1].is_ended());
    assert!(fleet.is_ended());
    let error = fleet.wait_joined(&mut || true).expect_err("they are lost");
    assert!(error.to_string().contains("0 of 2"), "{error}");
}

#[test]
fn a_worker_that_cannot_says_why() {
    let fleet = fleet(1);
    let mut puppet = Puppet::join(&fleet);
    fleet.wait_joined(&mut || true).expect("it has joined");
    std::thread::scope(|scope| {
        let prepared = scope.spawn(|| fleet.prepare(vec![part()], &mut || true));
        puppet.hear_order();
        puppet.say(
            &FromWorker::Failed("feed users.csv is missing".to_owned()),
            &[],
        );
        let error = prepared.join().expect("no panic").expect_err("it cannot");
        assert!(
            error.to_string().contains("feed users.csv is missing"),
            "{error}"
        );
    });
}

#[test]
fn more_workers_than_expected_are_refused() {
    let fleet = fleet(1);
    let _first = Puppet::join(&fleet);
    let mut second = Puppet::join(&fleet);
    assert!(second.hear().is_err(), "it was taken");
    assert_eq!(fleet.members().len(), 1);
}

#[test]
fn waiting_ends_when_the_run_is_stopped() {
    let fleet = fleet(1);
    let error = fleet.wait_joined(&mut || false).expect_err("nobody came");
    assert!(matches!(
        error,
        FleetError::Missing {
            joined: 0,
            expected: 1,
            ..
        }
    ));
}

#[test]
fn a_target_travels_whole() {
    let target = testing::target();
    let back = TargetParts::from(&target).target().expect("it was one");
    assert_eq!(back.url, target.url);
    assert_eq!(back.addresses, target.addresses);
    assert_eq!(back.authority, target.authority);
}
