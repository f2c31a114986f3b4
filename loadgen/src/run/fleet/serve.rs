//! The coordinator's end of each connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::super::gauges::Snapshot;
use super::super::host::wall_us;
use super::member::{Member, MemberState, Offset};
use super::message::{
    self, Finished, FromCoordinator, FromWorker, Hello, MAX_ATTACHMENT_BYTES, MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES, PROTOCOL,
};
use super::{Order, Secret, Shared};

/// Whoever connects has so long for TLS, the token and the pings.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// Connections served at the same time; others wait to be accepted.
const MAX_CONNECTIONS: usize = 2_048;
/// Exchanges by which a worker's clock is estimated.
const PINGS: u32 = 8;
/// A worker hears at least this often that the coordinator is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long connections may take to end when the run is over.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) secret: Secret,
    pub(super) acceptor: TlsAcceptor,
    pub(super) shared: Arc<Shared>,
    pub(super) orders: watch::Receiver<Order>,
}

impl Serving {
    /// Serves whoever connects until the run is over.
    pub(super) async fn accept(mut self, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut orders = self.orders.clone();
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&room).acquire_owned() => permit.expect("it is never closed"),
                () = over(&mut orders) => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = over(&mut self.orders) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let serving = self.clone();
                    connections.spawn(async move {
                        if let Err(error) = serving.serve(stream).await {
                            tracing::warn!(%peer, %error, "a connection of a worker process ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a worker process could not connect");
                    // Out of descriptors, most likely: trying again at once would only spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(CLOSE_LIMIT, all).await.is_err() {
            tracing::debug!("some connections of worker processes were cut");
        }
    }

    async fn serve(mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let join = async {
            let mut stream = self.acceptor.accept(stream).await?;
            let hello = self.hello(&mut stream).await?;
            let offset = estimate(&mut stream).await?;
            io::Result::Ok((stream, hello, offset))
        };
        let (stream, hello, offset) = timeout(HELLO_LIMIT, join).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "it did not show the token in time")
        })??;
        let number = self.join(hello, offset)?;
        let (mut input, mut out) = tokio::io::split(stream);
        let shared = Arc::clone(&self.shared);
        let outcome = tokio::select! {
            outcome = shared.hear(number, &mut input) => outcome,
            outcome = tell(number, offset, &mut self.orders, &mut out) => outcome,
        };
        let reason = match &outcome {
            Ok(()) => "the run ended before it had finished".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "its connection ended".to_owned()
            }
            Err(error) => error.to_string(),
        };
        shared.lose(number, reason);
        outcome
    }

    async fn hello(&self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Hello> {
        let refuse = |reason: &str| io::Error::new(io::ErrorKind::PermissionDenied, reason);
        let (message, _) = message::read(stream, (MAX_HELLO_BYTES, 0)).await?;
        match message {
            FromWorker::Hello(hello) if !self.secret.is_token(&hello.token) => {
                Err(refuse("it does not have the token"))
            }
            FromWorker::Hello(hello) if hello.protocol != PROTOCOL => Err(refuse(
                "it is of another version: use the same on all hosts",
            )),
            FromWorker::Hello(hello) => Ok(hello),
            _ => Err(refuse("it did not show the token first")),
        }
    }

    fn join(&self, hello: Hello, offset: Offset) -> io::Result<usize> {
        let mut members = self.shared.members();
        if members.len() >= self.shared.expected {
            return Err(io::Error::other("the run has all its workers already"));
        }
        members.push(Member {
            host: hello.host,
            pid: hello.pid,
            cores: hello.cores,
            offset,
            state: MemberState::Joined,
            snapshot: Snapshot::default(),
            statistics: None,
            finished: Finished::default(),
        });
        Ok(members.len() - 1)
    }
}

impl Shared {
    /// Takes what a worker says, until it has finished.
    async fn hear(&self, number: usize, input: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        let limits = (MAX_MESSAGE_BYTES, MAX_ATTACHMENT_BYTES);
        loop {
            let heard = timeout(self.silence, message::read(input, limits)).await;
            let (message, attached) = heard.map_err(|_| {
                let reason = format!("it was silent for {} s", self.silence.as_secs_f64());
                io::Error::new(io::ErrorKind::TimedOut, reason)
            })??;
            let mut members = self.members();
            let member = members.get_mut(number).expect("members are never removed");
            match message {
                FromWorker::Ready => member.state = MemberState::Ready,
                FromWorker::Report(snapshot) => {
                    member.state = MemberState::Running;
                    member.snapshot = snapshot;
                    member.statistics = Some(attached);
                }
                FromWorker::Finished(finished) => {
                    member.state = MemberState::Finished;
                    member.snapshot = finished.snapshot.clone();
                    member.statistics = Some(attached);
                    member.finished = finished;
                    return Ok(());
                }
                FromWorker::Failed(reason) => return Err(io::Error::other(reason)),
                FromWorker::Alive | FromWorker::Pong { .. } => {}
                FromWorker::Hello(_) => {
                    return Err(io::Error::other("it said hello a second time"));
                }
            }
        }
    }

    fn lose(&self, number: usize, reason: String) {
        if let Some(member) = self.members().get_mut(number)
            && !member.is_ended()
        {
            member.state = MemberState::Lost(reason);
        }
    }
}

/// Says each order once, in order, and that the coordinator is there; until the run is over.
async fn tell(
    number: usize,
    offset: Offset,
    orders: &mut watch::Receiver<Order>,
    out: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let (mut is_prepared, mut has_gone, mut is_stopped) = (false, false, false);
    loop {
        let order = orders.borrow_and_update().clone();
        if let Some(parts) = order.prepare.filter(|_| !is_prepared) {
            is_prepared = true;
            let part = parts.get(number).cloned();
            let part = part.ok_or_else(|| io::Error::other("there is no part for it"))?;
            message::write(out, &FromCoordinator::Prepare(Box::new(part)), &[]).await?;
        }
        if let Some(t0_us) = order.go.filter(|_| !has_gone) {
            has_gone = true;
            let offset_us = offset.offset_us;
            message::write(out, &FromCoordinator::Go { t0_us, offset_us }, &[]).await?;
        }
        if order.stop && !is_stopped {
            is_stopped = true;
            message::write(out, &FromCoordinator::Stop, &[]).await?;
        }
        if order.over {
            return Ok(());
        }
        match timeout(KEEP_ALIVE, orders.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => message::write(out, &FromCoordinator::Ping { number: 0 }, &[]).await?,
        }
    }
}

/// Estimates how far a worker's clock is ahead.
async fn estimate(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Offset> {
    let mut best: Option<Offset> = None;
    for number in 1..=PINGS {
        let sent_us = wall_us();
        message::write(stream, &FromCoordinator::Ping { number }, &[]).await?;
        let (answer, _) = message::read(stream, (MAX_HELLO_BYTES, 0)).await?;
        let received_us = wall_us();
        let FromWorker::Pong {
            number: of,
            wall_us,
        } = answer
        else {
            return Err(io::Error::other("it did not answer a ping"));
        };
        if of != number {
            return Err(io::Error::other("it answered another ping"));
        }
        let estimate = Offset::of_exchange(sent_us, wall_us, received_us);
        best = Some(best.map_or(estimate, |best| best.best(estimate)));
    }
    best.ok_or_else(|| io::Error::other("its clock was not asked"))
}

/// Ends when the run is over.
async fn over(orders: &mut watch::Receiver<Order>) {
    // An error means that the fleet is gone, which is the same.
    let _ = orders.wait_for(|order| order.over).await;
}
