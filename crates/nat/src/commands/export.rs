//! `nat export`: one network as a file that stands alone.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use nat_data::OpenOptions;
use nat_export::{ExportError, ModelInfo};
use nat_space::{Genotype, Space};
use nat_supernet::{FoldedNet, Subnet, SupernetFile};
use nat_transfer::{Answer, Evaluator, Input, Objective, Preset, RunConfig};

use crate::{
    answer, args,
    commands::{front, space},
    dataset,
    failure::{bad_input, wrong_argument},
    output, shell, table, weights,
};

/// Where a subnet is cut from: a run or a supernet file, with its way of measuring.
pub struct Quarry {
    /// The space of the genotypes.
    pub space: Space,
    /// The weights.
    pub supernets: SupernetFile,
    /// Measures and recalibrates.
    pub evaluator: Evaluator,
    /// Share of the shorter side that the centre crop keeps.
    pub crop_ratio: f64,
}

impl Quarry {
    /// The last finished iteration of a run for the data set at a place, with its images or others.
    pub fn of_run(answer: &Answer, place: usize, data: Option<&str>) -> Result<Quarry> {
        let record = &answer.record;
        // Before the images are opened, which takes long: a run that goes on gives up this iteration after its next one.
        let supernets = answer.supernets(place)?;
        let own = &record.data[place];
        let set = match data {
            Some(path) => {
                let options = OpenOptions {
                    seed: own.split_seed,
                    ..dataset::options()
                };
                dataset::open_to_measure(path, &options)?
            }
            None => {
                let set = dataset::open_recorded(own).context("the data set of the run")?;
                answer.check(place, &set)?;
                set
            }
        };
        if set.classes() != own.classes {
            return Err(bad_input(format!(
                "{}: has other classes than the run was made for",
                data.unwrap_or(&own.path)
            )));
        }
        Ok(Quarry {
            space: record.space.clone(),
            supernets,
            evaluator: answer.evaluator(place, Arc::clone(&set)),
            crop_ratio: record.config.evaluate.crop_ratio,
        })
    }

    /// The supernets of a file or built-in ones, measured as the quick preset does.
    pub fn of_supernets(path: &Path, supernets: SupernetFile, data: &str) -> Result<Quarry> {
        let space = supernets.space().clone();
        let mut config = RunConfig::resolve(Preset::Quick, &space, None, &[])?;
        config.evaluate = config.evaluate.outside_the_search();
        let set = dataset::open_to_measure(data, &dataset::options())?;
        let provenance = &supernets.provenance;
        if set.classes() != provenance.class_names {
            return Err(bad_input(format!(
                "{data}: has other classes than {file}; `nat search --supernet {word}` adapts it to them",
                file = path.display(),
                word = shell::quoted(&path.display().to_string())
            )));
        }
        let input = Input::of(provenance).with_context(|| path.display().to_string())?;
        Ok(Quarry {
            evaluator: Evaluator::new(Arc::clone(&set), &config, input, space.resolutions.to),
            crop_ratio: config.evaluate.crop_ratio,
            space,
            supernets,
        })
    }

    /// A recalibrated subnet at the genotype's resolution or another one.
    pub fn cut(&self, genes: &Genotype, resolution: Option<usize>) -> Result<Subnet> {
        let mut architecture = self.space.architecture(genes);
        architecture.resolution = resolution.unwrap_or(architecture.resolution);
        Ok(self
            .evaluator
            .calibrated(&self.supernets.supernets[architecture.width], &architecture)?)
    }
}

/// The place of the data set that `--data-set` names, or of the only one.
pub fn place(answer: &Answer, data_set: Option<&str>) -> Result<usize> {
    answer.record.set(data_set).context("--data-set")
}

/// The forms of a network that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// ONNX.
    Onnx,
    /// Weights with their layer plan.
    Safetensors,
}

/// The form that a file's ending stands for.
pub fn form(path: &Path) -> Result<Form> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("onnx") => Ok(Form::Onnx),
        Some("safetensors") => Ok(Form::Safetensors),
        _ => Err(wrong_argument(format!(
            "{}: the ending must be .onnx or .safetensors",
            path.display()
        ))),
    }
}

impl Form {
    /// Writes a network.
    pub fn write(self, path: &Path, network: &FoldedNet, info: &ModelInfo) -> Result<()> {
        match self {
            Form::Onnx => nat_export::write_onnx(path, network, info)?,
            Form::Safetensors => nat_export::write_safetensors(path, network, info)?,
        }
        Ok(())
    }
}

/// Writes an exported model in the other form.
fn rewrite(args: &args::Export, form: Form, info: &ModelInfo) -> Result<()> {
    let asked = [
        ("--genes", args.genes.is_some()),
        ("--where", args.choice.r#where.is_some()),
        ("--best", args.choice.best != "error"),
        ("--resolution", args.resolution.is_some()),
        ("--data", args.data.is_some()),
        ("--data-set", args.data_set.is_some()),
    ];
    if let Some((argument, _)) = asked.iter().find(|(_, asked)| *asked) {
        return Err(wrong_argument(format!(
            "{argument} goes with a supernet or a run; {} is a single network",
            args.source.display()
        )));
    }
    let net = nat_export::read_safetensors(&args.source).map_err(|error| match error {
        // Its description could be read, so that it is ONNX.
        ExportError::UnknownForm { path } => wrong_argument(format!(
            "{}: only the safetensors form can be written in the other one: give the .safetensors file",
            path.display()
        )),
        error => error.into(),
    })?;
    form.write(&args.to, &net, info)?;
    report(&args.to, info);
    Ok(())
}

fn report(path: &Path, info: &ModelInfo) {
    let genes = match info.genes.as_str() {
        "" => &info.space,
        genes => genes,
    };
    outln!(
        "{}: {genes}, {} MAdds, {} params, {side}x{side} pixels",
        path.display(),
        table::millions(info.madds),
        table::millions(info.params),
        side = info.resolution,
    );
}

pub fn run(args: &args::Export) -> Result<()> {
    if args
        .resolution
        .is_some_and(|side| !(8..=2048).contains(&side))
    {
        return Err(wrong_argument("--resolution must lie in 8 to 2048 pixels"));
    }
    let form = form(&args.to)?;
    output::check("--to", &args.to)?;
    weights::check_source(&args.source)?;
    if let Some(info) = weights::single(&args.source)? {
        return rewrite(args, form, &info);
    }
    let (quarry, genes, error) = if args.source.is_dir() {
        let answer = answer::open(&args.source)?;
        let front = answer.front();
        let (genes, member) = match &args.genes {
            // Any network of the supernet; the error of those in the archive is known.
            Some(text) => {
                let genes = space::genotype(&answer.record.space, text)?;
                let member = answer.archive.iter().find(|member| member.genes == genes);
                (genes, member)
            }
            None => {
                let member = front::choose(&answer, &front, &args.choice)?;
                (member.genes.clone(), Some(member))
            }
        };
        let place = place(&answer, args.data_set.as_deref())?;
        // Measured at the genotype's own side, under batch norms of the run's own images.
        let holds = args.resolution.is_none() && args.data.is_none();
        let error = member
            .filter(|_| holds)
            .map(|member| match answer.record.sets()[place] {
                Some(set) => member.value(Objective::ErrorOn(set)),
                None => member.error,
            });
        let quarry = Quarry::of_run(&answer, place, args.data.as_deref())?;
        (quarry, genes, error)
    } else {
        if args.data_set.is_some() {
            return Err(wrong_argument(
                "--data-set goes with a run; this is a supernet",
            ));
        }
        // Before the arguments that it needs: it may be no supernet at all.
        let supernets = weights::open(&args.source.to_string_lossy())?;
        let text = args.genes.as_deref().ok_or_else(|| {
            wrong_argument("a supernet file has no front to choose from: give --genes")
        })?;
        let genes = space::genotype(supernets.space(), text)?;
        let data = args.data.as_deref().ok_or_else(|| {
            wrong_argument("a supernet file needs --data for the recalibration of batch norm")
        })?;
        let quarry = Quarry::of_supernets(&args.source, supernets, data)?;
        (quarry, genes, None)
    };
    let subnet = quarry.cut(&genes, args.resolution)?;
    let provenance = &quarry.supernets.provenance;
    let info = ModelInfo {
        error,
        balanced: error.is_some() && quarry.evaluator.is_balanced(),
        ..nat_transfer::model_info(
            &quarry.space,
            provenance,
            quarry.crop_ratio,
            &genes,
            &subnet,
        )
    };
    let folded = subnet.fold();
    form.write(&args.to, &folded, &info)?;
    report(&args.to, &info);
    Ok(())
}
