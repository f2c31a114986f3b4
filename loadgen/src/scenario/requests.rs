//! Reads `[[requests]]` and `[[journeys]]` into journeys.

use std::collections::BTreeSet;

use toml::de::DeValue;

use super::answers;
use super::document::{Item, Section};
use super::fault::quoted;
use super::http::{read_headers, read_path, read_template, template_of};
use super::template::Scope;
use super::{Journey, Step, Template, Think};

/// Most steps of a journey.
pub const MAX_STEPS: usize = 1_000;
/// Highest weight.
const MAX_WEIGHT: f64 = 1e9;

const REQUEST_KEYS: [&str; 9] = [
    "name", "weight", "method", "path", "headers", "body", "json", "checks", "think",
];
const JOURNEY_KEYS: [&str; 4] = ["name", "weight", "cookies", "steps"];
const STEP_KEYS: [&str; 9] = [
    "name", "method", "path", "headers", "body", "json", "checks", "captures", "think",
];

/// Names of endpoints, each once.
#[derive(Default)]
pub(super) struct Endpoints {
    pub(super) names: Vec<String>,
}

impl Endpoints {
    /// The index of a new endpoint; a name that is taken is a fault of the section.
    pub(super) fn add(&mut self, name: &str, section: &Section<'_>) -> u32 {
        if self.names.iter().any(|known| known == name) {
            section.fault(format!(
                "{} is an endpoint `{name}`, and there is one already; give it a `name` of its own",
                section.what
            ));
        }
        self.names.push(name.to_owned());
        self.names.len() as u32 - 1
    }
}

/// All journeys: requests first, as journeys of one step.
pub(super) fn read(
    root: &Section<'_>,
    scope: &Scope<'_>,
    endpoints: &mut Endpoints,
) -> Vec<Journey> {
    let mut journeys = Vec::new();
    for section in root.sections("requests", "request", &REQUEST_KEYS) {
        let mut scope = scope.clone();
        let Some(step) = read_step(&section, &mut scope, endpoints) else {
            continue;
        };
        journeys.push(Journey {
            name: endpoints.names[step.endpoint as usize].clone(),
            weight: read_weight(&section),
            steps: vec![step],
            cookies: false,
        });
    }
    let mut names = BTreeSet::new();
    for (at, section) in root
        .sections("journeys", "journey", &JOURNEY_KEYS)
        .into_iter()
        .enumerate()
    {
        let journey = read_journey(&section, at, scope, endpoints);
        if !names.insert(journey.name.clone()) {
            section.fault(format!(
                "two journeys are called `{}`; give each a name of its own",
                journey.name
            ));
        }
        journeys.push(journey);
    }
    journeys
}

fn read_journey(
    section: &Section<'_>,
    at: usize,
    scope: &Scope<'_>,
    endpoints: &mut Endpoints,
) -> Journey {
    let name = section.get("name").and_then(|item| item.filled_text());
    let what = match name {
        Some(name) => format!("journey `{name}`, step"),
        None => format!("{}, step", section.what),
    };
    let mut scope = scope.clone();
    let sections = section.sections("steps", &what, &STEP_KEYS);
    if sections.is_empty() {
        section.fault(format!(
            "{} has no steps; write [[journeys.steps]]",
            section.what
        ));
    }
    if sections.len() > MAX_STEPS {
        section.fault(format!(
            "{} has more than {MAX_STEPS} steps; write several journeys",
            section.what
        ));
    }
    let cookies = section.get("cookies").and_then(|item| item.boolean());
    Journey {
        name: name.map_or_else(|| format!("journey {}", at + 1), str::to_owned),
        weight: read_weight(section),
        steps: sections
            .iter()
            .filter_map(|step| read_step(step, &mut scope, endpoints))
            .collect(),
        cookies: cookies.unwrap_or(true),
    }
}

fn read_weight(section: &Section<'_>) -> f64 {
    let Some(item) = section.get("weight") else {
        return 1.0;
    };
    match item.number(0.0..=MAX_WEIGHT, "above 0") {
        Some(weight) if weight > 0.0 => weight,
        Some(_) => {
            item.fault(format!(
                "{} is 0, so that it is never chosen; write a number above 0 or leave it out",
                item.what
            ));
            1.0
        }
        None => 1.0,
    }
}

fn read_step(
    section: &Section<'_>,
    scope: &mut Scope<'_>,
    endpoints: &mut Endpoints,
) -> Option<Step> {
    let method = section.get("method").and_then(|item| read_method(&item));
    let method = method.unwrap_or_else(|| "GET".to_owned());
    let path_item = section.need("path", "path = \"/\"");
    let path = path_item.as_ref().and_then(|item| read_path(item, scope));
    let path_text = path_item.as_ref().and_then(|item| match item.value() {
        DeValue::String(text) => Some(text.as_ref()),
        _ => None,
    });
    let name = section.get("name").and_then(|item| item.filled_text());
    let default_name = format!("{method} {}", path_text.unwrap_or("/"));
    let endpoint = endpoints.add(name.unwrap_or(&default_name), section);
    let mut headers = section
        .get("headers")
        .map_or_else(Vec::new, |item| read_headers(&item, scope));
    let body = read_body(section, scope, &mut headers);
    let checks = section
        .get("checks")
        .map_or_else(Vec::new, |item| answers::read_checks(&item));
    let think = section.get("think").and_then(|item| read_think(&item));
    let captures = section
        .get("captures")
        .map_or_else(Vec::new, |item| answers::read_captures(&item));
    for capture in &captures {
        scope.capture(&capture.name);
    }
    Some(Step {
        endpoint,
        method,
        path: path?,
        headers,
        body,
        checks,
        captures,
        think,
    })
}

fn read_method(item: &Item<'_>) -> Option<String> {
    let method = item.filled_text()?.to_ascii_uppercase();
    if method == "CONNECT" || http::Method::from_bytes(method.as_bytes()).is_err() {
        item.fault(format!(
            "{} is `{method}`, which cannot be sent; write a method such as GET or POST",
            item.what
        ));
        return None;
    }
    Some(method)
}

/// `body` as it stands, or `json` as compact text with its content type.
fn read_body(
    section: &Section<'_>,
    scope: &Scope<'_>,
    headers: &mut Vec<(String, Template)>,
) -> Option<Template> {
    let body = section.get("body");
    let Some(json) = section.get("json") else {
        return read_template(&body?, scope);
    };
    if body.is_some() {
        json.key_fault(format!(
            "{} has both `body` and `json`; keep one of them",
            section.what
        ));
        return None;
    }
    let has_type = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !has_type {
        headers.push((
            "content-type".to_owned(),
            Template::literal("application/json"),
        ));
    }
    let value = json_of(json.value(), &json)?;
    template_of(&json, &value.to_string(), scope)
}

fn json_of(value: &DeValue<'_>, item: &Item<'_>) -> Option<serde_json::Value> {
    let unfit = |written: &str| {
        item.fault(format!(
            "{} holds {written}, which JSON cannot write; write another number or a text",
            item.what
        ));
        None
    };
    Some(match value {
        DeValue::String(text) => serde_json::Value::String(text.clone().into_owned()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => number.into(),
            Err(_) => return unfit(integer.as_str()),
        },
        DeValue::Float(float) => {
            let number = float.as_str().parse::<f64>().ok();
            match number.and_then(serde_json::Number::from_f64) {
                Some(number) => number.into(),
                None => return unfit(float.as_str()),
            }
        }
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(array) => {
            let elements: Option<Vec<_>> = array
                .iter()
                .map(|element| json_of(element.get_ref(), item))
                .collect();
            elements?.into()
        }
        DeValue::Table(table) => {
            let mut object = serde_json::Map::new();
            for (key, value) in table {
                object.insert(
                    key.get_ref().clone().into_owned(),
                    json_of(value.get_ref(), item)?,
                );
            }
            object.into()
        }
    })
}

fn read_think(item: &Item<'_>) -> Option<Think> {
    let DeValue::Table(_) = item.value() else {
        let pause = item.duration_or_zero()?;
        return Some(Think {
            from: pause,
            to: pause,
        });
    };
    let section = item.section(&["from", "to"])?;
    let from = section.need("from", "from = \"1s\"");
    let to = section.need("to", "to = \"3s\"");
    let (from, to) = (from?.duration_or_zero()?, to?.duration_or_zero()?);
    if from > to {
        section.fault(format!(
            "{} begins above its end; write the shorter time as {}",
            section.what,
            quoted(["from"])
        ));
        return None;
    }
    Some(Think { from, to })
}
