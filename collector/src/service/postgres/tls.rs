//! Encrypted connections: with certificates that are checked, or, where the operator asks for
//! encryption alone, with any certificate.

use std::fs;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresConfig;
use crate::service::ServiceError;

/// Connects with any certificate.
pub(super) fn unverified() -> Result<MakeRustlsConnect, ServiceError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS", &error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Connects where the certificate is for the host's name and comes from a trusted authority.
pub(super) fn verified(options: &PostgresConfig) -> Result<MakeRustlsConnect, ServiceError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS", &error))?
        .with_root_certificates(roots(options)?)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn roots(options: &PostgresConfig) -> Result<RootCertStore, ServiceError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &options.ssl_root_cert else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let what = format!("ssl_root_cert {}", path.display());
    let pem = fs::read(path).map_err(|error| wrong(&what, &error))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(&what, &error))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(&what, &error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&what, &"it holds no certificate"));
    }
    Ok(roots)
}

fn wrong(what: &str, error: &dyn std::fmt::Display) -> ServiceError {
    ServiceError::Misconfigured {
        what: format!("{what}: {error}"),
        remedy: "name a readable file of certificates in PEM".to_owned(),
    }
}

/// Takes any certificate; the handshake's signatures are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
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
