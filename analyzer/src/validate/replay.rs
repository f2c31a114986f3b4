//! The parts of the past in which nothing is known to have changed, days out of them, and what
//! detection says of those: as they are, and with steps of known size planted.

use driftline_stats::median;
use driftline_stats::noise::Noise;

use super::{Power, Rate};
use crate::compare::Window;
use crate::nightly::changes::{self, MIN_SIDE, SAME_TIME_STEPS};
use crate::nightly::{NightlyOptions, PointSeries};

const SECOND_US: i64 = 1_000_000;
/// The longest stretch that is judged at once.
const DAY_S: i64 = 86_400;
/// Points that a judged stretch has at least.
const LEAST_POINTS: i64 = 4 * MIN_SIDE as i64;
/// A planted step is found when it is told within so many points of its place.
const NEAR_POINTS: i64 = 2 * SAME_TIME_STEPS;
/// One series in so many gets a step: few enough that the others stay what they are to it.
const ONE_IN: usize = 20;
/// Replays of one size of step at most.
const MOST_REPLAYS: usize = 100;

/// What lies between the times when something is known to have happened, less a margin around each.
pub(super) fn stretches(whole: Window, known_us: &[i64], margin_us: i64) -> Vec<Window> {
    let mut known = known_us.to_vec();
    known.sort_unstable();
    let mut stretches = Vec::new();
    let mut from_us = whole.from_us;
    for at_us in known {
        let until_us = (at_us - margin_us).min(whole.until_us);
        if until_us > from_us {
            stretches.push(Window { from_us, until_us });
        }
        from_us = from_us.max(at_us.saturating_add(margin_us));
    }
    if whole.until_us > from_us {
        stretches.push(Window {
            from_us,
            until_us: whole.until_us,
        });
    }
    stretches
}

/// The longest of some windows, in µs.
pub(super) fn longest_us(stretches: &[Window]) -> i64 {
    let lengths = stretches.iter().map(|s| s.until_us - s.from_us);
    lengths.max().unwrap_or(0)
}

/// Days, or what there is of them: windows of one length that do not overlap, each within a stretch
/// and with at least its own length of history before it. Where they begin is random.
pub(super) fn nights(
    stretches: &[Window],
    whole: Window,
    step_s: i64,
    most: usize,
    noise: &mut Noise,
) -> Vec<Window> {
    let half_s = (whole.until_us - whole.from_us) / SECOND_US / 2;
    let mut length_s = DAY_S.min(half_s).min(longest_us(stretches) / SECOND_US);
    // Where no stretch holds so long a window with as much before it, half of it may do.
    while length_s / step_s >= LEAST_POINTS {
        let nights = nights_of(stretches, whole, length_s / step_s * step_s, noise);
        if !nights.is_empty() {
            return choose(nights, most, noise);
        }
        length_s /= 2;
    }
    Vec::new()
}

fn nights_of(stretches: &[Window], whole: Window, length_s: i64, noise: &mut Noise) -> Vec<Window> {
    let length_us = length_s * SECOND_US;
    let mut nights = Vec::new();
    for stretch in stretches {
        let from_us = stretch.from_us.max(whole.from_us + length_us);
        let room_us = stretch.until_us - from_us;
        if room_us < length_us {
            continue;
        }
        let first_us = from_us + (noise.uniform() * (room_us % length_us) as f64) as i64;
        let starts = (0..room_us / length_us).map(|number| first_us + number * length_us);
        nights.extend(starts.map(|from_us| Window {
            from_us,
            until_us: from_us + length_us,
        }));
    }
    nights
}

/// Pairs of adjacent windows of one length within stretches, at random.
pub(super) fn pairs(
    stretches: &[Window],
    length_us: i64,
    count: usize,
    noise: &mut Noise,
) -> Vec<(Window, Window)> {
    let rooms: Vec<(Window, i64)> = stretches
        .iter()
        .map(|stretch| (*stretch, stretch.until_us - stretch.from_us - 2 * length_us))
        .filter(|(_, room)| *room >= 0)
        .collect();
    let total: i64 = rooms.iter().map(|(_, room)| room + 1).sum();
    let mut pairs = Vec::new();
    for _ in 0..if rooms.is_empty() { 0 } else { count } {
        let mut place = (noise.uniform() * total as f64) as i64;
        let mut chosen = rooms[rooms.len() - 1].0;
        for (stretch, room) in &rooms {
            chosen = *stretch;
            if place <= *room {
                break;
            }
            place -= room + 1;
        }
        let middle_us = chosen.from_us + place + length_us;
        let window = |from_us: i64| Window {
            from_us,
            until_us: from_us + length_us,
        };
        pairs.push((window(middle_us - length_us), window(middle_us)));
    }
    pairs
}

/// Some of all, at random, in the order in which they were.
pub(super) fn choose<T>(all: Vec<T>, most: usize, noise: &mut Noise) -> Vec<T> {
    let places = places(all.len(), most, noise);
    let mut chosen = places.into_iter().peekable();
    let keep = |(place, one): (usize, T)| chosen.next_if_eq(&place).map(|_| one);
    all.into_iter().enumerate().filter_map(keep).collect()
}

/// So many of the numbers below `of`, ascending: the first of a shuffle (Fisher and Yates).
fn places(of: usize, most: usize, noise: &mut Noise) -> Vec<usize> {
    let mut places: Vec<usize> = (0..of).collect();
    for place in 0..most.min(of) {
        let other = place + below(of - place, noise);
        places.swap(place, other);
    }
    places.truncate(most);
    places.sort_unstable();
    places
}

fn below(bound: usize, noise: &mut Noise) -> usize {
    ((noise.uniform() * bound as f64) as usize).min(bound.saturating_sub(1))
}

/// What detection says where nothing is known to have changed.
pub(super) struct Quiet {
    /// Series and nights that were judged, and that were said to have changed.
    pub(super) series: Rate,
    /// Nights, and those with a finding.
    pub(super) nights: Rate,
}

/// Replays nights as they are.
pub(super) fn replay(
    series: &[PointSeries],
    step_s: i64,
    nights: &[Window],
    options: &NightlyOptions,
) -> Quiet {
    let mut quiet = Quiet {
        series: Rate::default(),
        nights: Rate::default(),
    };
    for night in nights {
        let options = NightlyOptions {
            day: *night,
            ..*options
        };
        let found = changes::find(&cut(series, &options), step_s, &options);
        if found.judged == 0 {
            continue;
        }
        let mut changed: Vec<usize> = found.steps.iter().map(|(place, _)| *place).collect();
        changed.dedup();
        quiet.series.add(changed.len(), found.judged);
        quiet.nights.add(usize::from(!found.findings.is_empty()), 1);
    }
    quiet
}

/// The share of steps of one size that is found, planted at random into copies of the series.
pub(super) fn power(
    series: &[PointSeries],
    step_s: i64,
    nights: &[Window],
    options: &NightlyOptions,
    (effect_pct, planted): (f64, usize),
    noise: &mut Noise,
) -> Power {
    let mut found = Rate::default();
    for _ in 0..if nights.is_empty() { 0 } else { MOST_REPLAYS } {
        if found.trials >= planted as u64 {
            break;
        }
        let options = NightlyOptions {
            day: nights[below(nights.len(), noise)],
            ..*options
        };
        let mut night = cut(series, &options);
        let steps = plant(&mut night, effect_pct / 100.0, &options, planted, noise);
        if steps.is_empty() {
            continue;
        }
        let told = changes::find(&night, step_s, &options).steps;
        let near = |(place, at_s): &&(usize, i64)| {
            told.iter().any(|(other, told_s)| {
                other == place && (told_s - at_s).abs() <= NEAR_POINTS * step_s
            })
        };
        found.add(steps.iter().filter(near).count(), steps.len());
    }
    Power { effect_pct, found }
}

/// The series as they were at the end of the night.
fn cut(series: &[PointSeries], options: &NightlyOptions) -> Vec<PointSeries> {
    let from_us = options.day.from_us.saturating_sub(options.history_us);
    let (from_s, until_s) = (from_us / SECOND_US, options.day.until_us / SECOND_US);
    let cut = |series: &PointSeries| {
        let from = series.at_s.partition_point(|at_s| *at_s < from_s);
        let until = series.at_s.partition_point(|at_s| *at_s < until_s);
        PointSeries {
            at_s: series.at_s[from..until].to_vec(),
            values: series.values[from..until].to_vec(),
            ..series.without_points()
        }
    };
    series.iter().map(cut).collect()
}

/// Plants a step into some of the series, each at a random place of the night, and says which and
/// when. A series that stands still or around zero has no level that a part could be added to.
fn plant(
    series: &mut [PointSeries],
    share: f64,
    options: &NightlyOptions,
    most: usize,
    noise: &mut Noise,
) -> Vec<(usize, i64)> {
    let begins_s = options.day.from_us / SECOND_US;
    let room = |series: &PointSeries| {
        let first = series.at_s.partition_point(|at_s| *at_s < begins_s);
        let (first, end) = (first.max(MIN_SIDE), series.values.len() + 1);
        first..end.saturating_sub(MIN_SIDE).max(first)
    };
    let can = |series: &PointSeries| {
        let level = median(&series.values).unwrap_or(0.0);
        changes::is_judged(series) && !room(series).is_empty() && level != 0.0
    };
    let able: Vec<usize> = (0..series.len()).filter(|at| can(&series[*at])).collect();
    let wanted = able.len().div_ceil(ONE_IN).min(most);
    let mut steps = Vec::new();
    for place in choose(able, wanted, noise) {
        let room = room(&series[place]);
        let from = room.start + below(room.len(), noise);
        for value in &mut series[place].values[from..] {
            *value *= 1.0 + share;
        }
        steps.push((place, series[place].at_s[from]));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = DAY_S * SECOND_US;

    fn whole(days: i64) -> Window {
        Window {
            from_us: 0,
            until_us: days * DAY_US,
        }
    }

    /// Ten days of points every ten minutes.
    fn series(number: u64, drift: f64) -> PointSeries {
        let mut noise = Noise::new(number);
        let at_s: Vec<i64> = (0..1_440).map(|n| n * 600).collect();
        let values = at_s.iter().map(|at_s| {
            let moved = if *at_s > 7 * DAY_S { drift } else { 0.0 };
            100.0 * (1.0 + moved + 0.02 * noise.normal())
        });
        PointSeries {
            component: "host".to_owned(),
            host: format!("h{}", number % 4),
            metric: format!("m{number}"),
            labels: String::new(),
            unit: "s".to_owned(),
            better: "lower".to_owned(),
            values: values.collect(),
            at_s,
        }
    }

    #[test]
    fn what_is_known_is_left_out() {
        let day = whole(1);
        assert_eq!(stretches(day, &[], 60), [day]);
        let found = stretches(day, &[DAY_US / 2, DAY_US / 2 + 10, -5, 2 * DAY_US], 60);
        let until = |from_us, until_us| Window { from_us, until_us };
        assert_eq!(
            found,
            [until(55, DAY_US / 2 - 60), until(DAY_US / 2 + 70, DAY_US)]
        );
        assert!(stretches(day, &[DAY_US / 2], DAY_US).is_empty());
    }

    #[test]
    fn nights_and_pairs_stay_within_their_stretches() {
        for seed in 0..200 {
            let mut noise = Noise::new(seed);
            let known = [3 * DAY_US, 5 * DAY_US + 7];
            let clean = stretches(whole(9), &known, 600 * SECOND_US);
            let within = |window: &Window| {
                clean.iter().any(|stretch| {
                    stretch.from_us <= window.from_us && window.until_us <= stretch.until_us
                })
            };
            let nights = nights(&clean, whole(9), 600, 4, &mut noise);
            assert!((1..=4).contains(&nights.len()), "{seed}: {nights:?}");
            for (number, night) in nights.iter().enumerate() {
                assert!(
                    within(night) && night.from_us >= DAY_US,
                    "{seed}: {night:?}"
                );
                let apart = |other: &Window| other.until_us <= night.from_us;
                assert!(nights[..number].iter().all(apart), "{seed}: {nights:?}");
            }
            let pairs = pairs(&clean, 3_600 * SECOND_US, 20, &mut noise);
            assert_eq!(pairs.len(), 20);
            for (a, b) in &pairs {
                assert!(within(a) && within(b) && a.until_us == b.from_us);
            }
        }
        let mut noise = Noise::new(1);
        assert!(pairs(&[whole(1)], DAY_US, 9, &mut noise).is_empty());
        assert!(nights(&[whole(9)], whole(9), DAY_S, 9, &mut noise).is_empty());
    }

    #[test]
    fn quiet_series_raise_few_alarms_and_planted_steps_are_found() {
        let all: Vec<PointSeries> = (0..40).map(|number| series(number, 0.0)).collect();
        let options = NightlyOptions::default();
        let nights = nights(&[whole(10)], whole(10), 600, 6, &mut Noise::new(5));
        let quiet = replay(&all, 600, &nights, &options);
        assert_eq!(quiet.series.trials, 240);
        assert!(quiet.series.hits <= 3, "{}", quiet.series.hits);
        let power = |effect_pct| {
            let mut noise = Noise::new(9);
            let wanted = (effect_pct, 40);
            power(&all, 600, &nights, &options, wanted, &mut noise).found
        };
        let (small, large) = (power(1.0), power(20.0));
        assert!(small.trials >= 40 && large.trials >= 40);
        // A step of a hundredth is below the least effect that counts.
        assert_eq!(small.hits, 0);
        assert!(large.hits * 10 >= large.trials * 9, "{large:?}");
        assert_eq!(power(20.0), large, "the same seed says the same");
    }

    #[test]
    fn a_change_that_nobody_knew_of_is_an_alarm() {
        let all: Vec<PointSeries> = (0..10).map(|number| series(number, 0.3)).collect();
        let night = Window {
            from_us: 7 * DAY_US - DAY_US / 2,
            until_us: 8 * DAY_US - DAY_US / 2,
        };
        let quiet = replay(&all, 600, &[night], &NightlyOptions::default());
        assert_eq!((quiet.series.hits, quiet.nights.hits), (10, 1));
    }
}
