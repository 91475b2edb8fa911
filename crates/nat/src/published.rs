//! The data sets of the published NATNets, and how their test images were prepared.

use clap::ValueEnum;
use nat_data::{Filter, Normalisation};

/// A data set that networks were published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PublishedSet {
    /// ImageNet
    Imagenet,
    /// CINIC-10
    Cinic10,
    /// CIFAR-10
    Cifar10,
    /// CIFAR-100
    Cifar100,
    /// STL-10
    Stl10,
    /// Food-101
    Food101,
    /// Stanford Cars
    Cars,
    /// FGVC Aircraft
    Aircraft,
    /// Describable Textures
    Dtd,
    /// Oxford-IIIT Pets
    Pets,
    /// Oxford Flowers-102
    Flowers102,
}

/// From a test image to the network's input.
#[derive(Debug, PartialEq)]
pub struct Preparation {
    pub normalisation: Normalisation,
    pub filter: Filter,
    /// Side of the network's input divided by that of the scaled image; 1 scales the whole image to the input.
    pub crop_ratio: f64,
}

impl PublishedSet {
    /// How its test images were prepared (human-analysis/neural-architecture-transfer, `codebase/data_providers`; of ImageNet
    /// timm's settings of efficientnet_b0, by which the published evaluation runs).
    pub fn preparation(self) -> Preparation {
        use Filter::{Bicubic, Bilinear};
        let (mean, std, filter, crop_ratio) = match self {
            PublishedSet::Imagenet => {
                let Normalisation { mean, std } = Normalisation::IMAGENET;
                (mean, std, Bicubic, 0.875)
            }
            PublishedSet::Cinic10 => (
                [0.4789, 0.4723, 0.4305],
                [0.2421, 0.2383, 0.2587],
                Bicubic,
                1.0,
            ),
            PublishedSet::Cifar10 | PublishedSet::Cifar100 => (
                [0.4914, 0.4822, 0.4465],
                [0.2470, 0.2435, 0.2616],
                Bicubic,
                1.0,
            ),
            PublishedSet::Stl10 => (
                [0.4467, 0.4398, 0.4066],
                [0.2603, 0.2566, 0.2713],
                Bilinear,
                0.875,
            ),
            PublishedSet::Food101 => (
                [0.5577, 0.4424, 0.3272],
                [0.2591, 0.2631, 0.2659],
                Bilinear,
                0.875,
            ),
            PublishedSet::Cars => (
                [0.4105, 0.3857, 0.3960],
                [0.2861, 0.2801, 0.2852],
                Bicubic,
                1.0,
            ),
            PublishedSet::Aircraft => (
                [0.4893, 0.5184, 0.5388],
                [0.2239, 0.2164, 0.2462],
                Bilinear,
                0.875,
            ),
            PublishedSet::Dtd => (
                [0.5330, 0.4743, 0.4263],
                [0.2655, 0.2547, 0.2632],
                Bicubic,
                1.0,
            ),
            PublishedSet::Pets => (
                [0.4829, 0.4448, 0.3957],
                [0.2593, 0.2533, 0.2598],
                Bilinear,
                0.875,
            ),
            PublishedSet::Flowers102 => (
                [0.5178, 0.4107, 0.3286],
                [0.2972, 0.2498, 0.2853],
                Bilinear,
                0.875,
            ),
        };
        Preparation {
            normalisation: Normalisation { mean, std },
            filter,
            crop_ratio,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preparation_is_one_of_pictures() {
        for set in PublishedSet::value_variants() {
            let found = set.preparation();
            assert!([0.875, 1.0].contains(&found.crop_ratio), "{set:?}");
            let Normalisation { mean, std } = found.normalisation;
            assert!(mean.iter().all(|m| (0.3..0.6).contains(m)), "{set:?}");
            assert!(std.iter().all(|s| (0.2..0.3).contains(s)), "{set:?}");
        }
        assert_eq!(
            PublishedSet::Cifar10.preparation(),
            PublishedSet::Cifar100.preparation()
        );
    }
}
