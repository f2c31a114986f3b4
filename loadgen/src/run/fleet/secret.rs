//! How coordinator and workers know each other: a random token that the worker shows, and the
//! fingerprint of a certificate, made for this run, that the coordinator shows.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

/// The environment variable by which children get the secret: it is in no process list.
pub const SECRET_VARIABLE: &str = "DRIFTLINE_LOAD_SECRET";
/// The name in the certificate; the fingerprint is what counts.
pub(crate) const SERVER_NAME: &str = "driftline-coordinator";
/// Largest file that can be a secret.
const MAX_FILE_BYTES: u64 = 1 << 10;
const BYTES: usize = 32;

/// Token and fingerprint.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    token: [u8; BYTES],
    fingerprint: [u8; BYTES],
}

/// A secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not the text of one.
    #[error(
        "this is no secret of a load run: expected two numbers of 64 hexadecimal digits with a colon between them"
    )]
    Malformed,
    /// The file cannot be read or written.
    #[error("cannot use the token file {path}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

impl fmt::Debug for Secret {
    /// Never the token: it must not come into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Secret {
    /// A fresh token, a fresh certificate and the server that shows it.
    pub(crate) fn generate() -> Result<(Self, Arc<ServerConfig>), SecretError> {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let secret = Self {
            token: rand::random(),
            fingerprint: fingerprint(&certificate),
        };
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok((secret, Arc::new(server)))
    }

    /// Reads the text of a secret.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let (token, fingerprint) = text.trim().split_once(':').ok_or(SecretError::Malformed)?;
        Ok(Self {
            token: from_hex(token).ok_or(SecretError::Malformed)?,
            fingerprint: from_hex(fingerprint).ok_or(SecretError::Malformed)?,
        })
    }

    /// Reads the file of a secret.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let file_error = |source| SecretError::File {
            path: path.to_owned(),
            source,
        };
        let length = std::fs::metadata(path).map_err(file_error)?.len();
        if length > MAX_FILE_BYTES {
            return Err(SecretError::Malformed);
        }
        Self::parse(&std::fs::read_to_string(path).map_err(file_error)?)
    }

    /// Writes the file of a secret, which nobody else may read.
    pub(crate) fn write(&self, path: &Path) -> Result<(), SecretError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        // A file that is there might be readable by others: it is made anew.
        let write = || {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            writeln!(file, "{}", self.expose())
        };
        write().map_err(|source| SecretError::File {
            path: path.to_owned(),
            source,
        })
    }

    /// The text, for the environment of a child and for the file alone.
    pub(crate) fn expose(&self) -> String {
        format!("{}:{}", self.token_text(), hex(&self.fingerprint))
    }

    /// What a worker shows.
    pub(crate) fn token_text(&self) -> String {
        hex(&self.token)
    }

    /// Whether this is the token; takes the same time wherever it differs.
    pub(crate) fn is_token(&self, shown: &str) -> bool {
        let Some(shown) = from_hex(shown) else {
            return false;
        };
        let difference = self.token.iter().zip(shown).fold(0, |sum, (own, shown)| {
            std::hint::black_box(sum | (own ^ shown))
        });
        difference == 0
    }

    /// A client that talks to nobody but the server with this fingerprint.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>, SecretError> {
        let provider = Arc::new(ring::default_provider());
        let pinned = Pinned {
            fingerprint: self.fingerprint,
            provider: Arc::clone(&provider),
        };
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned))
            .with_no_client_auth();
        Ok(Arc::new(client))
    }
}

/// Takes one certificate, by its fingerprint, and checks that the server holds its key.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; BYTES],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if fingerprint(end_entity) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// SHA-256 of a certificate.
fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; BYTES] {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .expect("it is a suite of TLS 1.3");
    let hash = suite.common.hash_provider.hash(certificate);
    hash.as_ref()
        .try_into()
        .expect("the suite hashes by SHA-256")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    if text.len() != 2 * BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_text_and_its_file_and_is_never_shown() {
        let (secret, _) = Secret::generate().expect("it can be made");
        assert_eq!(Secret::parse(&secret.expose()).expect("own text"), secret);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "old").expect("it can be written");
        secret.write(&path).expect("it can be written");
        assert_eq!(Secret::read(&path).expect("own file"), secret);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{secret:?}").contains(&secret.token_text()));
    }

    #[test]
    fn only_the_token_is_the_token() {
        let (secret, _) = Secret::generate().expect("it can be made");
        let token = secret.token_text();
        assert!(secret.is_token(&token));
        let mut other = token.clone();
        let last = if token.ends_with('0') { "1" } else { "0" };
        other.replace_range(63.., last);
        for wrong in [
            other.as_str(),
            "",
            &token[1..],
            &token.replace(|_| true, "z"),
        ] {
            assert!(!secret.is_token(wrong), "{wrong:?} was taken");
        }
        for text in ["", ":", "ab:cd", &"é".repeat(64)] {
            assert!(Secret::parse(text).is_err());
        }
    }
}
