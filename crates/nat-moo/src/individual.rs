//! A string of genes with its objectives.

use serde::{Deserialize, Serialize};

use crate::{Gene, SearchError, Variables};

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

    /// Whether no constraint is violated.
    pub fn is_feasible(&self) -> bool {
        self.violation == 0.0
    }
}

impl AsRef<[f64]> for Individual {
    /// The objectives.
    fn as_ref(&self) -> &[f64] {
        &self.objectives
    }
}

/// Whether every individual has genes within the bounds and so many finite objectives.
pub(crate) fn check_individuals(
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

    #[test]
    fn individuals_that_do_not_fit_are_named() {
        let variables = Variables {
            lower: vec![0, 1],
            upper: vec![9, 9],
        };
        let good = Individual::new(vec![0, 9], vec![1.0, -2.0]);
        assert_eq!(
            check_individuals(std::slice::from_ref(&good), &variables, 2),
            Ok(())
        );
        let said = |genes: &[Gene], objectives: &[f64], violation| {
            let bad = Individual {
                genes: genes.to_vec(),
                objectives: objectives.to_vec(),
                violation,
            };
            check_individuals(&[good.clone(), bad], &variables, 2)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            said(&[0], &[1.0, 2.0], 0.0),
            "individual 1: expected 2 genes, got 1"
        );
        assert_eq!(
            said(&[0, 0], &[1.0, 2.0], 0.0),
            "individual 1, gene 1: expected 1 to 9, got 0"
        );
        assert_eq!(
            said(&[0, 1], &[1.0], 0.0),
            "individual 1: expected 2 objectives, got 1"
        );
        assert_eq!(
            said(&[0, 1], &[1.0, f64::NAN], 0.0),
            "individual 1, objective 1: expected a finite number, got NaN"
        );
        assert_eq!(
            said(&[0, 1], &[1.0, 2.0], -1.0),
            "individual 1: expected a finite violation >= 0, got -1"
        );
    }

    #[test]
    fn the_violation_may_be_left_out_of_a_file() {
        let read: Individual =
            serde_json::from_str(r#"{"genes": [1, 2], "objectives": [0.5]}"#).unwrap();
        assert_eq!(read, Individual::new(vec![1, 2], vec![0.5]));
    }
}
