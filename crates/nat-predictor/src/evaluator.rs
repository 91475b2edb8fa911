//! Many interpolants over the same centres, evaluated at several points at once.

use pulp::{Arch, Simd, WithSimd};

use crate::Scaling;
use crate::interpolant::Interpolant;

/// Points evaluated at once: with AVX2 they fill one vector.
pub const LANES: usize = 4;

/// One value for each of [`LANES`] points.
pub type Lanes = [f64; LANES];

/// Centres handled at once: what an interpolant looks up for one, it has for the next.
const CENTRES: usize = 2;

/// One value for each centre handled at once and each point.
type Pairs = [[f64; LANES]; CENTRES];

/// Genes whose squared differences are summed ahead, in every combination. An interpolant then adds
/// one term for five genes, and the table of 22 genes (8 kB) leaves room in the first-level cache.
const BLOCK: usize = 5;

/// The sums of one block: bit `g` of an entry's number says whether gene `g` of the block is in it.
type Combinations = [Pairs; 1 << BLOCK];

/// Blocks that are looked up together, so that a space of up to 25 genes needs no loop over them.
const GROUP: usize = 5;

/// Interpolants over shared centres, laid out to be evaluated together.
///
/// What costs is the radial function `r^3`: one square root for every interpolant, centre and point.
/// The squared distances below the root are over another subset of the genes in every interpolant,
/// but come from one table for all of them.
#[derive(Debug, Clone)]
pub struct Evaluator {
    scaling: Scaling,
    interpolants: usize,
    /// `[pair of centres][gene]`, in the unit box. A missing centre is at the origin.
    centres: Vec<[f64; CENTRES]>,
    /// `[pair of centres][interpolant]`; zero where the centre takes no part.
    weights: Vec<[f64; CENTRES]>,
    /// `[interpolant][group of blocks]`: the combination of each block that is part of the squared
    /// distance.
    terms: Vec<[u8; GROUP]>,
    /// `[interpolant]`.
    intercepts: Vec<f64>,
    /// `[interpolant][gene]`; zero for a gene that takes no part.
    slopes: Vec<f64>,
}

/// What [`Evaluator::evaluate`] writes to on its way.
#[derive(Default)]
pub struct Scratch {
    /// `[gene]`.
    points: Vec<Lanes>,
    /// `[group of blocks]`.
    table: Vec<[Combinations; GROUP]>,
    /// `[interpolant]`.
    values: Vec<Lanes>,
}

impl Evaluator {
    /// Evaluates `interpolants`, whose centres are among the rows of `centres`.
    pub fn new(scaling: &Scaling, centres: &[Vec<f64>], interpolants: &[&Interpolant]) -> Self {
        let (genes, count) = (scaling.genes(), interpolants.len());
        let groups = genes.div_ceil(GROUP * BLOCK);
        let pairs = centres.len().div_ceil(CENTRES);
        let mut evaluator = Self {
            scaling: scaling.clone(),
            interpolants: count,
            centres: vec![[0.0; CENTRES]; pairs * genes],
            weights: vec![[0.0; CENTRES]; pairs * count],
            terms: Vec::with_capacity(count * groups),
            intercepts: interpolants.iter().map(|i| i.intercept).collect(),
            slopes: vec![0.0; count * genes],
        };
        for (row, centre) in centres.iter().enumerate() {
            for (gene, &x) in centre.iter().enumerate() {
                evaluator.centres[row / CENTRES * genes + gene][row % CENTRES] = x;
            }
        }
        for (i, interpolant) in interpolants.iter().enumerate() {
            for (&row, &weight) in interpolant.rows.iter().zip(&interpolant.weights) {
                evaluator.weights[row / CENTRES * count + i][row % CENTRES] = weight;
            }
            for (&gene, &slope) in interpolant.variables.iter().zip(&interpolant.slope) {
                evaluator.slopes[i * genes + gene] = slope;
            }
            let first = evaluator.terms.len();
            evaluator.terms.resize(first + groups, [0; GROUP]);
            for gene in &interpolant.variables {
                let (group, block) = (gene / (GROUP * BLOCK), gene / BLOCK % GROUP);
                evaluator.terms[first + group][block] |= 1 << (gene % BLOCK);
            }
        }
        evaluator
    }

    /// Interpolants evaluated.
    #[cfg(test)]
    pub fn interpolants(&self) -> usize {
        self.interpolants
    }

    /// The value of every interpolant at up to [`LANES`] genotypes; lanes without one are undefined.
    ///
    /// # Panics
    /// If there are more genotypes than lanes, or one has another number of genes.
    pub fn evaluate<'a>(&self, genotypes: &[Vec<u16>], scratch: &'a mut Scratch) -> &'a [Lanes] {
        assert!(
            genotypes.len() <= LANES,
            "{} genotypes for {LANES} lanes",
            genotypes.len()
        );
        scratch.points.resize(self.scaling.genes(), [0.0; LANES]);
        for (lane, genotype) in genotypes.iter().enumerate() {
            self.scaling.check_length(genotype);
            for (gene, (&x, point)) in genotype.iter().zip(&mut scratch.points).enumerate() {
                point[lane] = self.scaling.unit(gene, x);
            }
        }
        Arch::new().dispatch(Evaluate(self, scratch));
        &scratch.values
    }
}

/// [`Evaluator::evaluate`] on the points that the scratch memory holds. Points are side by side in a
/// vector and never mix, so its width does not show in the values.
struct Evaluate<'a>(&'a Evaluator, &'a mut Scratch);

impl WithSimd for Evaluate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(evaluator, scratch) = self;
        let Scratch {
            points,
            table,
            values,
        } = scratch;
        let genes = points.len();
        let groups = genes.div_ceil(GROUP * BLOCK);
        table.resize(groups, [[[[0.0; LANES]; CENTRES]; 1 << BLOCK]; GROUP]);
        values.resize(evaluator.interpolants, [0.0; LANES]);
        let tails = evaluator
            .intercepts
            .iter()
            .zip(evaluator.slopes.chunks_exact(genes));
        for (value, (&intercept, slopes)) in values.iter_mut().zip(tails) {
            let mut tail = [intercept; LANES];
            for (&slope, &point) in slopes.iter().zip(&*points) {
                for lane in 0..LANES {
                    tail[lane] += slope * point[lane];
                }
            }
            *value = tail;
        }
        let weights = evaluator.weights.chunks_exact(evaluator.interpolants);
        for (centres, weights) in evaluator.centres.chunks_exact(genes).zip(weights) {
            tabulate(table, points, centres);
            let terms = evaluator.terms.chunks_exact(groups);
            for ((value, terms), &weights) in values.iter_mut().zip(terms).zip(weights) {
                let mut squares = [[0.0; LANES]; CENTRES];
                for (blocks, terms) in table.iter().zip(terms) {
                    for (combinations, &term) in blocks.iter().zip(terms) {
                        // The remainder is the term itself, and tells that it is within bounds.
                        let term = combinations[usize::from(term) % (1 << BLOCK)];
                        squares = sum(squares, term);
                    }
                }
                let mut sum = *value;
                for (weight, squares) in weights.into_iter().zip(squares) {
                    for lane in 0..LANES {
                        sum[lane] += weight * (squares[lane] * squares[lane].sqrt());
                    }
                }
                *value = sum;
            }
        }
    }
}

/// The squared differences between the points and the centres, summed over every combination of the
/// genes of a block. The empty combination is, and stays, zero.
#[inline(always)]
fn tabulate(table: &mut [[Combinations; GROUP]], points: &[Lanes], centres: &[[f64; CENTRES]]) {
    let blocks = points.chunks(BLOCK).zip(centres.chunks(BLOCK));
    for (combinations, (points, centres)) in table.as_flattened_mut().iter_mut().zip(blocks) {
        for (gene, (&point, &centres)) in points.iter().zip(centres).enumerate() {
            let mut squares = [[0.0; LANES]; CENTRES];
            for (squares, c) in squares.iter_mut().zip(centres) {
                for lane in 0..LANES {
                    squares[lane] = (point[lane] - c) * (point[lane] - c);
                }
            }
            let (without, with) = combinations.split_at_mut(1 << gene);
            for (without, with) in without.iter().zip(with) {
                *with = sum(*without, squares);
            }
        }
    }
}

#[inline(always)]
fn sum(mut a: Pairs, b: Pairs) -> Pairs {
    for (a, b) in a.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
        *a += b;
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values by the definition, over every subset of up to 13 genes, so that blocks are full, empty
    /// and partly filled, and for one to four points.
    #[test]
    fn values_are_those_of_the_formula_over_any_genes() {
        for genes in [1, 2, 5, 6, 7, 12, 13] {
            let scaling = Scaling::new(vec![0; genes], vec![11; genes]);
            let value = |row: usize, gene: usize| ((row * 7 + gene * 3) % 11) as u16;
            let centres: Vec<Vec<f64>> = (0..9)
                .map(|row| (0..genes).map(|g| scaling.unit(g, value(row, g))).collect())
                .collect();
            let interpolants: Vec<Interpolant> = (1..1_usize << genes)
                .step_by(1 + genes / 12 * 37)
                .map(|chosen| {
                    let variables: Vec<usize> =
                        (0..genes).filter(|gene| chosen >> gene & 1 == 1).collect();
                    let rows: Vec<usize> = (0..9).filter(|row| (chosen + row) % 4 != 0).collect();
                    Interpolant {
                        intercept: chosen as f64 / 100.0,
                        slope: variables.iter().map(|&gene| gene as f64 - 1.5).collect(),
                        weights: rows.iter().map(|&row| 1.0 - row as f64 / 3.0).collect(),
                        variables,
                        rows,
                    }
                })
                .collect();
            let all: Vec<&Interpolant> = interpolants.iter().collect();
            let evaluator = Evaluator::new(&scaling, &centres, &all);
            let mut scratch = Scratch::default();
            for count in 1..=LANES {
                let queries: Vec<Vec<u16>> = (0..count)
                    .map(|query| (0..genes).map(|g| value(g + query, 5)).collect())
                    .collect();
                let values = evaluator.evaluate(&queries, &mut scratch);
                for (lane, query) in queries.iter().enumerate() {
                    let point = scaling.point(query);
                    for (value, interpolant) in values.iter().zip(&interpolants) {
                        let expected = expected(interpolant, &centres, &point);
                        let error = (value[lane] - expected).abs();
                        assert!(error < 1e-12, "{expected} over {:?}", interpolant.variables);
                    }
                }
            }
        }
    }

    fn expected(interpolant: &Interpolant, centres: &[Vec<f64>], point: &[f64]) -> f64 {
        let tail = interpolant.variables.iter().zip(&interpolant.slope);
        let radial = interpolant
            .rows
            .iter()
            .zip(&interpolant.weights)
            .map(|(&row, weight)| {
                let square: f64 = (interpolant.variables.iter())
                    .map(|&gene| (point[gene] - centres[row][gene]).powi(2))
                    .sum();
                weight * square.powf(1.5)
            });
        interpolant.intercept
            + tail.map(|(&gene, s)| s * point[gene]).sum::<f64>()
            + radial.sum::<f64>()
    }
}
