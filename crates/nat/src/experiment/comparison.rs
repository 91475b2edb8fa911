//! Statistics over the cells of an experiment.

use std::collections::BTreeSet;

use super::{Found, Network, Plan, Work};

/// A finished cell.
#[derive(Clone)]
pub struct Finished<'a> {
    /// Index of its arm.
    pub arm: usize,
    /// Which of the arm's further arguments.
    pub part: usize,
    /// Name of its data set.
    pub data: &'a str,
    /// Its seed.
    pub seed: u64,
    /// What it found.
    pub found: Found,
}

/// The data sets, in the plan's order, on which there is something to compare: results of two arms or more. Where there is no
/// such set, all that have a result.
pub fn compared<'a>(plan: &'a Plan, cells: &[Finished<'_>]) -> Vec<&'a str> {
    let arms = |data: &str| {
        let here = cells.iter().filter(|cell| cell.data == data);
        here.map(|cell| cell.arm).collect::<BTreeSet<_>>().len()
    };
    let all: Vec<(&str, usize)> = (plan.data.keys())
        .map(|data| (data.as_str(), arms(data)))
        .collect();
    let most = all.iter().map(|&(_, arms)| arms).max().unwrap_or(0);
    all.into_iter()
        .filter(|&(_, arms)| arms >= most.clamp(1, 2))
        .map(|(data, _)| data)
        .collect()
}

/// The network that a user would take who can afford so many MAdds: the least search error among those that are no larger.
/// The test split has no say.
pub fn best(networks: &[Network], madds: f64) -> Option<&Network> {
    networks
        .iter()
        .filter(|network| network.madds as f64 <= madds)
        .min_by(|a, b| a.search_error.total_cmp(&b.search_error))
}

/// A network beside those of the reference arm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Against {
    /// Test accuracy of the reference's choice at no more MAdds, less the network's, in points; the choice is that of the
    /// least search error. `None` where the reference has none so small.
    pub gain: Option<f64>,
    /// MAdds of the smallest network of the reference that is no less accurate on the test split, as a share of the
    /// network's. `None` where the reference has none so accurate.
    pub share: Option<f64>,
}

/// Compares a network with those of the reference arm.
pub fn against(network: &Network, reference: &[Network]) -> Against {
    let choice = best(reference, network.madds as f64);
    let smallest = reference
        .iter()
        .filter(|other| other.test_error <= network.test_error)
        .map(|other| other.madds)
        .min();
    Against {
        gain: choice.map(|choice| network.test_error - choice.test_error),
        share: smallest.map(|madds| madds as f64 / network.madds as f64),
    }
}

/// Share of the box up to `reference` (test error in percent, MAdds) that networks dominate.
pub fn hypervolume(networks: &[Network], reference: (f64, f64)) -> f64 {
    let points: Vec<Vec<f64>> = networks
        .iter()
        .map(|network| {
            vec![
                network.test_error / reference.0,
                network.madds as f64 / reference.1,
            ]
        })
        .collect();
    nat_moo::hypervolume(&points, &[1.0, 1.0])
}

/// Worst test error and largest MAdds of a data set's networks: where all its hypervolumes are counted from.
pub fn reference_point(cells: &[Finished<'_>], data: &str) -> (f64, f64) {
    let networks = cells.iter().filter(|cell| cell.data == data);
    networks
        .flat_map(|cell| &cell.found.networks)
        .fold((0.0, 0.0), |(error, madds), network| {
            (
                f64::max(error, network.test_error),
                f64::max(madds, network.madds as f64),
            )
        })
}

/// The cells of an arm on a data set.
pub fn cells_of<'a>(
    cells: &'a [Finished<'a>],
    arm: usize,
    data: &'a str,
) -> impl Iterator<Item = &'a Finished<'a>> {
    cells
        .iter()
        .filter(move |cell| cell.arm == arm && cell.data == data)
}

/// The networks of the reference arm with the same data and seed as a cell.
pub fn reference_of<'a>(
    plan: &Plan,
    cells: &'a [Finished<'a>],
    of: &Finished<'_>,
) -> Option<&'a [Network]> {
    let name = plan.reference.as_ref()?;
    let arm = plan.arms.iter().position(|arm| arm.name == *name)?;
    cells_of_seed(cells, arm, of).map(|cell| &cell.found.networks[..])
}

fn cells_of_seed<'a>(
    cells: &'a [Finished<'a>],
    arm: usize,
    of: &Finished<'_>,
) -> Option<&'a Finished<'a>> {
    let same =
        |cell: &&Finished<'_>| cell.arm == arm && cell.data == of.data && cell.seed == of.seed;
    cells.iter().find(same)
}

/// Whether an arm makes networks that can be set beside those of others.
pub fn makes_networks(plan: &Plan, arm: usize) -> bool {
    !matches!(plan.arms[arm].work(), Work::Predictors(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(madds: u64, search_error: f64, test_error: f64) -> Network {
        Network {
            genes: String::new(),
            madds,
            params: 1,
            resolution: 64,
            search_error,
            test_error,
            balanced: false,
            before: None,
        }
    }

    #[test]
    fn the_choice_under_limits_looks_at_the_search_split_only() {
        let networks = [
            network(5, 20.0, 10.0),
            network(9, 15.0, 30.0),
            network(20, 5.0, 5.0),
        ];
        assert_eq!(best(&networks, 10.0).unwrap().madds, 9);
        assert!(best(&networks, 1.0).is_none());
    }

    #[test]
    fn equal_madds_and_equal_accuracy() {
        let reference = [network(10, 20.0, 20.0), network(40, 10.0, 12.0)];
        let found = against(&network(30, 15.0, 18.0), &reference);
        assert_eq!(found.gain, Some(-2.0));
        assert_eq!(found.share, Some(40.0 / 30.0));
        let found = against(&network(5, 15.0, 10.0), &reference);
        assert_eq!((found.gain, found.share), (None, None));
    }

    #[test]
    fn a_set_with_a_single_arm_is_shown_where_no_other_has_more() {
        let plan: Plan = toml::from_str(
            "title = 'T'\nseeds = [1]\n[data]\na = 'x'\nb = 'y'\nc = 'z'\n\
             [[arm]]\nname = 'one'\nsearch = ''\n[[arm]]\nname = 'two'\nsearch = ''\n",
        )
        .unwrap();
        let cell = |arm, data| Finished {
            arm,
            part: 0,
            data,
            seed: 1,
            found: Found::default(),
        };
        let mut cells = vec![cell(0, "a"), cell(0, "b")];
        assert_eq!(compared(&plan, &cells), ["a", "b"]);
        cells.push(cell(1, "b"));
        assert_eq!(compared(&plan, &cells), ["b"]);
        assert!(compared(&plan, &[]).is_empty());
    }

    #[test]
    fn hypervolume_by_hand() {
        let volume = hypervolume(&[network(50, 0.0, 20.0)], (40.0, 100.0));
        assert!((volume - 0.25).abs() < 1e-12);
    }
}
