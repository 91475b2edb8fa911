//! The fixed view of a picture for measuring.

use serde::{Deserialize, Serialize};

use crate::normalise::Normalisation;
use crate::picture::RgbImage;
use crate::planes;
use crate::scale::{Area, Filter, Scaler};

/// Resize, centre crop, normalise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalTransform {
    /// Resampling filter.
    pub filter: Filter,
    /// Below 1: for resolution r, the shorter side is scaled to `round(r / crop_ratio)`, the longer in proportion (rounded down), and
    /// the centre of r x r is taken; usually 0.875. At 1 the whole picture is scaled to
    /// r x r, whatever its proportions. However small, at least one pixel is seen.
    pub crop_ratio: f64,
    /// Of the result.
    pub normalisation: Normalisation,
}

impl EvalTransform {
    /// Writes `3 * resolution * resolution` values in the order of [`input_index`](crate::input_index).
    ///
    /// # Panics
    /// If `input` has another length, or `crop_ratio` does not lie above 0 and up to 1.
    pub fn apply(
        &self,
        picture: &RgbImage,
        resolution: usize,
        scaler: &mut Scaler,
        input: &mut [f32],
    ) {
        let view = scaler.scale(
            picture,
            self.area(picture, resolution),
            resolution,
            resolution,
            self.filter,
        );
        planes::write(&view, &self.normalisation.values(), input);
    }

    /// The part of the picture that is seen. Scaling just this part gives the pixels of scaling
    /// everything and cropping, without a picture of 40,000 columns for one of 2000x3.
    fn area(&self, picture: &RgbImage, resolution: usize) -> Area {
        assert!(
            self.crop_ratio > 0.0 && self.crop_ratio <= 1.0,
            "crop ratio {} is not in (0, 1]",
            self.crop_ratio
        );
        if self.crop_ratio == 1.0 {
            return Area::whole(picture);
        }
        let shorter = picture.width.min(picture.height);
        // More would show less than a pixel, and of a tiny ratio be no finite number.
        let largest = (resolution * shorter) as f64;
        let scaled_shorter = (resolution as f64 / self.crop_ratio).round().min(largest);
        let span = |length: usize| {
            let scaled = if length == shorter {
                scaled_shorter
            } else {
                (scaled_shorter * length as f64 / shorter as f64).floor()
            };
            let offset = ((scaled - resolution as f64) / 2.0).round_ties_even();
            let pixels = length as f64 / scaled;
            // Where nothing is cut off, rounding may put the crop beyond the picture by a part in 10^16.
            let seen = (resolution as f64 * pixels).min(length as f64);
            ((offset * pixels).min(length as f64 - seen), seen)
        };
        let (left, width) = span(picture.width);
        let (top, height) = span(picture.height);
        Area {
            left,
            top,
            width,
            height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(crop_ratio: f64) -> EvalTransform {
        EvalTransform {
            filter: Filter::Bicubic,
            crop_ratio,
            normalisation: Normalisation::LITE,
        }
    }

    fn flat(width: usize, height: usize) -> RgbImage {
        RgbImage {
            width,
            height,
            data: vec![200; width * height * 3],
        }
    }

    #[test]
    fn the_crop_is_centred() {
        let area = transform(0.875).area(&flat(256, 256), 224);
        assert_eq!(
            area,
            Area {
                left: 16.0,
                top: 16.0,
                width: 224.0,
                height: 224.0
            }
        );
        let area = transform(0.875).area(&flat(512, 256), 224);
        assert_eq!(
            area,
            Area {
                left: 144.0,
                top: 16.0,
                width: 224.0,
                height: 224.0
            }
        );
    }

    #[test]
    fn ratio_one_sees_everything() {
        let area = transform(1.0).area(&flat(300, 200), 64);
        assert_eq!(
            area,
            Area {
                left: 0.0,
                top: 0.0,
                width: 300.0,
                height: 200.0
            }
        );
    }

    #[test]
    fn the_crop_lies_in_the_picture() {
        for ratio in [0.1, 0.875, 0.99, 0.995, 0.999, 1.0 - f64::EPSILON] {
            for length in 1..300 {
                for resolution in [1, 32, 56, 57, 224] {
                    let (width, height) = (length, 300 - length);
                    let picture = RgbImage {
                        width,
                        height,
                        data: Vec::new(),
                    };
                    let area = transform(ratio).area(&picture, resolution);
                    let case = format!("{ratio} at {resolution} of {width}x{height}: {area:?}");
                    assert!(area.left >= 0.0 && area.top >= 0.0, "{case}");
                    assert!(area.left + area.width <= width as f64, "{case}");
                    assert!(area.top + area.height <= height as f64, "{case}");
                }
            }
        }
        let mut input = vec![0.0; 3 * 56 * 56];
        transform(0.995).apply(&flat(58, 58), 56, &mut Scaler::default(), &mut input);
    }

    #[test]
    fn a_tiny_ratio_sees_a_pixel() {
        for ratio in [1e-3, 1e-300, f64::from_bits(1)] {
            let area = transform(ratio).area(&flat(101, 51), 64);
            let pixel = Area {
                left: 50.0,
                top: 25.0,
                width: 1.0,
                height: 1.0,
            };
            assert_eq!(area, pixel, "{ratio}");
            let mut input = vec![0.0; 3 * 64 * 64];
            transform(ratio).apply(&flat(101, 51), 64, &mut Scaler::default(), &mut input);
        }
    }

    #[test]
    fn extreme_shapes_work_at_every_size() {
        for (width, height) in [(2000, 3), (3, 2000), (1, 1), (65_000, 1)] {
            for resolution in [1, 32, 256] {
                for ratio in [0.5, 0.875, 1.0] {
                    let mut input = vec![0.0; 3 * resolution * resolution];
                    transform(ratio).apply(
                        &flat(width, height),
                        resolution,
                        &mut Scaler::default(),
                        &mut input,
                    );
                    let expected = (200.0 - 127.0) / 128.0;
                    assert!(
                        input.iter().all(|value| (value - expected).abs() < 0.02),
                        "{width}x{height} at {resolution}"
                    );
                }
            }
        }
    }
}
