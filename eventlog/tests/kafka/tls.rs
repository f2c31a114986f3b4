//! A broker behind TLS: what is shipped and read there, and what is not trusted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_eventlog::SourceId;
use driftline_eventlog::kafka::{KafkaConfig, Mechanism, Protocol, check_broker, create_topics};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::broker::Broker;
use super::support::{Source, Tail, check, ship, spool_reader, until};

/// Bounds the answer to a configuration that cannot work.
const BOUND: Duration = Duration::from_secs(5);

#[test]
fn records_travel_within_tls_and_wait_in_the_spool_where_it_is_not_trusted() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = Authority::new(&directory.path().join("ours.pem"));
    let foreign = Authority::new(&directory.path().join("foreign.pem"));
    let Some(broker) = Broker::start_own_with_tls(&ours.keystore("127.0.0.1")) else {
        return;
    };
    let tls = secured(broker.tls_address(), &ours);
    create_topics(&tls).expect("created within TLS");

    let mut source = Source::new(&directory.path().join("log"), "patient");
    source.write(10);
    mistrusted(&tls, &foreign, &broker, &source, directory.path());
    trusted(&tls, &mut source, directory.path());

    let mut sasl = secured(broker.sasl_tls_address(), &ours);
    let password = directory.path().join("password");
    sasl.security.protocol = Protocol::SaslSsl;
    sasl.security.username = Some("driftline".to_owned());
    sasl.security.password_file = Some(password.clone());
    std::fs::write(&password, "only-for-tests").expect("written");
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
        sasl.security.mechanism = mechanism;
        trusted(&sasl, &mut source, directory.path());
    }
    std::fs::write(&password, "s3cret-but-wrong").expect("written");
    let error = check_broker(&sasl, BOUND).expect_err("the wrong password");
    assert!(error.to_string().contains("cannot log in"), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert!(!error.is_retryable(), "{error}");
}

/// Ships what waits and more, and reads all of it back, over the same connection's kind.
fn trusted(config: &KafkaConfig, source: &mut Source, directory: &Path) {
    source.write(300);
    let log = directory.join("log");
    let shipper = ship(config, &log);
    until("all arrives", || shipper.status().lag_records == 0);
    let status = shipper.stop(BOUND);
    assert_eq!((status.lag_records, &status.last_error), (0, &None));
    let kept = spool_reader(&log).cursor(&SourceId::Spool(source.stream.clone()));
    assert_eq!(kept.expect("readable"), Some(source.written));
    let mut tail = Tail::new(config, BTreeMap::new());
    tail.finish(config);
    check(&tail.read, &[source]);
}

/// Connections that must not come about. Each says what to do, and the records stay.
fn mistrusted(
    tls: &KafkaConfig,
    foreign: &Authority,
    broker: &Broker,
    source: &Source,
    directory: &Path,
) {
    let with = |change: &dyn Fn(&mut KafkaConfig)| {
        let mut config = tls.clone();
        change(&mut config);
        config
    };
    // What to change, and whether waiting could help.
    let cases = [
        (
            "another authority",
            with(&|c| c.security.ca_file = Some(foreign.file.clone())),
            "kafka.security.ca_file",
            false,
        ),
        (
            "a name that is not in the certificate",
            with(&|c| c.brokers = c.brokers.replace("127.0.0.1", "localhost")),
            "a name in the certificate",
            false,
        ),
        (
            "no TLS to a listener within TLS",
            with(&|c| c.security = KafkaConfig::new("").security),
            "kafka.security.protocol to ssl or sasl_ssl",
            true,
        ),
        (
            "TLS to a listener without",
            with(&|c| c.brokers = broker.address().to_owned()),
            "kafka.security.protocol to plaintext or sasl_plaintext",
            true,
        ),
    ];
    let log = directory.join("log");
    for (what, config, remedy, retryable) in cases {
        let error = check_broker(&config, BOUND).expect_err(what);
        assert!(error.to_string().contains(remedy), "{what}: {error}");
        assert_eq!(error.is_retryable(), retryable, "{what}: {error}");

        let shipper = ship(&config, &log);
        until("the shipper names the remedy", || {
            let told = shipper.status().last_error;
            told.is_some_and(|error| error.contains(remedy))
        });
        let status = shipper.stop(Duration::ZERO);
        assert!(!status.connected, "{what}");
        assert_eq!((status.shipped_records, status.lag_records), (0, 10));
        let kept = spool_reader(&log).cursor(&SourceId::Spool(source.stream.clone()));
        assert_eq!(kept.expect("readable"), None, "{what}");
    }

    let missing = with(&|c| c.security.ca_file = Some(directory.join("missing.pem")));
    let error = check_broker(&missing, BOUND).expect_err("no such file");
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let empty = directory.join("empty.pem");
    std::fs::write(&empty, "no certificate").expect("written");
    let empty = with(&|c| c.security.ca_file = Some(empty.clone()));
    let error = check_broker(&empty, BOUND).expect_err("no certificate");
    let text = error.to_string();
    assert!(text.contains("kafka.security.ca_file"), "{text}");
}

fn secured(brokers: String, authority: &Authority) -> KafkaConfig {
    let mut config = KafkaConfig::new(brokers);
    config.partitions = 1;
    config.security.protocol = Protocol::Ssl;
    config.security.ca_file = Some(authority.file.clone());
    config
}

/// An authority of the test's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(file: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid");
        // OpenSSL takes a certificate that its own subject has signed for self-signed.
        let name = file.display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        std::fs::write(file, issuer.pem()).expect("written");
        Self {
            issuer,
            file: file.to_owned(),
        }
    }

    /// A private key and the certificate of a server with this name.
    fn keystore(&self, name: &str) -> String {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        format!("{}{}", key.serialize_pem(), certificate.pem())
    }
}
