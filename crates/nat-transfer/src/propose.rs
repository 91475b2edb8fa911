//! The upper level: which networks the next iteration trains and measures.

use std::time::Instant;

use nat_moo::{Individual, Search, Settings, Variables};
use nat_predictor::{EnsembleSettings, Predictor, RbfEnsemble, Scaling};
use nat_space::{Genotype, Space};

use crate::{
    Member, RunConfig, TransferError, archive,
    config::Algorithm,
    preprocess,
    streams::{Purpose, key, seed_of, stream},
};

/// The smallest, the largest and random networks: the first archive. Fewer than asked where the space is smaller.
pub fn initial_designs(space: &Space, config: &RunConfig) -> Vec<Genotype> {
    let mut designs = vec![space.smallest(), space.largest()];
    let taken = designs.iter().cloned().collect();
    let mut rng = stream(key(config.seed, Purpose::Designs, 0, 0));
    let wanted = config
        .search
        .initial
        .min(usize::try_from(space.size()).unwrap_or(usize::MAX));
    let more = space
        .sample_distinct(wanted - designs.len(), &mut rng, &taken)
        .expect("the space holds at least as many genotypes as are asked for");
    designs.extend(more);
    designs
}

/// The reference directions of a run for its number of objectives.
pub fn directions(config: &RunConfig) -> Vec<Vec<f64>> {
    match config.objectives.len() {
        1 => vec![vec![1.0]],
        m => nat_moo::riesz(
            m,
            config.search.population,
            seed_of(key(config.seed, Purpose::Directions, 0, 0)),
        ),
    }
}

/// Networks for the next iteration, and what it took to find them.
pub struct Proposal {
    /// Archive members with measured errors and newcomers with predicted ones.
    pub members: Vec<Member>,
    /// Seconds of fitting the predictor.
    pub fit_seconds: f64,
    /// Seconds of search and survival.
    pub search_seconds: f64,
}

/// Fits the predictor on the archive, searches, and lets archive and final population compete for the archive's places.
///
/// # Errors
/// The predictor cannot be fitted.
pub fn propose(
    space: &Space,
    config: &RunConfig,
    classes: usize,
    measured: &[Member],
    directions: &[Vec<f64>],
    generation: usize,
) -> Result<Proposal, TransferError> {
    let begun = Instant::now();
    let objectives = &config.objectives;
    let survival = |step| stream(key(config.seed, Purpose::Survival, generation, step));
    let threads = preprocess::threads(0);

    let rows = archive::survive(
        &archive::rows(measured, objectives),
        config.search.training_rows,
        directions,
        survival(0),
    );
    let genes: Vec<Vec<u16>> = rows
        .iter()
        .map(|&i| measured[i].genes.as_slice().to_vec())
        .collect();
    let errors: Vec<f64> = rows.iter().map(|&i| measured[i].error).collect();
    let predictor = RbfEnsemble::fit(
        &genes,
        &errors,
        &Scaling::new(space.lower(), space.alphabet_sizes()),
        &EnsembleSettings {
            members: config.search.ensemble,
            ..EnsembleSettings::default()
        },
        seed_of(key(config.seed, Purpose::Predictor, generation, 0)),
        threads,
    )?;
    let fit_seconds = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let assess = |genotypes: &[Genotype]| -> Vec<Member> {
        let rows: Vec<Vec<u16>> = genotypes
            .iter()
            .map(|genes| genes.as_slice().to_vec())
            .collect();
        let predicted = predictor.predict(&rows, threads);
        genotypes
            .iter()
            .zip(predicted)
            .map(|(genes, error)| costed(space, classes, genes.clone(), error))
            .collect()
    };
    let to_genotype = |genes: &Vec<u16>| {
        space
            .genotype(genes)
            .expect("the search stays inside the bounds")
    };
    let individuals = |members: Vec<Member>| -> Vec<Individual> {
        members
            .iter()
            .map(|member| {
                Individual::new(member.genes.as_slice().to_vec(), member.values(objectives))
            })
            .collect()
    };

    let start: Vec<Genotype> = measured.iter().map(|member| member.genes.clone()).collect();
    let settings = Settings {
        population: config.search.population,
        offspring: config.search.population,
        crossover: nat_moo::Crossover::Uniform,
        crossover_probability: config.search.crossover,
        mutation_probability: config.search.mutation,
        eta: config.search.eta,
        algorithm: match config.search.algorithm {
            Algorithm::Nsga3 if objectives.len() > 1 => nat_moo::Algorithm::Nsga3 {
                directions: directions.to_vec(),
            },
            Algorithm::Nsga3 | Algorithm::Nsga2 => nat_moo::Algorithm::Nsga2,
        },
    };
    let mut search = Search::new(
        Variables {
            lower: space.lower(),
            upper: space.upper(),
        },
        settings,
        individuals(assess(&start)),
        seed_of(key(config.seed, Purpose::Search, generation, 0)),
    )?;
    nat_moo::evolve(
        &mut search,
        config.search.generations - 1,
        &|genes| space.canonicalise(genes),
        |children| {
            let genotypes: Vec<Genotype> = children.iter().map(to_genotype).collect();
            archive::rows(&assess(&genotypes), objectives)
        },
    )?;
    let population: Vec<Genotype> = search
        .population()
        .iter()
        .map(|individual| to_genotype(&individual.genes))
        .collect();

    let all = archive::merge(measured, assess(&population));
    let kept = archive::survive(
        &archive::rows(&all, objectives),
        config.search.archive,
        directions,
        survival(1),
    );
    let mut members: Vec<Member> = kept.into_iter().map(|i| all[i].clone()).collect();
    let largest = space.largest();
    if config.adapt.sandwich && !members.iter().any(|member| member.genes == largest) {
        // Every step trains it: a measurement that once was unlucky must not end its being looked at.
        let known = all.iter().find(|member| member.genes == largest).cloned();
        members.push(known.unwrap_or_else(|| assess(&[largest]).remove(0)));
    }
    Ok(Proposal {
        members,
        fit_seconds,
        search_seconds: begun.elapsed().as_secs_f64(),
    })
}

/// A network with its exact costs and an error from elsewhere.
pub fn costed(space: &Space, classes: usize, genes: Genotype, error: f64) -> Member {
    let network = space.network(&space.architecture(&genes), classes);
    Member {
        genes,
        error,
        madds: network.madds(),
        params: network.params(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Objective, Preset};

    /// An error that falls with depth and expansion: the search can be judged without training anything.
    fn measured(space: &Space, config: &RunConfig) -> Vec<Member> {
        initial_designs(space, config)
            .into_iter()
            .map(|genes| {
                let sum: f64 = genes.as_slice().iter().map(|&gene| f64::from(gene)).sum();
                costed(space, 10, genes, 80.0 - 0.4 * sum)
            })
            .collect()
    }

    fn setting(objectives: &[Objective]) -> (Space, RunConfig) {
        let space = Space::builtin("nat").unwrap();
        let mut config = Preset::Quick.config(&space);
        config.objectives = objectives.to_vec();
        config.search.initial = 60;
        config.search.archive = 80;
        config.search.generations = 30;
        config.adapt.sandwich = false;
        (space, config)
    }

    #[test]
    fn designs_are_distinct_and_hold_both_ends() {
        let (space, config) = setting(&[Objective::Error, Objective::Madds]);
        let designs = initial_designs(&space, &config);
        assert_eq!(designs.len(), 60);
        assert_eq!(designs.iter().collect::<BTreeSet<_>>().len(), 60);
        assert!(designs.contains(&space.smallest()) && designs.contains(&space.largest()));
    }

    #[test]
    fn the_largest_network_stays_where_every_step_trains_it() {
        // By these objectives it is the worst of all.
        let (space, mut config) = setting(&[Objective::Params, Objective::Madds]);
        let archive = measured(&space, &config);
        let directions = directions(&config);
        let mut kept = |sandwich| {
            config.adapt.sandwich = sandwich;
            let proposal = propose(&space, &config, 10, &archive, &directions, 1).unwrap();
            let largest = |member: &&Member| member.genes == space.largest();
            proposal.members.iter().filter(largest).count()
        };
        assert_eq!((kept(false), kept(true)), (0, 1));
    }

    #[test]
    fn proposals_improve_on_the_archive_and_repeat_exactly() {
        for objectives in [
            vec![Objective::Error],
            vec![Objective::Error, Objective::Madds],
            vec![Objective::Error, Objective::Madds, Objective::Params],
            vec![Objective::Params, Objective::Madds],
        ] {
            let (space, config) = setting(&objectives);
            let archive = measured(&space, &config);
            let directions = directions(&config);
            let proposal = propose(&space, &config, 10, &archive, &directions, 1).unwrap();
            let again = propose(&space, &config, 10, &archive, &directions, 1).unwrap();
            assert_eq!(proposal.members, again.members);
            assert_eq!(proposal.members.len(), 80);
            let distinct: BTreeSet<_> = proposal
                .members
                .iter()
                .map(|member| &member.genes)
                .collect();
            assert_eq!(distinct.len(), 80);
            let before = archive::rows(&archive, &objectives);
            let reference = archive::reference_point(&before);
            let after = archive::rows(&proposal.members, &objectives);
            assert!(
                archive::hypervolume_share(&after, &reference)
                    >= archive::hypervolume_share(&before, &reference),
                "{objectives:?}"
            );
        }
    }
}
