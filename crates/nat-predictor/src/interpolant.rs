//! One cubic RBF interpolant with a linear tail over a subset of the genes.

use pulp::{Arch, Simd, WithSimd};

use crate::Scaling;
use crate::elimination;

/// A pivot below this share of the largest one means that the system has no unique solution. An
/// exactly dependent tail leaves pivots of about 1e-16, a well-posed system of genes that are a
/// step of 1/17 apart stays above 1e-8.
const SINGULAR_PIVOT: f64 = 1e-12;

/// The training set as all interpolants see it.
pub struct TrainingSet<'a> {
    genotypes: &'a [Vec<u16>],
    labels: &'a [f64],
    points: Vec<Vec<f64>>,
}

impl<'a> TrainingSet<'a> {
    /// Scales the genotypes, which have passed [`Scaling::check`].
    pub fn new(genotypes: &'a [Vec<u16>], labels: &'a [f64], scaling: &Scaling) -> Self {
        Self {
            genotypes,
            labels,
            points: genotypes.iter().map(|row| scaling.point(row)).collect(),
        }
    }

    /// The rows as they came.
    pub fn genotypes(&self) -> &'a [Vec<u16>] {
        self.genotypes
    }

    /// The rows in the unit box.
    pub fn points(&self) -> &[Vec<f64>] {
        &self.points
    }

    /// Of the rows met in `order`, the first of each kind over the genes `variables`, ascending.
    pub fn distinct_rows(&self, order: &[usize], variables: &[usize]) -> Vec<usize> {
        let kind = |row: usize| {
            let genes = &self.genotypes[row];
            variables.iter().map(move |&gene| genes[gene])
        };
        let mut rows = order.to_vec();
        // The sort is stable, so that of a kind the first one met comes first.
        rows.sort_by(|&a, &b| kind(a).cmp(kind(b)));
        rows.dedup_by(|later, first| kind(*later).eq(kind(*first)));
        rows.sort_unstable();
        rows
    }
}

/// `s(x) = intercept + slope . x + sum_j weight_j |x - x_j|^3` over the chosen genes.
#[derive(Debug, Clone)]
pub struct Interpolant {
    /// The genes looked at, ascending.
    pub variables: Vec<usize>,
    /// The training rows that are centres.
    pub rows: Vec<usize>,
    /// Value of the linear tail at the origin of the unit box.
    pub intercept: f64,
    /// Per variable.
    pub slope: Vec<f64>,
    /// Per centre.
    pub weights: Vec<f64>,
}

impl Interpolant {
    /// Interpolates the labels of `rows`, which differ pairwise over `variables`, or `None` if the
    /// system is singular.
    ///
    /// With `Phi` the cubes of the distances between rows, `P` the rows of `(1, x)` and `f` the
    /// labels, solves
    ///
    /// ```text
    /// [ Phi + nugget I   P ] [ weights ]   [ f ]
    /// [ P^T              0 ] [ tail    ] = [ 0 ]
    /// ```
    ///
    /// by LU with partial pivoting (dme65/pySOT `RBFInterpolant`, which orders the blocks the other
    /// way round). `system` is scratch memory.
    pub fn fit(
        set: &TrainingSet,
        rows: Vec<usize>,
        variables: Vec<usize>,
        nugget: f64,
        system: &mut Vec<f64>,
    ) -> Option<Self> {
        let (n, k) = (rows.len(), variables.len());
        let size = n + k + 1;
        let stride = elimination::stride(size);
        let mut coordinates = Vec::with_capacity(k * n);
        for &gene in &variables {
            coordinates.extend(rows.iter().map(|&row| set.points[row][gene]));
        }
        system.clear();
        system.resize(size * stride, 0.0);
        Arch::new().dispatch(UpperCubes {
            matrix: system,
            stride,
            coordinates: &coordinates,
            n,
        });
        for i in 0..n {
            for j in 0..i {
                system[i * stride + j] = system[j * stride + i];
            }
            system[i * stride + i] += nugget;
            system[i * stride + n] = 1.0;
            system[n * stride + i] = 1.0;
            system[i * stride + size] = set.labels[rows[i]];
        }
        for (j, coordinates) in coordinates.chunks_exact(n).enumerate() {
            for (i, &x) in coordinates.iter().enumerate() {
                system[i * stride + n + 1 + j] = x;
                system[(n + 1 + j) * stride + i] = x;
            }
        }
        let mut weights = elimination::solve(system, size, SINGULAR_PIVOT)?;
        let slope = weights.split_off(n + 1);
        let intercept = weights.pop()?;
        Some(Self {
            variables,
            rows,
            intercept,
            slope,
            weights,
        })
    }
}

/// Writes `r^3` of the distance `r` between points `i <= j` to element `(i, j)`.
struct UpperCubes<'a> {
    /// Zeros; a row has `stride` elements.
    matrix: &'a mut [f64],
    stride: usize,
    /// Of all `n` points, variable by variable.
    coordinates: &'a [f64],
    n: usize,
}

impl WithSimd for UpperCubes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.matrix.chunks_exact_mut(self.stride);
        for (i, row) in rows.take(self.n).enumerate() {
            let row = &mut row[i..self.n];
            for xs in self.coordinates.chunks_exact(self.n) {
                let x = xs[i];
                for (square, other) in row.iter_mut().zip(&xs[i..]) {
                    *square += (other - x) * (other - x);
                }
            }
            for square in row {
                *square *= square.sqrt();
            }
        }
    }
}
