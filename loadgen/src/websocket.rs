//! Groups of WebSocket connections with realistic patterns of messages.

use crate::worker::Context;

/// Opens this worker's share of every group's connections and lets them do what their pattern says,
/// until the stages are over or a stop is requested; then closes them. Runs on a `LocalSet`.
pub async fn run(context: Context) {
    let _ = context;
}
