//! The barest echo server that measurements of [`driftline_loadgen::websocket`] need: one thread,
//! one epoll instance, no limits and no defence. Prints its address. `raw` as its argument echoes
//! bytes instead of WebSocket messages. Ends when its standard input does.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LISTENER: u64 = u64::MAX;

struct Peer {
    socket: TcpStream,
    is_open: bool,
    rest: Vec<u8>,
}

fn main() -> io::Result<()> {
    let is_raw = std::env::args().nth(1).is_some_and(|mode| mode == "raw");
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    listener.listen(4_096)?;
    let listener: TcpListener = listener.into();
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    std::thread::spawn(|| {
        // The parent's end is the end.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poller,
        &listener,
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
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    let slot = free.pop().unwrap_or(peers.len());
                    let flags = EventFlags::IN;
                    epoll::add(&poller, &socket, EventData::new_u64(slot as u64), flags)?;
                    let peer = Some(Peer {
                        socket,
                        is_open: is_raw,
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
            if !matches!(serve(peer, &mut buffer, is_raw), Ok(true)) {
                peers[slot] = None;
                free.push(slot);
            }
        }
    }
}

/// Whether the connection goes on.
fn serve(peer: &mut Peer, buffer: &mut [u8], is_raw: bool) -> io::Result<bool> {
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
        return shake(peer, &buffer[..length]);
    }
    if peer.rest.is_empty() {
        let used = echo(&mut peer.socket, &mut buffer[..length])?;
        peer.rest.extend_from_slice(&buffer[used..length]);
    } else {
        peer.rest.extend_from_slice(&buffer[..length]);
        let used = echo(&mut peer.socket, &mut peer.rest)?;
        peer.rest.drain(..used);
    }
    Ok(true)
}

fn shake(peer: &mut Peer, request: &[u8]) -> io::Result<bool> {
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
    Ok(true)
}

/// Sends every whole frame back, pings as pongs; how many bytes were used.
fn echo(socket: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
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
        out.push(if first == 0x89 { 0x8a } else { first });
        out.push(second & 0x7f);
        out.extend_from_slice(&bytes[at + 2..at + 2 + extended]);
        out.extend_from_slice(&bytes[content..content + length]);
        at = content + length;
    }
    socket.write_all(&out)?;
    Ok(at)
}
