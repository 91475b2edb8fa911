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

    /// The moved picture, bilinear; what comes from outside is `fill`.
    pub fn apply(&self, picture: &RgbImage, fill: [u8; 3]) -> RgbImage {
        let [a, b, c, d, e, f] = self.0;
        let (width, height) = (picture.width as f64, picture.height as f64);
        let mut data = Vec::with_capacity(picture.data.len());
        for row in 0..picture.height {
            for column in 0..picture.width {
                let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
                let (from_x, from_y) = (a * x + b * y + c, d * x + e * y + f);
                let inside = (0.0..width).contains(&from_x) && (0.0..height).contains(&from_y);
                data.extend(if inside {
                    bilinear(picture, from_x - 0.5, from_y - 0.5)
                } else {
                    fill
                });
            }
        }
        RgbImage {
            width: picture.width,
            height: picture.height,
            data,
        }
    }
}

/// Value between pixel centres at whole numbers; the border pixels go on outside.
fn bilinear(picture: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let neighbours = |position: f64, length: usize| {
        let below = position.floor();
        let clamped = |at: f64| at.clamp(0.0, (length - 1) as f64) as usize;
        (clamped(below), clamped(below + 1.0), position - below)
    };
    let (left, right, dx) = neighbours(x, picture.width);
    let (upper, lower, dy) = neighbours(y, picture.height);
    let at =
        |x: usize, y: usize, c: usize| f64::from(picture.data[(y * picture.width + x) * 3 + c]);
    std::array::from_fn(|c| {
        let above = at(left, upper, c) + dx * (at(right, upper, c) - at(left, upper, c));
        let below = at(left, lower, c) + dx * (at(right, lower, c) - at(left, lower, c));
        (above + dy * (below - above)).round() as u8
    })
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
