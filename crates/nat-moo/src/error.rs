//! What can be wrong with the input of a search.

use thiserror::Error;

use crate::Gene;

/// What a search cannot work with.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum SearchError {
    /// The bounds do not describe a space.
    #[error("bounds of gene {gene}: expected lower <= upper, got {lower} and {upper}")]
    Bounds {
        /// Index of the gene.
        gene: usize,
        /// Its lower bound.
        lower: Gene,
        /// Its upper bound.
        upper: Gene,
    },
    /// Lower and upper bounds differ in number, or there are none.
    #[error(
        "bounds: expected as many upper as lower ones and at least one, got {lower} lower and {upper} upper"
    )]
    BoundCount {
        /// Number of lower bounds.
        lower: usize,
        /// Number of upper bounds.
        upper: usize,
    },
    /// A number of the settings is out of its range.
    #[error("{name}: expected {expected}, got {value}")]
    Setting {
        /// The field.
        name: &'static str,
        /// Its range in words.
        expected: &'static str,
        /// Its value.
        value: f64,
    },
    /// A reference direction is no direction of the objective space.
    #[error("reference direction {direction}: expected {objectives} numbers >= 0, not all 0")]
    Direction {
        /// Index of the direction.
        direction: usize,
        /// Number of objectives.
        objectives: usize,
    },
    /// There is nobody to start from.
    #[error("the initial population is empty")]
    NoPopulation,
    /// An individual has too many or too few genes.
    #[error("individual {individual}: expected {expected} genes, got {found}")]
    GeneCount {
        /// Position in the list passed in.
        individual: usize,
        /// Number of variables.
        expected: usize,
        /// Number of its genes.
        found: usize,
    },
    /// A gene lies outside its bounds.
    #[error("individual {individual}, gene {gene}: expected {lower} to {upper}, got {value}")]
    GeneRange {
        /// Position in the list passed in.
        individual: usize,
        /// Index of the gene.
        gene: usize,
        /// Its lower bound.
        lower: Gene,
        /// Its upper bound.
        upper: Gene,
        /// Its value.
        value: Gene,
    },
    /// An individual has too many or too few objectives.
    #[error("individual {individual}: expected {expected} objectives, got {found}")]
    ObjectiveCount {
        /// Position in the list passed in.
        individual: usize,
        /// Number of objectives of the population.
        expected: usize,
        /// Number of its objectives.
        found: usize,
    },
    /// An objective is NaN or infinite.
    #[error(
        "individual {individual}, objective {objective}: expected a finite number, got {value}"
    )]
    Objective {
        /// Position in the list passed in.
        individual: usize,
        /// Index of the objective.
        objective: usize,
        /// Its value.
        value: f64,
    },
    /// A constraint violation is negative, NaN or infinite.
    #[error("individual {individual}: expected a finite violation >= 0, got {value}")]
    Violation {
        /// Position in the list passed in.
        individual: usize,
        /// Its value.
        value: f64,
    },
    /// There are not as many evaluations as children.
    #[error("evaluation of {children} children returned {found} rows of objectives")]
    EvaluationCount {
        /// Number of children.
        children: usize,
        /// Number of rows.
        found: usize,
    },
}
