//! `nat report`: a run as one self-contained page, with plots and drawings as SVG inside it.
//!
//! [`model`] reads the run directory into plain data; every other module turns a part of it into markup. The page
//! depends on nothing but the files, so the same files give the same bytes, and a run that is going on or was
//! killed shows what there is.

mod architecture;
mod axis;
mod course;
mod front;
mod genes;
mod headline;
mod kernel;
mod label;
mod model;
mod plot;
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
    Ok(page(&Run::read(directory)?).into_string())
}

fn page(run: &Run) -> Markup {
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
                main {
                    (headline::headline(run))
                    (front::scatters(run))
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
mod tests {}
