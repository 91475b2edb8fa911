//! Broken, odd and malicious sets: one test per row of `hostile/README.md`.

use std::fs;
use std::path::{Path, PathBuf};

use nat_data::{DataError, ImageSet, OpenOptions, RgbImage, Split, StreamKey};
use rand::RngExt;

fn hostile(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/hostile")
        .join(path)
}

fn open(set: &str) -> Result<ImageSet, DataError> {
    ImageSet::open(&hostile("sets").join(set), &OpenOptions::default())
}

fn opened(set: &str) -> ImageSet {
    open(set).unwrap_or_else(|error| panic!("{set}: {error}"))
}

fn images(set: &ImageSet) -> usize {
    Split::ALL.into_iter().map(|split| set.len(split)).sum()
}

fn paths(set: &ImageSet) -> Vec<String> {
    Split::ALL
        .iter()
        .flat_map(|&split| (0..set.len(split)).map(move |i| set.path(split, i).to_owned()))
        .collect()
}

fn warnings(set: &ImageSet) -> Vec<String> {
    set.warnings()
        .iter()
        .map(|warning| format!("{}: {}", warning.path, warning.reason))
        .collect()
}

/// One line that names what is wrong.
fn assert_message(error: &DataError, parts: &[&str]) {
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    for part in parts {
        assert!(message.contains(part), "'{part}' in '{message}'");
    }
}

#[test]
fn mixed_files_lose_exactly_the_bad_ones() {
    let set = opened("mixed-files.tar");
    let found: Vec<&str> = set
        .warnings()
        .iter()
        .map(|w| w.path.rsplit('/').next().unwrap())
        .collect();
    let mut expected = [
        "truncated.jpg",
        "zero-byte.jpg",
        "text.jpg",
        "bomb-60000x60000.png",
    ];
    let mut sorted = found.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected, "{:?}", warnings(&set));
    let reasons = warnings(&set).join("\n");
    for reason in ["truncated", "empty file", "not an image", "60000x60000"] {
        assert!(reasons.contains(reason), "{reasons}");
    }
    assert_eq!(
        (set.census().files, set.census().skipped, images(&set)),
        (50, 4, 46)
    );
    assert_eq!(set.census().width.max, 2000);
    for split in Split::ALL {
        for i in 0..set.len(split) {
            set.image(split, i).unwrap();
        }
    }
}

#[test]
fn warnings_do_not_depend_on_threads() {
    let open = |threads| {
        let options = OpenOptions {
            threads,
            ..OpenOptions::default()
        };
        ImageSet::open(&hostile("sets/mixed-files.tar"), &options).unwrap()
    };
    let (one, many) = (open(1), open(8));
    assert_eq!(one.census(), many.census());
    assert_eq!(paths(&one), paths(&many));
}

#[test]
fn a_name_that_is_not_utf8_is_used_and_shown_escaped() {
    let set = opened("non-utf8-name.tar");
    assert!(
        paths(&set)
            .iter()
            .any(|path| path.ends_with("caf\\xE9-\\xFF\\xFE.jpg")),
        "{:?}",
        paths(&set)
    );
    assert!(set.warnings().is_empty(), "{:?}", warnings(&set));
}

#[test]
fn links_are_not_followed() {
    let set = opened("symlink-loop.tar");
    assert_eq!(images(&set), 32);
    let linked: Vec<&str> = set.warnings().iter().map(|w| w.path.as_str()).collect();
    assert_eq!(linked.len(), 4, "{:?}", warnings(&set));
    for name in [
        "circle/loop-a",
        "circle/loop-b",
        "square/again",
        "dangling.jpg",
    ] {
        assert!(
            linked.iter().any(|path| path.ends_with(name)),
            "{name} in {linked:?}"
        );
    }
}

#[test]
fn an_empty_class_is_left_out() {
    let set = opened("class-without-images.tar");
    assert_eq!(set.classes(), ["circle", "square"]);
    assert_eq!(
        warnings(&set),
        ["triangle: class folder without usable images: left out"]
    );
}

#[test]
fn a_class_of_one_image_is_refused() {
    assert_message(
        &open("class-with-one-image.tar").unwrap_err(),
        &["'triangle'", "1 distinct"],
    );
}

#[test]
fn pictures_with_two_labels_are_dropped() {
    let set = opened("duplicate-in-two-classes.tar");
    assert_eq!(set.warnings().len(), 2, "{:?}", warnings(&set));
    for warning in set.warnings() {
        let (own, other) = if warning.path.starts_with("circle") {
            ("circle/", "square/")
        } else {
            ("square/", "circle/")
        };
        assert!(
            warning.path.contains(own) && warning.reason.contains(other),
            "{warning:?}"
        );
        assert!(!paths(&set).contains(&warning.path));
    }
    assert_eq!(
        (set.census().files, set.census().skipped, images(&set)),
        (34, 2, 32)
    );
}

#[test]
fn copies_in_one_class_stay_in_one_split() {
    for seed in 0..40 {
        let options = OpenOptions {
            seed,
            ..OpenOptions::default()
        };
        let set = ImageSet::open(&hostile("sets/duplicate-in-two-classes.tar"), &options).unwrap();
        let split_of = |path: &str| {
            Split::ALL
                .into_iter()
                .find(|&s| (0..set.len(s)).any(|i| set.path(s, i) == path))
        };
        assert!(split_of("circle/005.jpg").is_some());
        assert_eq!(
            split_of("circle/005.jpg"),
            split_of("circle/016.jpg"),
            "seed {seed}"
        );
    }
}

#[test]
fn hidden_files_are_ignored_without_noise() {
    let set = opened("hidden-files.tar");
    assert_eq!((images(&set), set.classes().len()), (32, 2));
    assert!(set.warnings().is_empty(), "{:?}", warnings(&set));
}

#[test]
fn extensions_are_compared_without_case() {
    let set = opened("extensions.tar");
    assert_eq!(images(&set), 32);
    assert!(set.warnings().is_empty(), "{:?}", warnings(&set));
}

#[test]
fn one_class_is_refused() {
    assert_message(
        &open("one-class.tar").unwrap_err(),
        &["one-class.tar", "'circle'", "at least two"],
    );
}

#[test]
fn a_set_without_images_is_refused() {
    assert_message(
        &open("no-images.tar").unwrap_err(),
        &["no-images.tar", "no images"],
    );
}

#[test]
fn paths_out_of_the_archive_are_skipped() {
    let set = opened("path-escape.tar");
    let escaping: Vec<&str> = set.warnings().iter().map(|w| w.path.as_str()).collect();
    assert_eq!(
        escaping,
        [
            "../escape.jpg",
            "/nat-escape.jpg",
            "circle/../../escape2.jpg"
        ]
    );
    assert!(!Path::new("/nat-escape.jpg").exists());
    assert!(!hostile("escape.jpg").exists());
}

#[test]
fn archives_cut_short_are_refused() {
    for set in ["cut-short.tar", "cut-short.tar.gz"] {
        let error = open(set).unwrap_err();
        assert!(matches!(error, DataError::CutShort { .. }), "{error}");
        assert_message(&error, &[set]);
    }
}

#[test]
fn every_cut_of_an_archive_is_noticed() {
    let whole = fs::read(hostile("sets/extensions.tar")).unwrap();
    // An image ends in most 512-byte blocks; the last 1,024 bytes or more are the end marker.
    let end = whole.iter().rposition(|&byte| byte != 0).unwrap() / 512 * 512 + 512;
    for length in (0..end).step_by(512).chain((0..end).step_by(1000)) {
        let result = ImageSet::from_bytes("cut", &whole[..length], &OpenOptions::default());
        assert!(
            result.is_err(),
            "the first {length} bytes passed for a whole archive"
        );
    }
    ImageSet::from_bytes("whole", &whole[..end + 1024], &OpenOptions::default()).unwrap();
}

#[test]
fn what_is_no_archive_is_refused() {
    let error = open("not-a-tar.tar").unwrap_err();
    assert!(matches!(error, DataError::NotADataSet { .. }), "{error}");
    let error = ImageSet::open(&hostile("files/picture.bmp"), &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::NotADataSet { .. }), "{error}");
    let error = ImageSet::open(&hostile("no such file"), &OpenOptions::default()).unwrap_err();
    assert_message(&error, &["no such file", "cannot be read"]);
}

#[test]
fn a_test_class_that_train_lacks_is_refused() {
    assert_message(
        &open("test-class-not-in-train.tar").unwrap_err(),
        &["'triangle'", "test/", "train/"],
    );
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused() {
    use std::io::{Read, repeat};
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    let mut header = tar::Header::new_ustar();
    header.set_path("circle/notes.txt").unwrap();
    header.set_size(64 << 20);
    header.set_cksum();
    builder.append(&header, repeat(0).take(64 << 20)).unwrap();
    let bomb = builder.into_inner().unwrap().finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let options = OpenOptions {
        max_archive_bytes: 32 << 20,
        ..OpenOptions::default()
    };
    let error = ImageSet::from_bytes("bomb", &bomb, &options).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
}

#[test]
fn a_name_of_megabytes_is_refused() {
    use std::io::{Read, repeat};
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(32 << 20);
    header.set_cksum();
    builder
        .append(&header, repeat(b'a').take(32 << 20))
        .unwrap();
    let error = ImageSet::from_bytes(
        "bomb",
        &builder.into_inner().unwrap(),
        &OpenOptions::default(),
    )
    .unwrap_err();
    assert!(matches!(error, DataError::Damaged { .. }), "{error}");
}

#[test]
fn a_folder_is_treated_like_its_archive() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::open(hostile("sets/mixed-files.tar")).unwrap();
    tar::Archive::new(file).unpack(folder.path()).unwrap();
    let (archive, folder_set) = (
        opened("mixed-files.tar"),
        ImageSet::open(folder.path(), &OpenOptions::default()).unwrap(),
    );
    assert_eq!(archive.hash(), folder_set.hash());
    assert_eq!(archive.warnings(), folder_set.warnings());
    assert_eq!(paths(&archive), paths(&folder_set));
    for split in Split::ALL {
        for i in 0..archive.len(split) {
            assert_eq!(
                archive.image(split, i).unwrap(),
                folder_set.image(split, i).unwrap()
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_folder_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::open(hostile("sets/extensions.tar")).unwrap();
    tar::Archive::new(file).unpack(folder.path()).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("circle/again")).unwrap();
    let set = ImageSet::open(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(images(&set), 32);
    assert_eq!(
        warnings(&set),
        ["circle/again: symbolic link: not followed"]
    );
}

#[test]
fn a_file_that_changes_after_opening_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::open(hostile("sets/extensions.tar")).unwrap();
    tar::Archive::new(file).unpack(folder.path()).unwrap();
    let set = ImageSet::open(folder.path(), &OpenOptions::default()).unwrap();
    let (first, second) = (
        set.path(Split::Train, 0).to_owned(),
        set.path(Split::Train, 1).to_owned(),
    );
    fs::copy(folder.path().join(&second), folder.path().join(&first)).unwrap();
    fs::remove_file(folder.path().join(&second)).unwrap();
    assert_message(
        &set.image(Split::Train, 0).unwrap_err(),
        &[&first, "changed"],
    );
    assert_message(
        &set.image(Split::Train, 1).unwrap_err(),
        &[&second, "changed"],
    );
}

#[test]
fn damaged_bytes_never_panic() {
    let rounds = std::env::var("NAT_FUZZ").map_or(100, |n| n.parse().unwrap());
    let mut files: Vec<PathBuf> = fs::read_dir(hostile("files"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    let mut decoded = 0;
    for (file, stream) in files.iter().zip(0..) {
        let original = fs::read(file).unwrap();
        let mut rng = StreamKey([8, 0, 0, 0]).rng(stream);
        for _ in 0..rounds {
            let mut bytes = original.clone();
            for _ in 0..rng.random_range(1..8) {
                if !bytes.is_empty() {
                    let at = rng.random_range(0..bytes.len() as u32) as usize;
                    bytes[at] = rng.random();
                }
            }
            decoded += usize::from(RgbImage::decode(&bytes, 1 << 20).is_ok());
        }
    }
    assert!(
        decoded > rounds,
        "{decoded} of {} damaged files decoded",
        rounds * files.len()
    );
}
