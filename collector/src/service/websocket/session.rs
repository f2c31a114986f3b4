//! What a probe does on its connections: handshake, echo and fan-out, each timed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::FanOutConfig;
use crate::clock;
use crate::service::http::dial::{Failure, Steps, Stream, Target, Tls, dial};

/// The largest message that is taken.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// The close code of a connection that ends without a word.
pub(super) const ABNORMAL: u16 = 1_006;
/// A close frame without a code.
const NO_STATUS: u16 = 1_005;

/// An open connection.
pub(super) type Socket = WebSocketStream<Stream>;

/// What the handshakes and closes of a pass came to.
#[derive(Debug, Default)]
pub(super) struct Tried {
    pub(super) handshakes: u64,
    /// By reason, or by the status of the answer.
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) closes: BTreeMap<u16, u64>,
    pub(super) connect_ns: Option<u64>,
    pub(super) handshake_ns: Option<u64>,
}

/// What fan-out came to.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    pub(super) delays_ns: Vec<u64>,
    pub(super) deliveries: u64,
}

/// Opens a connection, counted and timed; the last one's times stay.
pub(super) async fn open(
    target: &Target,
    tls: Option<&Tls>,
    headers: &HeaderMap,
    time_out: Duration,
    tried: &mut Tried,
) -> Result<Socket, Failure> {
    tried.handshakes += 1;
    let connecting = connect(target, tls, headers, tried);
    let outcome = match tokio::time::timeout(time_out, connecting).await {
        Ok(outcome) => outcome,
        Err(_) => Err((Failure::timeout(time_out), None)),
    };
    outcome.map_err(|(failure, status)| {
        let reason = status.map_or(failure.reason.to_owned(), |status: u16| status.to_string());
        *tried.refused.entry(reason).or_default() += 1;
        failure
    })
}

async fn connect(
    target: &Target,
    tls: Option<&Tls>,
    headers: &HeaderMap,
    tried: &mut Tried,
) -> Result<Socket, (Failure, Option<u16>)> {
    let mut steps = Steps::default();
    let begun = clock::mono_ns();
    let stream = dial(target, tls, &mut steps)
        .await
        .map_err(|failure| (failure, None))?;
    let connected = clock::mono_ns();
    tried.connect_ns = Some(connected - begun);
    let request = request(target, headers).map_err(|failure| (failure, None))?;
    let mut limits = WebSocketConfig::default();
    limits.max_message_size = Some(MAX_MESSAGE_BYTES);
    limits.max_frame_size = Some(MAX_MESSAGE_BYTES);
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await;
    let (socket, _) = opened.map_err(|error| match error {
        Error::Http(response) => {
            let status = response.status().as_u16();
            let failure = Failure::new("status", format!("the handshake was answered {status}"));
            (failure, Some(status))
        }
        error => (failed(&error), None),
    })?;
    tried.handshake_ns = Some(clock::mono_ns() - connected);
    Ok(socket)
}

fn request(target: &Target, headers: &HeaderMap) -> Result<Request<()>, Failure> {
    let scheme = if target.is_secure { "wss" } else { "ws" };
    let mut request = Request::builder()
        .uri(format!(
            "{scheme}://{}{}",
            target.authority, target.path_and_query
        ))
        .header("Host", &target.authority)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .body(())
        .map_err(|error| Failure::new("protocol", error))?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(request)
}

/// The time from sending a text to receiving it again. Other messages are passed over.
pub(super) async fn echo(
    socket: &mut Socket,
    text: &str,
    tried: &mut Tried,
) -> Result<u64, Failure> {
    let sent = clock::mono_ns();
    send(socket, Message::text(text)).await?;
    receive(socket, text, tried).await?;
    Ok(clock::mono_ns() - sent)
}

/// Publishes messages on one connection and waits for each at all others.
pub(super) async fn fan_out(
    publisher: &mut Socket,
    subscribers: &mut [Socket],
    config: &FanOutConfig,
    found: &mut FanOut,
    tried: &mut Tried,
) -> Result<(), Failure> {
    for (at, subscriber) in subscribers.iter_mut().enumerate() {
        if !config.subscribe.is_empty() {
            send(subscriber, Message::text(config.subscribe.as_str())).await?;
        }
        // Servers take the frames of a connection in order: after the pong it has subscribed.
        let ping = format!("driftline-{at}");
        send(subscriber, Message::Ping(ping.clone().into())).await?;
        wait_for_pong(subscriber, ping.as_bytes(), tried).await?;
    }
    for _ in 0..config.messages {
        let mark = format!("driftline-{:016x}", rand::random::<u64>());
        let text = config.publish.replace("{id}", &mark);
        found.deliveries += subscribers.len() as u64;
        let sent = clock::mono_ns();
        send(publisher, Message::text(text)).await?;
        let mut closes: Vec<Tried> = subscribers.iter().map(|_| Tried::default()).collect();
        let waiting = subscribers
            .iter_mut()
            .zip(&mut closes)
            .map(|(one, closes)| {
                let mark = &mark;
                async move {
                    let outcome = receive(one, mark, closes).await;
                    outcome.map(|()| clock::mono_ns() - sent)
                }
            });
        // What arrives is noted at once, so that it stays when the time is up.
        let mut waiting: futures::stream::FuturesUnordered<_> = waiting.collect();
        let mut failure = None;
        while let Some(outcome) = waiting.next().await {
            match outcome {
                Ok(delay_ns) => found.delays_ns.push(delay_ns),
                Err(error) => failure = Some(error),
            }
        }
        drop(waiting);
        for one in closes {
            for (code, count) in one.closes {
                *tried.closes.entry(code).or_default() += count;
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok(())
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Failure> {
    socket.send(message).await.map_err(|error| failed(&error))
}

/// Waits for a message that contains a text.
async fn receive(socket: &mut Socket, text: &str, tried: &mut Tried) -> Result<(), Failure> {
    loop {
        let message = next(socket, tried).await?;
        let (Message::Text(_) | Message::Binary(_)) = &message else {
            continue;
        };
        if memchr::memmem::find(&message.into_data(), text.as_bytes()).is_some() {
            return Ok(());
        }
    }
}

async fn wait_for_pong(
    socket: &mut Socket,
    payload: &[u8],
    tried: &mut Tried,
) -> Result<(), Failure> {
    loop {
        if let Message::Pong(bytes) = next(socket, tried).await?
            && *bytes == *payload
        {
            return Ok(());
        }
    }
}

/// The next message; a close is counted and ends it.
async fn next(socket: &mut Socket, tried: &mut Tried) -> Result<Message, Failure> {
    let code = match socket.next().await {
        Some(Ok(Message::Close(frame))) => {
            close_code(frame.as_ref().map(|frame| frame.code.into()))
        }
        Some(Ok(message)) => return Ok(message),
        Some(Err(error @ (Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_)))) => {
            return Err(failed(&error));
        }
        Some(Err(_)) | None => ABNORMAL,
    };
    *tried.closes.entry(code).or_default() += 1;
    let detail = format!("the connection was closed with {code}");
    Err(Failure::new("closed", detail))
}

/// The code of a close frame, if it has one.
pub(super) fn close_code(code: Option<u16>) -> u16 {
    code.unwrap_or(NO_STATUS)
}

fn failed(error: &Error) -> Failure {
    let reason = match error {
        Error::Io(_) => "connection",
        Error::ConnectionClosed | Error::AlreadyClosed => "closed",
        _ => "protocol",
    };
    Failure::new(reason, error)
}
