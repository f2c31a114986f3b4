//! WebSocket connections against real servers on loopback: tungstenite as the independent peer, and
//! hand-made servers for what no decent server does.

mod websocket {
    mod bed;
    mod faults;
    mod patterns;
}
