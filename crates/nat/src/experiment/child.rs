//! A child process with the time that it takes, kept over interruptions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nat_transfer::write_atomically;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::{self, ChildFailed};

/// Between two looks at a child.
const POLL: Duration = Duration::from_millis(100);
/// Between two notes of the time that a child has taken.
const NOTE: Duration = Duration::from_secs(10);

/// The child was interrupted; what it had done is kept.
#[derive(Debug)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted; the same command goes on")
    }
}

impl std::error::Error for Stopped {}

/// The time that a cell has taken so far, kept in a file while a child runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Processor seconds, where the system tells.
    pub processor_seconds: Option<f64>,
    #[serde(skip)]
    path: Option<PathBuf>,
}

impl Spent {
    /// For work that begins anew, whatever was spent before.
    pub fn from_zero(folder: &Path, suffix: &str) -> Spent {
        Spent {
            path: Some(folder.join(format!("spent{suffix}.json"))),
            ..Spent::default()
        }
    }

    /// For work that goes on where it was left.
    pub fn so_far(folder: &Path, suffix: &str) -> Spent {
        let Spent { path, .. } = Spent::from_zero(folder, suffix);
        let known = path.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let known: Option<Spent> = known.and_then(|text| serde_json::from_str(&text).ok());
        Spent {
            path,
            ..known.unwrap_or_default()
        }
    }

    fn keep(&self) -> Result<()> {
        if let Some(path) = &self.path {
            let text = serde_json::to_string(self).expect("plain values");
            write_atomically(path, text.as_bytes())?;
        }
        Ok(())
    }

    /// Runs a command to its end, or asks it to end once `stop` is set, and adds its time; returns what it wrote to stdout.
    pub fn child(self, command: &mut Command, stop: &AtomicBool) -> Result<(String, Spent)> {
        let begun = Instant::now();
        let shown = format!("{command:?}").replace('"', "");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| shown.clone())?;
        let mut child = Attended(child);
        let mut pipe = child.0.stdout.take().expect("stdout is piped");
        let reader = std::thread::spawn(move || std::io::read_to_string(&mut pipe));
        let (mut now, mut noted) = (self.clone(), Instant::now());
        let mut asked = false;
        let status = loop {
            if stop.load(Ordering::Relaxed) && !std::mem::replace(&mut asked, true) {
                ask_to_end(&mut child.0);
            }
            let ended = child.0.try_wait()?;
            now.seconds = self.seconds + begun.elapsed().as_secs_f64();
            if let Some(seconds) = processor_seconds(&child.0) {
                now.processor_seconds = Some(self.processor_seconds.unwrap_or(0.0) + seconds);
            }
            if noted.elapsed() > NOTE || ended.is_some() {
                now.keep()?;
                noted = Instant::now();
            }
            match ended {
                Some(status) => break status,
                None => std::thread::sleep(POLL),
            }
        };
        let text = reader.join().expect("reading a pipe does not panic")?;
        match (status.code(), signal(status)) {
            (Some(0), _) => Ok((text, now)),
            (Some(code), _) if code == i32::from(failure::INTERRUPTED) => Err(Stopped.into()),
            (_, Some(SIGINT | SIGTERM)) => Err(Stopped.into()),
            (Some(code), _) => Err(ChildFailed {
                command: shown,
                // A process ends with a code of one byte.
                code: u8::try_from(code).unwrap_or(1),
            }
            .into()),
            (None, Some(signal)) => Err(anyhow!("`{shown}` was killed by signal {signal}")),
            (None, None) => Err(anyhow!("`{shown}` ended without an exit code")),
        }
    }
}

/// Lets a child save what it has, where the system can.
fn ask_to_end(child: &mut Child) {
    // A child that has ended meanwhile is what is hoped for.
    #[cfg(unix)]
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::Signal::SIGTERM,
    );
    #[cfg(not(unix))]
    let _ = child.kill();
}

/// The signal that ended a process.
#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

/// A child that does not outlive the interest in it.
struct Attended(Child);

impl Drop for Attended {
    fn drop(&mut self) {
        // Both do nothing to a child that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// User and system time of a running child, from `/proc` where there is one.
fn processor_seconds(child: &Child) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The second field is a name in parentheses that may hold blanks; utime and stime are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // The kernel reports in units of 1/100 s to user space on every architecture.
    Some(ticks / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(spent: Spent, script: &str) -> Result<(String, Spent)> {
        spent.child(
            Command::new("sh").args(["-c", script]),
            &AtomicBool::new(false),
        )
    }

    #[test]
    fn time_is_kept_over_interruptions_of_what_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (text, first) = shell(Spent::from_zero(folder, ""), "sleep 0.2; echo 5").unwrap();
        assert_eq!(text, "5\n");
        assert!(first.seconds >= 0.2);
        let stopped = shell(Spent::so_far(folder, ""), "sleep 0.1; exit 130");
        assert!(stopped.unwrap_err().is::<Stopped>());
        let sum = Spent::so_far(folder, "").seconds;
        assert!(sum >= first.seconds + 0.1, "{sum}");
        let (_, anew) = shell(Spent::from_zero(folder, ""), "true").unwrap();
        assert!(anew.seconds < sum, "{} of {sum}", anew.seconds);
    }

    #[cfg(unix)]
    #[test]
    fn what_ended_a_child_is_told() {
        let told = |script: &str| shell(Spent::default(), script).unwrap_err();
        assert!(told("exit 3").to_string().contains("exit code 3"));
        assert!(told("kill -KILL $$").to_string().contains("signal 9"));
        // SIGINT would say nothing where the tests run in the background of a script: it is ignored there.
        assert!(told("kill -TERM $$").is::<Stopped>());
    }
}
