//! From evidence to a p-value.

/// The p-value of a scan's evidence.
pub(super) fn p_value(evidence: f64) -> f64 {
    (-evidence).exp().min(1.0)
}

/// The evidence that a p-value asks for.
pub(super) fn threshold(p_value: f64) -> f64 {
    -p_value.max(1e-300).ln()
}
