//! The allow-lists: options of a table, settings of PostgreSQL, parameters of Redis; each with the
//! range of its values and how they are written.
//!
//! Caps that depend on the machine (memory) are left to the plan, which knows it.

use serde::{Deserialize, Serialize};

use super::ActionError;

/// A storage option of a table that may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableOption {
    /// Dead rows, as a share of the table, that bring a vacuum.
    AutovacuumVacuumScaleFactor,
    /// Dead rows that bring a vacuum, beside the share.
    AutovacuumVacuumThreshold,
    /// Inserted rows, as a share, that bring a vacuum.
    AutovacuumVacuumInsertScaleFactor,
    /// Changed rows, as a share, that bring an ANALYZE.
    AutovacuumAnalyzeScaleFactor,
    /// Changed rows that bring an ANALYZE, beside the share.
    AutovacuumAnalyzeThreshold,
    /// Work between two pauses of a vacuum.
    AutovacuumVacuumCostLimit,
    /// A vacuum's pause, in milliseconds.
    AutovacuumVacuumCostDelay,
    /// How full pages are written, in percent: the rest stays free for updates in place.
    Fillfactor,
}

/// A setting of the server that may be set; each takes effect at a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// WAL between two checkpoints, in bytes.
    MaxWalSize,
    /// Memory of a sort or hash before it spills, in bytes.
    WorkMem,
    /// How much of the interval a checkpoint takes.
    CheckpointCompletionTarget,
    /// The default of the table option.
    AutovacuumVacuumScaleFactor,
    /// The default of the table option.
    AutovacuumAnalyzeScaleFactor,
    /// The default of the table option.
    AutovacuumVacuumCostLimit,
    /// The pause between rounds of autovacuum, in seconds.
    AutovacuumNaptime,
    /// The planner's cost of a page read out of order.
    RandomPageCost,
    /// How long a session may idle in a transaction, in seconds.
    IdleInTransactionSessionTimeout,
}

/// A parameter of Redis that may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedisParameter {
    /// Bytes for values.
    Maxmemory,
    /// What is evicted.
    MaxmemoryPolicy,
    /// How many keys an eviction looks at.
    MaxmemorySamples,
    /// Whether memory is defragmented in the background.
    Activedefrag,
    /// Whether evicted values are freed in the background.
    LazyfreeLazyEviction,
    /// Whether expired values are freed in the background.
    LazyfreeLazyExpire,
}

/// What a setting's value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes; written in kB.
    Bytes,
    /// Seconds; written in ms.
    Seconds,
    /// A number without a unit.
    Ratio,
    /// A whole number.
    Count,
}

const KIB: f64 = 1024.0;
const MIB: f64 = KIB * 1024.0;
const GIB: f64 = MIB * 1024.0;

impl TableOption {
    /// Its name in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AutovacuumVacuumScaleFactor => "autovacuum_vacuum_scale_factor",
            Self::AutovacuumVacuumThreshold => "autovacuum_vacuum_threshold",
            Self::AutovacuumVacuumInsertScaleFactor => "autovacuum_vacuum_insert_scale_factor",
            Self::AutovacuumAnalyzeScaleFactor => "autovacuum_analyze_scale_factor",
            Self::AutovacuumAnalyzeThreshold => "autovacuum_analyze_threshold",
            Self::AutovacuumVacuumCostLimit => "autovacuum_vacuum_cost_limit",
            Self::AutovacuumVacuumCostDelay => "autovacuum_vacuum_cost_delay",
            Self::Fillfactor => "fillfactor",
        }
    }

    /// The least and the most, and whether it is a whole number. A share of 0 would vacuum without
    /// pause, one over 0.5 hardly ever; a fillfactor below 50 doubles the table.
    const fn range(self) -> (f64, f64, Quantity) {
        match self {
            Self::AutovacuumVacuumScaleFactor
            | Self::AutovacuumVacuumInsertScaleFactor
            | Self::AutovacuumAnalyzeScaleFactor => (0.001, 0.5, Quantity::Ratio),
            Self::AutovacuumVacuumThreshold | Self::AutovacuumAnalyzeThreshold => {
                (50.0, 10_000_000.0, Quantity::Count)
            }
            Self::AutovacuumVacuumCostLimit => (100.0, 10_000.0, Quantity::Count),
            Self::AutovacuumVacuumCostDelay => (0.0, 20.0, Quantity::Ratio),
            Self::Fillfactor => (50.0, 100.0, Quantity::Count),
        }
    }

    /// Whether `value` is allowed.
    pub fn check(self, value: f64) -> Result<(), ActionError> {
        let (low, high, quantity) = self.range();
        check_range(self.as_str(), value, low, high, quantity)
    }

    /// The value as SQL writes it.
    pub fn write(self, value: f64) -> String {
        write(self.range().2, value)
    }
}

impl Setting {
    /// Its name in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxWalSize => "max_wal_size",
            Self::WorkMem => "work_mem",
            Self::CheckpointCompletionTarget => "checkpoint_completion_target",
            Self::AutovacuumVacuumScaleFactor => "autovacuum_vacuum_scale_factor",
            Self::AutovacuumAnalyzeScaleFactor => "autovacuum_analyze_scale_factor",
            Self::AutovacuumVacuumCostLimit => "autovacuum_vacuum_cost_limit",
            Self::AutovacuumNaptime => "autovacuum_naptime",
            Self::RandomPageCost => "random_page_cost",
            Self::IdleInTransactionSessionTimeout => "idle_in_transaction_session_timeout",
        }
    }

    /// The least and the most, and what the value is of.
    const fn range(self) -> (f64, f64, Quantity) {
        match self {
            Self::MaxWalSize => (64.0 * MIB, 64.0 * GIB, Quantity::Bytes),
            Self::WorkMem => (MIB, 256.0 * MIB, Quantity::Bytes),
            Self::CheckpointCompletionTarget => (0.5, 0.95, Quantity::Ratio),
            Self::AutovacuumVacuumScaleFactor | Self::AutovacuumAnalyzeScaleFactor => {
                (0.001, 0.5, Quantity::Ratio)
            }
            Self::AutovacuumVacuumCostLimit => (100.0, 10_000.0, Quantity::Count),
            Self::AutovacuumNaptime => (5.0, 600.0, Quantity::Seconds),
            Self::RandomPageCost => (1.0, 4.0, Quantity::Ratio),
            Self::IdleInTransactionSessionTimeout => (10.0, 86_400.0, Quantity::Seconds),
        }
    }

    /// What the value is of.
    pub const fn quantity(self) -> Quantity {
        self.range().2
    }

    /// Whether `value` is allowed.
    pub fn check(self, value: f64) -> Result<(), ActionError> {
        let (low, high, quantity) = self.range();
        check_range(self.as_str(), value, low, high, quantity)
    }

    /// The value as SQL writes it, with its unit.
    pub fn write(self, value: f64) -> String {
        write(self.quantity(), value)
    }

    /// What `pg_settings` says, in our unit; `None` for a unit that is not known.
    pub fn read(self, setting: &str, unit: Option<&str>) -> Option<f64> {
        let factor = match unit.unwrap_or_default() {
            "" | "B" | "s" => 1.0,
            "kB" => KIB,
            "8kB" => 8.0 * KIB,
            "MB" => MIB,
            "ms" => 1e-3,
            "min" => 60.0,
            _ => return None,
        };
        Some(setting.parse::<f64>().ok()? * factor)
    }
}

impl RedisParameter {
    /// Its name for CONFIG.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Maxmemory => "maxmemory",
            Self::MaxmemoryPolicy => "maxmemory-policy",
            Self::MaxmemorySamples => "maxmemory-samples",
            Self::Activedefrag => "activedefrag",
            Self::LazyfreeLazyEviction => "lazyfree-lazy-eviction",
            Self::LazyfreeLazyExpire => "lazyfree-lazy-expire",
        }
    }

    /// Whether `value` is allowed.
    pub fn check(self, value: &str) -> Result<(), ActionError> {
        let (good, allowed) = match self {
            Self::Maxmemory => (
                value.parse::<u64>().is_ok_and(|bytes| bytes >= 1 << 20),
                "a whole number of bytes from 1 MiB",
            ),
            Self::MaxmemorySamples => (
                value.parse::<u8>().is_ok_and(|n| (1..=20).contains(&n)),
                "a whole number from 1 to 20",
            ),
            Self::MaxmemoryPolicy => (
                matches!(
                    value,
                    "noeviction"
                        | "allkeys-lru"
                        | "allkeys-lfu"
                        | "allkeys-random"
                        | "volatile-lru"
                        | "volatile-lfu"
                        | "volatile-random"
                        | "volatile-ttl"
                ),
                "a policy of Redis 7",
            ),
            Self::Activedefrag | Self::LazyfreeLazyEviction | Self::LazyfreeLazyExpire => {
                (matches!(value, "yes" | "no"), "yes or no")
            }
        };
        if good {
            return Ok(());
        }
        Err(ActionError::Value {
            what: self.as_str().to_owned(),
            value: value.chars().take(64).collect(),
            allowed: allowed.to_owned(),
        })
    }
}

fn check_range(
    what: &str,
    value: f64,
    low: f64,
    high: f64,
    quantity: Quantity,
) -> Result<(), ActionError> {
    let whole = quantity != Quantity::Count || value.fract() == 0.0;
    if value.is_finite() && (low..=high).contains(&value) && whole {
        return Ok(());
    }
    Err(ActionError::Value {
        what: what.to_owned(),
        value: value.to_string(),
        allowed: format!("{} to {}", write(quantity, low), write(quantity, high)),
    })
}

fn write(quantity: Quantity, value: f64) -> String {
    match quantity {
        Quantity::Bytes => format!("{:.0}kB", (value / KIB).round()),
        Quantity::Seconds => format!("{:.0}ms", (value * 1e3).round()),
        Quantity::Ratio => format!("{value}"),
        Quantity::Count => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_with_their_unit_and_read_back() {
        let wal = Setting::MaxWalSize;
        assert_eq!(wal.write(2.0 * GIB), "2097152kB");
        assert_eq!(wal.read("2048", Some("MB")), Some(2.0 * GIB));
        assert_eq!(wal.read("2048", Some("furlong")), None);
        assert_eq!(Setting::AutovacuumNaptime.write(60.0), "60000ms");
        assert_eq!(TableOption::AutovacuumVacuumScaleFactor.write(0.01), "0.01");
        assert_eq!(TableOption::Fillfactor.write(80.0), "80");
    }

    #[test]
    fn what_is_outside_of_its_range_is_refused_with_the_range() {
        let told = Setting::WorkMem
            .check(GIB)
            .expect_err("too much")
            .to_string();
        assert!(told.contains("1024kB to 262144kB"), "{told}");
        assert!(TableOption::AutovacuumVacuumThreshold.check(50.5).is_err());
        assert!(RedisParameter::Maxmemory.check("12gb").is_err());
        assert!(RedisParameter::MaxmemoryPolicy.check("allkeys-lfu").is_ok());
    }
}
