//! A target by hyper that remembers what it was asked, and raw ones that misbehave.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use driftline_loadgen::scenario::HttpVersion;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) connection: u32,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authority: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("it is text"))
    }
}

/// What a server saw, and what holds its answers back.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) seen: RefCell<Vec<Seen>>,
    pub(crate) accepted: Cell<u32>,
    pub(crate) open: Cell<u32>,
    /// Requests for `/hold` under way, and the most there ever were.
    pub(crate) held: Cell<u32>,
    pub(crate) most_held: Cell<u32>,
    /// One for each `/hold` that may be answered.
    pub(crate) release: Semaphore,
    /// Ends connections in an orderly way before their next request, as servers do when they restart.
    pub(crate) leave: tokio::sync::Notify,
}

/// A running server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Rc<State>,
}

/// How a server serves.
#[derive(Clone, Default)]
pub(crate) struct Serving {
    pub(crate) version: HttpVersion,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) max_streams: Option<u32>,
}

impl Server {
    /// A plain server.
    pub(crate) async fn plain(version: HttpVersion) -> Self {
        Self::start(Serving {
            version,
            ..Serving::default()
        })
        .await
    }

    pub(crate) async fn start(serving: Serving) -> Self {
        let state = Rc::new(State {
            seen: RefCell::default(),
            accepted: Cell::new(0),
            open: Cell::new(0),
            held: Cell::new(0),
            most_held: Cell::new(0),
            release: Semaphore::new(0),
            leave: tokio::sync::Notify::new(),
        });
        let own = Rc::clone(&state);
        let address = raw(move |stream| {
            let (state, serving) = (Rc::clone(&own), serving.clone());
            async move {
                state.accepted.set(state.accepted.get() + 1);
                state.open.set(state.open.get() + 1);
                match &serving.tls {
                    None => serve(stream, &state, &serving).await,
                    // A client that refuses the certificate ends the handshake.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, &state, &serving).await;
                        }
                    }
                }
                state.open.set(state.open.get() - 1);
            }
        })
        .await;
        Self { address, state }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.borrow().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

/// A server of another kind: each connection goes to `each`.
pub(crate) async fn raw<F: Future<Output = ()> + 'static>(
    mut each: impl FnMut(TcpStream) -> F + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(each(stream));
        }
    });
    address
}

async fn serve<S>(stream: S, state: &Rc<State>, serving: &Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = state.accepted.get();
    let service = service_fn(|request| answer(request, Rc::clone(state), connection));
    let io = TokioIo::new(stream);
    // How the connection ends is what the client records.
    let _ = match serving.version {
        HttpVersion::Http1 => {
            let mut serving = std::pin::pin!(http1::Builder::new().serve_connection(io, service));
            tokio::select! {
                ended = serving.as_mut() => ended,
                () = state.leave.notified() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            }
        }
        HttpVersion::Http2 => {
            let mut builder = http2::Builder::new(LocalExecutor);
            builder.max_concurrent_streams(serving.max_streams);
            let service = service_fn(|request| answer(request, Rc::clone(state), connection));
            let mut serving = std::pin::pin!(builder.serve_connection(io, service));
            tokio::select! {
                ended = serving.as_mut() => ended,
                () = state.leave.notified() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            }
        }
    };
}

async fn answer(
    request: Request<Incoming>,
    state: Rc<State>,
    connection: u32,
) -> Result<Response<Body>, &'static str> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|_| "no whole body")?
        .to_bytes();
    let path = head
        .uri
        .path_and_query()
        .expect("it has a path")
        .to_string();
    state.seen.borrow_mut().push(Seen {
        connection,
        method: head.method.to_string(),
        path: path.clone(),
        authority: head.uri.authority().map(ToString::to_string),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("it is text"),
    });
    let mut parts = path.trim_start_matches('/').split(['/', '?']);
    let response = Response::builder();
    let response = match parts.next().unwrap_or_default() {
        "status" => response
            .status(parts.next().expect("a status"))
            .body(full("status")),
        "empty" => response.status(204).body(full("")),
        "json" => response
            .header("x-token", "t&1")
            .body(full(r#"{"id":7,"name":"a/b c","evil":"a\r\nx: y"}"#)),
        "login" => response
            .header("set-cookie", "sid=1; Path=/; HttpOnly")
            .header("set-cookie", "deep=2; Path=/deep")
            .body(full("in")),
        "logout" => response
            .header("set-cookie", "sid=; Path=/; Max-Age=0")
            .body(full("out")),
        "redirect" => {
            let status = parts.next().expect("a status");
            let (_, to) = path.split_once(&format!("{status}/")).expect("a place");
            let to = to.replace("loop", &format!("redirect/{status}/loop"));
            let to = if to.starts_with("http:") {
                to
            } else {
                format!("/{to}")
            };
            response
                .status(status)
                .header("location", to)
                .body(full("elsewhere"))
        }
        "gzip" => response
            .header("content-encoding", "gzip")
            .body(full(gzip(b"plain text"))),
        "bomb" => response
            .header("content-encoding", "gzip")
            .body(full(gzip(&[0; 1 << 21]))),
        "broken" => response
            .header("content-encoding", "gzip")
            .body(full("no gzip at all")),
        "deflate" => response
            .header("content-encoding", "deflate")
            .body(full(zlib(b"plain text"))),
        "chunked" => response.body(chunks(3, |number| format!("<chunk {number}>"))),
        "flood" => response.body(chunks(200, |_| "x".repeat(16 << 10))),
        "big" => response.body(full("x".repeat(2 << 20))),
        "hold" => {
            state.held.set(state.held.get() + 1);
            state
                .most_held
                .set(state.most_held.get().max(state.held.get()));
            let _held = Held(&state);
            state
                .release
                .acquire()
                .await
                .map_err(|_| "closed")?
                .forget();
            return Ok(Response::new(full("held")));
        }
        "fail" => return Err("the server fails"),
        _ if head.method == http::Method::HEAD => response.body(full("")),
        _ => response.body(full("ok")),
    };
    response.map_err(|_| "no response")
}

/// Counts down even where the client gives up.
struct Held<'a>(&'a State);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get() - 1);
    }
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}

fn chunks(count: u32, text: impl Fn(u32) -> String + Send + 'static) -> Body {
    let chunk = move |number| Ok(Frame::data(Bytes::from(text(number))));
    StreamBody::new(futures::stream::iter((0..count).map(chunk))).boxed_unsync()
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

/// Closes a connection by a reset instead of an orderly end.
pub(crate) fn reset(stream: &TcpStream) {
    let stream = socket2::SockRef::from(stream);
    stream
        .set_linger(Some(Duration::ZERO))
        .expect("a socket lingers as it is told");
}

#[derive(Clone)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
