//! A data set in a folder.

use std::fs;
use std::path::Path;

use crate::entry::{Encoded, EntryPath, Listing, entry_path};
use crate::error::DataError;

/// Lists everything below `root`. Links are not followed; files are opened later.
pub(crate) fn list(root: &Path) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    let mut pending = vec![root.to_path_buf()];
    while let Some(folder) = pending.pop() {
        let refused = |source| DataError::Read {
            path: folder.display().to_string(),
            source,
        };
        for entry in fs::read_dir(&folder).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let location = entry.path();
            let below = location.strip_prefix(root).unwrap_or(&location);
            let EntryPath::Inside(path) = entry_path(&raw_path(below)) else {
                continue;
            };
            let file_type = entry.file_type().map_err(refused)?;
            if file_type.is_symlink() {
                listing.warn(path, "symbolic link: not followed");
            } else if file_type.is_dir() {
                listing.add_folder(&path);
                pending.push(location);
            } else if file_type.is_file() {
                let bytes = entry.metadata().map_err(refused)?.len();
                if listing.accepts(&path, bytes) {
                    listing.images.insert(path, Encoded::File(location));
                }
            } else {
                listing.warn(path, "not a regular file");
            }
        }
    }
    Ok(listing)
}

/// Components joined by `/` whatever the system's separator is.
fn raw_path(path: &Path) -> Vec<u8> {
    let components: Vec<&[u8]> = path
        .iter()
        .map(|component| component.as_encoded_bytes())
        .collect();
    components.join(&b'/')
}
