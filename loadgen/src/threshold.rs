//! What must hold for a run to pass, such as `p95 < 200ms`.

/// One condition on one measure of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub measure: Measure,
    /// Only operations of this endpoint (index into the scenario's endpoints).
    pub endpoint: Option<u32>,
    /// Only operations intended in this stage (index into the scenario's stages).
    pub stage: Option<usize>,
    /// The comparison that must hold.
    pub comparison: Comparison,
    /// In nanoseconds, as a share of 1, or per second, as the measure wants it.
    pub bound: f64,
    /// Ends the run as soon as it is broken.
    pub abort: bool,
    /// As it was written: `p95 < 200ms`.
    pub text: String,
}

/// What a threshold is about. Times count from *intended*.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Mean response time.
    Mean,
    /// A quantile of response times, between 0 and 1.
    Quantile(f64),
    /// The longest response time.
    Max,
    /// Failed operations as a share of all.
    ErrorRate,
    /// Answered operations per second.
    Rate,
    /// Dropped arrivals as a share of all.
    DroppedRate,
}

/// How a measure is held against its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Whether it holds.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Greater => value > bound,
            Self::AtLeast => value >= bound,
        }
    }
}
