//! Every endpoint, and the ways of HTTP/1.1.

use std::io::Read;

use crate::support::{Client, get, service};

#[test]
fn plain_paths_answer() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    for (path, status, body) in [
        ("/", 200, "driftline target\n"),
        ("/health", 200, "ok\n"),
        ("/items/3", 200, r#"{"id":3,"name":"item 3","price":15.49}"#),
        ("/items/0", 404, "there is nothing at this path\n"),
        ("/items/21", 404, "there is nothing at this path\n"),
        ("/items/x", 404, "there is nothing at this path\n"),
        ("/nothing?a=b", 404, "there is nothing at this path\n"),
        ("/error", 500, "this path always fails\n"),
        ("/bytes/3", 200, "xxx"),
        ("/bytes/10485761", 404, "there is nothing at this path\n"),
        ("/chunked/0", 200, ""),
        ("http://t/health?a", 200, "ok\n"),
    ] {
        let response = client.get(path);
        assert_eq!((response.status, response.text()), (status, body), "{path}");
    }
    let items = client.get("/items").json();
    let items = items.as_array().expect("a list");
    assert_eq!(items.len(), 20);
    assert!(
        items
            .iter()
            .all(|item| item["id"].is_u64() && item["name"].is_string() && item["price"].is_f64())
    );
}

#[test]
fn long_bodies_arrive_whole() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    for n in [1, 16_384, 16_385, 100_000, 10_485_760] {
        for path in ["bytes", "chunked"] {
            let response = client.get(&format!("/{path}/{n}"));
            assert_eq!((response.status, response.body.len()), (200, n), "{path}");
            let chunked = response.field("transfer-encoding").is_some();
            assert_eq!(chunked, path == "chunked");
        }
    }
}

#[test]
fn a_user_logs_in_fills_the_cart_and_checks_out() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    let json = r#"{"user":"ann","password":"secret"}"#;
    let login = client.post("/login", "content-type: application/json\r\n", json);
    assert_eq!(login.status, 200);
    let token = login.json()["token"].as_str().expect("a token").to_owned();
    let cookie = login.field("set-cookie").expect("a cookie");
    assert_eq!(cookie, format!("session={token}; Path=/; HttpOnly"));
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let again = client.post("/login", form, "user=ann&password=secret");
    assert_eq!(again.json()["token"], *token);

    let bearer = format!("authorization: Bearer {token}\r\n");
    let cookie = format!("cookie: a=b; session={token}\r\n");
    for fields in [&bearer, &cookie] {
        let cart = client.post("/cart", fields, r#"{"item":1}"#);
        assert_eq!((cart.status, cart.json()["item"].as_u64()), (200, Some(1)));
    }
    let first = client.post("/checkout", &bearer, "").json()["order"].as_u64();
    let second = client.post("/checkout", &cookie, "").json()["order"].as_u64();
    assert_eq!((first, second), (Some(1), Some(2)));

    for (path, fields, body, status) in [
        ("/login", form, "user=ann&password=wrong", 401),
        ("/login", form, "user=ann", 400),
        ("/login", "", "{", 400),
        ("/cart", "", r#"{"item":1}"#, 401),
        ("/cart", "cookie: session=forged\r\n", r#"{"item":1}"#, 401),
        ("/cart", bearer.as_str(), r#"{"item":99}"#, 404),
        ("/cart", bearer.as_str(), "item", 400),
        ("/checkout", "", "", 401),
    ] {
        let response = client.post(path, fields, body);
        assert_eq!(response.status, status, "{path} {body}");
    }
}

#[test]
fn caches_redirects_and_compression_work() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    let fresh = client.get("/cacheable/k1");
    assert_eq!(fresh.text(), "the value of k1\n");
    assert_eq!(fresh.field("cache-control").as_deref(), Some("max-age=60"));
    let etag = fresh.field("etag").expect("an etag");
    client.send(get(
        "/cacheable/k1",
        &format!("if-none-match: W/{etag}\r\n"),
    ));
    let known = client.receive();
    assert_eq!((known.status, known.body.len()), (304, 0));
    client.send(get("/cacheable/k2", &format!("if-none-match: {etag}\r\n")));
    assert_eq!(client.receive().status, 200);

    let mut location = "/redirect/3".to_owned();
    let mut hops = 0;
    while location != "/" {
        let response = client.get(&location);
        assert_eq!(response.status, 302);
        location = response.field("location").expect("a location");
        hops += 1;
    }
    assert_eq!(hops, 3);

    let plain = client.get("/gzip");
    client.send(get("/gzip", "accept-encoding: br, gzip\r\n"));
    let compressed = client.receive();
    assert_eq!(
        compressed.field("content-encoding").as_deref(),
        Some("gzip")
    );
    assert!(compressed.body.len() < plain.body.len() / 10);
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&compressed.body[..]);
    decoder.read_to_string(&mut text).expect("gzip");
    assert_eq!(text, plain.text());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let service = service(|config| config.slow_latency = std::time::Duration::from_millis(20));
    let mut client = Client::new(&service);
    let paths = [
        "/",
        "/slow",
        "/items/1",
        "/chunked/50000",
        "/error",
        "/bytes/70000",
        "/health",
    ];
    let batch: String = (0..20)
        .flat_map(|_| paths)
        .map(|path| get(path, ""))
        .collect();
    client.send(&batch[..37]);
    client.send(&batch[37..]);
    for _ in 0..20 {
        let answers = paths
            .map(|_| client.receive())
            .map(|answer| (answer.status, answer.body.len()));
        let lengths = [
            (200, 17),
            (200, 5),
            (200, 37),
            (200, 50_000),
            (500, 23),
            (200, 70_000),
            (200, 3),
        ];
        assert_eq!(answers, lengths);
    }
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let service = service(|config| config.threads = std::num::NonZeroUsize::new(1));
    let mut greedy = Client::new(&service);
    let batch: String = (0..300).map(|_| get("/bytes/100000", "")).collect();
    greedy.send(batch);
    assert_eq!(Client::new(&service).get("/").status, 200);
    for _ in 0..300 {
        assert_eq!(greedy.receive().body.len(), 100_000);
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    let chunked = "POST /login HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\n{\"use\r\n1b\r\nr\":\"a\",\"password\":\"secret\"}\r\n0\r\n\r\n";
    for text in [get("/items/1", "cookie: a=b\r\n"), chunked.to_owned()] {
        for byte in text.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.receive().status, 200, "{text}");
    }
}

#[test]
fn heads_versions_and_the_end_of_a_connection_are_respected() {
    let service = service(|_| {});
    let mut client = Client::new(&service);
    client.send("HEAD /bytes/70000 HTTP/1.1\r\nhost: t\r\n\r\n");
    let head = client.receive_head();
    assert!(head.contains("content-length: 70000\r\n"), "{head}");
    assert_eq!(client.get("/").status, 200, "nothing followed the head");

    let upload =
        "POST /login HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    client.send(upload);
    assert_eq!(client.receive_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("{}");
    assert_eq!(client.receive().status, 400);

    client.send(get("/", "connection: close\r\n"));
    let last = client.receive();
    assert_eq!(last.field("connection").as_deref(), Some("close"));
    assert!(client.receive_rest().1.is_ok(), "it closes in order");

    let mut old = Client::new(&service);
    old.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!(
        old.receive().field("connection").as_deref(),
        Some("keep-alive")
    );
    old.send("GET /chunked/9 HTTP/1.0\r\n\r\n");
    let last = old.receive();
    assert_eq!(
        (last.text(), last.field("content-length").as_deref()),
        ("xxxxxxxxx", Some("9"))
    );
    assert!(old.receive_rest().1.is_ok());
}
