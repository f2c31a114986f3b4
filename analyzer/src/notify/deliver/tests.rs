//! Against a real little server on this machine that answers from a list.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use serde_json::json;

use super::*;

/// What the server does with one connection.
enum Act {
    Answer(&'static str),
    /// Reads the request and closes.
    Close,
    /// Reads the request and says nothing until the client has gone.
    Hang,
    /// An endless body.
    Flood,
}

/// Serves these acts, one connection each; yields its port and the requests that came.
fn server(acts: Vec<Act>) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, requests) = mpsc::sync_channel(acts.len());
    thread::spawn(move || {
        for act in acts {
            let (mut stream, _) = listener.accept().expect("a connection");
            sender.send(request(&mut stream)).expect("the test listens");
            // A client that has gone is no failure of the server.
            let _ = match act {
                Act::Answer(answer) => stream.write_all(answer.as_bytes()),
                Act::Close => Ok(()),
                Act::Hang => stream.read(&mut [0; 1]).map(|_| ()),
                Act::Flood => flood(&mut stream),
            };
        }
    });
    (port, requests)
}

fn flood(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 1000000000\r\n\r\n")?;
    for _ in 0..1_000_000 {
        stream.write_all(&[b'x'; 1_000])?;
    }
    Ok(())
}

/// Reads one request: its head and as much of a body as it announces.
fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        let read = stream.read(&mut buffer).expect("read");
        assert!(read > 0, "the client closed within its request");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn spec(address: &str) -> WebhookSpec {
    WebhookSpec {
        address: Address::parse(address).expect("an address"),
        timeout: Duration::from_secs(20),
        attempts: 3,
        back_off: Some(Duration::from_millis(1)),
        ca: None,
    }
}

fn webhook(port: u16) -> Webhook {
    let address = format!("http://user:pw@127.0.0.1:{port}/services/SECRET?token=SECRET2");
    Webhook::new(spec(&address)).expect("a webhook")
}

fn deliver(webhook: &Webhook) -> Result<Delivered, NotifyError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(webhook.deliver(&json!({"title": "p99 \u{2191}"})))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ACCEPTED: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const SOON: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
const GONE: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\nno_service";
const ECHO: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 24\r\n\r\nno /services/SECRET here";
const MOVED: &str = "HTTP/1.1 301 Moved\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_payload_arrives_as_one_post() {
    let (port, requests) = server(vec![Act::Answer(OK)]);
    let delivered = deliver(&webhook(port)).expect("delivered");
    assert_eq!(
        delivered,
        Delivered {
            status: 200,
            attempts: 1
        }
    );
    let request = requests.recv().expect("a request");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    assert_eq!(
        lines.next(),
        Some("POST /services/SECRET?token=SECRET2 HTTP/1.1")
    );
    let headers: Vec<String> = lines.map(str::to_lowercase).collect();
    for expected in [
        format!("host: 127.0.0.1:{port}"),
        "content-type: application/json".to_owned(),
        "authorization: basic dxnlcjpwdw==".to_owned(),
        format!("content-length: {}", body.len()),
    ] {
        assert!(
            headers.contains(&expected),
            "{expected} is not in {headers:?}"
        );
    }
    assert_eq!(body, "{\"title\":\"p99 \u{2191}\"}");
}

#[test]
fn what_may_pass_is_tried_again() {
    let (port, requests) = server(vec![Act::Answer(BUSY), Act::Close, Act::Answer(ACCEPTED)]);
    let delivered = deliver(&webhook(port)).expect("delivered");
    assert_eq!(
        delivered,
        Delivered {
            status: 204,
            attempts: 3
        }
    );
    let bodies: Vec<String> = requests.iter().collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));

    let (port, _requests) = server(vec![Act::Answer(SOON), Act::Answer(OK)]);
    assert_eq!(deliver(&webhook(port)).expect("delivered").attempts, 2);
}

#[test]
fn attempts_are_bounded_and_the_last_failure_is_told_without_secrets() {
    let (port, _requests) = server(vec![
        Act::Answer(BUSY),
        Act::Answer(BUSY),
        Act::Answer(BUSY),
    ]);
    let error = deliver(&webhook(port)).expect_err("busy");
    assert!(
        matches!(error, NotifyError::Unreachable { attempts: 3, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("status 503"), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("http://127.0.0.1:{port}/…")),
        "{error}"
    );
    let all = format!("{error} {error:?} {:?}", webhook(port));
    assert!(!all.contains("SECRET") && !all.contains("pw"), "{all}");
}

#[test]
fn nobody_there_is_unreachable() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    let error = deliver(&webhook(port)).expect_err("nobody");
    assert!(error.to_string().contains("no connection"), "{error}");
}

#[test]
fn a_refusal_is_final_and_told_unless_it_echoes_the_secret() {
    for (answer, told) in [
        (GONE, "404 (no_service)"),
        (ECHO, "status 400;"),
        (MOVED, "status 301;"),
    ] {
        let (port, requests) = server(vec![Act::Answer(answer)]);
        let error = deliver(&webhook(port)).expect_err("refused");
        assert!(matches!(error, NotifyError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(told), "{error}");
        assert!(!error.to_string().contains("SECRET"), "{error}");
        assert_eq!(requests.iter().count(), 1);
    }
}

#[test]
fn a_receiver_that_says_nothing_is_left_after_the_time_out() {
    let (port, _requests) = server(vec![Act::Hang, Act::Hang]);
    let mut spec = spec(&format!("http://127.0.0.1:{port}/x"));
    spec.timeout = Duration::from_millis(100);
    spec.attempts = 2;
    let begun = Instant::now();
    let error = deliver(&Webhook::new(spec).expect("a webhook")).expect_err("silent");
    assert!(
        error.to_string().contains("no answer within 100ms"),
        "{error}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let (port, _requests) = server(vec![Act::Flood]);
    let error = deliver(&webhook(port)).expect_err("refused");
    assert!(
        matches!(error, NotifyError::Refused { status: 400, .. }),
        "{error}"
    );
}

#[test]
fn options_out_of_bounds_are_refused() {
    let refused = |change: fn(&mut WebhookSpec)| {
        let mut spec = spec("http://127.0.0.1:1/SECRET");
        change(&mut spec);
        Webhook::new(spec).expect_err("a mistake").to_string()
    };
    assert!(refused(|spec| spec.attempts = 0).contains("attempts must be 1 to 10"));
    assert!(refused(|spec| spec.timeout = Duration::ZERO).contains("above 0"));
    assert!(!refused(|spec| spec.attempts = 11).contains("SECRET"));
}

#[test]
fn over_tls_only_a_trusted_receiver_gets_the_payload() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("made");
    let certificate = made.cert.pem();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![made.cert.der().clone()], key)
    .expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let server = thread::spawn(move || {
        let config = Arc::new(config);
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (tcp, _) = listener.accept().expect("a connection");
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = rustls::StreamOwned::new(tls, tcp);
            let mut bytes = [0; 4096];
            let Ok(read) = stream.read(&mut bytes) else {
                heard.push(None);
                continue;
            };
            heard.push(Some(String::from_utf8_lossy(&bytes[..read]).into_owned()));
            stream.write_all(ACCEPTED.as_bytes()).expect("answer");
            stream.flush().expect("answer");
        }
        heard
    });
    let mut spec = spec(&format!("https://127.0.0.1:{port}/x"));
    spec.attempts = 1;
    let error = deliver(&Webhook::new(spec.clone()).expect("a webhook")).expect_err("untrusted");
    assert!(error.to_string().contains("certificate"), "{error}");
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, certificate).expect("write");
    spec.ca = Some(file.clone());
    let delivered = deliver(&Webhook::new(spec.clone()).expect("a webhook")).expect("delivered");
    assert_eq!(delivered.status, 204);
    let heard = server.join().expect("the server");
    assert_eq!(heard[0], None);
    assert!(
        heard[1]
            .as_ref()
            .is_some_and(|request| request.starts_with("POST /x HTTP/1.1"))
    );
    std::fs::write(&file, "nothing").expect("write");
    let error = Webhook::new(spec).expect_err("no certificate");
    assert!(error.to_string().contains("ca.pem"), "{error}");
}
