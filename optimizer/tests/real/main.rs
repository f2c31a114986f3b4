//! The optimizer against a real PostgreSQL and a real Redis.
//!
//! Not shown here: that warming a real Redis raises its hit ratio within the predicted interval, and that a key which
//! the application changed survives the undoing of a warming; and that an
//! optimizer which is killed before or after any step resumes or reverts from its journal alone.

mod harness;
mod index;
mod setting;
