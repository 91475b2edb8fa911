//! What a run does, told whenever its files have changed.

use std::{fs, path::Path, time::SystemTime};

use nat_transfer::{Event, RunDirectory};

use crate::{failure, report::axis::duration};

/// The files from which the page of a run is made, but for the record, which stays as it is.
const FILES: [&str; 3] = ["events.jsonl", "archive.jsonl", "test.jsonl"];

/// Length and time of the last change of a file, if it is there.
type Stamp = Option<(u64, Option<SystemTime>)>;

/// Somebody who looks at a run from time to time.
pub struct News {
    run: RunDirectory,
    seen: Option<[Stamp; FILES.len()]>,
}

impl News {
    /// One who has not looked yet.
    pub fn of(run: &Path) -> News {
        News {
            run: RunDirectory::at(run),
            seen: None,
        }
    }

    /// What the run does, in a line, if anything has changed since the last look; the first look always tells.
    pub fn next(&mut self) -> Option<String> {
        let now = FILES.map(|name| {
            let file = fs::metadata(self.run.path(name)).ok()?;
            Some((file.len(), file.modified().ok()))
        });
        if self.seen.replace(now) == Some(now) {
            return None;
        }
        Some(match self.run.events() {
            Ok(events) => (events.last()).map_or_else(|| "nothing has happened yet".into(), told),
            Err(error) => failure::one_line(&error.into()),
        })
    }
}

/// An event in a line.
fn told(event: &Event) -> String {
    match event {
        Event::Start { .. } => "the run has begun".into(),
        Event::Resume { generation, .. } => format!("resumed in generation {generation}"),
        Event::Epoch(epoch) => {
            let set = epoch.set.as_ref();
            format!(
                "generation {}, {}{}: epoch {}, loss {:.3}, {:.0} images/s",
                epoch.generation,
                epoch.phase.name(),
                set.map_or_else(String::new, |set| format!(" on {set}")),
                epoch.epoch,
                epoch.loss,
                epoch.images_per_s
            )
        }
        Event::Generation(ended) => format!(
            "generation {} is measured: {} networks in the archive, {} on the front",
            ended.generation, ended.archive, ended.front
        ),
        Event::Finish(finish) => {
            format!("finished; the last part took {}", duration(finish.seconds))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;

    #[test]
    fn what_changes_is_told_once() {
        let sample = Sample::named("run");
        let path = sample.begin();
        let mut news = News::of(&path);
        assert_eq!(news.next().unwrap(), "nothing has happened yet");
        assert_eq!(news.next(), None);
        sample.finish();
        assert!(
            news.next()
                .unwrap()
                .starts_with("finished; the last part took ")
        );
        assert_eq!(news.next(), None);
        let events = sample.read("events.jsonl");
        sample.write(
            "events.jsonl",
            &format!("{events}{{\"event\":\"resume\",\"time\":1735689700,\"generation\":2}}\n"),
        );
        assert_eq!(news.next().unwrap(), "resumed in generation 2");
        sample.write("test.jsonl", "");
        assert_eq!(news.next().unwrap(), "resumed in generation 2");
        assert_eq!(news.next(), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let sample = Sample::named("run");
        sample.finish();
        sample.write("events.jsonl", "{\"event\":\"holiday\"}\n{}\n");
        let line = News::of(&sample.path()).next().unwrap();
        assert!(line.contains("events.jsonl: line 1"), "{line}");
    }
}
