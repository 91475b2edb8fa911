//! The rounds after the last iteration search on with the weights that it has left.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

const SETTINGS: [&str; 12] = [
    "pretrain.max_steps=3",
    "pretrain.batch=16",
    "search.initial=8",
    "search.iterations=1",
    "search.archive=10",
    "search.ensemble=20",
    "search.population=12",
    "search.generations=5",
    "adapt.max_steps=2",
    "adapt.batch=16",
    "evaluate.images=40",
    // Counts, not estimates, which every further network moves.
    "evaluate.regress=false",
];

fn search(out: &Path, closing: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
    command.args(["search", "--data", "builtin:climate-tiles"]);
    command.args(["--supernet", "scratch", "--space", "tiny", "--out"]);
    command.arg(out);
    for setting in SETTINGS.iter().chain([&closing]) {
        command.args(["--set", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
}

/// The errors of the archive by genotype, an archive an iteration.
fn archives(run: &Path) -> Vec<BTreeMap<String, f64>> {
    let mut archives = Vec::new();
    for line in fs::read_to_string(run.join("archive.jsonl"))
        .unwrap()
        .lines()
    {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let iteration = line["generation"].as_u64().unwrap() as usize;
        archives.resize_with(archives.len().max(iteration + 1), BTreeMap::new);
        let genes = line["genes"].as_str().unwrap().to_owned();
        archives[iteration].insert(genes, line["error"].as_f64().unwrap());
    }
    archives
}

#[test]
fn they_train_nothing_and_keep_every_measurement() {
    let folder = tempfile::tempdir().unwrap();
    let [without, with] = ["without", "with"].map(|name| folder.path().join(name));
    search(&without, "search.closing=0");
    search(&with, "search.closing=2");

    let before = archives(&without);
    let archives = archives(&with);
    assert_eq!(archives.len(), 4);
    assert_eq!(archives[..2], before);
    for pair in archives[1..].windows(2) {
        assert!(
            pair[0]
                .iter()
                .all(|(genes, error)| pair[1][genes] == *error)
        );
        assert!(pair[1].len() > pair[0].len());
    }

    let weights = |run: &Path, iteration: &str| {
        fs::read(run.join(iteration).join("supernet.safetensors")).unwrap()
    };
    assert!(weights(&without, "generation-001") == weights(&with, "generation-003"));
    let events = fs::read_to_string(with.join("events.jsonl")).unwrap();
    let trained = (events.lines())
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == "epoch")
        .map(|event| event["generation"].as_u64().unwrap());
    assert_eq!(trained.max(), Some(1));
}
