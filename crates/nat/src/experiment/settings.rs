//! The settings that a search ran with: defaults change between versions, and a comparison must not hide it.

use std::collections::{BTreeMap, BTreeSet};

use nat_transfer::RunConfig;
use serde_json::{Value, json};

use super::{Plan, comparison::Finished};

/// Every setting of a run by its dotted name, the seed and what changes no result left out.
pub type Settings = BTreeMap<String, Value>;

/// Those of a configuration.
pub fn of(config: &RunConfig) -> Settings {
    let mut settings = Settings::new();
    let whole = serde_json::to_value(config).expect("plain values");
    flatten("", whole, &mut settings);
    settings.retain(|name, _| name != "seed" && !name.starts_with("upkeep."));
    settings
}

fn flatten(name: &str, value: Value, into: &mut Settings) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let name = if name.is_empty() {
                    key
                } else {
                    format!("{name}.{key}")
                };
                flatten(&name, member, into);
            }
        }
        value => {
            into.insert(name.to_owned(), value);
        }
    }
}

/// A search's settings with those that its version did not know yet, each as what was done before it existed: that is what
/// their absence means in a configuration. As they are where this version does not know them all.
fn completed(settings: &Settings) -> Settings {
    // Either is left out of what is kept, and neither may be missing.
    let mut whole = json!({
        "seed": 0,
        "upkeep": { "save_seconds": 1, "loader_threads": 0, "evaluators": 0 },
    });
    for (name, value) in settings {
        let mut place = &mut whole;
        for key in name.split('.') {
            if !(place.is_null() || place.is_object()) {
                return settings.clone();
            }
            place = &mut place[key];
        }
        *place = value.clone();
    }
    serde_json::from_value(whole).map_or_else(|_| settings.clone(), |config| of(&config))
}

/// A line for each arm whose searches on some data sets did not all have the same settings; empty where they had.
pub fn differences(plan: &Plan, cells: &[Finished<'_>], data: &[&str]) -> String {
    let mut text = String::new();
    for (index, arm) in plan.arms.iter().enumerate() {
        let mut names = BTreeSet::new();
        for part in 0..arm.parts().len() {
            let mut mine = cells
                .iter()
                .filter(|cell| cell.arm == index && cell.part == part && data.contains(&cell.data))
                .filter_map(|cell| cell.found.settings.as_ref().map(completed));
            let Some(first) = mine.next() else { continue };
            for settings in mine {
                names.extend(
                    first
                        .keys()
                        .chain(settings.keys())
                        .filter(|name| first.get(*name) != settings.get(*name))
                        .cloned(),
                );
            }
        }
        if !names.is_empty() {
            let names: Vec<String> = names.into_iter().collect();
            text += &format!(
                "Cells of the arm '{}' had different settings: {}\n",
                arm.name,
                names.join(", ")
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use nat_transfer::Preset;

    use super::*;
    use crate::experiment::Found;

    #[test]
    fn cells_of_an_arm_with_other_settings_are_named() {
        let plan: Plan = toml::from_str(
            "title = 'T'\nseeds = [1]\n[data]\na = 'x'\nb = 'y'\n\
             [[arm]]\nname = 'nat'\nsearch = ''\n[[arm]]\nname = 'other'\nsearch = ''\n",
        )
        .unwrap();
        let quick = Preset::Quick.config(&Space::builtin("lite0").unwrap());
        let mut longer = quick.clone();
        longer.seed = 7;
        longer.upkeep.save_seconds = 1;
        let cell = |arm, data, config: &RunConfig| Finished {
            arm,
            part: 0,
            data,
            seed: 1,
            found: Found {
                settings: Some(of(config)),
                ..Found::default()
            },
        };
        let same = [cell(0, "a", &quick), cell(0, "b", &longer)];
        assert_eq!(differences(&plan, &same, &["a", "b"]), "");
        longer.warm_up.max_steps += 1;
        longer.search.initial += 1;
        // Arms differ by what they are.
        let arms = [cell(0, "a", &quick), cell(1, "a", &longer)];
        assert_eq!(differences(&plan, &arms, &["a", "b"]), "");
        let mixed = [cell(0, "a", &quick), cell(0, "b", &longer)];
        assert_eq!(
            differences(&plan, &mixed, &["a", "b"]),
            "Cells of the arm 'nat' had different settings: search.initial, warm_up.max_steps\n"
        );
        assert_eq!(differences(&plan, &mixed, &["b"]), "");
        // An older version did not know two settings: one is as it was then, the other has another default now.
        let mut older = cell(0, "b", &quick);
        let settings = older.found.settings.as_mut().unwrap();
        assert!(settings.remove("adapt.smallest").is_some());
        let versions = [cell(0, "a", &quick), older.clone()];
        assert_eq!(differences(&plan, &versions, &["a", "b"]), "");
        let settings = older.found.settings.as_mut().unwrap();
        assert!(settings.remove("search.closing").is_some());
        let versions = [cell(0, "a", &quick), older];
        assert_eq!(
            differences(&plan, &versions, &["a", "b"]),
            "Cells of the arm 'nat' had different settings: search.closing\n"
        );
    }

    #[test]
    fn settings_of_a_run_are_complete() {
        let quick = of(&Preset::Quick.config(&Space::builtin("lite0").unwrap()));
        assert_eq!(completed(&quick), quick);
        for name in ["search.unheard_of", "search.initial.unheard_of"] {
            let mut stranger = quick.clone();
            stranger.insert(name.to_owned(), json!(3));
            assert_eq!(completed(&stranger), stranger);
        }
    }
}
