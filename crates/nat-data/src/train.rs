//! The random view of a picture for training.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::normalise::Normalisation;
use crate::picture::RgbImage;
use crate::planes;
use crate::rand_augment::RandAugment;
use crate::scale::{Area, Filter, Scaler};

/// Random resized crop, mirror, RandAugment, normalise, cutout, in this order.
///
/// NAT's own setting is area 0.08 to 1, mirror, `rand-m9-mstd0.5` and a cutout of a quarter of the
/// side (56 of 224 pixels).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainTransform {
    /// Pictures are reduced to this shorter side, pixels, before they are cropped, which is done once for
    /// all epochs; `None` crops them as they are. Those of which this would not halve the pixels are left.
    ///
    /// An approximation: a crop is resampled twice, and small ones may be enlarged where the original
    /// had the pixels for them. Which parts of a picture are seen, and how often, is the same. A
    /// working size of [`working_side_for`](TrainTransform::working_side_for) the largest resolution loses
    /// little, makes a crop as cheap as its result, and lets the set's cache hold many more pictures:
    /// 83 kB each at 4:3 for 96 pixels. [`EvalTransform`](crate::EvalTransform) never sees it.
    pub working_side: Option<usize>,
    /// Smallest share of the picture's area that a crop covers, in (0, 1]. At 1 pictures within
    /// `ratio` are taken whole.
    pub min_area: f64,
    /// Smallest and largest width / height of a crop, usually 3/4 and 4/3.
    pub ratio: (f64, f64),
    /// Mirror left-right every second time.
    pub flip: bool,
    /// Random operations on the pixels.
    pub rand_augment: Option<RandAugment>,
    /// Side of the square that is set to the mean colour, as a share of the resolution, in (0, 1].
    pub cutout: Option<f64>,
    /// Of the result.
    pub normalisation: Normalisation,
    /// Resampling filter of the crop.
    pub filter: Filter,
}

impl TrainTransform {
    /// [`working_side`](TrainTransform::working_side) for resolutions up to `largest` and crops from
    /// `min_area` upwards: 1.5 times the resolution, or as much less as the smallest crop still has its
    /// pixels with.
    pub fn working_side_for(largest: usize, min_area: f64) -> usize {
        (largest as f64 * min_area.sqrt().recip().min(1.5)).ceil() as usize
    }

    /// Writes `3 * resolution * resolution` values in the order of [`input_index`](crate::input_index). The picture is cropped as it
    /// comes: reducing it is the caller's, [`batch()`](crate::batch()) for one.
    ///
    /// # Panics
    /// If `input` has another length, or a field is outside its range.
    pub fn apply(
        &self,
        picture: &RgbImage,
        resolution: usize,
        rng: &mut ChaCha8Rng,
        scaler: &mut Scaler,
        input: &mut [f32],
    ) {
        let area = self.crop(picture, rng);
        let mut view = scaler.scale(picture, area, resolution, resolution, self.filter);
        if self.flip && rng.random_bool(0.5) {
            mirror(&mut view);
        }
        if let Some(rand_augment) = &self.rand_augment {
            view = rand_augment.apply(view, rng, self.normalisation.mean_colour());
        }
        planes::write(&view, &self.normalisation.values(), input);
        if let Some(share) = self.cutout {
            cut_out(input, resolution, share, rng);
        }
    }

    /// torchvision's `RandomResizedCrop`: area uniform, logarithm of the ratio uniform, ten tries,
    /// then the largest centred crop within the ratios.
    fn crop(&self, picture: &RgbImage, rng: &mut ChaCha8Rng) -> Area {
        let (lowest, highest) = self.ratio;
        assert!(
            self.min_area > 0.0 && self.min_area <= 1.0,
            "smallest area {} is not in (0, 1]",
            self.min_area
        );
        assert!(
            lowest > 0.0 && lowest <= highest,
            "ratios {lowest} to {highest} are no range"
        );
        let (full_width, full_height) = (picture.width as f64, picture.height as f64);
        for _ in 0..10 {
            let area = full_width * full_height * rng.random_range(self.min_area..=1.0);
            let ratio = rng.random_range(lowest.ln()..=highest.ln()).exp();
            let (width, height) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
            if (1.0..=full_width).contains(&width) && (1.0..=full_height).contains(&height) {
                let left = rng.random_range(0..=picture.width as u32 - width as u32);
                let top = rng.random_range(0..=picture.height as u32 - height as u32);
                return Area {
                    left: left.into(),
                    top: top.into(),
                    width,
                    height,
                };
            }
        }
        let ratio = full_width / full_height;
        let (width, height) = if ratio < lowest {
            (full_width, (full_width / lowest).round())
        } else if ratio > highest {
            ((full_height * highest).round(), full_height)
        } else {
            (full_width, full_height)
        };
        Area {
            left: ((full_width - width) / 2.0).floor(),
            top: ((full_height - height) / 2.0).floor(),
            width: width.max(1.0),
            height: height.max(1.0),
        }
    }
}

fn mirror(picture: &mut RgbImage) {
    for row in picture.data.chunks_exact_mut(picture.width * 3) {
        let (pixels, _) = row.as_chunks_mut::<3>();
        pixels.reverse();
    }
}

/// Zeroes one square in all channels, its centre anywhere, cut off at the border (DeVries and Taylor
/// 2017). On normalised values zero is the mean colour.
fn cut_out(input: &mut [f32], resolution: usize, share: f64, rng: &mut ChaCha8Rng) {
    assert!(
        share > 0.0 && share <= 1.0,
        "cutout {share} is not in (0, 1]"
    );
    let side = ((resolution as f64 * share).round() as usize).max(1);
    let mut span = || {
        let centre = rng.random_range(0..resolution as u32) as usize;
        centre.saturating_sub(side / 2)..(centre + side - side / 2).min(resolution)
    };
    let (rows, columns) = (span(), span());
    for span in planes::spans(resolution, rows, columns) {
        input[span].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamKey;

    const PLAIN: TrainTransform = TrainTransform {
        working_side: None,
        min_area: 0.08,
        ratio: (3.0 / 4.0, 4.0 / 3.0),
        flip: false,
        rand_augment: None,
        cutout: None,
        normalisation: Normalisation::LITE,
        filter: Filter::Bicubic,
    };

    fn rng(stream: u64) -> ChaCha8Rng {
        StreamKey([3, 0, 0, 0]).rng(stream)
    }

    fn flat(width: usize, height: usize) -> RgbImage {
        RgbImage {
            width,
            height,
            data: vec![200; width * height * 3],
        }
    }

    #[test]
    fn crops_cover_the_range_and_stay_inside() {
        let picture = flat(160, 120);
        let mut shares = Vec::new();
        for stream in 0..2000 {
            let area = PLAIN.crop(&picture, &mut rng(stream));
            assert!(
                area.left >= 0.0 && area.left + area.width <= 160.0,
                "{area:?}"
            );
            assert!(
                area.top >= 0.0 && area.top + area.height <= 120.0,
                "{area:?}"
            );
            let ratio = area.width / area.height;
            assert!((0.7..1.4).contains(&ratio), "{area:?}");
            shares.push(area.width * area.height / (160.0 * 120.0));
        }
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        // Below the 0.54 of the draw: large crops of another shape than the picture do not fit.
        assert!((0.40..0.50).contains(&mean), "mean share {mean}");
        assert!(shares.iter().all(|share| (0.075..=1.0).contains(share)));
    }

    #[test]
    fn whole_area_takes_the_whole_picture() {
        let whole = TrainTransform {
            min_area: 1.0,
            ..PLAIN
        };
        for stream in 0..20 {
            assert_eq!(
                whole.crop(&flat(64, 64), &mut rng(stream)),
                Area::whole(&flat(64, 64))
            );
        }
    }

    #[test]
    fn extreme_shapes_have_crops() {
        for (width, height) in [(2000, 3), (3, 2000), (1, 1), (1, 2), (65_000, 1)] {
            for stream in 0..20 {
                let mut input = vec![0.0; 3 * 32 * 32];
                PLAIN.apply(
                    &flat(width, height),
                    32,
                    &mut rng(stream),
                    &mut Scaler::default(),
                    &mut input,
                );
                assert!(
                    input
                        .iter()
                        .all(|value| (value - 73.0 / 128.0).abs() < 0.02)
                );
            }
        }
    }

    #[test]
    fn the_working_side_leaves_the_smallest_crop_its_pixels_up_to_half_as_many_again() {
        assert_eq!(TrainTransform::working_side_for(96, 1.0), 96);
        assert_eq!(TrainTransform::working_side_for(96, 0.64), 120);
        assert_eq!(TrainTransform::working_side_for(96, 0.35), 144);
        assert_eq!(TrainTransform::working_side_for(225, 0.08), 338);
    }

    #[test]
    fn mirrors_rows() {
        let mut picture = RgbImage {
            width: 2,
            height: 2,
            data: (0..12).collect(),
        };
        mirror(&mut picture);
        assert_eq!(picture.data, [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]);
    }

    #[test]
    fn cutout_is_a_square_of_its_side_or_less() {
        let mut largest = 0;
        for stream in 0..200 {
            let mut input = vec![1.0; 3 * 32 * 32];
            cut_out(&mut input, 32, 0.25, &mut rng(stream));
            let zeros = input.iter().filter(|value| **value == 0.0).count() / 3;
            assert!((16..=64).contains(&zeros), "{zeros}");
            largest = largest.max(zeros);
        }
        assert_eq!(largest, 64);
    }
}
