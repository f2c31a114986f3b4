//! How long all rules take, and where that time goes: over one host's hour, and over a thousand
//! hosts' day of rollups. Each input is judged several times and the least time is told, as `up` judges
//! it; the first time, which plans everything, is told apart, and so is the least of that.
//!
//!     cargo run --release -p driftline-analyzer --example rule_speed [-- INPUT…]
//!
//! With `DRIFTLINE_DUMP=DIR` the recommendations of each input are written there, so that two builds
//! can be compared.

#[path = "../tests/rules/case.rs"]
mod case;
#[path = "rule_speed/input.rs"]
mod input;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use driftline_analyzer::recommend::{
    Judge, RecommendOptions, Report, Rules, RulesConfig, Took, to_json,
};
use driftline_analyzer::{Engine, EngineConfig, Lake, QueryOptions, Window};

use self::input::{Input, START_US};

const REPEATS: usize = 5;
const SLOWEST: usize = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for input in input::ALL {
        if wanted.is_empty() || wanted.iter().any(|name| name == input.name) {
            measure(&input).await?;
        }
    }
    Ok(())
}

async fn measure(input: &Input) -> Result<(), Box<dyn Error>> {
    let lake: Lake = (input.lake)()?;
    println!("\n{}: {}", input.name, input.about);
    let started = Instant::now();
    let engine = Engine::over(lake, &EngineConfig::default()).await?;
    println!("  {:8.2} ms to open the tables", ms(started));
    let started = Instant::now();
    engine.collect("SELECT 1", &QueryOptions::default()).await?;
    println!("  {:8.2} ms for SELECT 1", ms(started));
    let mut options = RecommendOptions {
        rules: Rules::load(&RulesConfig::default())?,
        window: Window {
            from_us: START_US,
            until_us: START_US + input.seconds * 1_000_000,
        },
        source: input.source,
        judged_us: Default::default(),
    };
    let mut judge = Judge::default();
    let started = Instant::now();
    let mut report = judge.recommend(&engine, &options).await?;
    println!("  {:8.2} ms to judge for the first time", ms(started));
    dump(input.name, &report)?;
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let started = Instant::now();
        Judge::default().recommend(&engine, &options).await?;
        best = best.min(ms(started));
    }
    println!("  {best:8.2} ms to judge with nothing kept");
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        // A window that has moved on, as it does in `up`.
        options.window.until_us += 1;
        let started = Instant::now();
        let again = judge.recommend(&engine, &options).await?;
        let took = ms(started);
        if took < best {
            (best, report) = (took, again);
        }
    }
    println!(
        "  {best:8.2} ms to judge again: {} rules judged, {} waiting, {} failed, {} recommendations",
        report.judged.len(),
        report.waiting.len(),
        report.failed.len(),
        report.recommendations.len(),
    );
    for failed in &report.failed {
        println!("  {} failed: {}", failed.rule, failed.reason);
    }
    tell(&report);
    Ok(())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// What is found, where it is asked for.
fn dump(name: &str, report: &Report) -> Result<(), Box<dyn Error>> {
    let Some(place) = std::env::var_os("DRIFTLINE_DUMP") else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(&to_json(report))?;
    std::fs::write(Path::new(&place).join(format!("{name}.json")), text)?;
    Ok(())
}

/// Where the time went. Rules run side by side, so that theirs add up to more than all took.
fn tell(report: &Report) {
    let rule = |took: &&Took| report.judged.contains(&took.of);
    let (mut rules, tables): (Vec<&Took>, Vec<&Took>) = report.took.iter().partition(rule);
    for took in tables {
        let all = took.planning + took.reading;
        println!("  {:8.2} ms for {}", all.as_secs_f64() * 1e3, took.of);
    }
    let sum = |of: fn(&Took) -> Duration| -> f64 {
        rules.iter().map(|took| of(took).as_secs_f64() * 1e3).sum()
    };
    let (planning, reading) = (sum(|took| took.planning), sum(|took| took.reading));
    println!("  {planning:8.2} ms to plan the rules, {reading:.2} ms to run them, the slowest:");
    rules.sort_by_key(|took| std::cmp::Reverse(took.planning + took.reading));
    for took in rules.iter().take(SLOWEST) {
        let (planning, reading) = (
            took.planning.as_secs_f64() * 1e3,
            took.reading.as_secs_f64() * 1e3,
        );
        println!("  {planning:8.2} + {reading:.2} ms for {}", took.of);
    }
}
