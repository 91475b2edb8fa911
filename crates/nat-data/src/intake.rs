//! From the files of a data set to labelled images in three splits.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::census::{Census, ClassCounts, SplitCounts, Spread};
use crate::duplicates;
use crate::entry::{Listing, Warning, names_image};
use crate::error::DataError;
use crate::layout;
use crate::parallel::in_order;
use crate::passed_over::PassedOver;
use crate::sample::Sample;
use crate::set::{OpenFor, OpenOptions};
use crate::split::{Split, stratify};
use crate::stream::StreamKey;

/// Fourth word of the key from which missing splits are drawn; keeps them apart from the caller's
/// streams of the same seed.
const SPLIT_STREAM: u64 = u64::from_le_bytes(*b"nat-data");

/// A data set with everything decided.
pub(crate) struct Intake {
    /// By split, each sorted by path.
    pub samples: [Vec<Sample>; 3],
    pub census: Census,
}

/// Inspects every image and decides on classes and splits.
pub(crate) fn take_in(
    name: String,
    listing: Listing,
    options: &OpenOptions,
) -> Result<Intake, DataError> {
    let Listing {
        folders,
        folder_bytes: _,
        images,
        mut warnings,
        skipped,
        ignored,
    } = listing;
    let files = images.len() + skipped;
    let paths: Vec<&str> = images.keys().map(String::as_str).collect();
    let unusable: Vec<&str> = (warnings.iter().map(|warning| warning.path.as_str()))
        .filter(|path| names_image(path))
        .collect();
    let layout = layout::read(&name, &folders, &paths, &unusable, options.open_for)?;
    warnings.extend(layout.warnings);

    let mut samples = Vec::new();
    let placed = images.into_iter().zip(layout.places);
    let candidates = placed.filter_map(|((path, encoded), place)| Some((path, encoded, place?)));
    for inspected in in_order(candidates, options.threads, |(path, encoded, place)| {
        Sample::inspect(path.clone(), place, encoded, options.max_pixels)
            .map_err(|reason| Warning { path, reason })
    }) {
        match inspected {
            Ok(sample) => samples.push(sample),
            Err(warning) => warnings.push(warning),
        }
    }
    duplicates::drop_ambiguous(&mut samples, &mut warnings);

    let mut splits: [Vec<Sample>; 3] = Default::default();
    for sample in samples {
        splits[sample.place.split.unwrap_or(Split::Train) as usize].push(sample);
    }
    let found = count_classes(&splits);
    for (class, path) in layout.class_folders {
        if found
            .binary_search_by(|known| known.name.cmp(&class))
            .is_err()
        {
            let reason = "class folder without usable images: left out".to_owned();
            warnings.push(Warning { path, reason });
        }
    }
    let unusable_splits: Vec<(Split, String)> = (layout.split_folders.into_iter())
        .filter(|(split, _)| splits[*split as usize].is_empty())
        .collect();
    let passed_over = (warnings.iter().cloned())
        .chain(of_unusable_splits(&unusable_splits, &[]))
        .collect();
    let passed_over = PassedOver::new(passed_over, ignored);
    let drawn = check_classes(&name, &found, files, &passed_over)
        .and_then(|()| draw_missing(&name, &mut splits, options, &passed_over));
    let drawn = match (drawn, options.open_for) {
        // Too little to learn from is enough to measure on.
        (
            Err(
                DataError::OneClass { .. }
                | DataError::ClassNotInTrain { .. }
                | DataError::ClassTooSmall { .. },
            ),
            OpenFor::Evaluation,
        ) => Vec::new(),
        (drawn, _) => drawn?,
    };
    warnings.extend(of_unusable_splits(&unusable_splits, &drawn));
    let classes = count_classes(&splits);
    if options.open_for == OpenFor::Training {
        warn_of_gaps(&classes, &mut warnings);
    }
    duplicates::warn_of_leaks(&splits, &mut warnings);
    warnings.sort();
    warnings.dedup();

    let used = splits.iter().map(Vec::len).sum::<usize>();
    let census = Census {
        name,
        hash: content_hash(&splits),
        images: SplitCounts {
            train: splits[0].len(),
            val: splits[1].len(),
            test: splits[2].len(),
        },
        classes,
        drawn,
        width: Spread::of(splits.iter().flatten().map(|s| s.width).collect()),
        height: Spread::of(splits.iter().flatten().map(|s| s.height).collect()),
        files,
        skipped: files - used,
        ignored,
        warnings,
    };
    Ok(Intake {
        samples: splits,
        census,
    })
}

/// Counts by class, in the order of the names.
fn count_classes(splits: &[Vec<Sample>; 3]) -> Vec<ClassCounts> {
    let mut counts: BTreeMap<&str, SplitCounts> = BTreeMap::new();
    for split in Split::ALL {
        for sample in &splits[split as usize] {
            *counts
                .entry(&sample.place.class)
                .or_default()
                .get_mut(split) += 1;
        }
    }
    let named = |(name, images): (&str, SplitCounts)| ClassCounts {
        name: name.to_owned(),
        images,
    };
    counts.into_iter().map(named).collect()
}

/// At least two classes, all of them in the training split.
fn check_classes(
    name: &str,
    classes: &[ClassCounts],
    files: usize,
    passed_over: &PassedOver,
) -> Result<(), DataError> {
    let path = name.to_owned();
    let passed_over = passed_over.clone();
    match classes {
        [] => {
            return Err(DataError::NoImages {
                path,
                skipped: files,
                passed_over,
            });
        }
        [only] => {
            return Err(DataError::OneClass {
                path,
                class: only.name.clone(),
                passed_over,
            });
        }
        _ => {}
    }
    match classes.iter().find(|class| class.images.train == 0) {
        None => Ok(()),
        Some(class) => Err(DataError::ClassNotInTrain {
            path,
            class: class.name.clone(),
            split: if class.images.val > 0 {
                Split::Val
            } else {
                Split::Test
            }
            .name(),
            passed_over,
        }),
    }
}

/// Warnings of split folders that exist and hold nothing usable, some of which were `drawn` from elsewhere instead.
fn of_unusable_splits(
    folders: &[(Split, String)],
    drawn: &[Split],
) -> impl Iterator<Item = Warning> {
    folders.iter().map(|(split, path)| {
        let consequence = match drawn.contains(split) {
            true => format!(
                ": the {} split is drawn from the training images",
                split.name()
            ),
            false => String::new(),
        };
        Warning {
            path: path.clone(),
            reason: format!("no usable image in a class folder of it{consequence}"),
        }
    })
}

/// Moves images of the training split, class by class, to those splits that are empty; returns which. After an error all of
/// them are where they were.
fn draw_missing(
    name: &str,
    splits: &mut [Vec<Sample>; 3],
    options: &OpenOptions,
    passed_over: &PassedOver,
) -> Result<Vec<Split>, DataError> {
    let fractions = [
        (Split::Val, options.val_fraction),
        (Split::Test, options.test_fraction),
    ];
    let (drawn, shares): (Vec<Split>, Vec<f64>) = fractions
        .into_iter()
        .filter(|(split, _)| splits[*split as usize].is_empty())
        .unzip();
    let positive = shares.iter().all(|&share| share > 0.0);
    if !positive || shares.iter().sum::<f64>() >= 1.0 {
        return Err(DataError::Fractions {
            val: options.val_fraction,
            test: options.test_fraction,
        });
    }
    if drawn.is_empty() {
        return Ok(drawn);
    }

    let pool = &splits[Split::Train as usize];
    let mut by_class: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, sample) in pool.iter().enumerate() {
        by_class
            .entry(&sample.place.class)
            .or_default()
            .push(number);
    }
    let mut split_of = vec![Split::Train; pool.len()];
    let key = StreamKey([options.seed, 0, 0, SPLIT_STREAM]);
    for ((class, numbers), stream) in by_class.into_iter().zip(0..) {
        let groups = duplicates::groups(pool, numbers);
        let distinct = groups.len();
        let parts = stratify(groups, &shares, &mut key.rng(stream)).ok_or_else(|| {
            DataError::ClassTooSmall {
                path: name.to_owned(),
                class: class.to_owned(),
                distinct,
                needed: drawn.len() + 1,
                passed_over: passed_over.clone(),
            }
        })?;
        for (&split, part) in drawn.iter().zip(&parts) {
            part.iter().for_each(|&image| split_of[image] = split);
        }
    }
    let pool = std::mem::take(&mut splits[Split::Train as usize]);
    for (sample, split) in pool.into_iter().zip(split_of) {
        splits[split as usize].push(sample);
    }
    Ok(drawn)
}

/// Warns of classes that a split cannot say anything about.
fn warn_of_gaps(classes: &[ClassCounts], warnings: &mut Vec<Warning>) {
    for split in [Split::Val, Split::Test] {
        for class in classes.iter().filter(|class| class.images.get(split) == 0) {
            warnings.push(Warning {
                path: format!("{}/{}", split.name(), class.name),
                reason: "class without usable images in this split".to_owned(),
            });
        }
    }
}

fn content_hash(splits: &[Vec<Sample>; 3]) -> String {
    let mut hash = Sha256::new();
    for split in Split::ALL {
        for sample in &splits[split as usize] {
            for text in [split.name(), &sample.place.class, &sample.place.below_root] {
                hash.update(text);
                hash.update([0]);
            }
            hash.update(sample.fingerprint);
        }
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::entry::Encoded;

    /// A picture of one colour as PNG; another `shade`, other bytes.
    fn png(shade: u8) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let picture = image::RgbImage::from_pixel(4, 3, image::Rgb([shade, 0, 255 - shade]));
        picture
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    fn taken<P: AsRef<str>>(images: &[(P, u8)]) -> Result<Intake, DataError> {
        taken_beside(images, &[])
    }

    /// `others` are paths of files that are no images by their names, or of a kind that cannot be read.
    fn taken_beside<P: AsRef<str>>(
        images: &[(P, u8)],
        others: &[&str],
    ) -> Result<Intake, DataError> {
        let mut listing = Listing::default();
        for path in others {
            listing.add_parents(path);
            assert!(!listing.accepts(path, 1));
        }
        for (path, shade) in images {
            let path = path.as_ref();
            listing.add_parents(path);
            let encoded = Encoded::Memory(png(*shade).into());
            listing.images.insert(path.to_owned(), encoded);
        }
        take_in("set".to_owned(), listing, &OpenOptions::default())
    }

    fn taken_for_evaluation(images: &[(&str, u8)]) -> Result<Intake, DataError> {
        let mut listing = Listing::default();
        for (path, shade) in images {
            listing.add_parents(path);
            let encoded = Encoded::Memory(png(*shade).into());
            listing.images.insert((*path).to_owned(), encoded);
        }
        let options = OpenOptions {
            open_for: OpenFor::Evaluation,
            ..OpenOptions::default()
        };
        take_in("set".to_owned(), listing, &options)
    }

    /// Names of the classes, and images by split.
    fn outline(intake: &Intake) -> (Vec<&str>, [usize; 3]) {
        let classes = intake.census.classes.iter();
        let names = classes.map(|class| class.name.as_str()).collect();
        (names, intake.samples.each_ref().map(Vec::len))
    }

    fn warnings(intake: &Intake) -> Vec<(&str, &str)> {
        intake
            .census
            .warnings
            .iter()
            .map(|w| (w.path.as_str(), w.reason.as_str()))
            .collect()
    }

    #[test]
    fn given_splits_are_kept() {
        let intake = taken(&[
            ("train/cat/a.png", 1),
            ("train/dog/b.png", 2),
            ("val/cat/c.png", 3),
            ("val/dog/d.png", 4),
            ("test/cat/e.png", 5),
            ("test/dog/f.png", 6),
        ])
        .unwrap();
        assert_eq!(intake.samples.each_ref().map(Vec::len), [2, 2, 2]);
        assert!(intake.census.drawn.is_empty() && intake.census.warnings.is_empty());
        assert_eq!(
            intake.census.width,
            Spread {
                min: 4,
                median: 4,
                max: 4
            }
        );
    }

    #[test]
    fn too_little_to_learn_from_is_enough_to_measure_on() {
        let one_class = [("cat/a.png", 1), ("cat/b.png", 2)];
        let few = [("cat/a.png", 1), ("dog/b.png", 2), ("dog/c.png", 3)];
        let only_test = [("test/cat/a.png", 1), ("test/dog/b.png", 2)];
        let new_class = [("train/cat/a.png", 1), ("test/dog/b.png", 2)];
        for (images, classes, splits) in [
            (&one_class[..], &["cat"][..], [2, 0, 0]),
            (&few, &["cat", "dog"], [3, 0, 0]),
            (&only_test, &["cat", "dog"], [0, 0, 2]),
            (&new_class, &["cat", "dog"], [1, 0, 1]),
        ] {
            assert!(taken(images).is_err(), "{images:?}");
            let intake = taken_for_evaluation(images).unwrap();
            assert_eq!(outline(&intake), (classes.to_vec(), splits));
            assert!(intake.census.drawn.is_empty() && intake.census.warnings.is_empty());
        }
        let error = taken_for_evaluation(&[]).map(|_| ()).unwrap_err();
        assert!(matches!(error, DataError::NoImages { .. }), "{error}");
    }

    #[test]
    fn the_same_images_are_drawn_for_training_and_for_evaluation() {
        let names: Vec<String> = (0..40)
            .map(|i| format!("{}/{i}.png", ["cat", "dog"][i % 2]))
            .collect();
        let images: Vec<(&str, u8)> = names.iter().map(String::as_str).zip(0..).collect();
        let (training, evaluation) = (
            taken(&images).unwrap(),
            taken_for_evaluation(&images).unwrap(),
        );
        assert_eq!(training.census.drawn, [Split::Val, Split::Test]);
        assert_eq!(training.census, evaluation.census);
        assert_eq!(outline(&training), outline(&evaluation));
    }

    #[test]
    fn a_picture_in_two_splits_is_told() {
        let intake = taken(&[
            ("train/cat/a.png", 1),
            ("train/dog/b.png", 2),
            ("val/cat/c.png", 3),
            ("val/dog/d.png", 4),
            ("test/cat/e.png", 1),
            ("test/dog/f.png", 6),
        ])
        .unwrap();
        let reason = "the same picture as train/cat/a.png: used in both splits";
        assert_eq!(warnings(&intake), [("test/cat/e.png", reason)]);
    }

    #[test]
    fn a_class_that_a_given_split_lacks_is_told() {
        let intake = taken(&[
            ("train/cat/a.png", 1),
            ("train/dog/b.png", 2),
            ("val/cat/c.png", 3),
            ("test/cat/e.png", 5),
            ("test/dog/f.png", 6),
        ])
        .unwrap();
        let reason = "class without usable images in this split";
        assert_eq!(warnings(&intake), [("val/dog", reason)]);
    }

    #[test]
    fn a_missing_search_split_needs_two_images_a_class() {
        let enough = [
            ("train/cat/a.png", 1),
            ("train/cat/b.png", 2),
            ("train/dog/c.png", 3),
            ("train/dog/d.png", 4),
            ("test/cat/e.png", 5),
            ("test/dog/f.png", 6),
        ];
        let intake = taken(&enough).unwrap();
        assert_eq!(intake.census.drawn, [Split::Val]);
        assert_eq!(intake.samples.each_ref().map(Vec::len), [2, 2, 2]);

        let mut copies = enough;
        copies[1].1 = 1;
        let error = taken(&copies).map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, DataError::ClassTooSmall { class, distinct: 1, needed: 2, .. } if class == "cat"),
            "{error}"
        );
    }

    #[test]
    fn a_split_folder_without_usable_images_is_told() {
        let images: Vec<(String, u8)> = (0..8)
            .map(|i| {
                (
                    format!("train/{}/{i}.png", ["cat", "dog"][i as usize % 2]),
                    i,
                )
            })
            .collect();
        let reason = "no usable image in a class folder of it: the test split is drawn from the training images";
        let intake = taken_beside(&images, &["test/cat/a.heic", "test/list.csv"]).unwrap();
        assert_eq!(intake.census.drawn, [Split::Val, Split::Test]);
        let told = warnings(&intake);
        assert!(told.contains(&("test", reason)), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
        let absent = taken(&images).unwrap();
        assert_eq!(absent.census.drawn, [Split::Val, Split::Test]);
        assert!(absent.census.warnings.is_empty());
    }

    #[test]
    fn an_unusable_set_tells_what_was_passed_over() {
        let message = |images: &[(&str, u8)], others: &[&str]| {
            let error = taken_beside(images, others).map(|_| ()).unwrap_err();
            error.to_string()
        };
        let heic = "dog/a.heic and 1 more (HEIC is not supported";
        let one_class = message(
            &[("cat/a.png", 1), ("cat/b.png", 2)],
            &["dog/a.heic", "dog/b.heic", "dog/c"],
        );
        assert!(one_class.contains("only one class"), "{one_class}");
        assert!(one_class.contains(heic), "{one_class}");
        assert!(one_class.contains("1 file without"), "{one_class}");

        let none = message(&[], &["dog/a.heic", "dog/b.heic"]);
        assert!(none.contains("no images") && none.contains(heic), "{none}");

        let cat = [("cat/a.png", 1), ("cat/b.png", 2), ("cat/c.png", 3)];
        let mut too_small = cat.to_vec();
        too_small.push(("dog/d.png", 4));
        let too_small = message(&too_small, &["dog/a.heic", "dog/b.heic"]);
        assert!(
            too_small.contains("1 distinct") && too_small.contains(heic),
            "{too_small}"
        );

        let not_in_train = message(
            &[
                ("train/cat/a.png", 1),
                ("train/cow/b.png", 2),
                ("test/dog/c.png", 3),
            ],
            &["train/dog/a.heic", "train/dog/b.heic"],
        );
        assert!(
            not_in_train.contains("'dog'") && not_in_train.contains(heic),
            "{not_in_train}"
        );
    }

    #[test]
    fn a_class_of_ambiguous_pictures_only_is_left_out() {
        let mut images = vec![("pets/a.png", 1), ("pets/b.png", 2)];
        images.extend([
            ("cat/a.png", 1),
            ("cat/c.png", 3),
            ("cat/d.png", 4),
            ("cat/e.png", 5),
        ]);
        images.extend([
            ("dog/b.png", 2),
            ("dog/f.png", 6),
            ("dog/g.png", 7),
            ("dog/h.png", 8),
        ]);
        let intake = taken(&images).unwrap();
        let names: Vec<&str> = intake
            .census
            .classes
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        assert_eq!(names, ["cat", "dog"]);
        assert_eq!(intake.census.skipped, 4);
        assert_eq!(intake.census.warnings.len(), 5);
    }

    #[test]
    fn the_hash_covers_split_class_path_and_content() {
        let hash = |images: &[(&str, u8)]| taken(images).unwrap().census.hash;
        let base = [
            ("train/cat/a.png", 1),
            ("train/dog/b.png", 2),
            ("train/dog/c.png", 3),
            ("val/cat/d.png", 4),
            ("val/dog/e.png", 5),
            ("test/cat/f.png", 6),
            ("test/dog/g.png", 7),
        ];
        let mut seen = vec![hash(&base)];
        for other in [
            ("val/dog/c.png", 3),
            ("train/cat/c.png", 3),
            ("train/dog/x.png", 3),
            ("train/dog/c.png", 9),
        ] {
            let mut changed = base;
            changed[2] = other;
            seen.push(hash(&changed));
        }
        let around = base.map(|(path, shade)| (format!("around/{path}"), shade));
        seen.push(taken(&around).unwrap().census.hash);
        assert_eq!(
            seen[0], seen[5],
            "a folder around everything does not count"
        );
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
        assert!(seen.iter().all(|hash| hash.len() == 16));
    }
}
