//! The schedule.

pub(crate) use crate::schedule::{Arrivals, Mix, next_change, users_at};
