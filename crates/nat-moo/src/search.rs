//! The evolutionary search: ask for children, tell their objectives.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::operators::mutate;
use crate::survival::representatives;
use crate::{
    Crossover, Draws, Gene, Normalizer, SearchError, TieBreak, Variables, crowding_distance,
    non_dominated, non_dominated_sort, survive, survive_crowding,
};

/// Matings that [`Search::ask`] adds up before it accepts fewer children than wanted.
const MATING_ROUNDS: usize = 101;

/// A string of genes and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Individual {
    /// One value per variable, within its bounds.
    pub genes: Vec<Gene>,
    /// Values to minimise, all finite.
    pub objectives: Vec<f64>,
    /// By how much constraints are violated in sum; 0 is feasible.
    #[serde(default)]
    pub violation: f64,
}

impl Individual {
    /// A feasible individual.
    pub fn new(genes: Vec<Gene>, objectives: Vec<f64>) -> Self {
        Self {
            genes,
            objectives,
            violation: 0.0,
        }
    }

    fn is_feasible(&self) -> bool {
        self.violation == 0.0
    }
}

impl AsRef<[f64]> for Individual {
    /// The objectives.
    fn as_ref(&self) -> &[f64] {
        &self.objectives
    }
}

/// Which individuals live on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Fronts, then crowding distance; parents win tournaments by the same.
    Nsga2,
    /// Fronts, then reference directions; parents are drawn at random.
    Nsga3 {
        /// One row per direction, as long as there are objectives.
        directions: Vec<Vec<f64>>,
    },
}

/// How a search varies and selects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Individuals kept from a generation to the next.
    pub population: usize,
    /// Children of a generation.
    pub offspring: usize,
    /// How parents exchange genes.
    pub crossover: Crossover,
    /// Probability that a mating exchanges genes at all, in `[0, 1]`.
    pub crossover_probability: f64,
    /// Probability that a gene of a child is mutated, in `[0, 1]`.
    pub mutation_probability: f64,
    /// Index of the polynomial mutation, not negative: the larger, the smaller the steps.
    pub eta: f64,
    /// Selection.
    pub algorithm: Algorithm,
}

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
        check_variables(&variables)?;
        let objectives = initial
            .first()
            .ok_or(SearchError::NoPopulation)?
            .objectives
            .len();
        check_settings(&settings, objectives)?;
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
        let feasible: Vec<&Individual> = self
            .population
            .iter()
            .filter(|individual| individual.is_feasible())
            .collect();
        let mut front = non_dominated(&feasible);
        if let (Algorithm::Nsga3 { directions }, false) =
            (&self.settings.algorithm, front.is_empty())
        {
            let nearest = representatives(directions, &feasible, &self.normalizer);
            front.retain(|i| nearest.binary_search(i).is_ok());
        }
        front.into_iter().map(|i| feasible[i]).collect()
    }

    /// Up to `settings.offspring` new strings, by tournament, crossover, mutation and `repair`.
    ///
    /// `repair` turns a string into the canonical one of those that mean the same, within the
    /// bounds. No child equals another or a member of the population after it. Fewer children than
    /// wanted come back where 101 rounds of mating find no more, none at all from an exhausted
    /// space.
    pub fn ask(&mut self, repair: &dyn Fn(&mut [Gene])) -> Vec<Vec<Gene>> {
        self.ask_avoiding(repair, &HashSet::new())
    }

    /// [`ask`](Self::ask) for children that are not among the `taken` (canonical) strings either.
    pub fn ask_avoiding(
        &mut self,
        repair: &dyn Fn(&mut [Gene]),
        taken: &HashSet<Vec<Gene>>,
    ) -> Vec<Vec<Gene>> {
        let wanted = self.settings.offspring;
        let fitness = Fitness::of(&self.population, &self.settings.algorithm);
        let mut seen: HashSet<Vec<Gene>> = self
            .population
            .iter()
            .map(|individual| individual.genes.clone())
            .collect();
        let mut children = Vec::with_capacity(wanted);
        for _ in 0..MATING_ROUNDS {
            let missing = wanted - children.len();
            let parents = fitness.tournaments(2 * missing.div_ceil(2), &mut self.draws);
            let born = self.mate(&parents);
            for mut child in born {
                repair(&mut child);
                if children.len() < wanted && !taken.contains(&child) && seen.insert(child.clone())
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

    /// Makes the fittest `n` of `pool` the population: the feasible by the algorithm, and the others
    /// by ascending violation where places are left.
    fn select(&mut self, pool: Vec<Individual>, n: usize) {
        let (feasible, mut others): (Vec<usize>, Vec<usize>) =
            (0..pool.len()).partition(|&i| pool[i].is_feasible());
        let rows: Vec<&Individual> = feasible.iter().map(|&i| &pool[i]).collect();
        let survivors = match &self.settings.algorithm {
            Algorithm::Nsga2 => survive_crowding(&rows, n),
            Algorithm::Nsga3 { directions } => {
                survive(directions, &rows, n, &mut self.normalizer, &mut self.draws)
            }
        };
        let mut order: Vec<usize> = survivors.into_iter().map(|i| feasible[i]).collect();
        others.sort_by(|&a, &b| pool[a].violation.total_cmp(&pool[b].violation));
        others.truncate(n - order.len());
        order.append(&mut others);

        let mut pool: Vec<Option<Individual>> = pool.into_iter().map(Some).collect();
        self.population = order
            .into_iter()
            .map(|i| pool[i].take().expect("an individual survives once"))
            .collect();
    }
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

/// What decides a tournament: violation, front, room; each the smaller the better.
struct Fitness(Vec<(f64, usize, f64)>);

impl Fitness {
    /// Under NSGA-III only the violation counts.
    fn of(population: &[Individual], algorithm: &Algorithm) -> Self {
        let mut fitness: Vec<(f64, usize, f64)> = population
            .iter()
            .map(|individual| (individual.violation, 0, 0.0))
            .collect();
        if matches!(algorithm, Algorithm::Nsga2) {
            let feasible: Vec<usize> = (0..population.len())
                .filter(|&i| population[i].is_feasible())
                .collect();
            let rows: Vec<&Individual> = feasible.iter().map(|&i| &population[i]).collect();
            for (rank, front) in non_dominated_sort(&rows).into_iter().enumerate() {
                let members: Vec<&Individual> = front.iter().map(|&i| rows[i]).collect();
                for (&i, distance) in front.iter().zip(crowding_distance(&members)) {
                    fitness[feasible[i]].1 = rank;
                    fitness[feasible[i]].2 = -distance;
                }
            }
        }
        Self(fitness)
    }

    /// The winners of `n` binary tournaments. Opponents come from concatenated permutations, so that
    /// everybody takes part equally often; a coin decides among equals.
    fn tournaments(&self, n: usize, draws: &mut Draws) -> Vec<usize> {
        let mut entries = Vec::with_capacity(2 * n + self.0.len());
        while entries.len() < 2 * n {
            entries.extend(draws.permutation(self.0.len()));
        }
        entries
            .chunks_exact(2)
            .take(n)
            .map(|pair| {
                let (a, b) = (pair[0], pair[1]);
                if self.0[a] < self.0[b] {
                    a
                } else if self.0[b] < self.0[a] {
                    b
                } else {
                    pair[draws.below(2)]
                }
            })
            .collect()
    }
}

fn check_variables(variables: &Variables) -> Result<(), SearchError> {
    let (lower, upper) = (&variables.lower, &variables.upper);
    if lower.len() != upper.len() || lower.is_empty() {
        return Err(SearchError::BoundCount {
            lower: lower.len(),
            upper: upper.len(),
        });
    }
    match lower
        .iter()
        .zip(upper)
        .position(|(lower, upper)| lower > upper)
    {
        Some(gene) => Err(SearchError::Bounds {
            gene,
            lower: lower[gene],
            upper: upper[gene],
        }),
        None => Ok(()),
    }
}

fn check_settings(settings: &Settings, objectives: usize) -> Result<(), SearchError> {
    let setting = |name, value: f64, accepted: bool, expected| {
        if accepted {
            Ok(())
        } else {
            Err(SearchError::Setting {
                name,
                expected,
                value,
            })
        }
    };
    for (name, count) in [
        ("population", settings.population),
        ("offspring", settings.offspring),
    ] {
        setting(name, count as f64, count > 0, "at least 1")?;
    }
    for (name, probability) in [
        ("crossover_probability", settings.crossover_probability),
        ("mutation_probability", settings.mutation_probability),
    ] {
        setting(
            name,
            probability,
            (0.0..=1.0).contains(&probability),
            "0 to 1",
        )?;
    }
    let eta = settings.eta;
    setting(
        "eta",
        eta,
        eta.is_finite() && eta >= 0.0,
        "a finite number >= 0",
    )?;
    if let Algorithm::Nsga3 { directions } = &settings.algorithm {
        setting(
            "number of directions",
            directions.len() as f64,
            !directions.is_empty(),
            "at least 1",
        )?;
        let usable = |direction: &Vec<f64>| {
            direction.len() == objectives
                && direction.iter().all(|&w| w.is_finite() && w >= 0.0)
                && direction.iter().any(|&w| w > 0.0)
        };
        if let Some(direction) = directions.iter().position(|direction| !usable(direction)) {
            return Err(SearchError::Direction {
                direction,
                objectives,
            });
        }
    }
    Ok(())
}

fn check_individuals(
    individuals: &[Individual],
    variables: &Variables,
    objectives: usize,
) -> Result<(), SearchError> {
    for (
        individual,
        Individual {
            genes,
            objectives: values,
            violation,
        },
    ) in individuals.iter().enumerate()
    {
        let (expected, found) = (variables.lower.len(), genes.len());
        if found != expected {
            return Err(SearchError::GeneCount {
                individual,
                expected,
                found,
            });
        }
        for (gene, &value) in genes.iter().enumerate() {
            let (lower, upper) = (variables.lower[gene], variables.upper[gene]);
            if !(lower..=upper).contains(&value) {
                return Err(SearchError::GeneRange {
                    individual,
                    gene,
                    lower,
                    upper,
                    value,
                });
            }
        }
        if values.len() != objectives || values.is_empty() {
            return Err(SearchError::ObjectiveCount {
                individual,
                expected: objectives.max(1),
                found: values.len(),
            });
        }
        if let Some(objective) = values.iter().position(|value| !value.is_finite()) {
            let value = values[objective];
            return Err(SearchError::Objective {
                individual,
                objective,
                value,
            });
        }
        if !violation.is_finite() || *violation < 0.0 {
            return Err(SearchError::Violation {
                individual,
                value: *violation,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::das_dennis;

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
        let taken: HashSet<Vec<Gene>> =
            search.clone().ask(&repair).into_iter().step_by(2).collect();
        let children = search.ask_avoiding(&repair, &taken);
        assert_eq!(children.len(), 20);
        for (i, child) in children.iter().enumerate() {
            let mut canonical = child.clone();
            repair(&mut canonical);
            assert_eq!(&canonical, child);
            assert!(child.iter().all(|&gene| gene <= 9));
            assert!(!taken.contains(child) && !children[..i].contains(child));
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
    fn violations_come_last_and_lose_tournaments() {
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

        let fitness = Fitness::of(search.population(), &nsga3());
        let winners = fitness.tournaments(300, &mut Draws::new(1));
        // Of permutations of three, one loses against both others unless it meets itself.
        let losers = winners.iter().filter(|&&w| w == 2).count();
        assert!(losers < 60, "{losers}");
    }

    #[test]
    fn crowded_tournaments_prefer_fronts_then_room() {
        let f = [[0.0, 4.0], [1.0, 1.5], [1.5, 1.0], [4.0, 0.0], [5.0, 5.0]];
        let population: Vec<Individual> = f
            .iter()
            .map(|f| Individual::new(vec![0], f.to_vec()))
            .collect();
        let Fitness(fitness) = Fitness::of(&population, &Algorithm::Nsga2);
        assert!(
            fitness[0] < fitness[1] && fitness[3] < fitness[2],
            "ends have more room"
        );
        assert!(
            (0..4).all(|i| fitness[i] < fitness[4]),
            "the dominated one loses to all"
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
    fn input_out_of_range_is_named() {
        let new = |variables, settings, initial| Search::new(variables, settings, initial, 0);
        let said = |result: Result<Search, SearchError>| result.unwrap_err().to_string();

        let bounds = Variables {
            lower: vec![0, 5],
            upper: vec![9, 4],
        };
        assert_eq!(
            said(new(bounds, settings(nsga3()), random(2, 1))),
            "bounds of gene 1: expected lower <= upper, got 5 and 4"
        );
        assert_eq!(
            said(new(variables(), settings(nsga3()), Vec::new())),
            "the initial population is empty"
        );
        let eager = Settings {
            mutation_probability: 1.5,
            ..settings(nsga3())
        };
        assert_eq!(
            said(new(variables(), eager, random(2, 1))),
            "mutation_probability: expected 0 to 1, got 1.5"
        );
        let skewed = settings(Algorithm::Nsga3 {
            directions: das_dennis(3, 2),
        });
        assert_eq!(
            said(new(variables(), skewed, random(2, 1))),
            "reference direction 0: expected 2 numbers >= 0, not all 0"
        );

        let mut search = search(Algorithm::Nsga2);
        let before = search.clone();
        let mut tell = |genes, objectives| {
            search
                .tell(vec![Individual::new(genes, objectives)])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            tell(vec![0; 9], vec![1.0, 2.0]),
            "individual 0: expected 10 genes, got 9"
        );
        assert_eq!(
            tell(vec![10; 10], vec![1.0, 2.0]),
            "individual 0, gene 0: expected 0 to 9, got 10"
        );
        assert_eq!(
            tell(vec![1; 10], vec![1.0]),
            "individual 0: expected 2 objectives, got 1"
        );
        assert_eq!(
            tell(vec![1; 10], vec![1.0, f64::NAN]),
            "individual 0, objective 1: expected a finite number, got NaN"
        );
        assert_eq!(search, before);
    }
}
