//! When connections are opened, when they take their turns, and from where: pure functions of the
//! scenario and its seed, so that a run can be repeated and no reply moves a time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::operation::NEVER_NS;
use crate::scenario::Reconnect;

/// The increment of SplitMix64.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Connections over loopback for which the kernel finds ports by itself: it has 28,232 by default,
/// and finding a free one gets slow long before the last.
const UNBOUND_CONNECTIONS: u64 = 12_000;
/// Connections of one source address beyond that. Few, because binding looks for a free port among
/// one half of them by trial: at this number, two trials are enough on average.
const CONNECTIONS_PER_SOURCE: u64 = 4_000;

/// SplitMix64's finishing function: every bit of the input reaches every bit of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A random number that belongs to one use of one connection, whatever else happens in the run.
pub(crate) fn draw(seed: u64, connection: u64, use_number: u64) -> u64 {
    mix(mix(seed ^ connection.wrapping_mul(GOLDEN)).wrapping_add(use_number.wrapping_mul(GOLDEN)))
}

/// Nanoseconds of a duration, for 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER_NS)
}

/// When connection `number` of a group is to be opened, at `rate` connections per second.
pub(crate) fn connect_ns(number: u32, rate: f64) -> u64 {
    // A rate that no schedule can follow makes `as` saturate: the connection is never opened.
    (f64::from(number) * 1e9 / rate) as u64
}

/// Where in an interval connection `number` of `of` has its turns: evenly spread over all of them,
/// from an offset that the seed decides.
pub(crate) fn phase_ns(seed: u64, number: u32, of: u32, every_ns: u64) -> u64 {
    let of = u64::from(of.max(1));
    let slot = (mix(seed) % of + u64::from(number)) % of;
    let phase = u128::from(every_ns) * u128::from(slot) / u128::from(of);
    u64::try_from(phase).unwrap_or(NEVER_NS)
}

/// The first turn that is not before `now_ns`.
pub(crate) fn next_turn_ns(now_ns: u64, phase_ns: u64, every_ns: u64) -> u64 {
    if now_ns <= phase_ns {
        return phase_ns;
    }
    let turns = (now_ns - phase_ns).div_ceil(every_ns.max(1));
    phase_ns.saturating_add(turns.saturating_mul(every_ns.max(1)))
}

/// The pause before a connection is made again.
pub(crate) fn pause_ns(reconnect: Reconnect, random: u64) -> u64 {
    let jitter = (u128::from(nanoseconds(reconnect.jitter)) * u128::from(random)) >> 64;
    nanoseconds(reconnect.after).saturating_add(u64::try_from(jitter).unwrap_or(NEVER_NS))
}

/// The loopback address that connection `position` of `total` in the run comes from; `None` leaves
/// it to the kernel, which is right for anything but many connections over loopback.
pub(crate) fn source(destination: IpAddr, position: u64, total: u64) -> Option<IpAddr> {
    if total <= UNBOUND_CONNECTIONS || !destination.is_ipv4() || !destination.is_loopback() {
        return None;
    }
    let address = 2 + u32::try_from(position / CONNECTIONS_PER_SOURCE).unwrap_or(0) % 0x00ff_fff0;
    Some(Ipv4Addr::from_bits(0x7f00_0000 | address).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn connects_follow_the_rate_alone() {
        assert_eq!(connect_ns(0, 500.0), 0);
        assert_eq!(connect_ns(1, 500.0), 2_000_000);
        assert_eq!(connect_ns(1_000, 500.0), 2_000_000_000);
    }

    #[test]
    fn turns_of_a_group_are_spread_evenly() {
        let mut phases: Vec<u64> = (0..1_000)
            .map(|number| phase_ns(7, number, 1_000, 1_000_000_000))
            .collect();
        phases.sort_unstable();
        let expected: Vec<u64> = (0..1_000).map(|slot| slot * 1_000_000).collect();
        assert_eq!(phases, expected);
        assert_ne!(phase_ns(7, 0, 1_000, 1_000), phase_ns(8, 0, 1_000, 1_000));
    }

    #[test]
    fn many_loopback_connections_have_several_sources() {
        let home: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(source(home, 11_999, 12_000), None);
        assert_eq!(
            source(home, 0, 150_000),
            Some(Ipv4Addr::new(127, 0, 0, 2).into())
        );
        assert_eq!(
            source(home, 149_999, 150_000),
            Some(Ipv4Addr::new(127, 0, 0, 39).into())
        );
        assert_eq!(source(Ipv4Addr::new(10, 0, 0, 1).into(), 0, 150_000), None);
    }

    proptest! {
        #[test]
        fn a_turn_is_the_first_of_its_grid(
            now in 0u64..1 << 50, phase in 0u64..1 << 32, every in 1u64..1 << 40,
        ) {
            let turn = next_turn_ns(now, phase, every);
            prop_assert!(turn >= now);
            prop_assert!(turn >= phase && (turn - phase).is_multiple_of(every));
            prop_assert!(turn == phase || turn - every < now);
        }

        #[test]
        fn a_pause_is_within_its_bounds(after in 0u64..10_000, jitter in 0u64..10_000, random: u64) {
            let reconnect = Reconnect {
                after: Duration::from_nanos(after),
                jitter: Duration::from_nanos(jitter),
                storm: None,
            };
            let pause = pause_ns(reconnect, random);
            prop_assert!(pause >= after && pause <= after + jitter);
        }
    }
}
