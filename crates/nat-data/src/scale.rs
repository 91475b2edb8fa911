//! Resampling a part of a picture to a given size.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::picture::RgbImage;

/// Resampling filter. Both are widened by the scale when shrinking (antialiasing), as in Pillow.
///
/// Columns are filtered before rows, in Pillow after them; with 8 bits between the two passes single
/// pixels differ by up to four grey levels, on average by a fifth of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Cubic convolution with a = -0.5 (Catmull-Rom), as Pillow's `BICUBIC`.
    #[default]
    Bicubic,
    /// Triangle, as Pillow's `BILINEAR`.
    Bilinear,
}

impl Filter {
    /// The filter of a name in files, `bicubic` or `bilinear`.
    pub fn named(name: &str) -> Option<Filter> {
        [Filter::Bicubic, Filter::Bilinear]
            .into_iter()
            .find(|filter| filter.name() == name)
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Filter::Bicubic => "bicubic",
            Filter::Bilinear => "bilinear",
        }
    }
}

/// Part of a picture in pixels; edges may lie between pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Area {
    pub fn whole(picture: &RgbImage) -> Area {
        Area {
            left: 0.0,
            top: 0.0,
            width: picture.width as f64,
            height: picture.height as f64,
        }
    }
}

/// Resampler with its working memory.
#[derive(Debug, Default)]
pub struct Scaler {
    resizer: Resizer,
}

impl Scaler {
    /// Scales `area` of the picture to `width` x `height`.
    pub(crate) fn scale(
        &mut self,
        picture: &RgbImage,
        area: Area,
        width: usize,
        height: usize,
        filter: Filter,
    ) -> RgbImage {
        let filter = match filter {
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Bilinear => FilterType::Bilinear,
        };
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(filter))
            .crop(area.left, area.top, area.width, area.height);
        let mut data = vec![0; width * height * 3];
        let source = TypedImageRef::<U8x3>::from_buffer(
            picture.width as u32,
            picture.height as u32,
            &picture.data,
        )
        .expect("a picture's data fit its size");
        let mut target = TypedImage::<U8x3>::from_buffer(width as u32, height as u32, &mut data)
            .expect("allocated for this size");
        self.resizer
            .resize_typed(&source, &mut target, &options)
            .unwrap_or_else(|error| {
                panic!("{area:?} of {}x{}: {error}", picture.width, picture.height)
            });
        RgbImage {
            width,
            height,
            data,
        }
    }

    /// Scales a picture to a shorter side of `side`, keeping its proportions.
    pub(crate) fn shrink(&mut self, picture: &RgbImage, side: usize) -> RgbImage {
        let shorter = picture.width.min(picture.height);
        let scaled = |length: usize| {
            ((length as f64 * side as f64 / shorter as f64).round() as usize).max(1)
        };
        let (width, height) = (scaled(picture.width), scaled(picture.height));
        self.scale(
            picture,
            Area::whole(picture),
            width,
            height,
            Filter::Bicubic,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> RgbImage {
        let data = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 77]))
            .collect();
        RgbImage {
            width,
            height,
            data,
        }
    }

    #[test]
    fn a_part_at_its_own_size_is_copied() {
        let area = Area {
            left: 5.0,
            top: 7.0,
            width: 20.0,
            height: 10.0,
        };
        let part = Scaler::default().scale(&ramp(64, 64), area, 20, 10, Filter::Bicubic);
        assert_eq!(part.pixel(0, 0), [5, 7, 77]);
        assert_eq!(part.pixel(19, 9), [24, 16, 77]);
    }

    #[test]
    fn shrinking_a_ramp_keeps_it_a_ramp() {
        for filter in [Filter::Bicubic, Filter::Bilinear] {
            let picture = ramp(64, 64);
            let small = Scaler::default().scale(&picture, Area::whole(&picture), 16, 16, filter);
            for x in 2..14 {
                let expected = (x as f64 + 0.5) * 4.0 - 0.5;
                assert!(
                    (f64::from(small.pixel(x, 8)[0]) - expected).abs() <= 1.0,
                    "{filter:?} at {x}"
                );
            }
        }
    }

    #[test]
    fn shrinking_keeps_proportions() {
        let shrunk = |width, height| {
            let small = Scaler::default().shrink(&ramp(width, height), 50);
            (small.width, small.height)
        };
        assert_eq!(shrunk(200, 100), (100, 50));
        assert_eq!(shrunk(100, 201), (50, 101));
        assert_eq!(shrunk(50, 300), (50, 300));
    }
}
