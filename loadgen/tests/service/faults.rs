//! Each fault does what it says to a client of HTTP/1.1.

use std::io::ErrorKind;

use crate::support::{Client, await_metric, get, service};

#[test]
fn faults_do_what_they_say() {
    let service = service(|_| {});
    let fault = |name: &str| {
        let mut client = Client::new(&service);
        client.send(get(&format!("/fault/{name}"), ""));
        client
    };
    let (bytes, end) = fault("reset").receive_rest();
    assert_eq!(
        (bytes.len(), end.map_err(|e| e.kind())),
        (0, Err(ErrorKind::ConnectionReset))
    );
    let (bytes, end) = fault("close").receive_rest();
    assert!(bytes.is_empty() && end.is_ok());

    let mut half = fault("half");
    assert!(half.receive_head().contains("content-length: 1000\r\n"));
    let (bytes, end) = half.receive_rest();
    assert!(bytes.len() == 500 && end.is_ok());

    let (bytes, end) = fault("garbage").receive_rest();
    assert!(bytes.len() == 512 && end.is_ok() && !bytes.starts_with(b"HTTP"));
}

#[test]
fn a_flood_ends_at_its_bound() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.send(get("/fault/flood", ""));
    client.receive_head();
    let (bytes, end) = client.receive_rest();
    assert!(bytes.len() == 100 * 1024 * 1024 && end.is_ok());
}

#[test]
fn a_client_may_leave_a_flood_or_a_wait() {
    let service = service(|_| {});
    for name in ["flood", "never"] {
        let mut client = Client::new(&service);
        client.send(get(&format!("/fault/{name}"), ""));
        await_metric(&service, "requests_in_flight", |n| n == 1);
        drop(client);
        await_metric(&service, "requests_in_flight", |n| n == 0);
    }
    let answered = service
        .log()
        .into_iter()
        .filter(|row| row.path.starts_with("/fault"))
        .count();
    assert_eq!(answered, 2);
}

#[test]
fn answers_before_a_fault_are_sent() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.send(get("/", "") + &get("/fault/close", "") + &get("/", ""));
    assert_eq!(client.receive().status, 200);
    assert!(client.receive_rest().0.is_empty());
}
