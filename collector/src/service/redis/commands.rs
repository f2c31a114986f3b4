//! What `INFO` tells of each command and each kind of error, as samples of a bounded number of series.
//! Pure, apart from the recorder that takes them.

use driftline_schemas::metric::catalogue::id;

use super::info::{Info, figure_number};
use super::record::Samples;

/// Kinds of errors with series of their own; Redis itself stops at 128.
const MAX_ERRORS: usize = 50;
const US: f64 = 1e-6;

/// Records the commands that have taken most time, and all kinds of errors.
pub(super) fn commands(info: &Info<'_>, limit: usize, samples: &mut Samples<'_>) {
    let chosen = heaviest(&info.commands, limit);
    for (command, figures) in &chosen {
        let labels = [("cmd", *command)];
        if let Some(calls) = figure_number(figures, "calls") {
            samples.record(const { id("redis.cmd.calls") }, &labels, calls);
        }
        if let Some(us) = figure_number(figures, "usec") {
            samples.record(const { id("redis.cmd.time") }, &labels, us * US);
        }
        for (figure, outcome) in [("rejected_calls", "rejected"), ("failed_calls", "failed")] {
            // Most commands never fail: a series begins with the first error.
            if let Some(calls) = figure_number(figures, figure).filter(|calls| *calls > 0.0) {
                let labels = [("cmd", *command), ("outcome", outcome)];
                samples.record(const { id("redis.cmd.errors") }, &labels, calls);
            }
        }
    }
    latencies(info, &chosen, samples);
    for (kind, figures) in info.errors.iter().take(MAX_ERRORS) {
        if let Some(count) = figure_number(figures, "count") {
            let labels = [("error.type", *kind)];
            samples.record(const { id("redis.errors") }, &labels, count);
        }
    }
}

/// Percentiles bear the names that the server's configuration gives them: `p50`, `p99`, `p99.9`.
fn latencies(info: &Info<'_>, chosen: &[(&str, &str)], samples: &mut Samples<'_>) {
    for (command, figures) in &info.latencies {
        if !chosen.iter().any(|(known, _)| known == command) {
            continue;
        }
        for pair in figures.split(',') {
            let Some((percentile, us)) = pair.split_once('=') else {
                continue;
            };
            if let Some(us) = us.parse().ok().filter(|us: &f64| us.is_finite()) {
                let labels = [("cmd", *command), ("percentile", percentile)];
                samples.record(const { id("redis.cmd.latency") }, &labels, us * US);
            }
        }
    }
}

/// The commands that have taken most time, in the server's order.
fn heaviest<'a>(commands: &[(&'a str, &'a str)], limit: usize) -> Vec<(&'a str, &'a str)> {
    if commands.len() <= limit {
        return commands.to_vec();
    }
    let mut by_time: Vec<(u64, usize)> = commands
        .iter()
        .enumerate()
        .map(|(at, (_, figures))| (figure_number(figures, "usec").unwrap_or(0.0) as u64, at))
        .collect();
    by_time.sort_unstable_by_key(|&(us, at)| (std::cmp::Reverse(us), at));
    by_time.truncate(limit);
    by_time.sort_unstable_by_key(|&(_, at)| at);
    by_time.iter().map(|&(_, at)| commands[at]).collect()
}

/// How often commands were called that reach for keys, as far as that can be told from their names.
pub(super) fn calls_for_keys(info: &Info<'_>) -> f64 {
    let calls = info.commands.iter().filter(|(command, _)| {
        let name = command.split('|').next().unwrap_or_default();
        !WITHOUT_KEYS.contains(&name)
    });
    calls
        .filter_map(|(_, figures)| figure_number(figures, "calls"))
        .sum()
}

/// Commands that look up no key by its name on behalf of a client.
const WITHOUT_KEYS: [&str; 38] = [
    "acl",
    "asking",
    "auth",
    "bgrewriteaof",
    "bgsave",
    "client",
    "cluster",
    "command",
    "config",
    "dbsize",
    "debug",
    "discard",
    "echo",
    "exec",
    "flushall",
    "flushdb",
    "function",
    "hello",
    "info",
    "keys",
    "latency",
    "memory",
    "module",
    "monitor",
    "multi",
    "object",
    "ping",
    "psubscribe",
    "publish",
    "randomkey",
    "replconf",
    "role",
    "scan",
    "script",
    "select",
    "slowlog",
    "subscribe",
    "unwatch",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Recorder;
    use crate::testing::{Row, rows, value};

    fn recorded(text: &str, limit: usize) -> Vec<Row> {
        let info = Info::parse(text);
        let record = |recorder: &mut Recorder| {
            let instance = "main";
            commands(&info, limit, &mut Samples { recorder, instance });
            Ok(())
        };
        rows(record).expect("recorded")
    }

    const TEXT: &str = "cmdstat_get:calls=10,usec=50,usec_per_call=5.00,rejected_calls=0,failed_calls=2\n\
        cmdstat_keys:calls=1,usec=90000,usec_per_call=90000.00,rejected_calls=1,failed_calls=0\n\
        cmdstat_ping:calls=4,usec=2,usec_per_call=0.50\n\
        errorstat_OOM:count=7\nlatency_percentiles_usec_get:p50=1.003,p99=5000.191,p99.9=6000.639\n\
        latency_percentiles_usec_ping:p50=1.003\n";

    #[test]
    fn commands_have_calls_time_errors_and_percentiles() {
        let rows = recorded(TEXT, 100);
        let get = "cmd=get,service.instance.id=main";
        assert_eq!(value(&rows, "redis.cmd.calls", get), 10.0);
        assert!((value(&rows, "redis.cmd.time", get) - 50e-6).abs() < 1e-12);
        let failed = "cmd=get,outcome=failed,service.instance.id=main";
        assert_eq!(value(&rows, "redis.cmd.errors", failed), 2.0);
        let p99 = "cmd=get,percentile=p99,service.instance.id=main";
        assert!((value(&rows, "redis.cmd.latency", p99) - 5.000_191e-3).abs() < 1e-12);
        let oom = "error.type=OOM,service.instance.id=main";
        assert_eq!(value(&rows, "redis.errors", oom), 7.0);
        let errors = rows.iter().filter(|row| row.0 == "redis.cmd.errors");
        assert_eq!(
            errors.count(),
            2,
            "commands that never failed have no series"
        );
    }

    #[test]
    fn only_the_heaviest_commands_have_series() {
        let rows = recorded(TEXT, 1);
        let calls: Vec<&str> = rows
            .iter()
            .filter(|row| row.0.starts_with("redis.cmd."))
            .map(|row| row.1.as_str())
            .collect();
        assert!(
            !calls.is_empty() && calls.iter().all(|labels| labels.starts_with("cmd=keys")),
            "{calls:?}"
        );
    }

    #[test]
    fn pings_reach_for_no_keys() {
        assert_eq!(calls_for_keys(&Info::parse(TEXT)), 10.0);
    }
}
