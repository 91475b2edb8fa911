//! Files and folders of a data set, wherever it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// Something in a data set that was passed over; the rest is used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Warning {
    /// File or folder, relative to the data set; bytes that are not printable UTF-8 are escaped.
    pub path: String,
    /// Why, in a few words.
    pub reason: String,
}

/// Where the encoded bytes of an image are.
#[derive(Debug)]
pub(crate) enum Encoded {
    /// Shared by the hard links to one file.
    Memory(Arc<[u8]>),
    File(PathBuf),
}

/// Largest image file that is read.
pub(crate) const MAX_FILE_BYTES: u64 = 256 << 20;

/// What a folder or an archive holds, before any image is looked at.
///
/// Paths are relative, `/` between components, and escaped as in [`Warning::path`].
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub folders: BTreeSet<String>,
    /// Bytes of the paths of all `folders` together.
    pub folder_bytes: usize,
    pub images: BTreeMap<String, Encoded>,
    pub warnings: Vec<Warning>,
    /// Image files passed over already, with a warning.
    pub skipped: usize,
    /// Files that do not look like images: ignored without a warning.
    pub ignored: usize,
}

impl Listing {
    pub fn warn(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.warnings.push(Warning {
            path: path.into(),
            reason: reason.into(),
        });
    }

    /// Notes a folder and all folders above it.
    pub fn add_folder(&mut self, path: &str) {
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends.filter(|&end| end > 0) {
            if !self.folders.contains(&path[..end]) {
                self.folders.insert(path[..end].to_owned());
                self.folder_bytes += end;
            }
        }
    }

    /// Notes the folders in which a file lies.
    pub fn add_parents(&mut self, path: &str) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.add_folder(folder);
        }
    }

    /// Whether a file of this name and size is to be read as an image; warns or counts if not.
    pub fn accepts(&mut self, path: &str, bytes: u64) -> bool {
        match kind(path) {
            Kind::Image if bytes > MAX_FILE_BYTES => {
                self.skipped += 1;
                self.warn(
                    path,
                    format!("{bytes} bytes, more than the limit of {MAX_FILE_BYTES}"),
                );
                false
            }
            Kind::Image => true,
            Kind::ForeignImage(extension) => {
                self.skipped += 1;
                self.warn(
                    path,
                    format!("{extension} is not supported: convert it to JPEG, PNG, WebP or BMP"),
                );
                false
            }
            Kind::Other => {
                self.ignored += 1;
                false
            }
        }
    }
}

/// Outcome of reading a raw path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryPath {
    /// Escaped, `/`-joined; empty for the root itself.
    Inside(String),
    /// Absolute, or climbs with `..`; the escaped path as written.
    Escapes(String),
    /// Some component is a system's or an editor's private file.
    Hidden,
}

/// Normalises the raw path of an archive entry or of a file below the root.
pub(crate) fn entry_path(raw: &[u8]) -> EntryPath {
    let mut path = String::new();
    let mut climbs = raw.first() == Some(&b'/');
    let mut hidden = false;
    for component in raw.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => climbs = true,
            _ => hidden |= is_hidden(component),
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&escaped(component));
    }
    match (climbs, hidden) {
        (true, _) => EntryPath::Escapes(escaped(raw)),
        (false, true) => EntryPath::Hidden,
        (false, false) => EntryPath::Inside(path),
    }
}

/// Printable form of any bytes, injective: what is not UTF-8, control characters and `\` become
/// `\xNN`.
pub(crate) fn escaped(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    };
    for chunk in raw.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                escape(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// [`escaped`], of a long text only the beginning: an archive's text may be a megabyte an entry.
pub(crate) fn abridged(raw: &[u8]) -> String {
    const SHOWN: usize = 200;
    match raw.split_at_checked(SHOWN) {
        Some((beginning, rest)) if !rest.is_empty() => format!("{}…", escaped(beginning)),
        _ => escaped(raw),
    }
}

fn is_hidden(name: &[u8]) -> bool {
    const PRIVATE: [&[u8]; 4] = [b"__MACOSX", b"Thumbs.db", b"desktop.ini", b"@eaDir"];
    name.starts_with(b".")
        || PRIVATE
            .iter()
            .any(|private| name.eq_ignore_ascii_case(private))
}

/// Whether a file of this name would be an image, of a format that is read or of another.
pub(crate) fn names_image(path: &str) -> bool {
    !matches!(kind(path), Kind::Other)
}

enum Kind {
    Image,
    ForeignImage(String),
    Other,
}

fn kind(path: &str) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, extension)) = name.rsplit_once('.') else {
        return Kind::Other;
    };
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" | "png" | "webp" | "bmp" => Kind::Image,
        "gif" | "tif" | "tiff" | "heic" | "heif" | "avif" | "jp2" | "jxl" | "ppm" | "pgm"
        | "tga" => Kind::ForeignImage(extension.to_ascii_uppercase()),
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(path: &str) -> EntryPath {
        EntryPath::Inside(path.to_owned())
    }

    #[test]
    fn paths_are_normalised() {
        assert_eq!(entry_path(b"./cat//a.jpg"), inside("cat/a.jpg"));
        assert_eq!(entry_path(b"cat/"), inside("cat"));
        assert_eq!(entry_path(b"./"), inside(""));
    }

    #[test]
    fn paths_that_leave_the_set_are_told() {
        for raw in [&b"../a.jpg"[..], b"/a.jpg", b"cat/../../a.jpg", b"cat/.."] {
            assert!(
                matches!(entry_path(raw), EntryPath::Escapes(_)),
                "{}",
                escaped(raw)
            );
        }
    }

    #[test]
    fn private_files_are_hidden() {
        for raw in [
            &b".DS_Store"[..],
            b"cat/._a.jpg",
            b"__MACOSX/cat/a.jpg",
            b"cat/thumbs.DB",
            b".git/a.png",
        ] {
            assert_eq!(entry_path(raw), EntryPath::Hidden, "{}", escaped(raw));
        }
    }

    #[test]
    fn names_that_are_not_text_are_escaped_and_stay_apart() {
        assert_eq!(escaped(b"caf\xe9-\xff\xfe.jpg"), "caf\\xE9-\\xFF\\xFE.jpg");
        assert_eq!(escaped("café \u{1b}[2J".as_bytes()), "café \\x1B[2J");
        assert_ne!(escaped(b"\\xE9"), escaped(b"\xe9"));
    }

    #[test]
    fn long_texts_are_cut_off() {
        assert_eq!(abridged(&[b'a'; 200]), "a".repeat(200));
        assert_eq!(abridged(&[b'a'; 201]), format!("{}…", "a".repeat(200)));
    }

    #[test]
    fn folders_come_with_their_parents() {
        let mut listing = Listing::default();
        listing.add_parents("train/cat/a.jpg");
        listing.add_parents("b.jpg");
        assert_eq!(
            listing.folders.iter().collect::<Vec<_>>(),
            ["train", "train/cat"]
        );
        assert_eq!(listing.folder_bytes, "train".len() + "train/cat".len());
    }
}
