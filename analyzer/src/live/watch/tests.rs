use driftline_stats::noise::Noise;

use super::*;

const START_S: i64 = 1_800_000_000;

fn point(host: &str, metric: &str, tells: bool, place: i64, value: f64) -> LivePoint {
    LivePoint {
        component: "host".to_owned(),
        host: host.to_owned(),
        metric: metric.to_owned(),
        labels: String::new(),
        unit: "s".to_owned(),
        better: "lower".to_owned(),
        at_s: START_S + 10 * place,
        value,
        min_effect: 0.1,
        tells,
    }
}

/// Points of one series that goes up by half at a place and comes back at another.
fn series(host: &str, metric: &str, tells: bool, away: std::ops::Range<i64>) -> Vec<LivePoint> {
    let mut noise = Noise::new(host.len() as u64 * 31 + metric.len() as u64);
    let value = |place: i64, noise: f64| {
        let level = if away.contains(&place) { 15.0 } else { 10.0 };
        point(host, metric, tells, place, level + 0.1 * noise)
    };
    (0..600).map(|place| value(place, noise.normal())).collect()
}

/// Looks at everything step by step and gathers what is told.
fn run(watch: &mut Watch, all: &[Vec<LivePoint>], places: std::ops::Range<i64>) -> Look {
    let mut told = Look::default();
    for place in places {
        let points: Vec<LivePoint> = all.iter().map(|one| one[place as usize].clone()).collect();
        let until_s = START_S + 10 * (place + 1);
        let began = watch.take(&points, until_s);
        let look = watch.settle(began, &[], until_s * 1_000_000);
        told.events.extend(look.events);
        told.opened.extend(look.opened);
        told.ended.extend(look.ended);
    }
    told
}

fn names(look: &Look) -> Vec<EventName> {
    look.events.iter().map(|event| event.name.clone()).collect()
}

#[test]
fn what_leaves_its_level_together_is_told_once_and_its_end_too() {
    let all = [
        series("a", "latency", true, 400..450),
        series("a", "memory", false, 402..450),
        series("a", "quiet", true, 0..0),
        series("b", "other", true, 0..0),
    ];
    let mut watch = Watch::new(LiveOptions::default(), Vec::new());
    let look = run(&mut watch, &all, 0..600);
    assert_eq!(look.opened.len(), 1, "{:?}", look.opened);
    let expected = [
        EventName::FindingOpened,
        EventName::FindingUpdated,
        EventName::FindingResolved,
    ];
    assert_eq!(names(&look), expected);
    let opened = &look.opened[0];
    assert_eq!(opened.onset_us, (START_S + 4_000) * 1_000_000);
    assert!(
        opened.title.starts_with("latency on a rose from 10.0"),
        "{}",
        opened.title
    );
    let told_us = look.events[0].ts_us;
    assert!(
        told_us - opened.onset_us <= 30_000_000,
        "with the third point"
    );
    let host = ("host".to_owned(), "a".to_owned());
    assert!(opened.scope.contains(&host), "{:?}", opened.scope);
    assert_eq!(look.ended[0].evidence.len(), 2);
}

#[test]
fn what_tells_nothing_by_itself_and_what_gets_better_are_not_told() {
    let mut better = series("a", "latency", true, 400..450);
    for point in &mut better {
        point.better = "higher".to_owned();
    }
    let all = [better, series("b", "memory", false, 400..450)];
    let mut watch = Watch::new(LiveOptions::default(), Vec::new());
    assert_eq!(names(&run(&mut watch, &all, 0..600)), []);
}

#[test]
fn one_metric_on_many_hosts_is_one_finding() {
    let hosts = ["a", "bb", "ccc", "dddd"];
    let all = hosts.map(|host| series(host, "latency", true, 400..600));
    let mut watch = Watch::new(LiveOptions::default(), Vec::new());
    let look = run(&mut watch, &all, 0..500);
    assert_eq!(look.opened.len(), 1);
    assert_eq!(look.opened[0].evidence.len(), 4);
    let metric = ("metric".to_owned(), "latency".to_owned());
    assert!(look.opened[0].scope.contains(&metric));
}

#[test]
fn a_restart_repeats_nothing_and_still_sees_the_end() {
    let all = [series("a", "latency", true, 400..450)];
    let mut watch = Watch::new(LiveOptions::default(), Vec::new());
    let before = run(&mut watch, &all, 0..420);
    assert_eq!(names(&before), [EventName::FindingOpened]);

    let open = vec![Open {
        day: "2027-01-15".to_owned(),
        finding: before.opened[0].clone(),
    }];
    let mut again = Watch::new(LiveOptions::default(), open);
    let past: Vec<LivePoint> = all[0][..430].to_vec();
    again.warm_up(&past, START_S + 4_300);
    let after = run(&mut again, &all, 430..600);
    assert_eq!(names(&after), [EventName::FindingResolved]);
    assert_eq!(after.ended[0].id, before.opened[0].id);
}

#[test]
fn what_began_while_nobody_looked_is_told_late() {
    let all = [series("a", "latency", true, 400..450)];
    let mut watch = Watch::new(LiveOptions::default(), Vec::new());
    watch.warm_up(&all[0][..430], START_S + 4_300);
    let look = run(&mut watch, &all, 430..600);
    let expected = [EventName::FindingOpened, EventName::FindingResolved];
    assert_eq!(names(&look), expected);
}

#[test]
fn a_level_that_stays_is_accepted() {
    let mut all = [series("a", "latency", true, 200..600)];
    for point in &mut all[0][560..] {
        point.value = 15.0;
    }
    let mut watch = Watch::new(LiveOptions::default(), Vec::new());
    let look = run(&mut watch, &all, 0..600);
    let last = look.events.last().expect("its end");
    assert_eq!(last.name, EventName::FindingResolved);
    let accepted = ("as".to_owned(), "accepted".to_owned());
    assert!(last.attributes.contains(&accepted), "{last:?}");
}

#[test]
fn values_are_shown_as_people_write_them() {
    assert_eq!(display(0.251, "1"), "25.1 %");
    assert_eq!(display(0.0125, "s"), "12.500 ms");
    assert_eq!(display(2.5e9, "By"), "2.500 GB");
    assert_eq!(display(2.5e3, "By/s"), "2.500 kB/s");
    assert_eq!(display(3.0, "{error}/s"), "3.00 {error}/s");
}
