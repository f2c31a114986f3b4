//! What connections within TLS begin with: the certificates to trust, those of the system and of the
//! scenario, or any at all, and a configuration that all connections of a worker share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::scenario::{HttpOptions, HttpVersion};
use crate::worker::Context;

/// TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of certificates cannot be read.
    #[error("cannot read the certificates in {path}: give a PEM file as `ca`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in it is none of an authority.
    #[error(
        "the certificates in {path} cannot be trusted: give a PEM file with CA certificates as `ca`"
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// It holds none.
    #[error("there is no certificate in {path}: give a PEM file with CA certificates as `ca`")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The target's name cannot stand in a certificate.
    #[error(
        "the name {host} cannot stand in a certificate: give the target by a DNS name or an address"
    )]
    Name {
        /// The name.
        host: String,
        /// Why not.
        source: InvalidDnsNameError,
    },
}

/// What every TLS connection of a worker begins with.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    /// The name that the target's certificate must be for.
    pub(crate) name: ServerName<'static>,
}

impl Tls {
    /// As the scenario asks for it, where the target wants TLS. A protocol is named where the
    /// connection depends on it.
    pub(crate) fn of(
        context: &Context,
        protocol: Option<HttpVersion>,
    ) -> Result<Option<Self>, TlsError> {
        let target = &context.target;
        target
            .tls
            .then(|| Self::new(&context.scenario.http, &target.host, protocol))
            .transpose()
    }

    /// Sessions are resumed as far as rustls does by default, as a browser would.
    fn new(
        options: &HttpOptions,
        host: &str,
        protocol: Option<HttpVersion>,
    ) -> Result<Self, TlsError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|source| TlsError::Name {
            host: host.to_owned(),
            source,
        })?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the ring provider knows the default versions of TLS");
        let mut config = if options.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
                .with_no_client_auth()
        } else {
            builder
                .with_root_certificates(roots(options.ca.as_deref())?)
                .with_no_client_auth()
        };
        config.alpn_protocols = protocol.map(|one| alpn(one).to_vec()).into_iter().collect();
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }
}

/// The protocol's name in ALPN.
pub(crate) const fn alpn(version: HttpVersion) -> &'static [u8] {
    match version {
        HttpVersion::Http1 => b"http/1.1",
        HttpVersion::Http2 => b"h2",
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "some of the system's certificates cannot be read");
    }
    // Those that cannot be used are left out, as every other client does.
    roots.add_parsable_certificates(native.certs);
    let Some(path) = ca else { return Ok(roots) };
    let read = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        roots
            .add(certificate.map_err(read)?)
            .map_err(|source| TlsError::Certificate {
                path: path.to_owned(),
                source,
            })?;
        count += 1;
    }
    if count == 0 {
        return Err(TlsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}

/// Takes any certificate, for targets of one's own under `insecure = true`; signatures are checked
/// all the same, so that the cost of a handshake is the real one.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
