//! Models, runs and sets that are written by hand, since nothing has to be trained for what is asked of them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use nat_data::Filter;
use nat_space::Space;
use nat_supernet::{Provenance, Supernet};
use nat_transfer::{
    ArchiveLine, Course, DataRecord, Preset, RunDirectory, RunRecord, Tested,
    checkpoint::{Position, State},
};
use serde_json::Value;

const CLASSES: [&str; 3] = ["ant", "bee", "cow"];

fn nat(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(args)
        .output()
        .unwrap()
}

/// Stdout and stderr of a command that works.
fn succeeds(args: &[&str]) -> (String, String) {
    let output = nat(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{args:?}: {stderr}");
    (stdout, stderr)
}

fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let output = nat(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    let message = stderr.lines().last().unwrap_or_default();
    for part in parts {
        assert!(message.contains(part), "{args:?} lacks '{part}': {message}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The files of a finished run without its weights: two networks, both on the front, and their test errors.
fn write_run(run: &Path) {
    let space = Space::builtin("tiny").unwrap();
    let mut config = Preset::Quick.config(&space);
    (config.search.iterations, config.search.closing) = (0, 0);
    config.evaluate.regress = false;
    let data = DataRecord {
        name: None,
        path: "photos".into(),
        hash: "1234".into(),
        classes: CLASSES.map(String::from).to_vec(),
        search_images: Some(300),
        search_classes: Vec::new(),
        val_fraction: 0.15,
        test_fraction: 0.15,
        split_seed: 1,
        mean: [0.5; 3],
        std: [0.25; 3],
        filter: Filter::Bicubic,
    };
    let record = RunRecord {
        version: env!("CARGO_PKG_VERSION").into(),
        preset: "quick".into(),
        supernet: "scratch".into(),
        data: vec![data],
        config,
        space: space.clone(),
        tables: Vec::new(),
    };
    RunDirectory::at(run).create(&record).unwrap();
    let ends = [(space.smallest(), 40.0), (space.largest(), 20.0)];
    let archive = ends.map(|(genes, error)| {
        let count = space.count(&genes, CLASSES.len());
        ArchiveLine {
            generation: 0,
            genes: genes.to_string(),
            error,
            madds: count.madds,
            params: count.params,
            memory: 1000,
            measures: BTreeMap::new(),
        }
    });
    let tested = archive.each_ref().map(|line| Tested {
        genes: line.genes.clone(),
        test_error: line.error + 1.0,
        sets: BTreeMap::new(),
    });
    let lines = |lines: [String; 2]| lines.map(|line| line + "\n").concat();
    let archived = archive
        .each_ref()
        .map(|line| serde_json::to_string(line).unwrap());
    fs::write(run.join("archive.jsonl"), lines(archived)).unwrap();
    let tested = tested.map(|line| serde_json::to_string(&line).unwrap());
    fs::write(run.join("test.jsonl"), lines(tested)).unwrap();
    fs::write(run.join("events.jsonl"), "").unwrap();
    let state = State {
        course: Course::default(),
        position: Position::Complete,
        candidates: Vec::new(),
        archive: archive.to_vec(),
        seed: record.config.seed,
        objectives: record.config.objectives.clone(),
        reference: Vec::new(),
        evaluation: record.config.evaluate,
        measured: Vec::new(),
        readings: Vec::new(),
        predictors: Vec::new(),
    };
    fs::create_dir(run.join("generation-000")).unwrap();
    let state = serde_json::to_string(&state).unwrap();
    fs::write(run.join("generation-000/state.json"), state).unwrap();
}

/// Writes an untrained network of `tiny` as `net.safetensors` and `net.onnx`.
fn write_model(folder: &Path) {
    let space = Space::builtin("tiny").unwrap();
    let genes = space.smallest();
    let supernet = Supernet::new(&space, 0, CLASSES.len(), 7);
    let subnet = supernet.extract(&space.architecture(&genes));
    let provenance = Provenance {
        class_names: CLASSES.map(String::from).to_vec(),
        mean: [0.5; 3],
        std: [0.25; 3],
        filter: "bicubic".into(),
    };
    let info = nat_transfer::model_info(&space, &provenance, 1.0, &genes, &subnet);
    let net = subnet.fold();
    nat_export::write_safetensors(&folder.join("net.safetensors"), &net, &info).unwrap();
    nat_export::write_onnx(&folder.join("net.onnx"), &net, &info).unwrap();
}

/// Pictures of 8 x 8 pixels at these paths, no two of them alike.
fn write_pictures(folder: &Path, paths: &[&str]) {
    let (side, pixels) = (8, 8 * 8 * 3);
    let words: [u32; 13] = [
        54 + pixels,
        0,
        54,
        40,
        side,
        side,
        1 | (24 << 16),
        0,
        pixels,
        0,
        0,
        0,
        0,
    ];
    for (path, shade) in paths.iter().zip(0u8..) {
        let mut bitmap = b"BM".to_vec();
        bitmap.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bitmap.extend((0..pixels).map(|at| shade.wrapping_mul(31) ^ at as u8));
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bitmap).unwrap();
    }
}

#[test]
fn a_front_is_answered_where_its_page_cannot_be_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    write_run(&run);
    let page = run.join("report.html");
    fs::write(&page, "old").unwrap();
    let front = ["front", text(&run), "--test", "--json"];
    let answered = |stdout: &str| {
        let lines: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let errors: Vec<f64> = (lines.iter())
            .map(|line| line["test_error"].as_f64().unwrap())
            .collect();
        assert_eq!(errors, [21.0, 41.0]);
    };
    fs::write(run.join("events.jsonl"), "nonsense\n").unwrap();
    let (stdout, stderr) = succeeds(&front);
    answered(&stdout);
    let warning = stderr.lines().last().unwrap();
    assert!(warning.starts_with("nat: warning: "), "{stderr}");
    assert!(warning.contains("events.jsonl: line 1"), "{stderr}");
    assert_eq!(fs::read_to_string(&page).unwrap(), "old");

    fs::write(run.join("events.jsonl"), "").unwrap();
    let (stdout, stderr) = succeeds(&front);
    answered(&stdout);
    assert_eq!(stderr, "");
    assert!(fs::read_to_string(&page).unwrap().contains("<html"));
}

#[test]
fn a_damaged_file_of_a_run_is_bad_data() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    write_run(&run);
    let (front, report) = (["front", text(&run)], ["report", text(&run)]);
    let test = ["front", text(&run), "--test"];
    let record = fs::read_to_string(run.join("run.toml")).unwrap();
    let senseless = record.replacen("crop_ratio = 1.0", "crop_ratio = 2.0", 1);
    assert_ne!(senseless, record);
    let state = fs::read_to_string(run.join("generation-000/state.json")).unwrap();
    let genes = Space::builtin("tiny").unwrap().smallest().to_string();
    for (file, content, command) in [
        ("run.toml", "format = ", &front[..]),
        ("run.toml", "format = 99\n", &front),
        ("run.toml", &senseless, &front),
        ("generation-000/state.json", "{", &front),
        (
            "generation-000/state.json",
            &state.replace(&genes, "9,9"),
            &front,
        ),
        ("test.jsonl", "nonsense\n", &test),
        ("archive.jsonl", "nonsense\n", &report),
        ("archive.jsonl", "\u{0}\n", &report),
    ] {
        let path = run.join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let named = if content.contains("9,9") {
            "saved state"
        } else {
            file
        };
        refused(command, 3, &[named]);
        fs::write(&path, whole).unwrap();
        succeeds(command);
    }
    let binary = run.join("archive.jsonl");
    let whole = fs::read(&binary).unwrap();
    fs::write(&binary, [0xFF, 0xFE, b'\n']).unwrap();
    refused(&report, 3, &["archive.jsonl"]);
    fs::write(&binary, whole).unwrap();
    let model = folder.path().join("net.onnx");
    let export = ["export", text(&run), "--genes", "max", "--to", text(&model)];
    refused(&export, 3, &["supernet.safetensors", "cannot be read"]);
    fs::remove_file(run.join("generation-000/state.json")).unwrap();
    refused(&front, 3, &["state.json"]);
}

#[test]
fn a_run_that_is_not_there_and_a_page_that_cannot_be_are_wrong_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (run, lost) = (path("run"), path("lost"));
    write_run(&run);
    for command in ["front", "report", "resume", "serve"] {
        refused(
            &[command, text(&lost)],
            2,
            &["lost: no such file or folder"],
        );
        let file = run.join("run.toml");
        refused(&[command, text(&file)], 2, &["is a file"]);
    }
    let page = lost.join("page.html");
    let report = ["report", text(&run), "--out"];
    let nowhere = [&report[..], &[text(&page)]].concat();
    refused(&nowhere, 2, &["--out", "there is no folder"]);
    let in_place = [&report[..], &[text(&run)]].concat();
    refused(&in_place, 2, &["--out", "is a folder"]);
}

#[test]
fn costs_are_counted_with_the_classes_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    write_run(&run);
    let count = |space: &str, more: &[&str]| {
        let args = ["space", "count", space, "--genes", "max"];
        succeeds(&[&args[..], more].concat()).0
    };
    let of_run = count(text(&run), &[]);
    assert!(of_run.contains("classes     3\n"), "{of_run}");
    assert_eq!(of_run, count("tiny", &["--classes", "3"]));
    let seven = count(text(&run), &["--classes", "7"]);
    assert!(seven.contains("classes     7\n"), "{seven}");
    let published = count("tiny", &[]);
    assert!(published.contains("classes     1000\n"), "{published}");
}

#[test]
fn an_exported_model_is_measured_on_any_folders_of_its_classes() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let model = folder.path().join("net.safetensors");
    let eval = |set: &Path, split: &str| -> Vec<String> {
        let args = ["eval", text(&model), "--data", text(set), "--split", split];
        args.map(String::from).to_vec()
    };
    let images = |set: &Path, split: &str| {
        let mut args = eval(set, split);
        args.push("--json".into());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (stdout, stderr) = succeeds(&args);
        assert!(!stderr.contains("training images"), "{stderr}");
        let line: Value = serde_json::from_str(&stdout).unwrap();
        line["images"].as_u64().unwrap()
    };
    let refused = |set: &Path, split: &str, parts: &[&str]| {
        let args = eval(set, split);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        refused(&args, 3, parts);
    };
    let set = |name: &str, paths: &[&str]| {
        let set = folder.path().join(name);
        write_pictures(&set, paths);
        set
    };
    let one = set("one", &["bee/0.bmp", "bee/1.bmp"]);
    assert_eq!(images(&one, "all"), 2);
    refused(&one, "test", &["no images in test/", "--split all"]);

    let few = set("few", &["ant/0.bmp", "cow/1.bmp", "cow/2.bmp"]);
    assert_eq!(images(&few, "all"), 3);
    refused(&few, "test", &["no images in test/", "--split all"]);

    let tested = set("tested", &["test/ant/0.bmp", "test/cow/1.bmp"]);
    assert_eq!(images(&tested, "test"), 2);
    assert_eq!(images(&tested, "all"), 2);
    refused(&tested, "val", &["no images in val/"]);

    let unknown = set("unknown", &["ant/0.bmp", "dog/1.bmp"]);
    refused(&unknown, "all", &["does not know the class 'dog'"]);
}

#[test]
fn the_time_of_a_model_says_what_it_was_taken_with() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path());
    let own = concat!("nat ", env!("CARGO_PKG_VERSION"));
    for (file, runtime) in [("net.safetensors", own), ("net.onnx", "RTen")] {
        let model = folder.path().join(file);
        let measure = ["latency", "measure", text(&model), "--threads", "1"];
        let measure = [&measure[..], &["--repeats", "1"]].concat();
        let (line, _) = succeeds(&[&measure[..], &["--json"]].concat());
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["runtime"], runtime);
        assert_eq!(line["threads"], 1);
        let device = line["device"].as_str().unwrap();
        let (told, _) = succeeds(&measure);
        let end = format!("; {runtime} on {device}, 1 thread\n");
        assert!(told.ends_with(&end), "{told}");
    }
}

#[test]
fn a_set_of_few_images_is_told_to_machines_too() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("photos");
    let paths = [
        "a/0.bmp", "a/1.bmp", "a/2.bmp", "b/3.bmp", "b/4.bmp", "b/5.bmp",
    ];
    write_pictures(&set, &paths);
    let (census, _) = succeeds(&["data", text(&set), "--json"]);
    let census: Value = serde_json::from_str(&census).unwrap();
    let warnings = census["warnings"].as_array().unwrap();
    let reason = warnings[0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("fewer than 10 training images"),
        "{census}"
    );
    let (_, told) = succeeds(&["data", text(&set)]);
    assert!(told.contains(reason), "{told}");
}

#[test]
fn the_printed_settings_of_a_preset_are_that_preset() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    for preset in Preset::NAMES {
        let (printed, _) = succeeds(&["settings", "--preset", preset]);
        fs::write(&file, &printed).unwrap();
        let (again, _) = succeeds(&["settings", "--config", text(&file)]);
        assert_eq!(again, printed, "{preset}");
    }
}
