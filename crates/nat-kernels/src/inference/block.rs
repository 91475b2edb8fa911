//! An inverted bottleneck without batch norms.

use std::ops::Range;

use pulp::Arch;

use super::dense::{Dense, Folded};
use super::{GROUPS, group, images};
use crate::activation::{Activation, Function, with_function};
use crate::block_tile::{channels, gather, kernel_blocks, lanes, scatter, scratch_len, tiles};
use crate::depthwise::{self, BLOCK, Plane};
use crate::matmul::{Matrix, Size, product};
use crate::slabs::share;
use crate::squeeze_excite::h_sigmoid;
use crate::workspace::{Shared, Workspace};

/// Weights of a block in the order in which they are used.
#[derive(Clone, Copy, Debug)]
pub struct FoldedBlock<'a> {
    /// The 1x1 expansion, if any.
    pub expand: Option<Folded<'a>>,
    /// The depthwise convolution: `[middle, kernel * kernel]`.
    pub depthwise: Folded<'a>,
    /// The squeeze-excite, if any.
    pub squeeze_excite: Option<FoldedSqueezeExcite<'a>>,
    /// The 1x1 projection.
    pub project: Folded<'a>,
    /// After expansion and depthwise convolution.
    pub activation: Activation,
    /// Whether the input is added to the output.
    pub residual: bool,
}

/// The two 1x1 convolutions of a squeeze-excite; a ReLU and an h-sigmoid follow.
#[derive(Clone, Copy, Debug)]
pub struct FoldedSqueezeExcite<'a> {
    /// To the squeeze width.
    pub reduce: Folded<'a>,
    /// Back to the full width.
    pub expand: Folded<'a>,
}

/// An inverted bottleneck, ready to run.
#[derive(Clone, Debug)]
pub struct Block {
    expand: Option<Panels>,
    /// `[blocks of channels][kernel * kernel][BLOCK]`.
    kernels: Vec<f32>,
    depthwise_bias: Vec<f32>,
    squeeze_excite: Option<[Dense; 2]>,
    project: Dense,
    activation: Activation,
    residual: bool,
}

/// Rows that are expanded, then activated while they lie in the first-level cache.
const CHUNK: usize = 384;

/// The expansion, sixteen outputs at a time.
#[derive(Clone, Debug)]
struct Panels {
    /// `[blocks of channels][inputs][BLOCK]`, zeros behind the last channel.
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Panels {
    fn new(folded: Folded) -> Self {
        let outputs = folded.bias.len();
        let inputs = folded.weight.len() / outputs;
        let mut weight = vec![0.0; outputs.next_multiple_of(BLOCK) * inputs];
        for (output, row) in folded.weight.chunks_exact(inputs).enumerate() {
            let start = output / BLOCK * inputs * BLOCK + output % BLOCK;
            for (input, value) in row.iter().enumerate() {
                weight[start + input * BLOCK] = *value;
            }
        }
        Self {
            weight,
            bias: folded.bias.to_vec(),
            inputs,
        }
    }

    /// Block number `block` of the activated expansion of all rows of `x`.
    fn run(&self, block: usize, activation: Activation, x: &[f32], tile: &mut [f32]) {
        let panel = &self.weight[block * self.inputs * BLOCK..][..self.inputs * BLOCK];
        let panel = Matrix::rows(panel, BLOCK);
        let bias = lanes(&self.bias, &channels(block, self.bias.len()));
        let parts = x.chunks(CHUNK * self.inputs);
        for (x, tile) in parts.zip(tile.chunks_mut(CHUNK * BLOCK)) {
            let size = Size {
                rows: x.len() / self.inputs,
                depth: self.inputs,
                columns: BLOCK,
            };
            let x = Matrix::rows(x, self.inputs);
            product(size, x, panel, tile, BLOCK, false);
            activate(tile, &bias, activation);
        }
    }
}

fn activate(tile: &mut [f32], bias: &[f32; BLOCK], activation: Activation) {
    with_function!(activation, F => Arch::new().dispatch(|| {
        for pixel in tile.as_chunks_mut::<BLOCK>().0 {
            for (value, bias) in pixel.iter_mut().zip(bias) {
                *value = F::value(*value + bias);
            }
        }
    }));
}

/// A depthwise output `[images][pixels][channels]` and its sums over the pixels, written by several threads.
#[derive(Clone, Copy)]
struct Convolved<'a> {
    map: Shared<'a>,
    sums: Option<Shared<'a>>,
}

impl Block {
    /// Prepares the weights.
    ///
    /// # Panics
    /// If the sizes of the weights do not fit together.
    pub fn new(folded: &FoldedBlock) -> Self {
        let middle = folded.depthwise.bias.len();
        let taps = folded.depthwise.weight.len() / middle;
        let block = Self {
            expand: folded.expand.map(Panels::new),
            kernels: kernel_blocks(folded.depthwise.weight, middle, taps),
            depthwise_bias: folded.depthwise.bias.to_vec(),
            squeeze_excite: folded.squeeze_excite.map(|gate| {
                [
                    Dense::new(gate.reduce, Activation::Relu),
                    Dense::new(gate.expand, Activation::Identity),
                ]
            }),
            project: Dense::new(folded.project, Activation::Identity),
            activation: folded.activation,
            residual: folded.residual,
        };
        assert_eq!(block.project.inputs(), middle, "the projection's inputs");
        if let Some(expand) = &block.expand {
            assert_eq!(expand.bias.len(), middle, "the expansion's outputs");
        }
        block
    }

    /// Channels that it makes.
    pub fn outputs(&self) -> usize {
        self.project.outputs()
    }

    fn inputs(&self) -> usize {
        match &self.expand {
            Some(panels) => panels.inputs,
            None => self.middle(),
        }
    }

    fn middle(&self) -> usize {
        self.depthwise_bias.len()
    }

    /// `y` `[batch, output pixels, outputs]` for `x` `[batch, input pixels, inputs]`.
    pub(crate) fn run(
        &self,
        workspace: &Workspace,
        batch: usize,
        plane: &Plane,
        x: &[f32],
        y: &mut [f32],
    ) {
        let group = group(batch, plane.output.0 * plane.output.1);
        if batch.div_ceil(group) >= GROUPS {
            self.by_images(workspace, (batch, group), plane, x, y);
        } else {
            self.by_channels(workspace, (batch, group), plane, x, y);
        }
    }

    /// Each group of images goes through the whole block on one thread.
    fn by_images(
        &self,
        workspace: &Workspace,
        (batch, group): (usize, usize),
        plane: &Plane,
        x: &[f32],
        y: &mut [f32],
    ) {
        let pixels = plane.output.0 * plane.output.1;
        let (middle, outputs) = (self.middle(), self.outputs());
        let alone = workspace.with_threads(1);
        let shared = Shared::new(y);
        let (map, sums) = (group * pixels * middle, group * middle);
        let scratch = map + sums + self.tile_scratch(plane, group);
        workspace.for_each_with(batch.div_ceil(group), scratch, |item, scratch| {
            let images = images(item, group, batch);
            let x = self.rows_of(plane, images.clone(), x);
            let (map, rest) = scratch.split_at_mut(map);
            let (sums, scratch) = rest.split_at_mut(sums);
            let map = &mut map[..images.len() * pixels * middle];
            let sums = &mut sums[..images.len() * middle];
            let convolved = Convolved {
                map: Shared::new(map),
                sums: self.squeeze_excite.is_some().then(|| Shared::new(sums)),
            };
            for block in 0..middle.div_ceil(BLOCK) {
                self.convolve(plane, (0..images.len(), block), x, convolved, scratch);
            }
            if let Some(gate) = self.gate(&alone, pixels, sums) {
                let images = map.chunks_exact_mut(pixels * middle);
                for (map, gate) in images.zip(gate.chunks_exact(middle)) {
                    excite(map, gate);
                }
            }
            let rows = images.start * pixels..images.end * pixels;
            // SAFETY: every item has images of its own.
            let y = unsafe { shared.slice(rows.start * outputs, rows.len() * outputs) };
            let residual = self.residual.then_some(x);
            self.project.run_into(&alone, rows.len(), map, residual, y);
        });
    }

    /// All images go through each half of the block, by channels.
    fn by_channels(
        &self,
        workspace: &Workspace,
        (batch, group): (usize, usize),
        plane: &Plane,
        x: &[f32],
        y: &mut [f32],
    ) {
        let pixels = plane.output.0 * plane.output.1;
        let middle = self.middle();
        let blocks = middle.div_ceil(BLOCK);
        let mut map = workspace.take(batch * pixels * middle);
        let mut sums = workspace.take(batch * middle);
        let convolved = Convolved {
            map: Shared::new(&mut map),
            sums: self
                .squeeze_excite
                .is_some()
                .then(|| Shared::new(&mut sums)),
        };
        let scratch = self.tile_scratch(plane, group);
        workspace.for_each_with(batch.div_ceil(group) * blocks, scratch, |item, scratch| {
            let images = images(item / blocks, group, batch);
            let x = self.rows_of(plane, images.clone(), x);
            self.convolve(plane, (images, item % blocks), x, convolved, scratch);
        });
        if let Some(gate) = self.gate(workspace, pixels, &mut sums) {
            let shared = Shared::new(&mut map);
            let parts = batch.max(GROUPS).min(batch * pixels);
            workspace.for_each(parts, |part| {
                let rows = share(batch * pixels, parts, part);
                for row in rows {
                    // SAFETY: every item has rows of its own.
                    let values = unsafe { shared.slice(row * middle, middle) };
                    excite(values, &gate[row / pixels * middle..][..middle]);
                }
            });
        }
        let residual = self.residual.then_some(x);
        self.project
            .run_into(workspace, batch * pixels, &map, residual, y);
    }

    fn rows_of<'a>(&self, plane: &Plane, images: Range<usize>, x: &'a [f32]) -> &'a [f32] {
        let image = plane.input.0 * plane.input.1 * self.inputs();
        &x[images.start * image..images.end * image]
    }

    fn tile_scratch(&self, plane: &Plane, images: usize) -> usize {
        let [inputs, outputs] = [plane.input, plane.output].map(|(rows, columns)| rows * columns);
        scratch_len(images * (inputs + outputs) + plane.kernel * plane.kernel)
    }

    /// One block of channels of the activated depthwise output of `images`, whose input is `x`.
    fn convolve(
        &self,
        plane: &Plane,
        (images, block): (Range<usize>, usize),
        x: &[f32],
        target: Convolved,
        scratch: &mut [f32],
    ) {
        let middle = self.middle();
        let range = channels(block, middle);
        let [inputs, outputs] = [plane.input, plane.output].map(|(rows, columns)| rows * columns);
        let taps = plane.kernel * plane.kernel;
        let count = images.len();
        let [x_tile, z_tile, kernel] = tiles(scratch, [count * inputs, count * outputs, taps]);
        kernel.copy_from_slice(&self.kernels[block * taps * BLOCK..][..taps * BLOCK]);
        match &self.expand {
            Some(panels) => panels.run(block, self.activation, x, x_tile),
            None => Arch::new().dispatch(|| gather(x, middle, &range, x_tile, |_, x| x)),
        }
        let bias = lanes(&self.depthwise_bias, &range);
        let pairs = x_tile
            .chunks_exact(inputs * BLOCK)
            .zip(z_tile.chunks_exact_mut(outputs * BLOCK));
        for (image, (x, z)) in images.zip(pairs) {
            depthwise::forward(plane, x, kernel, z);
            activate(z, &bias, self.activation);
            if let Some(sums) = &target.sums {
                // SAFETY: every caller has channels of its own in its images.
                let place = unsafe { sums.slice(image * middle + range.start, range.len()) };
                place.copy_from_slice(&sum(z)[..range.len()]);
            }
            scatter(z, &target.map, (image * outputs, middle), &range);
        }
    }

    /// The gate `[images, middle]` for sums over `pixels` pixels, if the block has one.
    fn gate(&self, workspace: &Workspace, pixels: usize, sums: &mut [f32]) -> Option<Vec<f32>> {
        let [reduce, expand] = self.squeeze_excite.as_ref()?;
        for sum in sums.iter_mut() {
            *sum *= 1.0 / pixels as f32;
        }
        let images = sums.len() / self.middle();
        let hidden = reduce.run(workspace, images, sums);
        let mut gate = expand.run(workspace, images, &hidden);
        for value in &mut gate {
            *value = h_sigmoid(*value);
        }
        Some(gate)
    }
}

/// The sum over the pixels of a tile.
fn sum(tile: &[f32]) -> [f32; BLOCK] {
    let mut sums = [0.0; BLOCK];
    Arch::new().dispatch(|| {
        for pixel in tile.as_chunks::<BLOCK>().0 {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
    });
    sums
}

/// Multiplies rows of one image by its gate.
fn excite(rows: &mut [f32], gate: &[f32]) {
    for row in rows.chunks_exact_mut(gate.len()) {
        for (value, gate) in row.iter_mut().zip(gate) {
            *value *= gate;
        }
    }
}
