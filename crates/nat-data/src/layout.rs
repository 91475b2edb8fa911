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
    let prefix = enclosing_folder(folders, images);
    let below = |path: &str| path.strip_prefix(prefix.as_str()).map(str::to_owned);
    let folders: Vec<String> = folders
        .iter()
        .filter_map(|path| below(path))
        .filter(|p| !p.is_empty())
        .collect();
    let paths: Vec<String> = images
        .iter()
        .map(|path| below(path).unwrap_or_default())
        .collect();

    let with_splits = paths.iter().any(|path| {
        let mut parts = path.split('/');
        parts.next().and_then(Split::from_folder) == Some(Split::Train) && parts.count() >= 2
    });
    let mut layout = Layout {
        places: Vec::new(),
        class_folders: BTreeMap::new(),
        warnings: Vec::new(),
    };
    let mut beside_splits: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, image) in paths.iter().zip(images) {
        let parts: Vec<&str> = path.split('/').collect();
        let place = match parts[..] {
            [top, ..] if with_splits && parts.len() > 1 && Split::from_folder(top).is_none() => {
                *beside_splits.entry(top).or_default() += 1;
                None
            }
            [top, class, _, ..] if with_splits => Some((Split::from_folder(top), class)),
            [class, _, ..] if !with_splits => Some((None, class)),
            _ => {
                layout
                    .warnings
                    .push(warning(image, "lies in no class folder"));
                None
            }
        };
        layout.places.push(place.map(|(split, class)| Place {
            split,
            class: class.to_owned(),
            below_root: path.clone(),
        }));
    }
    for (folder, count) in beside_splits {
        let reason =
            format!("lies beside train/ and is neither val/ nor test/: {count} images not used");
        layout
            .warnings
            .push(warning(&format!("{prefix}{folder}"), &reason));
    }
    for folder in &folders {
        let parts: Vec<&str> = folder.split('/').collect();
        let class = match parts[..] {
            [top, class] if with_splits && Split::from_folder(top).is_some() => class,
            [class] if !with_splits => class,
            _ => continue,
        };
        layout
            .class_folders
            .entry(class.to_owned())
            .or_insert_with(|| format!("{prefix}{folder}"));
    }
    refuse_other_layouts(name, &layout)?;
    Ok(layout)
}

/// Path, with a final `/`, of the only folder on the way to two or more levels; empty if none.
fn enclosing_folder(folders: &BTreeSet<String>, images: &[&str]) -> String {
    let mut prefix = String::new();
    loop {
        let first_level: BTreeSet<&str> = folders
            .iter()
            .filter_map(|path| path.strip_prefix(prefix.as_str()))
            .filter_map(|path| path.split('/').next())
            .collect();
        let depth_below_two = |path: &&str| {
            path.strip_prefix(prefix.as_str())
                .is_none_or(|p| p.matches('/').count() < 2)
        };
        let only = match first_level.iter().next() {
            Some(only) if first_level.len() == 1 && !only.is_empty() => *only,
            _ => return prefix,
        };
        if images.is_empty()
            || Split::from_folder(only).is_some()
            || images.iter().any(|path| depth_below_two(path))
        {
            return prefix;
        }
        prefix = format!("{prefix}{only}/");
    }
}

/// Layouts that would pass for classes and are something else.
fn refuse_other_layouts(name: &str, layout: &Layout) -> Result<(), DataError> {
    const IMAGES: [&str; 4] = ["images", "image", "imgs", "img"];
    const MASKS: [&str; 8] = [
        "masks",
        "mask",
        "labels",
        "label",
        "annotations",
        "annotation",
        "segmentation",
        "gt",
    ];
    let used: BTreeMap<&str, Option<Split>> = layout
        .places
        .iter()
        .flatten()
        .map(|place| (place.class.as_str(), place.split))
        .collect();
    let find = |names: &[&str]| {
        let lower = |class: &&&str| names.contains(&class.to_ascii_lowercase().as_str());
        layout
            .class_folders
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .iter()
            .find(lower)
            .map(|c| c.to_string())
    };
    if let (Some(images), Some(masks)) = (find(&IMAGES), find(&MASKS)) {
        return Err(DataError::Segmentation {
            path: name.to_owned(),
            images,
            masks,
        });
    }
    let only_splits = !used.is_empty()
        && used
            .iter()
            .all(|(class, split)| split.is_none() && Split::from_folder(class).is_some());
    if only_splits {
        let folders = used
            .keys()
            .map(|folder| format!("{folder}/"))
            .collect::<Vec<_>>()
            .join(", ");
        return Err(DataError::NoClassFolders {
            path: name.to_owned(),
            folders,
        });
    }
    Ok(())
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
