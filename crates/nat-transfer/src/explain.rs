//! A configuration as a file for people: every setting with what it means.

use documented::DocumentedFields;
use nat_search::Settings;

use crate::{
    CommandSettings, RunConfig,
    config::{Adaptation, Augmentation, Evaluation, Pretraining, Resolutions, Upkeep},
};

/// Columns of a comment.
const WIDTH: usize = 100;

impl RunConfig {
    /// The configuration as TOML with a comment above every setting; as a file it gives the same configuration again.
    pub fn explained(&self) -> String {
        let plain = toml::to_string(self).expect("a configuration is a table");
        let mut section = "";
        let mut text = String::new();
        for line in plain.lines() {
            let heading = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'));
            let meaning = match heading {
                Some(name) => {
                    section = name;
                    RunConfig::get_field_docs(name).ok()
                }
                None => {
                    let key = line.split_once(" = ").map(|(key, _)| key);
                    key.and_then(|key| meaning(section, key))
                }
            };
            if let Some(meaning) = meaning {
                comment(meaning, &mut text);
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// What a setting of a section means.
fn meaning(section: &str, key: &str) -> Option<&'static str> {
    match section {
        "" => RunConfig::get_field_docs(key),
        "resolutions" => Resolutions::get_field_docs(key),
        "pretrain" | "warm_up" => Pretraining::get_field_docs(key),
        "search" => Settings::get_field_docs(key),
        "adapt" => Adaptation::get_field_docs(key),
        "evaluate" => Evaluation::get_field_docs(key),
        "augment" => Augmentation::get_field_docs(key),
        "upkeep" => Upkeep::get_field_docs(key),
        _ => CommandSettings::get_field_docs(key),
    }
    .ok()
}

fn comment(meaning: &str, text: &mut String) {
    let mut width = 0;
    for word in meaning.split_whitespace() {
        if width == 0 || width + 1 + word.len() > WIDTH {
            if width > 0 {
                text.push('\n');
            }
            text.push('#');
            width = 1;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use nat_space::Space;

    use super::*;
    use crate::Preset;

    #[test]
    fn every_setting_is_explained_and_the_file_says_the_same() {
        let space = Space::builtin("lite0").unwrap();
        let overrides = ["commands.energy.run=./meter.sh".to_owned()];
        let config = RunConfig::resolve(Preset::Quick, &space, None, &overrides).unwrap();
        let text = config.explained();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        for (place, line) in lines.iter().enumerate() {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(lines[place - 1].starts_with("# "), "{line}");
            }
            assert!(!line.starts_with('#') || line.len() <= WIDTH + 1, "{line}");
        }
        let file = Some(("quick.toml", &text[..]));
        let again = RunConfig::resolve(Preset::Paper, &space, file, &[]).unwrap();
        assert_eq!(again, config);
    }
}
