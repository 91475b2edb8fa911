//! The upper level of an iteration: the search of `nat-search` under the streams of a run.

use nat_search::{Member, Problem, Proposal, Seeds};
use nat_space::{Genotype, Space};

use crate::{
    Course, RunConfig, TransferError, preprocess,
    streams::{Purpose, key, seed_of, stream},
};

/// Resolutions at which the largest networks are kept, at most.
const KEPT_SIDES: usize = 5;

/// The first archive of a run. Under the sandwich rule the largest networks that keep to the limits take the places of the
/// last random ones, but of no more than half of all.
///
/// # Errors
/// There is nothing to search, or no network meets the limits on costs.
pub fn initial_designs(
    problem: &Problem<'_>,
    config: &RunConfig,
) -> Result<Vec<Genotype>, TransferError> {
    let mut rng = stream(key(config.seed, Purpose::Designs, 0, 0));
    let mut designs = nat_search::initial_designs(problem, &mut rng)?;
    if config.adapt.sandwich {
        let limits = problem.aims.limits.on_costs();
        let count = designs.len();
        let mut added = largest(problem.costs.space());
        added.retain(|genes| {
            // The smallest and the largest of all stand first, and stay.
            !designs[..2.min(count)].contains(genes)
                && limits.admit(&problem.costs.member(genes.clone(), 0.0))
        });
        added.truncate(count / 2);
        designs.retain(|genes| !added.contains(genes));
        designs.truncate(count - added.len());
        designs.extend(added);
    }
    Ok(designs)
}

/// The largest network of every width at resolutions from end to end, the largest resolutions first: what the sandwich rule
/// trains in every step, at the side of the step's batch.
fn largest(space: &Space) -> Vec<Genotype> {
    let upper = space.upper();
    let mut networks = Vec::new();
    for side in space.resolutions.spread(KEPT_SIDES).rev() {
        for width in (0..=upper[1]).rev() {
            let mut genes = upper.clone();
            genes[..2].copy_from_slice(&[side as u16, width]);
            networks.push(space.genotype(&genes).expect("the largest of every gene"));
        }
    }
    networks
}

/// The reference directions of a run for its number of objectives.
pub fn directions(config: &RunConfig) -> Vec<Vec<f64>> {
    let seed = seed_of(key(config.seed, Purpose::Directions, 0, 0));
    nat_search::directions(config.objectives.len(), &config.search, seed)
}

/// Networks for the iteration at which a course stands, from the archive of the one before. In a closing round the predictor learns from all of it.
///
/// # Errors
/// The predictor cannot be fitted.
pub fn propose(
    problem: &Problem<'_>,
    measured: &[Member],
    directions: &[Vec<f64>],
    config: &RunConfig,
    course: Course,
) -> Result<Proposal, TransferError> {
    let of = |purpose, step| key(config.seed, purpose, course.generation, step);
    let seeds = Seeds {
        rows: stream(of(Purpose::Survival, 0)),
        predictor: seed_of(of(Purpose::Predictor, 0)),
        search: seed_of(of(Purpose::Search, 0)),
        survival: stream(of(Purpose::Survival, 1)),
    };
    let threads = preprocess::threads(0);
    let mut settings = *problem.settings;
    if course.closes() {
        settings.training_rows = settings.training_rows.max(measured.len());
    }
    let problem = &Problem {
        settings: &settings,
        ..*problem
    };
    let mut proposal = nat_search::propose(problem, measured, directions, seeds, threads)?;
    if config.adapt.sandwich {
        keep(&mut proposal, measured, &largest(problem.costs.space()));
    }
    Ok(proposal)
}

/// Every step trains the largest network: a measurement that once was unlucky must not end its being looked at.
fn keep(proposal: &mut Proposal, measured: &[Member], networks: &[Genotype]) {
    let kept = |member: &&Member| {
        networks.contains(&member.genes)
            && !(proposal.members.iter()).any(|other| other.genes == member.genes)
    };
    let lost: Vec<Member> = measured.iter().filter(kept).cloned().collect();
    proposal.members.extend(lost);
}

#[cfg(test)]
mod tests {
    use nat_search::{Costs, Objective};

    use super::*;
    use crate::Preset;

    #[test]
    fn the_largest_networks_stay_where_every_step_trains_them() {
        let space = Space::builtin("nat").unwrap();
        let mut config = Preset::Quick.config(&space);
        // By these objectives it is the worst of all.
        config.objectives = vec![Objective::Params, Objective::Madds];
        config.search.initial = 60;
        config.search.archive = 80;
        config.search.generations = 30;
        let costs = Costs::new(space.clone(), 10);
        let aims = config.aims();
        let mut kept = |sandwich| {
            config.adapt.sandwich = sandwich;
            let problem = Problem {
                costs: &costs,
                aims: &aims,
                settings: &config.search,
            };
            let designs = initial_designs(&problem, &config).unwrap().into_iter();
            let archive: Vec<Member> = designs
                .map(|genes| {
                    let sum: f64 = genes.as_slice().iter().map(|&gene| f64::from(gene)).sum();
                    costs.member(genes, 80.0 - 0.4 * sum)
                })
                .collect();
            let directions = directions(&config);
            let proposal =
                propose(&problem, &archive, &directions, &config, Course::default()).unwrap();
            assert_eq!(archive.len(), 60);
            let largest = largest(&space);
            let kept = proposal
                .members
                .iter()
                .filter(|m| largest.contains(&m.genes));
            kept.count()
        };
        assert_eq!((kept(false), kept(true)), (0, 10));
    }

    #[test]
    fn largest_networks_that_were_drawn_anyway_stay() {
        // Five sides and two depths: ten networks, half of them the largest of their side.
        let mut space = (Space::builtin("tiny").unwrap())
            .with_resolutions(16, 32, 4)
            .unwrap();
        for (place, stage) in space.stages.iter_mut().enumerate() {
            stage.depths = if place == 1 { vec![1, 2] } else { vec![1] };
            stage.kernels = vec![3];
            stage.expands.truncate(1);
        }
        let costs = Costs::new(space.clone(), 10);
        let mut config = Preset::Quick.config(&space);
        config.adapt.sandwich = true;
        config.search.initial = 8;
        let aims = config.aims();
        let largest = largest(&space);
        assert_eq!((space.size(), largest.len()), (10, 5));
        for seed in 0..30 {
            config.seed = seed;
            let problem = Problem {
                costs: &costs,
                aims: &aims,
                settings: &config.search,
            };
            let designs = initial_designs(&problem, &config).unwrap();
            let all = largest.iter().all(|genes| designs.contains(genes));
            assert!(all && designs.len() == 8, "seed {seed}");
        }
    }

    #[test]
    fn the_largest_networks_go_from_end_to_end() {
        let space = Space::builtin("nat").unwrap();
        let sides: Vec<usize> = (largest(&space).iter().step_by(2))
            .map(|genes| space.architecture(genes).resolution)
            .collect();
        assert_eq!(sides, [256, 240, 224, 208, 192]);
        let few = space.with_resolutions(64, 96, 16).unwrap();
        assert_eq!(largest(&few).len(), 6);
        assert_eq!(largest(&few)[0].as_slice()[..2], [2, 1]);
        let one = space.with_resolutions(64, 64, 1).unwrap();
        assert_eq!(largest(&one)[1].as_slice()[..2], [0, 0]);
    }
}
