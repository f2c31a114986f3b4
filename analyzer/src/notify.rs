//! Findings told to other systems by webhook.
//!
//! Rendering is pure: the same notices at the same time give the same bytes, in the shape of generic
//! JSON, of Slack's blocks or of Alertmanager's alerts. Delivery is one bounded, patient POST over
//! HTTP/1.1, with or without TLS, that never tells the secrets of an address.
//!
//! Which findings are worth a notice, and that each change is told once, is left to the caller; a
//! receiver may get a payload twice when its answer was lost, and knows it by the notices' ids.

mod address;
mod alertmanager;
mod connect;
mod deliver;
mod generic;
mod notice;
mod slack;

pub use address::Address;
pub use deliver::{Delivered, NotifyError, Webhook, WebhookSpec};
pub use notice::{Notice, Severity, Style, render};
