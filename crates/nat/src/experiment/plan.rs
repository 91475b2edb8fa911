//! What an experiment file says.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Result;
use clap::Parser;
use serde::Deserialize;

use super::cell::words;
use crate::{
    args::{Args, Command},
    failure::wrong_argument,
};

/// An experiment file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// One line that says what is compared.
    pub title: String,
    /// Seeds of every arm.
    pub seeds: Vec<u64>,
    /// Data sets by name. Paths are relative to the file.
    pub data: BTreeMap<String, String>,
    /// Millions of MAdds up to which the best network of every arm is told.
    #[serde(default)]
    pub limits: Vec<f64>,
    /// The search arm with which every fine-tuned network is compared, at no more MAdds and at no less accuracy.
    pub reference: Option<String>,
    /// What is run.
    #[serde(rename = "arm")]
    pub arms: Vec<Arm>,
}

/// One way of getting networks, or a study of those of another arm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// What tables and folders call it.
    pub name: String,
    /// Arguments of `nat search`.
    search: Option<String>,
    /// Arguments of `nat finetune`.
    finetune: Option<String>,
    /// Arguments of `nat bench predictors`.
    predictors: Option<String>,
    /// Arguments of `nat eval`: a network of a search's supernet as it is, whether the front holds it or not.
    eval: Option<String>,
    /// Further arguments, for a cell each.
    #[serde(default)]
    pub each: Vec<String>,
    /// A search arm whose wall-clock time a fine-tune gets.
    pub minutes_of: Option<String>,
    /// Share of that time.
    #[serde(default = "whole")]
    pub share: f64,
    /// A search arm whose run the arm works on.
    pub networks_of: Option<String>,
    /// How many networks of that run's front are fine-tuned, evenly spread.
    #[serde(default = "five")]
    pub networks: usize,
    /// The data sets of this arm, where it does not take all.
    pub data: Option<Vec<String>>,
    /// The seeds of this arm, where it does not take all.
    pub seeds: Option<Vec<u64>>,
}

fn whole() -> f64 {
    1.0
}

fn five() -> usize {
    5
}

/// The command of an arm with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work<'a> {
    /// `nat search`.
    Search(&'a str),
    /// `nat finetune`.
    Finetune(&'a str),
    /// `nat bench predictors`.
    Predictors(&'a str),
    /// `nat eval`.
    Eval(&'a str),
}

/// Arguments that the experiment itself gives.
const GIVEN: [&str; 5] = ["--data", "--seed", "--out", "--json", "--split"];

impl Plan {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, has unknown keys, or its arms do not fit together; the message names file and arm.
    pub fn open(path: &Path) -> Result<Plan> {
        let wrong = |reason: String| wrong_argument(format!("{}: {reason}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let plan: Plan = toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let line = 1 + text[..before].matches('\n').count();
            wrong(format!(
                "line {line}: {}",
                error.message().replace('\n', " ")
            ))
        })?;
        plan.check().map_err(wrong)?;
        Ok(plan)
    }

    /// The arm of a name.
    pub fn arm(&self, name: &str) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    fn check(&self) -> Result<(), String> {
        if self.seeds.is_empty() || self.data.is_empty() || self.arms.is_empty() {
            return Err("needs at least one seed, data set and arm".into());
        }
        if let Some(limit) = self
            .limits
            .iter()
            .find(|limit| limit.is_nan() || **limit <= 0.0)
        {
            return Err(format!("limits must be above 0, got {limit}"));
        }
        for (place, seed) in self.seeds.iter().enumerate() {
            if self.seeds[..place].contains(seed) {
                return Err(format!("seeds: {seed} stands there twice"));
            }
        }
        let sets = self.data.keys();
        if let Some(name) =
            (sets.chain(self.arms.iter().map(|arm| &arm.name))).find(|name| name.contains(','))
        {
            return Err(format!(
                "'{name}' has a comma, which divides the names after --only"
            ));
        }
        let words = self
            .arms
            .iter()
            .flat_map(|arm| [&arm.name].into_iter().chain(&arm.each));
        let lines = |text: &&String| text.contains(char::is_control);
        if let Some(text) = self.data.keys().chain(words).find(lines) {
            return Err(format!(
                "{text:?} has a line break or the like, which tables cannot hold"
            ));
        }
        let names: Vec<&str> = self.data.keys().map(String::as_str).collect();
        folders(&names).map_err(|reason| format!("data: {reason}"))?;
        for (index, arm) in self.arms.iter().enumerate() {
            arm.check(&self.arms[..index], self)
                .map_err(|reason| format!("arm '{}': {reason}", arm.name))?;
        }
        match &self.reference {
            Some(name) if !self.arms.iter().any(|arm| arm.is_one_search(name)) => Err(format!(
                "reference: there is no search '{name}' of a single part"
            )),
            _ => Ok(()),
        }
    }
}

impl Arm {
    /// Its command.
    pub fn work(&self) -> Work<'_> {
        let Arm {
            search,
            finetune,
            predictors,
            eval,
            ..
        } = self;
        match (search, finetune, predictors) {
            (Some(args), ..) => Work::Search(args),
            (_, Some(args), _) => Work::Finetune(args),
            (_, _, Some(args)) => Work::Predictors(args),
            _ => Work::Eval(eval.as_deref().unwrap_or_default()),
        }
    }

    /// The further arguments of its cells, at least one.
    pub fn parts(&self) -> Vec<&str> {
        match self.each[..] {
            [] => vec![""],
            _ => self.each.iter().map(String::as_str).collect(),
        }
    }

    /// What it says, the further arguments of one of its parts included.
    pub fn arguments(&self, part: usize) -> String {
        let (command, args) = match self.work() {
            Work::Search(args) => ("search", args),
            Work::Finetune(args) => ("finetune", args),
            Work::Predictors(args) => ("bench predictors", args),
            Work::Eval(args) => ("eval", args),
        };
        let part = self.parts()[part];
        let mut text = [command, args, part].join(" ").trim().to_owned();
        if let Some(of) = &self.minutes_of {
            text = format!("{text} ({} of the minutes of {of})", self.share);
        }
        if let Some(of) = &self.networks_of {
            text = match self.work() {
                Work::Eval(_) => format!("{text} (of {of})"),
                _ => format!("{text} ({} networks of {of})", self.networks),
            };
        }
        text
    }

    /// The command of a part as the program reads it, with stand-ins for what the experiment gives besides.
    ///
    /// # Errors
    /// What is wrong with the arguments, on one line.
    pub fn command(&self, part: usize) -> Result<Command, String> {
        let (command, args, mut given): (&[&str], _, _) = match self.work() {
            Work::Search(args) => (&["search"], args, vec!["--data", "x", "--out", "x"]),
            Work::Finetune(args) => (&["finetune"], args, vec!["--data", "x"]),
            Work::Predictors(args) => (&["bench", "predictors"], args, vec!["x"]),
            Work::Eval(args) => (&["eval"], args, vec!["x"]),
        };
        if matches!(self.work(), Work::Finetune(_)) {
            if self.networks_of.is_some() {
                given.extend(["--model", "x", "--genes", "max", "--resolution", "64"]);
            }
            if self.minutes_of.is_some() {
                given.extend(["--minutes", "1"]);
            }
        }
        let own = [args, self.parts()[part]].into_iter().flat_map(words);
        let fixed = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let line = [
            fixed([&["nat"], command].concat()),
            own.collect(),
            fixed(given),
        ]
        .concat();
        match Args::try_parse_from(line) {
            Ok(args) => Ok(args.command),
            Err(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                Err(first.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// Whether it is the search of a name, and one cell: others can be set beside it or build on it.
    fn is_one_search(&self, name: &str) -> bool {
        self.name == name && matches!(self.work(), Work::Search(_)) && self.each.is_empty()
    }

    /// The titles of its cells, from which their folders have their names.
    fn titles(&self) -> impl Iterator<Item = String> {
        let parts = self.parts().into_iter();
        parts.map(|part| format!("{} {part}", self.name).trim_end().to_owned())
    }

    /// The names of the searches that it needs.
    pub fn builds_on(&self) -> impl Iterator<Item = &str> {
        let names = [&self.networks_of, &self.minutes_of];
        names.into_iter().flatten().map(String::as_str)
    }

    /// Whether it runs on a data set with a seed.
    pub fn takes(&self, data: &str, seed: u64) -> bool {
        let on = |names: &Vec<String>| names.iter().any(|name| name == data);
        self.data.as_ref().is_none_or(on)
            && self
                .seeds
                .as_ref()
                .is_none_or(|seeds| seeds.contains(&seed))
    }

    fn check(&self, before: &[Arm], plan: &Plan) -> Result<(), String> {
        let commands = [&self.search, &self.finetune, &self.predictors, &self.eval];
        if commands.iter().filter(|args| args.is_some()).count() != 1 {
            return Err("needs one of search, finetune, predictors and eval".into());
        }
        let arms = || before.iter().chain([self]);
        folders(&arms().map(|arm| &arm.name[..]).collect::<Vec<_>>())?;
        folders(&self.each.iter().map(String::as_str).collect::<Vec<_>>())
            .map_err(|reason| format!("each: {reason}"))?;
        let titles: Vec<String> = arms().flat_map(Arm::titles).collect();
        folders(&titles.iter().map(String::as_str).collect::<Vec<_>>())?;
        let all = commands.into_iter().flatten().chain(&self.each);
        for text in all.clone() {
            if shlex::split(text).is_none() {
                return Err(format!("a quote is not closed in '{text}'"));
            }
        }
        for argument in all.flat_map(|text| words(text)) {
            let name = argument.split('=').next().unwrap_or_default();
            if GIVEN.contains(&name) {
                return Err(format!("{name} is given by the experiment"));
            }
        }
        let is_search = matches!(self.work(), Work::Search(_));
        for (key, of) in [
            ("minutes_of", &self.minutes_of),
            ("networks_of", &self.networks_of),
        ] {
            let Some(name) = of else { continue };
            if is_search {
                return Err(format!("{key} is not for searches"));
            }
            if !before.iter().any(|arm| arm.is_one_search(name)) {
                return Err(format!(
                    "{key}: no search '{name}' of a single part stands before it"
                ));
            }
        }
        let of_a_search = matches!(self.work(), Work::Predictors(_) | Work::Eval(_));
        if of_a_search && self.networks_of.is_none() {
            return Err("predictors and eval need networks_of".into());
        }
        if !(self.share > 0.0 && self.share.is_finite()) {
            return Err(format!("share must be above 0, got {}", self.share));
        }
        if self.networks == 0 {
            return Err("networks must be at least 1".into());
        }
        let seeds = self.seeds.iter().flatten();
        if let Some(seed) = { seeds }.find(|seed| !plan.seeds.contains(seed)) {
            return Err(format!("the experiment has no seed {seed}"));
        }
        match (self.data.iter().flatten()).find(|name| !plan.data.contains_key(*name)) {
            Some(name) => Err(format!("there is no data set '{name}'")),
            None => Ok(()),
        }
    }
}

/// Checks that names have folders of their own.
fn folders(names: &[&str]) -> Result<(), String> {
    for (index, name) in names.iter().enumerate() {
        let folder = slug(name);
        if folder.is_empty() {
            return Err(format!("'{name}' needs letters or digits"));
        }
        if let Some(other) = names[..index].iter().find(|other| slug(other) == folder) {
            return Err(format!(
                "'{other}' and '{name}' would share the folder '{folder}'"
            ));
        }
    }
    Ok(())
}

/// A name as part of a path.
pub fn slug(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let text: String = name.chars().map(plain).collect();
    let words: Vec<&str> = text.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "title = 't'\nseeds = [1]\n[data]\na = 'x'\n";

    fn read(arms: &str) -> Result<Plan, String> {
        let plan: Plan = toml::from_str(&format!("{HEAD}{arms}")).map_err(|e| e.to_string())?;
        plan.check().map(|()| plan)
    }

    #[test]
    fn arms_may_build_on_searches_before_them() {
        let plan = read(
            "[[arm]]\nname = 'NAT'\nsearch = '--supernet lite0'\n\
             [[arm]]\nname = 'tuned'\nfinetune = '--model lite0'\neach = ['--resolution 64', '--resolution 96']\nminutes_of = 'NAT'\nseeds = [1]\n",
        )
        .unwrap();
        assert_eq!(plan.arms[1].parts().len(), 2);
        assert!(plan.arms[0].takes("a", 5) && !plan.arms[1].takes("a", 5));
        assert_eq!(plan.arms[0].work(), Work::Search("--supernet lite0"));
        assert_eq!(slug("Lite0, fine-tuned (64 px)"), "lite0-fine-tuned-64-px");
    }

    #[test]
    fn commands_are_read_before_they_are_run() {
        let plan = read(
            "[[arm]]\nname = 'NAT'\nsearch = '--supernet lite0 --preset quick'\n\
             [[arm]]\nname = 'tuned'\nfinetune = '--model lite0'\neach = ['--resolution 64', '--resoluton 96']\nminutes_of = 'NAT'\n\
             [[arm]]\nname = 'further'\nfinetune = '--lr 0.1'\nnetworks_of = 'NAT'\n\
             [[arm]]\nname = 'as it is'\neval = '--genes max'\nnetworks_of = 'NAT'\n\
             [[arm]]\nname = 'fits'\npredictors = ''\nnetworks_of = 'NAT'\n",
        )
        .unwrap();
        for (arm, part) in [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)] {
            plan.arms[arm].command(part).map(drop).unwrap();
        }
        let refused = plan.arms[1].command(1).map(drop).unwrap_err();
        assert!(
            refused.contains("'--resoluton'") && !refused.contains('\n'),
            "{refused}"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (arms, part) in [
            ("[[arm]]\nname = 'x'\n", "needs one of"),
            ("[[arm]]\nname = 'x'\neval = ''\n", "need networks_of"),
            (
                "[[arm]]\nname = 'x'\nsearch = '--command \"e=echo'\n",
                "a quote is not closed",
            ),
            (
                "[[arm]]\nname = 'x'\nsearch = '--data y'\n",
                "--data is given",
            ),
            (
                "[[arm]]\nname = 'x'\nfinetune = ''\nminutes_of = 'y'\n",
                "no search 'y'",
            ),
            (
                "[[arm]]\nname = 'y'\nsearch = ''\neach = ['--a 1']\n[[arm]]\nname = 'x'\neval = ''\nnetworks_of = 'y'\n",
                "no search 'y' of a single part",
            ),
            (
                "[[arm]]\nname = 'x'\nsearch = ''\neach = ['--a 1']\n[[arm]]\nname = 'x a 1'\nsearch = ''\n",
                "'x --a 1' and 'x a 1' would share",
            ),
            (
                "[[arm]]\nname = 'x'\nsearch = ''\n[[arm]]\nname = 'x'\nsearch = ''\n",
                "'x' and 'x' would share",
            ),
            (
                "[[arm]]\nname = 'NAT'\nsearch = ''\n[[arm]]\nname = 'nat'\nsearch = ''\n",
                "share the folder 'nat'",
            ),
            ("[[arm]]\nname = '-'\nsearch = ''\n", "needs letters"),
            (
                "[[arm]]\nname = 'x, y'\nsearch = ''\n",
                "'x, y' has a comma",
            ),
            (
                "[[arm]]\nname = 'x'\nsearch = ''\neach = ['--seed-a 1', '--seed-a  1']\n",
                "each: ",
            ),
            (
                "[[arm]]\nname = 'x'\nsearch = ''\ndata = ['b']\n",
                "no data set 'b'",
            ),
            (
                "[[arm]]\nname = 'x'\nsearch = ''\nseeds = [1, 7]\n",
                "no seed 7",
            ),
            ("[[arm]]\nname = 'x'\nsearch = ''\ncolour = 1\n", "colour"),
            ("[[arm]]\nname = \"x\\ny\"\nsearch = ''\n", "line break"),
        ] {
            let error = read(arms).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        for reference in ["nobody", "tuned", "parts"] {
            let plan = read(
                "[[arm]]\nname = 'parts'\nsearch = ''\neach = ['--a 1', '--a 2']\n\
                 [[arm]]\nname = 'tuned'\nfinetune = ''\n",
            );
            let mut plan = plan.unwrap();
            plan.reference = Some(reference.to_owned());
            let error = plan.check().unwrap_err();
            assert!(
                error.contains(&format!("no search '{reference}' of a single part")),
                "{error}"
            );
        }
        let again = read("[[arm]]\nname = 'x'\nsearch = ''\n").map(|mut plan| {
            plan.seeds.push(1);
            plan.check()
        });
        assert!(again.unwrap().unwrap_err().contains("1 stands there twice"));
        let twins = "title = 't'\nseeds = [1]\n[data]\nTrash = 'x'\ntrash = 'y'\n[[arm]]\nname = 'x'\nsearch = ''\n";
        let error = toml::from_str::<Plan>(twins).unwrap().check().unwrap_err();
        assert!(error.contains("data: 'Trash' and 'trash'"), "{error}");
    }
}
