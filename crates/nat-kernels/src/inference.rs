//! Networks whose batch norms are folded into the convolutions: what is measured, and what a user runs.
//!
//! Nothing is kept for gradients, so a block runs image by image, or some small images at a time: sixteen channels are
//! expanded straight into a tile, activated, convolved and activated while they lie in the cache, and only the narrow
//! output of the block goes to memory. Where there are too few images to go around, the channels are divided instead.

mod block;
mod dense;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::activation::Activation;
use crate::depthwise::Plane;
use crate::slabs::{Slabs, columns};
use crate::stem;
use crate::workspace::{Shared, Workspace};

pub use block::{Block, FoldedBlock, FoldedSqueezeExcite};
pub use dense::{Dense, Folded};

/// Images are divided into groups if that makes at least so many, else their channels.
const GROUPS: usize = 8;

/// Fewest rows of a product that one group of images should make.
const ROWS: usize = 64;

/// A network without batch norms.
#[derive(Clone, Debug)]
pub struct Network {
    /// The first convolution, as a product with the windows of the images: `[outputs, inputs * kernel * kernel]`.
    pub stem: Dense,
    /// Inverted bottlenecks in order.
    pub blocks: Vec<Block>,
    /// The last 1x1 convolution; the mean over the pixels follows.
    pub head: Dense,
    /// Features of features.
    pub mix: Option<Dense>,
    /// Logits of features.
    pub classifier: Dense,
}

impl Network {
    /// Logits `[batch, classes]` of `images` `[batch, inputs, height, width]`.
    ///
    /// `planes` are the convolutions of the stem and of the blocks' depthwise ones, in order. The logits of an image depend
    /// neither on the number of threads nor, up to rounding, on the images beside it.
    ///
    /// # Panics
    /// If there are not as many planes as convolutions, or a slice is shorter than they say.
    pub fn logits(
        &self,
        workspace: &Workspace,
        batch: usize,
        planes: &[Plane],
        images: &[f32],
    ) -> Vec<f32> {
        self.logits_watched(workspace, batch, planes, images, &mut || {})
    }

    /// [`Network::logits`] that calls `done` behind every part: the stem, each block, the last convolution with its
    /// mean, the features of features if there are any, the classifier.
    ///
    /// # Panics
    /// As [`Network::logits`].
    pub fn logits_watched(
        &self,
        workspace: &Workspace,
        batch: usize,
        planes: &[Plane],
        images: &[f32],
        done: &mut dyn FnMut(),
    ) -> Vec<f32> {
        assert_eq!(
            planes.len(),
            self.blocks.len() + 1,
            "one plane a convolution"
        );
        if batch == 0 {
            (0..planes.len() + 2 + usize::from(self.mix.is_some())).for_each(|_| done());
            return Vec::new();
        }
        let pixels = |plane: &Plane| plane.output.0 * plane.output.1;
        let (first, planes) = planes.split_first().expect("a network has a stem");
        let mut x = workspace.take(batch * pixels(first) * self.stem.outputs());
        self.stem(workspace, batch, first, images, &mut x);
        done();
        let mut last = pixels(first);
        for (block, plane) in self.blocks.iter().zip(planes) {
            last = pixels(plane);
            let mut y = workspace.take(batch * last * block.outputs());
            block.run(workspace, batch, plane, &x, &mut y);
            x = y;
            done();
        }
        let mut features = self.features(workspace, batch, last, &x);
        done();
        if let Some(mix) = &self.mix {
            features = mix.run(workspace, batch, &features);
            done();
        }
        let logits = self.classifier.run(workspace, batch, &features);
        done();
        logits
    }

    fn stem(
        &self,
        workspace: &Workspace,
        batch: usize,
        plane: &Plane,
        images: &[f32],
        out: &mut [f32],
    ) {
        let window = self.stem.inputs();
        let shape = stem::Shape {
            batch,
            inputs: window / (plane.kernel * plane.kernel),
            plane: *plane,
            activation: Activation::Identity,
            eps: 0.0,
        };
        let outputs = self.stem.outputs();
        let slabs = Slabs::new(batch * plane.output.0 * plane.output.1, window.max(outputs));
        let shared = Shared::new(out);
        let scratch = slabs.height() * window;
        workspace.for_each_with(slabs.count(), scratch, |slab, windows| {
            let rows = slabs.rows(slab);
            let windows = &mut windows[..rows.len() * window];
            shape.windows(images, rows.clone(), windows);
            // SAFETY: every slab has rows of its own.
            let out = unsafe { shared.slice(rows.start * outputs, rows.len() * outputs) };
            self.stem.columns(0..outputs, windows, None, out);
        });
    }

    /// The means over the pixels of the activated last convolution of `x` `[batch, pixels, inputs]`.
    fn features(&self, workspace: &Workspace, batch: usize, pixels: usize, x: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.head.inputs(), self.head.outputs());
        let group = group(batch, pixels);
        let count = batch.div_ceil(group);
        let parts = GROUPS.div_ceil(count).min(outputs.div_ceil(64));
        let mut features = vec![0.0; batch * outputs];
        let shared = Shared::new(&mut features);
        let widest = outputs.div_ceil(parts).next_multiple_of(16);
        workspace.for_each_with(count * parts, group * pixels * widest, |item, map| {
            let images = images(item / parts, group, batch);
            let range = columns(outputs, parts, item % parts);
            let rows = images.start * pixels..images.end * pixels;
            let map = &mut map[..rows.len() * range.len()];
            let x = &x[rows.start * inputs..rows.end * inputs];
            self.head.columns(range.clone(), x, None, map);
            for (image, map) in images.zip(map.chunks_exact(pixels * range.len())) {
                // SAFETY: every item has channels of its own in its images.
                let means = unsafe { shared.slice(image * outputs + range.start, range.len()) };
                for row in map.chunks_exact(range.len()) {
                    for (mean, value) in means.iter_mut().zip(row) {
                        *mean += value;
                    }
                }
                for mean in means {
                    *mean *= 1.0 / pixels as f32;
                }
            }
        });
        features
    }
}

/// How many images make a group at so many pixels each.
fn group(batch: usize, pixels: usize) -> usize {
    ROWS.div_ceil(pixels).min(batch).max(1)
}

/// Images of group number `index`.
fn images(index: usize, group: usize, batch: usize) -> Range<usize> {
    index * group..((index + 1) * group).min(batch)
}
