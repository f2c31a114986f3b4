//! HTTP/2 and TLS.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use driftline_loadgen::service::Service;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{PATIENCE, log_of, service};

type Sender = SendRequest<Full<Bytes>>;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let bounded = async { tokio::time::timeout(PATIENCE, test).await };
    runtime
        .expect("a runtime")
        .block_on(bounded)
        .expect("in time");
}

async fn client(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Sender {
    let io = TokioIo::new(stream);
    let (sender, connection) = handshake(TokioExecutor::new(), io)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn plain(service: &Service) -> Sender {
    client(
        TcpStream::connect(service.address())
            .await
            .expect("it accepts"),
    )
    .await
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://t{path}"));
    request.body(Full::from(body)).expect("a request")
}

async fn exchange(sender: &mut Sender, request: Request<Full<Bytes>>) -> (u16, Bytes) {
    let response = sender.send_request(request).await.expect("an answer");
    let status = response.status().as_u16();
    (status, whole(response).await.expect("a body"))
}

async fn whole(response: Response<Incoming>) -> hyper::Result<Bytes> {
    Ok(response.into_body().collect().await?.to_bytes())
}

#[test]
fn the_same_answers_come_over_http2() {
    let service = service(|config| config.slow_latency = std::time::Duration::from_millis(20));
    run(async {
        let mut sender = plain(&service).await;
        for (method, path, body, status, length) in [
            ("GET", "/", "", 200, 17),
            ("GET", "/items/3", "", 200, 38),
            ("GET", "/slow", "", 200, 5),
            ("GET", "/bytes/300000", "", 200, 300_000),
            ("GET", "/chunked/300000", "", 200, 300_000),
            ("HEAD", "/bytes/300000", "", 200, 0),
            ("GET", "/error", "", 500, 23),
            ("GET", "/ws/echo", "", 426, 41),
            ("POST", "/", "", 405, 34),
            ("POST", "/cart", r#"{"item":1}"#, 401, 34),
        ] {
            let (answered, body) = exchange(&mut sender, request(method, path, body)).await;
            assert_eq!(
                (answered, body.len()),
                (status, length),
                "{method} {path} {body:?}"
            );
        }
        let login = request("POST", "/login", r#"{"user":"ann","password":"secret"}"#);
        let (_, body) = exchange(&mut sender, login).await;
        let token: serde_json::Value = serde_json::from_slice(&body).expect("json");
        let mut cart = request("POST", "/cart", r#"{"item":1}"#);
        let bearer = format!("Bearer {}", token["token"].as_str().expect("a token"));
        cart.headers_mut()
            .insert("authorization", bearer.parse().expect("a value"));
        assert_eq!(exchange(&mut sender, cart).await.0, 200);
    });
    assert_eq!(
        log_of(&service, 12)
            .iter()
            .filter(|row| &*row.path == "/slow")
            .count(),
        1
    );
}

#[test]
fn streams_wait_side_by_side() {
    let service = service(|config| config.slow_latency = std::time::Duration::from_millis(100));
    run(async {
        let sender = plain(&service).await;
        let waits = (0..100).map(|_| {
            let mut sender = sender.clone();
            async move { exchange(&mut sender, request("GET", "/slow", "")).await.0 }
        });
        let statuses = futures::future::join_all(waits).await;
        assert_eq!(statuses, [200; 100]);
    });
    // All were in flight before the first was answered: one after the other, they would not be.
    let log = log_of(&service, 100);
    let first_end = log.iter().map(|row| row.end_us).min().expect("rows");
    assert!(log.iter().filter(|row| row.arrival_us < first_end).count() > 50);
}

#[test]
fn faults_end_their_stream_alone() {
    let service = service(|_| {});
    run(async {
        let mut sender = plain(&service).await;
        for path in ["/fault/reset", "/fault/close", "/fault/garbage"] {
            assert!(
                sender.send_request(request("GET", path, "")).await.is_err(),
                "{path}"
            );
        }
        let half = sender.send_request(request("GET", "/fault/half", "")).await;
        assert!(whole(half.expect("a head")).await.is_err());
        assert_eq!(exchange(&mut sender, request("GET", "/", "")).await.0, 200);
        let huge = Request::post("http://t/login").body(Full::from(vec![b'x'; 1_100_000]));
        let (status, _) = exchange(&mut sender, huge.expect("a request")).await;
        assert_eq!(status, 413);
    });
}

async fn encrypted(service: &Service, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let pem = service.certificate_pem().expect("it speaks tls");
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(service.address())
        .await
        .expect("it accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .expect("tls")
}

#[test]
fn tls_carries_both_versions() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("target.pem");
    let service = service(|config| {
        config.tls = true;
        config.tls_cert_out = Some(path.clone());
    });
    let written = std::fs::read_to_string(&path).expect("the certificate");
    assert_eq!(service.certificate_pem(), Some(&*written));
    assert!(service.url().starts_with("https://127.0.0.1:"));
    run(async {
        let stream = encrypted(&service, &[b"h2", b"http/1.1"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = client(stream).await;
        let (status, body) = exchange(&mut sender, request("GET", "/bytes/200000", "")).await;
        assert_eq!((status, body.len()), (200, 200_000));

        let mut stream = encrypted(&service, &[b"http/1.1"]).await;
        let text = "GET /bytes/200000 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .await
            .expect("an answer that ends in order");
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert_eq!(answer.iter().filter(|byte| **byte == b'x').count(), 200_000);
    });
}
