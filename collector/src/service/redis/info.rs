//! What `INFO` answers, taken apart: fields, and the tables among them. Pure.
//!
//! What the fields mean is left to [`super::record`] and [`super::commands`].

use std::collections::HashMap;

/// The answer to `INFO all`.
#[derive(Debug, Default)]
pub(super) struct Info<'a> {
    /// Every plain field.
    fields: HashMap<&'a str, &'a str>,
    /// `cmdstat_…`: the command and its figures.
    pub(super) commands: Vec<(&'a str, &'a str)>,
    /// `latency_percentiles_usec_…`: the command and its percentiles.
    pub(super) latencies: Vec<(&'a str, &'a str)>,
    /// `errorstat_…`: the kind of error and its count.
    pub(super) errors: Vec<(&'a str, &'a str)>,
    /// `db…`: the number and the figures of a database.
    pub(super) databases: Vec<(u32, &'a str)>,
    /// `slave…`: the figures of a replica.
    pub(super) replicas: Vec<&'a str>,
}

impl<'a> Info<'a> {
    /// Takes the text apart. Lines that are no fields are passed over.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            if let Some(command) = key.strip_prefix("cmdstat_") {
                info.commands.push((command, value));
            } else if let Some(command) = key.strip_prefix("latency_percentiles_usec_") {
                info.latencies.push((command, value));
            } else if let Some(kind) = key.strip_prefix("errorstat_") {
                info.errors.push((kind, value));
            } else if let Some(number) = numbered(key, "db") {
                info.databases.push((number, value));
            } else if numbered(key, "slave").is_some() {
                info.replicas.push(value);
            } else {
                info.fields.insert(key, value);
            }
        }
        info
    }

    /// A field's text.
    pub(super) fn text(&self, field: &str) -> Option<&'a str> {
        self.fields.get(field).copied()
    }

    /// A field's number.
    pub(super) fn number(&self, field: &str) -> Option<f64> {
        self.text(field)?
            .parse()
            .ok()
            .filter(|n: &f64| n.is_finite())
    }

    /// The version's first number; `None` where this is no Redis.
    pub(super) fn major_version(&self) -> Option<u32> {
        self.text("redis_version")?.split('.').next()?.parse().ok()
    }

    /// Whether the server is a replica.
    pub(super) fn is_replica(&self) -> bool {
        self.text("role") == Some("slave")
    }

    /// Whether the server loads its data and answers nothing else.
    pub(super) fn is_loading(&self) -> bool {
        self.text("loading") == Some("1")
    }
}

/// One figure of `key=value,key=value`.
pub(super) fn figure<'a>(figures: &'a str, key: &str) -> Option<&'a str> {
    figures.split(',').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found == key).then_some(value)
    })
}

/// One figure as a number.
pub(super) fn figure_number(figures: &str, key: &str) -> Option<f64> {
    figure(figures, key)?
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite())
}

/// The number after a prefix, as in `db0`.
fn numbered(key: &str, prefix: &str) -> Option<u32> {
    let digits = key.strip_prefix(prefix)?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_tables_are_told_apart() {
        let text = "# Server\r\nredis_version:7.0.15\r\nloading:0\r\n\r\n# Replication\r\nrole:master\r\n\
            connected_slaves:1\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=0\r\n\
            slave_expires_tracked_keys:0\r\n# Commandstats\r\ncmdstat_config|get:calls=2,usec=8\r\n\
            errorstat_OOM:count=3\r\nlatency_percentiles_usec_get:p50=1.003,p99=2.007\r\n\
            db0:keys=5,expires=1,avg_ttl=900\r\ndb12:keys=1,expires=0,avg_ttl=0\r\nsecond_repl_offset:-1\r\n";
        let info = Info::parse(text);
        assert_eq!(info.major_version(), Some(7));
        assert!(!info.is_replica() && !info.is_loading());
        assert_eq!(info.number("slave_expires_tracked_keys"), Some(0.0));
        assert_eq!(info.number("second_repl_offset"), Some(-1.0));
        assert_eq!(info.commands, [("config|get", "calls=2,usec=8")]);
        assert_eq!(info.errors, [("OOM", "count=3")]);
        assert_eq!(info.latencies, [("get", "p50=1.003,p99=2.007")]);
        let numbers: Vec<u32> = info.databases.iter().map(|db| db.0).collect();
        assert_eq!(numbers, [0, 12]);
        assert_eq!(figure(info.replicas[0], "ip"), Some("10.0.0.2"));
        assert_eq!(figure_number(info.databases[0].1, "avg_ttl"), Some(900.0));
        assert_eq!(figure_number(info.databases[0].1, "avg"), None);
    }

    #[test]
    fn garbage_is_no_server() {
        for text in [
            "",
            "HTTP/1.1 400 Bad Request",
            "redis_version:x",
            "a:b:c\n:\n::",
        ] {
            assert_eq!(Info::parse(text).major_version(), None, "{text}");
        }
        assert_eq!(
            Info::parse("used_memory:NaN\nx:inf").number("used_memory"),
            None
        );
        assert_eq!(Info::parse("db:1\ndb99999999999:2").databases, []);
    }
}
