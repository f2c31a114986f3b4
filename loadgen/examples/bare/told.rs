//! A bare server tells what it has counted, so that what a client claims can be held against it: one
//! line for each line of its standard input. What is counted is the server's business.

use std::io::{self, BufRead as _, Write as _};

/// Answers each line of standard input with a line of `report`, on a thread of its own; `at_end` is
/// called when the input ends.
pub(crate) fn on_request(
    report: impl Fn() -> String + Send + 'static,
    at_end: impl FnOnce() + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let mut out = io::stdout().lock();
            // Who does not listen any more does not ask either.
            if line.is_err() || writeln!(out, "{}", report()).is_err() || out.flush().is_err() {
                break;
            }
        }
        at_end();
    });
}
