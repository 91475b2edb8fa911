//! From integer genes to the unit box.

use crate::FitError;

/// The affine map of each gene to `[0, 1)`: `x -> (x - lower) / (alphabet - lower)`.
///
/// The divisor is the *alphabet size* (largest value plus one) less the lower bound, as in
/// AwesomeLemon/ENCAS `acc_predictor/rbf.py`, so that a gene in `0..=9` maps to `0.0..=0.9`, one in
/// `1..=9` to `0..=8/9`, and a fixed gene to 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    lower: Vec<u16>,
    alphabet: Vec<u16>,
}

impl Scaling {
    /// The scaling of a space whose gene `i` takes the values `lower[i]..alphabet[i]`.
    ///
    /// # Panics
    /// If there is no gene, if the two differ in length, or if a gene has no value.
    pub fn new(lower: Vec<u16>, alphabet: Vec<u16>) -> Self {
        assert!(!lower.is_empty(), "a space has at least one gene");
        assert_eq!(
            lower.len(),
            alphabet.len(),
            "{} lower bounds came with {} alphabet sizes",
            lower.len(),
            alphabet.len()
        );
        for (gene, (lower, alphabet)) in lower.iter().zip(&alphabet).enumerate() {
            assert!(
                lower < alphabet,
                "gene {gene} has no value: lower bound {lower}, alphabet size {alphabet}"
            );
        }
        Self { lower, alphabet }
    }

    /// Genes of a genotype.
    pub fn genes(&self) -> usize {
        self.lower.len()
    }

    /// The value `x` of gene `gene` on the unit scale.
    pub fn unit(&self, gene: usize, x: u16) -> f64 {
        let lower = f64::from(self.lower[gene]);
        (f64::from(x) - lower) / (f64::from(self.alphabet[gene]) - lower)
    }

    /// The genotype in the unit box.
    ///
    /// # Panics
    /// If the genotype has another number of genes.
    pub fn point(&self, genotype: &[u16]) -> Vec<f64> {
        self.check_length(genotype);
        (genotype.iter().enumerate())
            .map(|(gene, &x)| self.unit(gene, x))
            .collect()
    }

    /// Panics if the genotype has another number of genes.
    pub(crate) fn check_length(&self, genotype: &[u16]) {
        assert_eq!(
            genotype.len(),
            self.genes(),
            "genotype has {} genes, the predictor was fitted on {}",
            genotype.len(),
            self.genes()
        );
    }

    /// Checks that the rows are genotypes of this space with one finite label each.
    pub(crate) fn check(&self, rows: &[Vec<u16>], labels: &[f64]) -> Result<(), FitError> {
        if rows.len() != labels.len() {
            return Err(FitError::LabelCount {
                rows: rows.len(),
                labels: labels.len(),
            });
        }
        for (row, (genes, &label)) in rows.iter().zip(labels).enumerate() {
            if genes.len() != self.genes() {
                return Err(FitError::GeneCount {
                    row,
                    expected: self.genes(),
                    found: genes.len(),
                });
            }
            for (gene, &value) in genes.iter().enumerate() {
                let (lower, alphabet) = (self.lower[gene], self.alphabet[gene]);
                if !(lower..alphabet).contains(&value) {
                    return Err(FitError::GeneRange {
                        row,
                        gene,
                        value,
                        lower,
                        alphabet,
                    });
                }
            }
            if !label.is_finite() {
                return Err(FitError::Label { row, value: label });
            }
        }
        Ok(())
    }
}

/// Genes that take more than one value over the rows, ascending.
pub(crate) fn varying_genes(rows: &[Vec<u16>]) -> Vec<usize> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    (0..first.len())
        .filter(|&gene| rows.iter().any(|row| row[gene] != first[gene]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_genes_map_as_in_the_reproduction() {
        let scaling = Scaling::new(vec![0, 0, 1, 0], vec![17, 2, 10, 10]);
        assert_eq!(scaling.point(&[0, 0, 1, 0]), [0.0; 4]);
        assert_eq!(
            scaling.point(&[16, 1, 9, 9]),
            [16.0 / 17.0, 0.5, 8.0 / 9.0, 0.9]
        );
    }

    #[test]
    fn a_bad_row_is_named() {
        let scaling = Scaling::new(vec![1, 0], vec![10, 2]);
        let check = |rows: &[Vec<u16>], labels: &[f64]| {
            scaling.check(rows, labels).unwrap_err().to_string()
        };
        assert_eq!(
            check(&[vec![1, 0], vec![0, 0]], &[1.0, 2.0]),
            "training row 1, gene 0: value 0 is outside 1..=9"
        );
        assert_eq!(
            check(&[vec![1]], &[1.0]),
            "training row 0 has 1 genes, the space has 2"
        );
        assert_eq!(
            check(&[vec![1, 0]], &[f64::NAN]),
            "the label of training row 0 is NaN, expected a finite number"
        );
        assert_eq!(
            check(&[vec![1, 0]], &[]),
            "1 training rows came with 0 labels"
        );
    }

    #[test]
    fn constant_genes_do_not_vary() {
        let rows = [vec![3, 1, 0], vec![3, 2, 0], vec![3, 1, 1]];
        assert_eq!(varying_genes(&rows), [1, 2]);
        assert!(varying_genes(&rows[..1]).is_empty());
        assert!(varying_genes(&[]).is_empty());
    }
}
