//! Encoded bytes to upright RGB pixels.

use std::io::Cursor;
use std::panic::catch_unwind;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::{jpeg, scale::Scaler};

/// Decoded picture: 8-bit RGB, rows from the top, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Pixels a row, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// `height * width * 3` bytes, RGB interleaved.
    pub data: Vec<u8>,
}

/// Why one file is no usable picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageFault {
    /// Zero bytes.
    #[error("empty file")]
    Empty,
    /// No picture format recognised.
    #[error("not an image")]
    NotAnImage,
    /// A picture format that is not read.
    #[error("{0} is not supported: convert it to JPEG, PNG, WebP or BMP")]
    Unsupported(String),
    /// The data end too early.
    #[error("truncated: the image data end too early")]
    Truncated,
    /// Larger than allowed, by its header.
    #[error("{width}x{height} pixels, more than the limit of {limit}")]
    TooManyPixels {
        /// Claimed width.
        width: u32,
        /// Claimed height.
        height: u32,
        /// Largest number of pixels.
        limit: u64,
    },
    /// The decoder found a fault.
    #[error("damaged image: {0}")]
    Damaged(String),
}

impl RgbImage {
    /// Decodes JPEG, PNG, WebP or BMP, told apart by content.
    ///
    /// The picture is turned upright after its EXIF orientation. Grey, palette and CMYK become
    /// RGB, 16-bit channels are rounded to 8, alpha is composed over white. Colour profiles are
    /// ignored; of an animation the first frame counts. The size is read from the header and
    /// checked against `max_pixels` before anything of that size is allocated. A WebP whose inner
    /// picture is larger than its header says takes up to 400 MB before it is refused: the format ends at 16383 pixels a side.
    ///
    /// # Errors
    /// No picture of these kinds, one cut short, or one of more than `max_pixels`.
    pub fn decode(encoded: &[u8], max_pixels: u64) -> Result<RgbImage, ImageFault> {
        if encoded.is_empty() {
            return Err(ImageFault::Empty);
        }
        let format = image::guess_format(encoded).map_err(|_| ImageFault::NotAnImage)?;
        match format {
            ImageFormat::Jpeg if !jpeg::reaches_end(encoded) => return Err(ImageFault::Truncated),
            ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp => {}
            other => {
                let name = other.extensions_str().first().unwrap_or(&"this format");
                return Err(ImageFault::Unsupported(name.to_uppercase()));
            }
        }

        // The decoders are other people's and the bytes anybody's: a fault of theirs costs one file, not the run.
        catch_unwind(|| decode_as(format, encoded, max_pixels))
            .unwrap_or_else(|_| Err(ImageFault::Damaged("the decoder failed".to_owned())))
    }

    /// The picture scaled to a shorter side of `side` pixels where it is longer, otherwise as it is.
    ///
    /// # Panics
    /// If `side` is 0.
    pub fn at_most(self, side: usize) -> RgbImage {
        assert!(side > 0, "pictures of no pixels");
        if self.width.min(self.height) > side {
            Scaler::default().shrink(&self, side)
        } else {
            self
        }
    }

    /// Red, green and blue at column `x`, row `y`.
    ///
    /// # Panics
    /// Outside the picture.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        assert!(
            x < self.width && y < self.height,
            "pixel ({x}, {y}) of {}x{}",
            self.width,
            self.height
        );
        let at = (y * self.width + x) * 3;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }
}

/// Decodes a picture of a known format.
fn decode_as(format: ImageFormat, encoded: &[u8], max_pixels: u64) -> Result<RgbImage, ImageFault> {
    let mut reader = ImageReader::with_format(Cursor::new(encoded), format);
    reader.limits(decoder_limits(max_pixels));
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(ImageFault::TooManyPixels {
            width,
            height,
            limit: max_pixels,
        });
    }
    if width == 0 || height == 0 {
        return Err(ImageFault::Damaged(format!("{width}x{height} pixels")));
    }
    let orientation = decoder.orientation().map_err(fault)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
    picture.apply_orientation(orientation);
    Ok(RgbImage {
        width: picture.width() as usize,
        height: picture.height() as usize,
        data: if picture.color().has_alpha() {
            over_white(picture)
        } else {
            picture.into_rgb8().into_raw()
        },
    })
}

/// Room for four 16-bit channels and the decoder's own working copy of them.
fn decoder_limits(max_pixels: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_pixels.saturating_mul(16).saturating_add(1 << 20));
    limits
}

fn over_white(picture: DynamicImage) -> Vec<u8> {
    let rgba = picture.into_rgba8().into_raw();
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        let alpha = u32::from(pixel[3]);
        for &channel in &pixel[..3] {
            rgb.push(((u32::from(channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
        }
    }
    rgb
}

fn fault(error: ImageError) -> ImageFault {
    match error {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageFault::Truncated
        }
        other => {
            let text = other.to_string();
            ImageFault::Damaged(text.lines().next().unwrap_or("unknown fault").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 64 << 20;

    fn mean(picture: &RgbImage) -> [f64; 3] {
        let pixels = (picture.width * picture.height) as f64;
        std::array::from_fn(|c| {
            picture
                .data
                .iter()
                .skip(c)
                .step_by(3)
                .map(|&v| f64::from(v))
                .sum::<f64>()
                / pixels
        })
    }

    macro_rules! hostile {
        ($name:literal) => {
            RgbImage::decode(
                include_bytes!(concat!("../tests/hostile/files/", $name)),
                LIMIT,
            )
        };
    }

    #[test]
    fn bad_files_say_what_is_wrong() {
        assert_eq!(hostile!("truncated.jpg"), Err(ImageFault::Truncated));
        assert_eq!(hostile!("zero-byte.jpg"), Err(ImageFault::Empty));
        assert_eq!(hostile!("text.jpg"), Err(ImageFault::NotAnImage));
        let panics = hostile!("two-components.jpg");
        assert!(matches!(panics, Err(ImageFault::Damaged(_))), "{panics:?}");
        let bomb = hostile!("bomb-60000x60000.png").unwrap_err();
        assert!(bomb.to_string().contains("60000x60000"), "{bomb}");
    }

    #[test]
    fn every_cut_of_every_format_is_refused() {
        let whole: [&[u8]; 4] = [
            include_bytes!("../tests/hostile/files/upper-case.JPEG"),
            include_bytes!("../tests/hostile/files/rgb-16-bit.png"),
            include_bytes!("../tests/hostile/files/picture.webp"),
            include_bytes!("../tests/hostile/files/picture.bmp"),
        ];
        for encoded in whole {
            assert!(RgbImage::decode(encoded, LIMIT).is_ok());
            for share in [0.1, 0.3, 0.6, 0.9] {
                let length = (encoded.len() as f64 * share) as usize;
                let result = RgbImage::decode(&encoded[..length], LIMIT);
                assert!(result.is_err(), "{length} of {} bytes", encoded.len());
            }
        }
    }

    #[test]
    fn sixteen_bits_keep_black_and_white() {
        let grey = hostile!("gray-16-bit.png").unwrap();
        assert_eq!(grey.data.iter().min(), Some(&0));
        assert_eq!(grey.data.iter().max(), Some(&255));
        assert!(grey.data.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
        hostile!("rgb-16-bit.png").unwrap();
    }

    #[test]
    fn hidden_colour_stays_hidden() {
        let disc = hostile!("rgba-transparent.png").unwrap();
        assert_eq!(disc.pixel(0, 0), [255, 255, 255]);
        let magenta = disc
            .data
            .chunks(3)
            .filter(|p| p[0] > 200 && p[1] < 100 && p[2] > 200)
            .count();
        assert_eq!(magenta, 0);
    }

    #[test]
    fn grey_palette_and_cmyk_become_rgb() {
        let grey = hostile!("gray.jpg").unwrap();
        assert!(grey.data.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
        hostile!("palette.png").unwrap();
        let cmyk = mean(&hostile!("cmyk.jpg").unwrap());
        for (found, expected) in cmyk.into_iter().zip([180.0, 195.0, 131.0]) {
            assert!((found - expected).abs() <= 5.0, "{cmyk:?}");
        }
    }

    #[test]
    fn exif_orientation_is_applied() {
        let upright = hostile!("exif-rotated-6.jpg").unwrap();
        assert_eq!((upright.width, upright.height), (40, 24));
        let near = |x, y, colour: [u8; 3]| {
            let found = upright.pixel(x, y);
            assert!(
                found.iter().zip(colour).all(|(&f, c)| f.abs_diff(c) < 80),
                "({x}, {y}): {found:?}"
            );
        };
        near(3, 3, [255, 0, 0]);
        near(36, 3, [0, 255, 0]);
        near(3, 20, [0, 0, 255]);
        near(36, 20, [255, 255, 255]);
    }

    #[test]
    fn odd_shapes_and_formats_load() {
        let size = |p: Result<RgbImage, ImageFault>| p.map(|p| (p.width, p.height)).unwrap();
        assert_eq!(size(hostile!("one-pixel.png")), (1, 1));
        assert_eq!(size(hostile!("wide-2000x3.png")), (2000, 3));
        assert_eq!(size(hostile!("tall-3x2000.png")), (3, 2000));
        assert_eq!(size(hostile!("picture.bmp")), (24, 24));
        hostile!("picture.webp").unwrap();
        hostile!("UPPER-CASE.PNG").unwrap();
    }

    #[test]
    fn the_pixel_limit_is_exact() {
        let encoded = include_bytes!("../tests/hostile/files/picture.bmp");
        assert!(RgbImage::decode(encoded, 576).is_ok());
        let error = RgbImage::decode(encoded, 575).unwrap_err();
        assert_eq!(
            error,
            ImageFault::TooManyPixels {
                width: 24,
                height: 24,
                limit: 575
            }
        );
    }
}
