//! What was run and what came out, on top of the page.

use maud::{Markup, html};
use nat_transfer::{Objective, as_written};

use super::axis::duration;
use super::model::{Member, Run, Shown};
use super::table::objectives;

/// Class names that are spelt out.
const SPELT: usize = 24;

pub fn headline(run: &Run) -> Markup {
    html! {
        header {
            h1 {
                "Networks for "
                @if run.sets.is_empty() { (short_name(&run.data)) } @else { (run.sets.join(", ")) }
            }
            p.lead {
                (summary(run))
                @if run.balanced { " Errors count every class the same, however many images it has." }
            }
            @if let Some(note) = unfinished(run) { p.warning { (note) } }
            @if !run.front.is_empty() { div.tiles { (tiles(run)) } }
            (facts(run))
        }
    }
}

/// The last part of a path.
fn short_name(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or(path)
}

/// The limits of a run as they were written.
fn limits(run: &Run) -> String {
    as_written(run.limits.clone().into(), run.balanced).join(", ")
}

fn summary(run: &Run) -> String {
    match run.archives.last() {
        None => "No generation has been measured yet.".to_owned(),
        Some(last) if run.front.is_empty() => format!(
            "None of the {} networks in the archive after generation {} meets the limits {}.",
            last.members.len(),
            last.generation,
            limits(run)
        ),
        Some(last) => format!(
            "{} networks on the best trade-off between {}, out of {} in the archive after generation {}.",
            run.front.len(),
            objectives(run),
            last.members.len(),
            last.generation
        ),
    }
}

/// What to say of a run that is not complete.
fn unfinished(run: &Run) -> Option<String> {
    let reached = run.archives.last().map(|last| last.generation);
    let last = run.last_generation;
    // A run that was killed after its last iteration has no line of its end.
    if run.finish.is_some() || reached.is_some_and(|reached| reached >= last) {
        return None;
    }
    Some(match reached {
        Some(generation) => format!(
            "The run has finished generation {generation} of {last} and is going on or was interrupted; this page shows it so far."
        ),
        None => format!(
            "The run is in its first generation of {last} or was interrupted there; this page shows it so far."
        ),
    })
}

fn tiles(run: &Run) -> Markup {
    let least = |objective: Objective| {
        run.front
            .iter()
            .min_by(|a, b| objective.of(a).total_cmp(&objective.of(b)))
    };
    let tile = |title: &str, member: &Member| {
        html! {
            div.tile {
                div.tile-title { (title) }
                div.tile-value { (format!("{:.2}", member.measured.error)) " % " (run.counted()) "error" }
                div.tile-detail {
                    (format!("{:.2}", Objective::Madds.of(member))) " M multiply-adds, "
                    (format!("{:.2}", Objective::Params.of(member))) " M parameters"
                    @if let Some(error) = member.test_error { ", " (format!("{error:.2}")) " % on the test split" }
                }
            }
        }
    };
    html! {
        @if let Some(member) = least(Objective::Error) { (tile("Most accurate", member)) }
        @if let Some(member) = &run.larger { (tile("Largest within 1 standard error", member)) }
        @if let Some(&position) = run.named.first() { (tile("Highest trade-off (A)", &run.front[position])) }
        @if let Some(member) = least(Objective::Madds) { (tile("Cheapest", member)) }
    }
}

fn facts(run: &Run) -> Markup {
    let spent: f64 = run
        .generations
        .iter()
        .map(|event| event.seconds.total())
        .sum();
    let mut facts: Vec<(&str, String)> = vec![
        ("Data", run.data.clone()),
        ("Classes", classes(run)),
        ("Space", space(run)),
        ("Objectives", objectives(run)),
        ("Predictor", run.predictor.name().into()),
        ("Supernet", run.supernet.clone()),
        ("Preset", run.preset.clone()),
        ("Seed", run.seed.to_string()),
        ("Version", format!("nat {}", run.version)),
    ];
    let limits = limits(run);
    if !limits.is_empty() {
        facts.push(("Limits", limits));
    }
    if !run.prefer.is_empty() {
        facts.push(("Preferred", run.prefer.join("; ")));
    }
    if let Some(time) = run.started {
        facts.push(("Started", utc(time)));
    }
    if spent > 0.0 {
        facts.push(("Time", duration(spent)));
    }
    if let Some(peak) = run.finish.and_then(|finish| finish.peak_rss_mb) {
        facts.push(("Peak memory", format!("{peak:.0} MiB")));
    }
    html! {
        dl {
            @for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// The classes of every data set; of several behind its name.
fn classes(run: &Run) -> String {
    let sets = run.classes.iter().enumerate().map(|(place, names)| {
        let of = run.sets.get(place);
        of.map_or_else(String::new, |set| format!("{set} ")) + &spelt(names)
    });
    sets.collect::<Vec<_>>().join("; ")
}

fn spelt(names: &[String]) -> String {
    let spelt: Vec<&str> = names.iter().take(SPELT).map(String::as_str).collect();
    let more = if names.len() > SPELT { ", …" } else { "" };
    format!("{}: {}{more}", names.len(), spelt.join(", "))
}

fn space(run: &Run) -> String {
    let resolutions = run.space.resolutions;
    let networks = match run.space.size() {
        size @ 0..1_000_000 => size.to_string(),
        size => format!("{:.1e}", size as f64),
    };
    format!(
        "{}, {} genes, {} networks, images of {} to {} pixels",
        run.space.name,
        run.space.genes(),
        networks,
        resolutions.from,
        resolutions.to
    )
}

/// Seconds since the Unix epoch as a date and time of day in UTC, by the civil calendar of 400-year
/// eras that begin on 1 March (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn utc(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02} UTC",
        time / 3600,
        time % 3600 / 60
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn the_largest_network_that_may_be_as_good_has_a_tile() {
        let sample = Sample::named("run");
        let mut run = Run::read(&sample.finish()).unwrap();
        let title = "Largest within 1 standard error";
        run.larger = run.front.pop();
        let page = headline(&run).into_string();
        let (_, after) = page.split_once(title).unwrap();
        let (tile, _) = after.split_once(" M multiply-adds").unwrap();
        let madds = Objective::Madds.of(run.larger.as_ref().unwrap());
        assert!(tile.ends_with(&format!(">{madds:.2}")), "{tile}");
        run.larger = None;
        assert!(!headline(&run).into_string().contains(title));
    }

    #[test]
    fn dates_of_known_seconds() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_735_689_600), "2025-01-01 00:00 UTC");
    }

    #[test]
    fn names_of_paths() {
        assert_eq!(short_name("../data/trash/"), "trash");
        assert_eq!(short_name("climate-tiles"), "climate-tiles");
        assert_eq!(short_name("/"), "/");
    }

    #[test]
    fn many_classes_are_cut() {
        let names: Vec<String> = (0..30).map(|i| format!("c{i}")).collect();
        assert!(spelt(&names).starts_with("30: c0, c1"));
        assert!(spelt(&names).ends_with("c23, …"));
        assert_eq!(spelt(&names[..2]), "2: c0, c1");
    }
    #[test]
    fn classes_of_several_data_sets_go_behind_their_names() {
        let mut run = Run::read(&Sample::named("run").finish()).unwrap();
        assert_eq!(classes(&run), "3: glass, metal, paper");
        run.sets = vec!["trash".into(), "letters".into()];
        run.classes.push(vec!["a".into()]);
        assert_eq!(classes(&run), "trash 3: glass, metal, paper; letters 1: a");
    }
}
