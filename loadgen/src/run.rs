//! One run of a scenario.

#[cfg(test)]
pub(crate) mod testing;
