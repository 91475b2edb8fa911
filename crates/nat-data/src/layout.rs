//! Which folder names are splits, and which are classes.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Warning;
use crate::error::DataError;
use crate::split::Split;

/// Place of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The split its folder names; `None` where the set has no split folders.
    pub split: Option<Split>,
    pub class: String,
    /// Path below the folder that holds the classes or splits.
    pub below_root: String,
}

/// How a data set is laid out in folders.
#[derive(Debug)]
pub(crate) struct Layout {
    /// One per image path asked about; `None` for images that lie in no class folder.
    pub places: Vec<Option<Place>>,
    /// Class folders that exist, also those without images: class and path.
    pub class_folders: BTreeMap<String, String>,
    pub warnings: Vec<Warning>,
}

/// Where one image lies.
enum Spot<'a> {
    Class(Option<Split>, &'a str),
    BesideSplits(&'a str),
    NoClass,
}

/// Reads the layout off the paths of all folders and images of the set `name`.
///
/// - `train/CLASS/…` next to optional `val/` and `test/`: the set has splits;
/// - otherwise each folder on the first level is a class;
/// - a single folder around everything is stepped into first;
/// - images deeper inside a class folder belong to that class.
pub(crate) fn read(
    name: &str,
    folders: &BTreeSet<String>,
    images: &[&str],
) -> Result<Layout, DataError> {
    let root = enclosing_folder(folders, images);
    let below_root = |path: &&str| path.strip_prefix(root.as_str()).unwrap_or(path).to_owned();
    let paths: Vec<String> = images.iter().map(below_root).collect();
    let with_splits = paths.iter().any(|path| {
        let mut parts = path.split('/');
        parts.next().and_then(Split::from_folder) == Some(Split::Train) && parts.count() >= 2
    });

    let mut places = Vec::with_capacity(paths.len());
    let mut warnings = Vec::new();
    let mut beside_splits: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, image) in paths.iter().zip(images) {
        places.push(match spot(path, with_splits) {
            Spot::Class(split, class) => Some(Place {
                split,
                class: class.to_owned(),
                below_root: path.clone(),
            }),
            Spot::BesideSplits(folder) => {
                *beside_splits.entry(folder).or_default() += 1;
                None
            }
            Spot::NoClass => {
                warnings.push(warning(image, "lies in no class folder"));
                None
            }
        });
    }
    for (folder, count) in beside_splits {
        let reason =
            format!("lies beside train/ and is neither val/ nor test/: {count} images not used");
        warnings.push(warning(&format!("{root}{folder}"), &reason));
    }

    let layout = Layout {
        places,
        class_folders: class_folders(folders, &root, with_splits),
        warnings,
    };
    refuse_masks(name, &layout)?;
    refuse_bare_splits(name, &layout)?;
    Ok(layout)
}

fn spot(path: &str, with_splits: bool) -> Spot<'_> {
    let parts: Vec<&str> = path.split('/').collect();
    match (with_splits, &parts[..]) {
        (false, &[class, _, ..]) => Spot::Class(None, class),
        (true, &[top, ref rest @ ..]) => match (Split::from_folder(top), rest) {
            (Some(split), &[class, _, ..]) => Spot::Class(Some(split), class),
            (None, [_, ..]) => Spot::BesideSplits(top),
            _ => Spot::NoClass,
        },
        _ => Spot::NoClass,
    }
}

/// Path, with a final `/`, of the only folder on the way to two or more levels; empty if none.
fn enclosing_folder(folders: &BTreeSet<String>, images: &[&str]) -> String {
    let mut root = String::new();
    loop {
        let below_root = |path: &str| path.strip_prefix(root.as_str()).map(str::to_owned);
        let first_level: BTreeSet<String> = folders
            .iter()
            .filter_map(|path| below_root(path))
            .filter_map(|path| path.split('/').next().map(str::to_owned))
            .collect();
        let [only] = Vec::from_iter(first_level).try_into().unwrap_or_default();
        let two_levels_below =
            |image: &&str| below_root(image).is_some_and(|p| p.matches('/').count() >= 2);
        let steps_in = !only.is_empty()
            && Split::from_folder(&only).is_none()
            && !images.is_empty()
            && images.iter().all(two_levels_below);
        if !steps_in {
            return root;
        }
        root = format!("{root}{only}/");
    }
}

fn class_folders(
    folders: &BTreeSet<String>,
    root: &str,
    with_splits: bool,
) -> BTreeMap<String, String> {
    let mut classes = BTreeMap::new();
    for folder in folders {
        let parts: Vec<&str> = match folder.strip_prefix(root) {
            Some(below) => below.split('/').collect(),
            None => continue,
        };
        let class = match (with_splits, &parts[..]) {
            (false, [class]) => *class,
            (true, [top, class]) if Split::from_folder(top).is_some() => *class,
            _ => continue,
        };
        classes
            .entry(class.to_owned())
            .or_insert_with(|| folder.clone());
    }
    classes
}

/// Pictures and their masks or labels, which would pass for two classes.
fn refuse_masks(name: &str, layout: &Layout) -> Result<(), DataError> {
    const IMAGES: &[&str] = &["images", "image", "imgs", "img"];
    const MASKS: &[&str] = &[
        "masks",
        "mask",
        "labels",
        "label",
        "annotations",
        "annotation",
        "segmentation",
        "gt",
    ];
    let folder_named = |names: &[&str]| {
        let matches = |class: &&String| names.contains(&class.to_ascii_lowercase().as_str());
        layout.class_folders.keys().find(matches).cloned()
    };
    match (folder_named(IMAGES), folder_named(MASKS)) {
        (Some(images), Some(masks)) => Err(DataError::Segmentation {
            path: name.to_owned(),
            images,
            masks,
        }),
        _ => Ok(()),
    }
}

/// `train/` and `test/` full of images, which would pass for two classes.
fn refuse_bare_splits(name: &str, layout: &Layout) -> Result<(), DataError> {
    let placed: Vec<&Place> = layout.places.iter().flatten().collect();
    let is_bare_split =
        |place: &&Place| place.split.is_none() && Split::from_folder(&place.class).is_some();
    if placed.is_empty() || !placed.iter().all(is_bare_split) {
        return Ok(());
    }
    let folders: BTreeSet<&str> = placed.iter().map(|place| place.class.as_str()).collect();
    let folders: Vec<String> = folders
        .into_iter()
        .map(|folder| format!("{folder}/"))
        .collect();
    Err(DataError::NoClassFolders {
        path: name.to_owned(),
        folders: folders.join(", "),
    })
}

fn warning(path: &str, reason: &str) -> Warning {
    Warning {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Listing;

    fn layout(images: &[&str], empty_folders: &[&str]) -> Result<Layout, DataError> {
        let mut listing = Listing::default();
        images.iter().for_each(|path| listing.add_parents(path));
        empty_folders
            .iter()
            .for_each(|path| listing.add_folder(path));
        read("set", &listing.folders, images)
    }

    fn places(images: &[&str]) -> Vec<Option<(Option<Split>, String)>> {
        let layout = layout(images, &[]).unwrap();
        layout
            .places
            .into_iter()
            .map(|place| place.map(|p| (p.split, p.class)))
            .collect()
    }

    fn at(split: Option<Split>, class: &str) -> Option<(Option<Split>, String)> {
        Some((split, class.to_owned()))
    }

    #[test]
    fn class_folders_and_split_folders() {
        assert_eq!(
            places(&["cat/a.jpg", "dog/old/b.jpg"]),
            [at(None, "cat"), at(None, "dog")]
        );
        assert_eq!(
            places(&["Train/cat/a.jpg", "valid/cat/b.jpg", "test/dog/c.jpg"]),
            [
                at(Some(Split::Train), "cat"),
                at(Some(Split::Val), "cat"),
                at(Some(Split::Test), "dog")
            ]
        );
    }

    #[test]
    fn an_enclosing_folder_is_stepped_into() {
        assert_eq!(
            places(&["set/cat/a.jpg", "set/dog/b.jpg"]),
            [at(None, "cat"), at(None, "dog")]
        );
        let splits = places(&["a/b/train/cat/a.jpg", "a/b/test/cat/b.jpg"]);
        assert_eq!(
            splits,
            [at(Some(Split::Train), "cat"), at(Some(Split::Test), "cat")]
        );
        assert_eq!(places(&["cat/a.jpg"]), [at(None, "cat")]);
        assert_eq!(
            places(&["train/cat/a.jpg", "train/dog/b.jpg"])[0],
            at(Some(Split::Train), "cat")
        );
    }

    #[test]
    fn a_class_may_be_called_train() {
        assert_eq!(
            places(&["bus/a.jpg", "train/b.jpg"]),
            [at(None, "bus"), at(None, "train")]
        );
    }

    #[test]
    fn stray_images_are_told() {
        let stray = layout(&["cat/a.jpg", "dog/a.jpg", "logo.png"], &[]).unwrap();
        assert_eq!(stray.places[2], None);
        assert_eq!(
            stray.warnings,
            [warning("logo.png", "lies in no class folder")]
        );
        let beside = layout(&["extra/a.jpg", "extra/b.jpg", "train/cat/a.jpg"], &[]).unwrap();
        assert_eq!(beside.warnings.len(), 1);
        assert!(
            beside.warnings[0].reason.contains("2 images"),
            "{:?}",
            beside.warnings
        );
    }

    #[test]
    fn empty_class_folders_are_listed() {
        let layout = layout(&["cat/a.jpg"], &["dog", "cat/old"]).unwrap();
        assert_eq!(
            layout.class_folders.keys().collect::<Vec<_>>(),
            ["cat", "dog"]
        );
    }

    #[test]
    fn other_layouts_are_refused() {
        let masks = layout(&["train/images/a.jpg", "train/masks/a.png"], &[]);
        assert!(
            matches!(masks, Err(DataError::Segmentation { .. })),
            "{masks:?}"
        );
        let flat = layout(&["train/a.jpg", "test/b.jpg"], &[]);
        assert!(
            matches!(flat, Err(DataError::NoClassFolders { .. })),
            "{flat:?}"
        );
        let without_train = layout(&["val/cat/a.jpg", "test/cat/b.jpg"], &[]);
        assert!(
            matches!(without_train, Err(DataError::NoClassFolders { .. })),
            "{without_train:?}"
        );
    }
}
