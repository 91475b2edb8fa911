//! Mixtures of the images of a batch: mixup (Zhang et al. 2018, facebookresearch/mixup-cifar10) and CutMix (Yun et al. 2019,
//! clovaai/CutMix-PyTorch).

use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use crate::batch::Batch;
use crate::planes;
use crate::stream::StreamKey;

/// How the images of a batch are mixed. Where both are on, a fair coin decides for each batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixing {
    /// Both parameters of the Beta distribution of an image's own weight, 0.01 to 100; 0 turns mixup off.
    pub mixup: f64,
    /// The same for the share of its pixels that an image keeps; 0 turns CutMix off.
    pub cutmix: f64,
}

/// What the images of a mixed batch hold besides themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// Labels of the images that were mixed in, in batch order.
    pub labels: Vec<usize>,
    /// Weight of an image's own label, 0 to 1; the label mixed in has the rest.
    pub share: f32,
}

impl Mixing {
    /// Mixes each image with another one of the batch, or with itself where the random order of partners says so.
    ///
    /// # Panics
    /// A parameter is neither 0 nor positive and finite.
    pub fn apply(&self, batch: &mut Batch, key: &StreamKey) {
        let mut rng = key.rng(0);
        let (alpha, cut) = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (false, false) => return,
            (true, false) => (self.mixup, false),
            (false, true) => (self.cutmix, true),
            (true, true) if rng.random_bool(0.5) => (self.mixup, false),
            (true, true) => (self.cutmix, true),
        };
        let beta = Beta::new(alpha, alpha).expect("the parameters are positive and finite");
        let share = beta.sample(&mut rng);
        let mut partners: Vec<usize> = (0..batch.labels.len()).collect();
        partners.shuffle(&mut rng);
        let share = if cut {
            let rectangle = rectangle(batch.resolution, share, &mut rng);
            batch.cut(&partners, rectangle)
        } else {
            batch.blend(&partners, share as f32);
            share as f32
        };
        batch.mixture = Some(Mixture {
            labels: partners.iter().map(|&other| batch.labels[other]).collect(),
            share,
        });
    }
}

/// Rows and columns of the rectangle that is replaced: `1 - share` of the area with the sides in proportion, its centre
/// anywhere, cut off at the border.
fn rectangle(side: usize, share: f64, rng: &mut ChaCha8Rng) -> [Range<usize>; 2] {
    let length = (side as f64 * (1.0 - share).sqrt()) as usize;
    [(); 2].map(|()| {
        let centre = rng.random_range(0..side as u32) as usize;
        centre.saturating_sub(length / 2)..(centre + length / 2).min(side)
    })
}

impl Batch {
    /// Adds the partners' pixels with the weight that `share` leaves.
    fn blend(&mut self, partners: &[usize], share: f32) {
        let values = self.images.len() / partners.len();
        let before = self.images.clone();
        for (image, &other) in self.images.chunks_exact_mut(values).zip(partners) {
            let other = &before[other * values..][..values];
            for (own, other) in image.iter_mut().zip(other) {
                *own = share * *own + (1.0 - share) * other;
            }
        }
    }

    /// Puts the partners' rectangle in place of one's own; gives the share of the pixels that are left.
    fn cut(&mut self, partners: &[usize], [rows, columns]: [Range<usize>; 2]) -> f32 {
        let (side, values) = (self.resolution, self.images.len() / partners.len());
        let area = rows.len() * columns.len();
        let spans: Vec<_> = planes::spans(side, rows, columns).collect();
        let before = self.images.clone();
        for (image, &other) in self.images.chunks_exact_mut(values).zip(partners) {
            let other = &before[other * values..][..values];
            for span in &spans {
                image[span.clone()].copy_from_slice(&other[span.clone()]);
            }
        }
        (1.0 - area as f64 / (side * side) as f64) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 12;

    /// Image `j` is `j` everywhere and has the label `10 + j`.
    fn batch() -> Batch {
        Batch {
            images: (0..5).flat_map(|j| [j as f32; 3 * SIDE * SIDE]).collect(),
            labels: (10..15).collect(),
            resolution: SIDE,
            mixture: None,
        }
    }

    fn mixed(mixup: f64, cutmix: f64, step: u64) -> Batch {
        let mut batch = batch();
        Mixing { mixup, cutmix }.apply(&mut batch, &StreamKey([1, 2, 3, step]));
        batch
    }

    /// Image, what was mixed in, and the weight of the former.
    fn pairs(batch: &Batch) -> Vec<(usize, usize, f32)> {
        let mixture = batch.mixture.as_ref().unwrap();
        let others = mixture.labels.iter().enumerate();
        others
            .map(|(image, label)| (image, label - 10, mixture.share))
            .collect()
    }

    #[test]
    fn mixup_weighs_pixels_as_it_weighs_labels() {
        let mut shares = Vec::new();
        for step in 0..400 {
            let batch = mixed(0.2, 0.0, step);
            for (image, other, share) in pairs(&batch) {
                assert!((0.0..=1.0).contains(&share), "{share}");
                let expected = share * image as f32 + (1.0 - share) * other as f32;
                let pixels = &batch.images[image * 3 * SIDE * SIDE..][..3 * SIDE * SIDE];
                assert!(pixels.iter().all(|pixel| (pixel - expected).abs() < 1e-5));
            }
            shares.push(batch.mixture.unwrap().share);
        }
        // Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
        let mean = shares.iter().sum::<f32>() / 400.0;
        let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / 400.0;
        assert!((mean - 0.5).abs() < 0.06, "{mean}");
        assert!((variance - 1.0 / 5.6).abs() < 0.02, "{variance}");
    }

    #[test]
    fn cutmix_weighs_labels_by_the_pixels_that_are_seen() {
        let mut shares = Vec::new();
        for step in 0..400 {
            let batch = mixed(0.0, 1.0, step);
            for (image, other, share) in pairs(&batch) {
                let pixels = &batch.images[image * 3 * SIDE * SIDE..][..3 * SIDE * SIDE];
                let own = pixels.iter().filter(|&&pixel| pixel == image as f32);
                let seen = own.count() as f32 / pixels.len() as f32;
                let expected = if image == other { 1.0 } else { share };
                assert!((seen - expected).abs() < 1e-6, "{seen} for {expected}");
                assert!(
                    pixels
                        .iter()
                        .all(|&p| p == image as f32 || p == other as f32)
                );
            }
            shares.push(batch.mixture.unwrap().share);
        }
        let (least, most) = shares
            .iter()
            .fold((1f32, 0f32), |(l, m), &s| (l.min(s), m.max(s)));
        assert!(least < 0.4 && most > 0.95, "{least} to {most}");
    }

    #[test]
    fn a_coin_chooses_where_both_are_on_and_equal_keys_give_equal_batches() {
        let blended = |batch: &Batch| batch.images.iter().any(|pixel| pixel.fract() != 0.0);
        let heads = (0..200).filter(|&step| blended(&mixed(1.0, 1.0, step)));
        assert!((70..130).contains(&heads.count()));
        assert_eq!(mixed(1.0, 1.0, 7), mixed(1.0, 1.0, 7));
        assert_ne!(mixed(1.0, 1.0, 7), mixed(1.0, 1.0, 8));
        assert_eq!(mixed(0.0, 0.0, 7), batch());
    }
}
