//! `mark`: what happened, and when, for findings to refer to.

use anyhow::Context as _;
use chrono::DateTime;
use clap::{Args, ValueEnum};
use driftline_schemas::{Component, Event, EventName};

use crate::cli::Settings;
use crate::exit::{Outcome, UsageError};
use crate::facts;

/// Most attributes of a mark.
const MAX_ATTRIBUTES: usize = 32;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MarkKind {
    /// A new version went live
    Deploy,
    /// A configuration was changed
    Config,
    /// Anything else that is worth knowing later
    Note,
}

/// A mark in time.
#[derive(Debug, Args)]
pub(crate) struct MarkArgs {
    /// What happened
    #[arg(value_enum)]
    kind: MarkKind,
    /// What is known of it, such as version=1.4.2 service=checkout
    #[arg(value_name = "KEY=VALUE", value_parser = parse_pair)]
    attributes: Vec<(String, String)>,
    /// When it happened, as in 2026-01-31T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    at: Option<i64>,
    /// In words
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

impl MarkKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Config => "config",
            Self::Note => "note",
        }
    }
}

/// `driftline mark`.
pub(crate) fn run(settings: &Settings, args: &MarkArgs) -> anyhow::Result<Outcome> {
    let event = event(args, facts::now_us()).map_err(UsageError)?;
    facts::append(settings, std::slice::from_ref(&event)).context("the mark could not be kept")?;
    println!("marked {}", event.message);
    Ok(Outcome::Ok)
}

fn event(args: &MarkArgs, now_us: i64) -> Result<Event, String> {
    if args.attributes.len() > MAX_ATTRIBUTES {
        return Err(format!("a mark has at most {MAX_ATTRIBUTES} attributes"));
    }
    if args.attributes.is_empty() && args.message.is_none() {
        return Err("say what happened: key=value, or --message".to_owned());
    }
    let mut attributes = args.attributes.clone();
    attributes.sort();
    if let Some(pair) = attributes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("{} stands twice", pair[0].0));
    }
    let kind = args.kind.as_str();
    let message = args.message.clone().unwrap_or_else(|| {
        let pairs = attributes
            .iter()
            .map(|(key, value)| format!(" {key}={value}"));
        format!("{kind}{}", pairs.collect::<String>())
    });
    Ok(Event {
        ts_us: args.at.unwrap_or(now_us),
        name: EventName::Marked,
        component: Component::Driftline,
        subject: kind.to_owned(),
        message,
        attributes,
    })
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

/// A time as in 2026-01-31T12:00:00Z, in µs since 1970.
pub(crate) fn parse_moment(text: &str) -> Result<i64, String> {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed
        .map(|moment| moment.timestamp_micros())
        .map_err(|_| "expected a time such as 2026-01-31T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(attributes: &[(&str, &str)], message: Option<&str>) -> MarkArgs {
        MarkArgs {
            kind: MarkKind::Deploy,
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            at: None,
            message: message.map(str::to_owned),
        }
    }

    #[test]
    fn a_mark_holds_what_is_known() {
        let event = event(&args(&[("version", "2"), ("service", "a")], None), 5).expect("a mark");
        assert_eq!(event.message, "deploy service=a version=2");
        assert_eq!((event.ts_us, event.subject.as_str()), (5, "deploy"));
    }

    #[test]
    fn empty_and_twofold_marks_are_refused() {
        assert!(event(&args(&[], None), 5).is_err());
        assert!(event(&args(&[("a", "1"), ("a", "2")], None), 5).is_err());
        assert!(event(&args(&[], Some("moved house")), 5).is_ok());
    }
}
