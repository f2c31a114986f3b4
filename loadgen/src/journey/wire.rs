//! A socket that remembers what happened to it. What hyper reports of an HTTP/2 connection does not
//! tell a reset from an orderly end, and nothing tells when a request was really written; both are
//! noted here, where they happen. What they mean for a request is left to `failure`.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;

use crate::worker::Gauges;

/// Plain or within TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What happened to a socket.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    error: Cell<Option<io::ErrorKind>>,
    ended: Cell<bool>,
    received: Cell<u64>,
    written: Cell<Option<Instant>>,
    cut: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    first_bytes: Notify,
}

/// An open socket; counted as a connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    fate: Rc<Fate>,
    gauges: Arc<Gauges>,
}

impl Fate {
    /// The error that broke the socket.
    pub(crate) fn error(&self) -> Option<io::ErrorKind> {
        self.error.get()
    }

    /// Whether the target ended its side.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Bytes received so far, within TLS.
    pub(crate) fn received(&self) -> u64 {
        self.received.get()
    }

    /// Forgets the time of the last write, so that the next one is noted.
    pub(crate) fn await_write(&self) {
        self.written.set(None);
    }

    /// When the first write since [`Self::await_write`] began.
    pub(crate) fn written(&self) -> Option<Instant> {
        self.written.get()
    }

    /// Waits for the first bytes of the target; by the time this returns they have been read.
    pub(crate) async fn first_bytes(&self) {
        self.first_bytes.notified().await;
    }

    /// Ends the connection at once, whatever is still to be sent on it.
    pub(crate) fn cut(&self) {
        self.cut.set(true);
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    fn note_read(&self, bytes: usize) {
        if bytes == 0 {
            self.ended.set(true);
            return;
        }
        if self.received.get() == 0 {
            self.first_bytes.notify_one();
        }
        self.received.set(self.received.get() + bytes as u64);
    }

    fn note_write(&self) {
        if self.written.get().is_none() {
            self.written.set(Some(Instant::now()));
        }
    }

    fn note_result<T>(&self, polled: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = polled {
            self.error.set(Some(error.kind()));
        }
    }

    fn keep_reader(&self, waker: &Waker) {
        let mut reader = self.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *reader = Some(waker.clone());
        }
    }
}

impl Wire {
    /// Counts the socket as a connection.
    pub(crate) fn new(stream: Stream, gauges: Arc<Gauges>) -> Self {
        gauges.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            stream,
            fate: Rc::default(),
            gauges,
        }
    }

    /// What happens to it from now on.
    pub(crate) fn fate(&self) -> Rc<Fate> {
        Rc::clone(&self.fate)
    }

    fn write_with<T>(
        &mut self,
        write: impl FnOnce(&mut Stream) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.fate.cut.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.fate.note_write();
        let polled = write(&mut self.stream);
        self.fate.note_result(&polled);
        polled
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.gauges.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.fate.cut.get() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        match &polled {
            Poll::Pending => this.fate.keep_reader(cx.waker()),
            Poll::Ready(Ok(())) => this.fate.note_read(buf.filled().len() - before),
            Poll::Ready(Err(_)) => this.fate.note_result(&polled),
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write_with(|stream| match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write_with(|stream| match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        })
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.fate.cut.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.fate.cut.get() {
            return Poll::Ready(Ok(()));
        }
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
