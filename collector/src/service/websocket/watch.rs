//! A connection that is kept open: what arrives on it, and how often it has to be opened again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio_tungstenite::tungstenite::Message;

use super::session::{self, ABNORMAL, Tried};
use crate::service::http::dial::{Target, Tls};
use crate::service::http::headers::{self, Headers};

/// The first pause before it is opened again; it doubles with each failure, and half of it is random.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What was seen since the beginning.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) connected: bool,
    opened: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) closes: BTreeMap<u16, u64>,
}

/// Shared by the connection's task and the passes.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Seen>>);

impl Seen {
    pub(super) fn reconnects(&self) -> u64 {
        self.opened.saturating_sub(1)
    }
}

impl Watch {
    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection open for ever.
    pub(super) async fn run(
        self,
        target: Target,
        tls: Option<Tls>,
        headers: Headers,
        time_out: Duration,
    ) {
        let mut pause = FIRST_PAUSE;
        loop {
            // The passes tell what is wrong with headers and target.
            if let Ok(headers) = headers::read(&headers) {
                let mut tried = Tried::default();
                let opened =
                    session::open(&target, tls.as_ref(), &headers, time_out, &mut tried).await;
                if let Ok(mut socket) = opened {
                    pause = FIRST_PAUSE;
                    {
                        let mut seen = self.lock();
                        (seen.connected, seen.opened) = (true, seen.opened + 1);
                    }
                    let code = self.follow(&mut socket).await;
                    let mut seen = self.lock();
                    seen.connected = false;
                    *seen.closes.entry(code).or_default() += 1;
                }
            }
            let jitter = 0.5 + rand::random::<f64>() / 2.0;
            tokio::time::sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Counts messages until the connection ends, and says how it did.
    async fn follow(&self, socket: &mut session::Socket) -> u16 {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => {
                    return session::close_code(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let mut seen = self.lock();
                    seen.messages += 1;
                    seen.bytes += message.len() as u64;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return ABNORMAL,
            }
        }
    }
}
