//! Pictures that are in a data set more than once, byte for byte.

use std::collections::BTreeMap;

use crate::entry::Warning;
use crate::sample::{Fingerprint, Sample};
use crate::split::Split;

/// Drops pictures that carry two labels: nobody can say which is right.
pub(crate) fn drop_ambiguous(samples: &mut Vec<Sample>, warnings: &mut Vec<Warning>) {
    // Of each picture the first copy, and the first in another class than that one: between them they contradict every copy
    // that is contradicted, however many there are.
    let mut witnesses: BTreeMap<Fingerprint, (&Sample, Option<&Sample>)> = BTreeMap::new();
    for sample in samples.iter() {
        let (first, other) = witnesses
            .entry(sample.fingerprint)
            .or_insert((sample, None));
        if first.place.class != sample.place.class {
            other.get_or_insert(sample);
        }
    }
    let other_label = |sample: &Sample| {
        let (first, other) = witnesses[&sample.fingerprint];
        if first.place.class == sample.place.class {
            other
        } else {
            Some(first)
        }
    };
    let keep: Vec<bool> = samples
        .iter()
        .map(|sample| {
            let Some(other) = other_label(sample) else {
                return true;
            };
            warnings.push(Warning {
                path: sample.path.clone(),
                reason: format!(
                    "the same picture as {}, in another class: both dropped",
                    other.path
                ),
            });
            false
        })
        .collect();
    let mut keep = keep.into_iter();
    samples.retain(|_| keep.next() == Some(true));
}

/// Groups some of the samples by content, groups in the order of their first numbers.
pub(crate) fn groups(samples: &[Sample], numbers: Vec<usize>) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<Fingerprint, Vec<usize>> = BTreeMap::new();
    for number in numbers {
        groups
            .entry(samples[number].fingerprint)
            .or_default()
            .push(number);
    }
    let mut groups = Vec::from_iter(groups.into_values());
    groups.sort_unstable();
    groups
}

/// Warns of pictures in two splits: the later one is not measured independently.
pub(crate) fn warn_of_leaks(splits: &[Vec<Sample>; 3], warnings: &mut Vec<Warning>) {
    let mut first: BTreeMap<Fingerprint, (Split, &str)> = BTreeMap::new();
    for split in Split::ALL {
        for sample in &splits[split as usize] {
            let seen = first.entry(sample.fingerprint);
            let &mut (earlier, path) = seen.or_insert((split, &sample.path));
            if earlier != split {
                warnings.push(Warning {
                    path: sample.path.clone(),
                    reason: format!("the same picture as {path}: used in both splits"),
                });
            }
        }
    }
}
