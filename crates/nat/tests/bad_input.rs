//! Every mistake ends in one clear line and the right exit code, and leaves nothing half-written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nat_space::Space;
use nat_supernet::{Provenance, Supernet, SupernetFile};

fn nat(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(args)
        .output()
        .unwrap()
}

/// Asserts exit code and message; the last line of stderr must be the only error and name `parts`.
fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let output = nat(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    let message = stderr.lines().last().unwrap_or_default();
    assert!(message.starts_with("nat: "), "{args:?}: {stderr}");
    for part in parts {
        assert!(message.contains(part), "{args:?} lacks '{part}': {message}");
    }
}

/// Where messages cannot be written the exit code tells what they would have.
#[cfg(target_os = "linux")]
#[test]
fn a_full_stderr_ends_nothing() {
    let full = fs::File::create("/dev/full").unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(["space", "show", "nowhere"])
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

fn hostile(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../nat-data/tests/hostile")
        .join(name)
        .display()
        .to_string()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[test]
fn spaces_and_genes() {
    refused(
        &["space", "show", "nonsense"],
        2,
        &["nonsense", "ofa-mbv3-w1.0", "tiny"],
    );
    refused(&["space", "count", "nat", "--genes", "1,2,3"], 2, &["22"]);
    let out_of_range = format!("99,0{}", ",1".repeat(20));
    refused(
        &["space", "count", "nat", "--genes", &out_of_range],
        2,
        &["99", "16"],
    );
    refused(&["space", "count", "nat", "--genes", "a,b"], 2, &["a"]);
    refused(
        &["space", "count", "nat", "--genes", "mx"],
        2,
        &["'mx'", "comma-separated", "'min', 'mid', 'max' or a file"],
    );
    let folder = Folder::new();
    fs::write(folder.path("my.toml"), "name = \"x\"\nwidth = 3\n").unwrap();
    refused(&["space", "show", &folder.text("my.toml")], 2, &["my.toml"]);
}

#[test]
fn numbers_have_bounds() {
    for args in [
        &["latency", "measure", "net.onnx", "--threads", "100000"][..],
        &[
            "latency",
            "build",
            "--space",
            "tiny",
            "--out",
            "t.json",
            "--threads",
            "60000",
        ],
        &["bench", "eval", "--space", "tiny", "--threads", "100000"],
        &["space", "sample", "lite0", "-n", "100000000000"],
        &[
            "space",
            "count",
            "tiny",
            "--genes",
            "min",
            "--classes",
            "18446744073709551615",
        ],
        &["space", "count", "tiny", "--genes", "min", "--classes", "0"],
    ] {
        let output = nat(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(" is not in "), "{args:?}: {stderr}");
    }
}

#[test]
fn arguments_of_a_search() {
    let folder = Folder::new();
    let out = folder.text("run");
    let search = |more: &[&str]| {
        let mut args = vec!["search", "--data", "builtin:climate-tiles", "--out", &out];
        args.extend(more);
        args.iter()
            .map(|arg| arg.to_string())
            .collect::<Vec<String>>()
    };
    let check = |more: &[&str], code: i32, parts: &[&str]| {
        let args = search(more);
        refused(
            &args.iter().map(String::as_str).collect::<Vec<_>>(),
            code,
            parts,
        );
        assert!(
            !folder.path("run").exists(),
            "{more:?} left a folder behind"
        );
    };
    check(
        &["--supernet", "scratch", "--objectives", "error,energy"],
        2,
        &["'energy'", "error, madds, params"],
    );
    let nothing = folder.text("nothing.json");
    let missing = format!("error,latency:{nothing}");
    check(
        &["--supernet", "scratch", "--objectives", &missing],
        2,
        &["nothing.json: no such file", "a latency table"],
    );
    check(
        &["--supernet", "scratch", "--objectives", "error,latency"],
        2,
        &["latency:FILE"],
    );
    fs::write(
        folder.path("phone.json"),
        nat_space::LatencyTable::new(Default::default(), []).to_json(),
    )
    .unwrap();
    let other = format!("error,latency:{}", folder.text("phone.json"));
    check(
        &["--supernet", "scratch", "--objectives", &other],
        3,
        &["'phone'", "the space 'tiny'", "nat latency build"],
    );
    fs::write(folder.path("wrong.json"), "{\"a\":1}").unwrap();
    let wrong = format!("error,latency:{}", folder.text("wrong.json"));
    check(
        &["--supernet", "scratch", "--objectives", &wrong],
        3,
        &["wrong.json", "expected a latency table"],
    );
    let twice = format!("error,latency:{},latency", folder.text("phone.json"));
    check(
        &["--supernet", "scratch", "--objectives", &twice],
        2,
        &["objectives must name 'latency:phone' once"],
    );
    check(
        &["--supernet", "scratch", "--prefer", "madds=1e308K"],
        2,
        &["'madds=1e308K' is not of the form"],
    );
    check(
        &[
            "--supernet",
            "scratch",
            "--objectives",
            "error,command:energy",
        ],
        2,
        &["no command for 'command:energy'"],
    );
    check(
        &["--supernet", "scratch", "--limit", "madds<=1K"],
        2,
        &["no network of the space meets madds<=1K"],
    );
    check(
        &["--supernet", "scratch", "--seed", "9223372036854775808"],
        2,
        &["seed"],
    );
    check(
        &[
            "--supernet",
            "scratch",
            "--set",
            "upkeep.loader_threads=100000",
        ],
        2,
        &["upkeep.loader_threads", "at most"],
    );
    check(
        &["--supernet", "scratch", "--set", "search.iterations=-1"],
        2,
        &["search.iterations: "],
    );
    for (command, part) in [
        ("./meter.sh", "NAME=PROGRAM"),
        ("a b=./meter.sh", "letters"),
        ("energy=./no-such-meter.sh {genes}", "'./no-such-meter.sh'"),
        ("energy=echo 'open", "quote"),
        (
            "energy=true {model} {mdel}",
            "unknown placeholder {mdel}; there are {model}, {genes}, {resolution}, {madds}",
        ),
    ] {
        let asked = ["--objectives", "error,command:energy"];
        let given = ["--supernet", "scratch", "--command", command];
        check(&[&given[..], &asked].concat(), 2, &[part]);
    }
    for (arguments, parts) in [
        (
            ["--command", "energy=true"],
            ["--command energy", "'command:energy' is neither"],
        ),
        (
            ["--objectives", "madds,params"],
            ["there is none of error", "balanced_error"],
        ),
        (
            ["--prefer", "madds=0"],
            ["--prefer madds=0", "'madds' is above 0"],
        ),
        (
            ["--prefer", "madds=20M, error=-1%"],
            ["--prefer error=-1", "'error' is 0 or more"],
        ),
        (
            ["--limit", "error<=5ms"],
            ["'error<=5ms'", "unit of something else"],
        ),
        (
            ["--limit", "madds<=15ms"],
            ["'madds<=15ms'", "unit of something else"],
        ),
    ] {
        let given = ["--supernet", "scratch"];
        check(&[&given[..], &arguments].concat(), 2, &parts);
    }
    check(
        &["--supernet", "lite0", "--space", "tiny"],
        2,
        &["of the space 'lite0', not of 'tiny'"],
    );
    check(
        &["--supernet", "mobilenet-v2:missing.pth"],
        2,
        &["missing.pth: no such file"],
    );
    check(
        &[
            "--supernet",
            "scratch",
            "--data",
            "tiles=builtin:climate-tiles",
        ],
        2,
        &["--data builtin:climate-tiles", "needs a name"],
    );
    check(
        &["--supernet", "scratch", "--objectives", "error:trash,madds"],
        2,
        &["no data set for 'error:trash'"],
    );
    check(
        &["--supernet", "scratch", "--limit", "madds"],
        2,
        &["'madds'", "no comparison"],
    );
    check(
        &["--supernet", "scratch", "--set", "search.predictor=oracle"],
        2,
        &["oracle", "rbf-ensemble"],
    );
    check(
        &["--supernet", "scratch", "--space", "nonsense"],
        2,
        &["nonsense"],
    );
    check(
        &["--supernet", "scratch", "--preset", "fast"],
        2,
        &["'fast'", "quick"],
    );
    check(
        &["--supernet", "scratch", "--set", "search.initail=3"],
        2,
        &["search.initail"],
    );
    check(
        &["--supernet", "scratch", "--set", "search.initial=0"],
        2,
        &["search.initial", "lie in 4"],
    );
    check(
        &["--supernet", "missing.safetensors"],
        2,
        &["missing.safetensors", "scratch"],
    );
    fs::write(folder.path("cut.safetensors"), b"\x10\0\0\0\0\0\0\0{\"a\":").unwrap();
    check(
        &["--supernet", &folder.text("cut.safetensors")],
        3,
        &["cut.safetensors"],
    );
}

#[test]
fn several_data_sets_of_a_search() {
    let folder = Folder::new();
    let out = folder.text("run");
    let tiles = |name: &str| format!("{name}=builtin:climate-tiles");
    let (a, b) = (tiles("a"), tiles("b"));
    let search = |sets: [&str; 2], objectives: &str, parts: &[&str]| {
        let mut args = vec!["search", "--supernet", "scratch", "--out", &out];
        args.extend(["--data", sets[0], "--data", sets[1]]);
        args.extend(["--objectives", objectives]);
        refused(&args, 2, parts);
        assert!(!folder.path("run").exists());
    };
    search([&a, &a], "error,madds", &["two data sets are called 'a'"]);
    search(
        [&a, &b],
        "error:c,madds",
        &["'error:c'", "error:a, error:b"],
    );
}

#[test]
fn folders_that_hold_something_else() {
    let folder = Folder::new();
    fs::create_dir(folder.path("full")).unwrap();
    fs::write(folder.path("full/precious.txt"), "x").unwrap();
    let full = folder.text("full");
    let args = [
        "search",
        "--data",
        "builtin:climate-tiles",
        "--supernet",
        "scratch",
        "--out",
        &full,
    ];
    refused(&args, 2, &["not empty"]);
    assert_eq!(fs::read_dir(folder.path("full")).unwrap().count(), 1);
    refused(&["resume", &full], 2, &["no run"]);
    refused(&["front", &full], 2, &["no run"]);
    fs::create_dir(folder.path("old")).unwrap();
    fs::write(folder.path("old/run.toml"), "format = 0\n").unwrap();
    refused(
        &["resume", &folder.text("old")],
        3,
        &["run.toml", "format 0"],
    );
    let file = folder.text("full/precious.txt");
    for out in [file.clone(), folder.text("full/precious.txt/run")] {
        let mut args = args;
        args[6] = &out;
        refused(&args, 2, &["--out", "precious.txt is a file"]);
    }
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let cost = experiments.join("cost.toml").display().to_string();
    refused(
        &["experiment", &cost, "--out", &file],
        2,
        &["--out", "precious.txt is a file"],
    );
}

#[test]
fn data_sets() {
    for (set, parts) in [
        ("sets/one-class.tar", vec!["one-class.tar", "circle"]),
        ("sets/no-images.tar", vec!["no images"]),
        ("sets/cut-short.tar", vec!["cut-short.tar", "ends early"]),
        (
            "sets/cut-short.tar.gz",
            vec!["cut-short.tar.gz", "ends early"],
        ),
        ("sets/not-a-tar.tar", vec!["not-a-tar.tar"]),
        ("sets/test-class-not-in-train.tar", vec!["triangle"]),
    ] {
        refused(&["data", &hostile(set)], 3, &parts);
    }
    refused(
        &["data", &hostile("sets/missing.tar")],
        2,
        &["missing.tar: no such file", "builtin:climate-tiles"],
    );
    let good = nat(&["data", &hostile("sets/mixed-files.tar"), "--json"]);
    assert!(good.status.success());
    let census: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert!(census["skipped"].as_u64().unwrap() >= 4, "{census}");
}

#[test]
fn models_and_checkpoints() {
    let folder = Folder::new();
    fs::write(folder.path("text.onnx"), "not a model").unwrap();
    let model = folder.text("text.onnx");
    refused(
        &["eval", &model, "--data", "builtin:climate-tiles"],
        3,
        &["text.onnx"],
    );
    refused(&["predict", &model, "photo.jpg"], 3, &["text.onnx"]);
    refused(
        &["eval", "lite0", "--genes", "min"],
        2,
        &["--data is missing"],
    );
    refused(
        &[
            "export",
            &folder.text("lost"),
            "--genes",
            "min",
            "--to",
            &folder.text("m.onnx"),
        ],
        2,
        &["lost: no such file"],
    );
    refused(
        &[
            "eval",
            &folder.text("nope"),
            "--data",
            "builtin:climate-tiles",
        ],
        2,
        &[
            "nope: no such file",
            "exported model",
            "folder of a run",
            "supernet file",
            "'lite0'",
            "mobilenet-v2:FILE",
        ],
    );
    let lost = folder.text("none/net.safetensors");
    let pretrain = [
        "pretrain",
        "--data",
        "builtin:climate-tiles",
        "--space",
        "tiny",
    ];
    refused(
        &[&pretrain[..], &["--out", &lost]].concat(),
        2,
        &["--out", "there is no folder"],
    );
    fs::write(folder.path("text.pth"), "not a checkpoint").unwrap();
    let (file, out) = (folder.text("text.pth"), folder.text("out.safetensors"));
    let nowhere = folder.text("nowhere.pth");
    for form in ["ofa", "lite0", "mobilenet-v2"] {
        refused(
            &["import", form, &nowhere, "--out", &out],
            2,
            &["nowhere.pth: no such file"],
        );
    }
    refused(
        &["import", "net-config", &nowhere],
        2,
        &["nowhere.pth: no such file"],
    );
    refused(&["import", "ofa", &file, "--out", &out], 3, &["text.pth"]);
    assert!(!folder.path("out.safetensors").exists());
    refused(
        &["import", "ofa", &file, "--out", &lost],
        2,
        &["--out", "there is no folder"],
    );
    let onnx = folder.text("out.onnx");
    for work in [&["import", "lite0", &file][..], &pretrain] {
        refused(
            &[work, &["--out", &onnx]].concat(),
            2,
            &["out.onnx", "must be .safetensors"],
        );
    }
    refused(
        &[
            "import",
            "net-config",
            &file,
            "--weights",
            &file,
            "--out",
            &lost,
        ],
        2,
        &["--out", "there is no folder"],
    );
    refused(
        &["export", &model, "--genes", "min", "--to", "x.tflite"],
        2,
        &[".onnx or .safetensors"],
    );
}

/// Writes an untrained supernet of `tiny` as `supernet.safetensors`, and its smallest network as `net.safetensors` and `net.onnx`.
fn write_models(folder: &Folder) {
    let space = Space::builtin("tiny").unwrap();
    let genes = space.smallest();
    let supernet = Supernet::new(&space, 0, 3, 7);
    let subnet = supernet.extract(&space.architecture(&genes));
    let provenance = Provenance {
        class_names: ["a", "b", "c"].map(String::from).to_vec(),
        mean: [0.5; 3],
        std: [0.25; 3],
        filter: "bicubic".into(),
    };
    let info = nat_transfer::model_info(&space, &provenance, 0.875, &genes, &subnet);
    let net = subnet.fold();
    nat_export::write_safetensors(&folder.path("net.safetensors"), &net, &info).unwrap();
    nat_export::write_onnx(&folder.path("net.onnx"), &net, &info).unwrap();
    let file = SupernetFile {
        supernets: vec![supernet],
        provenance,
    };
    file.save(&folder.path("supernet.safetensors")).unwrap();
}

#[test]
fn an_exported_model_is_not_called_a_bad_supernet() {
    let folder = Folder::new();
    write_models(&folder);
    let to = folder.text("to.safetensors");
    let read = |file: &str, code: i32, parts: &[&str]| {
        let file = folder.text(file);
        refused(
            &["eval", &file, "--data", "builtin:climate-tiles"],
            code,
            parts,
        );
        refused(&["export", &file, "--to", &to], code, parts);
        refused(&["predict", &file, "photo.jpg"], code, parts);
        refused(&["latency", "measure", &file], code, parts);
    };
    let whole = fs::read(folder.path("net.safetensors")).unwrap();
    fs::write(folder.path("cut.safetensors"), &whole[..whole.len() / 2]).unwrap();
    read(
        "cut.safetensors",
        3,
        &["cut.safetensors: truncated or damaged"],
    );
    for form in ["safetensors", "onnx"] {
        let mut bytes = fs::read(folder.path(&format!("net.{form}"))).unwrap();
        let format = b"nat-model-1";
        let mut places = bytes.windows(format.len());
        let place = places.position(|part| part == format).unwrap();
        bytes[place + format.len() - 1] = b'9';
        let newer = format!("newer.{form}");
        fs::write(folder.path(&newer), bytes).unwrap();
        read(&newer, 3, &[&newer, "`nat-model-1`, found `nat-model-9`"]);
    }
    refused(
        &["export", &folder.text("net.onnx"), "--to", &to],
        2,
        &["net.onnx", "give the .safetensors file"],
    );
    assert!(!folder.path("to.safetensors").exists());
}

#[test]
fn what_is_no_single_network_is_told_how_to_become_one() {
    let folder = Folder::new();
    write_models(&folder);
    let (supernet, to) = (folder.text("supernet.safetensors"), folder.text("to.onnx"));
    let pictures = folder.text("");
    fs::create_dir(folder.path("run")).unwrap();
    fs::write(folder.path("run/run.toml"), "").unwrap();
    let run = folder.text("run");
    for (model, code, parts) in [
        (&supernet[..], 2, ["this is a supernet", "`nat export"]),
        ("lite0", 2, ["this is a supernet", "`nat export lite0"]),
        (&run, 2, ["is a folder", "exported first"]),
        (&pictures, 2, ["is a folder", "give an exported model"]),
        (
            "lost.onnx",
            2,
            ["lost.onnx: no such file", "exported model"],
        ),
    ] {
        refused(&["predict", model, "photo.jpg"], code, &parts);
        refused(&["latency", "measure", model], code, &parts);
    }
    let export = ["export", &supernet, "--to", &to];
    refused(&export, 2, &["give --genes"]);
    refused(
        &[&export[..], &["--genes", "mx"]].concat(),
        2,
        &["'mx'", "'min', 'mid', 'max' or a file"],
    );
    refused(&[&export[..], &["--genes", "max"]].concat(), 2, &["--data"]);
}

#[test]
fn benchmarks_are_refused_before_their_work() {
    let folder = Folder::new();
    let (data, lost) = (folder.text(""), folder.text("none/plot.svg"));
    let search = ["bench", "search", "--data", &data];
    refused(
        &[&search[..], &["--evaluations", "120,0"]].concat(),
        2,
        &["--evaluations must be above 0"],
    );
    refused(
        &[&search[..], &["--strategies", "nat:0"]].concat(),
        2,
        &["'0' is no number of networks"],
    );
    let region = ["--prefer", "latency=25ms", "--set", "algorithm=nsga2"];
    refused(
        &[&search[..], &region].concat(),
        2,
        &["--prefer", "must be nsga3"],
    );
    let nowhere = folder.text("nowhere");
    refused(
        &["bench", "search", "--data", &nowhere],
        2,
        &["nowhere: no such file or folder"],
    );
    for work in [
        &search[..],
        &["bench", "growth"],
        &["bench", "generation", &nowhere],
    ] {
        refused(
            &[work, &["--plot", &lost]].concat(),
            2,
            &["--plot", "there is no folder"],
        );
    }
}
