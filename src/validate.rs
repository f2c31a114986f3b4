//! `validate detection`: what detection is worth here, measured on this installation's own past.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use driftline_analyzer::validate::{Power, Rate, ValidateOptions, Validation, validate};
use driftline_analyzer::{At, NightlyOptions, Window};

use crate::cli::{Settings, parse_time};
use crate::exit::Outcome;
use crate::{facts, query, report};

/// What is validated.
#[derive(Debug, Args)]
pub(crate) struct ValidateCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Days on which nothing is known to have changed are judged again, as they were and with steps
    /// of known size planted into copies of their series: false alarms with their upper limit, and
    /// power; exit code 4 when there is too little history
    #[command(after_help = "Example:\n  driftline validate detection --history 336h --seed 7")]
    Detection(DetectionArgs),
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ValidateFormat {
    /// For people
    Table,
    /// One object
    Json,
}

#[derive(Debug, Args)]
struct DetectionArgs {
    /// How far back the past is replayed
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "336h")]
    history: Duration,
    /// The end of the past, as in 2026-01-31T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = crate::mark::parse_moment)]
    until: Option<i64>,
    /// Where all chance comes from: equal seeds over equal tables say the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Days that are replayed at most
    #[arg(long, value_name = "COUNT", default_value_t = 14, value_parser = parse_count)]
    nights: usize,
    /// Pairs of windows, and of load runs, that are compared at most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = parse_count)]
    pairs: usize,
    /// Series at most; of more, so many at random
    #[arg(long, value_name = "COUNT", default_value_t = 2_000, value_parser = parse_count)]
    series: usize,
    /// Steps that are planted of each size, at least
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = parse_count)]
    planted: usize,
    /// Changes below this percentage of the level before do not count, as of `nightly`
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    min_effect: f64,
    /// How the result is written
    #[arg(long, value_enum, default_value = "table")]
    format: ValidateFormat,
    /// Say it, but do not keep it as an event
    #[arg(long)]
    dry_run: bool,
}

/// `driftline validate`.
pub(crate) fn run(settings: &Settings, command: &ValidateCommand) -> anyhow::Result<Outcome> {
    let What::Detection(args) = &command.what;
    let until_us = args.until.unwrap_or_else(facts::now_us);
    let history_us = i64::try_from(args.history.as_micros())?;
    let options = ValidateOptions {
        seed: args.seed,
        whole: Window {
            from_us: until_us.saturating_sub(history_us),
            until_us,
        },
        nightly: NightlyOptions {
            calendar: settings.config.nightly.calendar()?,
            min_effect_pct: args.min_effect,
            ..NightlyOptions::default()
        },
        nights: args.nights,
        pairs: args.pairs,
        series: args.series,
        planted: args.planted,
        ..ValidateOptions::default()
    };
    let validation = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(validate(&engine, &options).await?)
    })?;
    if validation.is_empty() {
        eprintln!(
            "too little history in {}: there is no stretch of time that holds enough points, has as much before it, and in which nothing is known to have happened ({} marks, findings and load runs are known)",
            settings.data.display(),
            validation.known
        );
        return Ok(Outcome::TooLittleData);
    }
    if !args.dry_run {
        let event = validation.event(args.seed, facts::now_us());
        facts::append(settings, &[event])?;
    }
    let text = match args.format {
        ValidateFormat::Table => to_text(&validation),
        ValidateFormat::Json => format!("{}\n", validation.to_json()),
    };
    report::print(&text)?;
    Ok(Outcome::Ok)
}

fn to_text(validation: &Validation) -> String {
    let hours = validation
        .nights
        .first()
        .map_or(0.0, |night| (night.until_us - night.from_us) as f64 / 3.6e9);
    let mut text = format!(
        "{} stretches of {hours:.1} h without a known change, {} s per point\n",
        validation.nights.len(),
        validation.step_s
    );
    let alarms = [
        ("a series on a day", validation.series_alarms),
        ("a day with any finding", validation.night_alarms),
        ("a series in two windows", validation.compare_alarms),
        ("two load runs alike", validation.run_alarms),
    ];
    let rows = alarms
        .into_iter()
        .map(|(name, rate)| [name.to_owned(), of(rate), per_mille(rate)]);
    let header = ["false alarms", "alarms", "per 1,000 (95 %)"];
    let _ = writeln!(text, "{}", table(header, rows));
    let rows = validation.power.iter().map(|Power { effect_pct, found }| {
        [format!("{effect_pct:+} %"), of(*found), percent(*found)]
    });
    let header = ["planted step", "found", "power (95 %)"];
    let _ = writeln!(text, "{}", table(header, rows));
    text.push_str("Changes that nobody has marked count as false alarms.\n");
    text
}

fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in 1..N {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn of(rate: Rate) -> String {
    format!("{} of {}", rate.hits, rate.trials)
}

fn per_mille(rate: Rate) -> String {
    let Some(share) = rate.share() else {
        return String::new();
    };
    let (_, hi) = rate.interval();
    format!("{:.1} (≤ {:.1})", 1_000.0 * share, 1_000.0 * hi)
}

fn percent(rate: Rate) -> String {
    let Some(share) = rate.share() else {
        return String::new();
    };
    let (lo, hi) = rate.interval();
    format!(
        "{:.0} % ({:.0} … {:.0})",
        100.0 * share,
        100.0 * lo,
        100.0 * hi
    )
}

fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "expected a whole number above 0".to_owned())
}
