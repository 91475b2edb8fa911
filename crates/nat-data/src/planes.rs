//! Network input in memory: three planes of a square image, rows from the top.

use std::ops::Range;

use crate::picture::RgbImage;

/// Position of a value in the input made of an image of `side` x `side`: `[3, side, side]`.
pub fn input_index(side: usize, channel: usize, row: usize, column: usize) -> usize {
    (channel * side + row) * side + column
}

/// Writes `values[channel][pixel]` of every pixel.
///
/// # Panics
/// If `input` is not `3 * height * width` long.
pub(crate) fn write(picture: &RgbImage, values: &[[f32; 256]; 3], input: &mut [f32]) {
    assert_eq!(
        input.len(),
        picture.data.len(),
        "input for a {}x{} picture",
        picture.width,
        picture.height
    );
    let (pixels, _) = picture.data.as_chunks::<3>();
    let [red, green, blue] = values;
    let (reds, rest) = input.split_at_mut(pixels.len());
    let (greens, blues) = rest.split_at_mut(pixels.len());
    for (((pixel, r), g), b) in pixels.iter().zip(reds).zip(greens).zip(blues) {
        *r = red[usize::from(pixel[0])];
        *g = green[usize::from(pixel[1])];
        *b = blue[usize::from(pixel[2])];
    }
}

/// Where the values of a rectangle lie in the input made of an image of `side` x `side`, all channels.
pub(crate) fn spans(
    side: usize,
    rows: Range<usize>,
    columns: Range<usize>,
) -> impl Iterator<Item = Range<usize>> {
    (0..3).flat_map(move |channel| {
        let columns = columns.clone();
        rows.clone().map(move |row| {
            let begin = input_index(side, channel, row, 0);
            begin + columns.start..begin + columns.end
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_goes_to_its_index() {
        for side in [1, 2, 7, 20] {
            let picture = RgbImage {
                width: side,
                height: side,
                data: (0..side * side * 3).map(|i| (i * 31 % 256) as u8).collect(),
            };
            let values: [[f32; 256]; 3] = std::array::from_fn(|c| {
                std::array::from_fn(|level| (1000 * (c + 1) + level) as f32)
            });
            let mut input = vec![0.0; 3 * side * side];
            write(&picture, &values, &mut input);
            for row in 0..side {
                for column in 0..side {
                    for (c, level) in picture.pixel(column, row).into_iter().enumerate() {
                        let expected = values[c][usize::from(level)];
                        assert_eq!(input[input_index(side, c, row, column)], expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_rectangle_lies_where_its_values_are() {
        let side = 9;
        let mut input = vec![1.0; 3 * side * side];
        for span in spans(side, 2..5, 7..9) {
            input[span].fill(0.0);
        }
        for row in 0..side {
            for column in 0..side {
                let inside = (2..5).contains(&row) && (7..9).contains(&column);
                for c in 0..3 {
                    let value = input[input_index(side, c, row, column)];
                    assert_eq!(value == 0.0, inside, "({column}, {row})");
                }
            }
        }
    }
}
