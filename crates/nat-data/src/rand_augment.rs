//! RandAugment (Cubuk et al. 2020) as in timm's `rand-m9-mstd0.5`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::picture::RgbImage;
use crate::tone;
use crate::warp::Affine;

/// Some operations drawn with replacement from fifteen, each carried out every second time.
///
/// The strength m of an operation is drawn from a normal distribution and cut to 0..10. The
/// operations and their ranges are those of timm's `_RAND_TRANSFORMS`
/// (huggingface/pytorch-image-models, `timm/data/auto_augment.py`):
///
/// | operation | range |
/// |---|---|
/// | auto-contrast, equalize, invert | |
/// | rotate | ± 3 m degrees |
/// | shear x, shear y | ± 0.03 m |
/// | translate x, translate y | ± 0.045 m of the side |
/// | posterize | keeps the `floor(0.4 m)` highest bits |
/// | solarize | inverts from `floor(25.6 m)` upwards |
/// | solarize-add | adds `floor(11 m)` below 128 |
/// | colour, contrast, brightness, sharpness | factor 0.1 + 0.18 m |
///
/// As there, posterize and solarize are weaker with larger m. Movements are bilinear (timm draws
/// bilinear or bicubic) and filled with the mean colour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandAugment {
    /// Operations drawn for a picture.
    pub ops: usize,
    /// Mean strength, 0 to 10.
    pub magnitude: f64,
    /// Standard deviation of the strength, at least 0.
    pub mstd: f64,
}

impl RandAugment {
    /// `rand-m9-mstd0.5`, NAT's setting.
    pub const M9: RandAugment = RandAugment {
        ops: 2,
        magnitude: 9.0,
        mstd: 0.5,
    };

    /// The picture after the operations; it keeps its size.
    pub(crate) fn apply(
        &self,
        mut picture: RgbImage,
        rng: &mut ChaCha8Rng,
        fill: [u8; 3],
    ) -> RgbImage {
        for _ in 0..self.ops {
            let op = OPS[rng.random_range(0..OPS.len() as u32) as usize];
            if rng.random_bool(0.5) {
                let strength = (self.magnitude + self.mstd * normal(rng)).clamp(0.0, 10.0);
                let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
                picture = op.apply(picture, strength, sign, fill);
            }
        }
        picture
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    Solarize,
    SolarizeAdd,
    Colour,
    Contrast,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
}

const OPS: [Op; 15] = [
    Op::AutoContrast,
    Op::Equalize,
    Op::Invert,
    Op::Rotate,
    Op::Posterize,
    Op::Solarize,
    Op::SolarizeAdd,
    Op::Colour,
    Op::Contrast,
    Op::Brightness,
    Op::Sharpness,
    Op::ShearX,
    Op::ShearY,
    Op::TranslateX,
    Op::TranslateY,
];

impl Op {
    fn apply(self, mut picture: RgbImage, strength: f64, sign: f64, fill: [u8; 3]) -> RgbImage {
        let factor = 0.1 + 0.18 * strength;
        let (width, height) = (picture.width as f64, picture.height as f64);
        match self {
            Op::AutoContrast => tone::auto_contrast(&mut picture),
            Op::Equalize => tone::equalize(&mut picture),
            Op::Invert => tone::invert(&mut picture),
            Op::Posterize => tone::posterize(&mut picture, (0.4 * strength) as u32),
            Op::Solarize => tone::solarize(&mut picture, (25.6 * strength) as u16),
            Op::SolarizeAdd => tone::solarize_add(&mut picture, (11.0 * strength) as u8),
            Op::Colour => tone::colour(&mut picture, factor),
            Op::Contrast => tone::contrast(&mut picture, factor),
            Op::Brightness => tone::brightness(&mut picture, factor),
            Op::Sharpness => tone::sharpness(&mut picture, factor),
            Op::Rotate => {
                return Affine::rotation(sign * 3.0 * strength, &picture).apply(&picture, fill);
            }
            Op::ShearX => return Affine::shear_x(sign * 0.03 * strength).apply(&picture, fill),
            Op::ShearY => return Affine::shear_y(sign * 0.03 * strength).apply(&picture, fill),
            Op::TranslateX => {
                return Affine::translation(sign * 0.045 * strength * width, 0.0)
                    .apply(&picture, fill);
            }
            Op::TranslateY => {
                return Affine::translation(0.0, sign * 0.045 * strength * height)
                    .apply(&picture, fill);
            }
        }
        picture
    }
}

/// Standard normal number (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamKey;

    fn picture() -> RgbImage {
        let data = (0..32 * 32_usize)
            .flat_map(|at| [(at % 251) as u8, (at * 7 % 253) as u8, (at / 5) as u8])
            .collect();
        RgbImage {
            width: 32,
            height: 32,
            data,
        }
    }

    #[test]
    fn every_operation_changes_the_picture_at_some_strength_and_keeps_its_size() {
        for op in OPS {
            let changed = [1.0, 9.0].into_iter().any(|strength| {
                let result = op.apply(picture(), strength, 1.0, [1, 2, 3]);
                assert_eq!(
                    (result.width, result.height, result.data.len()),
                    (32, 32, 32 * 32 * 3)
                );
                result != picture()
            });
            assert!(changed, "{op:?}");
        }
    }

    #[test]
    fn a_quarter_of_the_pictures_stays_untouched() {
        let key = StreamKey([5, 0, 0, 0]);
        let untouched = (0..2000)
            .filter(|&stream| {
                RandAugment::M9.apply(picture(), &mut key.rng(stream), [0; 3]) == picture()
            })
            .count();
        assert!((420..620).contains(&untouched), "{untouched} of 2000");
    }

    #[test]
    fn normal_numbers_have_unit_variance() {
        let mut rng = StreamKey([6, 0, 0, 0]).rng(0);
        let numbers: Vec<f64> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let mean = numbers.iter().sum::<f64>() / 20_000.0;
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "mean {mean}, variance {variance}"
        );
    }
}
