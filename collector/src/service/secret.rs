//! Passwords and tokens, from files and from variables of the environment. They are read when they are
//! needed, so that they can be changed while the collector runs, and are shown nowhere.
//!
//! What they are for is left to the services.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::ServiceError;

/// The largest secret.
const MAX_BYTES: u64 = 64 * 1024;
/// The bit of a file's mode that lets everybody read it.
const OTHERS_MAY_READ: u32 = 0o004;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// In a file, alone; one line break at its end is not part of it.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

impl Secret {
    /// The file where one is named, else the variable.
    pub(crate) fn of(file: Option<&Path>, env: Option<&str>) -> Option<Self> {
        let file = file.map(|file| Self::File(file.to_owned()));
        file.or_else(|| env.map(|name| Self::Env(name.to_owned())))
    }

    /// Reads it.
    ///
    /// # Errors
    /// Which file or variable cannot be read, and whose secret that is: `the password of …`.
    pub(crate) fn read(&self, whose: &str) -> Result<String, ServiceError> {
        let (found, remedy) = match self {
            Self::File(path) => (
                read_file(path),
                "write it, alone, into a file that the collector's user can read, and nobody else",
            ),
            Self::Env(name) => (
                std::env::var(name).map_err(|error| format!("the variable {name}: {error}")),
                "set this variable of the collector's environment",
            ),
        };
        found.map_err(|problem| ServiceError::Misconfigured {
            what: format!("{whose} cannot be read ({problem})"),
            remedy: remedy.to_owned(),
        })
    }

    /// Says in the collector's own log when everybody on this machine can read it.
    pub(crate) fn warn_if_exposed(&self) {
        // A file that is not there yet is told when it is read.
        if let Self::File(path) = self
            && fs::metadata(path).is_ok_and(|found| is_exposed(found.permissions().mode()))
        {
            tracing::warn!(
                path = %path.display(),
                "everybody on this machine can read this secret: chmod o= it"
            );
        }
    }
}

/// Whether a file of this mode can be read by others than its user and group.
const fn is_exposed(mode: u32) -> bool {
    mode & OTHERS_MAY_READ != 0
}

fn read_file(path: &Path) -> Result<String, String> {
    let named = |problem: &dyn std::fmt::Display| format!("the file {}: {problem}", path.display());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| named(&error))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(named(&"it is larger than 64 KiB"));
    }
    text.truncate(without_line_break(&text).len());
    Ok(text)
}

/// Without the one line break at the end that editors and `echo` leave there. All else may be part of
/// a secret.
fn without_line_break(text: &str) -> &str {
    match text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_is_not_part_of_a_secret() {
        for (text, expected) in [
            ("hush", "hush"),
            ("hush\n", "hush"),
            ("hush\r\n", "hush"),
            ("hush\n\n", "hush\n"),
            (" hush \t\n", " hush \t"),
            ("hush\r", "hush\r"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(without_line_break(text), expected, "{text:?}");
        }
    }

    #[test]
    fn it_is_read_from_a_file_or_a_variable() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        fs::write(&path, "hush\n").expect("writable");
        let file = Secret::of(Some(&path), Some("PATH")).expect("a file is named");
        assert_eq!(file.read("the token").expect("readable"), "hush");
        let name = "CARGO_PKG_NAME";
        let variable = Secret::of(None, Some(name)).expect("a variable is named");
        let expected = std::env::var(name).expect("cargo sets it");
        assert_eq!(variable.read("the token").expect("set"), expected);
        assert_eq!(Secret::of(None, None), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let large = directory.path().join("large");
        fs::write(&large, vec![b'x'; 64 * 1024 + 1]).expect("writable");
        let binary = directory.path().join("binary");
        fs::write(&binary, [0xff, 0xfe]).expect("writable");
        let missing = directory.path().join("missing");
        for path in [large, binary, missing] {
            let read = Secret::File(path.clone()).read("the password of x");
            let error = read.expect_err("unreadable").to_string();
            let expected = path.display().to_string();
            assert!(
                error.starts_with("the password of x cannot be read"),
                "{error}"
            );
            assert!(
                error.contains(&expected) && !error.contains("xxx"),
                "{error}"
            );
        }
        let unset = Secret::Env("DRIFTLINE_TEST_UNSET".to_owned());
        let error = unset.read("the token").expect_err("not set").to_string();
        assert!(error.contains("DRIFTLINE_TEST_UNSET"), "{error}");
    }

    #[test]
    fn what_everybody_may_read_is_exposed() {
        for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            assert_eq!(is_exposed(0o100_000 | mode), expected, "{mode:o}");
        }
    }
}
