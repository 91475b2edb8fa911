//! A run that is killed, interrupted, or given other thread counts ends with the same bytes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nat_space::{Device, LatencyTable, Space, Timing};

/// A complete run in miniature: every phase happens, and a state is saved after every step.
const SETTINGS: [&str; 24] = [
    "augment.mixup=0.2",
    "augment.cutmix=1",
    "augment.dropout=0.2",
    "pretrain.average=0.5",
    "warm_up.average=0.5",
    "warm_up.frozen=0.5",
    "adapt.average=0.9",
    "warm_up.max_steps=4",
    "warm_up.batch=16",
    "pretrain.max_steps=3",
    "pretrain.batch=16",
    "pretrain.random_subnets=1",
    "search.initial=8",
    "search.iterations=2",
    "search.closing=1",
    "search.archive=10",
    "search.ensemble=20",
    "search.population=12",
    "search.generations=5",
    "adapt.max_steps=3",
    "adapt.batch=16",
    "evaluate.images=40",
    "evaluate.calibration_images=32",
    "upkeep.save_seconds=0",
];

/// A latency table for the run `out`, in a folder of its own: its name is part of the result, its place is not.
fn table(out: &Path) -> PathBuf {
    let rows = Space::builtin("tiny").unwrap().timed_layers(7).into_iter();
    let rows = rows.map(|layer| {
        let work = layer.side * layer.side * (layer.input + layer.output) * layer.kernel;
        let ms = 1e-5 * work as f64;
        (layer, Timing { ms, spread: None })
    });
    let folder = out.with_extension("device");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("phone.json");
    fs::write(&file, LatencyTable::new(Device::default(), rows).to_json()).unwrap();
    file
}

fn search(out: &Path, more: &[&str]) -> Command {
    search_from(&["scratch", "--space", "tiny"], out, more)
}

/// The search with what follows `--supernet`.
fn search_from(supernet: &[&str], out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
    command.args(["search", "--data", "builtin:climate-tiles", "--supernet"]);
    let objectives = format!("error,memory,latency:{}", table(out).display());
    command
        .args(supernet)
        .args(["--objectives", &objectives, "--limit", "latency<=1.2ms"])
        .args(["--seed", "5", "--out"])
        .arg(out);
    for setting in SETTINGS.iter().chain(more) {
        command.args(["--set", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn resume(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
    command
        .arg("resume")
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// What must be equal: the archive, the front, and every byte of the saved states.
fn result(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for name in ["archive.jsonl", "front.csv"] {
        files.insert(name.to_owned(), fs::read(run.join(name)).unwrap());
    }
    for entry in fs::read_dir(run).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            !name.contains(".part-") && !name.ends_with(".tmp"),
            "{name} was left behind"
        );
        if name.starts_with("generation-") {
            for file in fs::read_dir(entry.path()).unwrap() {
                let file = file.unwrap();
                let key = format!("{name}/{}", file.file_name().into_string().unwrap());
                files.insert(key, fs::read(file.path()).unwrap());
            }
        }
    }
    assert!(files.len() >= 5, "{:?}", files.keys());
    files
}

fn assert_same(one: &Path, other: &Path) {
    assert!(!passes(one).is_empty());
    assert_eq!(passes(one), passes(other));
    let (one, other) = (result(one), result(other));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &one {
        assert!(bytes == &other[name], "{name} differs");
    }
}

/// The passes over the images that a run has told of, each with the step at which it ended.
fn passes(run: &Path) -> Vec<String> {
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let events = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let told = |event: serde_json::Value| {
        let parts = ["generation", "phase", "set", "epoch", "step"];
        (event["event"] == "epoch").then(|| parts.map(|part| event[part].to_string()).join(" "))
    };
    events.filter_map(told).collect()
}

/// Waits until the run has saved `states` states more than when it was started, or is over.
fn wait_for_saves(run: &Path, child: &mut Child, states: usize) {
    let begun = Instant::now();
    let newest = |run: &Path| -> Option<String> {
        let names = fs::read_dir(run)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with("generation-")).max()
    };
    let (mut last, mut seen) = (newest(run), 0);
    while seen < states && child.try_wait().unwrap().is_none() {
        let now = newest(run);
        if now != last {
            seen += 1;
            last = now;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "the run hangs");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_survives_kill_9_interruption_and_other_thread_counts() {
    let folder = tempfile::tempdir().unwrap();
    let reference = folder.path().join("reference");
    assert!(search(&reference, &[]).status().unwrap().success());
    let front = fs::read_to_string(reference.join("front.csv")).unwrap();
    assert!(front.starts_with("genes,resolution,error,madds,params,memory,latency:phone\n"));
    assert!(front.lines().count() > 1);
    for line in front.lines().skip(1) {
        let ms: f64 = line.rsplit(',').next().unwrap().parse().unwrap();
        assert!(ms <= 1.2, "{line}");
    }

    for limit in [
        "latency:some/phone.json<=1.2ms",
        "latency<=1.2",
        "latency:phone<=1.2",
    ] {
        let mut pick = Command::new(env!("CARGO_BIN_EXE_nat"));
        pick.arg("pick")
            .arg(&reference)
            .args(["--where", limit, "--best", "latency"]);
        assert!(pick.output().unwrap().status.success(), "{limit}");
    }
    let events = fs::read_to_string(reference.join("events.jsonl")).unwrap();
    assert!(resume(&reference).status().unwrap().success());
    let again = fs::read_to_string(reference.join("events.jsonl")).unwrap();
    assert_eq!(again, events, "a finished run is left as it is");

    let killed = folder.path().join("killed");
    let kills = kill_again_and_again(&killed, search(&killed, &[]));
    assert!(kills >= 2, "the run was over before it could be killed");
    assert_same(&reference, &killed);

    let interrupted = folder.path().join("interrupted");
    let begin = search(&interrupted, &["upkeep.save_seconds=3600"]);
    for (mut command, signal) in [(begin, "-INT"), (resume(&interrupted), "-TERM")] {
        let mut child = command.spawn().unwrap();
        wait_for_saves(&interrupted, &mut child, 2);
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
    }
    assert!(resume(&interrupted).status().unwrap().success());
    assert_same(&reference, &interrupted);

    let threads = folder.path().join("threads");
    let more = ["upkeep.loader_threads=3", "upkeep.evaluators=1"];
    assert!(
        search(&threads, &more)
            .env("RAYON_NUM_THREADS", "1")
            .status()
            .unwrap()
            .success()
    );
    assert_same(&reference, &threads);
}

#[test]
fn a_warm_up_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let supernet = folder.path().join("supernet.safetensors");
    let supernet = supernet.to_str().unwrap();
    let mut pretrain = Command::new(env!("CARGO_BIN_EXE_nat"));
    pretrain.args(["pretrain", "--data", "builtin:climate-tiles"]);
    pretrain.args(["--space", "tiny", "--out", supernet]);
    pretrain.args([
        "--set",
        "pretrain.max_steps=1",
        "--set",
        "pretrain.batch=16",
    ]);
    assert!(
        pretrain
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let more = ["search.iterations=0", "adapt.max_steps=1"];

    let reference = folder.path().join("reference");
    let status = search_from(&[supernet], &reference, &more)
        .status()
        .unwrap();
    assert!(status.success());
    let events = fs::read_to_string(reference.join("events.jsonl")).unwrap();
    assert!(
        events.contains("\"phase\":\"warmup\"") && !events.contains("\"phase\":\"pretrain\""),
        "{events}"
    );

    let killed = folder.path().join("killed");
    let kills = kill_again_and_again(&killed, search_from(&[supernet], &killed, &more));
    assert!(kills >= 1, "the run was over before it could be killed");
    assert_same(&reference, &killed);
}

/// Runs a search to its end, killed and resumed after every few saved states; returns how often it was killed.
fn kill_again_and_again(run: &Path, mut search: Command) -> usize {
    let mut child = search.spawn().unwrap();
    let mut kills = 0;
    loop {
        wait_for_saves(run, &mut child, 3);
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        // A run has a copy of its tables.
        let _ = fs::remove_dir_all(run.with_extension("device"));
        child = resume(run).spawn().unwrap();
    }
    assert!(child.wait().unwrap().success());
    kills
}

/// A search for two data sets, the second a folder with three of the classes of the first.
fn search_both(folder: &Path, out: &Path, more: &[&str]) -> Command {
    let some = folder.join("some");
    if !some.exists() {
        let tar = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../assets/climate-tiles/climate-tiles-64.tar.gz");
        let all = folder.join("all");
        fs::create_dir(&all).unwrap();
        let mut unpack = Command::new("tar");
        unpack.arg("-xzf").arg(tar).arg("-C").arg(&all);
        assert!(unpack.status().unwrap().success());
        let classes = fs::read_dir(all.join("train")).unwrap();
        let mut classes: Vec<_> = classes.map(|entry| entry.unwrap().file_name()).collect();
        classes.sort();
        for split in ["train", "val", "test"] {
            for class in &classes[..3] {
                let to = some.join(split).join(class);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::rename(all.join(split).join(class), to).unwrap();
            }
        }
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
    command.args(["search", "--data", "tiles=builtin:climate-tiles", "--data"]);
    command.arg(format!("some={}", some.display()));
    command.args(["--supernet", "scratch", "--space", "tiny", "--seed", "5"]);
    command.arg("--out").arg(out);
    for setting in SETTINGS.iter().chain(more) {
        command.args(["--set", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_run_for_two_data_sets_survives_kill_9_and_tests_each() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let reference = folder.join("reference");
    assert!(
        search_both(folder, &reference, &[])
            .status()
            .unwrap()
            .success()
    );
    let front = fs::read_to_string(reference.join("front.csv")).unwrap();
    assert!(
        front.starts_with("genes,resolution,error,madds,params,memory,error:some,error:tiles\n")
    );
    let record = fs::read_to_string(reference.join("run.toml")).unwrap();
    assert!(record.contains(r#"objectives = ["error:tiles", "error:some", "madds"]"#));
    let events = fs::read_to_string(reference.join("events.jsonl")).unwrap();
    let last = events
        .lines()
        .rfind(|line| line.contains("\"generation\","))
        .unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["further"][0]["objective"], "error:tiles");
    assert_eq!(last["further"][1]["objective"], "error:some");
    let pairs = last["further"][1]["predicted"].as_array().unwrap();
    assert_eq!(pairs.len(), last["predicted"].as_array().unwrap().len());

    let killed = folder.join("killed");
    let kills = kill_again_and_again(&killed, search_both(folder, &killed, &[]));
    assert!(kills >= 2, "the run was over before it could be killed");
    assert_same(&reference, &killed);
    let files = result(&reference);
    assert!(files.contains_key("generation-003/supernet-some.safetensors"));

    let nat = |args: &[&str]| {
        let run = reference.to_str().unwrap();
        let args: Vec<String> = args.iter().map(|arg| arg.replace("RUN", run)).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_nat")).args(args).output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (_, tested, _) = nat(&["front", "RUN", "--test", "--json"]);
    let tested: serde_json::Value = serde_json::from_str(tested.lines().next().unwrap()).unwrap();
    let error = |name: &str| tested[name].as_f64().unwrap();
    let mean = (error("test_error:tiles") + error("test_error:some")) / 2.0;
    assert!((error("test_error") - mean).abs() < 1e-9);
    let genes = tested["genes"].as_str().unwrap();
    let model = folder.join("model.onnx").display().to_string();
    let (code, _, stderr) = nat(&["export", "RUN", "--genes", genes, "--to", &model]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("tiles or some"), "{stderr}");
    let export = [
        "export",
        "RUN",
        "--genes",
        genes,
        "--data-set",
        "some",
        "--to",
        &model,
    ];
    let (code, _, stderr) = nat(&export);
    assert_eq!(code, Some(0), "{stderr}");
    let some = folder.join("some").display().to_string();
    let (_, score, stderr) = nat(&["eval", &model, "--data", &some, "--json"]);
    let score: serde_json::Value = serde_json::from_str(&score).expect(&stderr);
    assert!((score["error"].as_f64().unwrap() - error("test_error:some")).abs() < 0.5);
    let eval = [
        "eval",
        "RUN",
        "--genes",
        genes,
        "--data-set",
        "some",
        "--data",
        &some,
        "--json",
    ];
    let (_, again, stderr) = nat(&eval);
    let again: serde_json::Value = serde_json::from_str(&again).expect(&stderr);
    assert_eq!(again["error"].as_f64().unwrap(), error("test_error:some"));
}
