//! Which networks are worth measuring next.

use std::{collections::BTreeSet, time::Instant};

use nat_moo::{Search, Variables};
use nat_space::Genotype;
use rand_chacha::ChaCha8Rng;

use crate::{
    Aims, Costs, Member, PredictorKind, SearchError, Settings, archive,
    predictor::{self, Training},
};

/// What is searched, for what, and how.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The space with the costs of its networks.
    pub costs: &'a Costs,
    /// Objectives and limits.
    pub aims: &'a Aims,
    /// Sizes of the search.
    pub settings: &'a Settings,
}

/// Random streams of one proposal.
pub struct Seeds {
    /// Breaks ties in the choice of the predictor's training rows.
    pub rows: ChaCha8Rng,
    /// The predictors; that of the i-th measured objective has this number plus i.
    pub predictor: u64,
    /// The inner search.
    pub search: u64,
    /// Breaks ties in the archive's survival.
    pub survival: ChaCha8Rng,
}

/// Random networks that are drawn in vain, for each one wanted, before networks that violate limits are accepted.
const PATIENCE: usize = 200;

/// The smallest, the largest and random networks: the first archive. Fewer than asked where the space is smaller.
///
/// Networks that violate limits on costs are left out, the smallest apart; where random drawing does not find enough
/// others, those with the least violations fill up.
///
/// # Errors
/// The space holds a single network, or none of its networks meets the limits on costs.
pub fn initial_designs(
    problem: &Problem<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Genotype>, SearchError> {
    let space = problem.costs.space();
    if space.size() < 2 {
        return Err(SearchError::Config(format!(
            "the space '{}' holds a single network: there is nothing to search",
            space.name
        )));
    }
    let limits = problem.aims.limits.on_costs();
    let violation = |genes: &Genotype| limits.violation(&problem.costs.member(genes.clone(), 0.0));
    let size = usize::try_from(space.size()).unwrap_or(usize::MAX);
    let wanted = problem.settings.initial.min(size);
    let (smallest, largest) = (space.smallest(), space.largest());
    let mut designs = vec![smallest.clone()];
    if largest != smallest && violation(&largest) == 0.0 {
        designs.push(largest);
    }
    let mut taken: BTreeSet<Genotype> = designs.iter().cloned().collect();
    let mut outside: Vec<(f64, Genotype)> = Vec::new();
    let most = PATIENCE.saturating_mul(wanted).min(size);
    while designs.len() < wanted && taken.len() < most {
        let count = (wanted - designs.len()).min(size - taken.len());
        let drawn = space
            .sample_distinct(count, rng, &taken)
            .expect("the space holds at least as many genotypes as are asked for");
        taken.extend(drawn.iter().cloned());
        for genes in drawn {
            match violation(&genes) {
                0.0 => designs.push(genes),
                excess => outside.push((excess, genes)),
            }
        }
    }
    if designs.len() == 1 && violation(&smallest) > 0.0 {
        let ends = [smallest, space.largest()];
        let [small, large] = ends.map(|genes| problem.costs.member(genes, 0.0));
        if taken.len() == size || limits.exclude(&small, &large) {
            return Err(limits.unmet(&small, &large));
        }
    }
    outside.sort_by(|a, b| a.0.total_cmp(&b.0));
    let missing = wanted - designs.len();
    designs.extend(outside.into_iter().take(missing).map(|(_, genes)| genes));
    Ok(designs)
}

/// The reference directions of a search, one for each member of the inner population.
pub fn directions(objectives: usize, settings: &Settings, seed: u64) -> Vec<Vec<f64>> {
    match objectives {
        1 => vec![vec![1.0]],
        m => nat_moo::riesz(m, settings.population, seed),
    }
}

/// The directions of an iteration: as they are, or drawn together around the preferred regions.
///
/// Regions are seen in the frame of the archive's front, anew in every iteration.
fn preferring(
    problem: &Problem<'_>,
    measured: &[Member],
    directions: &[Vec<f64>],
) -> Vec<Vec<f64>> {
    let Problem { aims, settings, .. } = problem;
    let weights = aims.preferences.weights(measured, aims);
    match weights.is_empty() {
        true => directions.to_vec(),
        false => nat_moo::concentrated(directions, &weights, settings.spread),
    }
}

/// Networks for the next iteration, and what it took to find them.
pub struct Proposal {
    /// Archive members with measured values and newcomers with predicted ones.
    pub members: Vec<Member>,
    /// The models that predicted, in the order of [`Costs::measured`].
    pub predictors: Vec<PredictorKind>,
    /// Seconds of fitting the predictors.
    pub fit_seconds: f64,
    /// Seconds of search and survival.
    pub search_seconds: f64,
}

/// Fits the predictors on the archive, searches, and lets archive and final population compete for the archive's places.
///
/// # Errors
/// A predictor cannot be fitted.
pub fn propose(
    problem: &Problem<'_>,
    measured: &[Member],
    directions: &[Vec<f64>],
    seeds: Seeds,
    threads: usize,
) -> Result<Proposal, SearchError> {
    let Problem { aims, settings, .. } = problem;
    let directions = &preferring(problem, measured, directions)[..];
    let rows = archive::survive(
        measured,
        aims,
        settings.training_rows,
        directions,
        seeds.rows.clone(),
    );
    let rows: Vec<&Member> = rows.into_iter().map(|i| &measured[i]).collect();
    let start = measured.iter().map(|member| member.genes.clone()).collect();
    let (population, found) = search_with(problem, &rows, start, directions, &seeds, threads)?;
    let begun = Instant::now();
    let mut all = archive::merge(measured, population);
    if settings.newcomers > 0 && all.len() > measured.len() + settings.newcomers {
        let fresh = all.split_off(measured.len());
        let ties = seeds.survival.clone();
        let best = archive::survive(&fresh, aims, settings.newcomers, directions, ties);
        all.extend(best.into_iter().map(|i| fresh[i].clone()));
    }
    let kept = archive::survive(&all, aims, settings.archive, directions, seeds.survival);
    Ok(Proposal {
        members: kept.into_iter().map(|i| all[i].clone()).collect(),
        predictors: found.predictors,
        fit_seconds: found.fit_seconds,
        search_seconds: found.search_seconds + begun.elapsed().as_secs_f64(),
    })
}

/// How an inner search came to its population.
pub(crate) struct Found {
    /// The models that predicted.
    predictors: Vec<PredictorKind>,
    fit_seconds: f64,
    search_seconds: f64,
}

/// The final population of an inner search that starts from `start`, with what has to be measured predicted by models
/// fitted on `rows`, one for each objective.
pub(crate) fn search_with(
    problem: &Problem<'_>,
    rows: &[&Member],
    start: Vec<Genotype>,
    directions: &[Vec<f64>],
    seeds: &Seeds,
    threads: usize,
) -> Result<(Vec<Member>, Found), SearchError> {
    let begun = Instant::now();
    let genes = predictor::rows(rows.iter().map(|member| &member.genes));
    let (mut predictors, mut models) = (Vec::new(), Vec::new());
    for (place, objective) in problem.costs.measured().into_iter().enumerate() {
        let values: Vec<f64> = rows.iter().map(|member| member.value(objective)).collect();
        let training = Training {
            space: problem.costs.space(),
            genes: &genes,
            values: &values,
            ensemble: problem.settings.ensemble,
            seed: seeds.predictor.wrapping_add(place as u64),
            threads,
        };
        let fitted = problem.settings.predictor.fit(&training);
        let (kind, model) =
            fitted.map_err(|source| SearchError::Predictor { objective, source })?;
        // A model returns what is the same for all up to rounding, and the search would weigh that noise as an objective.
        let same =
            (values.first().copied()).filter(|first| values.iter().all(|value| value == first));
        predictors.push(kind);
        models.push((model, same));
    }
    let fit_seconds = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let assess = |genotypes: Vec<Genotype>| -> Vec<Member> {
        let rows = predictor::rows(&genotypes);
        let columns: Vec<Vec<f64>> = (models.iter())
            .map(|(model, same)| match same {
                Some(value) => vec![*value; rows.len()],
                None => model.predict(&rows, threads),
            })
            .collect();
        (genotypes.into_iter().enumerate())
            .map(|(row, genes)| {
                let values: Vec<f64> = columns.iter().map(|column| column[row]).collect();
                problem.costs.assessed(genes, &values)
            })
            .collect()
    };
    let population = evolve(problem, directions, assess(start), seeds.search, &assess)?;
    let search_seconds = begun.elapsed().as_secs_f64();
    let found = Found {
        predictors,
        fit_seconds,
        search_seconds,
    };
    Ok((population, found))
}

/// The final population of the inner search, which starts from `start`.
fn evolve(
    problem: &Problem<'_>,
    directions: &[Vec<f64>],
    start: Vec<Member>,
    seed: u64,
    assess: &dyn Fn(Vec<Genotype>) -> Vec<Member>,
) -> Result<Vec<Member>, SearchError> {
    let Problem {
        costs,
        aims,
        settings,
    } = problem;
    let space = costs.space();
    let genotype = |genes: &Vec<u16>| {
        space
            .genotype(genes)
            .expect("the search stays inside the bounds")
    };
    let inner = settings.inner(aims.objectives.len(), directions);
    let variables = Variables {
        lower: space.lower(),
        upper: space.upper(),
    };
    let scale = archive::Scale::of(&start, &aims.objectives);
    let start = archive::individuals(&start, aims, &scale);
    let mut search = Search::new(variables, inner, start, seed)?;
    for _ in 1..settings.generations {
        let children = search.ask(&|genes| space.canonicalise(genes));
        if children.is_empty() {
            break;
        }
        let children = assess(children.iter().map(genotype).collect());
        search.tell(archive::individuals(&children, aims, &scale))?;
    }
    let population = search.population().iter();
    Ok(assess(
        population
            .map(|individual| genotype(&individual.genes))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use rand::SeedableRng;

    use super::*;
    use crate::{Limits, Name, Objective, Preferences};

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    fn seeds() -> Seeds {
        Seeds {
            rows: rng(1),
            predictor: 2,
            search: 3,
            survival: rng(4),
        }
    }

    fn settings() -> Settings {
        Settings {
            initial: 60,
            archive: 80,
            generations: 30,
            ..Settings::default()
        }
    }

    fn costs() -> Costs {
        Costs::new(Space::builtin("nat").unwrap(), 10)
    }

    fn aims(objectives: &[Objective], limits: &str) -> Aims {
        Aims {
            objectives: objectives.to_vec(),
            limits: match limits {
                "" => Limits::default(),
                text => Limits::parse(text).unwrap(),
            },
            preferences: Preferences::default(),
        }
    }

    /// An error that falls with depth and expansion: the search can be judged without training anything.
    fn measure(costs: &Costs, genes: Genotype) -> Member {
        let sum: f64 = genes.as_slice().iter().map(|&gene| f64::from(gene)).sum();
        costs.member(genes, 80.0 - 0.4 * sum)
    }

    fn first_archive(problem: &Problem<'_>) -> Vec<Member> {
        let designs = initial_designs(problem, &mut rng(5)).unwrap().into_iter();
        designs.map(|genes| measure(problem.costs, genes)).collect()
    }

    /// The first designs for error and multiply-adds under limits.
    fn designs(limits: &str) -> Result<Vec<Genotype>, SearchError> {
        let problem = Problem {
            costs: &costs(),
            aims: &aims(&[Objective::Error, Objective::Madds], limits),
            settings: &settings(),
        };
        initial_designs(&problem, &mut rng(5))
    }

    #[test]
    fn designs_are_distinct_and_hold_both_ends() {
        let designs = designs("").unwrap();
        assert_eq!(designs.len(), 60);
        assert_eq!(designs.iter().collect::<BTreeSet<_>>().len(), 60);
        let costs = costs();
        let space = costs.space();
        assert!(designs.contains(&space.smallest()) && designs.contains(&space.largest()));
    }

    #[test]
    fn limits_that_no_network_meets_are_refused() {
        let error = designs("madds<=1M,error<5").unwrap_err().to_string();
        for part in ["meets madds<=1M;", "madds ", "M to "] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn limits_that_only_rare_networks_meet_begin_with_the_least_violations() {
        let (costs, middle) = (costs(), 300_000_001);
        let designs = designs(&format!("madds>={middle},madds<={middle}")).unwrap();
        assert_eq!(designs.len(), 60);
        let off = |genes: Genotype| costs.member(genes, 0.0).madds.abs_diff(middle);
        assert!(designs.into_iter().skip(1).map(off).max().unwrap() < 3_000_000);
    }

    #[test]
    fn designs_keep_to_the_limits_where_they_can() {
        let costs = costs();
        for limits in ["madds<=200M,error<1", "madds<=95M"] {
            let designs = designs(limits).unwrap();
            assert_eq!(designs.len(), 60, "{limits}");
            assert_eq!(designs.iter().collect::<BTreeSet<_>>().len(), 60);
            let madds = designs
                .into_iter()
                .map(|genes| costs.member(genes, 0.0).madds);
            assert!(madds.max().unwrap() <= 200_000_000, "{limits}");
        }
    }

    #[test]
    fn proposals_improve_on_the_archive_and_repeat_exactly() {
        for objectives in [
            vec![Objective::Error],
            vec![Objective::Error, Objective::Madds],
            vec![Objective::Error, Objective::Memory, Objective::Params],
            vec![Objective::Params, Objective::Madds],
        ] {
            let (costs, settings) = (costs(), settings());
            let aims = aims(&objectives, "");
            let problem = Problem {
                costs: &costs,
                aims: &aims,
                settings: &settings,
            };
            let archive = first_archive(&problem);
            let directions = directions(objectives.len(), &settings, 6);
            let proposal = propose(&problem, &archive, &directions, seeds(), 1).unwrap();
            let again = propose(&problem, &archive, &directions, seeds(), 2).unwrap();
            assert_eq!(proposal.members, again.members);
            assert_eq!(proposal.members.len(), 80);
            let genes = proposal.members.iter().map(|member| &member.genes);
            assert_eq!(genes.collect::<BTreeSet<_>>().len(), 80);
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

    #[test]
    fn the_search_goes_where_the_limits_allow() {
        let (costs, settings) = (costs(), settings());
        let aims = aims(
            &[Objective::Error, Objective::Madds],
            "madds<=180M,params<=4M",
        );
        let problem = Problem {
            costs: &costs,
            aims: &aims,
            settings: &settings,
        };
        let archive = first_archive(&problem);
        let directions = directions(2, &settings, 6);
        let proposal = propose(&problem, &archive, &directions, seeds(), 1).unwrap();
        let known: BTreeSet<&Genotype> = archive.iter().map(|member| &member.genes).collect();
        let fresh = |member: &&Member| !known.contains(&member.genes);
        let newcomers: Vec<&Member> = proposal.members.iter().filter(fresh).collect();
        assert!(newcomers.len() > 10, "{}", newcomers.len());
        assert!(newcomers.iter().all(|member| aims.limits.admit(member)));
    }

    #[test]
    fn the_search_attends_to_a_preferred_region() {
        let (costs, settings) = (costs(), settings());
        let newcomers_in_region = |prefer: &[&str]| {
            let texts: Vec<String> = prefer.iter().map(|text| text.to_string()).collect();
            let aims = Aims {
                preferences: Preferences::try_from(texts).unwrap(),
                ..aims(&[Objective::Error, Objective::Madds], "")
            };
            let problem = Problem {
                costs: &costs,
                aims: &aims,
                settings: &settings,
            };
            let archive = first_archive(&problem);
            let directions = directions(2, &settings, 6);
            let proposal = propose(&problem, &archive, &directions, seeds(), 1).unwrap();
            let known: BTreeSet<&Genotype> = archive.iter().map(|member| &member.genes).collect();
            let fresh = proposal.members.iter();
            fresh
                .filter(|m| !known.contains(&m.genes) && (130e6..170e6).contains(&(m.madds as f64)))
                .count()
        };
        let (without, with) = (
            newcomers_in_region(&[]),
            newcomers_in_region(&["madds=150M"]),
        );
        assert!(2 * with > 3 * without, "{with} for {without}");
    }

    #[test]
    fn every_measured_objective_is_predicted_by_a_model_of_its_own() {
        let names = |text: &str| text.split(',').map(Name::new).collect::<Vec<_>>();
        let costs = costs()
            .with_sets(names("even,odd"))
            .with_commands(names("energy,constant"));
        let settings = settings();
        let text = "error:even,error:odd,command:energy,command:constant";
        let aims = aims(&Objective::parse_list(text).unwrap(), "");
        let problem = Problem {
            costs: &costs,
            aims: &aims,
            settings: &settings,
        };
        // The genes that help one set are not those that help the other, and energy grows with all of them.
        let measure = |genes: Genotype| {
            let sum = |from: usize| {
                let genes = genes.as_slice().iter().skip(from).step_by(2);
                genes.map(|&gene| f64::from(gene)).sum::<f64>()
            };
            let (even, odd) = (sum(2), sum(3));
            let values = [80.0 - even, 70.0 - odd, 5.0 + 0.1 * (even + odd), 4.0];
            costs.assessed(genes, &values)
        };
        let designs = initial_designs(&problem, &mut rng(5)).unwrap().into_iter();
        let archive: Vec<Member> = designs.map(measure).collect();
        let directions = directions(4, &settings, 6);
        let proposal = propose(&problem, &archive, &directions, seeds(), 1).unwrap();
        assert_eq!(proposal.predictors.len(), 4);
        let known: BTreeSet<&Genotype> = archive.iter().map(|member| &member.genes).collect();
        let fresh = |member: &&Member| !known.contains(&member.genes);
        let newcomers: Vec<&Member> = proposal.members.iter().filter(fresh).collect();
        assert!(newcomers.len() > 10, "{}", newcomers.len());
        for &objective in &aims.objectives[..3] {
            let (predicted, truth): (Vec<f64>, Vec<f64>) = (newcomers.iter())
                .map(|member| {
                    let truth = measure(member.genes.clone());
                    (member.value(objective), truth.value(objective))
                })
                .unzip();
            let tau = nat_predictor::metrics::kendall_tau(&predicted, &truth).unwrap();
            assert!(tau > 0.7, "{objective}: {tau}");
        }
        let constant = aims.objectives[3];
        assert!((newcomers.iter()).all(|member| member.value(constant) == 4.0));
    }
}
