//! The way of a user through the commands, on the built-in images and in miniature.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

const SETTINGS: [&str; 15] = [
    "warm_up.max_steps=2",
    "pretrain.max_steps=4",
    "pretrain.batch=16",
    "pretrain.warmup=0.5",
    "pretrain.learning_rate=0.02",
    "search.initial=8",
    "search.iterations=1",
    "search.closing=1",
    "search.archive=10",
    "search.ensemble=20",
    "search.population=12",
    "search.generations=5",
    "adapt.max_steps=2",
    "evaluate.images=60",
    "evaluate.calibration_images=64",
];

fn nat(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(args)
        .output()
        .unwrap()
}

fn succeeds(args: &[&str]) -> String {
    let output = nat(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn with_settings<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let settings = SETTINGS
        .iter()
        .chain(more)
        .flat_map(|setting| ["--set", setting]);
    args.iter().copied().chain(settings).collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The multiply-adds of every network of the last archive, by genotype.
fn last_archive(run: &Path) -> BTreeMap<String, u64> {
    let archive = lines(&fs::read_to_string(run.join("archive.jsonl")).unwrap());
    let last = archive.last().unwrap()["generation"].clone();
    let members = archive.iter().filter(|line| line["generation"] == last);
    members
        .map(|line| {
            let genes = line["genes"].as_str().unwrap().to_owned();
            (genes, line["madds"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn from_images_to_a_deployed_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (supernet, run) = (path("supernet.safetensors"), path("run"));
    let tiles = "builtin:climate-tiles";

    let pretrain = [
        "pretrain",
        "--data",
        tiles,
        "--space",
        "tiny",
        "--out",
        text(&supernet),
        "--seed",
        "2",
    ];
    succeeds(&with_settings(&pretrain, &[]));

    let elsewhere = path("elsewhere");
    let other = [
        "search",
        "--data",
        tiles,
        "--supernet",
        text(&supernet),
        "--space",
        "lite0",
    ];
    let other = [&other[..], &["--out", text(&elsewhere)]].concat();
    let refused = nat(&other);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("of the space 'tiny', not of 'lite0'")
    );
    assert!(!elsewhere.exists());

    let search = [
        "search",
        "--data",
        tiles,
        "--supernet",
        text(&supernet),
        "--out",
        text(&run),
    ];
    let search = [&search[..], &["--objectives", "error,madds,params"]].concat();
    let sides = ["from=32", "to=64", "step=16"].map(|bound| format!("resolutions.{bound}"));
    let sides = sides.each_ref().map(String::as_str);
    let table = succeeds(&with_settings(&search, &sides));
    assert!(
        table.contains("report") && table.contains("nat export"),
        "{table}"
    );
    let again = nat(&with_settings(&search, &sides));
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds a run with seed 1"));

    let front = lines(&succeeds(&["front", text(&run), "--json"]));
    let tested = lines(&succeeds(&["front", text(&run), "--test", "--json"]));
    assert!(!front.is_empty());
    assert_eq!(front.len(), tested.len());
    let csv = succeeds(&["front", text(&run), "--csv"]);
    assert_eq!(csv.lines().count(), front.len() + 1);
    assert_eq!(fs::read_to_string(run.join("front.csv")).unwrap(), csv);
    let shown = succeeds(&["front", text(&run)]);
    assert!(
        shown.contains("error %: estimated from 60 images"),
        "{shown}"
    );
    // The largest that may be as good as the best is named where the front has it not.
    let sizes = last_archive(&run);
    let on_front = |genes: &str| front.iter().any(|network| network["genes"] == genes);
    if let Some((_, told)) = shown.split_once("is a larger network:\n") {
        let (genes, _) = told.split_once("  ").unwrap();
        let best = (front.iter()).min_by(|a, b| {
            let [a, b] = [a, b].map(|network| network["error"].as_f64().unwrap());
            a.total_cmp(&b)
        });
        assert!(!on_front(genes), "{shown}");
        assert!(sizes[genes] > best.unwrap()["madds"].as_u64().unwrap());
        let tested = succeeds(&["front", text(&run), "--test"]);
        let (_, told) = tested.split_once(&format!("{genes}  ")).unwrap();
        assert!(told.contains("test error"), "{told}");
    }

    for (choice, part) in [
        (["--where", "latency:phone.json<=15ms"], "'latency:phone'"),
        (["--best", "error:trash"], "'error:trash'"),
        (["--best", "balanced_error"], "no balanced_error"),
    ] {
        let refused = nat(&[&["pick", text(&run)][..], &choice].concat());
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
    let count = |genes: &str| {
        let count = ["space", "count", text(&run), "--genes", genes];
        lines(&succeeds(
            &[&count[..], &["--classes", "7", "--json"]].concat(),
        ))
        .remove(0)
    };
    let first = count(front[0]["genes"].as_str().unwrap());
    assert_eq!(first["madds"], front[0]["madds"]);
    assert_eq!(first["resolution"], front[0]["resolution"]);

    let plot = path("generation.svg");
    let grown = ["bench", "generation", text(&run), "--archives", "9,4"];
    let grown = lines(&succeeds(&[&grown[..], &["--plot", text(&plot)]].concat()));
    let sizes: Vec<_> = grown
        .iter()
        .map(|point| point["archive"].as_u64())
        .collect();
    assert_eq!(sizes, [Some(4), Some(9)]);
    for point in &grown {
        for part in ["adapt", "measure", "search", "limit_share"] {
            assert!(point[part].as_f64().unwrap() > 0.0, "{part} of {point}");
        }
    }
    assert!(fs::read_to_string(plot).unwrap().starts_with("<svg"));

    let cheapest = lines(&succeeds(&[
        "pick",
        text(&run),
        "--best",
        "madds",
        "--json",
    ]))
    .remove(0);
    let least = front
        .iter()
        .map(|network| network["madds"].as_u64().unwrap())
        .min();
    assert_eq!(cheapest["madds"].as_u64(), least);
    let genes = cheapest["genes"].as_str().unwrap();
    assert_eq!(count(genes)["params"], cheapest["params"]);
    // A genotype means the same network, and side, to the run and to its supernet file.
    let (trained, cut) = (
        run.join("generation-002/supernet.safetensors"),
        path("cut.safetensors"),
    );
    for network in &front {
        let genes = network["genes"].as_str().unwrap();
        let export = ["export", text(&trained), "--genes", genes, "--data", tiles];
        succeeds(&[&export[..], &["--to", text(&cut)]].concat());
        let info = nat_export::read_info(&cut).unwrap();
        assert_eq!(Some(info.resolution as u64), network["resolution"].as_u64());
        assert_eq!(Some(info.madds), network["madds"].as_u64());
    }

    let reported = tested
        .iter()
        .find(|network| network["genes"] == genes)
        .unwrap();
    let of_run = ["eval", text(&run), "--genes", genes, "--json"];
    assert_eq!(
        lines(&succeeds(&of_run))[0]["error"],
        reported["test_error"]
    );
    let picture = path("tile.jpg");
    first_tile(&picture);
    let mut answers = Vec::new();
    for form in ["onnx", "safetensors"] {
        let model = path(&format!("model.{form}"));
        succeeds(&["export", text(&run), "--genes", genes, "--to", text(&model)]);
        let score = lines(&succeeds(&[
            "eval",
            text(&model),
            "--data",
            tiles,
            "--json",
        ]))
        .remove(0);
        let (measured, reported) = (
            score["error"].as_f64().unwrap(),
            reported["test_error"].as_f64().unwrap(),
        );
        // One image of 460 that two runtimes see differently would be 0.22 points.
        assert!(
            (measured - reported).abs() < 0.25,
            "{form}: {measured} instead of {reported}"
        );
        let answer = lines(&succeeds(&[
            "predict",
            text(&model),
            text(&picture),
            "--json",
        ]));
        answers.push(answer[0]["classes"][0]["class"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    // The error is that of the run's own images at the network's own side.
    let again = path("again.safetensors");
    let error = |more: &[&str]| {
        let export = ["export", text(&run), "--genes", genes, "--to", text(&again)];
        succeeds(&[&export[..], more].concat());
        nat_export::read_info(&again).unwrap().error
    };
    assert_eq!(error(&[]), cheapest["error"].as_f64());
    assert_eq!(error(&["--data", tiles]), None);
    assert_eq!(error(&["--resolution", "48"]), None);
    // Networks that were never measured have none.
    let archive = fs::read_to_string(run.join("archive.jsonl")).unwrap();
    let sampled = succeeds(&["space", "sample", text(&run), "-n", "50", "--seed", "3"]);
    let unknown = (sampled.lines().map(String::from))
        .find(|genes| !archive.contains(&format!("\"{genes}\"")));
    let unknown = unknown.unwrap();
    succeeds(&[
        "export",
        text(&run),
        "--genes",
        &unknown,
        "--to",
        text(&again),
    ]);
    let info = nat_export::read_info(&again).unwrap();
    assert_eq!((info.genes, info.error), (unknown, None));
    let (model, lost) = (path("model.onnx"), path("lost.jpg"));
    let partly = nat(&["predict", text(&model), text(&lost), text(&picture)]);
    assert_eq!(partly.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&partly.stdout).lines().count(), 1);
    let stderr = String::from_utf8_lossy(&partly.stderr);
    assert!(
        stderr.contains("lost.jpg: ") && stderr.contains("1 of 2 images"),
        "{stderr}"
    );
    let all = [
        "eval",
        text(&model),
        "--data",
        tiles,
        "--split",
        "all",
        "--json",
    ];
    assert_eq!(lines(&succeeds(&all))[0]["images"], 1767 + 299 + 460);

    let from_supernet = path("from-supernet.onnx");
    succeeds(&[
        "export",
        text(&supernet),
        "--genes",
        "min",
        "--resolution",
        "48",
        "--data",
        tiles,
        "--to",
        text(&from_supernet),
    ]);
    let page = path("page.html");
    succeeds(&["report", text(&run), "--out", text(&page)]);
    let html = fs::read_to_string(&page).unwrap();
    assert!(
        front
            .iter()
            .all(|network| html.contains(network["genes"].as_str().unwrap()))
    );
    let mut serving = Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(["serve", text(&run), "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let mut told = BufReader::new(serving.stdout.take().unwrap());
    told.read_line(&mut url).unwrap();
    let address = url.trim().strip_prefix("http://").unwrap();
    let address = address.trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut served = String::new();
    stream.read_to_string(&mut served).unwrap();
    assert!(served.contains(front[0]["genes"].as_str().unwrap()));
    let port = address.rsplit_once(':').unwrap().1;
    let second = nat(&["serve", text(&run), "--port", port]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("--port 0"));
    let interrupt = Command::new("kill")
        .args(["-INT", &serving.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    assert_eq!(serving.wait().unwrap().code(), Some(0));

    // A finished run is answered for, whatever becomes of its page.
    let (tests, page) = (run.join("test.jsonl"), run.join("report.html"));
    let told = fs::read(&tests).unwrap();
    fs::remove_file(&page).unwrap();
    fs::write(&tests, "nonsense\n").unwrap();
    let half = nat(&["resume", text(&run)]);
    assert_eq!(half.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&half.stderr).contains("test.jsonl: line 1"));
    let stdout = String::from_utf8_lossy(&half.stdout);
    assert!(stdout.contains("nat front") && !stdout.contains("report.html"));
    fs::write(&tests, told).unwrap();
    assert!(succeeds(&["resume", text(&run)]).contains("report.html"));
    assert!(page.exists());

    let record = fs::read_to_string(run.join("run.toml")).unwrap();
    let version = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    for (old, new, code, part) in [
        (
            version.as_str(),
            "version = \"0.0.9\"",
            2,
            "started by nat 0.0.9",
        ),
        ("hash = \"", "hash = \"0", 3, "the data set has changed"),
    ] {
        assert!(record.contains(old));
        fs::write(run.join("run.toml"), record.replacen(old, new, 1)).unwrap();
        let refused = nat(&["resume", text(&run)]);
        assert_eq!(refused.status.code(), Some(code));
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains(part),
            "{part}"
        );
        if part.contains("changed") {
            let to = path("other.onnx");
            let refused = nat(&["export", text(&run), "--genes", genes, "--to", text(&to)]);
            assert_eq!(refused.status.code(), Some(3));
            assert!(!to.exists());
        }
    }
}

#[test]
fn one_network_is_fine_tuned_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (supernet, model) = (path("supernet.safetensors"), path("model.onnx"));
    let tiles = "builtin:climate-tiles";
    let pretrain = ["pretrain", "--data", tiles, "--space", "tiny", "--out"];
    let pretrain = [&pretrain[..], &[text(&supernet)]].concat();
    succeeds(&with_settings(&pretrain, &[]));

    let finetune = ["finetune", "--data", tiles, "--model", text(&supernet)];
    let finetune = [&finetune[..], &["--genes", "min", "--resolution", "32"]].concat();
    let finetune = [
        &finetune[..],
        &["--epochs", "3", "--json", "--out", text(&model)],
    ]
    .concat();
    let answer = succeeds(&finetune);
    let line = lines(&answer).pop().unwrap();
    assert_eq!(line["resolution"], 32);
    assert_eq!(line["steps"], 3 * (1767 / 32));
    // The most frequent class alone gives 78.3 %.
    let error = line["test_error"].as_f64().unwrap();
    assert!(error < 70.0, "{answer}");
    let score = ["eval", text(&model), "--data", tiles, "--json"];
    let score = lines(&succeeds(&score)).remove(0);
    // One image of 460 that two runtimes see differently would be 0.22 points.
    assert!(
        (score["error"].as_f64().unwrap() - error).abs() < 0.25,
        "{score}"
    );

    let rate = line["learning_rate"].to_string();
    let again = [&finetune[..], &["--lr", &rate]].concat();
    let same = lines(&succeeds(&again)).pop().unwrap();
    assert_eq!(same["test_error"], line["test_error"]);
    let refused = nat(&[&finetune[..], &["--lr", "fast"]].concat());
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_model_is_tested_on_the_images_that_its_training_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let tar = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets/climate-tiles/climate-tiles-64.tar.gz");
    fs::create_dir(path("photos")).unwrap();
    let classes = ["train/continental", "train/temperate", "train/steppe"];
    let unpacked = Command::new("tar")
        .args(["-xzf", text(&tar), "--strip-components=1", "-C"])
        .arg(path("photos"))
        .args(classes)
        .status()
        .unwrap();
    assert!(unpacked.success());
    let (photos, supernet, model) = (
        path("photos"),
        path("net.safetensors"),
        path("m.safetensors"),
    );
    let pretrain = ["pretrain", "--data", text(&photos), "--space", "tiny"];
    let pretrain = [&pretrain[..], &["--out", text(&supernet)]].concat();
    succeeds(&with_settings(&pretrain, &[]));
    // Splits are drawn here, and have to be the same ones whatever the seed.
    let finetune = ["finetune", "--data", text(&photos), "--seed", "7", "--json"];
    let network = ["--model", text(&supernet), "--genes", "min", "--lr", "0.01"];
    let rest = ["--epochs", "1", "--out", text(&model)];
    let line = succeeds(&[&finetune[..], &network, &rest].concat());
    let line = lines(&line).pop().unwrap();
    let score = ["eval", text(&model), "--data", text(&photos), "--json"];
    let score = lines(&succeeds(&score)).remove(0);
    assert_eq!(score["error"], line["test_error"]);
}

#[test]
fn a_diverging_run_stops_and_keeps_its_last_state() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let tiles = "builtin:climate-tiles";
    let search = ["search", "--data", tiles, "--supernet", "scratch", "--out"];
    let search = [&search[..], &[text(&run)]].concat();
    // As 32-bit numbers the weights overflow in the first step, after which the state is due to be saved.
    let settings = [
        "pretrain.learning_rate=1e39",
        "pretrain.warmup=0",
        "upkeep.save_seconds=0",
    ];
    let started = with_settings(&search, &settings);
    for command in [&started[..], &["resume", text(&run)]] {
        let output = nat(command);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let message = stderr.lines().last().unwrap();
        assert!(message.contains("the loss became") && message.contains("pretrain.learning_rate"));
    }
    assert!(
        run.join("generation-000.part-000000/supernet.safetensors")
            .is_file()
    );
}

fn first_tile(to: &Path) {
    let tar = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets/climate-tiles/climate-tiles-64.tar.gz");
    let listed = Command::new("tar")
        .args(["-xzOf", text(&tar), "test/desert/0000.jpg"])
        .output()
        .unwrap();
    assert!(listed.status.success());
    fs::write(to, listed.stdout).unwrap();
}
