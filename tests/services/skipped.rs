//! Real parts, or a loud skip.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Says aloud that something is skipped, since a real part of it is not there: past the test harness,
/// which keeps the output of tests that pass, and for the summary of `tests/run`. Fails where parts are
/// required, as they are in CI.
#[track_caller]
pub(crate) fn skip(what: &str) {
    let required = std::env::var_os("DRIFTLINE_REQUIRE_SERVICES").is_some_and(|v| v == "1");
    assert!(
        !required,
        "{what}, and DRIFTLINE_REQUIRE_SERVICES=1 wants everything to be there"
    );
    let line = format!("SKIPPED: {what}\n");
    let mut told = std::io::stderr().write_all(line.as_bytes());
    if let Some(log) = std::env::var_os("DRIFTLINE_SKIP_LOG") {
        told = told.and_then(|()| {
            let mut log = OpenOptions::new().create(true).append(true).open(log)?;
            log.write_all(line.as_bytes())
        });
    }
    told.expect("a skipped test can be told");
}
