//! A data set in a tar, plain or gzip-compressed.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::entry::{Encoded, EntryPath, Listing, abridged, entry_path};
use crate::error::DataError;

const BLOCK: u64 = 512;

const REPLACED: &str = "more than once in the archive: the last one counts";

const FOLLOWED: &str =
    "something follows its end marker: make one archive of archives joined end to end";

/// What the tar reader may take to find the next entry: padding, headers and long names. Beyond
/// it, a "name" of gigabytes would be read into memory.
const HEADER_ALLOWANCE: u64 = 1 << 20;

/// Longest path of an entry, in bytes: what Linux takes.
const MAX_PATH: usize = 4096;

/// Most components of an entry's path. Every folder above an entry is kept with its whole path, so that a deep path takes
/// many times its own length.
const MAX_COMPONENTS: usize = 64;

/// Largest sum of the paths of all folders, in bytes: a million folders of common length.
const MAX_FOLDER_BYTES: usize = 64 << 20;

/// Reads all images of the archive `name` into memory, in one pass and in bounded memory: at most
/// `max_bytes` of tar. Nothing is written anywhere.
///
/// The archive must be whole: every entry complete, an end marker, and for gzip a matching
/// checksum.
pub(crate) fn read(
    name: &str,
    mut stream: impl BufRead,
    max_bytes: u64,
) -> Result<Listing, DataError> {
    let magic = stream.fill_buf().map_err(|source| DataError::Read {
        path: name.to_owned(),
        source,
    })?;
    let gzip = magic.starts_with(&[0x1F, 0x8B]);
    let meter = Rc::new(Meter::default());
    let inner: Box<dyn Read + '_> = if gzip {
        Box::new(MultiGzDecoder::new(stream))
    } else {
        Box::new(stream)
    };
    let tar = Metered {
        inner,
        meter: meter.clone(),
    };
    read_tar(tar, &meter, max_bytes).map_err(|fault| {
        let path = name.to_owned();
        let bytes = meter.taken.get();
        if meter.limit.get() == max_bytes && meter.exceeded.get() {
            DataError::TooLarge {
                path,
                limit: max_bytes,
            }
        } else if !gzip && bytes <= BLOCK {
            DataError::NotADataSet { path }
        } else if meter.ended.get() || fault.kind() == io::ErrorKind::UnexpectedEof {
            DataError::CutShort { path, bytes }
        } else if bytes <= BLOCK {
            DataError::NotADataSet { path }
        } else {
            DataError::Damaged {
                path,
                bytes,
                reason: fault.to_string(),
            }
        }
    })
}

fn read_tar(stream: Metered<'_>, meter: &Meter, max_bytes: u64) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut archive = Archive::new(stream);
    let mut entries = archive.entries()?;
    let mut contents_end = 0;
    loop {
        let position = meter.taken.get().max(contents_end);
        meter.allow(position.saturating_add(HEADER_ALLOWANCE).min(max_bytes));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry?;
        meter.allow(max_bytes);
        let stored = match entry.header().entry_type() {
            // Its own size counts the holes, which are not stored.
            EntryType::GNUSparse => entry.header().entry_size()?,
            _ => entry.size(),
        };
        contents_end = entry.raw_file_position().saturating_add(stored);
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let raw = entry.path_bytes().into_owned();
        if raw.len() > MAX_PATH || components(&raw) > MAX_COMPONENTS {
            listing.skipped += 1;
            listing.warn(
                abridged(&raw),
                format!("path of more than {MAX_PATH} bytes or {MAX_COMPONENTS} components"),
            );
            continue;
        }
        let path = match entry_path(&raw) {
            EntryPath::Inside(path) => path,
            EntryPath::Hidden => continue,
            EntryPath::Escapes(path) => {
                listing.skipped += 1;
                listing.warn(path, "path leaves the archive");
                continue;
            }
        };
        match entry.header().entry_type() {
            EntryType::Directory => listing.add_folder(&path),
            EntryType::Regular | EntryType::Continuous => {
                listing.add_parents(&path);
                let size = entry.size();
                let copied = if listing.accepts(&path, size) {
                    let mut bytes = Vec::new();
                    let copied = entry.read_to_end(&mut bytes)? as u64;
                    // A later entry of the same name replaces an earlier one, as when unpacking.
                    if listing
                        .images
                        .insert(path.clone(), Encoded::Memory(bytes.into()))
                        .is_some()
                    {
                        listing.warn(path, REPLACED);
                    }
                    copied
                } else {
                    io::copy(&mut entry, &mut io::sink())?
                };
                if copied != size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            EntryType::Symlink => {
                listing.warn(path, link_reason("symbolic", entry.link_name_bytes()))
            }
            EntryType::Link => add_link(&mut listing, path, entry.link_name_bytes()),
            _ => listing.warn(path, "not a regular file"),
        }
        if listing.folder_bytes > MAX_FOLDER_BYTES {
            let reason = format!("its folders' paths take more than {MAX_FOLDER_BYTES} bytes");
            return Err(io::Error::other(reason));
        }
    }
    // The reader also stops quietly where the file ends between two entries. A whole archive has
    // at least one block of zeros behind the last.
    if meter.taken.get() < contents_end.saturating_add(BLOCK) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    meter.allow(max_bytes);
    only_zeros(archive.into_inner())?;
    Ok(listing)
}

/// Reads to the end, which checks a compressed file's sum. Behind the end marker lies padding; other bytes are a second archive
/// or part of one, whose images would be missing without a word.
fn only_zeros(mut rest: impl Read) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(()),
            read if buffer[..read].iter().all(|&byte| byte == 0) => {}
            _ => return Err(io::Error::other(FOLLOWED)),
        }
    }
}

/// Gives a hard link the bytes of the image it names, which comes earlier in the archive; unpacked, both are files.
fn add_link(listing: &mut Listing, path: String, target: Option<Cow<[u8]>>) {
    let image = match target.as_deref().map(entry_path) {
        Some(EntryPath::Inside(target)) => match listing.images.get(&target) {
            Some(Encoded::Memory(bytes)) => Some(bytes.clone()),
            _ => None,
        },
        _ => None,
    };
    listing.add_parents(&path);
    let size = image.as_ref().map_or(0, |bytes| bytes.len() as u64);
    if !listing.accepts(&path, size) {
        return;
    }
    match image {
        Some(bytes) => {
            if listing
                .images
                .insert(path.clone(), Encoded::Memory(bytes))
                .is_some()
            {
                listing.warn(path, REPLACED);
            }
        }
        None => {
            listing.skipped += 1;
            listing.warn(path, link_reason("hard", target));
        }
    }
}

/// Number of files and folders that a path names.
fn components(raw: &[u8]) -> usize {
    raw.split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .count()
}

fn link_reason(kind: &str, target: Option<Cow<[u8]>>) -> String {
    let target = target.map_or_else(String::new, |raw| format!(" to {}", abridged(&raw)));
    format!("{kind} link{target}: not followed")
}

/// Position in the tar stream and how far it may go.
#[derive(Default)]
struct Meter {
    taken: Cell<u64>,
    limit: Cell<u64>,
    exceeded: Cell<bool>,
    ended: Cell<bool>,
}

impl Meter {
    /// Allows reading up to this position.
    fn allow(&self, limit: u64) {
        self.limit.set(limit);
    }
}

struct Metered<'a> {
    inner: Box<dyn Read + 'a>,
    meter: Rc<Meter>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let meter = &self.meter;
        if meter.taken.get() >= meter.limit.get() {
            meter.exceeded.set(true);
            return Err(io::Error::other("entry header too large"));
        }
        let room = meter.limit.get() - meter.taken.get();
        let wanted = buffer
            .len()
            .min(usize::try_from(room).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..wanted])?;
        meter.ended.set(read == 0 && wanted > 0);
        meter.taken.set(meter.taken.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(builder: &mut tar::Builder<Vec<u8>>, path: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_size(7);
        builder
            .append_data(&mut header, path, &b"picture"[..])
            .unwrap();
    }

    #[test]
    fn a_path_beyond_any_file_system_s_is_passed_over() {
        let of_components = |count: usize| format!("{}x.png", "a/".repeat(count - 1));
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, &of_components(MAX_COMPONENTS));
        add(&mut builder, &of_components(MAX_COMPONENTS + 1));
        add(&mut builder, &format!("b/{}.png", "x".repeat(MAX_PATH)));
        let folder = format!("c/{}", "y/".repeat(MAX_COMPONENTS));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        builder
            .append_data(&mut header, folder, io::empty())
            .unwrap();
        let long = format!("d/{}", of_components(2000));
        builder
            .append_pax_extensions([("path", long.as_bytes())])
            .unwrap();
        add(&mut builder, "d/short.png");
        add(&mut builder, "cat/a.png");
        let tar = builder.into_inner().unwrap();

        let listing = read("deep", &tar[..], 1 << 20).unwrap();
        let images: Vec<&str> = listing.images.keys().map(String::as_str).collect();
        assert_eq!(images, [&of_components(MAX_COMPONENTS)[..], "cat/a.png"]);
        // All but one component of the first path, and `cat`.
        assert_eq!(listing.folders.len(), MAX_COMPONENTS);
        assert_eq!((listing.skipped, listing.warnings.len()), (4, 4));
        for (warning, top) in listing.warnings.iter().zip(["a/", "b/", "c/", "d/"]) {
            assert!(warning.path.starts_with(top), "{}", warning.path);
            assert!(warning.path.len() < 250, "{}", warning.path);
            assert!(warning.reason.starts_with("path of more than 4096 bytes"));
        }
    }

    #[test]
    fn a_second_archive_behind_the_first_is_not_lost() {
        let one = |path: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            add(&mut builder, path);
            builder.into_inner().unwrap()
        };
        let padded = [one("cat/a.png"), vec![0; 20 * 512]].concat();
        assert_eq!(
            read("padded", &padded[..], 1 << 20).unwrap().images.len(),
            1
        );
        let joined = [padded, one("dog/b.png")].concat();
        let error = read("joined", &joined[..], 1 << 20).unwrap_err();
        assert!(matches!(error, DataError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("end to end"), "{error}");
    }

    #[test]
    fn the_target_of_a_link_is_told_in_short() {
        let mut builder = tar::Builder::new(Vec::new());
        link(&mut builder, "cat/a.png", &"z/".repeat(5000));
        let tar = builder.into_inner().unwrap();
        let listing = read("link", &tar[..], 1 << 20).unwrap();
        let [warning] = &listing.warnings[..] else {
            panic!("{:?}", listing.warnings);
        };
        assert!(warning.reason.len() < 300, "{}", warning.reason);
    }

    #[test]
    fn many_deep_paths_do_not_multiply_in_memory() {
        let mut builder = tar::Builder::new(Vec::new());
        let below = format!("/{}", "y".repeat(60)).repeat(MAX_COMPONENTS - 2);
        for number in 0..1000 {
            add(&mut builder, &format!("{number}{below}/a.png"));
        }
        let tar = builder.into_inner().unwrap();
        let error = read("deep", &tar[..], 1 << 30).unwrap_err();
        assert!(matches!(error, DataError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("folders' paths"), "{error}");
    }

    #[test]
    fn a_hard_link_is_the_image_it_names() {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in [("cat/a.png", &b"picture"[..]), ("cat/notes", b"text")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, path, bytes).unwrap();
        }
        link(&mut builder, "dog/b.png", "./cat/a.png");
        link(&mut builder, "dog/c.png", "dog/b.png");
        link(&mut builder, "dog/d.png", "cat/notes");
        link(&mut builder, "dog/e.png", "../cat/a.png");
        link(&mut builder, "dog/notes", "cat/notes");
        let tar = builder.into_inner().unwrap();
        let listing = read("links", &tar[..], 1 << 20).unwrap();
        for (path, encoded) in &listing.images {
            assert!(
                matches!(encoded, Encoded::Memory(bytes) if bytes[..] == *b"picture"),
                "{path}"
            );
        }
        let images: Vec<&str> = listing.images.keys().map(String::as_str).collect();
        assert_eq!(images, ["cat/a.png", "dog/b.png", "dog/c.png"]);
        let passed_over: Vec<String> = listing
            .warnings
            .iter()
            .map(|w| format!("{}: {}", w.path, w.reason))
            .collect();
        assert_eq!(
            passed_over,
            [
                "dog/d.png: hard link to cat/notes: not followed",
                "dog/e.png: hard link to ../cat/a.png: not followed"
            ]
        );
        assert_eq!((listing.skipped, listing.ignored), (2, 2));
        assert!(listing.folders.contains("dog"));
    }
}
