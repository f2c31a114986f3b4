//! `analyze`: what this system does now, held against what is usual for it.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use driftline_analyzer::{AnalysisRow, Baseline, analyze as analyze_batches};
use driftline_collector::{hostname, snapshot};

use crate::cli::Settings;
use crate::exit::Outcome;
use crate::human::human;
use crate::query::{self, Format};
use crate::stopping::Stopping;

/// `driftline analyze`: looks for a while, keeps nothing.
pub(crate) fn analyze(
    settings: &Settings,
    time: Duration,
    all: bool,
    format: Format,
) -> anyhow::Result<Outcome> {
    let stopping = Stopping::on_signals()?;
    let config = settings.config.for_collector();
    let host = config.hostname.clone().unwrap_or_else(hostname);
    let seen = snapshot(&config, time, &stopping.collector)?;
    let baseline = Baseline::latest(&settings.data)?;
    let runtime = query::runtime()?;
    let rows = runtime.block_on(analyze_batches(
        &host,
        &seen.batches,
        baseline.as_ref(),
        &settings.config.query,
    ))?;
    for event in &seen.events {
        eprintln!("note: {}", event.message);
    }
    if rows.is_empty() {
        eprintln!("nothing was collected in {time:?}; ask for a longer time with --for");
        return Ok(Outcome::TooLittleData);
    }
    if format == Format::Json {
        println!("{}", to_json(&host, &rows));
        return Ok(Outcome::Ok);
    }
    println!(
        "{host} over {} s, {} series",
        time.as_secs_f64(),
        rows.len()
    );
    match &baseline {
        Some(baseline) => println!("usual: baseline {:?}", baseline.name),
        None => println!("usual: no baseline yet; `driftline baseline` takes one"),
    }
    println!("{}", to_table(&rows, all));
    let hidden = rows.iter().filter(|row| !is_shown(row, all)).count();
    if hidden > 0 {
        println!("{hidden} more series with --all");
    }
    Ok(Outcome::Ok)
}

/// What a person looks at first, and whatever is unusual.
fn is_shown(row: &AnalysisRow, all: bool) -> bool {
    all || row.now.headline || row.usual.is_some_and(|usual| usual.unusual)
}

fn to_table(rows: &[AnalysisRow], all: bool) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "component",
            "category",
            "metric",
            "labels",
            "now",
            "usual",
            "",
        ]);
    let mut before = (String::new(), String::new());
    for row in rows.iter().filter(|row| is_shown(row, all)) {
        let now = &row.now;
        let place = (now.component.clone(), now.category.clone());
        let (component, category) = match &before {
            same if *same == place => (String::new(), String::new()),
            (component, _) if *component == place.0 => (String::new(), place.1.clone()),
            _ => place.clone(),
        };
        before = place;
        let usual = row
            .usual
            .map(|usual| human(usual.median, &now.unit))
            .unwrap_or_default();
        let mark = match row.usual {
            Some(usual) if usual.unusual && usual.deviations.is_finite() => {
                format!("unusual, {:.0} deviations", usual.deviations)
            }
            Some(usual) if usual.unusual => "unusual, it never moved before".to_owned(),
            _ => String::new(),
        };
        let value = human(now.median, &now.unit);
        table.add_row([
            component,
            category,
            now.metric.clone(),
            now.labels.clone(),
            value,
            usual,
            mark,
        ]);
    }
    for column in [4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn to_json(host: &str, rows: &[AnalysisRow]) -> serde_json::Value {
    let row = |row: &AnalysisRow| {
        let usual = row.usual.map(|usual| {
            serde_json::json!({
                "median": usual.median,
                "mad": usual.mad,
                "of_the_hour": usual.of_the_hour,
                "deviations": usual.deviations.is_finite().then_some(usual.deviations),
                "unusual": usual.unusual,
            })
        });
        serde_json::json!({ "now": row.now, "usual": usual })
    };
    serde_json::json!({ "host": host, "series": rows.iter().map(row).collect::<Vec<_>>() })
}
