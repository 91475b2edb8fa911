//! `nat report`: a run as one self-contained page, with plots and drawings as SVG inside it.
//!
//! [`model`] reads the run directory into plain data; every other module turns a part of it into
//! markup. The page depends on nothing but the files, so the same files give the same bytes, and a
//! run that is going on or was killed shows what there is.

mod architecture;
pub mod axis;
mod course;
mod front;
mod genes;
mod headline;
mod kernel;
mod label;
mod model;
mod objectives;
pub mod plot;
mod predictor;
mod table;

use std::path::Path;

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use model::Run;

/// The page of a run directory as HTML.
///
/// # Errors
/// The directory holds no run, or a file in it cannot be read or understood.
pub fn render(directory: &Path) -> Result<String> {
    Ok(page(&Run::read(directory)?, &html! {}).into_string())
}

/// The same with something above it.
///
/// # Errors
/// Those of [`render`].
pub fn render_below(top: &Markup, directory: &Path) -> Result<String> {
    Ok(page(&Run::read(directory)?, top).into_string())
}

fn page(run: &Run, top: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "nat: " (run.path) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (top)
                main {
                    (headline::headline(run))
                    (front::scatters(run))
                    (objectives::plots(run))
                    (table::front(run))
                    (architecture::drawings(run))
                    (front::movement(run))
                    div.pair { (course::hypervolume(run)) (course::loss(run)) }
                    div.pair { (predictor::plots(run)) }
                    (course::time(run))
                    (genes::histograms(run))
                    (course::table(run))
                }
            }
        }
    }
}

#[cfg(test)]
pub mod sample;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::sample::{Sample, check_nesting, torn};
    use super::*;

    /// What every page must be, whatever it shows.
    fn check(page: &str) {
        check_nesting(page);
        let body = &page[page.find("<body>").unwrap()..];
        for nonsense in ["NaN", "inf\"", ">inf", "-inf", "=\"\""] {
            assert!(!body.contains(nonsense), "{nonsense} in the page");
        }
        for outside in ["src=", "href=", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside} in the page");
        }
        let ids: Vec<&str> = page
            .split(" id=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(
            ids.iter().collect::<BTreeSet<_>>().len(),
            ids.len(),
            "an id occurs twice"
        );
        for labels in page.split("aria-labelledby=\"").skip(1) {
            for id in labels.split('"').next().unwrap().split(' ') {
                assert!(
                    ids.contains(&id),
                    "{id} labels a drawing and does not exist"
                );
            }
        }
    }

    #[test]
    fn a_finished_run_is_shown_whole() {
        let sample = Sample::named("run");
        let page = render(&sample.finish()).unwrap();
        check(&page);
        for genotype in sample.genotypes(sample.generations - 1) {
            assert!(
                page.contains(&genotype.to_string()),
                "{genotype} is missing"
            );
        }
        for heading in [
            "Networks for photos",
            "Front: error against multiply-adds",
            "Take one",
            "Network A",
            "Movement of the front",
            "Hypervolume",
            "Training loss",
            "Predicted and measured error",
            "Ranking by the predictor",
            "Time per generation",
            "Genes of the archive",
            "Every generation in numbers",
            "2025-01-01 00:00 UTC",
        ] {
            assert!(page.contains(heading), "{heading} is missing");
        }
        assert!(!page.contains("was interrupted"));
        assert!(!page.contains("error against parameters"));
        assert_eq!(
            page,
            render(&sample.path()).unwrap(),
            "the same files give another page"
        );
    }

    #[test]
    fn every_choice_of_objectives_has_its_plots() {
        for (objectives, plots) in [
            (
                vec!["error", "madds", "params"],
                vec!["error against multiply-adds", "error against parameters"],
            ),
            (vec!["error"], vec!["error against multiply-adds"]),
            (
                vec!["params", "madds"],
                vec!["parameters against multiply-adds"],
            ),
            (vec!["madds"], vec!["multiply-adds against parameters"]),
        ] {
            let sample = Sample {
                objectives,
                ..Sample::named("run")
            };
            let page = render(&sample.finish()).unwrap();
            check(&page);
            assert_eq!(page.matches("<figcaption>Front: ").count(), plots.len());
            for plot in plots {
                assert!(
                    page.contains(&format!("<figcaption>Front: {plot}")),
                    "{plot} is missing"
                );
            }
        }
    }

    #[test]
    fn a_run_in_any_state_gives_a_page() {
        let sample = Sample::named("run");
        let path = sample.begin();
        let page = render(&path).unwrap();
        check(&page);
        assert!(page.contains("No generation has been measured yet.") && !page.contains("<svg"));

        sample.finish();
        let (archive, events) = (sample.read("archive.jsonl"), sample.read("events.jsonl"));
        // While it pretrains.
        std::fs::remove_file(path.join("archive.jsonl")).unwrap();
        sample.write(
            "events.jsonl",
            &events
                .lines()
                .take(3)
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        );
        let page = render(&path).unwrap();
        check(&page);
        assert!(
            page.contains("Training loss") && page.contains("No generation has been measured yet.")
        );
        // After the first generation, the event of which is not written yet.
        sample.write(
            "archive.jsonl",
            &archive
                .lines()
                .take(sample.members)
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        );
        let page = render(&path).unwrap();
        check(&page);
        assert!(page.contains("finished generation 0 of 2 and is going on or was interrupted"));
        assert!(page.contains("Network A") && !page.contains("Movement of the front"));
        // Killed while it wrote a line.
        sample.write("archive.jsonl", torn(&archive));
        sample.write("events.jsonl", torn(&events));
        let page = render(&path).unwrap();
        check(&page);
        assert!(page.contains("out of 23 in the archive after generation 2"));
    }

    #[test]
    fn errors_as_measured_and_as_drawn_to_their_trend_are_told_apart() {
        let sample = Sample::named("run");
        let path = sample.finish();
        let told = "those of the front on top are drawn to their trend";
        let run = Run::read(&path).unwrap();
        let raw = &run.archives.last().unwrap().members;
        assert_eq!(raw.len(), run.settled.len());
        assert!(raw.iter().zip(&run.settled).any(|(a, b)| a != b));
        assert!(render(&path).unwrap().contains(told));
        // Counted errors are not drawn anywhere.
        let counted = sample
            .read("run.toml")
            .replace("regress = true", "regress = false");
        sample.write("run.toml", &counted);
        let run = Run::read(&path).unwrap();
        assert_eq!(run.archives.last().unwrap().members, run.settled);
        assert!(!render(&path).unwrap().contains(told));
    }

    #[test]
    fn hostile_names_stay_text() {
        let hostile = "<script>alert(1)</script>";
        let sample = Sample {
            data: format!("{hostile}\"'&"),
            classes: vec![hostile.into(), "\" onload=\"x".into(), "a&amp;b".into()],
            ..Sample::named("it's <b>\"& run")
        };
        let page = render(&sample.finish()).unwrap();
        check(&page);
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("a&amp;amp;b")
        );
        assert!(!page.contains("<b>") && !page.contains("\" onload=\"x"));
        assert!(page.contains("it'\\''s &lt;b&gt;&quot;&amp; run' --genes"));
    }
}
