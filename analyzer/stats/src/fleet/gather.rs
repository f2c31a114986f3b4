//! The candidate groups of a fleet: which series which labels select.

use std::collections::BTreeMap;

use super::Label;

/// A set of series, and the labels that select exactly it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) constraint: Vec<Label>,
    /// Places in the input, ascending.
    pub(super) members: Vec<usize>,
}

/// All distinct sets of usable series that up to `max_labels` labels, a complete label set, or no
/// label at all select. Where several constraints select one set, the one with the fewest labels
/// stays, then the one whose keys come first.
pub(super) fn candidates(
    series: &[&[Label]],
    usable: &[bool],
    max_labels: usize,
) -> Vec<Candidate> {
    let mut keys: Vec<&str> = Vec::new();
    for label in series.iter().copied().flatten() {
        if !keys.contains(&label.0.as_str()) {
            keys.push(&label.0);
        }
    }
    // Ordered by number of labels, then by the keys' order, then by value.
    type Constraint<'a> = (usize, Vec<(usize, &'a str)>);
    let mut selected: BTreeMap<Constraint<'_>, Vec<usize>> = BTreeMap::new();
    for (i, one) in series.iter().enumerate().filter(|(i, _)| usable[*i]) {
        let mut labels: Vec<(usize, &str)> = one
            .iter()
            .filter_map(|label| Some((keys.iter().position(|k| *k == label.0)?, label.1.as_str())))
            .collect();
        labels.sort_unstable();
        labels.dedup_by_key(|label| label.0);
        let mut subsets = vec![Vec::new()];
        extend(&mut subsets, &labels, &[], max_labels);
        if labels.len() > max_labels {
            subsets.push(labels);
        }
        for subset in subsets {
            selected.entry((subset.len(), subset)).or_default().push(i);
        }
    }
    let mut simplest: BTreeMap<Vec<usize>, Constraint<'_>> = BTreeMap::new();
    for (constraint, members) in selected {
        simplest.entry(members).or_insert(constraint);
    }
    let mut ordered: Vec<_> = simplest
        .into_iter()
        .map(|(members, constraint)| (constraint, members))
        .collect();
    ordered.sort_unstable();
    ordered
        .into_iter()
        .map(|((_, labels), members)| Candidate {
            constraint: labels
                .into_iter()
                .map(|(key, value)| (keys[key].to_owned(), value.to_owned()))
                .collect(),
            members,
        })
        .collect()
}

/// Appends every non-empty subset of up to `most` of the labels that begins with `chosen`.
fn extend<'a>(
    subsets: &mut Vec<Vec<(usize, &'a str)>>,
    rest: &[(usize, &'a str)],
    chosen: &[(usize, &'a str)],
    most: usize,
) {
    if chosen.len() == most {
        return;
    }
    for (i, label) in rest.iter().enumerate() {
        let mut next = chosen.to_vec();
        next.push(*label);
        subsets.push(next.clone());
        extend(subsets, &rest[i + 1..], &next, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)]) -> Vec<Label> {
        labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn select(fleet: &[Vec<Label>], usable: &[bool]) -> Vec<(String, Vec<usize>)> {
        let labels: Vec<&[Label]> = fleet.iter().map(Vec::as_slice).collect();
        named(&candidates(&labels, usable, 2))
    }

    fn named(candidates: &[Candidate]) -> Vec<(String, Vec<usize>)> {
        candidates
            .iter()
            .map(|c| {
                let text: Vec<String> = c
                    .constraint
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect();
                (text.join(","), c.members.clone())
            })
            .collect()
    }

    #[test]
    fn every_set_once_under_its_simplest_constraint() {
        let fleet = [
            series(&[("service", "a"), ("host", "1"), ("region", "x")]),
            series(&[("service", "a"), ("host", "2"), ("region", "x")]),
            series(&[("service", "b"), ("host", "1"), ("region", "x")]),
        ];
        let got = select(&fleet, &[true; 3]);
        let want = [
            ("", vec![0, 1, 2]),
            ("service=a", vec![0, 1]),
            ("service=b", vec![2]),
            ("host=1", vec![0, 2]),
            ("host=2", vec![1]),
            ("service=a,host=1", vec![0]),
        ];
        assert_eq!(got, want.map(|(text, members)| (text.to_owned(), members)));
    }

    #[test]
    fn unusable_series_and_missing_labels_are_no_members() {
        let fleet = [
            series(&[("service", "a")]),
            series(&[]),
            series(&[("service", "a")]),
        ];
        let got = select(&fleet, &[true, true, false]);
        let want = [("", vec![0, 1]), ("service=a", vec![0])];
        assert_eq!(got, want.map(|(text, members)| (text.to_owned(), members)));
        assert!(candidates(&[], &[], 2).is_empty());
    }
}
