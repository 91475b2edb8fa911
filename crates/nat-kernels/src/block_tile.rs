//! Moving sixteen channels of an NHWC image into a contiguous tile and back.

use std::ops::Range;

use crate::depthwise::BLOCK;
use crate::workspace::Shared;

/// Channels of block number `index`, the last of which may be narrower.
pub(crate) fn channels(index: usize, all: usize) -> Range<usize> {
    index * BLOCK..((index + 1) * BLOCK).min(all)
}

/// One value for every channel of a block, zeros behind the last.
#[inline(always)]
pub(crate) fn lanes(values: &[f32], range: &Range<usize>) -> [f32; BLOCK] {
    let mut lanes = [0.0; BLOCK];
    lanes[..range.len()].copy_from_slice(&values[range.clone()]);
    lanes
}

/// Fills `tile` by `map` of each pixel of an image of `all` channels.
#[inline(always)]
pub(crate) fn gather(
    image: &[f32],
    all: usize,
    range: &Range<usize>,
    tile: &mut [f32],
    map: impl Fn(usize, f32) -> f32,
) {
    let (pixels, _) = tile.as_chunks_mut::<BLOCK>();
    if range.len() == BLOCK {
        for (out, pixel) in pixels.iter_mut().zip(image.chunks_exact(all)) {
            let pixel: &[f32; BLOCK] = pixel[range.clone()].try_into().expect("a whole block");
            for j in 0..BLOCK {
                out[j] = map(j, pixel[j]);
            }
        }
    } else {
        for (out, pixel) in pixels.iter_mut().zip(image.chunks_exact(all)) {
            *out = [0.0; BLOCK];
            for (j, value) in pixel[range.clone()].iter().enumerate() {
                out[j] = map(j, *value);
            }
        }
    }
}

/// [`gather`] of two images at once.
#[inline(always)]
pub(crate) fn gather_two(
    (first, second): (&[f32], &[f32]),
    all: usize,
    range: &Range<usize>,
    tile: &mut [f32],
    map: impl Fn(usize, f32, f32) -> f32,
) {
    let (pixels, _) = tile.as_chunks_mut::<BLOCK>();
    let images = first.chunks_exact(all).zip(second.chunks_exact(all));
    if range.len() == BLOCK {
        for (out, (first, second)) in pixels.iter_mut().zip(images) {
            let first: &[f32; BLOCK] = first[range.clone()].try_into().expect("a whole block");
            let second: &[f32; BLOCK] = second[range.clone()].try_into().expect("a whole block");
            for j in 0..BLOCK {
                out[j] = map(j, first[j], second[j]);
            }
        }
    } else {
        for (out, (first, second)) in pixels.iter_mut().zip(images) {
            *out = [0.0; BLOCK];
            let values = first[range.clone()].iter().zip(&second[range.clone()]);
            for (j, (first, second)) in values.enumerate() {
                out[j] = map(j, *first, *second);
            }
        }
    }
}

/// Writes a tile to its channels of the rows from `first` on.
pub(crate) fn scatter(
    tile: &[f32],
    target: &Shared,
    (first, all): (usize, usize),
    range: &Range<usize>,
) {
    for (pixel, values) in tile.as_chunks::<BLOCK>().0.iter().enumerate() {
        let start = (first + pixel) * all + range.start;
        // SAFETY: the callers' items each have channels of their own in the image.
        let place = unsafe { target.slice(start, range.len()) };
        match place.as_mut_array::<BLOCK>() {
            Some(place) => *place = *values,
            None => place.copy_from_slice(&values[..range.len()]),
        }
    }
}

/// The part of `scratch` that begins on a cache line, as consecutive tiles of the given numbers of pixels.
///
/// # Panics
/// If `scratch` has less than [`scratch_len`] values.
pub(crate) fn tiles<const N: usize>(scratch: &mut [f32], pixels: [usize; N]) -> [&mut [f32]; N] {
    let start = scratch.as_ptr().align_offset(64).min(BLOCK);
    let mut rest = &mut scratch[start..];
    pixels.map(|pixels| {
        let (tile, behind) = std::mem::take(&mut rest).split_at_mut(pixels * BLOCK);
        rest = behind;
        tile
    })
}

/// Values of scratch that [`tiles`] needs for so many pixels in all.
pub(crate) fn scratch_len(pixels: usize) -> usize {
    (pixels + 1) * BLOCK
}

/// Tap by tap for every block of channels: `[blocks][kernel * kernel][BLOCK]`, zeros behind the last channel.
pub(crate) fn kernel_blocks(weight: &[f32], channels: usize, taps: usize) -> Vec<f32> {
    let mut blocks = vec![0.0; channels.next_multiple_of(BLOCK) * taps];
    for (channel, kernel) in weight.chunks_exact(taps).take(channels).enumerate() {
        let start = channel / BLOCK * taps * BLOCK + channel % BLOCK;
        for (tap, value) in kernel.iter().enumerate() {
            blocks[start + tap * BLOCK] = *value;
        }
    }
    blocks
}
