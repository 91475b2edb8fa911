//! Training rows in the unit box, laid out for distances to all of them at once.

/// Rows that one step of the distance loop handles; the compiler keeps a whole step in registers.
pub const LANES: usize = 8;

/// One value per training row of a group of [`LANES`] rows.
pub type Lanes = [f64; LANES];

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
    /// Centres at the given points, each of `genes` coordinates.
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

    /// Squared differences between a point and every row, gene by gene, into `differences`.
    ///
    /// Every model over these centres, whatever genes it looks at, sums the distances it needs from
    /// this one table.
    pub fn squared_differences(&self, point: &[f64], differences: &mut Vec<Lanes>) {
        differences.clear();
        for group in self.values.chunks_exact(self.genes) {
            differences.extend((group.iter().zip(point)).map(|(values, &x)| {
                let mut squares = [0.0; LANES];
                for (square, value) in squares.iter_mut().zip(values) {
                    *square = (value - x) * (value - x);
                }
                squares
            }));
        }
    }

    /// The cubic radial function `r^3` of a point to every row over the genes `variables`, group by
    /// group, from the point's table of squared differences.
    #[inline]
    pub fn cubes<'a>(
        &self,
        differences: &'a [Lanes],
        variables: &'a [usize],
    ) -> impl Iterator<Item = Lanes> + 'a {
        differences.chunks_exact(self.genes).map(move |group| {
            let mut squares = [0.0; LANES];
            for &gene in variables {
                for (square, difference) in squares.iter_mut().zip(&group[gene]) {
                    *square += difference;
                }
            }
            squares.map(|square| square * square.sqrt())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubes_are_those_of_the_euclidean_distance_over_the_chosen_genes() {
        let points: Vec<Vec<f64>> = (0..11)
            .map(|i| {
                vec![
                    0.1 * f64::from(i),
                    0.03 * f64::from(i * i % 7),
                    f64::from(i % 2),
                ]
            })
            .collect();
        let centres = Centres::new(3, &points);
        let query = [0.25, 0.5, 0.75];
        let mut differences = Vec::new();
        centres.squared_differences(&query, &mut differences);
        let cubes: Vec<f64> = (centres.cubes(&differences, &[0, 2]).flatten()).collect();
        assert_eq!(cubes.len(), 16);
        for (row, point) in points.iter().enumerate() {
            let r = ((query[0] - point[0]).powi(2) + (query[2] - point[2]).powi(2)).sqrt();
            assert!((cubes[row] - r.powi(3)).abs() < 1e-15, "row {row}");
        }
    }
}
