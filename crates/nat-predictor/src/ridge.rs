//! The linear baseline.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::parallel::ordered_map;
use crate::{FitError, Predictor, Scaling};

/// Ridge regression on the scaled genes: the baseline that any other model has to beat.
///
/// Minimises `|y - b - X w|^2 + penalty |w|^2`; the intercept `b` is not shrunk.
#[derive(Debug, Clone)]
pub struct Ridge {
    scaling: Scaling,
    intercept: f64,
    slope: DVector<f64>,
}

impl Ridge {
    /// Fits the slope and intercept; `penalty` is in units of a squared scaled gene and positive,
    /// so constant and dependent genes do no harm.
    ///
    /// # Errors
    /// If a row or a label is invalid, if there is no row, or if the penalty is not positive.
    pub fn fit(
        genotypes: &[Vec<u16>],
        labels: &[f64],
        scaling: &Scaling,
        penalty: f64,
    ) -> Result<Self, FitError> {
        scaling.check(genotypes, labels)?;
        if !(penalty.is_finite() && penalty > 0.0) {
            return Err(FitError::Setting {
                name: "ridge penalty",
                value: penalty,
                expected: "a finite positive number",
            });
        }
        if genotypes.is_empty() {
            return Err(FitError::TooFewRows {
                distinct: 0,
                variables: 0,
            });
        }
        let n = genotypes.len();
        let mut x = DMatrix::from_fn(n, scaling.genes(), |row, gene| {
            scaling.unit(gene, genotypes[row][gene])
        });
        let centre = x.row_mean();
        for mut row in x.row_iter_mut() {
            row -= &centre;
        }
        let mean = labels.iter().sum::<f64>() / n as f64;
        let y = DVector::from_iterator(n, labels.iter().map(|label| label - mean));
        let mut normal = x.tr_mul(&x);
        for gene in 0..scaling.genes() {
            normal[(gene, gene)] += penalty;
        }
        let slope = Cholesky::new(normal)
            .ok_or(FitError::Singular {
                variables: scaling.genes(),
            })?
            .solve(&x.tr_mul(&y));
        Ok(Self {
            scaling: scaling.clone(),
            intercept: mean - (centre * &slope)[0],
            slope,
        })
    }
}

impl Predictor for Ridge {
    fn predict(&self, genotypes: &[Vec<u16>], threads: usize) -> Vec<f64> {
        ordered_map(
            genotypes.len(),
            threads,
            || (),
            |(), i| {
                let point = self.scaling.point(&genotypes[i]);
                let tail: f64 = point.iter().zip(&self.slope).map(|(x, w)| x * w).sum();
                self.intercept + tail
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<u16>> {
        (0..30_u16)
            .map(|i| vec![i % 10, i * i % 7, 5, i * 3 % 4])
            .collect()
    }

    fn scaling() -> Scaling {
        Scaling::new(vec![0; 4], vec![10; 4])
    }

    #[test]
    fn a_linear_function_is_recovered_despite_a_constant_gene() {
        let linear =
            |row: &Vec<u16>| 20.0 - f64::from(row[0]) + 0.5 * f64::from(row[1]) - f64::from(row[3]);
        let rows = rows();
        let labels: Vec<f64> = rows.iter().map(linear).collect();
        let model = Ridge::fit(&rows, &labels, &scaling(), 1e-9).unwrap();
        let fresh = vec![vec![9, 6, 5, 0], vec![0, 0, 5, 3]];
        for (predicted, row) in model.predict(&fresh, 1).iter().zip(&fresh) {
            assert!((predicted - linear(row)).abs() < 1e-6);
        }
    }

    #[test]
    fn a_large_penalty_leaves_the_mean() {
        let rows = rows();
        let labels: Vec<f64> = (0..30).map(f64::from).collect();
        let model = Ridge::fit(&rows, &labels, &scaling(), 1e12).unwrap();
        for predicted in model.predict(&rows, 2) {
            assert!((predicted - 14.5).abs() < 1e-6);
        }
    }

    #[test]
    fn no_rows_and_no_penalty_are_refused() {
        assert!(Ridge::fit(&[], &[], &scaling(), 1.0).is_err());
        let error = Ridge::fit(&rows(), &[0.0; 30], &scaling(), 0.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ridge penalty is 0, expected a finite positive number"
        );
    }
}
