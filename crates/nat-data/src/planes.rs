//! Where the channels of network input lie in memory.

use std::ops::Range;

use crate::picture::RgbImage;

/// Order of the values of one square image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryFormat {
    /// `[3, side, side]`: three planes, rows from the top.
    ChannelsFirst,
    /// `[side, side, 3]`: the channels of a pixel side by side.
    ChannelsLast,
}

impl MemoryFormat {
    /// The format of [`Batch::images`](crate::Batch::images) and of everything that the transforms write.
    pub const INPUT: MemoryFormat = MemoryFormat::ChannelsFirst;

    /// Position of a value in an image of `side` x `side`.
    pub fn index(self, side: usize, channel: usize, row: usize, column: usize) -> usize {
        match self {
            MemoryFormat::ChannelsFirst => (channel * side + row) * side + column,
            MemoryFormat::ChannelsLast => (row * side + column) * 3 + channel,
        }
    }

    /// Writes `values[channel][pixel]` of every pixel.
    ///
    /// # Panics
    /// If `input` is not `3 * height * width` long.
    pub(crate) fn write(self, picture: &RgbImage, values: &[[f32; 256]; 3], input: &mut [f32]) {
        assert_eq!(
            input.len(),
            picture.data.len(),
            "input for a {}x{} picture",
            picture.width,
            picture.height
        );
        let (pixels, _) = picture.data.as_chunks::<3>();
        let [red, green, blue] = values;
        match self {
            MemoryFormat::ChannelsFirst => {
                let (reds, rest) = input.split_at_mut(pixels.len());
                let (greens, blues) = rest.split_at_mut(pixels.len());
                for (((pixel, r), g), b) in pixels.iter().zip(reds).zip(greens).zip(blues) {
                    *r = red[usize::from(pixel[0])];
                    *g = green[usize::from(pixel[1])];
                    *b = blue[usize::from(pixel[2])];
                }
            }
            MemoryFormat::ChannelsLast => {
                let (triples, _) = input.as_chunks_mut::<3>();
                for (pixel, triple) in pixels.iter().zip(triples) {
                    *triple = [
                        red[usize::from(pixel[0])],
                        green[usize::from(pixel[1])],
                        blue[usize::from(pixel[2])],
                    ];
                }
            }
        }
    }

    /// Where the values of a rectangle lie in an image of `side` x `side`, all channels.
    pub(crate) fn spans(
        self,
        side: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> {
        let (planes, width) = match self {
            MemoryFormat::ChannelsFirst => (3, 1),
            MemoryFormat::ChannelsLast => (1, 3),
        };
        (0..planes).flat_map(move |plane| {
            let columns = columns.clone();
            rows.clone().map(move |row| {
                let begin = (plane * side + row) * side * width;
                begin + columns.start * width..begin + columns.end * width
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [MemoryFormat; 2] = [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast];

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
            for format in FORMATS {
                let mut input = vec![0.0; 3 * side * side];
                format.write(&picture, &values, &mut input);
                for row in 0..side {
                    for column in 0..side {
                        for (c, level) in picture.pixel(column, row).into_iter().enumerate() {
                            let expected = values[c][usize::from(level)];
                            assert_eq!(input[format.index(side, c, row, column)], expected);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_rectangle_lies_where_its_values_are() {
        let side = 9;
        for format in FORMATS {
            let mut input = vec![1.0; 3 * side * side];
            for span in format.spans(side, 2..5, 7..9) {
                input[span].fill(0.0);
            }
            for row in 0..side {
                for column in 0..side {
                    let inside = (2..5).contains(&row) && (7..9).contains(&column);
                    for c in 0..3 {
                        let value = input[format.index(side, c, row, column)];
                        assert_eq!(value == 0.0, inside, "{format:?} ({column}, {row})");
                    }
                }
            }
        }
    }
}
