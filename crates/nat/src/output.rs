//! Files that a long work ends in: whether they can be written is asked before it.

use std::path::Path;

use anyhow::Result;
use nat_weights::check_writable;

use crate::failure::wrong_argument;

/// Checks that a file can be written where an argument says.
///
/// # Errors
/// The path is a folder, or the folder it lies in is missing or does not take files.
pub fn check(argument: &str, path: &Path) -> Result<()> {
    let wrong = |reason: String| {
        Err(wrong_argument(format!(
            "{argument} {}: {reason}",
            path.display()
        )))
    };
    if path.file_name().is_none() || path.is_dir() {
        return wrong("is a folder; give a file".into());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return wrong(format!("there is no folder {}", folder.display()));
    }
    check_writable(path).or_else(|error| wrong(error.to_string()))
}

/// Checks that a folder can lie where an argument says; it need not be there yet.
///
/// # Errors
/// What is there, or on the way there, is a file, or a folder that takes none.
pub fn check_folder(argument: &str, path: &Path) -> Result<()> {
    let there = path.ancestors().find(|above| above.exists());
    // A relative path of which nothing is there lies in the folder that the program works in.
    let there = there.unwrap_or(Path::new("."));
    let wrong = |reason: String| wrong_argument(format!("{argument} {}: {reason}", path.display()));
    if !there.is_dir() {
        return Err(wrong(format!(
            "{} is a file; give a folder",
            there.display()
        )));
    }
    // Whether the folder takes any file at all.
    check_writable(&there.join("file")).map_err(|error| wrong(error.to_string()))
}

/// As [`check`], for a file of supernets: its name must not promise another form.
pub fn check_supernet(argument: &str, path: &Path) -> Result<()> {
    if path
        .extension()
        .is_some_and(|ending| ending != "safetensors")
    {
        return Err(wrong_argument(format!(
            "{argument} {}: a supernet is written as safetensors: the ending must be .safetensors",
            path.display()
        )));
    }
    check(argument, path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_cannot_be_written_is_said_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| check("--out", path).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("is a folder"));
        let lost = folder.path().join("none/net.safetensors");
        assert!(refused(&lost).contains("there is no folder"));
        check_supernet("--out", &folder.path().join("net.safetensors")).unwrap();
        let onnx = check_supernet("--out", &folder.path().join("net.onnx")).unwrap_err();
        assert!(onnx.to_string().contains("must be .safetensors"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let own = folder.path().join(".net.safetensors.tmp");
        fs::write(&own, "x").unwrap();
        check("--out", &folder.path().join("net.safetensors")).unwrap();
        assert_eq!(fs::read(own).unwrap(), b"x");
    }

    #[test]
    fn a_folder_cannot_lie_where_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.txt");
        fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("run")] {
            let error = check_folder("--out", &path).unwrap_err().to_string();
            assert!(error.contains("notes.txt is a file"), "{error}");
        }
        check_folder("--out", folder.path()).unwrap();
        check_folder("--out", &folder.path().join("a/b")).unwrap();
        check_folder("--out", Path::new("no-such-run")).unwrap();
        // It takes files of nobody, whoever asks.
        if cfg!(target_os = "linux") {
            let error = check_folder("--out", Path::new("/proc/run")).unwrap_err();
            assert!(error.to_string().starts_with("--out /proc/run: "));
        }
    }
}
