//! Searches on published tables, and tables of this machine, from the command line.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nat_space::{LatencyTable, Space};
use serde_json::Value;

fn nat(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
    command.args(args).output().unwrap()
}

fn succeeds(args: &[&str]) -> String {
    let output = nat(args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {message}");
    String::from_utf8(output.stdout).unwrap()
}

/// The published tables, or nothing (after saying so) where they are absent.
fn published() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ofa_bench");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {}", path.display());
    None
}

#[test]
fn strategies_side_by_side() {
    let Some(data) = published() else { return };
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("search.svg");
    let args = [
        "bench",
        "search",
        "--data",
        data.to_str().unwrap(),
        "--strategies",
        "nat,random:140",
        "--evaluations",
        "120,140",
        "--seeds",
        "2",
        "--objectives",
        "error,latency",
        "--objectives",
        "error,latency,latency:i7-8700k,madds,memory",
        "--under",
        "latency<=25ms",
    ];
    let json = [&args[..], &["--json", "--plot", plot.to_str().unwrap()]].concat();
    let text = succeeds(&json);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2 * 2 * 2 * 2);
    for line in &lines {
        let volume = line["hypervolume"].as_f64().unwrap();
        assert!(volume > 0.0 && volume < 2.0, "{line}");
        let error = line["best_error"]["latency:note10<=25ms"].as_f64().unwrap();
        assert!(error > 15.0 && error < 25.0, "{line}");
        assert!(line["seed"].is_u64() && line["evaluations"].is_u64());
    }
    let of = |name: &str| lines.iter().filter(|line| line["strategy"] == name).count();
    assert_eq!((of("nat"), of("random")), (8, 8));
    assert_eq!(
        fs::read_to_string(&plot)
            .unwrap()
            .matches("<polyline")
            .count(),
        4
    );
    assert_eq!(succeeds(&json), text, "the same seeds give the same lines");
    let csv = succeeds(&[&args[..], &["--csv"]].concat());
    assert!(csv.starts_with("strategy,objectives,evaluations,seed,hypervolume,best error"));
    let summary = succeeds(&args);
    assert!(
        summary.contains("networks to a hypervolume of"),
        "{summary}"
    );

    for (bad, code, part) in [
        (["--strategies", "grid"], 2, "'grid'"),
        (["--strategies", "nat:many"], 2, "'many'"),
        (
            ["--objectives", "error,latency:watch"],
            3,
            "latency_watch.json",
        ),
        (["--under", "latency:watch<=3"], 2, "latency:watch"),
    ] {
        let output = nat(&[
            "bench",
            "search",
            "--data",
            data.to_str().unwrap(),
            bad[0],
            bad[1],
        ]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_table_of_this_machine_in_either_runtime() {
    let folder = tempfile::tempdir().unwrap();
    for (runtime, name) in [("nat", "nat "), ("rten", "RTen")] {
        let file = folder.path().join(format!("{runtime}.json"));
        let line = succeeds(&[
            "latency",
            "build",
            "--space",
            "tiny",
            "--out",
            file.to_str().unwrap(),
            "--runtime",
            runtime,
            "--resolutions",
            "3",
            "--repeats",
            "3",
            "--check",
            "10",
            "--json",
        ]);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["resolutions"], serde_json::json!([16, 40, 64]));
        assert!(line["spearman"].as_f64().is_some());
        assert!(line["runtime"].as_str().unwrap().starts_with(name));
        assert!(line["device"].is_string() && line["threads"] == 1);
        let table = LatencyTable::open(&file).unwrap();
        let space = Space::builtin("tiny").unwrap();
        table.covers(&space, 7).unwrap();
        assert_eq!(table.device.threads, 1);
        assert!(table.device.runtime.starts_with(name));
        let ms = |genotype| {
            let network = space.network(&space.architecture(&genotype), 1000);
            table.network_ms(&network).unwrap()
        };
        let (small, large) = (ms(space.smallest()), ms(space.largest()));
        assert!(small > 0.0 && large > small, "{small} and {large} ms");
    }
}
