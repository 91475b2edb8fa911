//! Commands as a person may paste them into a shell.

use std::path::Path;

/// A path as one word of a POSIX shell.
pub fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    match !path.is_empty() && path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// `nat export` of the best network with at most so many multiply-adds, for one of the data sets where there are several.
pub fn export(run: &Path, set: Option<&str>, madds: u64) -> String {
    let set = set.map_or_else(String::new, |name| format!(" --data-set {name}"));
    // Up, so that the network itself is within the limit.
    let limit = (madds as f64 / 1e5).ceil() / 10.0;
    format!(
        "nat export {}{set} --where \"madds<={limit}M\" --best error --to model.onnx",
        quoted(&run.display().to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_shell_word() {
        assert_eq!(quoted("runs/a-1"), "runs/a-1");
        assert_eq!(quoted("my run"), "'my run'");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_limit_admits_the_network() {
        assert_eq!(
            export(Path::new("my run"), Some("tiles"), 12_345_678),
            "nat export 'my run' --data-set tiles --where \"madds<=12.4M\" --best error --to model.onnx"
        );
    }
}
