//! Which resource of the target's host was at its limit when the target ceased to hold: the USE
//! method (utilisation, saturation, errors; Gregg, *Systems Performance*, 2nd edition, 2.5.9). Where
//! the series come from is left to the caller.

use serde::{Deserialize, Serialize};

use super::statistics::spearman;

/// A resource busy for so large a share of the time is at its limit: what comes has to wait. Gregg
/// (2.3.11) sees queueing felt from 60 % on and calls 100 % the usual sign; averages over a step hide
/// short peaks, hence less than 100 %.
const UTILISATION_LIMIT: f64 = 0.9;
/// Tasks stalled for a fifth of the time (pressure stall information, "some"): above what a healthy
/// host shows, and large enough to be felt in every response.
const PRESSURE_LIMIT: f64 = 0.2;
/// Tasks that are ready for each processor: more than one means that some wait (run-queue length,
/// Gregg 6.6.1).
const QUEUE_LIMIT: f64 = 1.0;
/// Rank correlation with the rate from which a resource counts as grown with it; at eight steps it is
/// significant at 10 % (one-sided 0.52), and bottlenecks flatten at their limit, which costs ranks.
const LEAST_CORRELATION: f64 = 0.6;

/// What a series tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// Busy time as a share of 1: processor, disk, network against its speed, memory in use.
    Utilisation,
    /// Stalled time as a share of 1: pressure stall information, "some".
    Pressure,
    /// Waiting work for each server: run queue for each processor, requests for each disk.
    Queue,
}

/// A resource of the target's host during one step.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceWindow {
    /// The step's arrivals per second.
    pub rate: f64,
    /// Whether the step was bad.
    pub is_bad: bool,
    /// The resource: `cpu`, `disk sda`.
    pub resource: String,
    /// What the value tells.
    pub kind: ResourceKind,
    /// The value, in the unit of its kind; the step's mean, or a part of it: parts are averaged.
    pub value: f64,
}

/// The resource that was at its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturated {
    /// The resource.
    pub resource: String,
    /// What its value tells.
    pub kind: ResourceKind,
    /// Its value at the lowest rate that was not held.
    pub value: f64,
    /// From where it counts as at its limit.
    pub limit: f64,
    /// Rank correlation with the rate over all steps.
    pub correlation: f64,
    /// The same in a sentence.
    pub evidence: String,
}

/// Which resource was at its limit at the lowest bad rate and had grown with the rate; of several
/// the one that is furthest beyond its limit, relative to it. `None` where none was, or where no
/// step was bad.
pub fn saturation(samples: &[ResourceWindow]) -> Option<Saturated> {
    let first_bad = samples
        .iter()
        .filter(|sample| sample.is_bad)
        .map(|sample| sample.rate)
        .min_by(f64::total_cmp)?;
    let mut names: Vec<(&str, ResourceKind)> = Vec::new();
    for sample in samples {
        let name = (sample.resource.as_str(), sample.kind);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
        .into_iter()
        .filter_map(|(resource, kind)| at_limit(samples, resource, kind, first_bad))
        .max_by(|a, b| (a.value / a.limit).total_cmp(&(b.value / b.limit)))
}

fn at_limit(
    samples: &[ResourceWindow],
    resource: &str,
    kind: ResourceKind,
    first_bad: f64,
) -> Option<Saturated> {
    let mut own: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| {
            sample.resource == resource && sample.kind == kind && sample.value.is_finite()
        })
        .map(|sample| (sample.rate, sample.value))
        .collect();
    own.sort_by(|a, b| a.0.total_cmp(&b.0));
    let steps: Vec<(f64, f64)> = own
        .chunk_by(|a, b| a.0 == b.0)
        .map(|step| {
            let sum: f64 = step.iter().map(|sample| sample.1).sum();
            (step[0].0, sum / step.len() as f64)
        })
        .collect();
    let value = steps.iter().find(|step| step.0 == first_bad)?.1;
    let correlation = spearman(&steps)?;
    let limit = kind.limit();
    if value < limit || correlation < LEAST_CORRELATION {
        return None;
    }
    let lowest = steps[0];
    let evidence = format!(
        "{resource}: {} {} at {first_bad:.0}/s, from {} at {:.0}/s (rank correlation with the rate {correlation:.2} over {} steps)",
        kind.name(),
        kind.show(value),
        kind.show(lowest.1),
        lowest.0,
        steps.len(),
    );
    Some(Saturated {
        resource: resource.to_owned(),
        kind,
        value,
        limit,
        correlation,
        evidence,
    })
}

impl ResourceKind {
    fn limit(self) -> f64 {
        match self {
            Self::Utilisation => UTILISATION_LIMIT,
            Self::Pressure => PRESSURE_LIMIT,
            Self::Queue => QUEUE_LIMIT,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Utilisation => "utilisation",
            Self::Pressure => "pressure",
            Self::Queue => "queue for each server",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Utilisation | Self::Pressure => format!("{:.0} %", value * 100.0),
            Self::Queue => format!("{value:.1}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(resource: &str, kind: ResourceKind, values: &[f64]) -> Vec<ResourceWindow> {
        let sample = |(at, &value): (usize, &f64)| ResourceWindow {
            rate: 100.0 * (at + 1) as f64,
            is_bad: at >= 3,
            resource: resource.to_owned(),
            kind,
            value,
        };
        values.iter().enumerate().map(sample).collect()
    }

    #[test]
    fn the_resource_that_grew_to_its_limit_is_named() {
        let mut samples = series(
            "cpu",
            ResourceKind::Utilisation,
            &[0.2, 0.5, 0.8, 0.97, 0.99],
        );
        samples.extend(series(
            "disk sda",
            ResourceKind::Utilisation,
            &[0.1, 0.2, 0.2, 0.3, 0.3],
        ));
        samples.extend(series(
            "memory",
            ResourceKind::Utilisation,
            &[0.95, 0.93, 0.94, 0.95, 0.92],
        ));
        let found = saturation(&samples).expect("the processor is full");
        assert_eq!((found.resource.as_str(), found.value), ("cpu", 0.97));
        assert!(
            found.evidence.contains("97 % at 400/s, from 20 % at 100/s"),
            "{}",
            found.evidence
        );
    }

    #[test]
    fn pressure_and_queues_have_limits_of_their_own() {
        let pressure = series("cpu", ResourceKind::Pressure, &[0.0, 0.02, 0.1, 0.25, 0.6]);
        assert_eq!(
            saturation(&pressure).map(|it| it.limit),
            Some(PRESSURE_LIMIT)
        );
        let queue = series("cpu", ResourceKind::Queue, &[0.0, 0.1, 0.4, 0.9, 3.0]);
        assert_eq!(
            saturation(&queue),
            None,
            "at its limit only after the first bad step"
        );
    }

    #[test]
    fn without_a_bad_step_nothing_is_saturated() {
        let mut samples = series(
            "cpu",
            ResourceKind::Utilisation,
            &[0.2, 0.5, 0.8, 0.97, 0.99],
        );
        samples.iter_mut().for_each(|sample| sample.is_bad = false);
        assert_eq!(saturation(&samples), None);
        assert_eq!(saturation(&[]), None);
    }

    #[test]
    fn parts_of_a_step_are_averaged() {
        let mut samples = series("cpu", ResourceKind::Utilisation, &[0.2, 0.5, 0.8, 1.0, 1.0]);
        samples.push(ResourceWindow {
            value: 0.5,
            ..samples[3].clone()
        });
        assert_eq!(saturation(&samples), None, "75 % on average");
    }
}
