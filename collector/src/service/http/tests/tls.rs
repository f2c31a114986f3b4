//! Probes over TLS, with HTTP/1.1 and HTTP/2. The certificates are made by the tests.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ::http::{Request, Response, Version};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
/// When the certificates expire: 2040-01-01, in seconds since 1970 UTC.
const EXPIRY_S: f64 = 2_208_988_800.0;
/// The time between the probe and the assertion cannot be longer.
const PATIENCE_S: f64 = 600.0;

/// An authority of the test's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), issuer.pem()).expect("writable");
        Self { issuer, file }
    }

    /// Accepts TLS for this name, with a certificate until that year.
    fn acceptor(&self, name: &str, until: i32, alpn: &[&[u8]]) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let signed = params.signed_by(&key, &self.issuer);
        let certificate = signed.expect("it can be signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("key and certificate fit");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    versions: Mutex<Vec<Version>>,
}

impl Seen {
    fn note(&self, version: Version) {
        self.versions.lock().expect("no panic").push(version);
    }
}

/// Answers everything with `hello`, or nothing where it does not answer.
async fn secure(acceptor: TlsAcceptor, answers: bool) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let seen = Arc::new(Seen::default());
    let noted = Arc::clone(&seen);
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            noted.connections.fetch_add(1, Ordering::Relaxed);
            let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
            drop(tokio::spawn(async move {
                // A client that does not trust the certificate breaks off.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request: Request<Incoming>| {
                    let noted = Arc::clone(&noted);
                    async move {
                        noted.note(request.version());
                        if !answers {
                            std::future::pending::<()>().await;
                        }
                        let body = Full::new(Bytes::from_static(b"hello"));
                        Ok::<_, Infallible>(Response::new(body))
                    }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                // How the connection ends is the client's affair.
                drop(
                    builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            }));
        }
    }));
    (address, seen)
}

fn over_tls(address: SocketAddr, ca_file: &Path) -> HttpProbeConfig {
    HttpProbeConfig {
        url: format!("https://localhost:{}/x?y", address.port()),
        ca_file: Some(ca_file.to_owned()),
        // Handshakes of a busy machine, in a build without optimisations.
        time_out: Duration::from_secs(20),
        ..config(address)
    }
}

fn has(rows: &[Row], metric: &str) -> bool {
    rows.iter().any(|row| row.0 == metric)
}

fn expected_remaining_s() -> f64 {
    EXPIRY_S - clock::now().wall_us as f64 / 1e6
}

#[tokio::test]
async fn every_step_of_a_probe_over_tls_is_timed() {
    let authority = Authority::new();
    for (alpn, version) in [(BOTH, Version::HTTP_2), (&BOTH[1..], Version::HTTP_11)] {
        let acceptor = authority.acceptor("localhost", 2040, alpn);
        let (address, seen) = secure(acceptor, true).await;
        let config = HttpProbeConfig {
            expect_body: "hello".to_owned(),
            ..over_tls(address, authority.file.path())
        };
        let (rows, events) = pass(&mut Probe::new(config)).await;
        assert!(events.is_empty(), "{events:?}");
        assert_eq!(value(&rows, "httpcheck.up", SHOP), 1.0);
        assert_eq!(seen.versions.lock().expect("no panic")[..], [version]);
        let steps: f64 = [
            "httpcheck.dns.lookup.duration",
            "httpcheck.client.connection.duration",
            "httpcheck.tls.handshake.duration",
            "httpcheck.response.first_byte.duration",
        ]
        .into_iter()
        .map(|metric| {
            let took = value(&rows, metric, SHOP);
            assert!(took > 0.0, "{metric}");
            took
        })
        .sum();
        let total = value(&rows, "httpcheck.duration", SHOP);
        assert!(steps <= total, "{steps} s of steps in {total} s");
        let remaining = value(&rows, "httpcheck.tls.cert_remaining", SHOP);
        let expected = expected_remaining_s();
        assert!((remaining - expected).abs() < PATIENCE_S, "{remaining}");
    }
}

#[tokio::test]
async fn a_connection_of_http2_is_used_again() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost", 2040, BOTH);
    let (address, seen) = secure(acceptor, true).await;
    let mut probe = Probe::new(HttpProbeConfig {
        reuse: true,
        ..over_tls(address, authority.file.path())
    });
    pass(&mut probe).await;
    let (rows, _) = pass(&mut probe).await;
    assert_eq!(value(&rows, "httpcheck.up", SHOP), 1.0);
    assert!(!has(&rows, "httpcheck.tls.handshake.duration"), "{rows:?}");
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
    assert_eq!(seen.versions.lock().expect("no panic").len(), 2);
}

#[tokio::test]
async fn certificates_that_are_not_to_be_trusted_are_refused_and_their_expiry_is_told() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let trusted = authority.file.path();
    for (issuer, name, until) in [
        (&stranger, "localhost", 2040),
        (&authority, "elsewhere", 2040),
        (&authority, "localhost", 2002),
    ] {
        let (address, seen) = secure(issuer.acceptor(name, until, BOTH), true).await;
        let (rows, events) = pass(&mut Probe::new(over_tls(address, trusted))).await;
        assert_eq!(value(&rows, "httpcheck.up", SHOP), 0.0, "{name} {until}");
        let labels = format!("error.type=tls,{SHOP}");
        assert_eq!(value(&rows, "httpcheck.errors", &labels), 1.0);
        assert_eq!(events.len(), 1, "{events:?}");
        let remaining = value(&rows, "httpcheck.tls.cert_remaining", SHOP);
        assert_eq!(remaining < 0.0, until == 2002, "{remaining}");
        assert!(!has(&rows, "httpcheck.tls.handshake.duration"));
        assert!(seen.versions.lock().expect("no panic").is_empty());
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_what_it_did_is_timed() {
    let authority = Authority::new();
    let short = |port: u16| HttpProbeConfig {
        name: "shop".to_owned(),
        time_out: Duration::from_millis(500),
        url: format!("https://localhost:{port}/"),
        ca_file: Some(authority.file.path().to_owned()),
        ..HttpProbeConfig::default()
    };
    // It takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let (rows, _) = pass(&mut Probe::new(short(port))).await;
    let labels = format!("error.type=timeout,{SHOP}");
    assert_eq!(value(&rows, "httpcheck.errors", &labels), 1.0);
    assert!(has(&rows, "httpcheck.client.connection.duration"));
    assert!(!has(&rows, "httpcheck.tls.handshake.duration"));
    // It takes the request and does not answer; the handshake of a busy machine may take long.
    let acceptor = authority.acceptor("localhost", 2040, BOTH);
    let (address, seen) = secure(acceptor, false).await;
    let config = HttpProbeConfig {
        time_out: Duration::from_secs(5),
        ..short(address.port())
    };
    let (rows, _) = pass(&mut Probe::new(config)).await;
    assert_eq!(value(&rows, "httpcheck.errors", &labels), 1.0);
    assert!(has(&rows, "httpcheck.tls.handshake.duration"));
    assert!(!has(&rows, "httpcheck.duration"));
    assert_eq!(seen.versions.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_file_of_other_things_than_certificates_is_not_taken() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "nothing of the kind").expect("writable");
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut probe = Probe::new(over_tls(address, file.path()));
    let mut out = Pass {
        recorder: Recorder::new(),
        batches: Vec::new(),
        events: Vec::new(),
        meter: Meter::default(),
    };
    let error = probe.pass(&mut out).await.expect_err("refused").to_string();
    let expected = format!("ca_file {}", file.path().display());
    assert!(error.contains(&expected), "{error}");
}
