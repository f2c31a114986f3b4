//! Which certificates are trusted: those of the system, or those of a file instead.
//!
//! A file is taken wholly or not at all: one that is read in part trusts fewer than its owner thinks.

use std::fmt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::ServiceError;

/// The certificates of a file in PEM; of the system where none is named. `option` is what names it.
///
/// # Errors
/// A file that cannot be read, holds something else, or nothing; a system without certificates.
pub(super) fn trusted(file: Option<&Path>, option: &str) -> Result<RootCertStore, ServiceError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        // What cannot be read of them is as good as absent.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(ServiceError::Unavailable {
                what: "a certificate of an authority that the system trusts".to_owned(),
                remedy: format!(
                    "install the system's certificates (ca-certificates), or name a file as {option}"
                ),
            });
        }
        return Ok(roots);
    };
    let refuse = |problem: &dyn fmt::Display| ServiceError::Misconfigured {
        what: format!("{option} {}: {problem}", path.display()),
        remedy: "name a readable file of certificates in PEM, and of nothing else".to_owned(),
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| refuse(&error))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| refuse(&error))?;
        roots.add(certificate).map_err(|error| refuse(&error))?;
    }
    if roots.is_empty() {
        return Err(refuse(&"it holds no certificate"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> String {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        made.expect("a certificate").cert.pem()
    }

    #[test]
    fn all_certificates_of_a_file_are_trusted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, certificate() + &certificate()).expect("writable");
        let roots = trusted(Some(&path), "ca_file").expect("two certificates");
        assert_eq!(roots.len(), 2);
    }

    #[test]
    fn a_file_is_not_taken_in_part() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        let good = certificate();
        let cut = good.replace("-----END CERTIFICATE-----", "");
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in [
            String::new(),
            "no certificate".to_owned(),
            good.clone() + odd,
            good + &cut,
        ] {
            std::fs::write(&path, &text).expect("writable");
            let error = trusted(Some(&path), "ca_file")
                .expect_err("refused")
                .to_string();
            let expected = format!("ca_file {}", path.display());
            assert!(error.starts_with(&expected), "{error}");
        }
        let missing = trusted(Some(Path::new("/nowhere/ca.pem")), "ssl_root_cert");
        let error = missing.expect_err("missing").to_string();
        assert!(error.contains("ssl_root_cert /nowhere/ca.pem"), "{error}");
    }
}
