//! Which folder names are splits, and which are classes.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Warning;
use crate::error::DataError;
use crate::set::OpenFor;
use crate::split::{Split, SplitNames};

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
    /// Split folders that exist, also those without images, and their paths; none where the set has no splits.
    pub split_folders: BTreeMap<Split, String>,
    pub warnings: Vec<Warning>,
}

/// Where one image lies.
enum Spot<'a> {
    Class(Option<Split>, &'a str),
    BesideSplits(&'a str),
    NoClass,
}

/// Reads the layout off the paths of all folders and images of the set `name`; `passed_over` are the paths of
/// the images there that cannot be used.
///
/// - `train/CLASS/…` next to optional `val/` and `test/`: the set has splits;
/// - for evaluation, which needs no `train/`, also where every folder with images is called like a split;
/// - otherwise each folder on the first level is a class;
/// - a single folder around everything is stepped into first, whatever single images lie beside its folders;
/// - images deeper inside a class folder belong to that class.
pub(crate) fn read(
    name: &str,
    folders: &BTreeSet<String>,
    images: &[&str],
    passed_over: &[&str],
    open_for: OpenFor,
) -> Result<Layout, DataError> {
    let root = enclosing_folder(folders, images, passed_over);
    let top_folders = folders
        .iter()
        .filter_map(|folder| folder.strip_prefix(root.as_str()))
        .filter(|folder| !folder.contains('/'));
    let names = SplitNames::among(top_folders);
    // Images that lie outside of the folder that was stepped into have no path below it.
    let paths: Vec<Option<&str>> = images
        .iter()
        .map(|path| path.strip_prefix(root.as_str()))
        .collect();
    let in_folders = || {
        let paths = paths.iter().flatten().copied();
        paths.filter(|path| path.contains('/'))
    };
    let split_of = |path: &str| path.split_once('/').and_then(|(top, _)| names.split(top));
    let in_class = |path: &str| path.matches('/').count() >= 2;
    let for_training =
        in_folders().any(|path| split_of(path) == Some(Split::Train) && in_class(path));
    let for_evaluation =
        in_folders().any(in_class) && in_folders().all(|path| split_of(path).is_some());
    let with_splits = for_training || open_for == OpenFor::Evaluation && for_evaluation;
    let splits = with_splits.then_some(names);

    let mut places = Vec::with_capacity(paths.len());
    let mut warnings = folders_outside(folders, &root);
    let mut beside_splits: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, image) in paths.iter().zip(images) {
        let path = path.unwrap_or_default();
        places.push(match spot(path, splits) {
            Spot::Class(split, class) => Some(Place {
                split,
                class: class.to_owned(),
                below_root: path.to_owned(),
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

    let mut layout = Layout {
        places,
        class_folders: class_folders(folders, &root, splits),
        split_folders: split_folders(folders, &root, splits),
        warnings,
    };
    refuse_masks(name, &layout)?;
    refuse_bare_splits(name, &layout, names)?;
    let shared = shared_subfolders(name, &layout, names)?;
    layout.warnings.extend(shared);
    Ok(layout)
}

/// Where an image at `path` lies, in a set that has splits if `splits` says how they are called.
fn spot(path: &str, splits: Option<SplitNames>) -> Spot<'_> {
    let parts: Vec<&str> = path.split('/').collect();
    match (splits, &parts[..]) {
        (None, &[class, _, ..]) => Spot::Class(None, class),
        (Some(splits), &[top, ref rest @ ..]) => match (splits.split(top), rest) {
            (Some(split), &[class, _, ..]) => Spot::Class(Some(split), class),
            (None, [_, ..]) => Spot::BesideSplits(top),
            _ => Spot::NoClass,
        },
        _ => Spot::NoClass,
    }
}

/// Path, with a final `/`, of the folder that holds the classes or splits; empty where that is the set itself.
///
/// A folder is stepped into where no other holds images and images lie in folders of it. What was passed over
/// counts: `cat/old/` and `cat/new/` are no classes where the images in `dog/` are of a kind that cannot be read.
fn enclosing_folder(folders: &BTreeSet<String>, images: &[&str], passed_over: &[&str]) -> String {
    let mut root = String::new();
    loop {
        let below_root = |path: &&str| path.strip_prefix(root.as_str()).map(str::to_owned);
        let holding: BTreeSet<String> = images
            .iter()
            .chain(passed_over)
            .filter_map(below_root)
            .filter_map(|path| path.split_once('/').map(|(top, _)| top.to_owned()))
            // A path that leaves the archive begins with a folder that does not exist.
            .filter(|top| folders.contains(&format!("{root}{top}")))
            .collect();
        let [only] = Vec::from_iter(holding).try_into().unwrap_or_default();
        let two_levels_below =
            |image: &&str| below_root(image).is_some_and(|p| p.matches('/').count() >= 2);
        let steps_in = !only.is_empty()
            && SplitNames::among([only.as_str()]).split(&only).is_none()
            && images.iter().any(two_levels_below);
        if !steps_in {
            return root;
        }
        root = format!("{root}{only}/");
    }
}

/// Warns of the folders beside the one that was stepped into: they might have been meant as classes.
fn folders_outside(folders: &BTreeSet<String>, root: &str) -> Vec<Warning> {
    let is_outside = |folder: &&String| {
        let name = folder.rsplit('/').next().unwrap_or(folder);
        let parent = &folder[..folder.len() - name.len()];
        root.starts_with(parent) && root != parent && !root.starts_with(&format!("{folder}/"))
    };
    let reason = format!("folder without images beside {root}: left out");
    folders
        .iter()
        .filter(is_outside)
        .map(|folder| warning(folder, &reason))
        .collect()
}

fn class_folders(
    folders: &BTreeSet<String>,
    root: &str,
    splits: Option<SplitNames>,
) -> BTreeMap<String, String> {
    let mut classes = BTreeMap::new();
    for folder in folders {
        let parts: Vec<&str> = match folder.strip_prefix(root) {
            Some(below) => below.split('/').collect(),
            None => continue,
        };
        let class = match (splits, &parts[..]) {
            (None, [class]) => *class,
            (Some(splits), [top, class]) if splits.split(top).is_some() => *class,
            _ => continue,
        };
        classes
            .entry(class.to_owned())
            .or_insert_with(|| folder.clone());
    }
    classes
}

fn split_folders(
    folders: &BTreeSet<String>,
    root: &str,
    splits: Option<SplitNames>,
) -> BTreeMap<Split, String> {
    let mut found = BTreeMap::new();
    for folder in folders {
        let name = folder.strip_prefix(root);
        let split = name.and_then(|name| splits.and_then(|splits| splits.split(name)));
        if let Some(split) = split {
            found.entry(split).or_insert_with(|| folder.clone());
        }
    }
    found
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
fn refuse_bare_splits(name: &str, layout: &Layout, names: SplitNames) -> Result<(), DataError> {
    let placed: Vec<&Place> = layout.places.iter().flatten().collect();
    let is_bare_split =
        |place: &&Place| place.split.is_none() && names.split(&place.class).is_some();
    if placed.is_empty() || !placed.iter().all(is_bare_split) {
        return Ok(());
    }
    let folders: BTreeSet<&str> = placed.iter().map(|place| place.class.as_str()).collect();
    Err(DataError::NoClassFolders {
        path: name.to_owned(),
        folders: listed(&folders),
    })
}

/// Folders that all hold folders of the same names: classes that are split each for itself, which are refused, or perhaps splits
/// under names of their own around the classes, of which is warned; classes with images of the same days or places look alike.
fn shared_subfolders(
    name: &str,
    layout: &Layout,
    names: SplitNames,
) -> Result<Option<Warning>, DataError> {
    let mut subfolders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut in_subfolders, mut directly) = (0_usize, 0_usize);
    for place in layout.places.iter().flatten() {
        if place.split.is_some() {
            return Ok(None);
        }
        let found = subfolders.entry(&place.class).or_default();
        match place.below_root.split('/').collect::<Vec<_>>()[..] {
            [_, subfolder, _, ..] => {
                in_subfolders += 1;
                found.insert(subfolder);
            }
            _ => directly += 1,
        }
    }
    let Some(shared) = subfolders.values().next() else {
        return Ok(None);
    };
    let all_share = subfolders.len() >= 2
        && shared.len() >= 2
        && subfolders.values().all(|found| found == shared);
    if !all_share || directly > in_subfolders {
        return Ok(None);
    }
    let path = name.to_owned();
    if shared.iter().all(|folder| names.split(folder).is_some()) {
        return Err(DataError::SplitClasses {
            path,
            subfolders: listed(shared),
        });
    }
    Ok(Some(warning(
        &path,
        &format!(
            "the folders {} are taken for the classes, and all hold {}: if they are splits, call them train/, val/ and test/",
            listed(&subfolders.keys().copied().collect()),
            listed(shared)
        ),
    )))
}

/// `a/, b/`, cut off after a few.
fn listed(folders: &BTreeSet<&str>) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = folders
        .iter()
        .take(SHOWN)
        .map(|folder| format!("{folder}/"))
        .collect();
    match folders.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
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
        read("set", &listing.folders, images, &[], OpenFor::Training)
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
    fn strays_and_folders_without_images_do_not_hide_an_enclosing_folder() {
        let images = [
            "logo.png",
            "photos/cat/a.jpg",
            "photos/cover.png",
            "photos/dog/b.jpg",
        ];
        let found = layout(&images, &["docs/old", "photos/bird"]).unwrap();
        let classes = found
            .places
            .iter()
            .map(|p| p.as_ref().map(|p| &p.class[..]));
        assert_eq!(
            classes.collect::<Vec<_>>(),
            [None, Some("cat"), None, Some("dog")]
        );
        assert_eq!(
            found.warnings,
            [
                warning("docs", "folder without images beside photos/: left out"),
                warning("logo.png", "lies in no class folder"),
                warning("photos/cover.png", "lies in no class folder"),
            ]
        );
        assert_eq!(
            found.class_folders.keys().collect::<Vec<_>>(),
            ["bird", "cat", "dog"]
        );
        let deeper = places(&["a/b/cat/a.jpg", "a/b/dog/b.jpg", "a/cover.png"]);
        assert_eq!(deeper, [at(None, "cat"), at(None, "dog"), None]);
    }

    #[test]
    fn a_class_of_unreadable_images_is_no_folder_without_images() {
        let images = ["cat/new/a.png", "cat/old/b.png"];
        let mut listing = Listing::default();
        for path in images.iter().chain(&["dog/c.heic"]) {
            listing.add_parents(path);
        }
        let found = read(
            "set",
            &listing.folders,
            &images,
            &["../d.png", "dog/c.heic"],
            OpenFor::Training,
        )
        .unwrap();
        assert_eq!(
            found.class_folders.keys().collect::<Vec<_>>(),
            ["cat", "dog"]
        );
        let escaping = ["photos/cat/a.png", "photos/dog/b.png"];
        let mut listing = Listing::default();
        escaping.iter().for_each(|path| listing.add_parents(path));
        let outside = ["../d.png", "/e.png"];
        let found = read(
            "set",
            &listing.folders,
            &escaping,
            &outside,
            OpenFor::Training,
        )
        .unwrap();
        assert_eq!(
            found.class_folders.keys().collect::<Vec<_>>(),
            ["cat", "dog"]
        );
    }

    #[test]
    fn splits_are_known_under_their_common_names() {
        let kaggle = [
            "Testing/cat/a.jpg",
            "Testing/dog/b.jpg",
            "Training/cat/c.jpg",
        ];
        assert_eq!(
            places(&kaggle),
            [
                at(Some(Split::Test), "cat"),
                at(Some(Split::Test), "dog"),
                at(Some(Split::Train), "cat")
            ]
        );
        let food = [
            "evaluation/a/1.jpg",
            "training/a/2.jpg",
            "validation/a/3.jpg",
        ];
        let splits: Vec<_> = places(&food).into_iter().flatten().map(|p| p.0).collect();
        assert_eq!(splits, [Split::Test, Split::Train, Split::Val].map(Some));
    }

    #[test]
    fn split_folders_are_known_without_images() {
        let found = layout(&["set/train/cat/a.jpg"], &["set/test/cat", "set/notes"]).unwrap();
        let expected = [(Split::Train, "set/train"), (Split::Test, "set/test")];
        assert_eq!(
            found.split_folders,
            expected
                .map(|(split, path)| (split, path.to_owned()))
                .into()
        );
        let classes = layout(&["cat/a.jpg", "dog/b.jpg"], &["test"]).unwrap();
        assert!(classes.split_folders.is_empty());
    }

    #[test]
    fn folders_that_share_their_subfolders_are_told() {
        let sessions = [
            "s1/cat/a.jpg",
            "s1/dog/b.jpg",
            "s2/cat/c.jpg",
            "s2/dog/d.jpg",
        ];
        let warnings = layout(&sessions, &[]).unwrap().warnings;
        assert!(
            warnings[0].reason.contains("s1/, s2/") && warnings[0].reason.contains("cat/, dog/"),
            "{warnings:?}"
        );
        let divided = [
            "cat/test/a.jpg",
            "cat/train/b.jpg",
            "dog/test/c.jpg",
            "dog/train/d.jpg",
        ];
        let error = layout(&divided, &[]).unwrap_err();
        assert!(matches!(error, DataError::SplitClasses { .. }), "{error}");

        for classes in [
            &["cat/old/a.jpg", "dog/old/b.jpg"][..],
            &["cat/new/a.jpg", "cat/old/b.jpg", "dog/old/c.jpg"],
            &["cat/a.jpg", "dog/b.jpg"],
            &[
                "cat/1.jpg",
                "cat/2.jpg",
                "cat/3.jpg",
                "cat/new/4.jpg",
                "cat/old/5.jpg",
                "dog/1.jpg",
                "dog/2.jpg",
                "dog/new/3.jpg",
                "dog/old/4.jpg",
            ],
        ] {
            assert!(layout(classes, &[]).is_ok(), "{classes:?}");
        }
    }

    #[test]
    fn evaluation_needs_no_training_split() {
        let places = |images: &[&str]| {
            let mut listing = Listing::default();
            images.iter().for_each(|path| listing.add_parents(path));
            let found = read("set", &listing.folders, images, &[], OpenFor::Evaluation).unwrap();
            (found.places.into_iter())
                .map(|place| place.map(|p| (p.split, p.class)))
                .collect::<Vec<_>>()
        };
        let cat = [at(Some(Split::Test), "cat")];
        assert_eq!(places(&["test/cat/a.jpg"]), cat);
        assert_eq!(places(&["photos/test/cat/old/a.jpg"]), cat);
        assert_eq!(
            places(&["logo.png", "test/cat/a.jpg", "val/dog/b.jpg"]),
            [
                None,
                at(Some(Split::Test), "cat"),
                at(Some(Split::Val), "dog")
            ]
        );
        // A class may have the name of a split beside others.
        assert_eq!(
            places(&["bus/a.jpg", "test/old/b.jpg"]),
            [at(None, "bus"), at(None, "test")]
        );
        assert_eq!(places(&["cat/a.jpg"]), [at(None, "cat")]);
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
