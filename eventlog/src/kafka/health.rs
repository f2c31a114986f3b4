//! Whether the brokers answer, told once per change and not once per attempt.
//!
//! A client reports the same outage several times a second. This keeps the state that an operator
//! asks for and writes one log line when it changes. What to do about an outage is left to the
//! clients: they retry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What is known of the connection now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) connected: bool,
    pub(crate) last_error: Option<String>,
    /// True when the broker has refused the credentials.
    pub(crate) refused: bool,
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
                told: None,
            };
        }
        state.now.last_error = None;
    }

    /// No broker can be reached, or none lets us in.
    pub(crate) fn lost(&self, reason: &str, refused: bool) {
        let mut state = self.state();
        let was = state.now.clone();
        if was.connected || was.last_error.is_none() || (refused && !was.refused) {
            tracing::warn!(role = self.role, brokers = %self.brokers, reason, "kafka is out of reach; retrying");
        }
        // A refusal says more than the broken connection that follows it.
        if refused || !was.refused {
            state.now.last_error = Some(reason.to_owned());
        }
        state.now.connected = false;
        state.now.refused |= refused;
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
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve) => {
                self.lost(reason, false);
            }
            Some(
                RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL,
            ) => self.lost(reason, true),
            _ => self.failed(&format!("{error}: {reason}")),
        }
    }
}

/// The context of clients that need nothing but their health watched.
#[derive(Debug, Clone)]
pub(crate) struct Watched(pub(crate) Health);

impl ClientContext for Watched {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(self.0.role, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.judge(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Watched {}

/// The client's own log lines repeat every attempt, so they are for debugging only.
pub(crate) fn log_line(role: &str, level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(role, ?level, facility, message, "librdkafka");
}

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
        health.judge(&KafkaError::Global(RDKafkaErrorCode::PartitionEOF), "end");
        assert!(health.connection().connected && health.connection().last_error.is_none());
        health.judge(&DOWN, "3/3 brokers are down");
        let connection = health.connection();
        assert!(!connection.connected);
        assert_eq!(
            connection.last_error.as_deref(),
            Some("3/3 brokers are down")
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
        assert!(connection.refused);
        assert_eq!(connection.last_error.as_deref(), Some("bad password"));
    }
}
