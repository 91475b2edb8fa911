//! Why a data set cannot be used.

use std::io;

use crate::passed_over::PassedOver;

/// A data set, or a request to it, that makes no sense as a whole.
///
/// Every message is one line that names the file, folder or class and says what to do. One bad image
/// among many is no error: see [`Warning`](crate::Warning).
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// File or folder.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Neither a folder nor a tar.
    #[error(
        "{path}: not a data set: expected a folder of class folders or a tar of it (plain or gzip)"
    )]
    NotADataSet {
        /// The file.
        path: String,
    },
    /// The archive stops before its end.
    #[error(
        "{path}: the archive ends early, after {bytes} bytes of tar: copy or download it again"
    )]
    CutShort {
        /// The archive.
        path: String,
        /// Tar bytes (unpacked) until the end.
        bytes: u64,
    },
    /// The archive's structure is wrong.
    #[error("{path}: the archive is damaged after {bytes} bytes of tar: {reason}")]
    Damaged {
        /// The archive.
        path: String,
        /// Tar bytes (unpacked) until the fault.
        bytes: u64,
        /// What is wrong.
        reason: String,
    },
    /// More than would be kept in memory.
    #[error("{path}: the archive holds more than {limit} bytes: unpack it and give the folder")]
    TooLarge {
        /// The archive.
        path: String,
        /// Largest unpacked size, bytes.
        limit: u64,
    },
    /// Nothing to learn from.
    #[error(
        "{path}: no images in class folders ({skipped} files skipped): expected CLASS/IMAGE or train/CLASS/IMAGE in JPEG, PNG, WebP or BMP{passed_over}"
    )]
    NoImages {
        /// The data set.
        path: String,
        /// Files that looked like images and could not be used.
        skipped: usize,
        /// What was not used, and why.
        passed_over: PassedOver,
    },
    /// A single class.
    #[error("{path}: only one class with images, '{class}': at least two are needed{passed_over}")]
    OneClass {
        /// The data set.
        path: String,
        /// The class.
        class: String,
        /// What was not used, and why.
        passed_over: PassedOver,
    },
    /// A class too small to be in every split.
    #[error(
        "{path}: class '{class}' has {distinct} distinct usable images, needs at least {needed} to be in every split: add images or remove the class{passed_over}"
    )]
    ClassTooSmall {
        /// The data set.
        path: String,
        /// The class.
        class: String,
        /// Images of it, exact duplicates counted once.
        distinct: usize,
        /// Smallest number that can be split.
        needed: usize,
        /// What was not used, and why.
        passed_over: PassedOver,
    },
    /// A class outside the training split.
    #[error(
        "{path}: class '{class}' is in {split}/ but has no usable image in train/: add it there or remove it{passed_over}"
    )]
    ClassNotInTrain {
        /// The data set.
        path: String,
        /// The class.
        class: String,
        /// The split that has it.
        split: &'static str,
        /// What was not used, and why.
        passed_over: PassedOver,
    },
    /// Split folders without class folders, or without `train`.
    #[error(
        "{path}: the folders {folders} look like splits, but there are no class folders in a train/: expected train/CLASS/IMAGE"
    )]
    NoClassFolders {
        /// The data set.
        path: String,
        /// The folders found, comma separated.
        folders: String,
    },
    /// Splits inside of the classes.
    #[error(
        "{path}: every class folder holds {subfolders}: expected the classes in the splits, train/CLASS/IMAGE"
    )]
    SplitClasses {
        /// The data set.
        path: String,
        /// The splits, comma separated.
        subfolders: String,
    },
    /// Images and masks instead of classes.
    #[error(
        "{path}: looks like a segmentation or detection set ('{images}' and '{masks}' are no classes): expected one folder of images per class"
    )]
    Segmentation {
        /// The data set.
        path: String,
        /// Folder of images.
        images: String,
        /// Folder of masks.
        masks: String,
    },
    /// An image that was good when the set was opened and is not any more.
    #[error("{path}: changed since the data set was opened: {reason}")]
    Changed {
        /// The image.
        path: String,
        /// What is different.
        reason: String,
    },
    /// Fractions that leave nothing to train on.
    #[error(
        "val_fraction {val} and test_fraction {test}: each must lie above 0 and their sum below 1"
    )]
    Fractions {
        /// Share of the search split.
        val: f64,
        /// Share of the test split.
        test: f64,
    },
    /// A loader thread panicked.
    #[error("a loader thread failed: {message}")]
    Worker {
        /// The panic's message.
        message: String,
    },
}
