//! Scenarios from documents of other tools: an OpenAPI description gives a mix of requests, a HAR
//! recording a journey. The result is the text of a scenario for people to read and change; whether
//! its load suits the target is theirs to judge.

mod har;
mod openapi;
mod output;
mod sample;
mod time;

pub use har::har;
pub use openapi::openapi;

/// Largest document.
pub const MAX_DOCUMENT_BYTES: usize = 256 << 20;
/// Most requests taken from a document.
pub const MAX_REQUESTS: usize = 1_000;
/// How much the scenarios begin with, so that an import never floods anybody.
const FIRST_STAGE: &str = "[[stages]]\nduration = \"30s\"\n";

/// A document that gives no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is too large.
    #[error("the document has more than {MAX_DOCUMENT_BYTES} bytes; cut it")]
    TooLarge,
    /// It has too many requests.
    #[error("the document has {0} requests, more than {MAX_REQUESTS}; cut it")]
    TooMany(usize),
    /// It is not JSON (nor, for OpenAPI, YAML).
    #[error("the document is not {kind}; is it the right file?")]
    Syntax {
        /// What it should be.
        kind: &'static str,
        /// The cause.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// It is not a HAR file in JSON.
    #[error("the document is not JSON; export it again as HAR")]
    Json(#[from] serde_json::Error),
    /// It is of another kind or version.
    #[error("the document is not {wanted}: {reason}")]
    Kind {
        /// What it should be.
        wanted: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// It has no request.
    #[error("the document has no request to import; {0}")]
    Empty(&'static str),
}

fn check_size(text: &str) -> Result<(), ImportError> {
    match text.len() > MAX_DOCUMENT_BYTES {
        true => Err(ImportError::TooLarge),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
