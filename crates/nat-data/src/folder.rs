//! A data set in a folder.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::entry::{Encoded, EntryPath, Listing, entry_path};
use crate::error::DataError;

/// Lists everything below `root`. Links are not followed; files are opened later; a folder below `root` that cannot be
/// read is passed over with a warning.
pub(crate) fn list(root: &Path) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    let mut pending = vec![(root.to_path_buf(), String::new())];
    while let Some((folder, path)) = pending.pop() {
        let Err(source) = list_folder(root, &folder, &mut listing, &mut pending) else {
            continue;
        };
        if path.is_empty() {
            return Err(DataError::Read {
                path: folder.display().to_string(),
                source,
            });
        }
        listing.warn(path, format!("cannot be read: {source}"));
    }
    Ok(listing)
}

/// Lists what lies directly in a folder; its folders become `pending`, with their paths in the set.
fn list_folder(
    root: &Path,
    folder: &Path,
    listing: &mut Listing,
    pending: &mut Vec<(PathBuf, String)>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let location = entry.path();
        let below = location.strip_prefix(root).unwrap_or(&location);
        let EntryPath::Inside(path) = entry_path(&raw_path(below)) else {
            continue;
        };
        let file_type = match entry.file_type() {
            Ok(file_type) => file_type,
            Err(source) => {
                listing.warn(path, format!("cannot be read: {source}"));
                continue;
            }
        };
        if file_type.is_symlink() {
            listing.warn(path, "symbolic link: not followed");
        } else if file_type.is_dir() {
            listing.add_folder(&path);
            pending.push((location, path));
        } else if file_type.is_file() {
            // A file that does not tell its size is refused when its image is read, with a warning of its own.
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            if listing.accepts(&path, bytes) {
                listing.images.insert(path, Encoded::File(location));
            }
        } else {
            listing.warn(path, "not a regular file");
        }
    }
    Ok(())
}

/// Components joined by `/` whatever the system's separator is.
fn raw_path(path: &Path) -> Vec<u8> {
    let components: Vec<&[u8]> = path
        .iter()
        .map(|component| component.as_encoded_bytes())
        .collect();
    components.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of folders below `top`, each with a name of 200 bytes.
    fn chain(top: &Path, length: usize) -> PathBuf {
        let deepest = (0..length).fold(top.to_owned(), |folder, _| folder.join("x".repeat(200)));
        fs::create_dir_all(&deepest).unwrap();
        deepest
    }

    /// Permissions do not stop the superuser, as whom tests may run; a path longer than the system takes stops everyone.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_folder_that_cannot_be_read_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("set");
        let deepest = chain(&root.join("lost"), 12);
        chain(&folder.path().join("aside"), 12);
        fs::rename(folder.path().join("aside"), deepest.join("found")).unwrap();
        fs::create_dir(root.join("cat")).unwrap();
        fs::write(root.join("cat/a.png"), b"picture").unwrap();

        let listing = list(&root).unwrap();
        assert_eq!(listing.images.keys().collect::<Vec<_>>(), ["cat/a.png"]);
        let [warning] = &listing.warnings[..] else {
            panic!("{} warnings", listing.warnings.len());
        };
        assert!(warning.path.starts_with("lost/xxx"), "{}", warning.path);
        assert!(
            warning.reason.starts_with("cannot be read: "),
            "{}",
            warning.reason
        );
    }

    #[test]
    fn a_set_that_cannot_be_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = list(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("absent: cannot be read: "), "{error}");
    }
}
