//! A mix of requests from an OpenAPI 3.x description in JSON or YAML.

use std::fmt::Write as _;

use serde_json::Value;

use super::output::{Names, comment, commented, encoded, headers, path as sendable, quoted};
use super::sample::{Document, plain};
use super::{FIRST_STAGE, ImportError, MAX_REQUESTS, check_size};

const METHODS: [&str; 8] = [
    "get", "head", "post", "put", "patch", "delete", "options", "trace",
];

/// The text of a scenario with one request for each operation, at 10 arrivals per second.
/// Operations that may write are there, but commented out.
pub fn openapi(text: &str) -> Result<String, ImportError> {
    check_size(text)?;
    // JSON is YAML too, but its own parser is faster and stricter.
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(_) => serde_yaml_ng::from_str(text).map_err(|source| ImportError::Syntax {
            kind: "JSON or YAML",
            source,
        })?,
    };
    let version = document.get("openapi").map(plain).unwrap_or_default();
    if !version.starts_with("3.") {
        return Err(ImportError::Kind {
            wanted: "an OpenAPI 3 description",
            reason: match document.get("swagger") {
                Some(_) => "it is Swagger 2; convert it to OpenAPI 3 first".to_owned(),
                None => "it has no `openapi: 3.…`; is it the right file?".to_owned(),
            },
        });
    }
    let operations = operations(&document);
    if operations.len() > MAX_REQUESTS {
        return Err(ImportError::TooMany(operations.len()));
    }
    let can_send = operations.iter().any(Operation::is_safe);
    if !can_send {
        return Err(ImportError::Empty(
            "it has no GET or HEAD operation, and others are not sent by themselves",
        ));
    }
    let title = document.pointer("/info/title").map(plain);
    let title = title.filter(|title| !title.trim().is_empty());
    let mut text = String::new();
    text.push_str(
        "# Imported from an OpenAPI description. Sample values stand where it has no examples.\n",
    );
    writeln!(
        text,
        "name = {}",
        quoted(title.as_deref().unwrap_or("openapi"))
    )
    .expect("a String takes all");
    write!(text, "\n{FIRST_STAGE}rate = 10\n").expect("a String takes all");
    let mut names = Names::default();
    for operation in &operations {
        text.push('\n');
        text.push_str(&operation.request(Document(&document), &mut names));
    }
    Ok(text)
}

struct Operation<'d> {
    method: &'static str,
    path: String,
    operation: &'d Value,
    /// Those of the path and of the operation.
    parameters: Vec<&'d Value>,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let resolve = Document(document);
    let prefix = server_path(document);
    let paths = document.get("paths").and_then(Value::as_object);
    let mut operations = Vec::new();
    for (path, item) in paths.into_iter().flatten() {
        let item = resolve.resolve(item);
        for method in METHODS {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let lists = [operation.get("parameters"), item.get("parameters")];
            let all = lists.into_iter().flatten().filter_map(Value::as_array);
            let mut parameters: Vec<&Value> = Vec::new();
            for parameter in all.flatten().map(|parameter| resolve.resolve(parameter)) {
                // Those of the operation come first and override those of the path.
                let same = |known: &&Value| {
                    known.get("name") == parameter.get("name")
                        && known.get("in") == parameter.get("in")
                };
                if !parameters.iter().any(same) {
                    parameters.push(parameter);
                }
            }
            operations.push(Operation {
                method,
                path: format!("{prefix}{path}"),
                operation,
                parameters,
            });
        }
    }
    operations
}

/// The path of the first server, which goes before all paths; the host comes from the target.
fn server_path(document: &Value) -> String {
    let server = document.pointer("/servers/0/url").and_then(Value::as_str);
    let server = server.unwrap_or_default();
    let path = match server.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => server,
    };
    // A path with variables cannot be known here.
    match path.contains('{') {
        true => String::new(),
        false => path.trim_end_matches('/').to_owned(),
    }
}

impl Operation<'_> {
    fn is_safe(&self) -> bool {
        matches!(self.method, "get" | "head")
    }

    fn request(&self, document: Document<'_>, names: &mut Names) -> String {
        let method = self.method.to_ascii_uppercase();
        let id = self.operation.get("operationId").and_then(Value::as_str);
        let id = id.filter(|id| !id.trim().is_empty());
        let default_name = format!("{method} {}", self.path);
        let name = names.unique(id.unwrap_or(&default_name));
        let (path, mut sent) = self.path_and_headers(document);
        let body = self.body(document, &mut sent);
        let mut text = String::new();
        let summary = self.operation.get("summary").and_then(Value::as_str);
        text.push_str(&summary.map_or_else(String::new, comment));
        let mut request = format!(
            "[[requests]]\nname = {}\nweight = 1\nmethod = {}\npath = {}\n",
            quoted(&name),
            quoted(&method),
            super::output::template(&path)
        );
        if !sent.is_empty() {
            request.push_str(&format!("headers = {}\n", headers(&sent)));
        }
        if let Some(body) = body {
            request.push_str(&format!("body = {}\n", super::output::template(&body)));
        }
        if self.is_safe() {
            return text + &request;
        }
        text.push_str(&comment(&format!(
            "Not sent, since {method} may write; take the `# ` away to send it."
        )));
        text + &commented(&request)
    }

    fn path_and_headers(&self, document: Document<'_>) -> (String, Vec<(String, String)>) {
        let mut path = self.path.clone();
        let mut query: Vec<String> = Vec::new();
        let mut sent = Vec::new();
        for parameter in &self.parameters {
            let Some(name) = parameter.get("name").and_then(Value::as_str) else {
                continue;
            };
            let value = plain(&document.of_holder(parameter));
            let required = parameter.get("required").and_then(Value::as_bool) == Some(true);
            let has_example =
                parameter.get("example").is_some() || parameter.get("examples").is_some();
            match parameter.get("in").and_then(Value::as_str) {
                Some("path") => path = path.replace(&format!("{{{name}}}"), &encoded(&value)),
                Some("query") if required || has_example => {
                    query.push(format!("{}={}", encoded(name), encoded(&value)));
                }
                Some("header") if required && is_header(name, &value) => {
                    sent.push((name.to_owned(), value));
                }
                _ => {}
            }
        }
        // Path parameters that are not described.
        while let Some((before, rest)) = path.split_once('{') {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            path = format!("{before}1{after}");
        }
        let mut path = sendable(&path);
        for (at, pair) in query.iter().enumerate() {
            path.push(if at == 0 { '?' } else { '&' });
            path.push_str(pair);
        }
        (path, sent)
    }

    fn body(&self, document: Document<'_>, sent: &mut Vec<(String, String)>) -> Option<String> {
        let body = document.resolve(self.operation.get("requestBody")?);
        let content = body.get("content")?.as_object()?;
        let (kind, media) = content
            .iter()
            .find(|(kind, _)| kind.contains("json"))
            .or_else(|| content.iter().next())?;
        if is_header("content-type", kind) {
            sent.push(("content-type".to_owned(), kind.clone()));
        }
        let sample = document.of_holder(media);
        Some(match kind.contains("json") {
            true => sample.to_string(),
            false => plain(&sample),
        })
    }
}

/// Whether a scenario may have it: a token that the client does not write itself, and one line.
fn is_header(name: &str, value: &str) -> bool {
    crate::scenario::is_free_header(name) && !value.chars().any(char::is_control)
}
