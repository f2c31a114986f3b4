//! A journey from a HAR recording (HTTP Archive 1.2), as browsers export it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Deserialize;
use url::Url;

use super::output::{Names, comment, headers, path as sendable, quoted, template};
use super::time::unix_ms;
use super::{FIRST_STAGE, ImportError, MAX_REQUESTS, check_size};

/// Shorter gaps are the browser's, not the user's.
const MIN_THINK_MS: f64 = 100.0;
/// Longer gaps are cut: the user was away.
const MAX_THINK_MS: f64 = 60_000.0;
/// Larger bodies are left out.
const MAX_BODY_BYTES: usize = 256 << 10;

/// Headers of one visit or one connection, which the client writes itself or which mean nothing
/// later.
const VOLATILE: [&str; 18] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    "upgrade-insecure-requests",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "if-none-match",
    "if-modified-since",
    "cache-control",
    "pragma",
    "priority",
    "dnt",
    "origin",
    "referer",
];
/// Headers that prove who the user was.
const SECRET: [&str; 5] = [
    "cookie",
    "authorization",
    "proxy-authorization",
    "x-csrf-token",
    "x-xsrf-token",
];

#[derive(Deserialize)]
struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    pages: Vec<Page>,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    title: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    started_date_time: String,
    #[serde(default)]
    time: f64,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostData {
    #[serde(default)]
    mime_type: String,
    text: Option<String>,
}

/// The text of a scenario with one user who makes the recorded requests to the page's own host, in
/// order, with the recorded pauses.
pub fn har(text: &str) -> Result<String, ImportError> {
    check_size(text)?;
    let har: Har = serde_json::from_str(text.trim_start_matches('\u{feff}'))?;
    let mut entries: Vec<(Url, &Entry)> = har
        .log
        .entries
        .iter()
        .filter_map(|entry| Some((Url::parse(&entry.request.url).ok()?, entry)))
        .filter(|(url, _)| matches!(url.scheme(), "http" | "https"))
        .collect();
    // Browsers write entries in the order of their end; times missing anywhere leave that order.
    let starts: Option<Vec<f64>> = entries
        .iter()
        .map(|(_, entry)| unix_ms(&entry.started_date_time))
        .collect();
    if starts.is_some() {
        entries.sort_by(|(_, left), (_, right)| {
            let start = |entry: &Entry| unix_ms(&entry.started_date_time).unwrap_or_default();
            start(left).total_cmp(&start(right))
        });
    }
    let Some(own) = entries.first().map(|(url, _)| authority(url)) else {
        return Err(ImportError::Empty("record a page that is loaded over HTTP"));
    };
    let all = entries.len();
    entries.retain(|(url, entry)| authority(url) == own && is_sendable(&entry.request.method));
    if entries.len() > MAX_REQUESTS {
        return Err(ImportError::TooMany(entries.len()));
    }
    if entries.is_empty() {
        return Err(ImportError::Empty("record a page that is loaded over HTTP"));
    }
    Ok(write_scenario(&har.log.pages, &own, all, &entries))
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn is_sendable(method: &str) -> bool {
    method != "CONNECT" && http::Method::from_bytes(method.as_bytes()).is_ok()
}

fn write_scenario(pages: &[Page], own: &str, all: usize, entries: &[(Url, &Entry)]) -> String {
    let mut steps = String::new();
    let mut names = Names::default();
    let mut secrets = BTreeSet::new();
    for (at, (url, entry)) in entries.iter().enumerate() {
        let think = entries
            .get(at + 1)
            .and_then(|(_, next)| gap_ms(entry, next));
        steps.push_str(&write_step(
            url,
            &entry.request,
            think,
            &mut names,
            &mut secrets,
        ));
    }
    let mut text = comment(&format!("Imported from a HAR recording of {own}."));
    let left_out = all - entries.len();
    if left_out > 0 {
        text.push_str(&comment(&format!(
            "Left out: {left_out} requests to other hosts."
        )));
    }
    if !secrets.is_empty() {
        let secrets: Vec<&str> = secrets.into_iter().collect();
        text.push_str(&comment(&format!(
            "Left out: the headers {}, which belong to the recorded visit. Cookies that answers set are kept; capture tokens from answers.",
            secrets.join(", ")
        )));
    }
    let writing = entries
        .iter()
        .filter(|(_, entry)| !matches!(entry.request.method.as_str(), "GET" | "HEAD" | "OPTIONS"))
        .count();
    if writing > 0 {
        text.push_str(&comment(&format!(
            "Mind that {writing} steps may write, with the recorded bodies."
        )));
    }
    let title = pages.first().map(|page| page.title.as_str());
    let title = title.filter(|title| !title.trim().is_empty());
    write!(
        text,
        "name = {}\n\n{FIRST_STAGE}users = 1\n\n[[journeys]]\nname = \"visit\"\n{steps}",
        quoted(title.unwrap_or("har"))
    )
    .expect("a String takes all");
    text
}

/// The pause between the end of a request and the beginning of the next.
fn gap_ms(entry: &Entry, next: &Entry) -> Option<f64> {
    let start = unix_ms(&entry.started_date_time)?;
    let next = unix_ms(&next.started_date_time)?;
    let gap = next - (start + entry.time.max(0.0));
    (gap >= MIN_THINK_MS).then(|| gap.min(MAX_THINK_MS))
}

fn write_step(
    url: &Url,
    request: &Request,
    think_ms: Option<f64>,
    names: &mut Names,
    secrets: &mut BTreeSet<&'static str>,
) -> String {
    let query = url.query().map(|query| format!("?{query}"));
    let path = sendable(&format!("{}{}", url.path(), query.unwrap_or_default()));
    let method = request.method.to_ascii_uppercase();
    let name = names.unique(&format!("{method} {}", url.path()));
    let mut sent: Vec<(String, String)> = Vec::new();
    for header in &request.headers {
        let lower = header.name.to_ascii_lowercase();
        if let Some(secret) = SECRET.iter().find(|secret| **secret == lower) {
            secrets.insert(secret);
            continue;
        }
        let volatile = lower.starts_with("sec-") || VOLATILE.contains(&lower.as_str());
        let twice = sent.iter().any(|(known, _)| *known == lower);
        let fits =
            crate::scenario::is_free_header(&lower) && !header.value.chars().any(char::is_control);
        if !volatile && !twice && fits {
            sent.push((lower, header.value.clone()));
        }
    }
    let mut note = String::new();
    let mut body = None;
    if let Some(data) = &request.post_data {
        match &data.text {
            Some(text) if text.len() <= MAX_BODY_BYTES => {
                body = Some(text);
                let has_type = sent.iter().any(|(name, _)| name == "content-type");
                if !has_type
                    && !data.mime_type.is_empty()
                    && !data.mime_type.contains(char::is_control)
                {
                    sent.push(("content-type".to_owned(), data.mime_type.clone()));
                }
            }
            Some(_) => note = comment("Its body is left out, being too large; write one."),
            None => note = comment("Its body is not in the recording; write one."),
        }
    }
    let mut step = format!(
        "\n{note}[[journeys.steps]]\nname = {}\nmethod = {}\npath = {}\n",
        quoted(&name),
        quoted(&method),
        template(&path)
    );
    if !sent.is_empty() {
        step.push_str(&format!("headers = {}\n", headers(&sent)));
    }
    if let Some(body) = body {
        step.push_str(&format!("body = {}\n", template(body)));
    }
    if let Some(think) = think_ms {
        step.push_str(&format!("think = \"{think:.0}ms\"\n"));
    }
    step
}
