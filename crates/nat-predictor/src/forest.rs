//! Regression trees.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::aggregate::{deviation, mean};
use crate::parallel::ordered_map;
use crate::scaling::varying_genes;
use crate::{FitError, Predictor, Scaling};

/// Size of a [`RandomForest`].
#[derive(Debug, Clone, PartialEq)]
pub struct ForestSettings {
    /// Trees, at least 1.
    pub trees: usize,
    /// Training rows that a leaf keeps at least.
    pub leaf: usize,
}

impl Default for ForestSettings {
    fn default() -> Self {
        Self {
            trees: 500,
            leaf: 2,
        }
    }
}

/// The average of regression trees, each grown on a bootstrap sample of the rows, and each split
/// chosen among a random third of the genes (Breiman, "Random Forests", Machine Learning 45, 2001).
#[derive(Debug, Clone)]
pub struct RandomForest {
    scaling: Scaling,
    trees: Vec<Vec<Node>>,
}

/// A node of a tree, whose root is the first of a list.
#[derive(Debug, Clone)]
enum Node {
    Leaf(f64),
    Split {
        gene: usize,
        /// Rows with a gene of at most this go to the next node, others to `right`.
        at_most: u16,
        right: usize,
    },
}

/// The training rows as all trees see them.
struct Training<'a> {
    genotypes: &'a [Vec<u16>],
    labels: &'a [f64],
    /// Those that vary.
    genes: Vec<usize>,
    leaf: usize,
}

impl RandomForest {
    /// Grows the trees. Tree `i` uses the ChaCha8 stream `i` of `seed` and nothing else, so `threads`
    /// does not change the result.
    ///
    /// # Errors
    /// If a row, a label or a setting is invalid, or if all rows are equal.
    pub fn fit(
        genotypes: &[Vec<u16>],
        labels: &[f64],
        scaling: &Scaling,
        settings: &ForestSettings,
        seed: u64,
        threads: usize,
    ) -> Result<Self, FitError> {
        scaling.check(genotypes, labels)?;
        for (name, value) in [("trees", settings.trees), ("rows of a leaf", settings.leaf)] {
            if value == 0 {
                return Err(FitError::Setting {
                    name,
                    value: 0.0,
                    expected: "at least 1",
                });
            }
        }
        let genes = varying_genes(genotypes);
        if genes.is_empty() {
            return Err(FitError::NothingVaries {
                rows: genotypes.len(),
            });
        }
        let training = Training {
            genotypes,
            labels,
            genes,
            leaf: settings.leaf,
        };
        let trees = ordered_map(
            settings.trees,
            threads,
            || (),
            |(), tree| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(tree as u64);
                let mut rows: Vec<usize> = (0..genotypes.len())
                    .map(|_| rng.random_range(0..genotypes.len() as u32) as usize)
                    .collect();
                let mut nodes = Vec::new();
                training.grow(&mut rows, &mut rng, &mut nodes);
                nodes
            },
        );
        Ok(Self {
            scaling: scaling.clone(),
            trees,
        })
    }

    /// Applies `f` to the trees' answers for each genotype.
    fn map_answers<T: Send>(
        &self,
        genotypes: &[Vec<u16>],
        threads: usize,
        f: impl Fn(&[f64]) -> T + Sync,
    ) -> Vec<T> {
        ordered_map(genotypes.len(), threads, Vec::new, |answers, i| {
            self.scaling.check_length(&genotypes[i]);
            answers.clear();
            answers.extend(self.trees.iter().map(|tree| value(tree, &genotypes[i])));
            f(answers)
        })
    }
}

impl Predictor for RandomForest {
    fn predict(&self, genotypes: &[Vec<u16>], threads: usize) -> Vec<f64> {
        self.map_answers(genotypes, threads, mean)
    }

    /// Over the trees.
    fn deviations(&self, genotypes: &[Vec<u16>], threads: usize) -> Option<Vec<f64>> {
        Some(self.map_answers(genotypes, threads, deviation))
    }
}

fn value(tree: &[Node], genotype: &[u16]) -> f64 {
    let mut node = 0;
    loop {
        match tree[node] {
            Node::Leaf(value) => return value,
            Node::Split { gene, at_most, .. } if genotype[gene] <= at_most => node += 1,
            Node::Split { right, .. } => node = right,
        }
    }
}

impl Training<'_> {
    /// Appends the tree over `rows`, which are reordered.
    fn grow(&self, rows: &mut [usize], rng: &mut ChaCha8Rng, nodes: &mut Vec<Node>) {
        let Some((gene, at_most)) = self.best_split(rows, rng) else {
            let sum: f64 = rows.iter().map(|&row| self.labels[row]).sum();
            nodes.push(Node::Leaf(sum / rows.len() as f64));
            return;
        };
        rows.sort_by_key(|&row| self.genotypes[row][gene] > at_most);
        let middle = rows.partition_point(|&row| self.genotypes[row][gene] <= at_most);
        let (left, right) = rows.split_at_mut(middle);
        let split = nodes.len();
        nodes.push(Node::Leaf(0.0));
        self.grow(left, rng, nodes);
        nodes[split] = Node::Split {
            gene,
            at_most,
            right: nodes.len(),
        };
        self.grow(right, rng, nodes);
    }

    /// The gene and value whose split leaves the least sum of squares, among a random third of the
    /// genes; the others are tried only where those allow no split.
    fn best_split(&self, rows: &[usize], rng: &mut ChaCha8Rng) -> Option<(usize, u16)> {
        if rows.len() < 2 * self.leaf {
            return None;
        }
        let mut genes = self.genes.clone();
        genes.shuffle(rng);
        let tried = genes.len().div_ceil(3);
        let mut best: Option<(f64, usize, u16)> = None;
        let mut sorted = rows.to_vec();
        for (i, &gene) in genes.iter().enumerate() {
            if i >= tried && best.is_some() {
                break;
            }
            sorted.sort_by_key(|&row| self.genotypes[row][gene]);
            let total: f64 = sorted.iter().map(|&row| self.labels[row]).sum();
            let mut left = 0.0;
            for count in 1..sorted.len() {
                left += self.labels[sorted[count - 1]];
                let [before, after] = [count - 1, count].map(|i| self.genotypes[sorted[i]][gene]);
                let others = sorted.len() - count;
                if before == after || count.min(others) < self.leaf {
                    continue;
                }
                // The sum of squares that a split takes away, up to what all splits share.
                let right = total - left;
                let gain = left * left / count as f64 + right * right / others as f64;
                if best.is_none_or(|(most, ..)| gain > most) {
                    best = Some((gain, gene, before));
                }
            }
        }
        best.map(|(_, gene, value)| (gene, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{kendall_tau, rmse};

    fn rows(count: usize, seed: u64) -> Vec<Vec<u16>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| (0..5).map(|_| rng.random_range(0..8)).collect())
            .collect()
    }

    fn scaling() -> Scaling {
        Scaling::new(vec![0; 5], vec![8; 5])
    }

    /// Steps in the first two genes, nothing else.
    fn steps(row: &[u16]) -> f64 {
        f64::from(u8::from(row[0] > 3)) * 10.0 + f64::from(u8::from(row[1] > 5)) * 4.0
    }

    fn forest(rows: &[Vec<u16>], labels: &[f64], threads: usize) -> RandomForest {
        let settings = ForestSettings {
            trees: 100,
            ..ForestSettings::default()
        };
        RandomForest::fit(rows, labels, &scaling(), &settings, 3, threads).unwrap()
    }

    #[test]
    fn steps_are_learnt() {
        let (rows, fresh) = (rows(200, 1), rows(300, 2));
        let labels: Vec<f64> = rows.iter().map(|row| steps(row)).collect();
        let truth: Vec<f64> = fresh.iter().map(|row| steps(row)).collect();
        let predicted = forest(&rows, &labels, 2).predict(&fresh, 2);
        assert!(rmse(&predicted, &truth).unwrap() < 1.2);
        assert!(kendall_tau(&predicted, &truth).unwrap() > 0.7);
    }

    #[test]
    fn one_tree_with_leaves_of_one_row_repeats_its_rows() {
        let rows: Vec<Vec<u16>> = (0..8).map(|i| vec![i, 0, 0, 0, 7 - i]).collect();
        let labels: Vec<f64> = (0..8).map(|i| f64::from(i * i)).collect();
        let training = Training {
            genotypes: &rows,
            labels: &labels,
            genes: vec![0, 4],
            leaf: 1,
        };
        let mut nodes = Vec::new();
        let mut order: Vec<usize> = (0..8).collect();
        training.grow(&mut order, &mut ChaCha8Rng::seed_from_u64(1), &mut nodes);
        assert_eq!(nodes.len(), 15, "8 leaves and 7 splits");
        let values: Vec<f64> = rows.iter().map(|row| value(&nodes, row)).collect();
        assert_eq!(values, labels);
    }

    #[test]
    fn threads_change_nothing_and_answers_stay_within_the_labels() {
        let rows = rows(60, 4);
        let labels: Vec<f64> = (0..60).map(|i| f64::from(i * i % 13)).collect();
        let fresh = self::rows(40, 5);
        let predicted = forest(&rows, &labels, 1).predict(&fresh, 1);
        assert_eq!(predicted, forest(&rows, &labels, 3).predict(&fresh, 2));
        assert!(predicted.iter().all(|p| (0.0..=12.0).contains(p)));
        let deviations = forest(&rows, &labels, 1).deviations(&fresh, 1).unwrap();
        assert!(deviations.iter().all(|&d| d > 0.0 && d < 12.0));
    }

    #[test]
    fn forests_without_trees_or_variation_are_refused() {
        let rows = rows(1, 6);
        let fit = |trees| {
            let settings = ForestSettings { trees, leaf: 1 };
            RandomForest::fit(&rows, &[1.0], &scaling(), &settings, 0, 1).unwrap_err()
        };
        assert_eq!(fit(0).to_string(), "trees is 0, expected at least 1");
        assert_eq!(fit(5), FitError::NothingVaries { rows: 1 });
    }
}
