//! Alarms that belong together: clusters by time and labels.
