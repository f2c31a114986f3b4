//! TLS: which certificates are taken, and how HTTP/2 is agreed on.

use std::io::Write;
use std::sync::Arc;

use driftline_loadgen::journey::Client;
use driftline_loadgen::scenario::{HttpOptions, HttpVersion};
use driftline_loadgen::tls::TlsError;
use driftline_loadgen::{Failure, NEVER_NS};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{Fixture, get, run, steps, target};
use crate::server::{Server, Serving};

const NAME: &str = "shop.test";

/// An authority of the test's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let mut file = NamedTempFile::new().expect("a file can be made");
        file.write_all(issuer.pem().as_bytes())
            .expect("it can be written");
        Self { issuer, file }
    }

    /// A server whose certificate this authority signed.
    async fn server(&self, name: &str, expired: bool, alpn: &[&[u8]]) -> Server {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        if expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("it can be signed");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("key and certificate fit");
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let version = if alpn.contains(&b"h2".as_slice()) {
            HttpVersion::Http2
        } else {
            HttpVersion::Http1
        };
        let tls = Some(TlsAcceptor::from(Arc::new(config)));
        Server::start(Serving {
            version,
            tls,
            max_streams: None,
        })
        .await
    }
}

fn fixture(server: &Server, version: HttpVersion, edit: impl FnOnce(&mut HttpOptions)) -> Fixture {
    let url = format!("https://{NAME}:{}", server.address.port());
    Fixture::new(target(&url, server.address), |scenario| {
        scenario.http.version = version;
        edit(&mut scenario.http);
        steps(scenario, vec![get("/")]);
    })
}

#[test]
fn a_certificate_of_the_scenarios_authority_is_trusted() {
    run(async {
        let authority = Authority::new();
        let ca = Some(authority.file.path().to_owned());
        for (version, alpn) in [
            (HttpVersion::Http1, vec![b"http/1.1".as_slice()]),
            (HttpVersion::Http1, vec![]),
            (HttpVersion::Http2, vec![b"h2".as_slice()]),
        ] {
            for keep_alive in [true, false] {
                let server = authority.server(NAME, false, &alpn).await;
                let fixture = fixture(&server, version, |http| {
                    http.ca = ca.clone();
                    http.keep_alive = keep_alive;
                });
                for user in 0..3 {
                    fixture.once(user).await;
                    assert_eq!(fixture.operation().failure, None);
                }
                assert_eq!(server.state.accepted.get(), if keep_alive { 1 } else { 3 });
            }
        }
    });
}

#[test]
fn certificates_that_do_not_hold_are_refused_unless_any_is_taken() {
    run(async {
        let authority = Authority::new();
        let ca = Some(authority.file.path().to_owned());
        for (what, name, expired, ca) in [
            ("untrusted", NAME, false, None),
            ("expired", NAME, true, ca.clone()),
            ("of another name", "other.test", false, ca),
        ] {
            let server = authority.server(name, expired, &[b"h2"]).await;
            for insecure in [false, true] {
                let fixture = fixture(&server, HttpVersion::Http2, |http| {
                    http.ca.clone_from(&ca);
                    http.insecure = insecure;
                });
                fixture.once(0).await;
                let operation = fixture.operation();
                assert_eq!(
                    operation.failure,
                    (!insecure).then_some(Failure::Tls),
                    "{what}"
                );
                assert_eq!(operation.sent_ns == NEVER_NS, !insecure, "{what}");
            }
        }
    });
}

#[test]
fn http2_is_not_spoken_to_a_target_that_did_not_agree() {
    run(async {
        let authority = Authority::new();
        for alpn in [vec![], vec![b"http/1.1".as_slice()]] {
            let server = authority.server(NAME, false, &alpn).await;
            let fixture = fixture(&server, HttpVersion::Http2, |http| http.insecure = true);
            fixture.once(0).await;
            assert_eq!(fixture.operation().failure, Some(Failure::Tls));
            assert!(server.seen().is_empty());
        }
    });
}

#[test]
fn files_without_certificates_are_named() {
    run(async {
        let authority = Authority::new();
        let server = authority.server(NAME, false, &[]).await;
        let fixture = fixture(&server, HttpVersion::Http1, |http| http.insecure = true);
        let mut empty = NamedTempFile::new().expect("a file can be made");
        empty
            .write_all(b"no certificate")
            .expect("it can be written");
        for path in [empty.path().to_owned(), "/missing.pem".into()] {
            let mut context = fixture.context.clone();
            let mut scenario = (*context.scenario).clone();
            scenario.http.insecure = false;
            scenario.http.ca = Some(path.clone());
            context.scenario = Arc::new(scenario);
            let error = Client::new(&context).expect_err("it holds none");
            assert!(
                matches!(&error, TlsError::Read { path: named, .. } | TlsError::Empty { path: named } if *named == path)
            );
            assert!(
                error
                    .to_string()
                    .contains(path.to_str().expect("it is text"))
            );
        }
    });
}
