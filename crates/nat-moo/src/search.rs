//! The evolutionary search: ask for children, tell their objectives.

use serde::{Deserialize, Serialize};

use crate::individual::check_individuals;
use crate::operators::mutate;
use crate::registry::Registry;
use crate::survival::representatives;
use crate::tournament::Fitness;
use crate::{
    Algorithm, Draws, Gene, Individual, Normalizer, SearchError, Settings, Variables,
    non_dominated, survive, survive_crowding,
};

/// Matings that [`Search::ask`] adds up before it accepts fewer children than wanted.
const MATING_ROUNDS: usize = 101;

/// An evolutionary search in progress.
///
/// Children come from [`ask`](Self::ask), go to the caller for evaluation and return through
/// [`tell`](Self::tell). The whole state serialises between any two calls, and the restored copy
/// continues exactly as the original would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    variables: Variables,
    settings: Settings,
    population: Vec<Individual>,
    normalizer: Normalizer,
    draws: Draws,
}

impl Search {
    /// A search that starts from `initial`. All of it, however many, are the parents of the first
    /// generation; later ones keep `settings.population`.
    ///
    /// # Errors
    /// Where bounds, settings or individuals are out of their ranges or do not fit each other.
    pub fn new(
        variables: Variables,
        settings: Settings,
        initial: Vec<Individual>,
        seed: u64,
    ) -> Result<Self, SearchError> {
        variables.check()?;
        let objectives = initial
            .first()
            .ok_or(SearchError::NoPopulation)?
            .objectives
            .len();
        settings.check(objectives)?;
        check_individuals(&initial, &variables, objectives)?;
        let mut search = Self {
            variables,
            settings,
            population: Vec::new(),
            normalizer: Normalizer::default(),
            draws: Draws::new(seed),
        };
        let everybody = initial.len();
        search.select(initial, everybody);
        Ok(search)
    }

    /// The individuals alive. NAT's result is all of them, dominated ones included.
    pub fn population(&self) -> &[Individual] {
        &self.population
    }

    /// The answer of the search proper: the feasible non-dominated individuals and, under NSGA-III,
    /// of those the ones that are nearest to a reference direction which somebody occupies.
    pub fn result(&self) -> Vec<&Individual> {
        representative_front(&self.population, &self.settings.algorithm, &self.normalizer)
    }

    /// Up to `settings.offspring` new strings, by tournament, crossover, mutation and `repair`.
    ///
    /// `repair` turns a string into the canonical one of those that mean the same, within the
    /// bounds. No child equals another or a member of the population after it. Fewer children than
    /// wanted come back where 101 rounds of mating find no more, none at all from an exhausted
    /// space.
    pub fn ask(&mut self, repair: &dyn Fn(&mut [Gene])) -> Vec<Vec<Gene>> {
        let wanted = self.settings.offspring;
        let fitness = Fitness::of(&self.population, &self.settings.algorithm);
        let parents = self.population.len();
        let mut seen = Registry::with_capacity(parents + wanted);
        for (i, individual) in self.population.iter().enumerate() {
            seen.insert(&individual.genes, i, |i| &self.population[i].genes);
        }
        let mut children: Vec<Vec<Gene>> = Vec::with_capacity(wanted);
        for _ in 0..MATING_ROUNDS {
            let missing = wanted - children.len();
            let pairs = fitness.tournaments(2 * missing.div_ceil(2), &mut self.draws);
            for mut child in self.mate(&pairs) {
                repair(&mut child);
                let string_of = |i: usize| match i.checked_sub(parents) {
                    Some(i) => children[i].as_slice(),
                    None => &self.population[i].genes,
                };
                if children.len() < wanted
                    && seen.insert(&child, parents + children.len(), string_of)
                {
                    children.push(child);
                }
            }
            if children.len() == wanted {
                break;
            }
        }
        children
    }

    /// Takes in evaluated children and lets the fittest of all live on.
    ///
    /// # Errors
    /// Where a child does not fit the search; it is then as it was before.
    pub fn tell(&mut self, children: Vec<Individual>) -> Result<(), SearchError> {
        check_individuals(
            &children,
            &self.variables,
            self.population[0].objectives.len(),
        )?;
        let mut pool = std::mem::take(&mut self.population);
        pool.extend(children);
        self.select(pool, self.settings.population);
        Ok(())
    }

    /// Two children of each pair of parents.
    fn mate(&mut self, parents: &[usize]) -> Vec<Vec<Gene>> {
        let Settings {
            crossover,
            crossover_probability,
            mutation_probability,
            eta,
            ..
        } = self.settings;
        let draws = &mut self.draws;
        let mut children: Vec<Vec<Gene>> = parents
            .iter()
            .map(|&p| self.population[p].genes.clone())
            .collect();
        for pair in children.chunks_exact_mut(2) {
            let (a, b) = pair.split_at_mut(1);
            if draws.chance(crossover_probability) {
                crossover.exchange(&mut a[0], &mut b[0], draws);
            }
        }
        for child in &mut children {
            mutate(child, &self.variables, mutation_probability, eta, draws);
        }
        children
    }

    /// Makes the fittest `n` of `pool` the population.
    fn select(&mut self, pool: Vec<Individual>, n: usize) {
        let algorithm = &self.settings.algorithm;
        let order = fittest(&pool, n, algorithm, &mut self.normalizer, &mut self.draws);
        let mut pool: Vec<Option<Individual>> = pool.into_iter().map(Some).collect();
        self.population = order
            .into_iter()
            .map(|i| pool[i].take().expect("an individual survives once"))
            .collect();
    }
}

/// Chooses up to `n` of the pool: the feasible ones by the algorithm, then the others by ascending
/// violation where places are left (constrained domination as in pymoo).
pub fn fittest(
    pool: &[Individual],
    n: usize,
    algorithm: &Algorithm,
    normalizer: &mut Normalizer,
    draws: &mut Draws,
) -> Vec<usize> {
    let (feasible, mut others): (Vec<usize>, Vec<usize>) =
        (0..pool.len()).partition(|&i| pool[i].is_feasible());
    let rows: Vec<&Individual> = feasible.iter().map(|&i| &pool[i]).collect();
    let survivors = match algorithm {
        Algorithm::Nsga2 => survive_crowding(&rows, n),
        Algorithm::Nsga3 { directions } => survive(directions, &rows, n, normalizer, draws),
    };
    let mut order: Vec<usize> = survivors.into_iter().map(|i| feasible[i]).collect();
    others.sort_by(|&a, &b| pool[a].violation.total_cmp(&pool[b].violation));
    others.truncate(n - order.len());
    order.append(&mut others);
    order
}

/// The feasible non-dominated members and, under NSGA-III, of those the ones that are nearest to a
/// reference direction which somebody occupies; all of them where none is, since the nearest are dominated.
pub(crate) fn representative_front<'a>(
    population: &'a [Individual],
    algorithm: &Algorithm,
    normalizer: &Normalizer,
) -> Vec<&'a Individual> {
    let feasible: Vec<&Individual> = population
        .iter()
        .filter(|individual| individual.is_feasible())
        .collect();
    let mut front = non_dominated(&feasible);
    if let (Algorithm::Nsga3 { directions }, false) = (algorithm, front.is_empty()) {
        let nearest = representatives(directions, &feasible, normalizer);
        let chosen = |i: &usize| nearest.binary_search(i).is_ok();
        if front.iter().any(chosen) {
            front.retain(chosen);
        }
    }
    front.into_iter().map(|i| feasible[i]).collect()
}

/// Runs `generations` rounds of ask, one call of `evaluate` for all children, and tell. `evaluate`
/// returns a row of objectives per string. Ends early where the space holds no new strings.
///
/// The initial population is not counted: where a budget counts it as the first generation, pass
/// one less.
///
/// # Errors
/// Where `evaluate` returns too many or too few rows, or numbers that are not finite.
pub fn evolve(
    search: &mut Search,
    generations: usize,
    repair: &dyn Fn(&mut [Gene]),
    mut evaluate: impl FnMut(&[Vec<Gene>]) -> Vec<Vec<f64>>,
) -> Result<(), SearchError> {
    for _ in 0..generations {
        let children = search.ask(repair);
        if children.is_empty() {
            break;
        }
        let objectives = evaluate(&children);
        if objectives.len() != children.len() {
            return Err(SearchError::EvaluationCount {
                children: children.len(),
                found: objectives.len(),
            });
        }
        let children = children.into_iter().zip(objectives);
        search.tell(
            children
                .map(|(genes, f)| Individual::new(genes, f))
                .collect(),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Crossover, das_dennis};

    fn settings(algorithm: Algorithm) -> Settings {
        Settings {
            population: 20,
            offspring: 20,
            crossover: Crossover::Uniform,
            crossover_probability: 0.9,
            mutation_probability: 0.1,
            eta: 1.0,
            algorithm,
        }
    }

    fn nsga3() -> Algorithm {
        Algorithm::Nsga3 {
            directions: das_dennis(2, 19),
        }
    }

    #[test]
    fn a_front_behind_a_dominated_nearest_is_whole() {
        let at = |objectives: [f64; 2]| Individual {
            genes: vec![0],
            objectives: objectives.to_vec(),
            violation: 0.0,
        };
        let population = [[0.0, 1.0], [1.0, 0.0], [0.4, 0.5], [0.6, 0.6]].map(at);
        let front = |directions: Vec<Vec<f64>>| {
            let mut normalizer = Normalizer::default();
            let rows: Vec<&[f64]> = population.iter().map(|one| &one.objectives[..]).collect();
            normalizer.update(&rows, &[0, 1, 2]);
            let algorithm = Algorithm::Nsga3 { directions };
            let front = representative_front(&population, &algorithm, &normalizer);
            let rows = front.into_iter().map(|one| one.objectives.clone());
            rows.collect::<Vec<_>>()
        };
        // The nearest to the diagonal is the dominated one.
        assert_eq!(front(vec![vec![0.5, 0.5]]).len(), 3);
        let nearest = front(vec![vec![0.5, 0.5], vec![0.0, 1.0]]);
        assert_eq!(nearest, [[0.0, 1.0]]);
    }

    /// Ten genes of 0..=9: the sum of the first five against the sum of what the others lack, with a
    /// penalty for disagreeing neighbours, so that fronts are neither trivial nor flat.
    fn objectives(genes: &[Gene]) -> Vec<f64> {
        let sum = |genes: &[Gene]| genes.iter().map(|&g| f64::from(g)).sum::<f64>();
        let rough: f64 = genes
            .windows(2)
            .map(|w| f64::from(w[0].abs_diff(w[1])))
            .sum();
        vec![
            sum(&genes[..5]) + 0.3 * rough,
            45.0 - sum(&genes[5..]) + 0.1 * rough,
        ]
    }

    fn variables() -> Variables {
        Variables {
            lower: vec![0; 10],
            upper: vec![9; 10],
        }
    }

    fn random(n: usize, seed: u64) -> Vec<Individual> {
        let mut draws = Draws::new(seed);
        (0..n)
            .map(|_| {
                let genes: Vec<Gene> = (0..10).map(|_| draws.below(10) as Gene).collect();
                let f = objectives(&genes);
                Individual::new(genes, f)
            })
            .collect()
    }

    fn search(algorithm: Algorithm) -> Search {
        Search::new(variables(), settings(algorithm), random(30, 1), 7).unwrap()
    }

    fn run(search: &mut Search, generations: usize) {
        evolve(search, generations, &|_| {}, |children| {
            children.iter().map(|genes| objectives(genes)).collect()
        })
        .unwrap();
    }

    #[test]
    fn a_restored_search_continues_to_the_same_population() {
        for algorithm in [Algorithm::Nsga2, nsga3()] {
            let mut original = search(algorithm);
            run(&mut original, 5);
            let saved = serde_json::to_string(&original).unwrap();
            let mut restored: Search = serde_json::from_str(&saved).unwrap();
            assert_eq!(original, restored);
            run(&mut original, 5);
            run(&mut restored, 5);
            assert_eq!(original, restored);
            assert_ne!(serde_json::to_string(&original).unwrap(), saved);

            // Between ask and tell as well.
            let children = original.ask(&|_| {});
            let mut restored: Search =
                serde_json::from_str(&serde_json::to_string(&original).unwrap()).unwrap();
            for search in [&mut original, &mut restored] {
                let told = children
                    .iter()
                    .map(|genes| Individual::new(genes.clone(), objectives(genes)))
                    .collect();
                search.tell(told).unwrap();
            }
            assert_eq!(original.ask(&|_| {}), restored.ask(&|_| {}));
        }
    }

    #[test]
    fn a_seed_fixes_the_run_and_another_changes_it() {
        let start = |seed| {
            let mut search =
                Search::new(variables(), settings(nsga3()), random(30, 1), seed).unwrap();
            run(&mut search, 8);
            search.population
        };
        assert_eq!(start(1), start(1));
        assert_ne!(start(1), start(2));
    }

    #[test]
    fn the_front_moves_forward() {
        let reference = [60.0, 60.0];
        for algorithm in [Algorithm::Nsga2, nsga3()] {
            let mut search = search(algorithm);
            assert_eq!(
                search.population().len(),
                30,
                "all of the start are parents"
            );
            let before = crate::hypervolume(search.population(), &reference);
            run(&mut search, 40);
            assert_eq!(search.population().len(), 20);
            // The corner (0.., 9..) has objectives 2.7 and 0.9; a front through it covers most.
            let after = crate::hypervolume(search.population(), &reference);
            assert!(before < 0.7 * after, "{before} then {after}");
            assert!(after > 0.9 * (60.0 - 2.7) * (60.0 - 0.9), "{after}");
        }
    }

    #[test]
    fn children_are_new_canonical_and_within_bounds() {
        // The second half of a string is without effect while its first gene is 0.
        let repair = |genes: &mut [Gene]| {
            if genes[0] == 0 {
                genes[5..].fill(0);
            }
        };
        let mut search = search(nsga3());
        let children = search.ask(&repair);
        assert_eq!(children.len(), 20);
        for (i, child) in children.iter().enumerate() {
            let mut canonical = child.clone();
            repair(&mut canonical);
            assert_eq!(&canonical, child);
            assert!(child.iter().all(|&gene| gene <= 9));
            assert!(!children[..i].contains(child));
            assert!(
                search
                    .population()
                    .iter()
                    .all(|parent| &parent.genes != child)
            );
        }
    }

    #[test]
    fn an_exhausted_space_yields_what_is_left() {
        let variables = Variables {
            lower: vec![0, 0],
            upper: vec![1, 1],
        };
        let individual = |a, b| Individual::new(vec![a, b], vec![f64::from(a), f64::from(b)]);
        let initial = vec![individual(0, 0), individual(0, 1)];
        let settings = Settings {
            mutation_probability: 0.5,
            ..settings(Algorithm::Nsga2)
        };
        let mut search = Search::new(variables, settings, initial, 3).unwrap();
        let mut children = search.ask(&|_| {});
        children.sort();
        assert_eq!(children, [[1, 0], [1, 1]]);
        search
            .tell(vec![individual(1, 0), individual(1, 1)])
            .unwrap();
        assert!(search.ask(&|_| {}).is_empty());
    }

    #[test]
    fn violations_come_last() {
        let individual = |gene: Gene, violation| Individual {
            genes: vec![gene],
            objectives: vec![f64::from(gene), -f64::from(gene)],
            violation,
        };
        let variables = Variables {
            lower: vec![0],
            upper: vec![9],
        };
        let settings = Settings {
            population: 3,
            ..settings(nsga3())
        };
        let initial = (0..6)
            .map(|gene| individual(gene, f64::from(gene % 3)))
            .collect();
        let mut search = Search::new(variables, settings, initial, 3).unwrap();
        search.tell(Vec::new()).unwrap();
        let kept: Vec<f64> = search.population().iter().map(|i| i.violation).collect();
        assert_eq!(kept, [0.0, 0.0, 1.0]);
        assert!(
            search
                .result()
                .iter()
                .all(|individual| individual.violation == 0.0)
        );
    }

    #[test]
    fn the_result_is_one_individual_per_direction() {
        let mut search = search(nsga3());
        run(&mut search, 40);
        let result = search.result();
        assert!(!result.is_empty() && result.len() <= 20);
        let front = non_dominated(search.population());
        for individual in &result {
            assert!(
                front
                    .iter()
                    .any(|&i| search.population()[i] == **individual)
            );
        }
    }

    #[test]
    fn a_refused_child_leaves_the_search_as_it_was() {
        let mut search = search(nsga3());
        let before = search.clone();
        let good = Individual::new(vec![1; 10], vec![0.0, 0.0]);
        let bad = Individual::new(vec![10; 10], vec![0.0, 0.0]);
        let error = search.tell(vec![good, bad]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "individual 1, gene 0: expected 0 to 9, got 10"
        );
        assert_eq!(search, before);
        assert_eq!(
            evolve(&mut search, 1, &|_| {}, |_| Vec::new()),
            Err(SearchError::EvaluationCount {
                children: 20,
                found: 0
            })
        );
    }

    #[test]
    fn nobody_is_no_start() {
        let error = Search::new(variables(), settings(nsga3()), Vec::new(), 0).unwrap_err();
        assert_eq!(error.to_string(), "the initial population is empty");
    }
}
