//! Real parts that are no servers.

use std::path::PathBuf;
use std::process::Command;

use crate::skipped::skip;

/// The Python that `tests/services/install.sh` has prepared; `None` where it is not there.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    let python = cache.join("driftline/python/bin/python");
    let imports = Command::new(&python)
        .args(["-c", "import polars, deltalake"])
        .output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip(&format!(
        "{test}: Python with polars and deltalake is not there: run tests/services/install.sh"
    ));
    None
}
