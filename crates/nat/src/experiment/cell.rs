//! One cell of an experiment: an arm on a data set with a seed, run by this program as a child process.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
};

use anyhow::{Context, Result, anyhow};
use nat_transfer::{Answer, RunDirectory, write_atomically};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    child::Spent,
    found::{Found, Network},
    plan::{Arm, Work, slug},
    question::Question,
    settings,
};
use crate::{
    answer, args,
    failure::{self, wrong_argument},
    machine,
    weights::{self, SCRATCH},
};

/// An arm on a data set with a seed.
pub struct Cell<'a> {
    /// What is run.
    pub arm: &'a Arm,
    /// Which of the arm's further arguments.
    pub part: usize,
    /// Name of the data set.
    pub data: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Seed.
    pub seed: u64,
    /// Hash of the data set, where it has been looked at.
    pub hash: Option<&'a str>,
    /// Hashes of the files that arguments name, where they have been looked at.
    pub files: &'a BTreeMap<String, String>,
    /// The searches that the arm builds on.
    pub on: Vec<&'a Arm>,
}

impl Cell<'_> {
    /// Its folder.
    pub fn folder(&self, root: &Path) -> PathBuf {
        let mut name = slug(&self.arm.name);
        if let Some(part) = self.arm.each.get(self.part) {
            name = format!("{name}-{}", slug(part));
        }
        at(root, self.data, self.seed).join(name)
    }

    /// What the arm says, the further arguments of this part included.
    pub fn arguments(&self) -> String {
        self.arm.arguments(self.part)
    }

    /// What it is asked, given the results of the searches that it builds on as far as there are some.
    fn question(&self, root: &Path) -> Question {
        let searches = self.on.iter().map(|arm| self.search(arm).result(root));
        let found: Option<Vec<Found>> = searches.map(|found| found.ok().flatten()).collect();
        let timed = self.on.iter().zip(found.iter().flatten());
        let time = timed
            .filter(|(arm, _)| self.arm.minutes_of.as_deref() == Some(&arm.name[..]))
            .map(|(_, search)| {
                let machine = search
                    .machine
                    .as_deref()
                    .unwrap_or("a machine without a name");
                format!("{:.1} s on {machine}", search.seconds)
            });
        let arguments = self.arguments();
        let named = files_of(&arguments);
        let named = (named.iter()).filter_map(|name| self.files.get_key_value(name.as_str()));
        Question {
            data: self.hash.map(str::to_owned),
            files: named
                .map(|(name, hash)| (name.clone(), hash.clone()))
                .collect(),
            on: self.on.iter().map(|arm| arm.arguments(0)).collect(),
            fronts: found.iter().flatten().map(Found::fingerprint).collect(),
            time: time.last(),
            arguments,
        }
    }

    /// The cell of a search with this one's data and seed.
    fn search<'a>(&'a self, arm: &'a Arm) -> Cell<'a> {
        Cell {
            arm,
            part: 0,
            on: Vec::new(),
            ..*self
        }
    }

    /// What it found, if it is finished.
    ///
    /// # Errors
    /// The folder holds the answer to another question, or none that can be read.
    pub fn result(&self, root: &Path) -> Result<Option<Found>> {
        let path = self.folder(root).join("result.json");
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(None);
        };
        let found: Found = serde_json::from_str(&text)
            .map_err(|error| failure::bad_input(format!("{}: {error}", path.display())))?;
        match found.question.differs(&self.question(root)) {
            Some(difference) => Err(elsewhere(&path, "is the result of", &difference)),
            None => Ok(Some(found)),
        }
    }

    /// Checks what can be known of its arguments before it runs: how they are written, and that there is something where they
    /// look for weights.
    ///
    /// # Errors
    /// A wrong argument, behind the name of the arm.
    pub fn check(&self) -> Result<()> {
        let name = &self.arm.name;
        let wrong = |reason: &str| wrong_argument(format!("the arm '{name}': {reason}"));
        let command = (self.arm.command(self.part)).map_err(|reason| wrong(&reason))?;
        let sought = match &command {
            args::Command::Search(search) if search.supernet != SCRATCH => &search.supernet,
            args::Command::Finetune(tuned) if self.arm.networks_of.is_none() => &tuned.model,
            _ => return Ok(()),
        };
        weights::check(sought).map_err(|error| wrong(&failure::one_line(&error)))
    }

    /// Notes in the folder what is worked on there.
    ///
    /// # Errors
    /// It holds the beginnings of something else.
    fn claim(&self, folder: &Path, question: &Question) -> Result<()> {
        let path = folder.join("question.json");
        if let Ok(text) = fs::read_to_string(&path) {
            let begun: Question = serde_json::from_str(&text)
                .map_err(|error| failure::bad_input(format!("{}: {error}", path.display())))?;
            let difference = begun.differs(question).filter(|_| holds_work(folder));
            if let Some(difference) = difference {
                return Err(elsewhere(
                    &path,
                    "what lies there was begun with",
                    &difference,
                ));
            }
        }
        let text = serde_json::to_string_pretty(question).expect("plain values");
        Ok(write_atomically(&path, text.as_bytes())?)
    }

    /// Runs it to its end, going on where it was left, or until `stop` is set.
    ///
    /// # Errors
    /// A search that it builds on has not been run, or otherwise; the child failed or was interrupted
    /// ([`Stopped`](super::child::Stopped)); files cannot be written.
    pub fn run(&self, root: &Path, stop: &AtomicBool) -> Result<Found> {
        for arm in &self.on {
            self.finished(root, &arm.name)?;
        }
        let folder = self.folder(root);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let part = self.arm.parts()[self.part];
        let question = self.question(root);
        self.claim(&folder, &question)?;
        let mut found = Found {
            question,
            machine: machine::processor(),
            ..Found::default()
        };
        match self.arm.work() {
            Work::Search(args) => self.run_search(&folder, args, part, stop, &mut found)?,
            Work::Finetune(args) => self.finetune(root, &folder, args, part, stop, &mut found)?,
            Work::Predictors(args) => {
                let run = self.run_of(root, self.arm.networks_of.as_deref().unwrap_or_default());
                let mut command = nat(&["bench", "predictors"], &[args, part]);
                command.arg(&run).arg("--seed").arg(self.seed.to_string());
                let (text, spent) =
                    Spent::from_zero(&folder, "").child(command.arg("--json"), stop)?;
                found.take(&spent);
                found.predictions = lines(&text)?;
            }
            Work::Eval(args) => {
                let run = self.run_of(root, self.arm.networks_of.as_deref().unwrap_or_default());
                let measured = |split| {
                    let mut command = nat(&["eval"], &[args, part]);
                    command.arg(&run).args(["--split", split, "--json"]);
                    let (text, spent) = Spent::from_zero(&folder, "").child(&mut command, stop)?;
                    Ok::<_, anyhow::Error>((lines::<Value>(&text)?.pop(), spent))
                };
                let (searched, first) = measured("val")?;
                let (tested, second) = measured("test")?;
                found.take(&first);
                found.take(&second);
                let mut line = tested.unwrap_or_default();
                line["test_error"] = line["error"].take();
                line["search_error"] = searched.unwrap_or_default()["error"].take();
                found.networks.push(network(&line, "search_error")?);
            }
        }
        let text = serde_json::to_string_pretty(&found).expect("plain values");
        write_atomically(&folder.join("result.json"), text.as_bytes())?;
        Ok(found)
    }

    fn run_search(
        &self,
        folder: &Path,
        args: &str,
        part: &str,
        stop: &AtomicBool,
        found: &mut Found,
    ) -> Result<()> {
        let run = folder.join("run");
        let (mut command, spent) = if RunDirectory::at(&run).check_vacant().is_err() {
            (nat(&["resume"], &[]), Spent::so_far(folder, ""))
        } else {
            let mut command = nat(&["search"], &[args, part]);
            command.args([
                "--data",
                self.path,
                "--seed",
                &self.seed.to_string(),
                "--out",
            ]);
            (command, Spent::from_zero(folder, ""))
        };
        let (_, spent) = spent.child(command.arg(&run), stop)?;
        found.take(&spent);
        found.settings = Some(settings::of(&answer::record(&run)?.config));
        let mut command = nat(&["front"], &[]);
        let (text, _) =
            Spent::default().child(command.arg(&run).args(["--test", "--json"]), stop)?;
        for line in lines::<Value>(&text)? {
            found.networks.push(network(&line, "error")?);
        }
        Ok(())
    }

    fn finetune(
        &self,
        root: &Path,
        folder: &Path,
        args: &str,
        part: &str,
        stop: &AtomicBool,
        found: &mut Found,
    ) -> Result<()> {
        let mut starts: Vec<(Option<&str>, Option<Network>)> = vec![(None, None)];
        let supernet;
        if let Some(name) = &self.arm.networks_of {
            let front = self.finished(root, name)?.networks;
            supernet = supernet_of(&self.run_of(root, name))?;
            starts = spread(front, self.arm.networks)
                .map(|network| (Some(supernet.as_str()), Some(network)))
                .collect();
        }
        for (index, (model, start)) in starts.into_iter().enumerate() {
            let mut command = nat(&["finetune"], &[args, part]);
            command.args([
                "--data",
                self.path,
                "--seed",
                &self.seed.to_string(),
                "--json",
            ]);
            if let Some(name) = &self.arm.minutes_of {
                let search = self.finished(root, name)?;
                if let (Some(theirs), Some(ours)) = (&search.machine, machine::processor())
                    && *theirs != ours
                {
                    return Err(wrong_argument(format!(
                        "the arm '{}' gets a share of the time of '{name}', which was run on another machine ({theirs}): run \
                         that one here first",
                        self.arm.name
                    )));
                }
                let minutes = self.arm.share * search.seconds / 60.0;
                command.args(["--minutes", &minutes.to_string()]);
            }
            if let (Some(model), Some(start)) = (model, &start) {
                let side = start.resolution.to_string();
                command.args([
                    "--model",
                    model,
                    "--genes",
                    &start.genes,
                    "--resolution",
                    &side,
                ]);
            }
            let kept = folder.join(format!("network-{index}.json"));
            let suffix = format!("-{index}");
            let (text, spent) = match fs::read_to_string(&kept) {
                Ok(text) => (text, Spent::so_far(folder, &suffix)),
                Err(_) => Spent::from_zero(folder, &suffix).child(&mut command, stop)?,
            };
            found.take(&spent);
            let line = lines::<Value>(&text)?.pop().unwrap_or_default();
            found.networks.push(Network {
                before: start.map(|start| start.test_error),
                ..network(&line, "search_error")?
            });
            write_atomically(&kept, text.as_bytes())?;
        }
        Ok(())
    }

    fn run_of(&self, root: &Path, arm: &str) -> PathBuf {
        at(root, self.data, self.seed).join(slug(arm)).join("run")
    }

    /// The result of a search that it builds on.
    fn finished(&self, root: &Path, name: &str) -> Result<Found> {
        let arm = self.on.iter().find(|arm| arm.name == name);
        let search = self.search(arm.expect("a cell knows the searches that it builds on"));
        search.result(root)?.ok_or_else(|| {
            wrong_argument(format!(
                "arm '{}' needs '{name}' on {} with seed {}, which has not been run ({})",
                self.arm.name,
                self.data,
                self.seed,
                search.folder(root).join("result.json").display()
            ))
        })
    }
}

/// What may be a file among arguments: whole words, and what stands behind the signs that go before a path.
pub fn files_of(arguments: &str) -> Vec<String> {
    let words = words(arguments);
    (words.iter())
        .flat_map(|word| word.split([',', '=']))
        .flat_map(|word| [Some(word), word.split_once(':').map(|(_, path)| path)])
        .flatten()
        .map(str::to_owned)
        .collect()
}

/// The words of a plan's arguments, divided and quoted as a shell does it; a plan with unclosed quotes is refused.
pub fn words(arguments: &str) -> Vec<String> {
    shlex::split(arguments).unwrap_or_default()
}

/// The beginning of a SHA-256 hash, in hexadecimal digits.
pub fn short_hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether more lies in a cell's folder than what was asked and the time that was spent: a child that refused its arguments
/// leaves nothing.
fn holds_work(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return true;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name != "question.json" && !name.starts_with("spent")
    })
}

/// The refusal of a folder that holds something else.
fn elsewhere(path: &Path, what: &str, difference: &str) -> anyhow::Error {
    wrong_argument(format!(
        "{}: {what} {difference}: remove the folder or take another --out",
        path.display()
    ))
}

fn at(root: &Path, data: &str, seed: u64) -> PathBuf {
    root.join(slug(data)).join(format!("seed-{seed}"))
}

/// The supernet file of a run's last iteration.
fn supernet_of(run: &Path) -> Result<String> {
    let answer = Answer::open(RunDirectory::at(run))?;
    Ok(answer.supernet_path(0).display().to_string())
}

/// Up to `n` of the networks, evenly spread, both ends included.
fn spread(networks: Vec<Network>, n: usize) -> impl Iterator<Item = Network> {
    let last = networks.len().saturating_sub(1);
    let mut places: Vec<usize> = match n {
        1 => vec![last / 2],
        _ => (0..n).map(|i| i * last / (n - 1)).collect(),
    };
    places.dedup();
    places
        .into_iter()
        .filter_map(move |place| networks.get(place).cloned())
}

fn nat(command: &[&str], arguments: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| "nat".into());
    let mut child = Command::new(program);
    child.args(command);
    child.args(arguments.iter().flat_map(|text| words(text)));
    child
}

fn lines<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("a child wrote '{line}'")))
        .collect()
}

fn network(line: &Value, search_error: &str) -> Result<Network> {
    let number = |key: &str| {
        line[key]
            .as_f64()
            .ok_or_else(|| anyhow!("a child wrote no {key}: {line}"))
    };
    Ok(Network {
        genes: line["genes"].as_str().unwrap_or_default().to_owned(),
        madds: number("madds")? as u64,
        params: number("params")? as u64,
        resolution: number("resolution")? as usize,
        search_error: number(search_error)?,
        test_error: number("test_error")?,
        balanced: line["balanced"].as_bool().unwrap_or_default(),
        before: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(genes: usize) -> Network {
        Network {
            genes: genes.to_string(),
            madds: 1,
            params: 1,
            resolution: 64,
            search_error: 1.0,
            test_error: 1.0,
            balanced: false,
            before: None,
        }
    }

    #[test]
    fn files_are_found_among_arguments() {
        let names = "--config my.toml --supernet mobilenet-v2:w.pth --objectives=error,latency:phone.json --space 'my space.toml'";
        let named = files_of(names);
        for file in ["my.toml", "w.pth", "phone.json", "my space.toml"] {
            assert!(named.iter().any(|name| name == file), "{file} in {named:?}");
        }
        assert_eq!(
            words(r#"--command e='echo 1' --limit "madds<=20M""#),
            ["--command", "e=echo 1", "--limit", "madds<=20M"]
        );
        assert_eq!(short_hash(b"abc"), "ba7816bf8f01cfea");
    }

    #[test]
    fn networks_are_spread_from_end_to_end() {
        let chosen = |count: usize, n| -> Vec<String> {
            let networks = (0..count).map(named).collect();
            spread(networks, n).map(|network| network.genes).collect()
        };
        assert_eq!(chosen(9, 3), ["0", "4", "8"]);
        assert_eq!(chosen(9, 1), ["4"]);
        assert_eq!(chosen(2, 5), ["0", "1"]);
        assert!(chosen(0, 5).is_empty());
    }

    #[test]
    fn what_was_begun_with_other_words_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let arm = |of: &str, text: &str| -> Arm {
            toml::from_str(&format!("name = 'x'\n{of} = '{text}'")).unwrap()
        };
        let claim = |hash, search: &str, args: &str, fronts: &[&str]| {
            let (search, tune) = (arm("search", search), arm("finetune", args));
            let files = BTreeMap::new();
            let cell = Cell {
                arm: &tune,
                part: 0,
                data: "tiles",
                path: "tiles",
                seed: 1,
                hash: Some(hash),
                files: &files,
                on: vec![&search],
            };
            let question = Question {
                fronts: fronts.iter().map(|&text| text.to_owned()).collect(),
                ..cell.question(folder.path())
            };
            let claimed = cell.claim(folder.path(), &question);
            claimed.map_err(|error| error.to_string())
        };
        // A child that refused its arguments has done nothing, and the next may have others.
        claim("ab", "--preset quick", "--lr x", &["1f"]).unwrap();
        fs::write(folder.path().join("spent.json"), "{}").unwrap();
        for _ in 0..2 {
            claim("ab", "--preset quick", "--lr 0.1", &["1f"]).unwrap();
            fs::create_dir_all(folder.path().join("run")).unwrap();
        }
        // Nothing is known of the networks.
        claim("ab", "--preset quick", "--lr 0.1", &[]).unwrap();
        claim("ab", "--preset quick", "--lr 0.1", &["1f"]).unwrap();
        for (hash, search, args, front, part) in [
            (
                "ab",
                "--preset quick",
                "--lr 0.2",
                "1f",
                "with `finetune --lr 0.1`, the experiment says `finetune --lr 0.2`",
            ),
            (
                "ab",
                "--preset paper",
                "--lr 0.1",
                "1f",
                "networks of `search --preset quick`",
            ),
            (
                "cd",
                "--preset quick",
                "--lr 0.1",
                "1f",
                "hash ab, the experiment's has cd",
            ),
            (
                "ab",
                "--preset quick",
                "--lr 0.1",
                "2e",
                "other networks of `search --preset quick`, which has been run again since",
            ),
        ] {
            let error = claim(hash, search, args, &[front]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let with = |file: &str, time: &str| Question {
            files: BTreeMap::from([("my.toml".to_owned(), file.to_owned())]),
            time: Some(time.to_owned()),
            ..Question::default()
        };
        let before = with("ab", "60.0 s on near");
        assert_eq!(before.differs(&before.clone()), None);
        let changed = before.differs(&with("cd", "60.0 s on near")).unwrap();
        assert!(changed.contains("my.toml as it was"), "{changed}");
        let slower = before.differs(&with("ab", "90.0 s on far")).unwrap();
        assert!(slower.contains("has now taken 90.0 s on far"), "{slower}");
        // Results from before hashes were kept are not refused.
        assert_eq!(Question::default().differs(&before), None);
        assert_eq!(
            Question::default().differs(&Question {
                data: Some("ab".into()),
                ..Question::default()
            }),
            None
        );
    }
}
