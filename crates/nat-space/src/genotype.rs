//! Genotypes: a network of a space as a string of integers in canonical form.
//!
//! The order is the paper's: resolution index, width index, then one gene per layer slot of the
//! elastic stages. A layer gene is 0 for a skipped slot, else
//! `1 + kernels x index(expansion) + index(kernel)` within the stage's lists.

use std::{fmt, ops::Range};

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::{
    architecture::Architecture,
    space::{Space, Stage},
};

/// Position of the resolution index.
pub(crate) const RESOLUTION: usize = 0;
/// Position of the width index.
pub(crate) const WIDTH: usize = 1;
/// Position of the first layer gene.
const FIRST_LAYER: usize = 2;

/// One network of a space. Only a [`Space`] makes genotypes, so every one is within the space's
/// bounds and canonical: in each stage the skipped slots come last. Two genotypes of a space are
/// equal exactly if their networks are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Genotype(Box<[u16]>);

impl Genotype {
    /// The genes, in the order of the space.
    pub fn as_slice(&self) -> &[u16] {
        &self.0
    }
}

/// Comma-separated, without blanks.
impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, gene) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{gene}")?;
        }
        Ok(())
    }
}

/// As its text.
impl Serialize for Genotype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a string is no genotype of a space.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GenotypeError {
    /// Something between two commas is no gene.
    #[error(
        "gene {position} is `{text}`: expected an integer in 0 to {}",
        u16::MAX
    )]
    Text {
        /// From 0.
        position: usize,
        /// What stands there.
        text: String,
    },
    /// Too few or too many genes.
    #[error("{found} genes: the space `{space}` has {expected}")]
    Count {
        /// Name of the space.
        space: String,
        /// How many genes it has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A gene outside its bounds.
    #[error("gene {position} ({name}) is {value}: the space `{space}` has {lower} to {upper}")]
    Range {
        /// Name of the space.
        space: String,
        /// From 0.
        position: usize,
        /// What the gene stands for.
        name: String,
        /// What was given.
        value: u16,
        /// The smallest value.
        lower: u16,
        /// The largest value.
        upper: u16,
    },
}

/// Reads comma-separated genes, blanks around them allowed, without asking whether a space has them.
///
/// # Errors
/// A part that is no whole number up to 65535; the message names it.
pub fn parse_genes(text: &str) -> Result<Vec<u16>, GenotypeError> {
    text.split(',')
        .map(str::trim)
        .enumerate()
        .map(|(position, gene)| {
            gene.parse().map_err(|_| GenotypeError::Text {
                position,
                text: gene.to_owned(),
            })
        })
        .collect()
}

impl Space {
    /// The number of genes.
    pub fn genes(&self) -> usize {
        FIRST_LAYER + self.elastic_stages().map(Stage::max_depth).sum::<usize>()
    }

    /// The smallest value of every gene: 0, or 1 for the layers that no depth skips.
    pub fn lower(&self) -> Vec<u16> {
        let mut lower = vec![0; self.genes()];
        for (_, stage, slots) in self.gene_ranges() {
            lower[slots][..stage.min_depth()].fill(1);
        }
        lower
    }

    /// The largest value of every gene, itself allowed.
    pub fn upper(&self) -> Vec<u16> {
        let mut upper = vec![0; self.genes()];
        upper[RESOLUTION] = (self.resolutions.count() - 1) as u16;
        upper[WIDTH] = (self.width_multipliers.len() - 1) as u16;
        for (_, stage, slots) in self.gene_ranges() {
            upper[slots].fill(stage.settings() as u16);
        }
        upper
    }

    /// How many values each gene is coded with. The value 0 counts for every layer, also where it
    /// is out of bounds, as in the paper's predictor.
    pub fn alphabet_sizes(&self) -> Vec<u16> {
        self.upper().into_iter().map(|upper| upper + 1).collect()
    }

    /// What each gene stands for, such as `resolution` or `stage 2 layer 4`. Stages are counted from
    /// 0 as in the space file, layers from 1.
    pub fn gene_names(&self) -> Vec<String> {
        let mut names = vec!["resolution".to_owned(), "width".to_owned()];
        for (index, stage, _) in self.gene_ranges() {
            names.extend((1..=stage.max_depth()).map(|n| format!("stage {index} layer {n}")));
        }
        names
    }

    /// Brings genes into canonical form: in each stage the active layers move to the front, in
    /// their order, and the skipped slots to the end.
    ///
    /// # Panics
    /// If the number of genes is not [`genes`](Self::genes).
    pub fn canonicalise(&self, genes: &mut [u16]) {
        assert_eq!(
            genes.len(),
            self.genes(),
            "genes of the space {}",
            self.name
        );
        for (_, _, slots) in self.gene_ranges() {
            // A stable sort by "skipped" keeps the order of the active layers.
            genes[slots].sort_by_key(|&gene| gene == 0);
        }
    }

    /// Whether [`canonicalise`](Self::canonicalise) would change nothing.
    ///
    /// # Panics
    /// If the number of genes is not [`genes`](Self::genes).
    pub fn is_canonical(&self, genes: &[u16]) -> bool {
        assert_eq!(
            genes.len(),
            self.genes(),
            "genes of the space {}",
            self.name
        );
        self.gene_ranges()
            .all(|(_, _, slots)| genes[slots].is_sorted_by_key(|&gene| gene == 0))
    }

    /// The genotype of genes within the bounds, brought into canonical form. Where that must not
    /// happen unnoticed, ask [`is_canonical`](Self::is_canonical) first.
    ///
    /// # Errors
    /// Too few or too many genes, or one out of its bounds; the message names its place.
    pub fn genotype(&self, genes: &[u16]) -> Result<Genotype, GenotypeError> {
        if genes.len() != self.genes() {
            return Err(GenotypeError::Count {
                space: self.name.clone(),
                expected: self.genes(),
                found: genes.len(),
            });
        }
        let (lower, upper) = (self.lower(), self.upper());
        for (position, &value) in genes.iter().enumerate() {
            if value < lower[position] || value > upper[position] {
                return Err(GenotypeError::Range {
                    space: self.name.clone(),
                    position,
                    name: self.gene_names()[position].clone(),
                    value,
                    lower: lower[position],
                    upper: upper[position],
                });
            }
        }
        let mut genes = genes.to_vec();
        self.canonicalise(&mut genes);
        Ok(Genotype(genes.into()))
    }

    /// The genotype of a text such as `8,0,1,1,...`: [`parse_genes`], then
    /// [`genotype`](Self::genotype).
    ///
    /// # Errors
    /// What either of them refuses.
    pub fn parse(&self, text: &str) -> Result<Genotype, GenotypeError> {
        self.genotype(&parse_genes(text)?)
    }

    /// All genes at their lower bounds: the first resolution and width, and in every layer the
    /// smallest depth, kernel and expansion.
    pub fn smallest(&self) -> Genotype {
        Genotype(self.lower().into())
    }

    /// All genes at their upper bounds.
    pub fn largest(&self) -> Genotype {
        Genotype(self.upper().into())
    }

    /// The middle of every list of choices, the smaller of two: depth 3, kernel 5 and expansion 4 in
    /// the once-for-all spaces.
    pub fn middle(&self) -> Genotype {
        fn middle(choices: &[usize]) -> usize {
            choices[(choices.len() - 1) / 2]
        }
        let mut genes = vec![0; self.genes()];
        genes[RESOLUTION] = ((self.resolutions.count() - 1) / 2) as u16;
        genes[WIDTH] = ((self.width_multipliers.len() - 1) / 2) as u16;
        for (_, stage, slots) in self.gene_ranges() {
            let gene = stage.gene(middle(&stage.kernels), middle(&stage.expands));
            let gene = gene.expect("the choices are the stage's own");
            genes[slots][..middle(&stage.depths)].fill(gene);
        }
        Genotype(genes.into())
    }

    /// What the genes stand for.
    ///
    /// # Panics
    /// If the genotype is of another space.
    pub fn architecture(&self, genotype: &Genotype) -> Architecture {
        let genes = genotype.as_slice();
        assert_eq!(
            genes.len(),
            self.genes(),
            "genes of the space {}",
            self.name
        );
        let mut architecture = Architecture {
            resolution: self.resolutions.side(genes[RESOLUTION].into()),
            width: genes[WIDTH].into(),
            depths: Vec::new(),
            kernels: Vec::new(),
            expands: Vec::new(),
        };
        for (_, stage, slots) in self.gene_ranges() {
            let active = genes[slots].iter().take_while(|&&gene| gene != 0);
            let (kernels, expands): (Vec<_>, Vec<_>) =
                active.map(|&gene| stage.kernel_and_expand(gene)).unzip();
            architecture.depths.push(kernels.len());
            architecture.kernels.push(kernels);
            architecture.expands.push(expands);
        }
        architecture
    }

    /// Index, stage and positions of the genes of every elastic stage.
    pub(crate) fn gene_ranges(&self) -> impl Iterator<Item = (usize, &Stage, Range<usize>)> {
        let mut start = FIRST_LAYER;
        let stages = self.stages.iter().enumerate();
        let elastic = stages.filter(|(_, stage)| !stage.is_fixed());
        elastic.map(move |(index, stage)| {
            let slots = start..start + stage.max_depth();
            start = slots.end;
            (index, stage, slots)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn nat() -> Space {
        Space::builtin("nat").unwrap()
    }

    #[test]
    fn bounds_of_the_paper() {
        let space = nat();
        assert_eq!(space.genes(), 22);
        let lower = [&[0, 0][..], &[1, 1, 0, 0].repeat(5)].concat();
        assert_eq!(space.lower(), lower);
        assert_eq!(space.upper(), [&[16, 1][..], &[9; 20]].concat());
        assert_eq!(space.alphabet_sizes(), [&[17, 2][..], &[10; 20]].concat());
        let names = space.gene_names();
        assert_eq!(names.len(), 22);
        assert_eq!(
            (names[1].as_str(), names[21].as_str()),
            ("width", "stage 5 layer 4")
        );
    }

    #[test]
    fn a_space_of_one_width_has_a_width_gene_of_0() {
        let space = Space::builtin("ofa-mbv3-w1.2").unwrap();
        assert_eq!((space.genes(), space.upper()[1]), (22, 0));
    }

    #[test]
    fn skipped_slots_move_to_the_end() {
        let space = nat();
        let genes = "8,0,5,3,0,7,1,1,0,0,1,1,0,0,1,1,0,0,9,8,0,7";
        assert!(!space.is_canonical(&parse_genes(genes).unwrap()));
        let genotype = space.parse(genes).unwrap();
        let moved = "8,0,5,3,7,0,1,1,0,0,1,1,0,0,1,1,0,0,9,8,7,0";
        assert_eq!(genotype.to_string(), moved);
        assert_eq!(space.parse(moved).unwrap(), genotype);
    }

    #[test]
    fn errors_name_the_gene() {
        let space = nat();
        let error = |text: &str| space.parse(text).unwrap_err().to_string();
        let valid = space.smallest().to_string();
        assert_eq!(error("8,0,1"), "3 genes: the space `nat` has 22");
        assert_eq!(
            error(&format!("{valid},0")),
            "23 genes: the space `nat` has 22"
        );
        assert_eq!(
            error(&valid.replacen("0,0,1", "17,0,1", 1)),
            "gene 0 (resolution) is 17: the space `nat` has 0 to 16"
        );
        assert_eq!(
            error(&valid.replacen("0,0,1,1", "0,0,1,0", 1)),
            "gene 3 (stage 1 layer 2) is 0: the space `nat` has 1 to 9"
        );
        assert_eq!(
            error(&valid.replacen("0,0,1", "0,0,-1", 1)),
            "gene 2 is `-1`: expected an integer in 0 to 65535"
        );
        assert_eq!(error(""), "gene 0 is ``: expected an integer in 0 to 65535");
    }

    #[test]
    fn blanks_are_allowed() {
        assert_eq!(parse_genes(" 8, 0 ,1"), Ok(vec![8, 0, 1]));
    }

    #[test]
    fn the_middle_of_the_once_for_all_space() {
        let space = nat();
        let architecture = space.architecture(&space.middle());
        assert_eq!((architecture.resolution, architecture.width), (224, 0));
        assert_eq!(architecture.depths, [3; 5]);
        assert_eq!(architecture.kernels.concat(), [5; 15]);
        assert_eq!(architecture.expands.concat(), [4; 15]);
    }

    /// Any string within the bounds of a built-in space, canonical or not.
    fn genes_in_bounds() -> impl Strategy<Value = (Space, Vec<u16>)> {
        (0..Space::BUILTIN_NAMES.len()).prop_flat_map(|index| {
            let space = Space::builtin(Space::BUILTIN_NAMES[index]).unwrap();
            let bounds = space.lower().into_iter().zip(space.upper());
            let genes: Vec<_> = bounds.map(|(lower, upper)| lower..=upper).collect();
            (Just(space), genes)
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_keeps_the_active_layers_in_order((space, genes) in genes_in_bounds()) {
            let mut canonical = genes.clone();
            space.canonicalise(&mut canonical);
            prop_assert!(space.is_canonical(&canonical));
            prop_assert_eq!(space.is_canonical(&genes), genes == canonical);
            for (_, _, slots) in space.gene_ranges() {
                let active = |genes: &[u16]| -> Vec<u16> {
                    genes[slots.clone()].iter().copied().filter(|&gene| gene != 0).collect()
                };
                prop_assert_eq!(active(&genes), active(&canonical));
            }

            let mut again = canonical.clone();
            space.canonicalise(&mut again);
            prop_assert_eq!(&again, &canonical);
            let genotype = space.genotype(&genes).unwrap();
            prop_assert_eq!(genotype.as_slice(), canonical);
        }

        #[test]
        fn texts_and_architectures_lead_back((space, genes) in genes_in_bounds()) {
            let genotype = space.genotype(&genes).unwrap();
            prop_assert_eq!(&space.parse(&genotype.to_string()).unwrap(), &genotype);
            let architecture = space.architecture(&genotype);
            prop_assert_eq!(space.genotype_of(&architecture).unwrap(), genotype);
        }

        #[test]
        fn genotypes_that_differ_in_a_gene_are_different_networks(seed: u64, gene in 0..22usize, value: u16) {
            let space = nat();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let a = space.sample(&mut rng);
            let mut genes = a.as_slice().to_vec();
            let (low, high) = (space.lower()[gene], space.upper()[gene]);
            genes[gene] = low + value % (high - low + 1);
            let b = space.genotype(&genes).unwrap();
            let networks_equal = space.network(&space.architecture(&a), 10)
                == space.network(&space.architecture(&b), 10);
            prop_assert_eq!(a == b, networks_equal);
        }

        #[test]
        fn no_text_panics(text in "[-0-9, x]{0,60}") {
            if let Ok(genotype) = nat().parse(&text) {
                prop_assert_eq!(genotype.as_slice().len(), 22);
            }
        }
    }
}
