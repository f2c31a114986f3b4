//! The simplest fast HTTP server: one thread, one CPU, one prebuilt answer for every request that
//! ends with an empty line. It is what the speed of clients is measured against; it checks nothing.
//! For each line of its standard input it prints how many requests it has answered.
//!
//! `bare_server PORT [CPU] [CONTENT_LENGTH]`

#[path = "bare/told.rs"]
mod told;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The listener's token; connections have their index.
const LISTENER: u64 = u64::MAX;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        let argument = arguments.next();
        argument.map_or(default, |text| text.parse().expect("a number"))
    };
    let (port, cpu, length) = (number(8099), number(usize::MAX), number(13));
    if cpu < CpuSet::MAX_CPU {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set)?;
    }
    let body = "x".repeat(length);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answered = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answered);
    // Started in the background it has no input, and serves all the same.
    told::on_request(move || counted.load(Ordering::Relaxed).to_string(), || {});
    let port = u16::try_from(port).expect("a port");
    serve(port, answer.as_bytes(), &answered)
}

fn serve(port: u16, answer: &[u8], answered: &AtomicU64) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 64 * 1_024];
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let at = free.pop().unwrap_or(streams.len());
                    let data = EventData::new_u64(at as u64);
                    epoll::add(&epoll, &stream, data, EventFlags::IN)?;
                    if at == streams.len() {
                        streams.push(None);
                    }
                    streams[at] = Some(stream);
                }
                continue;
            }
            let at = token as usize;
            let is_open = streams[at]
                .as_mut()
                .is_some_and(|stream| answer_one(stream, &mut buffer, answer, answered));
            if !is_open {
                streams[at] = None;
                free.push(at);
            }
        }
    }
}

/// Says whether the connection is still open.
fn answer_one(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    answer: &[u8],
    answered: &AtomicU64,
) -> bool {
    match stream.read(buffer) {
        Ok(0) => false,
        Ok(count) if buffer[..count].ends_with(b"\r\n\r\n") => {
            let is_written = stream.write_all(answer).is_ok();
            answered.fetch_add(u64::from(is_written), Ordering::Relaxed);
            is_written
        }
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
