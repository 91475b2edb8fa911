//! Pixels to network input.

use serde::{Deserialize, Serialize};

/// Mean and standard deviation of red, green and blue on the scale 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Subtracted.
    pub mean: [f32; 3],
    /// Divided by; not 0.
    pub std: [f32; 3],
}

impl Normalisation {
    /// The statistics of ImageNet, as torchvision's and once-for-all's networks expect them.
    pub const IMAGENET: Normalisation = Normalisation {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// `(p - 127) / 128` for p in 0..255, as EfficientNet-Lite expects it.
    pub const LITE: Normalisation = Normalisation {
        mean: [127.0 / 255.0; 3],
        std: [128.0 / 255.0; 3],
    };

    /// `(p / 255 - mean) / std` of every grey level p, by channel.
    pub(crate) fn values(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|c| {
            let (mean, std) = (f64::from(self.mean[c]), f64::from(self.std[c]));
            std::array::from_fn(|p| ((p as f64 / 255.0 - mean) / std) as f32)
        })
    }

    /// The colour that becomes zero, nearest in 8 bits.
    pub(crate) fn mean_colour(&self) -> [u8; 3] {
        self.mean.map(|mean| (mean * 255.0).round() as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_normalised_by_channel() {
        for values in Normalisation::LITE.values() {
            for (level, value) in values.into_iter().enumerate() {
                assert!((value - (level as f32 - 127.0) / 128.0).abs() < 1e-6);
            }
        }
        let [red, _, blue] = Normalisation::IMAGENET.values();
        assert!((red[0] + 0.485 / 0.229).abs() < 1e-6);
        assert!((blue[255] - (1.0 - 0.406) / 0.225).abs() < 1e-6);
    }
}
