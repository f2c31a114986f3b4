//! Settings: those that rules need as gauges, and every change of one as an event. Settings that hold
//! text are not read at all: some hold passwords.

use std::collections::HashMap;

use driftline_schemas::metric::catalogue::id;

use super::query::get;
use super::session::{MARK, Session};
use crate::service::{Pass, ServiceError};

/// What our own sessions set.
const OURS: [&str; 3] = ["statement_timeout", "lock_timeout", "default_transaction_read_only"];

/// What is recorded.
const RECORDED: [&str; 42] = [
    "autovacuum",
    "autovacuum_analyze_scale_factor",
    "autovacuum_analyze_threshold",
    "autovacuum_max_workers",
    "autovacuum_naptime",
    "autovacuum_vacuum_cost_delay",
    "autovacuum_vacuum_cost_limit",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_threshold",
    "block_size",
    "checkpoint_completion_target",
    "checkpoint_timeout",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "fsync",
    "full_page_writes",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "jit",
    "log_min_duration_statement",
    "maintenance_work_mem",
    "max_connections",
    "max_parallel_workers_per_gather",
    "max_wal_size",
    "max_worker_processes",
    "min_wal_size",
    "pg_stat_statements.max",
    "pg_stat_statements.track_planning",
    "random_page_cost",
    "seq_page_cost",
    "shared_buffers",
    "superuser_reserved_connections",
    "temp_buffers",
    "track_io_timing",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
    "wal_buffers",
    "wal_keep_size",
    "wal_segment_size",
    "work_mem",
];

/// A setting as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) unit: Option<String>,
}

/// A change between two readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) to: String,
}

/// Remembers the settings of the last reading.
#[derive(Debug, Default)]
pub(super) struct Settings {
    known: HashMap<String, String>,
}

impl Settings {
    /// Reads all settings, records those that rules need, and returns what has changed.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn read(
        &mut self,
        session: &Session,
        instance: &str,
        out: &mut Pass,
    ) -> Result<Vec<Changed>, ServiceError> {
        let sql = format!(
            "SELECT {MARK} name, setting, unit FROM pg_settings WHERE vartype <> 'string' AND context <> 'internal' OR name IN ('block_size', 'wal_segment_size')"
        );
        let what = "pg_settings";
        let mut settings = Vec::new();
        for row in session.rows(what, &sql, &[]).await? {
            settings.push(Setting {
                name: get(&row, 0, what)?.unwrap_or_default(),
                value: get(&row, 1, what)?.unwrap_or_default(),
                unit: get(&row, 2, what)?,
            });
        }
        for setting in &settings {
            if RECORDED.binary_search(&setting.name.as_str()).is_err() {
                continue;
            }
            if let Some((metric, value)) = measured(setting) {
                let labels = &mut [
                    ("service.instance.id", instance),
                    ("postgresql.setting.name", setting.name.as_str()),
                ];
                out.recorder.record(metric, labels, value);
            }
        }
        Ok(self.changes(settings))
    }

    /// What is another value than at the last reading.
    fn changes(&mut self, settings: Vec<Setting>) -> Vec<Changed> {
        let mut changed = Vec::new();
        for setting in settings {
            if OURS.contains(&setting.name.as_str()) || setting.name.starts_with("transaction_") {
                continue;
            }
            let unit = setting.unit.as_deref().unwrap_or_default();
            let value = format!("{}{}", setting.value, shown_unit(&setting.value, unit));
            let known = self.known.insert(setting.name.clone(), value.clone());
            match known {
                Some(from) if from != value => changed.push(Changed {
                    name: setting.name,
                    from,
                    to: value,
                }),
                _ => {}
            }
        }
        changed
    }
}

/// A unit that begins with a digit (`8kB`) multiplies.
fn shown_unit(value: &str, unit: &str) -> String {
    let multiplies = unit.starts_with(|c: char| c.is_ascii_digit());
    if multiplies && !value.is_empty() {
        format!(" × {unit}")
    } else {
        unit.to_owned()
    }
}

/// The metric and the value in its unit; `None` for settings that are words.
fn measured(setting: &Setting) -> Option<(u32, f64)> {
    const SIZE: u32 = id("postgresql.setting.size");
    const DURATION: u32 = id("postgresql.setting.duration");
    const VALUE: u32 = id("postgresql.setting.value");
    let value = match setting.value.as_str() {
        "on" => 1.0,
        "off" => 0.0,
        number => number.parse::<f64>().ok()?,
    };
    let unit = setting.unit.as_deref().unwrap_or_default();
    let digits = unit.find(|c: char| !c.is_ascii_digit()).unwrap_or(unit.len());
    let (factor, unit) = unit.split_at(digits);
    let factor = factor.parse::<f64>().unwrap_or(1.0);
    let (metric, scale) = match unit {
        "B" => (SIZE, 1.0),
        "kB" => (SIZE, 1024.0),
        "MB" => (SIZE, 1024.0 * 1024.0),
        "us" => (DURATION, 1e-6),
        "ms" => (DURATION, 1e-3),
        "s" => (DURATION, 1.0),
        "min" => (DURATION, 60.0),
        _ if setting.name == "block_size" => (SIZE, 1.0),
        _ => (VALUE, 1.0),
    };
    // Negative values switch a limit off or mean "by default"; they are no amounts.
    let scaled = if value < 0.0 { value } else { value * factor * scale };
    Some((metric, scaled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str, unit: &str) -> Setting {
        Setting {
            name: name.to_owned(),
            value: value.to_owned(),
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
        }
    }

    #[test]
    fn settings_are_recorded_in_base_units() {
        let measure = |value, unit| measured(&setting("x", value, unit));
        let (size, duration, value) = (
            id("postgresql.setting.size"),
            id("postgresql.setting.duration"),
            id("postgresql.setting.value"),
        );
        assert_eq!(measure("16384", "8kB"), Some((size, 134_217_728.0)));
        assert_eq!(measure("1024", "MB"), Some((size, 1_073_741_824.0)));
        assert_eq!(measure("5", "min"), Some((duration, 300.0)));
        assert_eq!(measure("2", "ms"), Some((duration, 0.002)));
        assert_eq!(measure("-1", "ms"), Some((duration, -1.0)));
        assert_eq!(measure("on", ""), Some((value, 1.0)));
        assert_eq!(measure("0.2", ""), Some((value, 0.2)));
        assert_eq!(measure("replica", ""), None);
        assert!(RECORDED.is_sorted());
    }

    #[test]
    fn changes_are_told_once() {
        let mut settings = Settings::default();
        let first = vec![setting("work_mem", "4096", "kB"), setting("lock_timeout", "1", "ms")];
        assert_eq!(settings.changes(first), []);
        let second = vec![setting("work_mem", "8192", "kB"), setting("lock_timeout", "2", "ms")];
        let changed = settings.changes(second.clone());
        assert_eq!(changed.len(), 1);
        assert_eq!((changed[0].from.as_str(), changed[0].to.as_str()), ("4096kB", "8192kB"));
        assert_eq!(settings.changes(second), []);
    }
}
