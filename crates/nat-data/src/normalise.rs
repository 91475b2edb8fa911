//! Pixels to network input.

use serde::{Deserialize, Serialize};

use crate::picture::RgbImage;

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

    /// Writes `(p / 255 - mean) / std` as three planes.
    ///
    /// # Panics
    /// If `planes` is not `3 * height * width` long.
    pub(crate) fn write_planes(&self, picture: &RgbImage, planes: &mut [f32]) {
        let pixels = picture.width * picture.height;
        assert_eq!(
            planes.len(),
            3 * pixels,
            "planes of a {}x{} picture",
            picture.width,
            picture.height
        );
        for (c, plane) in planes.chunks_exact_mut(pixels).enumerate() {
            let (mean, std) = (f64::from(self.mean[c]), f64::from(self.std[c]));
            let values: [f32; 256] =
                std::array::from_fn(|p| ((p as f64 / 255.0 - mean) / std) as f32);
            for (value, &pixel) in plane.iter_mut().zip(picture.data[c..].iter().step_by(3)) {
                *value = values[usize::from(pixel)];
            }
        }
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
    fn planes_hold_normalised_channels() {
        let picture = RgbImage {
            width: 2,
            height: 1,
            data: vec![0, 127, 255, 255, 0, 128],
        };
        let mut planes = [0.0; 6];
        Normalisation::LITE.write_planes(&picture, &mut planes);
        let expected = [-127.0 / 128.0, 1.0, 0.0, -127.0 / 128.0, 1.0, 1.0 / 128.0];
        for (found, expected) in planes.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{planes:?}");
        }
    }
}
