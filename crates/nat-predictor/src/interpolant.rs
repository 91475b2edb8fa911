//! One cubic RBF interpolant with a linear tail over a subset of the genes.

use std::collections::BTreeSet;

use nalgebra::{DMatrix, DVector};

use crate::Scaling;
use crate::centres::{Centres, LANES, Lanes};

/// A pivot below this share of the largest one means that the system has no unique solution. An
/// exactly dependent tail leaves pivots of about 1e-16, a well-posed system of genes that are a
/// step of 1/17 apart stays above 1e-8.
const SINGULAR_PIVOT: f64 = 1e-12;

/// The training set as all interpolants see it.
pub struct TrainingSet<'a> {
    genotypes: &'a [Vec<u16>],
    labels: &'a [f64],
    points: Vec<Vec<f64>>,
    centres: Centres,
    /// Per row, the table of its distances to all rows.
    tables: Vec<Vec<Lanes>>,
}

impl<'a> TrainingSet<'a> {
    /// Scales the genotypes, which have passed [`Scaling::check`], and tabulates their distances.
    pub fn new(genotypes: &'a [Vec<u16>], labels: &'a [f64], scaling: &Scaling) -> Self {
        let points: Vec<Vec<f64>> = genotypes.iter().map(|row| scaling.point(row)).collect();
        let centres = Centres::new(scaling.genes(), &points);
        let tables = (points.iter())
            .map(|point| {
                let mut table = Vec::new();
                centres.tabulate(point, &mut table);
                table
            })
            .collect();
        Self {
            genotypes,
            labels,
            points,
            centres,
            tables,
        }
    }

    /// The rows as centres of radial functions.
    pub fn centres(&self) -> &Centres {
        &self.centres
    }

    /// Of the rows met in `order`, the first of each kind over the genes `variables`, ascending.
    pub fn distinct_rows(&self, order: &[usize], variables: &[usize]) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let mut rows: Vec<usize> = (order.iter().copied())
            .filter(|&row| {
                let genes = &self.genotypes[row];
                seen.insert(
                    variables
                        .iter()
                        .map(|&gene| genes[gene])
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        rows.sort_unstable();
        rows
    }
}

/// `s(x) = intercept + slope . x + sum_j weight_j |x - x_j|^3` over the chosen genes.
#[derive(Debug, Clone)]
pub struct Interpolant {
    variables: Vec<usize>,
    /// What the distance over the variables is made of, see [`Centres::terms`].
    terms: Vec<usize>,
    intercept: f64,
    /// Per variable.
    slope: Vec<f64>,
    /// Per group of centres; zero for rows that take no part.
    weights: Vec<Lanes>,
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
    /// way round).
    pub fn fit(
        set: &TrainingSet,
        rows: &[usize],
        variables: Vec<usize>,
        nugget: f64,
    ) -> Option<Self> {
        let (n, k) = (rows.len(), variables.len());
        let mut system = DMatrix::zeros(n + k + 1, n + k + 1);
        let terms = set.centres.terms(&variables);
        let mut cubes = Vec::with_capacity(set.points.len() + LANES);
        for (i, &row) in rows.iter().enumerate() {
            cubes.clear();
            cubes.extend(set.centres.cubes(&set.tables[row], &terms).flatten());
            for (j, &other) in rows.iter().enumerate() {
                system[(j, i)] = cubes[other];
            }
            system[(i, i)] += nugget;
            system[(n, i)] = 1.0;
            system[(i, n)] = 1.0;
            for (j, &gene) in variables.iter().enumerate() {
                let x = set.points[row][gene];
                system[(n + 1 + j, i)] = x;
                system[(i, n + 1 + j)] = x;
            }
        }
        let mut solution = DVector::zeros(n + k + 1);
        for (i, &row) in rows.iter().enumerate() {
            solution[i] = set.labels[row];
        }
        let lu = system.lu();
        let pivots = lu.lu_internal().diagonal().abs();
        // Written so that a NaN among the pivots counts as singular.
        let regular = pivots.min() > SINGULAR_PIVOT * pivots.max();
        if !regular || !lu.solve_mut(&mut solution) || solution.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let mut weights = vec![0.0; set.points.len()];
        for (i, &row) in rows.iter().enumerate() {
            weights[row] = solution[i];
        }
        Some(Self {
            intercept: solution[n],
            slope: solution.as_slice()[n + 1..].to_vec(),
            weights: set.centres.group(&weights),
            variables,
            terms,
        })
    }

    /// The value at a point, given the table of its distances to the centres.
    pub fn value(&self, centres: &Centres, point: &[f64], table: &[Lanes]) -> f64 {
        let mut sums = [0.0; LANES];
        let cubes = centres.cubes(table, &self.terms);
        for (cubes, weights) in cubes.zip(&self.weights) {
            for lane in 0..LANES {
                sums[lane] += cubes[lane] * weights[lane];
            }
        }
        let tail: f64 = (self.variables.iter().zip(&self.slope))
            .map(|(&gene, slope)| slope * point[gene])
            .sum();
        self.intercept + tail + sums.iter().sum::<f64>()
    }

    /// The genes looked at, ascending.
    #[cfg(test)]
    pub fn variables(&self) -> &[usize] {
        &self.variables
    }

    /// Makes every value NaN.
    #[cfg(test)]
    pub fn fail(&mut self) {
        self.intercept = f64::NAN;
    }
}
