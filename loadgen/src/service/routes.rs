//! Which request gets which answer.
//!
//! Nothing here waits or writes; when an answer is given is left to `worker`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::answer::{Answer, Body, ITEMS, JSON, PLAIN, Reply};
use super::args::parse_share;
use super::distribution::{Distribution, parse_duration};
use super::fault::Fault;
use super::meter;
use super::request::{Method, Request, Upgrade};
use super::session;
use super::websocket::Place;
use super::worker::Worker;

/// The most bytes of `/bytes/{n}` and `/chunked/{n}`.
const MOST_BYTES: usize = 10 * 1024 * 1024;
/// The most redirects of `/redirect/{n}`.
const MOST_REDIRECTS: usize = 1_000;
/// The most bytes of a room's name.
const MOST_ROOM_NAME: usize = 64;
/// The longest stall or delay that can be asked for from outside.
const MOST_CONTROLLED: Duration = Duration::from_secs(60);
/// The one password.
const PASSWORD: &str = "secret";

/// The answer to a request.
pub(crate) fn route(worker: &Worker, request: &Request<'_>) -> Answer {
    let path = path_of(request.target);
    let mut segments = path.splitn(3, '/').skip(1);
    let (first, rest) = (segments.next().unwrap_or_default(), segments.next());
    if let ("ws", Some(rest)) = (first, rest) {
        return web_socket(rest, request);
    }
    let posted = rest.is_none() && matches!(first, "login" | "cart" | "checkout" | "control");
    let wrong = |allowed| {
        let reply = Reply::error(405, "the method does not fit this path\n");
        Answer::Reply(reply.with("allow", allowed))
    };
    match (request.method, posted) {
        (Method::Post, true) => Answer::Reply(post(worker, first, request)),
        (_, true) => wrong("POST"),
        (method, false) => match get(worker, request, first, rest) {
            Some(answer) if matches!(method, Method::Get | Method::Head) => answer,
            Some(_) => wrong("GET, HEAD"),
            None => Answer::Reply(Reply::error(404, "there is nothing at this path\n")),
        },
    }
}

/// The path without its query, and without what a proxy's form of it puts before.
fn path_of(target: &str) -> &str {
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    path.split('?').next().unwrap_or_default()
}

/// Whether a request is for this path or one below it.
pub(super) fn is_below(target: &str, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let rest = path_of(target).strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn get(worker: &Worker, request: &Request<'_>, first: &str, rest: Option<&str>) -> Option<Answer> {
    let catalogue = &worker.catalogue;
    let number = |most: usize| rest?.parse().ok().filter(|n: &usize| *n <= most);
    let reply = match (first, rest) {
        ("", None) => Reply::prebuilt(&catalogue.root, PLAIN),
        ("items", None) => Reply::prebuilt(&catalogue.items, JSON),
        ("items", Some(_)) => {
            let id = number(ITEMS)?.checked_sub(1)?;
            Reply::prebuilt(&catalogue.item[id], JSON)
        }
        ("cacheable", Some(key)) if !key.is_empty() => cacheable(key, request.if_none_match),
        ("slow", None) => {
            let mut reply = Reply::new(200, PLAIN, "slow\n");
            reply.slow = true;
            reply
        }
        ("error", None) => Reply::error(500, "this path always fails\n"),
        ("redirect", Some(_)) => {
            let location = match number(MOST_REDIRECTS)? {
                0 | 1 => "/".to_owned(),
                n => format!("/redirect/{}", n - 1),
            };
            Reply::new(302, PLAIN, "").with("location", location)
        }
        ("bytes", Some(_)) => long(Body::Pattern(number(MOST_BYTES)?)),
        // HTTP/1.0 knows no chunks.
        ("chunked", Some(_)) if request.version_10 => long(Body::Pattern(number(MOST_BYTES)?)),
        ("chunked", Some(_)) => long(Body::Chunked(number(MOST_BYTES)?)),
        ("gzip", None) if request.accepts_gzip => {
            let reply = Reply::new(200, PLAIN, catalogue.text_gzip.clone());
            reply
                .with("content-encoding", "gzip")
                .with("vary", "accept-encoding")
        }
        ("gzip", None) => {
            Reply::new(200, PLAIN, catalogue.text.clone()).with("vary", "accept-encoding")
        }
        ("health", None) => Reply::prebuilt(&catalogue.health, PLAIN).ungated(),
        ("metrics", None) => metrics(worker),
        ("fault", Some(name)) => return Fault::named(name).map(Answer::Fault),
        _ => return None,
    };
    Some(Answer::Reply(reply))
}

fn long(body: Body) -> Reply {
    Reply {
        body,
        ..Reply::new(200, "application/octet-stream", Bytes::new())
    }
}

fn cacheable(key: &str, if_none_match: Option<&str>) -> Reply {
    let etag = format!("\"{:016x}\"", session::digest(0, key.as_bytes()));
    let matches = if_none_match.is_some_and(|list| {
        // RFC 9110, 13.1.2: the comparison is weak.
        list.split(',')
            .map(str::trim)
            .any(|known| known == "*" || known.trim_start_matches("W/") == etag)
    });
    let reply = match matches {
        true => Reply::new(304, "", ""),
        false => Reply::new(200, PLAIN, format!("the value of {key}\n")),
    };
    reply.with("etag", etag).with("cache-control", "max-age=60")
}

fn metrics(worker: &Worker) -> Reply {
    let shared = &worker.shared;
    let text = meter::exposition(
        &shared.meters,
        shared.clerk.occupancy(),
        shared.config.capacity,
        shared.log.lost(),
    );
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Reply::new(200, kind, text).ungated()
}

fn post(worker: &Worker, first: &str, request: &Request<'_>) -> Reply {
    let seed = worker.shared.config.seed;
    let known = request
        .token
        .is_some_and(|token| session::is_valid(seed, token));
    match first {
        "login" => login(seed, request),
        "control" => control(worker, request.body),
        _ if !known => Reply::new(401, JSON, r#"{"error":"log in at /login first"}"#)
            .with("www-authenticate", "Bearer"),
        "cart" => cart(request.body),
        _ => {
            let order = worker.shared.orders.fetch_add(1, Ordering::Relaxed) + 1;
            Reply::new(200, JSON, json!({ "order": order }).to_string())
        }
    }
}

#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

fn login(seed: u64, request: &Request<'_>) -> Reply {
    let login = match request.form {
        true => form_login(request.body),
        false => serde_json::from_slice(request.body).ok(),
    };
    match login {
        None => Reply::new(
            400,
            JSON,
            r#"{"error":"give user and password, as JSON or as a form"}"#,
        ),
        Some(login) if login.password != PASSWORD => {
            Reply::new(401, JSON, r#"{"error":"the password is wrong"}"#)
        }
        Some(login) => {
            let token = session::token(seed, &login.user);
            let cookie = format!("session={token}; Path=/; HttpOnly");
            Reply::new(200, JSON, json!({ "token": token }).to_string()).with("set-cookie", cookie)
        }
    }
}

fn form_login(body: &[u8]) -> Option<Login> {
    let (mut user, mut password) = (None, None);
    for (name, value) in url::form_urlencoded::parse(body) {
        match &*name {
            "user" => user = Some(value.into_owned()),
            "password" => password = Some(value.into_owned()),
            _ => {}
        }
    }
    Some(Login {
        user: user?,
        password: password?,
    })
}

#[derive(Deserialize)]
struct Cart {
    item: usize,
}

fn cart(body: &[u8]) -> Reply {
    match serde_json::from_slice::<Cart>(body) {
        Ok(Cart { item }) if (1..=ITEMS).contains(&item) => Reply::new(
            200,
            JSON,
            json!({ "item": item, "in_cart": true }).to_string(),
        ),
        Ok(_) => Reply::new(404, JSON, r#"{"error":"items go from 1 to 20"}"#),
        Err(_) => Reply::new(
            400,
            JSON,
            r#"{"error":"give the item, as in {\"item\":1}"}"#,
        ),
    }
}

/// What `POST /control` takes; everything is optional.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switches {
    latency: Option<String>,
    service_time: Option<String>,
    error_rate: Option<String>,
    slow_add_ms: Option<f64>,
    slow_factor: Option<f64>,
    stall: Option<String>,
}

fn control(worker: &Worker, body: &[u8]) -> Reply {
    if !worker.shared.config.allow_control {
        return Reply::error(
            403,
            "start the target with --allow-control to switch it from outside\n",
        )
        .ungated();
    }
    let switched = serde_json::from_slice(body)
        .map_err(|error| error.to_string())
        .and_then(|switches| switch(worker, &switches));
    let reply = match switched {
        Ok(()) => {
            let knobs = worker.shared.control.knobs();
            let now = json!({
                "latency": knobs.latency.to_string(),
                "service_time": knobs.service_time.to_string(),
                "error_rate": knobs.error_rate,
                "slow_add_ms": knobs.slow_add.as_secs_f64() * 1e3,
                "slow_factor": knobs.slow_factor,
            });
            Reply::new(200, JSON, now.to_string())
        }
        Err(error) => Reply::new(400, JSON, json!({ "error": error }).to_string()),
    };
    reply.ungated()
}

/// Everything is read before anything is set, so that a wrong request changes nothing.
fn switch(worker: &Worker, switches: &Switches) -> Result<(), String> {
    let distribution = |text: &Option<String>| {
        let parsed = text.as_deref().map(str::parse::<Distribution>).transpose();
        parsed.map_err(|error| error.to_string())
    };
    let latency = distribution(&switches.latency)?;
    let service_time = distribution(&switches.service_time)?;
    let error_rate = switches
        .error_rate
        .as_deref()
        .map(parse_share)
        .transpose()?;
    let add = match switches.slow_add_ms {
        None => None,
        Some(ms) => match Duration::try_from_secs_f64(ms / 1e3) {
            Ok(add) if add <= MOST_CONTROLLED => Some(add),
            _ => return Err("slow_add_ms goes from 0 to 60000".to_owned()),
        },
    };
    if switches
        .slow_factor
        .is_some_and(|factor| !(0.0..=1e6).contains(&factor))
    {
        return Err("slow_factor goes from 0 to 1000000".to_owned());
    }
    let stall = switches.stall.as_deref().map(parse_duration).transpose()?;
    if stall.is_some_and(|stall| stall > MOST_CONTROLLED) {
        return Err("a stall lasts 60s at most".to_owned());
    }
    let control = &worker.shared.control;
    control.change(|knobs| {
        knobs.latency = latency.unwrap_or(knobs.latency);
        knobs.service_time = service_time.unwrap_or(knobs.service_time);
        knobs.error_rate = error_rate.unwrap_or(knobs.error_rate);
        if add.is_some() || switches.slow_factor.is_some() {
            knobs.slow_add = add.unwrap_or(knobs.slow_add);
            knobs.slow_factor = switches.slow_factor.unwrap_or(knobs.slow_factor);
            knobs.slow_after = Duration::ZERO;
        }
    });
    match stall.is_none_or(|stall| control.stall(stall)) {
        true => Ok(()),
        false => Err("there were too many stalls; start the target again".to_owned()),
    }
}

fn web_socket(rest: &str, request: &Request<'_>) -> Answer {
    let rest = rest.split('?').next().unwrap_or_default();
    let place = match rest.strip_prefix("rooms/") {
        _ if rest == "echo" => Some(Place::Echo),
        Some(room) if is_room_name(room) => Some(Place::Room(room.into())),
        _ => None,
    };
    let Some(place) = place else {
        return Answer::Reply(Reply::error(
            404,
            "there is no such socket; rooms have names of a-z, 0-9, - and _\n",
        ));
    };
    Answer::Reply(match request.upgrade {
        Upgrade::WebSocket(key) if request.method == Method::Get => {
            let accept = derive_accept_key(key);
            return Answer::WebSocket { accept, place };
        }
        Upgrade::Incomplete => Reply::error(400, "the handshake of the websocket is incomplete\n")
            .with("sec-websocket-version", "13"),
        _ => Reply::error(426, "this path speaks websocket over http/1.1\n")
            .with("upgrade", "websocket"),
    })
}

fn is_room_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= MOST_ROOM_NAME && name.bytes().all(known)
}
