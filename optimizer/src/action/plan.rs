//! What a dry run found.

use serde::{Deserialize, Serialize};

use super::hypothetical::Hypothetical;

/// What would be done, and what stands against it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The exact command.
    pub command: String,
    /// What would undo it, as things are now.
    pub inverse: String,
    /// What makes it impossible or unwise: a missing privilege, a lock, a value that is set elsewhere.
    pub problems: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// The size of the table, in bytes.
    pub table_bytes: Option<u64>,
    /// The space that it needs, in bytes.
    pub needs_bytes: Option<u64>,
    /// Reads from and writes to the table since its counters began.
    pub reads_writes: Option<(u64, u64)>,
    /// What the planner expects of the index that would be created; `None` where it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypothetical: Option<Hypothetical>,
}
