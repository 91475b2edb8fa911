//! `nat experiment`: arms × data sets × seeds from a file, compared.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use nat_transfer::write_atomically;
use signal_hook::consts::SIGTERM;

use crate::{
    args, dataset,
    experiment::{
        Cell, Plan,
        cell::{files_of, short_hash},
        chart,
        child::Stopped,
        comparison::Finished,
        tables,
    },
    failure::{self, wrong_argument},
    output,
};

pub fn run(args: &args::Experiment) -> Result<ExitCode> {
    let mut plan = Plan::open(&args.file)?;
    let base = args.file.parent().unwrap_or(Path::new(""));
    for (_, path) in plan.data.iter_mut().filter(|(_, path)| !is_builtin(path)) {
        *path = base.join(&*path).display().to_string();
    }
    for text in &args.data {
        let (name, path) = (text.split_once('='))
            .ok_or_else(|| wrong_argument(format!("--data takes NAME=PATH, got '{text}'")))?;
        let slot = plan.data.get_mut(name).ok_or_else(|| {
            wrong_argument(format!("--data {text}: the experiment has no set '{name}'"))
        })?;
        *slot = path.to_owned();
    }
    check_names(&plan, &args.only)?;
    if args.summary && !args.out.is_dir() {
        return Err(wrong_argument(format!(
            "--out: there is no folder {}; --summary only tells what has been run",
            args.out.display()
        )));
    }
    output::check_folder("--out", &args.out)?;
    let folder = folder(args)?;
    let hashes = match args.summary {
        true => Hashes::default(),
        false => Hashes::of(&cells(&plan, &args.only, &Hashes::default()))?,
    };
    let cells = cells(&plan, &args.only, &hashes);
    // Both handlers keep this process alive: the child is asked to end, saves, and its exit code ends the experiment. A
    // terminal sends Ctrl-C to the child as well, which has one wish to end then, not two: it is asked by SIGTERM.
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("the handler of Ctrl-C")?;
    signal_hook::flag::register(SIGTERM, Arc::clone(&stop)).context("the handler of SIGTERM")?;
    // All of them first: a folder that holds something else is better known before the work than after half of it.
    let open = (cells.iter().enumerate())
        .map(|(index, cell)| match cell.result(&args.out) {
            // What is of no use is told with the tables.
            Err(_) if args.summary => Ok(Some((index, cell))),
            result => Ok(result?.is_none().then_some((index, cell))),
        })
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>>>()?;
    if !args.summary {
        open.iter().try_for_each(|(_, cell)| cell.check())?;
    }
    let missing = open.len();
    for (index, cell) in open {
        if args.summary {
            break;
        }
        errln!(
            "nat: cell {} of {}: {}, seed {}, {}: {}",
            index + 1,
            cells.len(),
            cell.data,
            cell.seed,
            cell.arm.name,
            cell.arguments()
        );
        match cell.run(&args.out, &stop) {
            Err(error) if error.is::<Stopped>() => {
                errln!("nat: {error}");
                return Ok(ExitCode::from(failure::INTERRUPTED));
            }
            result => {
                result.with_context(|| format!("the cell {}", cell.folder(&args.out).display()))?
            }
        };
        write(&plan, &finished(&plan, &args.out, &hashes), &folder)?;
    }
    let finished = finished(&plan, &args.out, &hashes);
    write(&plan, &finished, &folder)?;
    out!("{}", tables::summary(&plan, &finished));
    if args.summary && missing > 0 {
        outln!("\n{missing} of {} cells have not been run", cells.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Every result that there is, those of earlier calls too; what is of no use is left out and told.
fn finished<'a>(plan: &'a Plan, out: &Path, hashes: &'a Hashes) -> Vec<Finished<'a>> {
    let mut finished = Vec::new();
    for cell in cells(plan, &[], hashes) {
        let result = cell.result(out).unwrap_or_else(|error| {
            errln!("nat: left out: {}", failure::one_line(&error));
            None
        });
        if let Some(found) = result {
            let arm = plan.arms.iter().position(|arm| arm.name == cell.arm.name);
            finished.push(Finished {
                arm: arm.expect("cells come from the plan's arms"),
                part: cell.part,
                data: cell.data,
                seed: cell.seed,
                found,
            });
        }
    }
    finished
}

fn is_builtin(path: &str) -> bool {
    path == dataset::CLIMATE_TILES
}

fn check_names(plan: &Plan, only: &[String]) -> Result<()> {
    let unknown = only.iter().find(|name| {
        plan.arm(name).is_none()
            && !plan.data.contains_key(*name)
            && !plan.seeds.iter().any(|seed| seed.to_string() == **name)
    });
    match unknown {
        Some(name) => Err(wrong_argument(format!(
            "--only {name}: the experiment has no arm, data set or seed of this name"
        ))),
        None => Ok(()),
    }
}

/// What results depend on besides arguments and seed.
#[derive(Default)]
struct Hashes {
    /// Of data sets, by name.
    data: BTreeMap<String, String>,
    /// Of the files that arguments name, by the name there.
    files: BTreeMap<String, String>,
}

impl Hashes {
    /// Looks at what some cells depend on.
    fn of(cells: &[Cell<'_>]) -> Result<Hashes> {
        let mut hashes = Hashes::default();
        for cell in cells {
            let Cell { path, data, .. } = cell;
            for name in files_of(&cell.arguments()) {
                if !hashes.files.contains_key(&name)
                    && Path::new(&name).is_file()
                    && let Ok(bytes) = std::fs::read(&name)
                {
                    hashes.files.insert(name, short_hash(&bytes));
                }
            }
            if hashes.data.contains_key(*data) {
                continue;
            }
            if !is_builtin(path) && !Path::new(path).exists() {
                return Err(wrong_argument(format!(
                    "{path}: there is no such data set; `--data {data}=PATH` says where it is, `--only` leaves it out"
                )));
            }
            let set = dataset::open_quietly(path, &dataset::options())?;
            hashes
                .data
                .insert((*data).to_owned(), set.hash().to_owned());
        }
        Ok(hashes)
    }
}

/// The cells of the names in `only`, seed by seed, so that an unfinished experiment has whole seeds. `hashes` are those of what
/// has been looked at.
fn cells<'a>(plan: &'a Plan, only: &[String], hashes: &'a Hashes) -> Vec<Cell<'a>> {
    // A kind of name (arms, data sets, seeds) of which --only says nothing is taken whole.
    let chosen = |kind: &[String], name: &str| {
        let only = |name: &str| only.iter().any(|only| only == name);
        only(name) || !kind.iter().any(|other| only(other))
    };
    let arms: Vec<String> = plan.arms.iter().map(|arm| arm.name.clone()).collect();
    let sets: Vec<String> = plan.data.keys().cloned().collect();
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    let mut cells = Vec::new();
    for &seed in &plan.seeds {
        for (data, path) in &plan.data {
            for arm in &plan.arms {
                let chosen = chosen(&arms, &arm.name)
                    && chosen(&sets, data)
                    && chosen(&seeds, &seed.to_string());
                if chosen && arm.takes(data, seed) {
                    cells.extend((0..arm.parts().len()).map(|part| {
                        Cell {
                            arm,
                            part,
                            data,
                            path,
                            seed,
                            hash: hashes.data.get(data).map(String::as_str),
                            files: &hashes.files,
                            on: (arm.builds_on())
                                .filter_map(|name| plan.arm(name))
                                .collect(),
                        }
                    }));
                }
            }
        }
    }
    cells
}

/// Where the tables of this experiment lie, beside the cells.
fn folder(args: &args::Experiment) -> Result<PathBuf> {
    let name = args.file.file_stem().unwrap_or(args.file.as_os_str());
    let folder = args.out.join(name);
    std::fs::create_dir_all(&folder)
        .map_err(|error| wrong_argument(format!("--out {}: {error}", folder.display())))?;
    Ok(folder)
}

fn write(plan: &Plan, finished: &[Finished<'_>], folder: &Path) -> Result<()> {
    let files = [
        ("summary.md", Some(tables::summary(plan, finished))),
        ("networks.csv", Some(tables::networks_csv(plan, finished))),
        ("predictions.csv", tables::predictions_csv(plan, finished)),
        ("accuracy.svg", chart::accuracy_over_madds(plan, finished)),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        match text {
            Some(text) => write_atomically(&path, text.as_bytes())?,
            // That of earlier results says nothing of these.
            None if path.exists() => {
                std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
            None => {}
        }
    }
    Ok(())
}
