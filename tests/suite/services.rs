//! Real parts, or a loud skip.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// Says that a test is skipped because a real part is not there; where parts are required, fails.
pub(crate) fn skip(test: &str, why: &str) {
    let required = std::env::var_os("DRIFTLINE_REQUIRE_SERVICES").is_some();
    assert!(!required, "{test} must run, but {why}");
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(log) = std::env::var_os("DRIFTLINE_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new()
            .append(true)
            .open(log)
            .expect("open the skip log");
        writeln!(log, "{test}: {why}").expect("write the skip log");
    }
}

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
    skip(
        test,
        "Python with polars and deltalake is not there: run tests/services/install.sh",
    );
    None
}
