//! Files that are complete or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Puts `bytes` at `path`: written beside it, flushed to the device, renamed over it. An interruption at any
/// moment leaves the old file or the new one. A symbolic link stays, and the file it leads to is replaced; permissions stay.
///
/// # Errors
/// Something stands at `path` that is no regular file (a folder, a device, a pipe, a link that leads nowhere), or writing or
/// renaming fails; what stood there is then unchanged, and nothing lies beside it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &destination(path)?;
    let beside = beside(path)?;
    let written = File::create(&beside)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            if let Ok(there) = fs::metadata(path) {
                file.set_permissions(there.permissions())?;
            }
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one worth telling.
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The new file is in place, which an error would deny; not every file system can sync a directory.
    let _ = sync_directory(path);
    Ok(())
}

/// Asks without writing whether [`write_whole`] could put a file at `path`, for work whose result is the file at its end. Its folder
/// must take files now; nothing is left there, and what stands at `path` stays.
///
/// # Errors
/// As [`write_whole`].
pub fn check_writable(path: &Path) -> io::Result<()> {
    let beside = beside(&destination(path)?)?;
    File::create_new(&beside)?;
    fs::remove_file(&beside)
}

/// A name for the new file until it is whole, in the folder of the old one.
fn beside(path: &Path) -> io::Result<PathBuf> {
    // The process id keeps programs apart, the counter threads of one program.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path names no file",
        ));
    };
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(
        ".{}-{}.tmp",
        std::process::id(),
        WRITES.fetch_add(1, Ordering::Relaxed)
    ));
    Ok(path.with_file_name(beside))
}

/// The file that is to be put in place, whether it exists or not. A rename would replace a device or a link itself.
fn destination(path: &Path) -> io::Result<PathBuf> {
    let refused = |reason| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    match fs::metadata(path) {
        Ok(there) if there.is_file() => fs::canonicalize(path),
        Ok(there) if there.is_dir() => refused("a folder stands there"),
        Ok(_) => refused("a device, pipe or socket stands there; only a regular file is replaced"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                return refused("a symbolic link that leads nowhere stands there");
            }
            Ok(path.to_owned())
        }
        Err(error) => Err(error),
    }
}

/// Makes the rename itself survive a power cut, where directories can be synced.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.onnx");
        write_whole(&path, b"first, and longer").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        assert!(write_whole(&path, b"bytes").is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_file_is_replaced() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let (folder, link) = (
            directory.path().join("folder"),
            directory.path().join("latest"),
        );
        fs::create_dir(&folder).unwrap();
        let file = folder.join("model.onnx");
        fs::write(&file, b"old").unwrap();
        symlink(Path::new("folder").join("model.onnx"), &link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);

        check_writable(&link).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_file(&file).unwrap();
        let error = check_writable(&link).unwrap_err();
        assert!(error.to_string().contains("leads nowhere"), "{error}");
        let error = write_whole(&link, b"newer").unwrap_err();
        assert!(error.to_string().contains("leads nowhere"), "{error}");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_stay() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.onnx");
        fs::write(&path, b"first").unwrap();
        for mode in [0o600, 0o664] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            write_whole(&path, b"second").unwrap();
            let kept = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(kept & 0o777, mode);
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (socket, link) = (
            directory.path().join("socket"),
            directory.path().join("link"),
        );
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        symlink(&socket, &link).unwrap();
        for path in [&socket, &link] {
            let error = write_whole(path, b"bytes").unwrap_err();
            assert!(error.to_string().contains("regular file"), "{error}");
        }
        assert!(fs::metadata(&link).unwrap().file_type().is_socket());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent").join("model.onnx");
        assert!(write_whole(&path, b"bytes").is_err());
    }
}
