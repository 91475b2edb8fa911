//! Sizes of the search.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use crate::{PredictorKind, SearchError};

/// Which evolutionary algorithm runs inside an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Rank and crowding distance.
    Nsga2,
    /// Reference directions by Riesz energy.
    Nsga3,
}

/// More networks, or rows and models of a predictor, than any search has use for.
const MOST_NETWORKS: usize = 100_000;
/// As many reference directions are laid out before a search begins, each against all others.
const MOST_DIRECTIONS: usize = 2_000;
/// More iterations, or generations of the inner search, are a slip.
const MOST_ROUNDS: usize = 100_000;

/// Sizes of the search; the default is that of AwesomeLemon/ENCAS, `configs_nat/cifar10_reproducenat.yml`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Networks of the first archive: smallest, largest (under the sandwich rule at up to five resolutions) and random ones.
    pub initial: usize,
    /// Iterations after the first archive; closing rounds come on top.
    pub iterations: usize,
    /// Rounds of search after the last iteration, in which nothing is trained: the predictor learns from all that the final
    /// weights have been measured with, and what it finds joins the archive.
    #[serde(default)]
    pub closing: usize,
    /// Size to which the archive is cut, but for the largest networks, which stay at up to five resolutions under the sandwich
    /// rule; closing rounds only add to it.
    pub archive: usize,
    /// Most new networks of an iteration; 0 means as many as survive.
    #[serde(default)]
    pub newcomers: usize,
    /// Archive members on which the predictor is fitted; in closing rounds all of them.
    pub training_rows: usize,
    /// The model that predicts errors: `rbf-ensemble`, `rbf`, `ridge`, `gp`, `forest`, or `switching`, which takes the one of
    /// them that ranks held-out networks best, anew in every iteration.
    #[serde(default)]
    pub predictor: PredictorKind,
    /// Members of the predictor's ensemble.
    pub ensemble: usize,
    /// Inner algorithm: `nsga3` by reference directions, or `nsga2` by rank and crowding distance.
    pub algorithm: Algorithm,
    /// Population of the inner search, which is also its number of reference directions.
    pub population: usize,
    /// How far the reference directions reach around a preferred region, as a share of how far they reach without any.
    #[serde(default = "spread")]
    pub spread: f64,
    /// Generations of the inner search; the start counts as the first.
    pub generations: usize,
    /// Probability that a pair of parents is crossed.
    pub crossover: f64,
    /// Probability that a gene mutates.
    pub mutation: f64,
    /// Distribution index of the polynomial mutation.
    pub eta: f64,
}

fn spread() -> f64 {
    0.2
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial: 100,
            iterations: 30,
            closing: 0,
            archive: 300,
            newcomers: 0,
            training_rows: 100,
            predictor: PredictorKind::default(),
            ensemble: 500,
            algorithm: Algorithm::Nsga3,
            population: 100,
            spread: spread(),
            generations: 100,
            crossover: 0.9,
            mutation: 0.1,
            eta: 1.0,
        }
    }
}

impl Settings {
    /// The inner search for so many objectives.
    pub(crate) fn inner(&self, objectives: usize, directions: &[Vec<f64>]) -> nat_moo::Settings {
        nat_moo::Settings {
            population: self.population,
            offspring: self.population,
            crossover: nat_moo::Crossover::Uniform,
            crossover_probability: self.crossover,
            mutation_probability: self.mutation,
            eta: self.eta,
            algorithm: match self.algorithm {
                Algorithm::Nsga3 if objectives > 1 => nat_moo::Algorithm::Nsga3 {
                    directions: directions.to_vec(),
                },
                Algorithm::Nsga3 | Algorithm::Nsga2 => nat_moo::Algorithm::Nsga2,
            },
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first setting outside its range, named as in a configuration.
    pub fn check(&self) -> Result<(), SearchError> {
        let fail = |field: &str, must: String| {
            Err(SearchError::Config(format!("search.{field} must {must}")))
        };
        for (field, value, least, most) in [
            ("initial", self.initial, 4, MOST_NETWORKS),
            ("archive", self.archive, 4, MOST_NETWORKS),
            ("training_rows", self.training_rows, 4, MOST_NETWORKS),
            ("ensemble", self.ensemble, 1, MOST_NETWORKS),
            ("population", self.population, 4, MOST_DIRECTIONS),
            ("generations", self.generations, 1, MOST_ROUNDS),
            ("iterations", self.iterations, 0, MOST_ROUNDS),
            ("closing", self.closing, 0, MOST_ROUNDS),
        ] {
            if !(least..=most).contains(&value) {
                return fail(field, format!("lie in {least} to {most}, got {value}"));
            }
        }
        for (field, value) in [
            ("crossover", self.crossover),
            ("mutation", self.mutation),
            ("spread", self.spread),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return fail(field, format!("lie in 0 to 1, got {value}"));
            }
        }
        if !(self.eta >= 0.0 && self.eta.is_finite()) {
            let value = self.eta;
            return fail(
                "eta",
                format!("be a finite number not below 0, got {value}"),
            );
        }
        Ok(())
    }
}
