//! Operations of a load run, as they travel and as they are stored.

/// One timed operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Index into [`RequestBatch::endpoints`].
    pub endpoint: u32,
    /// When the schedule wanted it sent, in microseconds since 1970 UTC.
    pub intended_us: i64,
    /// When it was sent, in nanoseconds after `intended_us`.
    pub sent_ns: i64,
    /// When the first byte of the answer came, in nanoseconds after `intended_us`; -1 where none came.
    pub first_byte_ns: i64,
    /// When it was done or given up, in nanoseconds after `intended_us`.
    pub done_ns: i64,
    /// The protocol's status (HTTP status, WebSocket close code); 0 where there was none.
    pub status: u32,
    /// Bytes received.
    pub bytes: u64,
    /// 0 for none, otherwise 1 + the index into [`RequestBatch::errors`].
    pub error: u32,
}

/// Operations of one worker of one run, with the dictionaries of their endpoints and errors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestBatch {
    /// The run's id.
    pub run: String,
    /// The worker's number within the run.
    pub worker: u32,
    /// Names of endpoints.
    pub endpoints: Vec<String>,
    /// Texts of errors.
    pub errors: Vec<String>,
    /// The operations, in any order; in the order of `intended_us` they are smallest.
    pub requests: Vec<Request>,
}
