//! Pictures that are in a data set more than once, byte for byte.

use std::collections::BTreeMap;

use crate::entry::Warning;
use crate::sample::{Fingerprint, Sample};
use crate::split::Split;

/// Drops pictures that carry two labels: nobody can say which is right.
pub(crate) fn drop_ambiguous(samples: &mut Vec<Sample>, warnings: &mut Vec<Warning>) {
    let mut copies: BTreeMap<Fingerprint, Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter() {
        copies.entry(sample.fingerprint).or_default().push(sample);
    }
    let other_label = |sample: &Sample| {
        let mut others = copies[&sample.fingerprint].iter();
        others.find(|other| other.place.class != sample.place.class)
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
