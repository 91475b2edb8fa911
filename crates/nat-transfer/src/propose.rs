//! The upper level of an iteration: the search of `nat-search` under the streams of a run.

use nat_search::{Member, Problem, Proposal, Seeds};
use nat_space::Genotype;

use crate::{
    RunConfig, TransferError, preprocess,
    streams::{Purpose, key, seed_of, stream},
};

/// The first archive of a run.
pub fn initial_designs(problem: &Problem<'_>, seed: u64) -> Vec<Genotype> {
    nat_search::initial_designs(problem, &mut stream(key(seed, Purpose::Designs, 0, 0)))
}

/// The reference directions of a run for its number of objectives.
pub fn directions(config: &RunConfig) -> Vec<Vec<f64>> {
    let seed = seed_of(key(config.seed, Purpose::Directions, 0, 0));
    nat_search::directions(config.objectives.len(), &config.search, seed)
}

/// Networks for an iteration, from the archive of the one before.
///
/// # Errors
/// The predictor cannot be fitted.
pub fn propose(
    problem: &Problem<'_>,
    measured: &[Member],
    directions: &[Vec<f64>],
    config: &RunConfig,
    generation: usize,
) -> Result<Proposal, TransferError> {
    let of = |purpose, step| key(config.seed, purpose, generation, step);
    let seeds = Seeds {
        rows: stream(of(Purpose::Survival, 0)),
        predictor: seed_of(of(Purpose::Predictor, 0)),
        search: seed_of(of(Purpose::Search, 0)),
        survival: stream(of(Purpose::Survival, 1)),
    };
    let threads = preprocess::threads(0);
    let mut proposal = nat_search::propose(problem, measured, directions, seeds, threads)?;
    if config.adapt.sandwich {
        keep_largest(&mut proposal, measured, &problem.costs.space().largest());
    }
    Ok(proposal)
}

/// Every step trains the largest network: a measurement that once was unlucky must not end its being looked at.
fn keep_largest(proposal: &mut Proposal, measured: &[Member], largest: &Genotype) {
    let is_largest = |member: &&Member| member.genes == *largest;
    if !proposal.members.iter().any(|member| is_largest(&member)) {
        proposal
            .members
            .extend(measured.iter().find(is_largest).cloned());
    }
}

#[cfg(test)]
mod tests {
    use nat_search::{Costs, Objective};
    use nat_space::Space;

    use super::*;
    use crate::Preset;

    #[test]
    fn the_largest_network_stays_where_every_step_trains_it() {
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
            let designs = initial_designs(&problem, config.seed).into_iter();
            let archive: Vec<Member> = designs
                .map(|genes| {
                    let sum: f64 = genes.as_slice().iter().map(|&gene| f64::from(gene)).sum();
                    costs.member(genes, 80.0 - 0.4 * sum)
                })
                .collect();
            let directions = directions(&config);
            let proposal = propose(&problem, &archive, &directions, &config, 1).unwrap();
            let largest = |member: &&Member| member.genes == space.largest();
            proposal.members.iter().filter(largest).count()
        };
        assert_eq!((kept(false), kept(true)), (0, 1));
    }
}
