//! The connection to the coordinator, on a thread of its own: it answers pings at once and says
//! every second that the process is there, whatever the rest of the process is doing.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::fleet::Secret;
use super::super::fleet::message::{
    self, FromCoordinator, FromWorker, Hello, MAX_MESSAGE_BYTES, PROTOCOL, Prepare,
};
use super::super::fleet::secret::SERVER_NAME;
use super::super::host::{cores, host_name, wall_us};
use super::RemoteError;

/// Messages that may wait to be sent, and to be heard.
const QUEUE: usize = 16;
/// How long joining may take.
const JOIN_LIMIT: Duration = Duration::from_secs(10);
/// The coordinator speaks every second; silent for so long, it is gone.
const SILENCE: Duration = Duration::from_secs(10);
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// What the coordinator has said.
#[derive(Debug)]
pub(super) enum Heard {
    Prepare(Box<Prepare>),
    Go {
        t0_us: i64,
        offset_us: i64,
    },
    Stop,
    /// Nothing more will be heard.
    Gone(String),
}

type Outgoing = (FromWorker, Vec<u8>);

#[derive(Debug)]
pub(super) struct Link {
    heard: Mutex<Receiver<Heard>>,
    out: mpsc::Sender<Outgoing>,
    thread: JoinHandle<()>,
}

impl Link {
    /// Connects and shows the token.
    pub(super) fn join(address: SocketAddr, secret: &Secret) -> Result<Self, RemoteError> {
        let connector = TlsConnector::from(secret.client()?);
        let join_error = |source| RemoteError::Join { address, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(join_error)?;
        let hello = Hello {
            protocol: PROTOCOL,
            token: secret.token_text(),
            host: host_name(),
            pid: std::process::id(),
            cores: cores(),
        };
        let join = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(SERVER_NAME).expect("the name is a constant");
            let mut stream = connector.connect(name, stream).await?;
            message::write(&mut stream, &FromWorker::Hello(hello), &[]).await?;
            io::Result::Ok(stream)
        };
        let stream = runtime
            .block_on(async { timeout(JOIN_LIMIT, join).await })
            .map_err(|_| join_error(io::ErrorKind::TimedOut.into()))?
            .map_err(join_error)?;
        let (hear, heard) = sync_channel(QUEUE);
        let (out, outgoing) = mpsc::channel(QUEUE);
        let pong = out.clone();
        let thread = std::thread::Builder::new()
            .name("load-link".to_owned())
            .spawn(move || runtime.block_on(talk(stream, hear, pong.downgrade(), outgoing)))
            .map_err(join_error)?;
        Ok(Self {
            heard: Mutex::new(heard),
            out,
            thread,
        })
    }

    /// What the coordinator says within so long.
    pub(super) fn hear(&self, patience: Duration) -> Result<Heard, RecvTimeoutError> {
        let heard = self
            .heard
            .lock()
            .map_err(|_| RecvTimeoutError::Disconnected)?;
        heard.recv_timeout(patience)
    }

    /// Sends what must arrive; where the connection is gone, that is heard instead.
    pub(super) fn send(&self, message: FromWorker, attached: Vec<u8>) {
        if self.out.blocking_send((message, attached)).is_err() {
            tracing::warn!("a message to the coordinator was not sent: it is gone");
        }
    }

    /// Sends what the next message supersedes, if there is room for it.
    pub(super) fn offer(&self, message: FromWorker, attached: Vec<u8>) {
        if self.out.try_send((message, attached)).is_err() {
            tracing::debug!("a report was skipped: the connection is slow");
        }
    }

    /// Sends what waits, and ends the connection.
    pub(super) fn close(self) {
        drop(self.out);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the coordinator's connection panicked");
        }
    }
}

async fn talk(
    stream: TlsStream<TcpStream>,
    hear: SyncSender<Heard>,
    pong: mpsc::WeakSender<Outgoing>,
    mut outgoing: mpsc::Receiver<Outgoing>,
) {
    let (mut input, mut out) = tokio::io::split(stream);
    let outcome = tokio::select! {
        outcome = listen(&mut input, &hear, &pong) => outcome,
        outcome = speak(&mut out, &mut outgoing) => outcome,
    };
    // Whoever no longer listens has ended by itself.
    let _ = match outcome {
        Ok(()) => Ok(()),
        Err(error) => hear.try_send(Heard::Gone(error.to_string())),
    };
}

async fn listen(
    input: &mut (impl AsyncRead + Unpin),
    hear: &SyncSender<Heard>,
    pong: &mpsc::WeakSender<Outgoing>,
) -> io::Result<()> {
    loop {
        let message = timeout(SILENCE, message::read(input, (MAX_MESSAGE_BYTES, 0))).await;
        let (message, _) = message
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it was silent for too long"))??;
        let heard = match message {
            FromCoordinator::Ping { number: 0 } => continue,
            FromCoordinator::Ping { number } => {
                let wall_us = wall_us();
                if let Some(pong) = pong.upgrade() {
                    // The connection is on its way to its end where this cannot be sent.
                    let _ = pong
                        .send((FromWorker::Pong { number, wall_us }, Vec::new()))
                        .await;
                }
                continue;
            }
            FromCoordinator::Prepare(prepare) => Heard::Prepare(prepare),
            FromCoordinator::Go { t0_us, offset_us } => Heard::Go { t0_us, offset_us },
            FromCoordinator::Stop => Heard::Stop,
        };
        if hear.try_send(heard).is_err() {
            return Err(io::Error::other("it says more than there is to say"));
        }
    }
}

async fn speak(
    out: &mut (impl AsyncWrite + Unpin),
    outgoing: &mut mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut alive = interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and the coordinator expects an answer to its ping by then.
    alive.tick().await;
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some((message, attached)) => message::write(out, &message, &attached).await?,
                None => return tokio::io::AsyncWriteExt::shutdown(out).await,
            },
            _ = alive.tick() => message::write(out, &FromWorker::Alive, &[]).await?,
        }
    }
}
