//! How a search varies and selects.

use serde::{Deserialize, Serialize};

use crate::{Crossover, SearchError};

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

impl Settings {
    /// Whether all numbers are within their ranges, for individuals of so many `objectives`.
    pub(crate) fn check(&self, objectives: usize) -> Result<(), SearchError> {
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
            ("population", self.population),
            ("offspring", self.offspring),
        ] {
            setting(name, count as f64, count > 0, "at least 1")?;
        }
        for (name, probability) in [
            ("crossover_probability", self.crossover_probability),
            ("mutation_probability", self.mutation_probability),
        ] {
            setting(
                name,
                probability,
                (0.0..=1.0).contains(&probability),
                "0 to 1",
            )?;
        }
        let eta = self.eta;
        setting(
            "eta",
            eta,
            eta.is_finite() && eta >= 0.0,
            "a finite number >= 0",
        )?;
        if let Algorithm::Nsga3 { directions } = &self.algorithm {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::das_dennis;

    #[test]
    fn numbers_out_of_range_are_named() {
        let good = Settings {
            population: 20,
            offspring: 20,
            crossover: Crossover::Uniform,
            crossover_probability: 0.9,
            mutation_probability: 0.1,
            eta: 1.0,
            algorithm: Algorithm::Nsga3 {
                directions: das_dennis(2, 19),
            },
        };
        assert_eq!(good.check(2), Ok(()));
        let said = |change: &dyn Fn(&mut Settings)| {
            let mut settings = good.clone();
            change(&mut settings);
            settings.check(2).unwrap_err().to_string()
        };
        assert_eq!(
            said(&|s| s.population = 0),
            "population: expected at least 1, got 0"
        );
        assert_eq!(
            said(&|s| s.offspring = 0),
            "offspring: expected at least 1, got 0"
        );
        assert_eq!(
            said(&|s| s.crossover_probability = -0.5),
            "crossover_probability: expected 0 to 1, got -0.5"
        );
        assert_eq!(
            said(&|s| s.mutation_probability = f64::NAN),
            "mutation_probability: expected 0 to 1, got NaN"
        );
        assert_eq!(
            said(&|s| s.eta = -1.0),
            "eta: expected a finite number >= 0, got -1"
        );
        let directions = |directions: &[Vec<f64>]| {
            let directions = directions.to_vec();
            said(&|s| {
                s.algorithm = Algorithm::Nsga3 {
                    directions: directions.clone(),
                }
            })
        };
        assert_eq!(
            directions(&[]),
            "number of directions: expected at least 1, got 0"
        );
        assert_eq!(
            directions(&[vec![0.5, 0.5], vec![1.0, 0.0, 0.0]]),
            "reference direction 1: expected 2 numbers >= 0, not all 0"
        );
        assert_eq!(
            directions(&[vec![0.0, 0.0]]),
            "reference direction 0: expected 2 numbers >= 0, not all 0"
        );
    }
}
