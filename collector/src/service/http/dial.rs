//! Connections of probes, step by step and each step timed: the name's lookup, TCP, TLS.
//!
//! What is sent on them is left to the probes.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;
use x509_cert::der::Decode as _;

use crate::clock;
use crate::service::{ServiceError, roots};

/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Where a probe goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether TLS is spoken.
    pub(crate) is_secure: bool,
    /// Host and port as the Host header has them.
    pub(crate) authority: String,
    pub(crate) path_and_query: String,
    /// The address without its query, for messages.
    pub(crate) shown: String,
}

/// What went wrong, in words that are fit for a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
}

/// How long the steps took, in nanoseconds; `None` for a step that was not needed or not done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Steps {
    pub(crate) dns_ns: Option<u64>,
    pub(crate) connect_ns: Option<u64>,
    pub(crate) tls_ns: Option<u64>,
    /// Seconds until the certificate expires.
    pub(crate) cert_remaining_s: Option<i64>,
}

/// A connection, with or without TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// How TLS is spoken.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    noting: Arc<Noting>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl Failure {
    pub(crate) fn new(reason: &'static str, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
        }
    }

    pub(crate) fn timeout(after: Duration) -> Self {
        let detail = format!("there was no answer within {:.1} s", after.as_secs_f64());
        Self::new("timeout", detail)
    }
}

impl Target {
    /// Takes an address apart; `schemes` are the plain one and the one with TLS.
    pub(crate) fn parse(address: &str, schemes: [&str; 2]) -> Result<Self, ServiceError> {
        let refuse = |what: &str| ServiceError::Misconfigured {
            what: format!("the address of a probe {what}"),
            remedy: format!("write {}://host:port/path", schemes[0]),
        };
        let url = Url::parse(address).map_err(|error| refuse(&format!("is none ({error})")))?;
        let is_secure = url.scheme() == schemes[1];
        if !schemes.contains(&url.scheme()) {
            return Err(refuse("has another scheme"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("holds credentials, which belong into a header"));
        }
        let host = url.host_str().ok_or_else(|| refuse("has no host"))?;
        let port = url
            .port_or_known_default()
            .ok_or_else(|| refuse("has no port"))?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let query = url
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        Ok(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
            is_secure,
            shown: format!("{}://{authority}{}", url.scheme(), url.path()),
            path_and_query: format!("{}{query}", url.path()),
            authority,
        })
    }
}

/// Connects and notes how long each step took, also where a later one fails.
pub(crate) async fn dial(
    target: &Target,
    tls: Option<&Tls>,
    steps: &mut Steps,
) -> Result<Stream, Failure> {
    let begun = clock::mono_ns();
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let addresses: Vec<_> = found
        .map_err(|error| Failure::new("dns", error))?
        .take(MAX_ADDRESSES)
        .collect();
    let resolved = clock::mono_ns();
    if target.host.parse::<std::net::IpAddr>().is_err() {
        steps.dns_ns = Some(resolved - begun);
    }
    let mut outcome = Err(Failure::new("dns", "the name has no address"));
    for address in addresses {
        outcome = TcpStream::connect(address).await.map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::ConnectionRefused => "refused",
                io::ErrorKind::TimedOut => "timeout",
                _ => "connection",
            };
            Failure::new(reason, format!("{address}: {error}"))
        });
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    // Small requests must not wait for acknowledgements; where it cannot be set they do.
    let _ = stream.set_nodelay(true);
    let connected = clock::mono_ns();
    steps.connect_ns = Some(connected - resolved);
    let Some(tls) = tls.filter(|_| target.is_secure) else {
        return Ok(Stream::Plain(stream));
    };
    let name =
        ServerName::try_from(target.host.clone()).map_err(|error| Failure::new("tls", error))?;
    tls.noting.forget();
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let outcome = connector.connect(name, stream).await;
    steps.cert_remaining_s = tls.noting.remaining_s();
    let stream = outcome.map_err(|error| Failure::new("tls", error))?;
    steps.tls_ns = Some(clock::mono_ns() - connected);
    Ok(Stream::Secure(Box::new(stream)))
}

impl Tls {
    /// Trusts the system's certificates, or those of a file instead.
    pub(crate) fn new(ca_file: Option<&Path>, protocols: &[&[u8]]) -> Result<Self, ServiceError> {
        let roots = roots::trusted(ca_file, "ca_file")?;
        let provider = Arc::new(ring::default_provider());
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| ServiceError::Unavailable {
                    what: format!("a verifier of certificates ({error})"),
                    remedy: "please report it".to_owned(),
                })?;
        let noting = Arc::new(Noting {
            inner,
            seen: Mutex::new(None),
        });
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Noting>::clone(&noting);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the ring provider knows the default versions of TLS")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // A resumed session would be faster than what a new client sees.
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            noting,
        })
    }
}

/// Verifies as usual and notes the server's certificate, so that its expiry is known also when it is
/// the reason for refusing it.
#[derive(Debug)]
struct Noting {
    inner: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<i64>>,
}

impl Noting {
    fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn remaining_s(&self) -> Option<i64> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds from then until a certificate expires; `None` where it is not understood.
fn remaining_s(certificate: &CertificateDer<'_>, now: UnixTime) -> Option<i64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate.validity.not_after;
    let end_s = i64::try_from(end.to_unix_duration().as_secs()).ok()?;
    Some(end_s - i64::try_from(now.as_secs()).ok()?)
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = remaining_s(end_entity, now);
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl Stream {
    /// Whether HTTP/2 was agreed upon.
    pub(crate) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
