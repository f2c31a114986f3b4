//! What one timed operation came to, on the run's own clock.

/// A time that never came.
pub const NEVER_NS: u64 = u64::MAX;

/// One operation that has ended: answered, failed, given up or never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Index into [`crate::Scenario::endpoints`].
    pub endpoint: u32,
    /// The protocol's status (HTTP status, WebSocket close code); 0 where there was none.
    pub status: u16,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// When the schedule wanted it, in nanoseconds since the run's beginning.
    pub intended_ns: u64,
    /// When it was sent; [`NEVER_NS`] where it never was.
    pub sent_ns: u64,
    /// When the first byte of the answer came; [`NEVER_NS`] where none came.
    pub first_byte_ns: u64,
    /// When it was done or given up.
    pub done_ns: u64,
    /// Bytes received.
    pub bytes: u64,
}

/// Why an operation failed. The text is what stands in the table's column `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Failure {
    /// An arrival found no free connection and no room to wait in: it was never sent.
    Dropped = 1,
    /// The run ended before it was sent or answered.
    Unfinished,
    /// The target's name has no address.
    Resolve,
    /// The target refused the connection.
    Refused,
    /// The connection could not be made for another reason.
    Connect,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The TLS handshake failed, most often for a certificate that is not trusted.
    Tls,
    /// The process has no file descriptor left.
    Descriptors,
    /// No whole answer within the time allowed.
    Timeout,
    /// The target reset the connection.
    Reset,
    /// The target closed the connection before the answer was whole.
    Closed,
    /// The answer is not of the protocol.
    Malformed,
    /// The answer is larger than allowed.
    TooLarge,
    /// More redirects than allowed.
    Redirects,
    /// A status that the checks do not allow (without checks: 400 and above).
    Status,
    /// A body that the checks do not allow.
    Body,
    /// Answered later than the checks allow.
    Slow,
    /// A value that later steps need was not in the answer.
    Capture,
    /// The target refused the WebSocket handshake.
    Handshake,
    /// The target closed the WebSocket with a code other than 1000 or 1001.
    CloseCode,
    /// A message was not sent because the one before it is still on its way out.
    Backpressure,
}

impl Failure {
    /// Every failure, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::Dropped,
        Self::Unfinished,
        Self::Resolve,
        Self::Refused,
        Self::Connect,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Descriptors,
        Self::Timeout,
        Self::Reset,
        Self::Closed,
        Self::Malformed,
        Self::TooLarge,
        Self::Redirects,
        Self::Status,
        Self::Body,
        Self::Slow,
        Self::Capture,
        Self::Handshake,
        Self::CloseCode,
        Self::Backpressure,
    ];

    /// The text in tables and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Unfinished => "unfinished",
            Self::Resolve => "resolve",
            Self::Refused => "refused",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect timeout",
            Self::Tls => "tls",
            Self::Descriptors => "descriptors",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
            Self::TooLarge => "too large",
            Self::Redirects => "redirects",
            Self::Status => "status",
            Self::Body => "body",
            Self::Slow => "slow",
            Self::Capture => "capture",
            Self::Handshake => "handshake",
            Self::CloseCode => "close code",
            Self::Backpressure => "backpressure",
        }
    }

    /// Whether a whole answer came all the same, so that its latency is a measured one. All other
    /// failures are censored: the answer took at least as long as was waited for it.
    pub const fn was_answered(self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Body
                | Self::Slow
                | Self::Capture
                | Self::Redirects
                | Self::CloseCode
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_distinct_and_in_order() {
        for (at, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, at + 1);
            assert_eq!(
                Failure::ALL
                    .iter()
                    .filter(|other| other.as_str() == failure.as_str())
                    .count(),
                1
            );
        }
    }
}
