//! One cubic RBF model over all genes.

use crate::evaluator::{Evaluator, LANES, Scratch};
use crate::interpolant::{Interpolant, TrainingSet};
use crate::parallel::ordered_map;
use crate::scaling::varying_genes;
use crate::{FitError, Predictor, Scaling};

/// A cubic RBF interpolant with a linear tail over all genes that vary in the training rows: the
/// surrogate of MSuNAS (mikelzc1990/nsganetv2 `acc_predictor/rbf.py`) on scaled genes.
#[derive(Debug, Clone)]
pub struct Rbf {
    interpolant: Evaluator,
}

impl Rbf {
    /// Interpolates the labels up to the `nugget`, which is added to the diagonal of the kernel
    /// matrix: 1e-6 interpolates noise-free labels, a larger one smooths noisy ones.
    ///
    /// Of rows that occur twice the first counts.
    ///
    /// # Errors
    /// If a row or a label is invalid, if there are no more distinct rows than varying genes, or
    /// if the varying genes are linearly dependent over the rows.
    pub fn fit(
        genotypes: &[Vec<u16>],
        labels: &[f64],
        scaling: &Scaling,
        nugget: f64,
    ) -> Result<Self, FitError> {
        scaling.check(genotypes, labels)?;
        check_nugget(nugget)?;
        let set = TrainingSet::new(genotypes, labels, scaling);
        let variables = varying_genes(genotypes);
        let order: Vec<usize> = (0..genotypes.len()).collect();
        let rows = set.distinct_rows(&order, &variables);
        let (distinct, variables_count) = (rows.len(), variables.len());
        if distinct <= variables_count {
            return Err(FitError::TooFewRows {
                distinct,
                variables: variables_count,
            });
        }
        let interpolant = Interpolant::fit(&set, rows, variables, nugget, &mut Vec::new()).ok_or(
            FitError::Singular {
                variables: variables_count,
            },
        )?;
        Ok(Self {
            interpolant: Evaluator::new(scaling, set.points(), &[&interpolant]),
        })
    }
}

impl Predictor for Rbf {
    fn predict(&self, genotypes: &[Vec<u16>], threads: usize) -> Vec<f64> {
        let blocks = genotypes.len().div_ceil(LANES);
        let values = ordered_map(blocks, threads, Scratch::default, |scratch, block| {
            let first = block * LANES;
            let genotypes = &genotypes[first..genotypes.len().min(first + LANES)];
            self.interpolant.evaluate(genotypes, scratch)[0]
        });
        values.into_iter().flatten().take(genotypes.len()).collect()
    }
}

/// A negative nugget could make a regular system singular.
pub(crate) fn check_nugget(nugget: f64) -> Result<(), FitError> {
    if nugget.is_finite() && nugget >= 0.0 {
        return Ok(());
    }
    Err(FitError::Setting {
        name: "nugget",
        value: nugget,
        expected: "a finite number that is not negative",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// 40 rows over 6 genes in `0..=9`, pairwise different.
    fn rows() -> Vec<Vec<u16>> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut rows = BTreeSet::new();
        while rows.len() < 40 {
            rows.insert((0..6).map(|_| rng.random_range(0..10)).collect());
        }
        rows.into_iter().collect()
    }

    fn scaling() -> Scaling {
        Scaling::new(vec![0; 6], vec![10; 6])
    }

    fn worst(model: &Rbf, rows: &[Vec<u16>], labels: &[f64]) -> f64 {
        (model.predict(rows, 2).iter().zip(labels))
            .map(|(predicted, label)| (predicted - label).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn training_rows_are_interpolated() {
        let rows = rows();
        let labels: Vec<f64> = (0..40).map(|i| f64::from(i * i % 17)).collect();
        let model = Rbf::fit(&rows, &labels, &scaling(), 1e-6).unwrap();
        assert!(worst(&model, &rows, &labels) < 1e-3);
        let smooth = Rbf::fit(&rows, &labels, &scaling(), 1.0).unwrap();
        assert!(worst(&smooth, &rows, &labels) > 0.1);
    }

    #[test]
    fn over_one_gene_the_model_is_the_natural_cubic_spline() {
        let rows = [vec![0], vec![4], vec![8]];
        let scaling = Scaling::new(vec![0], vec![10]);
        let model = Rbf::fit(&rows, &[0.0, 1.0, 0.0], &scaling, 0.0).unwrap();
        // Through (0, 0), (1, 1), (2, 0) it is 1.5 t - 0.5 t^3 on [0, 1], symmetric about t = 1,
        // and goes on as a line with slope -1.5.
        for (gene, expected) in [(2, 0.6875), (6, 0.6875), (9, -0.375)] {
            let predicted = model.predict(&[vec![gene]], 1)[0];
            assert!((predicted - expected).abs() < 1e-10, "{gene}: {predicted}");
        }
    }

    #[test]
    fn the_tail_reproduces_a_linear_function_everywhere() {
        let linear = |row: &[u16]| {
            let slopes = [1.0, -2.0, 0.5, 3.0, 0.0, -0.25];
            7.0 + (row.iter().zip(slopes))
                .map(|(&x, slope)| slope * f64::from(x))
                .sum::<f64>()
        };
        let rows = rows();
        let labels: Vec<f64> = rows.iter().map(|row| linear(row)).collect();
        let model = Rbf::fit(&rows, &labels, &scaling(), 1e-6).unwrap();
        let corners: Vec<Vec<u16>> = (0..64)
            .map(|bits| (0..6).map(|g| 9 * (bits >> g & 1)).collect())
            .collect();
        let expected: Vec<f64> = corners.iter().map(|row| linear(row)).collect();
        assert!(worst(&model, &corners, &expected) < 1e-9);
    }

    #[test]
    fn constant_genes_and_repeated_rows_do_no_harm() {
        let mut rows = rows();
        for row in &mut rows {
            row[2] = 4;
        }
        let mut labels: Vec<f64> = (0..40).map(|i| f64::from(i % 9)).collect();
        let model = Rbf::fit(&rows, &labels, &scaling(), 1e-6).unwrap();
        let expected = model.predict(&rows, 1);
        rows.push(rows[5].clone());
        labels.push(1000.0);
        let again = Rbf::fit(&rows, &labels, &scaling(), 1e-6).unwrap();
        assert_eq!(again.predict(&rows[..40], 1), expected);
    }

    #[test]
    fn impossible_systems_are_refused() {
        let rows = rows();
        let labels = vec![1.0; 40];
        let fit = |rows: &[Vec<u16>], nugget| {
            Rbf::fit(rows, &labels[..rows.len()], &scaling(), nugget).unwrap_err()
        };
        let few = FitError::TooFewRows {
            distinct: 5,
            variables: 6,
        };
        assert_eq!(fit(&rows[1..6], 1e-6), few);
        let copied: Vec<Vec<u16>> = (rows.iter())
            .map(|row| vec![row[0], row[1], row[2], row[3], row[0], row[1]])
            .collect();
        assert_eq!(fit(&copied, 1e-6), FitError::Singular { variables: 6 });
        assert!(matches!(
            fit(&rows, f64::NAN),
            FitError::Setting { name: "nugget", .. }
        ));
    }
}
