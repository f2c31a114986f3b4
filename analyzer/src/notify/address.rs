//! Where a webhook is, with its secrets kept out of every message.
//!
//! An incoming webhook's path is a password in itself: only scheme, host and port are ever shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::NotifyError;

/// The address of a webhook. Its `Display` and `Debug` tell no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
    /// The value of `Authorization`, from the address's user and password.
    pub(super) authorization: Option<String>,
    shown: String,
}

impl Address {
    /// Reads an address of `http` or `https`.
    pub fn parse(text: &str) -> Result<Self, NotifyError> {
        let refuse = |problem: &'static str| NotifyError::Address { problem };
        // The parser's own error may not be shown: it could quote what it was given.
        let url = Url::parse(text.trim()).map_err(|_| refuse("is no address"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(refuse("has an unknown scheme")),
        };
        let (host, shown_host) = match url.host() {
            Some(Host::Ipv6(ip)) => (ip.to_string(), format!("[{ip}]")),
            Some(host) => (host.to_string(), host.to_string()),
            None => return Err(refuse("names no host")),
        };
        let port = url
            .port_or_known_default()
            .unwrap_or(if tls { 443 } else { 80 });
        let shown_port = url
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        let query = url
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        Ok(Self {
            tls,
            host,
            port,
            target: format!("{}{query}", url.path()),
            authorization: authorization(&url),
            shown: format!("{}://{shown_host}{shown_port}", url.scheme()),
        })
    }

    /// The value of `Host`.
    pub(super) fn host_header(&self) -> &str {
        self.shown.split_once("://").map_or("", |(_, host)| host)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn authorization(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair = percent_decoded(url.username());
    pair.push(b':');
    pair.extend(percent_decoded(url.password().unwrap_or_default()));
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

/// The address keeps user and password percent-encoded; the header does not.
fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = text
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_shows_no_secret() {
        let address = Address::parse(
            "https://us%40er:p%3Ass@hooks.example:8443/services/T0/SECRET?token=SECRET",
        )
        .expect("an address");
        assert!(address.tls);
        assert_eq!(
            (address.host.as_str(), address.port),
            ("hooks.example", 8443)
        );
        assert_eq!(address.target, "/services/T0/SECRET?token=SECRET");
        assert_eq!(address.host_header(), "hooks.example:8443");
        let expected = format!("Basic {}", STANDARD.encode("us@er:p:ss"));
        assert_eq!(address.authorization, Some(expected));
        assert_eq!(address.to_string(), "https://hooks.example:8443/…");
        assert_eq!(
            format!("{address:?}"),
            "Address(https://hooks.example:8443/…)"
        );
        let plain = Address::parse("http://[::1]/x").expect("an address");
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.tls),
            ("::1", 80, false)
        );
        assert_eq!(plain.host_header(), "[::1]");
        assert_eq!(plain.authorization, None);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_quoted() {
        for text in [
            "SECRET",
            "ftp://host/SECRET",
            "https://",
            "http://ho st/SECRET",
            "",
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(!error.to_string().contains("SECRET"), "{error}");
            assert!(error.to_string().contains("https://"), "{error}");
        }
    }
}
