//! How many virtual users are active at a time. In a ramp every number of users lasts equally
//! long, from the first to the last one inclusive.

use crate::scenario::{Load, Scenario, Stage};
use crate::worker::Share;

/// Active users of a share at a time in nanoseconds since the run's beginning; none outside stages
/// with users.
pub fn users_at(scenario: &Scenario, share: Share, ns: u64) -> u32 {
    let mut start = 0;
    for stage in &scenario.stages {
        let duration = stage.duration.as_nanos() as u64;
        if ns < start + duration {
            return share.split(whole_at(stage, ns - start));
        }
        start += duration;
    }
    0
}

/// When the number of active users of a share next differs from the number at a time; the run's
/// end counts as a change to none.
pub fn next_change(scenario: &Scenario, share: Share, ns: u64) -> Option<u64> {
    let mut start = 0;
    let users = users_at(scenario, share, ns);
    for stage in &scenario.stages {
        let duration = stage.duration.as_nanos() as u64;
        let end = start + duration;
        if ns < end {
            // The stages after that of `ns` begin with a number of their own.
            if start > ns && share.split(whole_at(stage, 0)) != users {
                return Some(start);
            }
            if let Some(change) = change_within(stage, share, users) {
                return Some(start + change);
            }
        }
        start = end;
    }
    (ns < start && users > 0).then_some(start)
}

/// All users of a stage at a time since its beginning.
fn whole_at(stage: &Stage, ns: u64) -> u32 {
    let Load::Users { from, to } = stage.load else {
        return 0;
    };
    let levels = u128::from(from.abs_diff(to)) + 1;
    let passed = u128::from(ns) * levels / stage.duration.as_nanos().max(1);
    let passed = passed.min(levels - 1) as u32;
    match to >= from {
        true => from + passed,
        false => from - passed,
    }
}

/// When a ramp first takes a share away from its present number, since the stage's beginning.
fn change_within(stage: &Stage, share: Share, users: u32) -> Option<u64> {
    let Load::Users { from, to } = stage.load else {
        return None;
    };
    let (of, index) = (u64::from(share.of), u64::from(share.index));
    // A share has more than `n` users as soon as there are more than `n · of + index` in all.
    let level = match to >= from {
        true => u64::from(users) * of + index + 1,
        false => u64::from(users.checked_sub(1)?) * of + index,
    };
    let passed = match to >= from {
        true => level.checked_sub(u64::from(from))?,
        false => u64::from(from).checked_sub(level)?,
    };
    let levels = u64::from(from.abs_diff(to)) + 1;
    if passed >= levels {
        return None;
    }
    let at = (u128::from(passed) * stage.duration.as_nanos()).div_ceil(u128::from(levels));
    // With more users than nanoseconds the last ones come only as the stage ends.
    (at < stage.duration.as_nanos()).then_some(at as u64)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn scenario(stages: &[(u64, u32, u32)]) -> Scenario {
        let mut text = "[[requests]]\npath = \"/\"\n".to_owned();
        for (ns, from, to) in stages {
            text += &format!(
                "[[stages]]\nduration = \"{ns}ns\"\nusers = {{ from = {from}, to = {to} }}\n"
            );
        }
        text += "[[stages]]\nduration = \"10ns\"\nrate = 1\n";
        Scenario::parse(&text, Path::new("")).expect("it is right")
    }

    #[test]
    fn every_number_lasts_equally_long() {
        let scenario = scenario(&[(30, 1, 3), (20, 3, 3)]);
        let whole = Share { index: 0, of: 1 };
        let at = |ns| users_at(&scenario, whole, ns);
        assert_eq!(
            [at(0), at(9), at(10), at(20), at(49), at(50)],
            [1, 1, 2, 3, 3, 0]
        );
        let next = |ns| next_change(&scenario, whole, ns);
        assert_eq!(
            [next(0), next(10), next(20)],
            [Some(10), Some(20), Some(50)]
        );
        assert_eq!([next(50), next(99)], [None, None]);
    }

    proptest! {
        #[test]
        fn changes_are_where_the_number_differs(
            stages in prop::collection::vec((1u64..60, 0u32..12, 0u32..12), 1..4), of in 1u32..5
        ) {
            // One user somewhere, or the scenario is refused for sending nothing.
            let scenario = scenario(&stages);
            let total: u64 = scenario.total().as_nanos() as u64;
            for index in 0..of {
                let share = Share { index, of };
                for ns in 0..total {
                    let users = users_at(&scenario, share, ns);
                    let differs = (ns + 1..=total)
                        .find(|later| users_at(&scenario, share, *later) != users);
                    prop_assert_eq!(next_change(&scenario, share, ns), differs);
                }
            }
            for ns in 0..total {
                let sum: u32 = (0..of)
                    .map(|index| users_at(&scenario, Share { index, of }, ns))
                    .sum();
                prop_assert_eq!(sum, users_at(&scenario, Share { index: 0, of: 1 }, ns));
            }
        }
    }
}
