//! A connection to a webhook's host: TCP, and TLS by the system's certificates where the address
//! asks for it.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Address, NotifyError};

/// What bytes travel on.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Connects to an address, or says why not.
pub(super) async fn connect(
    address: &Address,
    tls: Option<&Arc<ClientConfig>>,
) -> std::io::Result<Box<dyn Wire>> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(Box::new(tcp));
    };
    let name = ServerName::try_from(address.host.clone()).map_err(std::io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, tcp)
        .await?;
    Ok(Box::new(stream))
}

/// Trusts the system's certificates and those of a file.
pub(super) fn trust(ca: Option<&Path>) -> Result<Arc<ClientConfig>, NotifyError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "some of the system's certificates cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca {
        add_file(&mut roots, path)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("invariant: the ring provider knows the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), NotifyError> {
    let refuse = |reason: String| NotifyError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| refuse(error.to_string()))?;
    if certificates.is_empty() {
        return Err(refuse("it holds no certificate in PEM".to_owned()));
    }
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| refuse(error.to_string()))?;
    }
    Ok(())
}
