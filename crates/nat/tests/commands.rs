//! Own objectives by external commands: their answers, their faults, and what is left after both.
#![cfg(unix)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const SETTINGS: [&str; 13] = [
    "pretrain.max_steps=2",
    "pretrain.batch=16",
    "search.initial=8",
    "search.iterations=2",
    "search.closing=1",
    "search.archive=10",
    "search.ensemble=20",
    "search.population=12",
    "search.generations=5",
    "adapt.max_steps=2",
    "adapt.batch=16",
    "evaluate.images=40",
    "evaluate.calibration_images=32",
];

/// A meter whose value is the sum of the genes. It takes note of every call, wants the model to be there, and obeys files in
/// its folder: `broken` makes it fail, `stuck` makes it hang.
const METER: &str = r#"#!/bin/sh
echo "$2" >> calls
test -s "$1" || { echo "no model" >&2; exit 9; }
test -e broken && test "$(wc -l < calls)" -gt 5 && { echo "the meter is off" >&2; exit 7; }
test -e stuck && test "$(wc -l < calls)" -gt 5 && { echo $$ > hangs; sleep 100; }
echo "measuring"
echo "$2" | tr ',' '\n' | awk '{ sum += $1 } END { print sum + 1 }'
"#;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        fs::write(bench.path("meter.sh"), METER).unwrap();
        let mut executable = Command::new("chmod");
        executable.arg("+x").arg(bench.path("meter.sh"));
        assert!(executable.status().unwrap().success());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn search(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
        command
            .args([
                "search",
                "--data",
                "builtin:climate-tiles",
                "--supernet",
                "scratch",
            ])
            .args(["--space", "tiny", "--seed", "3", "--out", "run"])
            .args(["--objectives", "error,madds,command:energy"])
            .args(["--limit", "command:energy<=24"])
            .args(["--command", "energy=./meter.sh {model} {genes}"])
            .current_dir(self.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for setting in SETTINGS.iter().chain(more) {
            command.args(["--set", setting]);
        }
        command
    }

    /// Resumes from another folder than the run was started in.
    fn resume(&self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nat"));
        command
            .arg("resume")
            .arg(self.path("run"))
            .output()
            .unwrap()
    }

    fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for line in fs::read_to_string(self.path("calls")).unwrap().lines() {
            *calls.entry(line.to_owned()).or_default() += 1;
        }
        calls
    }

    /// Archive, front and last state.
    fn result(&self) -> Vec<Vec<u8>> {
        ["archive.jsonl", "front.csv", "generation-003/state.json"]
            .map(|name| fs::read(self.path("run").join(name)).unwrap())
            .into()
    }
}

fn last_line(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    stderr.lines().last().unwrap_or_default().to_owned()
}

/// Waits until the meter hangs; returns its process group.
fn wait_for_hanging(bench: &Bench, child: &mut Child) -> String {
    let begun = Instant::now();
    let group = || fs::read_to_string(bench.path("hangs")).unwrap_or_default();
    while !group().ends_with('\n') {
        assert!(child.try_wait().unwrap().is_none(), "the run is over");
        assert!(
            begun.elapsed() < Duration::from_secs(200),
            "nothing happens"
        );
        sleep(Duration::from_millis(5));
    }
    group().trim().to_owned()
}

/// Sends a signal to a process, or to a group behind a minus sign; returns whether there is one.
fn signal(signal: &str, to: &str) -> bool {
    let mut kill = Command::new("kill");
    let kill = kill.args([signal, "--", to]).stderr(Stdio::null());
    kill.status().unwrap().success()
}

/// Whether the leader of the meter's group is there.
fn is_alive(meter: &str) -> bool {
    signal("-0", meter)
}

#[test]
fn a_command_that_does_not_work_is_found_out_before_the_training() {
    let bench = Bench::new();
    fs::write(bench.path("meter.sh"), "#!/bin/sh\necho watts\n").unwrap();
    let output = bench
        .search(&["pretrain.max_steps=1000000"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = last_line(&output);
    assert!(
        line.contains("'energy'") && line.contains("'watts'"),
        "{line}"
    );
}

#[test]
fn an_interrupted_training_says_that_nothing_is_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nat"))
        .args([
            "pretrain",
            "--data",
            "builtin:climate-tiles",
            "--space",
            "tiny",
        ])
        .args(["--set", "pretrain.epochs=10000", "--out", "net.safetensors"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut lines = String::new();
    // The first pass over the images is told.
    stderr.read_line(&mut lines).unwrap();
    assert!(signal("-INT", &child.id().to_string()));
    stderr.read_to_string(&mut lines).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{lines}");
    assert!(
        lines.ends_with("nat: interrupted; nothing was saved\n"),
        "{lines}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_fine_tuning_says_what_became_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let finetune = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_nat"))
            .args([
                "finetune",
                "--data",
                "builtin:climate-tiles",
                "--model",
                "lite0",
            ])
            .args(["--genes", "min", "--resolution", "32", "--steps", "1"])
            .args(["--lr", "0.001", "--set", "warm_up.max_steps=1"])
            .args(more)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", last_line(&output));
        last_line(&output)
    };
    assert!(finetune(&[]).contains("not kept: --out"));
    assert_eq!(finetune(&["--out", "net.onnx"]), "nat: wrote net.onnx");
    assert!(folder.path().join("net.onnx").is_file());
}

#[test]
fn a_reader_who_has_seen_enough_ends_the_program_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(["space", "sample", "nat", "-n", "20000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_network_is_measured_once_whatever_happens_to_the_meter() {
    let reference = Bench::new();
    let output = reference.search(&[]).output().unwrap();
    assert!(output.status.success(), "{}", last_line(&output));
    let front = fs::read_to_string(reference.path("run/front.csv")).unwrap();
    assert!(front.starts_with("genes,resolution,error,madds,params,memory,command:energy\n"));
    for line in front.lines().skip(1) {
        let genes = line.split('"').nth(1).unwrap().split(',');
        let sum: f64 = genes.map(|gene| gene.parse::<f64>().unwrap()).sum();
        let energy: f64 = line.rsplit(',').next().unwrap().parse().unwrap();
        assert_eq!(energy, sum + 1.0);
        assert!(energy <= 24.0);
    }
    assert!(reference.calls().values().all(|&calls| calls == 1));
    let pick = Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(["pick", "run", "--where", "command:energy<=20", "--json"])
        .current_dir(reference.0.path())
        .output()
        .unwrap();
    let picked: serde_json::Value = serde_json::from_slice(&pick.stdout).unwrap();
    assert!(picked["command:energy"].as_f64().unwrap() <= 20.0);
    let left = fs::read_dir(reference.path("run/commands")).unwrap();
    assert_eq!(left.count(), 0, "neither models nor logs are left");

    // The meter fails: the run stops with what it said, and goes on when it is mended.
    let broken = Bench::new();
    fs::write(broken.path("broken"), "").unwrap();
    let output = broken
        .search(&["commands.energy.parallel=2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = last_line(&output);
    for part in [
        "'energy'",
        "the network ",
        "exit status: 7",
        "'the meter is off'",
        "nat resume",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let log = fs::read_to_string(broken.path("run/commands/energy.log")).unwrap();
    assert!(log.contains("the meter is off"), "{log}");
    fs::remove_file(broken.path("broken")).unwrap();
    let known = fs::read_to_string(broken.path("run/measured.jsonl")).unwrap();
    fs::write(broken.path("calls"), "").unwrap();
    let output = broken.resume();
    assert!(output.status.success(), "{}", last_line(&output));
    assert_eq!(broken.result(), reference.result());
    let calls = broken.calls();
    assert!(!calls.is_empty() && calls.values().all(|&calls| calls == 1));
    assert!(known.lines().count() > 0);
    for genes in calls.keys() {
        assert!(
            !known.contains(&format!("\"{genes}\"")),
            "{genes} was known"
        );
    }

    // It hangs: Ctrl-C saves the run and ends the meter.
    let stuck = Bench::new();
    fs::write(stuck.path("stuck"), "").unwrap();
    let mut child = stuck.search(&["upkeep.save_seconds=3600"]).spawn().unwrap();
    let meter = wait_for_hanging(&stuck, &mut child);
    let begun = Instant::now();
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(!is_alive(&meter));
    fs::remove_file(stuck.path("stuck")).unwrap();
    let output = stuck.resume();
    assert!(output.status.success(), "{}", last_line(&output));
    assert_eq!(stuck.result(), reference.result());

    // It is slow, and slower than allowed.
    let slow = Bench::new();
    fs::write(slow.path("stuck"), "").unwrap();
    let output = slow
        .search(&["commands.energy.timeout_seconds=1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = last_line(&output);
    assert!(
        line.contains("killed after 1 s (commands.energy.timeout_seconds)"),
        "{line}"
    );

    // The run itself is killed while the meter works.
    let killed = Bench::new();
    fs::write(killed.path("stuck"), "").unwrap();
    let mut child = killed.search(&["upkeep.save_seconds=0"]).spawn().unwrap();
    let meter = wait_for_hanging(&killed, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_alive(&meter), "nobody was left to end it");
    assert!(signal("-KILL", &format!("-{meter}")));
    fs::remove_file(killed.path("stuck")).unwrap();
    let output = killed.resume();
    assert!(output.status.success(), "{}", last_line(&output));
    assert_eq!(killed.result(), reference.result());
    let again = killed.calls().values().filter(|&&calls| calls > 1).count();
    assert!(again <= 1, "only what hung is asked again");
}
