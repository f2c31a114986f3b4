//! `optimize warm`: which keys of a cache are asked for, what a larger or a warmer cache would give,
//! and warming as a recommendation that can be applied.
//!
//! Miss ratios are `driftline_stats::reuse`'s, the worth of warming is
//! `driftline_optimizer::warm::estimate`'s.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use driftline_analyzer::recommend::{self, Recommendation};
use driftline_analyzer::rule::{Auto, Risk, Verify};
use driftline_analyzer::{At, Window};
use driftline_collector::hostname;
use driftline_optimizer::Action;
use driftline_optimizer::action::WARM_KEYS_MAX;
use driftline_optimizer::config::ServerKind;
use driftline_optimizer::server;
use driftline_optimizer::warm::estimate::{CacheModel, WarmEstimate, held_out};
use driftline_optimizer::warm::loader::{Loader, find};
use driftline_optimizer::warm::observe::{Observed, observe};
use driftline_schemas::Component;
use driftline_stats::estimate::saved_by_hits;
use driftline_stats::reuse::{Options, Reference, Reuse, Sampling};

use crate::cli::{Settings, parse_time};
use crate::exit::{Outcome, UsageError};
use crate::human::human;
use crate::{facts, query, report};

/// The rule that raises it, for a person: no query does.
const RULE: &str = "r1_warm";
/// What it claims of itself before there are outcomes.
const PRIOR: f64 = 0.8;
/// How long it holds: traffic of yesterday is not what is asked for today.
const LIFE_US: i64 = 86_400 * 1_000_000;
/// The share of the time in which keys are chosen; the rest is what they are tried on.
const TRAIN: f64 = 0.5;
/// How many loads are timed to know what a miss costs.
const TIMED_LOADS: usize = 20;
/// The longest observation.
const LONGEST: Duration = Duration::from_secs(600);
/// Shares of all possible hits for which the size of the cache is told.
const SHARES: [f64; 5] = [0.5, 0.8, 0.9, 0.95, 0.99];

/// What is observed.
#[derive(Debug, Args)]
pub(super) struct WarmArgs {
    /// The Redis server, as [[optimizer.server]] names it
    server: String,
    /// The pattern of keys, as [[optimizer.loader]] has it
    #[arg(long)]
    pattern: String,
    /// How long MONITOR runs, at most 10m; meanwhile each command costs the server over half as
    /// much again
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    time: Duration,
    /// Most keys to warm; the first thousand pay best
    #[arg(long, default_value_t = 1_000, value_name = "COUNT")]
    keys: usize,
    /// Estimate for an empty cache, such as after a restart
    #[arg(long)]
    cold: bool,
    /// Apply it at once, if it pays
    #[arg(long)]
    apply: bool,
}

/// Observes, tells, and raises a recommendation where warming pays.
pub(super) async fn run(settings: &Settings, args: &WarmArgs) -> anyhow::Result<Outcome> {
    let config = &settings.config.optimizer;
    if args.time > LONGEST || args.time.is_zero() {
        bail!(UsageError(
            "--for must be above 0 and at most 10m".to_owned()
        ));
    }
    if !(1..=WARM_KEYS_MAX).contains(&args.keys) {
        bail!(UsageError(format!("--keys must be 1 to {WARM_KEYS_MAX}")));
    }
    let server = server::find(config, &args.server, ServerKind::Redis)
        .map_err(|error| UsageError(error.to_string()))?;
    let ttl = find(config, &args.pattern)
        .map_err(|error| UsageError(error.to_string()))?
        .ttl;
    eprintln!(
        "observing the keys of {} by MONITOR for {} s",
        args.server,
        args.time.as_secs_f64()
    );
    let observed = observe(server, &args.pattern, args.time).await?;
    tell_curve(&observed, &args.pattern)?;
    let jitter = 1.0 - 0.5 * config.warm.ttl_jitter_percent / 100.0;
    let model = CacheModel {
        // Where nothing was written while it was observed, what is filled stays.
        fill_ttl_us: observed.fill_ttl_us().flatten(),
        warm_ttl_us: (ttl.as_micros() as f64 * jitter) as i64,
        cold: args.cold,
    };
    let Some(estimate) = held_out(&observed.accesses, TRAIN, args.keys, &model) else {
        eprintln!(
            "too little data: {} lookups of {} were seen; observe longer with --for",
            observed.accesses.len(),
            args.pattern
        );
        return Ok(Outcome::TooLittleData);
    };
    let share = observed.share();
    report::print(&format!(
        "{} keys, the most wanted first: the hit ratio of {} would rise from {} to {}, that of all \
         lookups by {} ({} to {}), on traffic that had not chosen them\n",
        estimate.keys.len(),
        args.pattern,
        human(estimate.hit_ratio, "1"),
        human(estimate.hit_ratio + estimate.gain, "1"),
        human(share * estimate.gain, "1"),
        human(share * estimate.interval.0, "1"),
        human(share * estimate.interval.1, "1"),
    ))?;
    if estimate.interval.0 <= 0.0 {
        report::print("warming would bring nothing for sure; nothing is recommended\n")?;
        return Ok(Outcome::Ok);
    }
    let miss_s = miss_s(settings, args, &estimate).await?;
    raise(settings, args, &observed, estimate, miss_s).await
}

/// What a cache of any size would give, as far as the trace knows.
fn tell_curve(observed: &Observed, pattern: &str) -> anyhow::Result<()> {
    let key = |key: &str| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Reference::of(hasher.finish())
    };
    let options = Options {
        sampling: Sampling::All,
        ..Options::default()
    };
    let reuse = Reuse::of(observed.accesses.iter().map(|a| key(&a.key)), options);
    let Some(curve) = reuse.curve() else {
        return report::print(&format!("no trace: no lookup of {pattern} was seen\n"));
    };
    let mut text = format!(
        "{} lookups of {} keys of {pattern} ({} of all lookups); a cache that keeps the latest\n",
        human(curve.references as f64, "{lookup}"),
        human(curve.distinct_keys, "{key}"),
        human(observed.share(), "1"),
    );
    for share in SHARES {
        if let Some(size) = curve.working_set(share) {
            text.push_str(&format!(
                "  {:>8} keys would hit {}\n",
                human(size, "{key}"),
                human(1.0 - curve.miss_ratio(size), "1")
            ));
        }
    }
    report::print(&text)
}

/// What a miss costs: the mean time of a few loads, which change nothing.
async fn miss_s(
    settings: &Settings,
    args: &WarmArgs,
    estimate: &WarmEstimate,
) -> anyhow::Result<f64> {
    let loader = Loader::open(&settings.config.optimizer, &args.pattern).await?;
    let keys = estimate.keys.iter().take(TIMED_LOADS);
    let (begun, mut loads) = (Instant::now(), 0_u32);
    for key in keys {
        loader
            .load(&key.key)
            .await
            .with_context(|| format!("{} cannot be loaded", key.key))?;
        loads += 1;
    }
    Ok(begun.elapsed().as_secs_f64() / f64::from(loads.max(1)))
}

async fn raise(
    settings: &Settings,
    args: &WarmArgs,
    observed: &Observed,
    estimate: WarmEstimate,
    miss_s: f64,
) -> anyhow::Result<Outcome> {
    let engine = query::open(settings, At::Latest, &[]).await?;
    let trusted = recommend::confidence(&engine, RULE, PRIOR).await?;
    let found = recommendation(settings, args, observed, estimate, miss_s, trusted)?;
    let now_us = facts::now_us();
    let window = Window {
        from_us: now_us - i64::try_from(args.time.as_micros())?,
        until_us: now_us,
    };
    let event = recommend::raise(&found, window, now_us, LIFE_US);
    facts::append_from_task(settings, vec![event]).await?;
    if args.apply {
        return super::apply(settings, &[found.id], true).await;
    }
    report::print(&format!(
        "{}: driftline optimize apply {} loads them\n",
        found.id, found.id
    ))?;
    Ok(Outcome::Ok)
}

/// Warming as a recommendation; `trusted` is its confidence, and on how many outcomes that rests.
fn recommendation(
    settings: &Settings,
    args: &WarmArgs,
    observed: &Observed,
    estimate: WarmEstimate,
    miss_s: f64,
    (confidence, outcomes): (f64, usize),
) -> anyhow::Result<Recommendation> {
    let (server, pattern) = (&args.server, &args.pattern);
    let seconds = args.time.as_secs_f64();
    let lookups = observed.accesses.len() as f64;
    let saved = saved_by_hits(lookups / seconds, estimate.gain, miss_s, 0.0).value();
    let share = observed.share();
    let count = estimate.keys.len();
    let evidence = format!(
        "{} lookups in {seconds:.0} s, hit ratio of the pattern {}; a miss costs {}",
        human(lookups, "{lookup}"),
        human(estimate.hit_ratio, "1"),
        human(miss_s, "s")
    );
    let action = Action::Warm {
        pattern: pattern.clone(),
        keys: estimate.keys,
    };
    let id = driftline_optimizer::Recommendation::fingerprint(RULE, server, pattern, Some(&action));
    let risk = Risk::Low;
    Ok(Recommendation {
        id,
        rule: RULE.to_owned(),
        title: "Warm the cache".to_owned(),
        component: Component::Redis,
        host: match &settings.config.collector.hostname {
            Some(name) => name.clone(),
            None => hostname(),
        },
        target: server.clone(),
        subject: pattern.clone(),
        advice: format!("Load the {count} most wanted keys of {pattern} into {server}"),
        evidence,
        saved_s_per_h: saved,
        saved_method: Some("E2".to_owned()),
        predicted: Some(share * estimate.gain),
        interval: Some((share * estimate.interval.0, share * estimate.interval.1)),
        statements: Vec::new(),
        prior: PRIOR,
        confidence,
        outcomes,
        risk,
        auto: Auto::Automatic,
        verify: Verify::HitRatio,
        undo: Some("UNLINK of what is unchanged".to_owned()),
        action: Some(serde_json::to_value(&action)?),
        observed: estimate.hit_ratio,
        threshold: estimate.hit_ratio + estimate.gain,
        unit: "1".to_owned(),
        priority: saved.unwrap_or(0.0) * confidence / risk.weight(),
    })
}
