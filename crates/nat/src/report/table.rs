//! The final front in numbers, with the commands that take a network out of the run.

use std::path::Path;

use maud::{Markup, html};
use nat_transfer::Objective;

use crate::shell;

use super::model::{Member, Run, Shown};

/// The front as a table, then commands.
pub fn front(run: &Run) -> Markup {
    if run.front.is_empty() {
        return html! {};
    }
    let tested = run.front.iter().any(|member| member.test_error.is_some());
    html! {
        section {
            h2 { "The front" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th {}
                            th { (run.title("error")) }
                            @if tested { th { (run.title("test error")) } }
                            th { (Objective::Madds.title()) }
                            th { (Objective::Params.title()) }
                            @for objective in further(run) { th { (objective.title()) } }
                            th { "Input (pixels)" }
                            @if run.space.width_multipliers.len() > 1 { th { "Width" } }
                            th { "Depths" }
                            th.text { "Genes" }
                        }
                    }
                    tbody { @for (position, member) in run.front.iter().enumerate() { (row(run, position, member, tested)) } }
                }
            }
            p.note {
                "Error: of the search split"
                @if tested { ", on which the networks were chosen; test error: of images that no decision has seen" }
                ". Multiply-adds and parameters are in millions, for one image and " (run.most_classes()) " classes."
                @if run.objectives.len() < 3 { " The front is non-dominated in " (objectives(run)) "." }
            }
            (commands(run))
        }
    }
}

/// The objectives that have no column of their own anyway.
fn further(run: &Run) -> impl Iterator<Item = Objective> {
    let known = [Objective::Error, Objective::Madds, Objective::Params];
    run.objectives
        .iter()
        .copied()
        .filter(move |objective| !known.contains(objective))
}

fn row(run: &Run, position: usize, member: &Member, tested: bool) -> Markup {
    let architecture = run.space.architecture(&member.measured.genes);
    let depths: Vec<String> = architecture.depths.iter().map(usize::to_string).collect();
    html! {
        tr {
            td { @if let Some(letter) = run.letter(position) { span.badge title="high trade-off" { (letter) } } }
            td { (format!("{:.2}", member.measured.error)) }
            @if tested { td { @if let Some(error) = member.test_error { (format!("{error:.2}")) } @else { "–" } } }
            td { (format!("{:.2}", Objective::Madds.of(member))) }
            td { (format!("{:.3}", Objective::Params.of(member))) }
            @for objective in further(run) { td { (value(objective, objective.of(member))) } }
            td { (architecture.resolution) }
            @if run.space.width_multipliers.len() > 1 { td { (format!("{:.1}", run.space.width_multipliers[architecture.width])) } }
            td { (depths.join("·")) }
            td.text { code { (member.measured.genes) } }
        }
    }
}

/// A value of an objective that has no column of its own. What a command says may be of any size.
fn value(objective: Objective, value: f64) -> String {
    match objective {
        Objective::Command(_) => value.to_string(),
        _ => format!("{value:.2}"),
    }
}

/// The objectives of a run in a sentence.
pub fn objectives(run: &Run) -> String {
    let nouns: Vec<String> = run
        .objectives
        .iter()
        .map(|objective| match objective.is_error() {
            true => format!("{}{}", run.counted(), objective.noun()),
            false => objective.noun(),
        })
        .collect();
    match nouns.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => nouns.concat(),
    }
}

fn commands(run: &Run) -> Markup {
    let path = shell::quoted(&run.path);
    let middle = &run.front[run.front.len() / 2];
    let set = run.sets.first().map(String::as_str);
    let of = set.map_or_else(String::new, |name| format!(" --data-set {name}"));
    html! {
        h3 { "Take one" }
        pre {
            code { (shell::export(Path::new(&run.path), set, middle.measured.madds)) "\n" }
            @for &position in &run.named {
                @let name = run.letter(position).map(|letter| letter.to_ascii_lowercase()).unwrap_or('x');
                code { (format!("nat export {path}{of} --genes {} --to {name}.onnx\n", run.front[position].measured.genes)) }
            }
        }
    }
}
