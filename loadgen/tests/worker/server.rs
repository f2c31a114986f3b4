//! Small servers with a behaviour of their own, one thread per connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No connection lives longer, whatever a test does.
const LIFETIME: Duration = Duration::from_secs(30);

/// A server on a port of its own; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    ended: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    /// A server that does this with every connection.
    pub(crate) fn new(behave: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let ended = Arc::new(AtomicBool::new(false));
        let behave = Arc::new(behave);
        let is_over = Arc::clone(&ended);
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                stream
                    .set_read_timeout(Some(LIFETIME))
                    .expect("a timeout above zero");
                stream
                    .set_write_timeout(Some(LIFETIME))
                    .expect("a timeout above zero");
                stream.set_nodelay(true).expect("an open socket");
                let behave = Arc::clone(&behave);
                std::thread::spawn(move || behave(stream));
            }
        });
        Self {
            address,
            ended,
            listening: Some(listening),
        }
    }

    /// A server that answers every request on a connection with what this gives, or closes.
    pub(crate) fn answering(answer: impl Fn() -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::new(move |mut stream| {
            while next_request(&mut stream) {
                let Some(answer) = answer() else { return };
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(listening) = self.listening.take()
            && woken
        {
            listening
                .join()
                .expect("an accepting thread does not panic");
        }
    }
}

/// Reads a request without a body; false where the connection has ended.
pub(crate) fn next_request(stream: &mut TcpStream) -> bool {
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

/// Waits until the other side has closed.
pub(crate) fn await_close(stream: &mut TcpStream) {
    let mut buffer = [0; 4_096];
    let begun = Instant::now();
    while begun.elapsed() < LIFETIME {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
