//! Whether the brokers answer, told once per change and not once per attempt.
//!
//! A client reports the same outage several times a second. This keeps the state that an operator
//! asks for and writes one log line when it changes. Where the client hints at options of its own,
//! the hint is replaced by ours. What to do about an outage is left to the clients: they retry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Signs in the client's reasons (version 2.12), and what an operator of ours has to do. A sign that
/// begins with a colon is a hint of the client's at its own options, which ours takes the place of.
const REMEDIES: [(&str, &str); 3] = [
    (
        ": broker certificate could not be verified",
        "kafka.security.ca_file has to hold the authority that signed the broker's certificate \
         (without it the system's are trusted), kafka.brokers and the broker's \
         advertised.listeners have to use a name in the certificate, and it must not be expired",
    ),
    (
        ": connecting to a PLAINTEXT broker listener?",
        "if the listener speaks no TLS, set kafka.security.protocol to plaintext or sasl_plaintext",
    ),
    // The connection was closed at the first request.
    (
        " in state APIVERSION_QUERY",
        "if the listener speaks TLS, set kafka.security.protocol to ssl or sasl_ssl",
    ),
];

/// What is known of the connection now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) connected: bool,
    /// Why not, with a remedy where one is known.
    pub(crate) last_error: Option<String>,
    /// Set when trying again cannot help.
    pub(crate) refused: Option<Refusal>,
}

/// Who did not trust whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The broker has refused the credentials.
    Credentials,
    /// The broker's certificate was not accepted.
    Certificate,
}

/// A shared view of the connection, with a voice for the log.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    role: &'static str,
    brokers: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    now: Connection,
    /// The failure that was logged last, so that it is not logged again.
    told: Option<String>,
    /// Why a broker was lost last: when all are, only their number is told.
    broker_lost: Option<String>,
}

impl Health {
    /// Nothing is known yet.
    pub(crate) fn new(role: &'static str, brokers: &str) -> Self {
        Self {
            role,
            brokers: brokers.to_owned(),
            state: Arc::default(),
        }
    }

    /// What is known now.
    pub(crate) fn connection(&self) -> Connection {
        self.state().now.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A broker has answered.
    pub(crate) fn answered(&self) {
        let mut state = self.state();
        if !state.now.connected {
            tracing::info!(role = self.role, brokers = %self.brokers, "kafka answers");
            *state = State {
                now: Connection {
                    connected: true,
                    ..Connection::default()
                },
                ..State::default()
            };
        }
        state.now.last_error = None;
    }

    /// No broker can be reached, or none lets us in.
    fn lost(&self, reason: String, refused: Option<Refusal>) {
        let mut state = self.state();
        let was = state.now.clone();
        if was.connected || was.last_error.is_none() || (refused.is_some() && was.refused.is_none())
        {
            tracing::warn!(role = self.role, brokers = %self.brokers, reason, "kafka is out of reach; retrying");
        }
        // A refusal says more than the broken connection that follows it.
        if refused.is_some() || was.refused.is_none() {
            state.now.last_error = Some(reason);
        }
        state.now.connected = false;
        state.now.refused = refused.or(was.refused);
    }

    /// Takes one of the client's own log lines. They repeat every attempt, so they are written for
    /// debugging only; but no event says why a broker was lost when it has closed the connection.
    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(role = self.role, ?level, facility, message, "librdkafka");
        if facility == "FAIL" {
            let (_thread, reason) = message.split_once("]: ").unwrap_or(("", message));
            self.state().broker_lost = Some(explained(reason));
        }
    }

    /// All brokers are lost, for the reason that the last of them was.
    fn all_lost(&self, reason: &str) {
        let cause = self.state().broker_lost.clone();
        let reason = cause.map_or_else(|| reason.to_owned(), |cause| format!("{reason}: {cause}"));
        self.lost(reason, None);
    }

    /// Something failed while the connection stands.
    pub(crate) fn failed(&self, reason: &str) {
        let mut state = self.state();
        if state.told.as_deref() != Some(reason) {
            tracing::warn!(role = self.role, brokers = %self.brokers, reason, "kafka refused a request; retrying");
            state.told = Some(reason.to_owned());
        }
        state.now.last_error = Some(reason.to_owned());
    }

    /// Judges an error event of a client.
    pub(crate) fn judge(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // The end of a partition is no error; one lost broker is none either, as long as
            // another answers, and when none does `AllBrokersDown` follows.
            Some(
                RDKafkaErrorCode::PartitionEOF
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut,
            ) => tracing::debug!(role = self.role, %error, reason, "kafka client"),
            Some(RDKafkaErrorCode::AllBrokersDown) => self.all_lost(reason),
            Some(RDKafkaErrorCode::Resolve) => self.lost(explained(reason), None),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                self.lost(explained(reason), Some(Refusal::Credentials));
            }
            Some(RDKafkaErrorCode::SSL) => {
                self.lost(explained(reason), Some(Refusal::Certificate));
            }
            _ => self.failed(&format!("{error}: {reason}")),
        }
    }
}

/// The client's reason with our remedy, where there is one.
fn explained(reason: &str) -> String {
    for (sign, remedy) in REMEDIES {
        if let Some(at) = reason.find(sign) {
            let what = if sign.starts_with(':') {
                &reason[..at]
            } else {
                reason
            };
            return format!("{what}; {remedy}");
        }
    }
    reason.to_owned()
}

/// The context of clients that need nothing but their health watched.
#[derive(Debug, Clone)]
pub(crate) struct Watched(pub(crate) Health);

impl ClientContext for Watched {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.judge(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Watched {}

/// The broker's or client's code, also of an admin request.
pub(crate) fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// True when trying again may help without anybody changing anything.
pub(crate) fn is_retryable(error: &KafkaError) -> bool {
    !matches!(
        code(error),
        Some(
            RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::InvalidReplicationFactor
                | RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::Fatal
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: KafkaError = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);

    #[test]
    fn an_outage_begins_and_ends() {
        let health = Health::new("test", "b:1");
        assert_eq!(health.connection(), Connection::default());
        health.answered();
        health.judge(
            &KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure),
            "one of three",
        );
        let line = "[thrd:b:1/bootstrap]: b:1/bootstrap: Disconnected (after 1ms in state \
                    APIVERSION_QUERY)";
        health.log(RDKafkaLogLevel::Info, "FAIL", line);
        health.judge(&KafkaError::Global(RDKafkaErrorCode::PartitionEOF), "end");
        assert!(health.connection().connected && health.connection().last_error.is_none());
        health.judge(&DOWN, "3/3 brokers are down");
        let connection = health.connection();
        assert!(!connection.connected);
        assert_eq!(
            connection.last_error.as_deref(),
            Some(
                "3/3 brokers are down: b:1/bootstrap: Disconnected (after 1ms in state \
                 APIVERSION_QUERY); if the listener speaks TLS, \
                 set kafka.security.protocol to ssl or sasl_ssl"
            )
        );
        health.answered();
        assert_eq!(
            health.connection(),
            Connection {
                connected: true,
                ..Connection::default()
            }
        );
    }

    #[test]
    fn refused_credentials_are_not_hidden_by_the_lost_connection_that_follows() {
        let health = Health::new("test", "b:1");
        health.judge(&DOWN, "not yet up");
        health.judge(
            &KafkaError::Global(RDKafkaErrorCode::Authentication),
            "bad password",
        );
        health.judge(&DOWN, "1/1 brokers are down");
        let connection = health.connection();
        assert_eq!(connection.refused, Some(Refusal::Credentials));
        assert_eq!(connection.last_error.as_deref(), Some("bad password"));
    }
}
