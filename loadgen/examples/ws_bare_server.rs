//! The barest echo server that measurements of [`driftline_loadgen::websocket`] need: one thread,
//! one epoll instance, no limits and no defence. Prints its address, and what it has counted for each
//! line of its standard input; ends when that does.
//!
//! `ws_bare_server [ws|raw] [ADDRESS]`: `raw` echoes bytes instead of WebSocket messages. Servers that
//! are given the same address share its connections, for a process has too few descriptors for all.

#[path = "bare/told.rs"]
mod told;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LISTENER: u64 = u64::MAX;

struct Peer {
    socket: TcpStream,
    is_open: bool,
    is_pinged: bool,
    rest: Vec<u8>,
}

/// What has happened since the start. Times are microseconds since 1970, 0 for never.
#[derive(Default)]
struct Counters {
    /// Connections that could not be accepted, as when descriptors run out.
    refused: AtomicU64,
    /// Connections that are open now, and when the first one was accepted.
    open: AtomicU64,
    first_us: AtomicU64,
    /// Handshakes, and when the last one was answered.
    shaken: AtomicU64,
    last_us: AtomicU64,
    /// Frames that were echoed or answered.
    answered: AtomicU64,
    /// Connections that have had a ping.
    pinged: AtomicU64,
    /// When the first connection ended.
    ended_us: AtomicU64,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let is_raw = arguments.next().is_some_and(|mode| mode == "raw");
    let address = arguments
        .next()
        .map(|text| text.parse().expect("an address"));
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let listener = listen(address)?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let counters = Arc::new(Counters::default());
    let counted = Arc::clone(&counters);
    // The parent's end is the end.
    told::on_request(move || counted.report(), || std::process::exit(0));
    run(&listener, is_raw, &counters)
}

fn listen(address: Option<SocketAddr>) -> io::Result<TcpListener> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.set_reuse_port(address.is_some())?;
    listener.set_reuse_address(address.is_some())?;
    let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
    listener.bind(&address.into())?;
    listener.listen(4_096)?;
    let listener: TcpListener = listener.into();
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Counters {
    fn report(&self) -> String {
        let numbers = [
            ("refused", &self.refused),
            ("open", &self.open),
            ("first_us", &self.first_us),
            ("shaken", &self.shaken),
            ("last_us", &self.last_us),
            ("answered", &self.answered),
            ("pinged", &self.pinged),
            ("ended_us", &self.ended_us),
        ];
        let members =
            numbers.map(|(name, number)| format!("\"{name}\":{}", number.load(Ordering::Relaxed)));
        format!("{{{}}}", members.join(","))
    }
}

/// Only the serving thread counts.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn once(time: &AtomicU64) {
    if time.load(Ordering::Relaxed) == 0 {
        time.store(now_us(), Ordering::Relaxed);
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

fn run(listener: &TcpListener, is_raw: bool, counters: &Counters) -> io::Result<()> {
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poller,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        events.clear();
        epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let mark = event.data.u64();
            if mark == LISTENER {
                loop {
                    let socket = match listener.accept() {
                        Ok((socket, _)) => socket,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(_) => {
                            count(&counters.refused);
                            break;
                        }
                    };
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    count(&counters.open);
                    once(&counters.first_us);
                    let slot = free.pop().unwrap_or(peers.len());
                    let flags = EventFlags::IN;
                    epoll::add(&poller, &socket, EventData::new_u64(slot as u64), flags)?;
                    let peer = Some(Peer {
                        socket,
                        is_open: is_raw,
                        is_pinged: false,
                        rest: Vec::new(),
                    });
                    if slot == peers.len() {
                        peers.push(peer);
                    } else {
                        peers[slot] = peer;
                    }
                }
                continue;
            }
            let slot = mark as usize;
            let Some(peer) = &mut peers[slot] else {
                continue;
            };
            if !matches!(serve(peer, &mut buffer, is_raw, counters), Ok(true)) {
                peers[slot] = None;
                free.push(slot);
                counters.open.fetch_sub(1, Ordering::Relaxed);
                once(&counters.ended_us);
            }
        }
    }
}

/// Whether the connection goes on.
fn serve(
    peer: &mut Peer,
    buffer: &mut [u8],
    is_raw: bool,
    counters: &Counters,
) -> io::Result<bool> {
    let length = match peer.socket.read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
        read => read?,
    };
    if length == 0 {
        return Ok(false);
    }
    if is_raw {
        peer.socket.write_all(&buffer[..length])?;
        return Ok(true);
    }
    if !peer.is_open {
        return shake(peer, &buffer[..length], counters);
    }
    if peer.rest.is_empty() {
        let used = echo(peer, &mut buffer[..length], counters)?;
        peer.rest.extend_from_slice(&buffer[used..length]);
    } else {
        let mut rest = std::mem::take(&mut peer.rest);
        rest.extend_from_slice(&buffer[..length]);
        let used = echo(peer, &mut rest, counters)?;
        rest.drain(..used);
        peer.rest = rest;
    }
    Ok(true)
}

fn shake(peer: &mut Peer, request: &[u8], counters: &Counters) -> io::Result<bool> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut headers);
    let is_whole = parsed
        .parse(request)
        .is_ok_and(|status| status.is_complete());
    let key = parsed
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
    let Some(key) = key.filter(|_| is_whole) else {
        return Ok(false);
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.value)
    );
    peer.socket.write_all(answer.as_bytes())?;
    peer.is_open = true;
    count(&counters.shaken);
    counters.last_us.store(now_us(), Ordering::Relaxed);
    Ok(true)
}

/// Sends every whole frame back, pings as pongs; how many bytes were used.
fn echo(peer: &mut Peer, bytes: &mut [u8], counters: &Counters) -> io::Result<usize> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let [first, second, ..] = bytes[at..] {
        let (extended, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, usize::from(short)),
        };
        let content = at + 2 + extended + 4;
        if bytes.len() < content {
            break;
        }
        let length = bytes[at + 2..at + 2 + extended]
            .iter()
            .fold(short, |length, byte| length << 8 | usize::from(*byte));
        if bytes.len() < content + length {
            break;
        }
        let mask: [u8; 4] = bytes[content - 4..content].try_into().expect("four bytes");
        for (byte, key) in bytes[content..content + length]
            .iter_mut()
            .zip(mask.into_iter().cycle())
        {
            *byte ^= key;
        }
        let is_ping = first == 0x89;
        out.push(if is_ping { 0x8a } else { first });
        out.push(second & 0x7f);
        out.extend_from_slice(&bytes[at + 2..at + 2 + extended]);
        out.extend_from_slice(&bytes[content..content + length]);
        at = content + length;
        count(&counters.answered);
        if is_ping && !peer.is_pinged {
            peer.is_pinged = true;
            count(&counters.pinged);
        }
    }
    peer.socket.write_all(&out)?;
    Ok(at)
}
