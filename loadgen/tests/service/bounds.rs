//! What is refused, and what is said about it.

use driftline_loadgen::service::{Service, ServiceConfig, ServiceError};

use crate::support::{Client, await_metric, get, metric, service};

#[test]
fn what_is_malformed_or_too_large_ends_the_connection() {
    let service = service(|_| {});
    let long = "x".repeat(20_000);
    let post = "POST /login HTTP/1.1\r\nhost: t\r\n";
    for (text, status) in [
        ("GARBAGE\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            format!("{post}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
            400,
        ),
        (get(&format!("/{long}"), ""), 431),
        (get("/", &"a: b\r\n".repeat(100)), 431),
        (format!("{post}content-length: 1048577\r\n\r\n"), 413),
        (
            format!("{post}transfer-encoding: chunked\r\n\r\nffffff\r\n"),
            413,
        ),
        (format!("{post}expect: miracle\r\n\r\n"), 417),
        (format!("{post}transfer-encoding: gzip\r\n\r\n"), 501),
    ] {
        let mut client = Client::new(&service);
        client.send(&text);
        let response = client.receive();
        assert_eq!(response.status, status, "{:?}", text.get(..70));
        assert_eq!(response.field("connection").as_deref(), Some("close"));
        let (rest, end) = client.receive_rest();
        assert!(rest.is_empty() && end.is_ok(), "{end:?}");
    }
}

#[test]
fn a_body_of_the_greatest_size_is_taken() {
    let service = service(|_| {});
    let body = "x".repeat(1024 * 1024);
    assert_eq!(Client::new(&service).post("/login", "", &body).status, 400);
}

#[test]
fn methods_fit_their_paths() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    for (method, path, status, allow) in [
        ("GET", "/login", 405, Some("POST")),
        ("DELETE", "/cart", 405, Some("POST")),
        ("POST", "/", 405, Some("GET, HEAD")),
        ("PUT", "/items/1", 405, Some("GET, HEAD")),
        ("POST", "/fault/reset", 405, Some("GET, HEAD")),
        ("PUT", "/nothing", 404, None),
        ("GET", "/ws/echo", 426, None),
        ("GET", "/ws/rooms/", 404, None),
        ("GET", "/fault/unknown", 404, None),
    ] {
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
        let response = client.receive();
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(response.field("allow").as_deref(), allow, "{method} {path}");
    }
}

#[test]
fn the_service_measures_itself() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.get("/");
    client.get("/error");
    await_metric(&service, "requests_total{status=\"5xx\"}", |n| n == 1);
    assert!(metric(&service, "connections_open") >= 1);
    let text = client.get("/metrics");
    assert!(text.text().contains("driftline_target_capacity +Inf\n"));
    assert!(text.text().ends_with("# EOF\n"));
    assert!(service.requests() >= 3);
}

#[test]
fn a_taken_port_is_not_shared_in_silence() {
    let first = service(|_| {});
    let second = Service::start(ServiceConfig {
        listen: first.address(),
        ..ServiceConfig::default()
    });
    match second {
        Err(ServiceError::Listen { address, .. }) => assert_eq!(address, first.address()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stopped_service_refuses_connections() {
    let service = service(|_| {});
    let address = service.address();
    service.stop().expect("it stops");
    let refused = std::net::TcpStream::connect(address).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
