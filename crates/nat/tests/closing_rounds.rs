//! The rounds after the last iteration search on with the weights that it has left.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
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

fn nat(args: &[&str], run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
    command.args(args).arg(run);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn search(out: &Path, more: &str) -> Command {
    let images = ["search", "--data", "builtin:climate-tiles"];
    let start = ["--supernet", "scratch", "--space", "tiny", "--out"];
    let mut command = nat(&[&images[..], &start].concat(), out);
    for setting in SETTINGS.iter().chain([&more]) {
        command.args(["--set", setting]);
    }
    command
}

fn succeeds(mut command: Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// The errors of an iteration in the order of its archive.
fn errors(run: &Path, iteration: u64) -> Vec<f64> {
    let archive = fs::read_to_string(run.join("archive.jsonl")).unwrap();
    (archive.lines())
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["generation"] == iteration)
        .map(|line| line["error"].as_f64().unwrap())
        .collect()
}

/// The passes over the training images that are told of.
fn epochs(run: &Path) -> Vec<serde_json::Value> {
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
    (events.lines())
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event["event"] == "epoch")
        .collect()
}

/// The iterations in which something was trained.
fn trained(run: &Path) -> Vec<u64> {
    let epochs = epochs(run).into_iter();
    epochs
        .map(|epoch| epoch["generation"].as_u64().unwrap())
        .collect()
}

/// The learning rates of the passes.
fn rates(run: &Path) -> Vec<f64> {
    let epochs = epochs(run).into_iter();
    epochs.map(|epoch| epoch["lr"].as_f64().unwrap()).collect()
}

/// Changes what the run is set to.
fn set(run: &Path, changes: &[(&str, &str)]) {
    let mut record = fs::read_to_string(run.join("run.toml")).unwrap();
    for (old, new) in changes {
        assert!(record.contains(old), "{old}");
        record = record.replace(old, new);
    }
    fs::write(run.join("run.toml"), record).unwrap();
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

#[test]
fn they_train_nothing_and_keep_every_measurement() {
    let folder = tempfile::tempdir().unwrap();
    let [without, with] = ["without", "with"].map(|name| folder.path().join(name));
    succeeds(search(&without, "search.closing=0"));
    succeeds(search(&with, "search.closing=2"));

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
    assert_eq!(trained(&with).into_iter().max(), Some(1));
}

#[test]
fn what_was_measured_before_a_training_is_no_measurement_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut child = search(&run, "adapt.max_steps=250").spawn().unwrap();
    while !trained(&run).contains(&1) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        sleep(Duration::from_millis(20));
    }
    let interrupt = ["-INT", &child.id().to_string()];
    assert!(
        Command::new("kill")
            .args(interrupt)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));

    assert_eq!(archives(&run).len(), 1, "the iteration has ended before");

    // The iteration under way becomes one more than is asked for, or stays the last that trains.
    let other = folder.path().join("other");
    copy(&run, &other);
    let trained = ("max_steps = 250", "max_steps = 2");
    let closing = [
        ("iterations = 1", "iterations = 0"),
        ("closing = 3", "closing = 0"),
    ];
    set(&run, &[&[trained][..], &closing].concat());
    set(&other, &[trained, ("closing = 3", "closing = 0")]);
    succeeds(nat(&["resume"], &run));
    succeeds(nat(&["resume"], &other));
    assert_eq!(archives(&run), archives(&other));
    let before = errors(&run, 0);
    assert_ne!(errors(&run, 1)[..before.len()], before);

    succeeds(nat(&["front", "--test"], &run));
    assert!(run.join("test.jsonl").exists());
    set(&run, &[("iterations = 0", "iterations = 2")]);
    succeeds(nat(&["resume"], &run));
    assert!(!run.join("test.jsonl").exists());
}

#[test]
fn a_finished_run_that_is_given_more_iterations_trains_and_closes_as_often_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeeds(search(&run, "search.closing=2"));
    assert_eq!(archives(&run).len(), 4);

    set(&run, &[("iterations = 1", "iterations = 3")]);
    succeeds(nat(&["resume"], &run));
    let archives = archives(&run);
    assert_eq!(archives.len(), 1 + 3 + 2 + 2);
    let mut trains = trained(&run);
    trains.dedup();
    assert_eq!(
        trains,
        [0, 1, 4, 5],
        "the first archive and whatever trains after it"
    );
    for closing in [2, 3, 6, 7] {
        let kept = |(genes, error): (&String, &f64)| archives[closing].get(genes) == Some(error);
        assert!(archives[closing - 1].iter().all(kept), "{closing}");
    }
    // The rates of the cosine go by what was trained: the last of all is that of a run of three from the beginning.
    let straight = folder.path().join("straight");
    let mut command = search(&straight, "search.closing=0");
    command.args(["--set", "search.iterations=3"]);
    succeeds(command);
    assert_eq!(rates(&run).last(), rates(&straight).last());

    let told = nat(&["report"], &run).status().unwrap();
    assert!(told.success());
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(!page.contains("was interrupted"));
}

#[test]
fn what_was_measured_in_another_way_is_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeeds(search(&run, "search.closing=1"));
    succeeds(nat(&["front", "--test"], &run));
    set(&run, &[("closing = 1", "closing = 2")]);
    let other = folder.path().join("other");
    copy(&run, &other);
    set(&other, &[("images = 40", "images = 200")]);
    succeeds(nat(&["resume"], &run));
    succeeds(nat(&["resume"], &other));
    let [alike, anew] = [&run, &other].map(|run| archives(run));
    assert_eq!(alike[..3], anew[..3]);
    assert!(
        alike[2]
            .iter()
            .all(|(genes, error)| alike[3][genes] == *error)
    );
    assert!(
        anew[2]
            .iter()
            .any(|(genes, error)| anew[3][genes] != *error)
    );
    assert!(run.join("test.jsonl").exists() && !other.join("test.jsonl").exists());
}

#[test]
fn a_run_that_lacks_a_part_or_a_meaning_does_not_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut command = search(&run, "search.closing=0");
    command.args(["--set", "adapt.average=0.9"]);
    succeeds(command);
    set(&run, &[("closing = 0", "closing = 1")]);
    let refused = |part: &str| {
        let output = (nat(&["resume"], &run).stderr(Stdio::piped()).output()).unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let last = told.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(last.contains(part), "{told}");
    };
    let madds = ("\"madds\"]", "\"madds\", \"command:watt\"]");
    set(&run, &[madds]);
    refused("run.toml: ");
    set(&run, &[(madds.1, madds.0)]);
    let trained = run.join("generation-001/trained.safetensors");
    let away = folder.path().join("away");
    fs::rename(&trained, &away).unwrap();
    refused("trained.safetensors: is missing");
    fs::rename(&away, &trained).unwrap();
    succeeds(nat(&["resume"], &run));
}
