//! Kriging with a Matérn kernel.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::parallel::ordered_map;
use crate::scaling::varying_genes;
use crate::{FitError, Predictor, Scaling};

/// Length scales and noise ratios are searched on a grid of powers of two: the first step of the
/// search moves by this many octaves, each following one by half, the last by one.
const FIRST_STEP: i32 = 4;
/// Length scales, in units of the unit box, lie between 2^-4 and 2^8; at the latter a gene no longer
/// matters.
const LENGTH_OCTAVES: (i32, i32) = (-4, 8);
/// Ratios of noise to signal variance lie between 2^-20, about the 1e-6 of the RBF models, and 1.
const NOISE_OCTAVES: (i32, i32) = (-20, 0);

/// A Gaussian process with a constant mean, a Matérn 5/2 kernel with a length scale for each gene,
/// and independent noise ("nugget").
///
/// Mean and variance are those of greatest likelihood in closed form; length scales and noise ratio
/// come from a coordinate search on the likelihood that is left (Rasmussen and Williams, "Gaussian
/// Processes for Machine Learning", 2006, sections 2.7, 4.2 and 5.4).
#[derive(Debug, Clone)]
pub struct GaussianProcess {
    scaling: Scaling,
    genes: Vec<usize>,
    /// The training rows in the kernel's units.
    points: Vec<Vec<f64>>,
    kernel: Kernel,
    posterior: Posterior,
}

/// Hyper-parameters as powers of two.
#[derive(Debug, Clone)]
struct Kernel {
    /// Per gene that varies.
    lengths: Vec<i32>,
    noise: i32,
}

/// What the training rows say under a kernel.
#[derive(Debug, Clone)]
struct Posterior {
    /// Of the correlations between the rows, with noise.
    cholesky: Cholesky<f64, Dyn>,
    mean: f64,
    /// Of the process, without the noise.
    variance: f64,
    /// `K^-1 (y - mean)`.
    weights: DVector<f64>,
    /// `K^-1 1`.
    ones: DVector<f64>,
    /// Up to a constant.
    log_likelihood: f64,
}

impl GaussianProcess {
    /// Fits mean, variance, length scales and noise to the labels. Genes that are constant over the
    /// rows are left out; equal rows with different labels are noise.
    ///
    /// # Errors
    /// If a row or a label is invalid, or if all rows are equal.
    pub fn fit(
        genotypes: &[Vec<u16>],
        labels: &[f64],
        scaling: &Scaling,
    ) -> Result<Self, FitError> {
        scaling.check(genotypes, labels)?;
        let genes = varying_genes(genotypes);
        if genes.is_empty() {
            return Err(FitError::NothingVaries {
                rows: genotypes.len(),
            });
        }
        let points: Vec<Vec<f64>> = (genotypes.iter())
            .map(|row| chosen(scaling, &genes, row))
            .collect();
        let labels = DVector::from_column_slice(labels);
        let singular = FitError::Singular {
            variables: genes.len(),
        };
        let (kernel, posterior) = search(&points, &labels).ok_or(singular)?;
        Ok(Self {
            scaling: scaling.clone(),
            genes,
            points: kernel.scaled(&points),
            kernel,
            posterior,
        })
    }

    /// Like [`Predictor::predict`], with the standard deviation of the noise-free value beside each
    /// prediction, in the unit of the labels.
    pub fn predict_with_deviation(
        &self,
        genotypes: &[Vec<u16>],
        threads: usize,
    ) -> Vec<(f64, f64)> {
        let posterior = &self.posterior;
        let ones_sum = posterior.ones.sum();
        let lower = posterior.cholesky.l_dirty();
        ordered_map(
            genotypes.len(),
            threads,
            || (),
            |(), i| {
                let k = self.correlations(&genotypes[i]);
                let value = posterior.mean + k.dot(&posterior.weights);
                // The second term is what the estimate of the mean adds.
                let missing = 1.0 - k.dot(&posterior.ones);
                let half = lower.solve_lower_triangular(&k);
                let known = half.map_or(0.0, |half| half.norm_squared());
                let share = 1.0 - known + missing * missing / ones_sum;
                (value, (posterior.variance * share.max(0.0)).sqrt())
            },
        )
    }

    fn correlations(&self, genotype: &[u16]) -> DVector<f64> {
        self.scaling.check_length(genotype);
        let point = chosen(&self.scaling, &self.genes, genotype);
        let point = &self.kernel.scaled(&[point])[0];
        let of_row = |row: &Vec<f64>| correlation(row, point);
        DVector::from_iterator(self.points.len(), self.points.iter().map(of_row))
    }
}

impl Predictor for GaussianProcess {
    fn predict(&self, genotypes: &[Vec<u16>], threads: usize) -> Vec<f64> {
        ordered_map(
            genotypes.len(),
            threads,
            || (),
            |(), i| {
                self.posterior.mean
                    + self
                        .correlations(&genotypes[i])
                        .dot(&self.posterior.weights)
            },
        )
    }

    fn deviations(&self, genotypes: &[Vec<u16>], threads: usize) -> Option<Vec<f64>> {
        let predicted = self.predict_with_deviation(genotypes, threads);
        Some(
            predicted
                .into_iter()
                .map(|(_, deviation)| deviation)
                .collect(),
        )
    }
}

/// The genes looked at, in the unit box.
fn chosen(scaling: &Scaling, genes: &[usize], genotype: &[u16]) -> Vec<f64> {
    (genes.iter())
        .map(|&gene| scaling.unit(gene, genotype[gene]))
        .collect()
}

/// Matérn 5/2 of two scaled points: `(1 + s + s^2 / 3) exp(-s)` with `s` their distance times the root of 5.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let s = (5.0 * square).sqrt();
    (1.0 + s + s * s / 3.0) * (-s).exp()
}

impl Kernel {
    /// The points in units of the length scales, which rounds nothing: these are powers of two.
    fn scaled(&self, points: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let scales: Vec<f64> = (self.lengths.iter())
            .map(|&length| f64::from(-length).exp2())
            .collect();
        let scaled = |point: &Vec<f64>| {
            point
                .iter()
                .zip(&scales)
                .map(|(x, scale)| x * scale)
                .collect()
        };
        points.iter().map(scaled).collect()
    }

    /// The posterior under these hyper-parameters, or `None` where rounding makes the correlations
    /// indefinite.
    fn posterior(&self, points: &[Vec<f64>], labels: &DVector<f64>) -> Option<Posterior> {
        let n = points.len();
        let points = self.scaled(points);
        let mut correlations = DMatrix::zeros(n, n);
        for i in 0..n {
            for j in 0..i {
                correlations[(i, j)] = correlation(&points[i], &points[j]);
            }
            correlations[(i, i)] = 1.0 + f64::from(self.noise).exp2();
        }
        // Only the lower triangle is read.
        let cholesky = Cholesky::new(correlations)?;
        let ones = cholesky.solve(&DVector::from_element(n, 1.0));
        let mean = ones.dot(labels) / ones.sum();
        let residual = labels.add_scalar(-mean);
        let weights = cholesky.solve(&residual);
        let variance = residual.dot(&weights) / n as f64;
        let half_log_determinant: f64 = cholesky.l_dirty().diagonal().map(f64::ln).sum();
        // Labels that are all the same have no variance, and any kernel explains them.
        let log_variance = variance.max(f64::MIN_POSITIVE).ln();
        Some(Posterior {
            mean,
            variance,
            weights,
            ones,
            log_likelihood: -0.5 * n as f64 * log_variance - half_log_determinant,
            cholesky,
        })
    }
}

/// The best common length scale and noise ratio of a coarse grid, then one hyper-parameter after the
/// other, in steps that become smaller once none of them improves.
fn search(points: &[Vec<f64>], labels: &DVector<f64>) -> Option<(Kernel, Posterior)> {
    let mut best: Option<(Kernel, Posterior)> = None;
    let improve = |kernel: Kernel, best: &mut Option<(Kernel, Posterior)>| {
        let Some(posterior) = kernel.posterior(points, labels) else {
            return false;
        };
        let better = (best.as_ref())
            .is_none_or(|(_, best)| posterior.log_likelihood > best.log_likelihood + 1e-9);
        if better {
            *best = Some((kernel, posterior));
        }
        better
    };
    for length in (LENGTH_OCTAVES.0..=LENGTH_OCTAVES.1).step_by(2) {
        for noise in (NOISE_OCTAVES.0..=NOISE_OCTAVES.1).step_by(4) {
            let lengths = vec![length; points[0].len()];
            improve(Kernel { lengths, noise }, &mut best);
        }
    }
    let mut step = FIRST_STEP;
    while step > 0 {
        let mut improved = false;
        for parameter in 0..=points[0].len() {
            for move_by in [step, -step] {
                let mut kernel = best.as_ref()?.0.clone();
                let (value, (low, high)) = match kernel.lengths.get_mut(parameter) {
                    Some(length) => (length, LENGTH_OCTAVES),
                    None => (&mut kernel.noise, NOISE_OCTAVES),
                };
                let moved = (*value + move_by).clamp(low, high);
                if moved != std::mem::replace(value, moved) {
                    improved |= improve(kernel, &mut best);
                }
            }
        }
        if !improved {
            step /= 2;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::metrics::rmse;

    fn rows(count: usize, seed: u64) -> Vec<Vec<u16>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| (0..4).map(|_| rng.random_range(0..20)).collect())
            .collect()
    }

    fn scaling() -> Scaling {
        Scaling::new(vec![0; 4], vec![20; 4])
    }

    /// Smooth in the first gene and in the product of the next two; the last does not matter.
    fn smooth(row: &[u16]) -> f64 {
        let x = scaling().point(row);
        30.0 + 5.0 * (3.0 * x[0]).sin() + 4.0 * x[1] * x[2]
    }

    #[test]
    fn a_smooth_function_is_learnt_and_the_gene_without_effect_is_found() {
        let (rows, fresh) = (rows(80, 1), rows(200, 2));
        let labels: Vec<f64> = rows.iter().map(|row| smooth(row)).collect();
        let truth: Vec<f64> = fresh.iter().map(|row| smooth(row)).collect();
        let model = GaussianProcess::fit(&rows, &labels, &scaling()).unwrap();
        let error = rmse(&model.predict(&fresh, 2), &truth).unwrap();
        assert!(error < 0.1, "{error}");
        let lengths = &model.kernel.lengths;
        assert!(lengths[..3].iter().all(|&l| l < lengths[3]), "{lengths:?}");
        assert!(model.kernel.noise < -10);
    }

    #[test]
    fn deviations_cover_the_errors_and_vanish_at_the_rows() {
        let (rows, fresh) = (rows(40, 3), rows(300, 4));
        let labels: Vec<f64> = rows.iter().map(|row| smooth(row)).collect();
        let model = GaussianProcess::fit(&rows, &labels, &scaling()).unwrap();
        let within = (model.predict_with_deviation(&fresh, 1).iter().zip(&fresh))
            .filter(|((value, deviation), row)| (value - smooth(row)).abs() <= 2.0 * deviation)
            .count();
        assert!(within > 240, "{within} of 300 within two deviations");
        let largest = |rows: &[Vec<u16>]| {
            let deviations = model.deviations(rows, 1).unwrap();
            deviations.into_iter().fold(0.0, f64::max)
        };
        assert!(largest(&rows) < 0.1 * largest(&fresh));
    }

    #[test]
    fn noise_is_told_from_signal() {
        let rows = rows(150, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let labels: Vec<f64> = (rows.iter())
            .map(|row| smooth(row) + rng.random_range(-1.0..1.0))
            .collect();
        let model = GaussianProcess::fit(&rows, &labels, &scaling()).unwrap();
        let noise = model.posterior.variance * f64::from(model.kernel.noise).exp2();
        // Uniform noise in -1..1 has variance 1/3; the grid's next ratios are half and double.
        assert!((0.12..0.8).contains(&noise), "{noise}");
        let truth: Vec<f64> = rows.iter().map(|row| smooth(row)).collect();
        let predicted = model.predict(&rows, 1);
        assert!(rmse(&predicted, &truth).unwrap() < 0.6 * rmse(&labels, &truth).unwrap());
    }

    #[test]
    fn with_two_rows_the_posterior_is_that_of_paper_and_pencil() {
        let kernel = Kernel {
            lengths: vec![0],
            noise: -1,
        };
        let points = [vec![0.0], vec![1.0]];
        let posterior = (kernel.posterior(&points, &DVector::from_vec(vec![1.0, 3.0]))).unwrap();
        let s = 5.0_f64.sqrt();
        let c = (1.0 + s + 5.0 / 3.0) * (-s).exp();
        // By symmetry the mean is 2, and (-1, 1) is the eigenvector of 1.5 - c.
        assert!((posterior.mean - 2.0).abs() < 1e-12);
        assert!((posterior.weights[1] - 1.0 / (1.5 - c)).abs() < 1e-12);
        assert!((posterior.variance - 1.0 / (1.5 - c)).abs() < 1e-12);
        let log_determinant = (1.5_f64 * 1.5 - c * c).ln();
        let expected = -posterior.variance.ln() - 0.5 * log_determinant;
        assert!((posterior.log_likelihood - expected).abs() < 1e-12);
    }

    #[test]
    fn repeated_rows_and_equal_labels_do_no_harm() {
        let mut rows = rows(20, 7);
        rows.extend(rows.clone());
        let labels: Vec<f64> = (0..40).map(|i| if i < 20 { 1.0 } else { 3.0 }).collect();
        let model = GaussianProcess::fit(&rows, &labels, &scaling()).unwrap();
        assert!(
            model
                .predict(&rows, 1)
                .iter()
                .all(|p| (p - 2.0).abs() < 0.1)
        );
        let model = GaussianProcess::fit(&rows, &[5.0; 40], &scaling()).unwrap();
        assert!(
            model
                .predict(&rows, 2)
                .iter()
                .all(|p| (p - 5.0).abs() < 1e-9)
        );
        assert_eq!(
            GaussianProcess::fit(&rows[..1], &[1.0], &scaling()).unwrap_err(),
            FitError::NothingVaries { rows: 1 }
        );
    }
}
