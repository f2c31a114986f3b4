//! One payload to one webhook: a POST with a time-out, tried again a bounded number of times where
//! that may help.
//!
//! Tried again is what may pass: no connection, no answer in time, 408, 425, 429 and 5xx. Anything
//! else is final. Redirects are not followed: a webhook that has moved is to be told its new address.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::Value;

use super::Address;
use super::connect::{connect, trust};

/// The pause before the first repetition; each further one doubles it.
const BACK_OFF: Duration = Duration::from_secs(1);
/// The longest pause, also when the receiver asks for a longer one.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Most attempts that may be asked for.
const ATTEMPTS_MAX: u32 = 10;
/// Longest time-out of an attempt.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Bytes of an answer that are read, and characters of it that are told.
const ANSWER_BYTES: usize = 16 * 1024;
const ANSWER_TOLD: usize = 200;
/// Parts of an address from this length on may be secrets.
const SECRET_BYTES: usize = 6;

/// A webhook as it is asked for.
#[derive(Debug, Clone)]
pub struct WebhookSpec {
    /// Where it is.
    pub address: Address,
    /// How long one attempt may take, from looking up the host to the end of the answer.
    pub timeout: Duration,
    /// How often to try, at least once.
    pub attempts: u32,
    /// The pause before the first repetition, where it is not the default of one second.
    pub back_off: Option<Duration>,
    /// Certificates to trust besides the system's, in PEM.
    pub ca: Option<PathBuf>,
}

/// A webhook that can be delivered to.
#[derive(Debug, Clone)]
pub struct Webhook {
    address: Address,
    timeout: Duration,
    attempts: u32,
    back_off: Duration,
    tls: Option<Arc<ClientConfig>>,
}

/// A payload that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The answer's status.
    pub status: u16,
    /// How many attempts it took.
    pub attempts: u32,
}

/// A webhook that cannot be used, or did not take a payload.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The address is not one.
    #[error("the webhook's address {problem}; expected https://host/path or http://host/path")]
    Address {
        /// What is wrong with it; never the address itself.
        problem: &'static str,
    },
    /// An option is out of its bounds.
    #[error("webhook {address}: {option} must be {expected}")]
    Option {
        /// Where, without secrets.
        address: String,
        /// The option.
        option: &'static str,
        /// What is expected.
        expected: String,
    },
    /// A certificate file cannot be used.
    #[error("cannot use the certificates in {path}: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The receiver refused the payload; it would again.
    #[error(
        "webhook {address} refused the notice with status {status}{answer}; check its address and its kind"
    )]
    Refused {
        /// Where, without secrets.
        address: String,
        /// The status.
        status: u16,
        /// The beginning of its answer.
        answer: String,
    },
    /// Every attempt failed.
    #[error("webhook {address} could not be reached in {attempts} attempts: {last}")]
    Unreachable {
        /// Where, without secrets.
        address: String,
        /// How many attempts there were.
        attempts: u32,
        /// How the last one failed.
        last: String,
    },
}

/// Why an attempt failed.
enum Failure {
    Final {
        status: u16,
        answer: String,
    },
    Passing {
        why: String,
        pause: Option<Duration>,
    },
}

impl Webhook {
    /// Checks a webhook, and reads the certificates where it needs them.
    pub fn new(spec: WebhookSpec) -> Result<Self, NotifyError> {
        let refuse = |option: &'static str, expected: String| NotifyError::Option {
            address: spec.address.to_string(),
            option,
            expected,
        };
        if spec.timeout.is_zero() || spec.timeout > TIMEOUT_MAX {
            let most = TIMEOUT_MAX.as_secs();
            return Err(refuse("timeout", format!("above 0 and at most {most}s")));
        }
        if spec.attempts == 0 || spec.attempts > ATTEMPTS_MAX {
            return Err(refuse("attempts", format!("1 to {ATTEMPTS_MAX}")));
        }
        let tls = spec
            .address
            .tls
            .then(|| trust(spec.ca.as_deref()))
            .transpose()?;
        Ok(Self {
            timeout: spec.timeout,
            attempts: spec.attempts,
            back_off: spec.back_off.unwrap_or(BACK_OFF),
            address: spec.address,
            tls,
        })
    }

    /// Where it is; shows no secret.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Delivers a payload. It may arrive more than once, when only an answer was lost.
    pub async fn deliver(&self, payload: &Value) -> Result<Delivered, NotifyError> {
        let body = Bytes::from(payload.to_string());
        let address = self.address.to_string();
        let mut last = String::new();
        for attempt in 1..=self.attempts {
            let pause = match self.attempt(body.clone()).await {
                Ok(status) => {
                    return Ok(Delivered {
                        status,
                        attempts: attempt,
                    });
                }
                Err(Failure::Final { status, answer }) => {
                    return Err(NotifyError::Refused {
                        address,
                        status,
                        answer,
                    });
                }
                Err(Failure::Passing { why, pause }) => {
                    last = why;
                    pause
                }
            };
            if attempt < self.attempts {
                let pause = pause.unwrap_or(self.pause_after(attempt)).min(BACK_OFF_MAX);
                tracing::warn!(webhook = %self.address, attempt, why = %last, ?pause, "is tried again");
                tokio::time::sleep(pause).await;
            }
        }
        Err(NotifyError::Unreachable {
            address,
            attempts: self.attempts,
            last,
        })
    }

    async fn attempt(&self, body: Bytes) -> Result<u16, Failure> {
        match tokio::time::timeout(self.timeout, self.post(body)).await {
            Ok(result) => result,
            Err(_) => Err(passing(format!("no answer within {:?}", self.timeout))),
        }
    }

    async fn post(&self, body: Bytes) -> Result<u16, Failure> {
        let request = self.request(body)?;
        let stream = connect(&self.address, self.tls.as_ref())
            .await
            .map_err(|error| passing(format!("no connection: {error}")))?;
        let broken = |error: hyper::Error| {
            let cause = error
                .source()
                .map_or_else(String::new, |cause| format!(": {cause}"));
            passing(format!("the connection broke: {error}{cause}"))
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            Ok(self.judge(response).await)
        };
        // The connection lives within this future, so that it ends with the attempt.
        tokio::pin!(exchange, connection);
        let exchanged: Result<Result<u16, Failure>, hyper::Error> = tokio::select! {
            biased;
            exchanged = &mut exchange => exchanged,
            // Many receivers break the connection off right after their answer.
            ended = &mut connection => match exchange.await {
                Ok(judged) => Ok(judged),
                Err(error) => Err(ended.err().unwrap_or(error)),
            },
        };
        exchanged.map_err(broken)?
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.address.target)
            .header(HOST, self.address.host_header())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("driftline/", env!("CARGO_PKG_VERSION")));
        if let Some(value) = &self.address.authorization {
            let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body)).map_err(|_| unusable())
    }

    async fn judge(&self, response: Response<hyper::body::Incoming>) -> Result<u16, Failure> {
        let status = response.status();
        let pause = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        // Whether the answer's body is whole does not change what its status says.
        let answer = match Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await
        {
            Ok(body) => self.told(&body.to_bytes()),
            Err(_) => String::new(),
        };
        match status {
            _ if status.is_success() => Ok(status.as_u16()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Passing {
                    why: format!("status {}{answer}", status.as_u16()),
                    pause,
                })
            }
            _ if status.is_server_error() => Err(Failure::Passing {
                why: format!("status {}{answer}", status.as_u16()),
                pause,
            }),
            _ => Err(Failure::Final {
                status: status.as_u16(),
                answer,
            }),
        }
    }

    /// The beginning of an answer on one line; nothing of one that repeats the secret.
    fn told(&self, answer: &[u8]) -> String {
        let text = String::from_utf8_lossy(answer);
        let mut pieces = self.address.target.split(['/', '?', '&', '=']);
        let echoes = pieces.any(|piece| piece.len() >= SECRET_BYTES && text.contains(piece));
        if text.trim().is_empty() || echoes {
            return String::new();
        }
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(ANSWER_TOLD)
            .collect();
        format!(" ({})", line.trim())
    }

    fn pause_after(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        self.back_off.saturating_mul(factor)
    }
}

fn passing(why: String) -> Failure {
    Failure::Passing { why, pause: None }
}

/// A target or a header that HTTP cannot carry; its address is not shown.
fn unusable() -> Failure {
    Failure::Final {
        status: 0,
        answer: " (its address cannot be sent)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
