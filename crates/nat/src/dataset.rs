//! Opening data sets by path or built-in name, and saying what is wrong with them.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use nat_data::{ImageFault, ImageSet, OpenOptions, RgbImage, Split};
use nat_transfer::{DataRecord, Input, is_name};

use crate::{
    failure::{check_there, wrong_argument},
    shell,
};

/// Name of the built-in set: satellite tiles labelled by climate group.
pub const CLIMATE_TILES: &str = "builtin:climate-tiles";

static CLIMATE_TILES_TAR: &[u8] =
    include_bytes!("../../../assets/climate-tiles/climate-tiles-64.tar.gz");

/// Pictures are reduced to this shorter side when they are decoded, in every command alike, so that an exported model
/// sees the pixels that the search saw.
const SHORTER_SIDE: usize = 512;

/// Warnings that are shown one by one; the rest is counted.
const SHOWN_WARNINGS: usize = 10;

/// With fewer training images than this a class is hardly learned, and its error hardly measured.
const FEW_IMAGES: usize = 10;

/// A data set of a search as it is given: `PATH`, or `NAME=PATH`.
pub struct Given {
    /// Its name.
    pub name: Option<String>,
    /// Where it lies.
    pub path: String,
}

/// Reads the data sets of a search. A path with `=` in it is a path where it exists.
///
/// # Errors
/// There are several and one has no name, or two have the same.
pub fn given(texts: &[String]) -> Result<Vec<Given>> {
    let mut sets: Vec<Given> = Vec::new();
    for text in texts {
        let set = match text.split_once('=') {
            Some((name, path)) if is_name(name) && !Path::new(text).exists() => Given {
                name: Some(name.into()),
                path: path.into(),
            },
            _ => Given {
                name: None,
                path: text.clone(),
            },
        };
        if set.name.is_none() && texts.len() > 1 {
            return Err(wrong_argument(format!(
                "--data {text}: each of several data sets needs a name of letters, digits, - and _: --data NAME=PATH"
            )));
        }
        if sets.iter().any(|known| known.name == set.name) {
            let name = set.name.unwrap_or_default();
            return Err(wrong_argument(format!(
                "--data {text}: two data sets are called '{name}'"
            )));
        }
        sets.push(set);
    }
    Ok(sets)
}

/// Splits that a set does not bring are drawn from this, whatever the seed of a run: images that one command trains on must not
/// be what another tests on.
const SPLIT_SEED: u64 = 1;

/// How sets are opened everywhere.
pub fn options() -> OpenOptions {
    OpenOptions {
        seed: SPLIT_SEED,
        max_shorter_side: Some(SHORTER_SIDE),
        ..OpenOptions::default()
    }
}

/// Says so where networks see larger pictures than any is kept in.
pub fn warn_of_side(side: usize) {
    if side > SHORTER_SIDE {
        errln!(
            "nat: warning: pictures are kept with a shorter side of at most {SHORTER_SIDE} px; at {side} px networks see them enlarged"
        );
    }
}

/// A single picture with the pixels that it would have in a set.
pub fn picture(encoded: &[u8]) -> Result<RgbImage, ImageFault> {
    let picture = RgbImage::decode(encoded, options().max_pixels)?;
    Ok(picture.at_most(SHORTER_SIDE))
}

/// Opens a set that is learned from, with its warnings on stderr.
pub fn open(path: &str, options: &OpenOptions) -> Result<Arc<ImageSet>> {
    let set = open_to_measure(path, options)?;
    if let Some(warning) = scarcity(&set) {
        errln!("nat: warning: {path}: {warning}");
    }
    Ok(set)
}

/// Opens a set that nothing is learned from, with its warnings on stderr: how few images a class has does not matter.
pub fn open_to_measure(path: &str, options: &OpenOptions) -> Result<Arc<ImageSet>> {
    let set = open_quietly(path, options)?;
    let warnings = set.warnings();
    for warning in warnings.iter().take(SHOWN_WARNINGS) {
        errln!("nat: warning: {}: {}", warning.path, warning.reason);
    }
    if warnings.len() > SHOWN_WARNINGS {
        errln!(
            "nat: warning: {} more; `nat data {}` lists them all",
            warnings.len() - SHOWN_WARNINGS,
            shell::quoted(path)
        );
    }
    Ok(set)
}

/// Names the classes that have too few training images to be learned.
pub fn scarcity(set: &ImageSet) -> Option<String> {
    let scarce: Vec<String> = set
        .census()
        .classes
        .iter()
        .filter(|class| class.images.train < FEW_IMAGES)
        .map(|class| format!("{} ({})", class.name, class.images.train))
        .collect();
    let named = scarce
        .iter()
        .take(SHOWN_WARNINGS)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let more = match scarce.len().saturating_sub(SHOWN_WARNINGS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!scarce.is_empty()).then(|| {
        format!("fewer than {FEW_IMAGES} training images in the classes {named}{more}: expect little of them")
    })
}

/// Opens a set that an argument names.
pub fn open_quietly(path: &str, options: &OpenOptions) -> Result<Arc<ImageSet>> {
    if path != CLIMATE_TILES {
        check_there(
            Path::new(path),
            &format!("a folder or tar of class folders, or {CLIMATE_TILES}"),
        )?;
    }
    read(path, options)
}

fn read(path: &str, options: &OpenOptions) -> Result<Arc<ImageSet>> {
    let set = if path == CLIMATE_TILES {
        ImageSet::from_bytes(CLIMATE_TILES, CLIMATE_TILES_TAR, options)?
    } else {
        ImageSet::open(Path::new(path), options)?
    };
    Ok(Arc::new(set))
}

/// Opens the set of a run as the run saw it.
pub fn open_recorded(record: &DataRecord) -> Result<Arc<ImageSet>> {
    let options = OpenOptions {
        val_fraction: record.val_fraction,
        test_fraction: record.test_fraction,
        seed: record.split_seed,
        ..options()
    };
    read(&record.path, &options)
}

/// The set as a run remembers it. Paths are kept absolute, so that a run can be resumed from any folder.
pub fn record(path: &str, set: &ImageSet, options: &OpenOptions, input: Input) -> DataRecord {
    let absolute = if path == CLIMATE_TILES {
        None
    } else {
        std::fs::canonicalize(path).ok()
    };
    DataRecord {
        name: None,
        path: absolute.map_or_else(|| path.to_owned(), |path| path.display().to_string()),
        hash: set.hash().to_owned(),
        classes: set.classes().to_vec(),
        search_images: Some(set.len(Split::Val)),
        search_classes: (set.census().classes.iter())
            .map(|class| class.images.val)
            .collect(),
        val_fraction: options.val_fraction,
        test_fraction: options.test_fraction,
        split_seed: options.seed,
        mean: input.normalisation.mean,
        std: input.normalisation.std,
        filter: input.filter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BMP of 24 bits a pixel, `width` a multiple of 4.
    fn bitmap(width: u32, height: u32) -> Vec<u8> {
        let pixels = width * height * 3;
        let words = [
            54 + pixels,
            0,
            54,
            40,
            width,
            height,
            1 | (24 << 16),
            0,
            pixels,
            0,
            0,
            0,
            0,
        ];
        let header = words.iter().flat_map(|word: &u32| word.to_le_bytes());
        let body = (0..pixels).map(|i| (i / 7 + (i / width) * 5) as u8);
        b"BM".iter().copied().chain(header).chain(body).collect()
    }

    #[test]
    fn a_single_picture_has_the_pixels_of_one_in_a_set() {
        let folder = tempfile::tempdir().unwrap();
        let encoded = bitmap(640, 600);
        for class in ["train/a", "train/b"] {
            std::fs::create_dir_all(folder.path().join(class)).unwrap();
            for i in 0..3 {
                let mut other = encoded.clone();
                other.push(i);
                other.push(class.len() as u8 ^ class.as_bytes()[6]);
                let to = folder.path().join(class).join(format!("{i}.bmp"));
                std::fs::write(to, other).unwrap();
            }
        }
        let set = open_quietly(&folder.path().display().to_string(), &options()).unwrap();
        let single = picture(&encoded).unwrap();
        assert_eq!((single.width, single.height), (546, SHORTER_SIDE));
        let listed = set.image(Split::Train, 0).unwrap();
        assert_eq!(listed.data, single.data);
    }
}
