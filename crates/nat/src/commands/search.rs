//! `nat search` and `nat resume`: the main job.

use std::{
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use nat_data::{Filter, ImageSet, Normalisation};
use nat_space::Space;
use nat_supernet::{Provenance, Supernet, SupernetFile};
use nat_transfer::{
    DataRecord, Input, Name, Objective, Outcome, Preferences, Preset, Run, RunConfig, RunDirectory,
    RunRecord, TransferError, is_name,
    streams::{Purpose, key, seed_of, seed_of_set},
};
use signal_hook::consts::SIGTERM;

use crate::{
    answer, args,
    commands::{front, report},
    dataset, devices, failure,
    failure::wrong_argument,
    output,
    progress::Progress,
    shell,
    weights::{self, SCRATCH},
};

pub fn run(args: &args::Search) -> Result<ExitCode> {
    let data = dataset::given(&args.data)?;
    let preset = Preset::named(&args.settings.preset)?;
    let source = Source::open(&args.supernet, args.space.as_deref())?;
    let mut request = args.settings.clone();
    request.set = own_objectives(&args.command)?;
    request.set.extend(args.settings.set.iter().cloned());
    if let Some(list) = &args.objectives {
        request
            .set
            .push(list_setting("objectives", list.split(',').map(str::trim)));
    }
    if !args.limit.is_empty() {
        request.set.push(list_setting("limits", &args.limit));
    }
    if !args.prefer.is_empty() {
        request.set.push(list_setting("prefer", &args.prefer));
    }
    let mut config = settings(&request, preset, source.space())?;
    let names: Vec<Name> = (data.iter())
        .filter_map(|set| set.name.as_deref().map(Name::new))
        .collect();
    if !(names.is_empty() || asks_for_objectives(&request)?) {
        config.objectives = names.into_iter().map(Objective::ErrorOn).collect();
        config.objectives.push(Objective::Madds);
    }
    tell_of_sides(args.space.as_deref(), preset, source.space(), &config);
    check_aims(&config, &args.command)?;
    check_regions(&config.prefer)?;
    start(data, source, preset, config, &args.out, args.profile)
}

/// Says so where a preset takes the place of the sides that a file of a space has.
pub fn tell_of_sides(named: Option<&str>, preset: Preset, space: &Space, config: &RunConfig) {
    let of_a_file = named.is_some_and(|name| Space::builtin(name).is_none());
    if let Some(sides) = config.resolutions
        && of_a_file
        && config.resolutions == preset.config(space).resolutions
    {
        let own = space.resolutions;
        errln!(
            "nat: the preset {} searches at {} to {} px, not at the {} to {} px of the space: --set resolutions.from={} --set resolutions.to={} --set resolutions.step={} for those",
            preset.name(),
            sides.from,
            sides.to,
            own.from,
            own.to,
            own.from,
            own.to,
            own.step
        );
    }
}

/// Checks that errors count, and that somebody wants to know what the commands of the arguments say.
fn check_aims(config: &RunConfig, commands: &[String]) -> Result<()> {
    let aims = || (config.objectives.iter().copied()).chain(config.limits.objectives());
    if !aims().any(Objective::is_error) {
        return Err(wrong_argument(
            "objectives: there is none of error, balanced_error and error:NAME, and no limit on one: the search would find networks that are cheap and know nothing",
        ));
    }
    for text in commands {
        let name = text.split('=').next().unwrap_or_default();
        let asked = Objective::Command(Name::new(name));
        if aims().all(|objective| objective != asked) {
            return Err(wrong_argument(format!(
                "--command {name}: '{asked}' is neither among the objectives nor in a limit, so that nothing would come of it"
            )));
        }
    }
    Ok(())
}

/// Checks that there can be networks where a region is preferred: errors and the answers of commands are never below 0, and
/// costs are above it.
fn check_regions(prefer: &Preferences) -> Result<()> {
    for (objective, value) in prefer.coordinates() {
        let may_be_zero = objective.is_error() || matches!(objective, Objective::Command(_));
        if value < 0.0 || (value == 0.0 && !may_be_zero) {
            let least = if may_be_zero { "0 or more" } else { "above 0" };
            return Err(wrong_argument(format!(
                "--prefer {objective}={value}: '{objective}' is {least} for every network"
            )));
        }
    }
    Ok(())
}

/// Whether arguments or file say what is searched for, be it what the preset would have taken anyway.
fn asks_for_objectives(args: &args::Settings) -> Result<bool> {
    let arguments = args.set.iter();
    let key = |text: &String| text.split('=').next().unwrap_or_default().trim() == "objectives";
    let in_file = |text: String| {
        text.parse::<toml::Table>()
            .is_ok_and(|file| file.contains_key("objectives"))
    };
    Ok(arguments.clone().any(key) || file(args)?.is_some_and(|(_, text)| in_file(text)))
}

/// Name and text of the file of settings.
fn file(args: &args::Settings) -> Result<Option<(String, String)>> {
    let Some(path) = &args.config else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong_argument(format!("--config {}: {error}", path.display())))?;
    Ok(Some((path.display().to_string(), text)))
}

/// A list of strings as a setting.
fn list_setting(key: &str, values: impl IntoIterator<Item: Into<String>>) -> String {
    let values = values
        .into_iter()
        .map(|value| toml::Value::String(value.into()));
    format!("{key}={}", toml::Value::Array(values.collect()))
}

/// `--command NAME=PROGRAM…` as settings.
fn own_objectives(commands: &[String]) -> Result<Vec<String>> {
    let setting = |text: &String| match text.split_once('=') {
        Some((name, run)) if is_name(name) => {
            let run = toml::Value::String(run.to_owned());
            Ok(format!("commands.{name}.run={run}"))
        }
        _ => Err(wrong_argument(format!(
            "--command takes NAME=PROGRAM…, where a name consists of letters, digits, - and _; got '{text}'"
        ))),
    };
    commands.iter().map(setting).collect()
}

/// Resolves preset, file, overrides and seed.
pub fn settings(args: &args::Settings, preset: Preset, space: &Space) -> Result<RunConfig> {
    let file = file(args)?;
    let file = file
        .as_ref()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let mut config = RunConfig::resolve(preset, space, file, &args.set)?;
    if let Some(seed) = args.seed {
        config.seed = seed;
        config.check()?;
    }
    Ok(config)
}

/// Where the weights of a run come from.
pub enum Source {
    /// Nowhere: they are trained first.
    Scratch(Space),
    /// A supernet file, or built-in weights.
    File {
        /// Its path or name.
        path: String,
        /// Its content.
        file: Box<SupernetFile>,
        /// Its space, with the sides of `--space` where that is given.
        space: Space,
    },
}

impl Source {
    /// Opens `--supernet`, checked against `--space` where that is given.
    pub fn open(supernet: &str, space: Option<&str>) -> Result<Source> {
        if supernet == SCRATCH {
            return Ok(Source::Scratch(Space::load(space.unwrap_or("tiny"))?));
        }
        let file = weights::open(supernet).with_context(|| {
            format!("--supernet {supernet} ('{SCRATCH}' trains one of --space first)")
        })?;
        let mut own = file.space().clone();
        if let Some(name) = space {
            let wanted = Space::load(name)?;
            let same = wanted.width_multipliers.len() == file.supernets.len()
                && file.supernets.iter().enumerate().all(|(width, supernet)| {
                    supernet.space().supernet_hash(supernet.width()) == wanted.supernet_hash(width)
                });
            if !same {
                let (held, given) = (&file.space().name, &wanted.name);
                let not = match held == given {
                    true => "which --space changes in more than its name and sides".into(),
                    false => format!("not of '{given}'"),
                };
                return Err(wrong_argument(format!(
                    "{supernet}: holds a supernet of the space '{held}', {not}: leave --space out or give another file"
                )));
            }
            let sides = wanted.resolutions;
            own = own.with_resolutions(sides.from, sides.to, sides.step)?;
        }
        Ok(Source::File {
            path: supernet.to_owned(),
            file: Box::new(file),
            space: own,
        })
    }

    /// How a run names it.
    fn name(&self) -> &str {
        match self {
            Source::Scratch(_) => SCRATCH,
            Source::File { path, .. } => path,
        }
    }

    /// The space that is searched, before the settings change its sides.
    pub fn space(&self) -> &Space {
        match self {
            Source::Scratch(space) | Source::File { space, .. } => space,
        }
    }
}

/// Starts a run and sees it through.
pub fn start(
    data: Vec<dataset::Given>,
    source: Source,
    preset: Preset,
    mut config: RunConfig,
    out: &Path,
    profile: bool,
) -> Result<ExitCode> {
    output::check_folder("--out", out)?;
    let directory = RunDirectory::at(out);
    directory.check_vacant()?;
    let tables = devices::open(
        &mut config.objectives,
        &mut config.limits,
        &mut config.prefer,
    )?;
    // Two ways of naming a table are one objective from here on.
    config.check()?;
    for command in config.commands.values_mut() {
        // Absolute, so that a resume from elsewhere runs the same.
        let folder = std::env::current_dir().context("the folder of this process")?;
        let folder = match &command.directory[..] {
            "" => folder,
            given => folder.join(given),
        };
        command.directory = folder.display().to_string();
    }
    let mut space = source.space().clone();
    if let Some(sides) = config.resolutions {
        space = space.with_resolutions(sides.from, sides.to, sides.step)?;
    }
    dataset::warn_of_side(space.resolutions.to);
    let options = dataset::options();
    let (mut records, mut students) = (Vec::new(), Vec::new());
    for (place, given) in data.into_iter().enumerate() {
        let set = dataset::open(&given.path, &options)?;
        let seed = seed_of_set(config.seed, place);
        let supernets = match &source {
            Source::Scratch(_) => fresh(&space, &set, seed),
            Source::File { file, .. } => adopt((**file).clone(), &set, seed),
        };
        let input = Input::of(&supernets.provenance).with_context(|| source.name().to_owned())?;
        records.push(DataRecord {
            name: given.name,
            ..dataset::record(&given.path, &set, &options, input)
        });
        students.push((set, supernets));
    }
    let record = RunRecord {
        version: env!("CARGO_PKG_VERSION").into(),
        preset: preset.name().into(),
        supernet: source.name().into(),
        data: records,
        config,
        space,
        tables,
    };
    let pretrained = matches!(source, Source::File { .. });
    let run = Run::create(directory, record, students, pretrained, Vec::new())?;
    drive(run, out, profile)
}

/// Supernets of a space with random weights, one a width.
pub fn fresh(space: &Space, set: &ImageSet, seed: u64) -> SupernetFile {
    let supernets = (0..space.width_multipliers.len())
        .map(|width| {
            Supernet::new(
                space,
                width,
                set.classes().len(),
                seed_of(key(seed, Purpose::Weights, width, 0)),
            )
        })
        .collect();
    SupernetFile {
        supernets,
        provenance: provenance(set),
    }
}

fn provenance(set: &ImageSet) -> Provenance {
    Provenance {
        class_names: set.classes().to_vec(),
        mean: Normalisation::IMAGENET.mean,
        std: Normalisation::IMAGENET.std,
        filter: Filter::Bicubic.name().into(),
    }
}

/// Fits loaded supernets to a data set: where the classes differ, the classifiers are replaced by fresh ones. Of as many classes
/// under other names it says so, as these may be the same ones.
pub fn adopt(mut file: SupernetFile, set: &ImageSet, seed: u64) -> SupernetFile {
    let known = &file.provenance.class_names;
    if known != set.classes() {
        if let ([first, ..], true) = (&known[..], known.len() == set.classes().len()) {
            errln!(
                "nat: the classifier begins anew: the supernet's {} classes have other names ('{first}', …) than the images'; \
                 `nat import … --data` gives it theirs",
                known.len()
            );
        }
        for (width, supernet) in file.supernets.iter_mut().enumerate() {
            supernet.replace_classifier(
                set.classes().len(),
                seed_of(key(seed, Purpose::Classifier, width, 0)),
            );
        }
        file.provenance.class_names = set.classes().to_vec();
    }
    file
}

pub fn resume(args: &args::Resume) -> Result<ExitCode> {
    let out = &args.run;
    let directory = RunDirectory::at(out);
    let record = answer::record(out)?;
    let sets = record.data.iter().map(|data| {
        dataset::open_recorded(data).with_context(|| format!("the data set of {}", out.display()))
    });
    let run = Run::resume(directory, sets.collect::<Result<_>>()?, Vec::new())
        .map_err(|error| answer::damaged(out, error))?;
    if run.is_finished() {
        errln!("nat: {} is finished", out.display());
        let page = out.join("report.html");
        let written = match page.exists() {
            true => Ok(()),
            false => report::write(out, &page),
        };
        return hand_over(out, written);
    }
    drive(run, out, args.profile)
}

/// Works on a run until it is finished or interrupted, then prints the answer.
fn drive(mut run: Run, out: &Path, profile: bool) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            // A second Ctrl-C does not wait: the last saved state is good.
            std::process::exit(i32::from(failure::INTERRUPTED));
        }
        errln!("\nnat: saving; press Ctrl-C again to leave at once");
    })
    .context("the handler of Ctrl-C")?;
    // What schedulers and containers send. By the other crate it would come with SIGHUP, and a run under nohup is to ignore that.
    signal_hook::flag::register(SIGTERM, Arc::clone(&stop)).context("the handler of SIGTERM")?;
    let mut progress = Progress::new(profile);
    let outcome = run.go(&mut progress, &stop);
    progress.close();
    let outcome = outcome.map_err(|error| {
        let stopped = format!(
            "the run stopped; its last saved state is intact and `nat resume {}` goes on with it",
            shell::quoted(&out.display().to_string())
        );
        match error {
            // The work, whatever the system says: the run is no data that somebody gave.
            TransferError::Io { .. } => anyhow::anyhow!("{stopped}: {error}"),
            TransferError::Supernet(_)
            | TransferError::Export(_)
            | TransferError::Measure { .. } => anyhow::Error::from(error).context(stopped),
            error => error.into(),
        }
    })?;
    match outcome {
        Outcome::Interrupted => {
            errln!(
                "nat: interrupted and saved: `nat resume {}` goes on",
                shell::quoted(&out.display().to_string())
            );
            Ok(ExitCode::from(failure::INTERRUPTED))
        }
        Outcome::Finished => {
            drop(run);
            hand_over(out, report::write(out, &out.join("report.html")))
        }
    }
}

/// Prints the answer of a finished run, whatever became of its page, and then says that.
fn hand_over(out: &Path, page: Result<()>) -> Result<ExitCode> {
    front::print_answer(out)?;
    page?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(config: Option<&Path>, set: &[&str]) -> args::Settings {
        args::Settings {
            config: config.map(Path::to_owned),
            set: set.iter().map(|&text| text.to_owned()).collect(),
            preset: "quick".into(),
            seed: None,
        }
    }

    #[test]
    fn objectives_of_a_file_count_as_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let silent = write("silent.toml", "seed = 3\n");
        let explicit = write("explicit.toml", "objectives = ['error', 'madds']\n");
        let asks = |config: Option<&Path>, set: &[&str]| {
            asks_for_objectives(&arguments(config, set)).unwrap()
        };
        assert!(!asks(None, &["seed=3"]) && !asks(Some(&silent), &[]));
        assert!(asks(Some(&explicit), &[]));
        assert!(asks(None, &["objectives=['error','madds']"]));
    }

    #[test]
    fn weights_are_searched_at_the_sides_of_the_given_space() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let own = Space::builtin("lite0").unwrap();
        let mine = own.with_resolutions(96, 160, 16).unwrap();
        std::fs::write(&path, mine.to_toml()).unwrap();
        let source = |space| Source::open("lite0", space).unwrap().space().resolutions;
        assert_eq!(source(path.to_str()), mine.resolutions);
        assert_eq!(source(None), own.resolutions);
    }
}
