//! The search space as data: what a space file says, the built-in spaces, loading and hashing.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::validation::SpaceError;

/// A family of networks that share one supernet per width multiplier.
///
/// The network is a stem convolution, the stages in order, and the head; see [`Space::network`] for
/// the layers. A space that came from [`Space::builtin`], [`Space::from_toml`] or [`Space::load`]
/// has passed [`Space::validate`], and every other method relies on that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// The name by which files and messages refer to the space.
    pub name: String,
    /// The kind of block; `mbconv` is the only one.
    pub family: String,
    /// One supernet each; ascending. Every base width is multiplied and rounded by
    /// [`make_divisible`](crate::make_divisible).
    pub width_multipliers: Vec<f64>,
    /// Sides of the square input images.
    pub resolutions: Resolutions,
    /// How convolutions pad.
    pub padding: Padding,
    /// Constants of every batch normalisation.
    pub bn: BatchNorm,
    /// The first convolution.
    pub stem: Stem,
    /// Blocks between stem and head, in order.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
    /// What follows the last stage.
    pub head: Head,
}

/// Input sides `from, from + step, ..., to`, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolutions {
    /// The smallest side.
    pub from: usize,
    /// The largest side, itself included.
    pub to: usize,
    /// The distance of neighbours.
    pub step: usize,
}

impl Resolutions {
    /// How many sides there are.
    pub fn count(&self) -> usize {
        (self.to - self.from) / self.step + 1
    }

    /// The side of a resolution gene.
    pub fn side(&self, index: usize) -> usize {
        self.from + index * self.step
    }

    /// The resolution gene of a side, `None` if the space does not have it.
    pub fn index_of(&self, side: usize) -> Option<usize> {
        let offset = side.checked_sub(self.from)?;
        (side <= self.to && offset.is_multiple_of(self.step)).then(|| offset / self.step)
    }

    /// Resolution genes of up to `n` sides from end to end, ascending and evenly spaced; of the last one alone for `n` = 1.
    pub fn spread(&self, n: usize) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let last = self.count() - 1;
        let places = n.min(self.count());
        (0..places).map(move |place| match places {
            1 => last,
            _ => (place * last).div_ceil(places - 1),
        })
    }

    /// All sides, ascending.
    pub fn sides(self) -> impl Iterator<Item = usize> {
        (0..self.count()).map(move |index| self.side(index))
    }
}

/// How a convolution of kernel `k` and stride `s` pads its input. Both give an output side of
/// `ceil(side / s)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// `floor(k / 2)` on every side (PyTorch's habit).
    Symmetric,
    /// TensorFlow's SAME: `max((out - 1) s + k - in, 0)` in all, the smaller half before.
    Same,
}

impl Padding {
    /// Zeros before and after one spatial dimension of length `side`, 1 or more, for an odd kernel.
    ///
    /// SAME puts the odd zero behind, and at stride 2 an even side needs one zero less than a symmetric border has.
    pub fn border(self, kernel: usize, stride: usize, side: usize) -> (usize, usize) {
        match self {
            Padding::Symmetric => (kernel / 2, kernel / 2),
            Padding::Same => {
                let covered = (side.div_ceil(stride) - 1) * stride + kernel;
                let total = covered.saturating_sub(side);
                (total / 2, total - total / 2)
            }
        }
    }
}

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x relu6(x + 3) / 6`
    HSwish,
    /// `x sigmoid(x)`
    Swish,
    /// `x tanh(ln(1 + e^x))`
    Mish,
}

/// Constants of batch normalisation, in PyTorch's sense.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics, in 0..=1.
    pub momentum: f64,
}

/// The first convolution: 3 colour channels in, batch normalisation and activation behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stem {
    /// Base output width.
    pub width: usize,
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// After the batch normalisation.
    pub activation: Activation,
}

/// Inverted bottlenecks of one output width: the first has the stage's stride, the others stride 1.
///
/// A stage of depth 1 with a single kernel and a single expansion is *fixed*: it has no genes.
/// Any other stage is *elastic* and has one gene per layer slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Base output width.
    pub width: usize,
    /// Stride of the first layer, 1 or 2.
    pub stride: usize,
    /// After the expansion and the depthwise convolution; the projection has none.
    pub activation: Activation,
    /// Whether every layer has a squeeze-excite.
    pub se: bool,
    /// Numbers of layers to choose from: consecutive, ascending.
    pub depths: Vec<usize>,
    /// Sides of the depthwise kernel to choose from for each layer: odd, ascending.
    pub kernels: Vec<usize>,
    /// Ratios of middle to input width to choose from for each layer: ascending. The single ratio 1
    /// means a layer without expansion convolution.
    pub expands: Vec<usize>,
}

impl Stage {
    /// Whether there is nothing to choose.
    pub fn is_fixed(&self) -> bool {
        self.depths == [1] && self.kernels.len() == 1 && self.expands.len() == 1
    }

    /// The smallest number of layers.
    pub fn min_depth(&self) -> usize {
        self.depths[0]
    }

    /// The largest number of layers, which is the number of slots.
    pub fn max_depth(&self) -> usize {
        self.depths[self.depths.len() - 1]
    }

    /// How many settings an active layer has; layer genes are `1..=settings`, and 0 is "skipped".
    pub fn settings(&self) -> usize {
        self.kernels.len() * self.expands.len()
    }

    /// The gene of an active layer, `None` if the stage does not offer the kernel or expansion.
    pub fn gene(&self, kernel: usize, expand: usize) -> Option<u16> {
        let kernel = self.kernels.iter().position(|&k| k == kernel)?;
        let expand = self.expands.iter().position(|&e| e == expand)?;
        Some((1 + self.kernels.len() * expand + kernel) as u16)
    }

    /// Kernel and expansion of an active layer's gene.
    ///
    /// # Panics
    /// If the gene is 0 or above [`settings`](Self::settings).
    pub fn kernel_and_expand(&self, gene: u16) -> (usize, usize) {
        let index = gene as usize - 1;
        (
            self.kernels[index % self.kernels.len()],
            self.expands[index / self.kernels.len()],
        )
    }
}

/// What follows the last stage: a 1x1 convolution with batch normalisation, the mean over height and
/// width, an optional feature mix, dropout, the linear classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Base output width of the 1x1 convolution.
    pub expand: usize,
    /// Base output width of the feature mix, a 1x1 convolution of the pooled features with neither
    /// bias nor batch normalisation; absent where the classifier reads the pooled features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<usize>,
    /// After the 1x1 convolution and after the feature mix.
    pub activation: Activation,
    /// Probability of dropping a feature before the classifier with which the network was published, 0 to below 1: where
    /// the settings of a training begin.
    pub dropout: f64,
}

/// Names and files of the built-in spaces.
const BUILTIN: [(&str, &str); 6] = [
    (
        "ofa-mbv3-w1.0",
        include_str!("../spaces/ofa-mbv3-w1.0.toml"),
    ),
    (
        "ofa-mbv3-w1.2",
        include_str!("../spaces/ofa-mbv3-w1.2.toml"),
    ),
    ("nat", include_str!("../spaces/nat.toml")),
    ("lite0", include_str!("../spaces/lite0.toml")),
    ("mobilenet-v2", include_str!("../spaces/mobilenet-v2.toml")),
    ("tiny", include_str!("../spaces/tiny.toml")),
];

impl Space {
    /// Names of the built-in spaces.
    pub const BUILTIN_NAMES: [&str; BUILTIN.len()] = {
        let mut names = [""; BUILTIN.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = BUILTIN[index].0;
            index += 1;
        }
        names
    };

    /// A built-in space, `None` if there is none of that name.
    pub fn builtin(name: &str) -> Option<Space> {
        let (_, text) = BUILTIN.iter().find(|(known, _)| *known == name)?;
        Some(Space::from_toml(text).expect("built-in spaces are valid"))
    }

    /// A built-in space by name, or the space of a TOML file by path.
    ///
    /// A name without `/` and without the ending `.toml` that is no file is taken for the misspelt
    /// name of a built-in space.
    ///
    /// # Errors
    /// No such file or built-in space, or a file that [`from_toml`](Self::from_toml) refuses; the message names it.
    pub fn load(name_or_path: &str) -> Result<Space, SpaceError> {
        if let Some(space) = Space::builtin(name_or_path) {
            return Ok(space);
        }
        let path = Path::new(name_or_path);
        let meant_as_path = name_or_path.contains('/') || name_or_path.ends_with(".toml");
        if !meant_as_path && !path.is_file() {
            return Err(SpaceError::Unknown {
                name: name_or_path.to_owned(),
            });
        }
        let text = fs::read_to_string(path).map_err(|source| SpaceError::Read {
            path: path.to_owned(),
            source,
        })?;
        Space::from_toml(&text).map_err(|error| SpaceError::File {
            path: path.to_owned(),
            error: Box::new(error),
        })
    }

    /// Reads and validates a space file's text.
    ///
    /// # Errors
    /// No TOML, an unknown or missing field, or a value that [`validate`](Self::validate) refuses; the message names the field.
    pub fn from_toml(text: &str) -> Result<Space, SpaceError> {
        let space: Space = toml::from_str(text).map_err(|error| SpaceError::Toml {
            line: error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
            message: error.message().replace('\n', ", "),
        })?;
        space.validate()?;
        Ok(space)
    }

    /// The space in canonical TOML, from which [`from_toml`](Self::from_toml) gives an equal space.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a space has nothing TOML cannot say")
    }

    /// The first 64 bits of the SHA-256 of the canonical TOML, in hexadecimal: equal for equal
    /// spaces, whatever the layout or comments of their files.
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.to_toml().as_bytes());
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The hash of what one supernet of this space depends on: everything but the name, the
    /// resolutions and the other width multipliers. Weights fit wherever this hash is equal, so those
    /// of `ofa-mbv3-w1.0` serve width 0 of `nat`.
    ///
    /// # Panics
    /// If there is no width multiplier of that index.
    pub fn supernet_hash(&self, width: usize) -> String {
        Space {
            name: String::new(),
            width_multipliers: vec![self.width_multipliers[width]],
            resolutions: Resolutions {
                from: 1,
                to: 1,
                step: 1,
            },
            ..self.clone()
        }
        .hash()
    }

    /// The same space with other input sides.
    pub fn with_resolutions(
        &self,
        from: usize,
        to: usize,
        step: usize,
    ) -> Result<Space, SpaceError> {
        let space = Space {
            resolutions: Resolutions { from, to, step },
            ..self.clone()
        };
        space.validate()?;
        Ok(space)
    }

    /// The stages that have genes, in order.
    pub fn elastic_stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter().filter(|stage| !stage.is_fixed())
    }

    /// How many networks the space holds: resolutions x widths x, for each elastic stage, the sum
    /// over its depths `d` of `settings^d`.
    pub fn size(&self) -> u128 {
        self.checked_size()
            .expect("validation bounds the size of a space")
    }

    /// As [`size`](Self::size), `None` from 2^128 on.
    pub(crate) fn checked_size(&self) -> Option<u128> {
        let sides = self.resolutions.count() as u128;
        let mut size = sides.checked_mul(self.width_multipliers.len() as u128)?;
        for stage in self.elastic_stages() {
            let mut networks = 0u128;
            for &depth in &stage.depths {
                let of_depth = (stage.settings() as u128).checked_pow(depth as u32)?;
                networks = networks.checked_add(of_depth)?;
            }
            size = size.checked_mul(networks)?;
        }
        Some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_keeps_ceil_and_puts_the_odd_zero_behind() {
        // Counted by hand after TensorFlow's definition.
        for (kernel, stride, side, border) in [
            (3, 2, 224, (0, 1)),
            (3, 2, 225, (1, 1)),
            (5, 2, 56, (1, 2)),
            (5, 2, 113, (2, 2)),
            (3, 2, 7, (1, 1)),
            (5, 1, 7, (2, 2)),
            (1, 2, 8, (0, 0)),
        ] {
            assert_eq!(Padding::Same.border(kernel, stride, side), border);
        }
        assert_eq!(Padding::Symmetric.border(7, 2, 14), (3, 3));
        for (kernel, stride, side) in [(3, 2, 9), (5, 2, 10), (7, 1, 4), (3, 2, 1)] {
            let (begin, end) = Padding::Same.border(kernel, stride, side);
            assert_eq!(
                (side + begin + end - kernel) / stride + 1,
                side.div_ceil(stride)
            );
        }
    }

    #[test]
    fn built_in_spaces_carry_their_names_and_survive_toml() {
        for name in Space::BUILTIN_NAMES {
            let space = Space::builtin(name).unwrap();
            assert_eq!(space.name, name);
            assert_eq!(Space::from_toml(&space.to_toml()).unwrap(), space);
        }
        assert_eq!(Space::builtin("ofa"), None);
    }

    #[test]
    fn the_hash_sees_values_and_no_layout() {
        let text = BUILTIN[5].1;
        let space = Space::from_toml(text).unwrap();
        let spread = text.replace('\n', "\n# remark\n").replace(" = ", "  =  ");
        assert_eq!(Space::from_toml(&spread).unwrap().hash(), space.hash());
        assert_eq!(space.hash().len(), 16);

        let changed = text.replace("dropout = 0.0", "dropout = 0.1");
        assert_ne!(Space::from_toml(&changed).unwrap().hash(), space.hash());
        let mut hashes: Vec<_> = Space::BUILTIN_NAMES
            .iter()
            .map(|name| Space::builtin(name).unwrap().hash())
            .collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), Space::BUILTIN_NAMES.len());
    }

    #[test]
    fn supernets_are_shared_between_spaces() {
        let nat = Space::builtin("nat").unwrap();
        for (width, name) in ["ofa-mbv3-w1.0", "ofa-mbv3-w1.2"].iter().enumerate() {
            let alone = Space::builtin(name).unwrap();
            assert_eq!(alone.supernet_hash(0), nat.supernet_hash(width));
        }
        assert_ne!(nat.supernet_hash(0), nat.supernet_hash(1));
        let smaller = nat.with_resolutions(64, 96, 8).unwrap();
        assert_ne!(smaller.hash(), nat.hash());
        assert_eq!(smaller.supernet_hash(0), nat.supernet_hash(0));
    }

    #[test]
    fn sizes() {
        let size = |name| Space::builtin(name).unwrap().size();
        // search-space.md section 3 of the reference.
        assert_eq!(size("nat"), 739_794_286_747_464_518_934);
        assert_eq!(size("ofa-mbv3-w1.2") * 2, size("nat"));
        // Three settings a layer with one kernel, six with two; 13 sides.
        assert_eq!(
            size("lite0"),
            13 * (3 + 9) * (6 + 36) * (3 + 9 + 27) * (6 + 36 + 216) * (6 + 36 + 216 + 1296) * 3
        );
    }

    #[test]
    fn the_size_counts_canonical_strings() {
        let tiny = Space::builtin("tiny").unwrap();
        let space = tiny.with_resolutions(32, 32, 1).unwrap();
        let (lower, upper) = (space.lower(), space.upper());
        let mut genes = lower.clone();
        let mut canonical = 0;
        loop {
            canonical += u128::from(space.is_canonical(&genes));
            let Some(position) = (0..genes.len()).find(|&p| genes[p] < upper[p]) else {
                break;
            };
            genes[..position].copy_from_slice(&lower[..position]);
            genes[position] += 1;
        }
        assert_eq!(canonical, space.size());
    }

    #[test]
    fn resolutions() {
        let sides = Space::builtin("nat").unwrap().resolutions;
        assert_eq!(sides.count(), 17);
        assert_eq!(sides.side(8), 224);
        assert_eq!(sides.index_of(256), Some(16));
        for absent in [188, 225, 260] {
            assert_eq!(sides.index_of(absent), None);
        }
        assert_eq!(sides.sides().last(), Some(256));
        let spread = |n| sides.spread(n).collect::<Vec<_>>();
        assert_eq!(spread(5), [0, 4, 8, 12, 16]);
        assert_eq!(spread(2), [0, 16]);
        assert_eq!(spread(1), [16]);
        assert_eq!(spread(100).len(), 17);
    }

    #[test]
    fn layer_genes_follow_the_paper() {
        let space = Space::builtin("nat").unwrap();
        let stage = &space.stages[1];
        let table = [
            (3, 3),
            (5, 3),
            (7, 3),
            (3, 4),
            (5, 4),
            (7, 4),
            (3, 6),
            (5, 6),
            (7, 6),
        ];
        for (gene, (kernel, expand)) in (1..).zip(table) {
            assert_eq!(stage.gene(kernel, expand), Some(gene));
            assert_eq!(stage.kernel_and_expand(gene), (kernel, expand));
        }
        assert_eq!(stage.gene(9, 3), None);
        assert_eq!(stage.gene(3, 5), None);
    }

    #[test]
    fn spaces_load_by_name_or_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let nat = Space::builtin("nat").unwrap();
        fs::write(&path, nat.to_toml()).unwrap();
        assert_eq!(Space::load(path.to_str().unwrap()).unwrap(), nat);
        assert_eq!(Space::load("nat").unwrap(), nat);

        let unknown = Space::load("natt").unwrap_err().to_string();
        assert!(unknown.contains("`natt`"), "{unknown}");
        for name in Space::BUILTIN_NAMES {
            assert!(unknown.contains(name), "{unknown}");
        }

        let missing = folder.path().join("absent.toml");
        let error = Space::load(missing.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, SpaceError::Read { .. }), "{error}");

        fs::write(&path, BUILTIN[2].1.replace("eps = 1e-5", "eps = 0.0")).unwrap();
        let error = Space::load(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("mine.toml: bn.eps = 0"), "{error}");
    }
}
