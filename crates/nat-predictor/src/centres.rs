//! Training rows in the unit box, laid out for distances to all of them at once.

/// Rows that one step of the distance loop handles; the compiler keeps a whole step in registers.
pub const LANES: usize = 8;

/// One value per training row of a group of [`LANES`] rows.
pub type Lanes = [f64; LANES];

/// Genes whose squared differences are summed ahead, in every combination. With three, a model on a
/// random half of 22 genes adds 6 terms instead of 11; a fourth gains nothing, as the table outgrows
/// the first-level cache.
const BLOCK: usize = 3;

/// Combinations of a full block, without the empty one.
const COMBINATIONS: usize = (1 << BLOCK) - 1;

/// The centres of the radial functions.
///
/// Rows are held in groups of [`LANES`]; a group has one [`Lanes`] per gene, and groups follow each
/// other. The last group is filled up with rows of zeros, which have no weight in any model.
#[derive(Debug, Clone)]
pub struct Centres {
    genes: usize,
    rows: usize,
    values: Vec<Lanes>,
}

impl Centres {
    /// Centres at the given points, each of `genes` coordinates; `genes` is at least 1.
    pub fn new(genes: usize, points: &[Vec<f64>]) -> Self {
        let groups = points.len().div_ceil(LANES);
        let mut values = vec![[0.0; LANES]; groups * genes];
        for (row, point) in points.iter().enumerate() {
            for (gene, &x) in point.iter().enumerate() {
                values[row / LANES * genes + gene][row % LANES] = x;
            }
        }
        Self {
            genes,
            rows: points.len(),
            values,
        }
    }

    /// Rows, without those that fill up the last group.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Spreads one value per row over groups, with zeros for the rows that fill up the last.
    pub fn group(&self, per_row: &[f64]) -> Vec<Lanes> {
        (per_row.chunks(LANES))
            .map(|chunk| std::array::from_fn(|lane| chunk.get(lane).copied().unwrap_or(0.0)))
            .collect()
    }

    /// Fills `table` with the squared differences between a point and every row, summed over every
    /// combination of the genes of a block.
    ///
    /// Every model over these centres, whatever genes it looks at, takes its distances from this one
    /// table: see [`Centres::terms`].
    pub fn tabulate(&self, point: &[f64], table: &mut Vec<Lanes>) {
        table.clear();
        for group in self.values.chunks_exact(self.genes) {
            for (values, xs) in group.chunks(BLOCK).zip(point.chunks(BLOCK)) {
                // The combination of genes with bit set `s` is entry `s - 1` of its block: a gene is
                // added alone, then on top of each combination of the genes before it.
                let block = table.len();
                for (values, x) in values.iter().zip(xs) {
                    let squares = values.map(|value| (value - x) * (value - x));
                    let alone = table.len();
                    table.push(squares);
                    for earlier in block..alone {
                        table.push(sum(squares, &table[earlier]));
                    }
                }
            }
        }
    }

    /// The entries of a group of the table whose sum is the squared distance over the genes
    /// `variables`, which ascend.
    pub fn terms(&self, variables: &[usize]) -> Vec<usize> {
        (variables.chunk_by(|a, b| a / BLOCK == b / BLOCK))
            .map(|genes| {
                let bits: usize = genes.iter().map(|gene| 1 << (gene % BLOCK)).sum();
                genes[0] / BLOCK * COMBINATIONS + bits - 1
            })
            .collect()
    }

    /// The cubic radial function `r^3` of the point of a table to every row, group by group, with
    /// the distance `r` over the genes that `terms` stands for.
    #[inline]
    pub fn cubes<'a>(
        &self,
        table: &'a [Lanes],
        terms: &'a [usize],
    ) -> impl Iterator<Item = Lanes> + 'a {
        let entries = self.genes / BLOCK * COMBINATIONS + (1 << (self.genes % BLOCK)) - 1;
        table.chunks_exact(entries).map(move |group| {
            let squares =
                (terms.iter()).fold([0.0; LANES], |squares, &term| sum(squares, &group[term]));
            squares.map(|square| square * square.sqrt())
        })
    }
}

#[inline]
fn sum(mut a: Lanes, b: &Lanes) -> Lanes {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubes_are_those_of_the_euclidean_distance_over_any_genes() {
        for genes in 1..=7 {
            let coordinate = |row: usize, gene: usize| ((row * 7 + gene * 3) % 11) as f64 / 11.0;
            let points: Vec<Vec<f64>> = (0..11)
                .map(|row| (0..genes).map(|gene| coordinate(row, gene)).collect())
                .collect();
            let query: Vec<f64> = (0..genes).map(|gene| coordinate(gene, 5) + 0.04).collect();
            let centres = Centres::new(genes, &points);
            let mut table = Vec::new();
            centres.tabulate(&query, &mut table);
            for chosen in 1..1_u32 << genes {
                let variables: Vec<usize> =
                    (0..genes).filter(|gene| chosen >> gene & 1 == 1).collect();
                let terms = centres.terms(&variables);
                let cubes: Vec<f64> = centres.cubes(&table, &terms).flatten().collect();
                assert_eq!(cubes.len(), 16);
                for (row, point) in points.iter().enumerate() {
                    let square: f64 = (variables.iter())
                        .map(|&gene| (query[gene] - point[gene]).powi(2))
                        .sum();
                    assert!(
                        (cubes[row] - square.powf(1.5)).abs() < 1e-13,
                        "row {row} over {variables:?}"
                    );
                }
            }
        }
    }
}
