//! A certificate for the occasion: made at the start, signed by itself, gone at the end.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// HTTP/2 in ALPN (RFC 7301).
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A certificate that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// By the generator of certificates.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// By TLS itself.
    #[error("cannot use the certificate")]
    Config(#[from] rustls::Error),
}

/// What accepts connections of TLS, and the certificate as PEM for clients to trust.
pub(crate) fn acceptor(address: SocketAddr) -> Result<(TlsAcceptor, String), TlsError> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let own = address.ip().to_string();
    if !address.ip().is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), cert.pem()))
}

/// Whether HTTP/2 was agreed on.
pub(crate) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}
