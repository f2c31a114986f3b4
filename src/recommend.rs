//! `recommend`: what to do about what was measured, by priority, told to the log and to people. The
//! rules are SQL files; running them is `driftline_analyzer::recommend`'s.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use driftline_analyzer::recommend::{
    self, Held, Judge, RecommendOptions, Report, Rules, Source, State, held, to_json, to_markdown,
    to_table,
};
use driftline_analyzer::{At, Window};
use driftline_collector::config::duration;
use driftline_schemas::{Component, Event, EventName};

use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};
use crate::{facts, query, report, roles};

/// How recommendations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people, in a terminal
    Table,
    /// One object
    Json,
    /// For a chat or a ticket
    Markdown,
}

/// What a window is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// What fits its length
    Auto,
    /// Samples
    Samples,
    /// Rollups of minutes
    Minutes,
    /// Rollups of hours
    Hours,
}

/// Which time is judged, and what is done with it.
#[derive(Debug, Args)]
pub(crate) struct RecommendArgs {
    #[command(subcommand)]
    action: Option<RecommendAction>,
    /// How far back to look
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "1h")]
    last: Duration,
    /// What it is read from
    #[arg(long, value_enum, default_value = "auto")]
    source: From,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    format: ReportFormat,
    /// Write to a file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also say which rules could not be judged, and why
    #[arg(long)]
    all: bool,
    /// Judge and print, but keep nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
enum RecommendAction {
    /// Say that a recommendation is not wanted; it is not raised again
    Dismiss {
        /// The recommendation
        id: String,
        /// Why
        #[arg(long, short, default_value = "")]
        message: String,
    },
}

/// `driftline recommend`: exit code 4 when no rule could be judged.
pub(crate) fn run(settings: &Settings, args: &RecommendArgs) -> anyhow::Result<Outcome> {
    if let Some(RecommendAction::Dismiss { id, message }) = &args.action {
        return dismiss(settings, id, message);
    }
    let options = options(settings, args)?;
    let (found, known) = query::runtime()?
        .block_on(async { judge(settings, &mut Judge::default(), &options).await })?;
    tell_troubles(&found, args.all);
    if found.judged.is_empty() {
        eprintln!(
            "too little data: no rule has its inputs in the last {} of {}; see driftline recommend --all",
            duration::format(args.last),
            settings.data.display()
        );
        return Ok(Outcome::TooLittleData);
    }
    if !args.dry_run {
        let events = recommend::events(&found, &options, &known, facts::now_us());
        facts::append(settings, &events).context("the recommendations could not be kept")?;
        if settings.config.kafka.is_none() && !events.is_empty() {
            roles::commit_now(&settings.config, &settings.data)?;
        }
    }
    let text = match args.format {
        ReportFormat::Table => to_table(&found),
        ReportFormat::Markdown => to_markdown(&found),
        ReportFormat::Json => serde_json::to_string_pretty(&to_json(&found))? + "\n",
    };
    match &args.output {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("cannot write the recommendations {}", path.display()))?,
        None => report::print(&text)?,
    }
    if found.recommendations.iter().any(|one| one.action.is_some()) {
        eprintln!("driftline optimize plan says which can be applied, and what stands against it");
    }
    Ok(Outcome::Ok)
}

/// What the rules find, and what was told before.
pub(crate) async fn judge(
    settings: &Settings,
    judge: &mut Judge,
    options: &RecommendOptions,
) -> anyhow::Result<(Report, Vec<Held>)> {
    let engine = query::open(settings, At::Latest, &[]).await?;
    let found = judge.recommend(&engine, options).await?;
    Ok((found, held(&engine).await?))
}

fn options(settings: &Settings, args: &RecommendArgs) -> anyhow::Result<RecommendOptions> {
    let until_us = facts::now_us();
    Ok(RecommendOptions {
        rules: Rules::load(&settings.config.recommend)?,
        window: Window {
            from_us: until_us.saturating_sub(i64::try_from(args.last.as_micros())?),
            until_us,
        },
        source: match args.source {
            From::Auto => Source::Auto,
            From::Samples => Source::Samples,
            From::Minutes => Source::Minutes,
            From::Hours => Source::Hours,
        },
        judged_us: BTreeMap::new(),
    })
}

/// What a person should know beside the recommendations; to stderr.
fn tell_troubles(found: &Report, all: bool) {
    for failed in &found.failed {
        eprintln!(
            "note: {} could not be judged: {}",
            failed.rule, failed.reason
        );
    }
    for (rule, rows) in &found.cut {
        eprintln!(
            "note: {rule} found {rows} things; the first {} are kept",
            recommend::MOST_ROWS
        );
    }
    for waiting in found.waiting.iter().filter(|_| all) {
        eprintln!("note: {} waits: {}", waiting.rule, waiting.reason);
    }
}

fn dismiss(settings: &Settings, id: &str, message: &str) -> anyhow::Result<Outcome> {
    let all: Vec<Held> = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(held(&engine).await?)
    })?;
    let found = all
        .iter()
        .find(|held| held.id == id && held.state == State::Open);
    let found = found.ok_or_else(|| {
        UsageError(format!(
            "there is no open recommendation {id}; driftline query \"select id, title from recommendations where state = 'open'\" lists them"
        ))
    })?;
    let by = facts::person();
    let event = Event {
        ts_us: facts::now_us(),
        name: EventName::RecommendationDismissed,
        component: Component::Driftline,
        subject: id.to_owned(),
        message: format!("{id} is dismissed by {by}: {message}"),
        attributes: vec![
            ("rule".to_owned(), found.rule.clone()),
            ("by".to_owned(), by),
            ("recommendation".to_owned(), id.to_owned()),
        ],
    };
    facts::append(settings, std::slice::from_ref(&event))?;
    println!("{}", event.message.trim_end_matches(": "));
    Ok(Outcome::Ok)
}
