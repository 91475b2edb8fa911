//! A configuration as a file for people: every setting with what it means.

use documented::DocumentedFields;
use nat_search::Settings;
use nat_space::Space;

use crate::{
    CommandSettings, RunConfig,
    config::{Adaptation, Augmentation, Evaluation, Pretraining, Resolutions, Upkeep},
};

/// Columns of a comment.
const WIDTH: usize = 100;

/// A command as it is shown where there is none.
const EXAMPLE: &str = "run = './meter.sh {model} {genes}'";

impl RunConfig {
    /// The configuration of a search of `space` as TOML with a comment above every setting; as a file it gives the same
    /// configuration again, whatever preset it is laid over. A section that it does not have is there as comments.
    pub fn explained(&self, space: &Space) -> String {
        let own = space.resolutions;
        let mut whole = RunConfig {
            // A preset may have sides, which only others can take the place of.
            resolutions: self.resolutions.or(Some(Resolutions {
                from: own.from,
                to: own.to,
                step: own.step,
            })),
            ..self.clone()
        };
        let without_commands = self.commands.is_empty();
        if without_commands {
            let example = toml::from_str(EXAMPLE).expect("a command needs no more");
            whole.commands.insert("NAME".into(), example);
        }
        let plain = toml::to_string(&whole).expect("a configuration is a table");
        let mut section = "";
        let mut text = String::new();
        for line in plain.lines() {
            let heading = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'));
            let meaning = match heading {
                Some(name) => {
                    section = name;
                    let field = name.split('.').next().unwrap_or(name);
                    RunConfig::get_field_docs(field).ok()
                }
                None => {
                    let key = line.split_once(" = ").map(|(key, _)| key);
                    key.and_then(|key| meaning(section, key))
                }
            };
            if let Some(meaning) = meaning {
                comment(meaning, &mut text);
            }
            if without_commands && section.starts_with("commands.") && !line.is_empty() {
                text.push_str("# ");
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
    use nat_search::PredictorKind;

    use super::*;
    use crate::Preset;

    #[test]
    fn every_setting_is_explained_and_the_file_says_the_same() {
        let space = Space::builtin("lite0").unwrap();
        let overrides = ["commands.energy.run=./meter.sh".to_owned()];
        let config = RunConfig::resolve(Preset::Quick, &space, None, &overrides).unwrap();
        let text = config.explained(&space);
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

    #[test]
    fn the_file_of_every_preset_is_that_preset_over_any_other() {
        for name in Space::BUILTIN_NAMES {
            let space = Space::builtin(name).unwrap();
            let own = space.resolutions;
            let own = Resolutions {
                from: own.from,
                to: own.to,
                step: own.step,
            };
            for preset in Preset::NAMES {
                let mut config = Preset::named(preset).unwrap().config(&space);
                let text = config.explained(&space);
                config.resolutions = config.resolutions.or(Some(own));
                for under in Preset::NAMES {
                    let under = Preset::named(under).unwrap();
                    let file = Some(("my.toml", &text[..]));
                    let again = RunConfig::resolve(under, &space, file, &[]).unwrap();
                    assert_eq!(again, config, "{preset} for {name}");
                }
            }
        }
    }

    #[test]
    fn words_and_commands_are_told() {
        let space = Space::builtin("lite0").unwrap();
        let text = Preset::Quick.config(&space).explained(&space);
        let above = |setting: &str| -> String {
            let (before, _) = text.split_once(&format!("\n{setting} = ")).unwrap();
            let comment = before.rsplit('\n').take_while(|line| line.starts_with('#'));
            comment.collect()
        };
        let kinds = PredictorKind::ALL.map(PredictorKind::name);
        for (setting, words) in [
            ("divergence", &["cross-entropy", "adaptive"][..]),
            ("sampling", &["marginals", "members", "uniform"]),
            ("predictor", &kinds),
            ("algorithm", &["nsga2", "nsga3"]),
            ("objectives", &["balanced_error", "latency:FILE"]),
        ] {
            let comment = above(setting);
            for word in words {
                let quoted = format!("`{word}`");
                assert!(comment.contains(&quoted), "{word} in {comment}");
            }
        }
        for line in [
            "# [commands.NAME]",
            "# timeout_seconds = 60",
            "# parallel = 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        let overrides = ["commands.energy.run=./meter.sh".to_owned()];
        let config = RunConfig::resolve(Preset::Quick, &space, None, &overrides).unwrap();
        let text = config.explained(&space);
        assert!(text.contains("\n[commands.energy]\n") && !text.contains("NAME]"));
    }
}
