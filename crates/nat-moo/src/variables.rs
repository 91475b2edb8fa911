//! The space of a search.

use serde::{Deserialize, Serialize};

use crate::SearchError;

/// One decision variable: a small integer.
pub type Gene = u16;

/// The search space: bounds of every gene, both inclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// Smallest value of each gene.
    pub lower: Vec<Gene>,
    /// Largest value of each gene.
    pub upper: Vec<Gene>,
}

impl Variables {
    /// Whether the bounds describe a space.
    pub(crate) fn check(&self) -> Result<(), SearchError> {
        let (lower, upper) = (&self.lower, &self.upper);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_are_no_space_are_named() {
        let said = |lower: &[Gene], upper: &[Gene]| {
            let variables = Variables {
                lower: lower.to_vec(),
                upper: upper.to_vec(),
            };
            variables.check().unwrap_err().to_string()
        };
        assert_eq!(
            said(&[0, 5], &[9, 4]),
            "bounds of gene 1: expected lower <= upper, got 5 and 4"
        );
        let count = "bounds: expected as many upper as lower ones and at least one";
        assert_eq!(said(&[0], &[]), format!("{count}, got 1 lower and 0 upper"));
        assert_eq!(said(&[], &[]), format!("{count}, got 0 lower and 0 upper"));
        assert_eq!(
            Variables {
                lower: vec![3],
                upper: vec![3]
            }
            .check(),
            Ok(())
        );
    }
}
