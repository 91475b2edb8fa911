//! Operations on colours, as Pillow's `ImageOps` and `ImageEnhance` define them.

use crate::picture::RgbImage;

/// Stretches each channel to 0..255.
pub(crate) fn auto_contrast(picture: &mut RgbImage) {
    per_channel(picture, |counts| {
        let low = counts.iter().position(|&n| n > 0)?;
        let high = counts.iter().rposition(|&n| n > 0)?;
        if low == high {
            return None;
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        Some(std::array::from_fn(|v| {
            (v as f64 * scale + offset).clamp(0.0, 255.0) as u8
        }))
    });
}

/// Makes each channel's histogram as flat as whole steps allow.
pub(crate) fn equalize(picture: &mut RgbImage) {
    per_channel(picture, |counts| {
        let last = *counts.iter().rfind(|&&n| n > 0)?;
        let step = (counts.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut below = step / 2;
        Some(std::array::from_fn(|v| {
            let value = below / step;
            below += counts[v];
            value.min(255) as u8
        }))
    });
}

/// Turns light into dark.
pub(crate) fn invert(picture: &mut RgbImage) {
    picture
        .data
        .iter_mut()
        .for_each(|value| *value = 255 - *value);
}

/// Keeps the `bits` highest bits of each value, 0 to 8.
pub(crate) fn posterize(picture: &mut RgbImage, bits: u32) {
    let mask = !(0xFF_u32 >> bits) as u8;
    picture.data.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts values from `threshold` (0 to 256) upwards.
pub(crate) fn solarize(picture: &mut RgbImage, threshold: u16) {
    picture
        .data
        .iter_mut()
        .filter(|value| u16::from(**value) >= threshold)
        .for_each(|value| *value = 255 - *value);
}

/// Adds to values below 128.
pub(crate) fn solarize_add(picture: &mut RgbImage, amount: u8) {
    picture
        .data
        .iter_mut()
        .filter(|value| **value < 128)
        .for_each(|value| *value = value.saturating_add(amount));
}

/// Saturation: 0 is grey, 1 changes nothing.
pub(crate) fn colour(picture: &mut RgbImage, factor: f64) {
    for pixel in picture.data.chunks_exact_mut(3) {
        let grey = luma(pixel);
        pixel
            .iter_mut()
            .for_each(|value| *value = blend(grey, *value, factor));
    }
}

/// Contrast around the mean luma: 0 is flat grey, 1 changes nothing.
pub(crate) fn contrast(picture: &mut RgbImage, factor: f64) {
    let sum: u64 = picture
        .data
        .chunks_exact(3)
        .map(|pixel| u64::from(luma(pixel)))
        .sum();
    let mean = sum as f64 / (picture.width * picture.height) as f64;
    blend_all(picture, (mean + 0.5) as u8, factor);
}

/// Brightness: 0 is black, 1 changes nothing.
pub(crate) fn brightness(picture: &mut RgbImage, factor: f64) {
    blend_all(picture, 0, factor);
}

/// Sharpness: 0 is smoothed (3x3, centre 5 of 13), 1 changes nothing; the outermost pixels stay.
pub(crate) fn sharpness(picture: &mut RgbImage, factor: f64) {
    let original = picture.data.clone();
    let row = picture.width * 3;
    for y in 1..picture.height.saturating_sub(1) {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &original[y * row..][..row]);
        let column = |at: usize| u32::from(above[at]) + u32::from(here[at]) + u32::from(below[at]);
        let sharpened = &mut picture.data[y * row..][..row];
        for at in 3..row - 3 {
            let sum = 4 * u32::from(here[at]) + column(at - 3) + column(at) + column(at + 3);
            let smooth = ((2 * sum + 13) / 26) as u8;
            sharpened[at] = blend(smooth, here[at], factor);
        }
    }
}

/// ITU-R 601 luma in Pillow's fixed-point arithmetic.
fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
}

/// `base + factor * (value - base)`, cut to 0..255, rounded down as Pillow does.
fn blend(base: u8, value: u8, factor: f64) -> u8 {
    let base = f32::from(base);
    (base + factor as f32 * (f32::from(value) - base)).clamp(0.0, 255.0) as u8
}

/// Blends every value with the same base.
fn blend_all(picture: &mut RgbImage, base: u8, factor: f64) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(base, value as u8, factor));
    picture
        .data
        .iter_mut()
        .for_each(|value| *value = table[usize::from(*value)]);
}

/// Replaces the values of each channel by a table made from its histogram; `None` leaves it.
fn per_channel(picture: &mut RgbImage, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
    for c in 0..3 {
        let mut counts = [0; 256];
        picture.data[c..]
            .iter()
            .step_by(3)
            .for_each(|&value| counts[usize::from(value)] += 1);
        if let Some(table) = table(&counts) {
            picture.data[c..]
                .iter_mut()
                .step_by(3)
                .for_each(|value| *value = table[usize::from(*value)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        let data = (0..32 * 32 * 3_u64)
            .map(|i| (20 + (i * 37 + i * i * 11 / 7) % 190) as u8)
            .collect();
        RgbImage {
            width: 32,
            height: 32,
            data,
        }
    }

    /// Sum of all values and sum weighted by position, as computed from Pillow 13.0's results.
    fn assert_as_pillow(name: &str, operation: impl Fn(&mut RgbImage), expected: (u64, u64)) {
        let mut picture = picture();
        operation(&mut picture);
        let values = || picture.data.iter().map(|&v| u64::from(v));
        let found = (
            values().sum(),
            values()
                .zip(0..)
                .map(|(v, i): (u64, u64)| v * (i % 101))
                .sum(),
        );
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn results_are_those_of_pillow() {
        assert_as_pillow("unchanged", |_| (), (350344, 17358917));
        assert_as_pillow("auto-contrast", auto_contrast, (392428, 19440158));
        assert_as_pillow("equalize", equalize, (485851, 24093605));
        assert_as_pillow("posterize", |p| posterize(p, 3), (303296, 15008704));
        assert_as_pillow("solarize", |p| solarize(p, 100), (261218, 12967449));
        assert_as_pillow("solarize-add", |p| solarize_add(p, 99), (526861, 26139326));
        assert_as_pillow("less colour", |p| colour(p, 0.28), (348493, 17284235));
        assert_as_pillow("more colour", |p| colour(p, 1.72), (353661, 17536391));
        assert_as_pillow("less contrast", |p| contrast(p, 0.28), (348739, 17291877));
        assert_as_pillow("more contrast", |p| contrast(p, 1.72), (357277, 17695862));
        assert_as_pillow("darker", |p| brightness(p, 0.28), (96670, 4790067));
        assert_as_pillow("brighter", |p| brightness(p, 1.72), (551324, 27335657));
        assert_as_pillow("softer", |p| sharpness(p, 0.28), (348893, 17279104));
        assert_as_pillow("sharper", |p| sharpness(p, 1.72), (351917, 17443307));
    }

    #[test]
    fn inverting_twice_changes_nothing() {
        let mut twice = picture();
        invert(&mut twice);
        assert_ne!(twice, picture());
        invert(&mut twice);
        assert_eq!(twice, picture());
    }

    #[test]
    fn flat_and_tiny_pictures_survive() {
        for (width, height) in [(1, 1), (2, 1), (1, 2), (3, 3)] {
            let flat = RgbImage {
                width,
                height,
                data: vec![90; width * height * 3],
            };
            for operation in [
                auto_contrast,
                equalize,
                |p: &mut RgbImage| sharpness(p, 1.9),
                |p: &mut RgbImage| contrast(p, 0.1),
            ] {
                let mut picture = flat.clone();
                operation(&mut picture);
                assert_eq!(picture, flat);
            }
        }
    }
}
