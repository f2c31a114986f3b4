//! Where load goes: a URL, resolved once, and the rule that strangers are not loaded by a typo.

use std::net::SocketAddr;

use url::Url;

/// A target, resolved and allowed.
#[derive(Debug, Clone)]
pub struct Target {
    /// As it was given; its path is put before the paths of requests.
    pub url: Url,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its name, as TLS and the header `Host` want it.
    pub host: String,
    /// The header `Host`: the name, with the port where it is not the scheme's own.
    pub authority: String,
    /// Its addresses, at least one.
    pub addresses: Vec<SocketAddr>,
}

/// A target that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a URL of a known scheme.
    #[error(
        "target {text:?} is not valid: {reason}; write it as http://host:port, https://host:port or ws://host:port"
    )]
    Invalid {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It has no address.
    #[error("target {host} has no address: is the name right, and is its server known here?")]
    Resolve {
        /// The name.
        host: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is neither on this machine nor in a private network.
    #[error(
        "target {host} is at the public address {address}: load only what is yours, and allow it with --allow-target {host}"
    )]
    NotAllowed {
        /// The name.
        host: String,
        /// The address.
        address: SocketAddr,
    },
}
