//! Which addresses are near enough to be loaded without being asked for by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is to a load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This machine, or a network that is nobody else's.
    Near,
    /// Perhaps somebody else's.
    Public,
    /// Not one machine's.
    Nowhere,
}

pub(crate) fn kind(address: IpAddr) -> Kind {
    match address.to_canonical() {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return Kind::Nowhere;
    }
    let [first, second, ..] = address.octets();
    // RFC 6598: 100.64.0.0/10, between a provider and its customers.
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_near =
        address.is_loopback() || address.is_private() || address.is_link_local() || is_shared;
    if is_near { Kind::Near } else { Kind::Public }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    if address.is_unspecified() || address.is_multicast() {
        return Kind::Nowhere;
    }
    let is_near =
        address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local();
    if is_near { Kind::Near } else { Kind::Public }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (text, expected) in [
            ("127.0.0.1", Kind::Near),
            ("127.9.9.9", Kind::Near),
            ("10.1.2.3", Kind::Near),
            ("172.31.0.1", Kind::Near),
            ("172.32.0.1", Kind::Public),
            ("192.168.0.1", Kind::Near),
            ("169.254.1.1", Kind::Near),
            ("100.64.0.1", Kind::Near),
            ("100.128.0.1", Kind::Public),
            ("8.8.8.8", Kind::Public),
            ("0.0.0.0", Kind::Nowhere),
            ("239.1.1.1", Kind::Nowhere),
            ("::1", Kind::Near),
            ("fd00::1", Kind::Near),
            ("fe80::1", Kind::Near),
            ("2606:4700::1", Kind::Public),
            ("::", Kind::Nowhere),
            ("ff02::1", Kind::Nowhere),
            ("::ffff:10.0.0.1", Kind::Near),
            ("::ffff:8.8.8.8", Kind::Public),
        ] {
            let address = text.parse().expect("an address");
            assert_eq!(kind(address), expected, "{text}");
        }
    }
}
