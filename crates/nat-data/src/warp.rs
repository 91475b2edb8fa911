//! Affine movements of a picture.

use crate::picture::RgbImage;

/// For a target point (x, y) the source point is `(a x + b y + c, d x + e y + f)`, in pixels from the
/// upper left corner; the centre of the first pixel is (0.5, 0.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Affine(pub [f64; 6]);

impl Affine {
    /// Rotation by `degrees` about the centre.
    pub fn rotation(degrees: f64, picture: &RgbImage) -> Affine {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (x, y) = (picture.width as f64 / 2.0, picture.height as f64 / 2.0);
        Affine([
            cos,
            sin,
            x - cos * x - sin * y,
            -sin,
            cos,
            y + sin * x - cos * y,
        ])
    }

    /// Rows shifted by `factor` pixels per row.
    pub fn shear_x(factor: f64) -> Affine {
        Affine([1.0, factor, 0.0, 0.0, 1.0, 0.0])
    }

    /// Columns shifted by `factor` pixels per column.
    pub fn shear_y(factor: f64) -> Affine {
        Affine([1.0, 0.0, 0.0, factor, 1.0, 0.0])
    }

    /// Shift by pixels.
    pub fn translation(x: f64, y: f64) -> Affine {
        Affine([1.0, 0.0, x, 0.0, 1.0, y])
    }

    /// The moved picture, bilinear; what comes from outside is `fill`. Source points are rounded to 1/256
    /// of a pixel.
    pub fn apply(&self, picture: &RgbImage, fill: [u8; 3]) -> RgbImage {
        let [a, b, c, d, e, f] = self.0;
        let (width, height) = (fixed(picture.width as f64), fixed(picture.height as f64));
        let (step_x, step_y) = (fixed(a), fixed(d));
        let (pixels, _) = picture.data.as_chunks::<3>();
        let mut data = vec![fill; pixels.len()];
        for (row, target) in data.chunks_exact_mut(picture.width).enumerate() {
            let y = row as f64 + 0.5;
            let (mut from_x, mut from_y) = (fixed(a * 0.5 + b * y + c), fixed(d * 0.5 + e * y + f));
            for pixel in target {
                if (0..width).contains(&from_x) && (0..height).contains(&from_y) {
                    let (left, right, dx) = neighbours(from_x, picture.width);
                    let (upper, lower, dy) = neighbours(from_y, picture.height);
                    let (upper, lower) = (upper * picture.width, lower * picture.width);
                    let corners = [
                        (pixels[upper + left], (256 - dx) * (256 - dy)),
                        (pixels[upper + right], dx * (256 - dy)),
                        (pixels[lower + left], (256 - dx) * dy),
                        (pixels[lower + right], dx * dy),
                    ];
                    *pixel = std::array::from_fn(|c| {
                        let sum: u32 = corners
                            .iter()
                            .map(|(corner, weight)| u32::from(corner[c]) * weight)
                            .sum();
                        ((sum + (1 << 15)) >> 16) as u8
                    });
                }
                from_x += step_x;
                from_y += step_y;
            }
        }
        RgbImage {
            width: picture.width,
            height: picture.height,
            data: data.into_flattened(),
        }
    }
}

/// Fraction bits of a source point while it is stepped along a row: at 4096 columns the error is still
/// far below 1/256.
const FRACTION: u32 = 32;

fn fixed(value: f64) -> i64 {
    (value * (1_u64 << FRACTION) as f64).round() as i64
}

/// For a position within the picture, the pixels whose centres lie around it and the distance from the
/// first in 1/256; the border pixels go on outside.
fn neighbours(position: i64, length: usize) -> (usize, usize, u32) {
    let parts = FRACTION - 8;
    let from_centre = (position - (1 << (FRACTION - 1)) + (1 << (parts - 1))) >> parts;
    let below = from_centre >> 8;
    let last = length as i64 - 1;
    (
        below.max(0) as usize,
        (below + 1).min(last) as usize,
        (from_centre & 255) as u32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        let data = (0..8 * 8)
            .flat_map(|at| [at as u8, 2 * at as u8, 255 - at as u8])
            .collect();
        RgbImage {
            width: 8,
            height: 8,
            data,
        }
    }

    const FILL: [u8; 3] = [9, 9, 9];

    #[test]
    fn whole_pixel_shifts_are_exact() {
        let moved = Affine::translation(3.0, -2.0).apply(&picture(), FILL);
        for y in 0..8 {
            for x in 0..8 {
                let expected = if x < 5 && y >= 2 {
                    picture().pixel(x + 3, y - 2)
                } else {
                    FILL
                };
                assert_eq!(moved.pixel(x, y), expected);
            }
        }
    }

    #[test]
    fn a_quarter_turn_permutes_pixels() {
        let turned = Affine::rotation(90.0, &picture()).apply(&picture(), FILL);
        for y in 0..8 {
            for x in 0..8 {
                assert_eq!(turned.pixel(x, y), picture().pixel(y, 7 - x), "({x}, {y})");
            }
        }
    }

    #[test]
    fn shears_leave_their_first_line_nearly_in_place() {
        let sheared = Affine::shear_x(0.25).apply(&picture(), FILL);
        assert_eq!(sheared.pixel(7, 7), FILL);
        assert!(sheared.pixel(3, 0)[0].abs_diff(picture().pixel(3, 0)[0]) <= 1);
        let sheared = Affine::shear_y(0.25).apply(&picture(), FILL);
        assert_eq!(sheared.pixel(7, 7), FILL);
        assert!(sheared.pixel(0, 3)[0].abs_diff(picture().pixel(0, 3)[0]) <= 1);
    }
}
