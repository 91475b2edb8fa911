//! Experiments from files, on the built-in images.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

const SETTINGS: &str = "--set warm_up.max_steps=2 --set warm_up.batch=8 --set search.initial=6 --set search.iterations=1 \
                        --set search.closing=1 --set search.archive=8 --set search.population=12 \
                        --set search.generations=4 --set search.ensemble=20 --set adapt.max_steps=2 --set adapt.batch=8 \
                        --set evaluate.images=40 --set evaluate.calibration_images=32 --set resolutions.from=32 \
                        --set resolutions.to=48";

fn plan(folder: &Path, rate: &str) -> PathBuf {
    let file = folder.join("small.toml");
    let text = format!(
        "title = 'Everything once'\nseeds = [1, 2]\nlimits = [5]\nreference = 'nat'\n\
         [data]\ntiles = 'builtin:climate-tiles'\n\
         [[arm]]\nname = 'nat'\nsearch = '--supernet lite0 {SETTINGS}'\n\
         [[arm]]\nname = 'tuned'\nfinetune = '--model lite0 --epochs 1 --lr {rate} --set warm_up.batch=128'\n\
         each = ['--resolution 16', '--resolution 32']\nseeds = [1]\n\
         [[arm]]\nname = 'on'\nfinetune = '--epochs 1 --lr 0.001 --set warm_up.batch=256'\nnetworks_of = 'nat'\nnetworks = 2\nseeds = [1]\n\
         [[arm]]\nname = 'models'\npredictors = '--samples 20 --held-out 10'\nnetworks_of = 'nat'\nseeds = [1]\n\
         [[arm]]\nname = 'as it is'\neval = '--genes 0,0,3,3,6,6,3,3,3,6,6,6,6,6,6,6,3'\nnetworks_of = 'nat'\nseeds = [1]\n"
    );
    fs::write(&file, text).unwrap();
    file
}

fn experiment(file: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
    command.arg("experiment").arg(file).arg("--out").arg(out);
    command.args(more).output().unwrap()
}

#[test]
fn arms_are_run_once_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results");
    let file = plan(folder.path(), "0.01");
    let output = experiment(&file, &out, &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    assert_eq!(message.matches("nat: cell ").count(), 7, "{message}");
    let summary = String::from_utf8(output.stdout).unwrap();
    for part in [
        "| nat | 2 |",
        "| tuned --resolution 16 | 16 |",
        "| on | 2 |",
        "| switching | 20 |",
        // The whole of Lite0 at 32 px, in the supernet and alone.
        "| tuned | 1 | 32 |",
    ] {
        assert!(summary.contains(part), "{part} in\n{summary}");
    }
    let tables = out.join("small");
    assert_eq!(
        fs::read_to_string(tables.join("summary.md")).unwrap(),
        summary
    );
    let csv = fs::read_to_string(tables.join("networks.csv")).unwrap();
    let front = fs::read_to_string(out.join("tiles/seed-2/nat/run/front.csv")).unwrap();
    let of_seed_2 = csv.lines().filter(|line| line.starts_with("tiles,2,nat"));
    assert_eq!(of_seed_2.count(), front.lines().count() - 1);
    assert!(tables.join("predictions.csv").exists());
    let chart = fs::read_to_string(tables.join("accuracy.svg")).unwrap();
    assert_eq!(
        chart.matches("<polyline").count(),
        5,
        "two searches, three arms"
    );
    let cell =
        fs::read_to_string(out.join("tiles/seed-1/tuned-resolution-32/result.json")).unwrap();
    let cell: Value = serde_json::from_str(&cell).unwrap();
    assert_eq!(cell["networks"][0]["resolution"], 32);
    assert!(cell["seconds"].as_f64().unwrap() > 0.0);

    // What is done stays done, and gives the same tables.
    let again = experiment(&file, &out, &[]);
    assert!(!String::from_utf8_lossy(&again.stderr).contains("cell"));
    assert_eq!(String::from_utf8(again.stdout).unwrap(), summary);
    // Results that build on another run of the search are not.
    let search = out.join("tiles/seed-1/nat/result.json");
    let found = fs::read_to_string(&search).unwrap();
    fs::write(
        &search,
        found.replacen("\"test_error\": ", "\"test_error\": 1", 1),
    )
    .unwrap();
    let moved = experiment(&file, &out, &[]);
    assert_eq!(moved.status.code(), Some(2));
    let message = String::from_utf8_lossy(&moved.stderr).into_owned();
    assert!(message.contains("run again since"), "{message}");
    fs::write(&search, found).unwrap();
    // Results of other arguments are not passed off as these.
    let changed = experiment(&plan(folder.path(), "0.02"), &out, &[]);
    assert_eq!(changed.status.code(), Some(2));
    let message = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(
        message.contains("--lr 0.01") && message.contains("--lr 0.02"),
        "{message}"
    );
}

#[test]
#[cfg(unix)]
fn an_interrupted_experiment_goes_on_where_it_was() {
    use std::{thread::sleep, time::Duration};

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results");
    let file = plan(folder.path(), "0.01");
    let run = out.join("tiles/seed-1/nat/run");
    let begun = |before: usize| {
        let events = fs::read_to_string(run.join("events.jsonl")).unwrap_or_default();
        match before {
            0 => events.contains("\"start\""),
            _ => events.matches("\"resume\"").count() == before,
        }
    };
    // A scheduler's signal goes to the one process, that of a terminal on Ctrl-C to the whole group.
    for (events, (signal, whom)) in [("-TERM", ""), ("-INT", "-"), ("-INT", "")]
        .into_iter()
        .enumerate()
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
        command.arg("experiment").arg(&file).arg("--out").arg(&out);
        command.args(["--only", "nat,1"]);
        let mut child = std::os::unix::process::CommandExt::process_group(&mut command, 0)
            .spawn()
            .unwrap();
        while !begun(events) {
            assert!(
                child.try_wait().unwrap().is_none(),
                "{signal} has no search to end"
            );
            sleep(Duration::from_millis(20));
        }
        let whom = format!("{whom}{}", child.id());
        let sent = Command::new("kill").args([signal, "--", &whom]).status();
        assert!(sent.unwrap().success());
        let stopped = child.wait_with_output().unwrap();
        assert_eq!(stopped.status.code(), Some(130), "{signal}");
        assert!(!run.with_file_name("result.json").exists());
        let saved = fs::File::open(run.join(".lock")).unwrap();
        assert!(
            saved.try_lock().is_ok(),
            "{signal}: the search goes on alone"
        );
    }

    let output = experiment(&file, &out, &["--only", "nat,1"]);
    assert!(output.status.success());
    let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
    assert_eq!(events.matches("\"resume\"").count(), 3, "{events}");
}

#[test]
fn wrong_plans_and_names_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results");
    let file = plan(folder.path(), "0.01");
    for (more, code, part) in [
        (["--only", "nobody"], 2, "nobody"),
        (["--data", "elsewhere=x"], 2, "elsewhere"),
        (["--data", "tiles=not-there"], 2, "not-there"),
        (["--only", "on,1"], 2, "needs 'nat'"),
        (["--only", "models,1"], 2, "needs 'nat'"),
        (["--only", "as it is,1"], 2, "needs 'nat'"),
    ] {
        let output = experiment(&file, &out, &more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(part), "{message}");
    }
    let nowhere = folder.path().join("nowhere");
    let output = experiment(&file, &nowhere, &["--summary"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("there is no folder"), "{message}");
    assert!(!nowhere.exists());
    fs::write(&file, "title = 't'\n[[arms]]\nname = 'x'\n").unwrap();
    let message = String::from_utf8(experiment(&file, &out, &[]).stderr).unwrap();
    assert!(
        message.contains("small.toml: line 2: unknown field `arms`"),
        "{message}"
    );
}

#[test]
fn the_experiments_of_the_project_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut seen = 0;
    for entry in fs::read_dir(experiments).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            let output = experiment(&path, folder.path(), &["--summary"]);
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: {message}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 5);
}
