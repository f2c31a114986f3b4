//! Where load goes: a URL, resolved once, and the rule that strangers are not loaded by a typo.

mod address;

use std::net::{SocketAddr, ToSocketAddrs};

use url::{Host, Url};

use address::Kind;

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

impl Target {
    /// Reads a URL and resolves its name, once. Public addresses are refused unless the name is one
    /// of `allowed`; an address that cannot be one machine's is always refused.
    ///
    /// # Errors
    /// It is not the URL of a target, has no address, or is not allowed.
    pub fn resolve(text: &str, allowed: &[String]) -> Result<Self, TargetError> {
        let invalid = |reason: String| TargetError::Invalid {
            text: text.to_owned(),
            reason,
        };
        let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
        let tls = check(&url).map_err(|reason| invalid(reason.to_owned()))?;
        let host = name_of(&url).ok_or_else(|| invalid("it has no host".to_owned()))?;
        let port = url
            .port_or_known_default()
            .ok_or_else(|| invalid("it has no port".to_owned()))?;
        let addresses = addresses_of(&host, port)?;
        let is_allowed = allowed
            .iter()
            .any(|name| name.trim_matches(['[', ']']).eq_ignore_ascii_case(&host));
        for &address in &addresses {
            match address::kind(address.ip()) {
                Kind::Near => {}
                Kind::Nowhere => {
                    let ip = address.ip();
                    return Err(invalid(format!("{ip} is not the address of one machine")));
                }
                Kind::Public if is_allowed => {}
                Kind::Public => return Err(TargetError::NotAllowed { host, address }),
            }
        }
        let authority = authority_of(&url, &host);
        Ok(Self {
            url,
            tls,
            host,
            authority,
            addresses,
        })
    }
}

/// Whether the URL's scheme means TLS, or what is wrong with it.
fn check(url: &Url) -> Result<bool, &'static str> {
    let tls = match url.scheme() {
        "http" | "ws" => false,
        "https" | "wss" => true,
        _ => return Err("its scheme is none of http, https, ws and wss"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a name or password; send them as a header of the scenario");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment; those belong into the scenario's paths");
    }
    match url.port() {
        Some(0) => Err("port 0 cannot be connected to"),
        _ => Ok(tls),
    }
}

/// The host without the brackets of an IPv6 address.
fn name_of(url: &Url) -> Option<String> {
    Some(match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    })
}

fn authority_of(url: &Url, host: &str) -> String {
    let host = url.host_str().unwrap_or(host);
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn addresses_of(host: &str, port: u16) -> Result<Vec<SocketAddr>, TargetError> {
    let failed = |source| TargetError::Resolve {
        host: host.to_owned(),
        source,
    };
    let mut addresses = Vec::new();
    for address in (host, port).to_socket_addrs().map_err(failed)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(failed(std::io::ErrorKind::NotFound.into())),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_target() {
        let target =
            Target::resolve("http://127.0.0.1:8080/base/", &[]).expect("a loopback target");
        assert!(!target.tls);
        assert_eq!(target.host, "127.0.0.1");
        assert_eq!(target.authority, "127.0.0.1:8080");
        assert_eq!(
            target.addresses,
            ["127.0.0.1:8080".parse().expect("an address")]
        );
        assert_eq!(target.url.path(), "/base/");

        let target = Target::resolve("wss://[::1]", &[]).expect("a loopback target");
        assert!(target.tls);
        assert_eq!(target.host, "::1");
        assert_eq!(target.authority, "[::1]");
        assert_eq!(target.addresses, ["[::1]:443".parse().expect("an address")]);
    }

    #[test]
    fn a_name_is_resolved() {
        let target = Target::resolve("http://localhost:81", &[]).expect("a loopback target");
        assert!(
            target
                .addresses
                .iter()
                .all(|address| address.ip().is_loopback())
        );
        let error = Target::resolve("http://no-such-host.invalid", &[]).expect_err("no address");
        assert!(matches!(error, TargetError::Resolve { .. }), "{error}");
    }

    #[test]
    fn what_is_no_target() {
        for text in [
            "127.0.0.1:80",
            "ftp://127.0.0.1",
            "http://",
            "http://u:p@127.0.0.1",
            "http://127.0.0.1/?a=1",
            "http://127.0.0.1:0",
            "http://0.0.0.0:80",
            "http://[::]:80",
            "http://224.0.0.1",
            "http://255.255.255.255",
        ] {
            let error = Target::resolve(text, &["0.0.0.0".to_owned()]).expect_err(text);
            assert!(
                matches!(error, TargetError::Invalid { .. }),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn public_addresses_only_when_allowed() {
        let allowed = ["192.0.2.7".to_owned(), "[2001:db8::1]".to_owned()];
        for text in ["http://192.0.2.7", "https://[2001:db8::1]:8443"] {
            let error = Target::resolve(text, &[]).expect_err("a public address");
            assert!(matches!(error, TargetError::NotAllowed { .. }), "{error}");
            Target::resolve(text, &allowed).expect("an allowed address");
        }
    }
}
