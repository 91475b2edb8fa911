//! Own objectives by external commands: a program is run for a network and the number that it prints is the value.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs::OpenOptions,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use documented::DocumentedFields;
use nat_search::{Measure, Subject};
use serde::{Deserialize, Serialize};

use crate::TransferError;

/// How a network is measured by a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// Program and arguments, divided into words as a shell does; no shell runs them. `{model}` stands for the path of the
    /// network as an ONNX file, `{genes}`, `{resolution}` and `{madds}` for what they say.
    pub run: String,
    /// Seconds after which the command is killed, with all that it has started.
    #[serde(default = "timeout")]
    pub timeout_seconds: u64,
    /// Networks that are measured at the same time.
    #[serde(default = "parallel")]
    pub parallel: usize,
    /// Folder in which it runs; empty: where `nat` was started.
    #[serde(default)]
    pub directory: String,
}

fn timeout() -> u64 {
    60
}

fn parallel() -> usize {
    1
}

const MODEL: &str = "{model}";

/// What is filled in.
const PLACEHOLDERS: [&str; 4] = [MODEL, "{genes}", "{resolution}", "{madds}"];

/// Bytes of what a command prints that are kept: the last ones.
const KEPT: usize = 1 << 16;
/// Between two looks at a running command.
const PAUSE: Duration = Duration::from_millis(10);
/// After a command has ended, what is left in its pipes is waited for no longer than this: a process that it has sent into
/// the background may hold them open for ever.
const DRAIN: Duration = Duration::from_secs(1);

impl CommandSettings {
    /// Checks name, words and ranges.
    ///
    /// # Errors
    /// The first that cannot be used, named as in a configuration.
    pub(crate) fn check(&self, name: &str) -> Result<(), TransferError> {
        let fail = |what: String| Err(TransferError::Config(format!("commands.{name}{what}")));
        if !is_name(name) {
            return fail(": a name consists of letters, digits, - and _".into());
        }
        if self.timeout_seconds == 0 {
            return fail(".timeout_seconds must be at least 1, got 0".into());
        }
        if self.parallel == 0 {
            return fail(".parallel must be at least 1, got 0".into());
        }
        match shlex::split(&self.run) {
            None => fail(format!(".run: a quote is not closed in '{}'", self.run)),
            Some(words) if words.is_empty() => fail(".run must name a program".into()),
            Some(words) => match words.iter().find_map(|word| unknown_placeholder(word)) {
                Some(unknown) => fail(format!(
                    ".run: unknown placeholder {unknown}; there are {}",
                    PLACEHOLDERS.join(", ")
                )),
                None => Ok(()),
            },
        }
    }
}

/// The first `{name}` that is nothing to be filled in. A name is a letter and whatever letters, digits, `_` and `-` follow, and none
/// stands behind a `$`: JSON and the `${name}` of a shell are passed on.
fn unknown_placeholder(word: &str) -> Option<&str> {
    word.match_indices('{').find_map(|(start, _)| {
        let end = start + word[start..].find('}')? + 1;
        let (name, whole) = (&word[start + 1..end - 1], &word[start..end]);
        let is_name = is_name(name) && name.starts_with(|c: char| c.is_ascii_alphabetic());
        let unknown = is_name && !word[..start].ends_with('$') && !PLACEHOLDERS.contains(&whole);
        unknown.then_some(whole)
    })
}

/// Whether a text can be the name of a command or a data set: it becomes part of file names and of lists.
pub fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty() && text.chars().all(good)
}

/// An external command as an objective.
pub struct Command {
    name: String,
    words: Vec<String>,
    settings: CommandSettings,
    log: PathBuf,
}

impl Command {
    /// The command of a name, which writes what happens to the file `log`.
    ///
    /// # Errors
    /// The settings cannot be used, or there is no such program.
    pub fn new(
        name: &str,
        settings: &CommandSettings,
        log: PathBuf,
    ) -> Result<Command, TransferError> {
        settings.check(name)?;
        let words = shlex::split(&settings.run).expect("checked above");
        if !words[0].contains('{') && !is_program(&words[0], Path::new(&settings.directory)) {
            return Err(TransferError::Config(format!(
                "the command '{name}': there is no program '{}'",
                words[0]
            )));
        }
        Ok(Command {
            name: name.into(),
            words,
            settings: settings.clone(),
            log,
        })
    }

    /// The words with the placeholders filled in.
    fn words(&self, subject: &Subject<'_>) -> Vec<String> {
        let model = subject.model.map(|path| path.display().to_string());
        let values = [
            model.unwrap_or_default(),
            subject.genes.to_string(),
            subject.network.resolution.to_string(),
            subject.network.madds().to_string(),
        ];
        // From the last: the path of the model, which may hold braces of its own, comes after all others.
        let fill = |word: &String| {
            let pairs = PLACEHOLDERS.iter().zip(&values).rev();
            pairs.fold(word.clone(), |word, (name, value)| {
                word.replace(name, value)
            })
        };
        self.words.iter().map(fill).collect()
    }

    /// Runs the command once.
    fn attempt(&self, subject: &Subject<'_>) -> Result<f64, String> {
        let words = self.words(subject);
        let mut command = std::process::Command::new(&words[0]);
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !self.settings.directory.is_empty() {
            command.current_dir(&self.settings.directory);
        }
        // A group of its own: it can be killed with all that it starts, and Ctrl-C at the terminal is left to this program.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .map_err(|error| format!("'{}' cannot be started: {error}", words[0]))?;
        let stdout = Tail::follow(child.stdout.take().expect("stdout is piped"));
        let stderr = Tail::follow(child.stderr.take().expect("stderr is piped"));
        let end = self.wait(&mut child, subject);
        kill_group(&mut child);
        let (stdout, stderr) = (stdout.text(), stderr.text());
        // Where it ended well, its answer is at fault, and not what it told besides.
        let (value, words) = match end {
            Ok(status) if status.success() => {
                (number(&stdout), said(&stdout).or_else(|| said(&stderr)))
            }
            end => {
                let reason = match end {
                    Ok(status) => format!("it ended with {status}"),
                    Err(reason) => reason,
                };
                (Err(reason), said(&stderr).or_else(|| said(&stdout)))
            }
        };
        self.note(subject, value.as_ref().err(), &stdout, &stderr);
        value.map_err(|reason| match words {
            Some(words) => format!("{reason}; it said '{words}'"),
            None => format!("{reason}; it said nothing"),
        })
    }

    fn wait(&self, child: &mut Child, subject: &Subject<'_>) -> Result<ExitStatus, String> {
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if subject.is_stopped() => return Err("it was interrupted".into()),
                Ok(None) if begun.elapsed().as_secs() >= self.settings.timeout_seconds => {
                    return Err(format!(
                        "it was killed after {} s (commands.{}.timeout_seconds)",
                        self.settings.timeout_seconds, self.name
                    ));
                }
                Ok(None) => thread::sleep(PAUSE),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Appends to the log what went wrong and what went to stderr. A log that cannot be written stops no measurement.
    fn note(&self, subject: &Subject<'_>, fault: Option<&String>, stdout: &str, stderr: &str) {
        let mut text = String::new();
        if fault.is_some() || !stderr.is_empty() {
            let genes = subject.genes;
            let _ = writeln!(text, "== {genes}: {}", fault.map_or("done", String::as_str));
            text.push_str(stderr);
        }
        if fault.is_some() && !stdout.is_empty() {
            let _ = write!(text, "-- stdout\n{stdout}");
        }
        if text.is_empty() {
            return;
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.log);
        let _ = file.and_then(|mut file| file.write_all(text.as_bytes()));
    }
}

impl Measure for Command {
    fn name(&self) -> &str {
        &self.name
    }

    fn needs_model(&self) -> bool {
        self.words.iter().any(|word| word.contains(MODEL))
    }

    fn parallel(&self) -> usize {
        self.settings.parallel
    }

    /// The number that the command prints; what fails is done a second time.
    fn measure(&self, subject: &Subject<'_>) -> Result<f64, Box<dyn Error + Send + Sync>> {
        let value = self.attempt(subject).or_else(|reason| {
            if subject.is_stopped() {
                return Err(reason);
            }
            self.attempt(subject)
                .map_err(|reason| format!("failed twice, last: {reason}"))
        });
        Ok(value.map_err(|reason| format!("{reason} ({} has all of it)", self.log.display()))?)
    }
}

/// Whether a program can be found: at its path, or where the system looks for programs.
fn is_program(word: &str, directory: &Path) -> bool {
    if word.contains(std::path::MAIN_SEPARATOR) {
        return directory.join(word).is_file();
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| {
        let file = folder.join(word);
        file.is_file() || cfg!(windows) && file.with_extension("exe").is_file()
    })
}

/// The number on the last line that is not empty, alone or as its only number.
fn number(stdout: &str) -> Result<f64, String> {
    let line = said(stdout).ok_or("it printed no number")?;
    let numbers: Vec<f64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [value] if value.is_finite() && value >= 0.0 => Ok(value),
        [value] => Err(format!("{value} is not a finite number from 0 on")),
        [] => Err("its last line is no number".into()),
        _ => Err("its last line has more than one number".into()),
    }
}

/// The last line that is not empty, cut to a length that fits into a message.
fn said(text: &str) -> Option<String> {
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(200).collect())
}

/// Ends what is left of a command and of what it has started.
fn kill_group(child: &mut Child) {
    #[cfg(unix)]
    {
        use nix::{
            sys::signal::{Signal, killpg},
            unistd::Pid,
        };
        // No such group any more is what is hoped for.
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    }
    let _ = child.kill();
    // What belongs to somebody else, or hangs in the system, cannot be ended, and must not hold up the run.
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < DRAIN {
        thread::sleep(PAUSE);
    }
}

/// The end of what a process prints, read as it comes so that no full pipe holds it up.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Tail {
    fn follow(mut pipe: impl Read + Send + 'static) -> Tail {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&kept);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&chunk[..read]);
                if kept.len() > 2 * KEPT {
                    let over = kept.len() - KEPT;
                    kept.drain(..over);
                }
            }
        });
        Tail { kept, reader }
    }

    fn text(self) -> String {
        let begun = Instant::now();
        while !self.reader.is_finished() && begun.elapsed() < DRAIN {
            thread::sleep(Duration::from_millis(1));
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    use nat_space::Space;

    use super::*;

    /// What a command says of the largest network of `tiny`, or why it says nothing, and its log.
    fn run(run: &str, seconds: u64, stop: &AtomicBool) -> (Result<f64, String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        let settings = CommandSettings {
            run: run.into(),
            timeout_seconds: seconds,
            parallel: 1,
            directory: folder.path().display().to_string(),
        };
        let command = Command::new("x", &settings, log.clone()).unwrap();
        let space = Space::builtin("tiny").unwrap();
        let genes = space.largest();
        let architecture = space.architecture(&genes);
        let subject = Subject {
            genes: &genes,
            network: &space.network(&architecture, 3),
            architecture: &architecture,
            model: Some(Path::new("/a place/net.onnx")),
            stop: &|| stop.load(Ordering::Relaxed),
        };
        let value = command.measure(&subject).map_err(|error| error.to_string());
        (value, fs::read_to_string(log).unwrap_or_default())
    }

    fn sh(script: &str) -> (Result<f64, String>, String) {
        run(&format!("sh -c '{script}'"), 5, &AtomicBool::new(false))
    }

    #[test]
    fn the_last_line_is_the_value() {
        assert_eq!(sh("echo warming; echo 3.5; echo").0, Ok(3.5));
        assert_eq!(sh("echo energy: 12e-3 mJ").0, Ok(0.012));
        let (value, log) = sh("echo careful >&2; yes x | head -c 300000; echo; echo 7");
        assert_eq!(value, Ok(7.0));
        assert!(log.ends_with(": done\ncareful\n"), "{log}");
    }

    #[test]
    fn words_are_passed_as_they_are() {
        let stop = AtomicBool::new(false);
        let script = r#"sh -c 'echo $# && echo ${#1}' name "{model} *" {resolution}"#;
        // "/a place/net.onnx *" is one word of 19 letters: no shell has split or expanded it.
        assert_eq!(run(script, 5, &stop).0, Ok(19.0));
        let space = Space::builtin("tiny").unwrap();
        let madds = space
            .network(&space.architecture(&space.largest()), 3)
            .madds();
        assert_eq!(run("echo {madds}", 5, &stop).0, Ok(madds as f64));
    }

    #[test]
    fn faults_are_tried_again_and_told() {
        for (script, parts) in [
            (
                "echo no meter >&2; exit 3",
                ["exit status: 3", "'no meter'"],
            ),
            ("echo nonsense", ["no number", "'nonsense'"]),
            ("echo careful >&2; echo watts", ["no number", "'watts'"]),
            ("echo no meter >&2", ["no number", "'no meter'"]),
            ("echo 1 2", ["more than one", "'1 2'"]),
            ("echo inf", ["inf is not a finite", "'inf'"]),
            ("echo -1", ["-1 is not", "'-1'"]),
            ("true", ["no number", "said nothing"]),
            ("kill -9 $$", ["signal: 9", "said nothing"]),
        ] {
            let (value, log) = sh(script);
            let fault = value.unwrap_err();
            for part in parts {
                assert!(fault.contains(part), "{script}: {fault}");
            }
            assert!(fault.contains("failed twice"), "{fault}");
            assert_eq!(log.matches("== ").count(), 2, "{log}");
        }
        // The second attempt succeeds.
        let once = "test -e been && echo 4 || { touch been; exit 1; }";
        assert_eq!(sh(once).0, Ok(4.0));
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let begun = Instant::now();
        let stop = AtomicBool::new(false);
        let hanging = "sh -c 'sleep 60 & echo waiting; sleep 60'";
        let fault = run(hanging, 1, &stop).0.unwrap_err();
        assert!(
            fault.contains("killed after 1 s") && fault.contains("'waiting'"),
            "{fault}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20));
        // What goes on in the background is ended too, and holds nothing up.
        let begun = Instant::now();
        assert_eq!(sh("sleep 60 & echo 5").0, Ok(5.0));
        assert!(begun.elapsed() < Duration::from_secs(10));
        stop.store(true, Ordering::Relaxed);
        let fault = run("sleep 60", 100, &stop).0.unwrap_err();
        assert!(fault.contains("interrupted"), "{fault}");
    }

    #[test]
    fn what_cannot_be_a_command_is_named() {
        let settings = |run: &str| CommandSettings {
            run: run.into(),
            timeout_seconds: 1,
            parallel: 1,
            directory: String::new(),
        };
        let refused = |name: &str, run: &str| {
            let command = Command::new(name, &settings(run), "log".into());
            command.err().unwrap().to_string()
        };
        assert!(refused("a/b", "true").contains("letters"));
        assert!(refused("x", "echo 'a").contains("quote"));
        assert!(refused("x", "").contains("commands.x.run"));
        assert!(refused("x", "./no-such-program").contains("'./no-such-program'"));
        assert!(refused("x", "no-such-program-anywhere").contains("no program"));
        assert!(refused("x", "true {model} --of={mdel}").ends_with(
            "unknown placeholder {mdel}; there are {model}, {genes}, {resolution}, {madds}"
        ));
        for word in [
            "${home}",
            r#"{"a":{}}"#,
            "{ print }",
            "{}",
            "{2,3}",
            "{1}",
            "{model}{genes}",
            "{b",
        ] {
            assert_eq!(unknown_placeholder(word), None, "{word}");
        }
        for word in ["{Model}", "{model_path}", "{madds2}"] {
            assert_eq!(unknown_placeholder(word), Some(word));
        }
        assert_eq!(unknown_placeholder(r#"{"a":{b}}"#), Some("{b}"));
    }
}
