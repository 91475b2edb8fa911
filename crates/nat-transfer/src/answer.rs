//! What a run has found so far: its front, its weights, and the one look at the test split.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use nat_data::{ImageSet, Split};
use nat_space::Genotype;
use nat_supernet::{Subnet, SupernetFile};
use serde::{Deserialize, Serialize};

use crate::{
    Evaluator, Member, RunDirectory, RunRecord, TransferError, archive, checkpoint,
    write_atomically,
};

/// The last finished iteration of a run.
pub struct Answer {
    directory: RunDirectory,
    /// What the run was started with.
    pub record: RunRecord,
    /// The iteration.
    pub generation: usize,
    /// Whether it is the last one.
    pub finished: bool,
    /// Every measured member.
    pub archive: Vec<Member>,
    supernets: PathBuf,
}

/// A line of `test.jsonl`: a network of the front on the test split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TestLine {
    genes: String,
    test_error: f64,
}

impl Answer {
    /// Reads a run directory.
    ///
    /// # Errors
    /// It holds no run, or no iteration is finished yet.
    pub fn open(directory: RunDirectory) -> Result<Answer, TransferError> {
        let record = directory.record()?;
        let (state, supernets) = checkpoint::load_finished(&directory)?;
        let archive = state
            .archive
            .iter()
            .map(|line| line.member(&record.space))
            .collect::<Result<_, _>>()?;
        Ok(Answer {
            finished: state.generation >= record.config.search.iterations,
            generation: state.generation,
            directory,
            record,
            archive,
            supernets,
        })
    }

    /// The non-dominated members by ascending first objective.
    pub fn front(&self) -> Vec<Member> {
        archive::front(&self.archive, &self.record.config.aims())
    }

    /// The supernets as the last finished iteration left them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn supernets(&self) -> Result<SupernetFile, TransferError> {
        Ok(SupernetFile::load(&self.supernets)?)
    }

    /// The file they are read from.
    pub fn supernet_path(&self) -> &Path {
        &self.supernets
    }

    /// The run's way of measuring.
    pub fn evaluator(&self, set: Arc<ImageSet>) -> Evaluator {
        Evaluator::new(
            set,
            &self.record.config,
            self.record.data.normalisation(),
            self.record.space.resolutions.to,
        )
    }

    /// A network with the batch-norm statistics that it was measured with, at its own or another resolution.
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn subnet(
        &self,
        supernets: &SupernetFile,
        evaluator: &Evaluator,
        genes: &Genotype,
        resolution: Option<usize>,
    ) -> Result<Subnet, TransferError> {
        let mut architecture = self.record.space.architecture(genes);
        architecture.resolution = resolution.unwrap_or(architecture.resolution);
        evaluator.calibrated(&supernets.supernets[architecture.width], &architecture)
    }

    /// The test errors of the given front in percent. The test split is read once: what was measured is kept in
    /// `test.jsonl` and given again. `measured` is told how many networks are done.
    ///
    /// # Errors
    /// The run is not finished, the set is another one, or an image cannot be read.
    pub fn test<E: From<TransferError>>(
        &self,
        front: &[Member],
        open_set: impl FnOnce() -> Result<Arc<ImageSet>, E>,
        measured: &mut dyn FnMut(usize),
    ) -> Result<Vec<f64>, E> {
        if !self.finished {
            return Err(TransferError::Config(format!(
                "the run stands at iteration {} of {}: the test split is read once, when it is finished",
                self.generation, self.record.config.search.iterations
            ))
            .into());
        }
        let path = self.directory.path("test.jsonl");
        let genes: Vec<String> = front
            .iter()
            .map(|member| member.genes.to_string())
            .collect();
        if let Ok(text) = fs::read_to_string(&path) {
            let lines: Vec<TestLine> = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            if lines.iter().map(|line| &line.genes).eq(&genes) {
                return Ok(lines.into_iter().map(|line| line.test_error).collect());
            }
        }
        let set = open_set()?;
        let (supernets, evaluator) = (self.supernets()?, self.evaluator(set));
        let mut errors = Vec::with_capacity(front.len());
        let mut text = String::new();
        for (member, genes) in front.iter().zip(genes) {
            let subnet = self.subnet(&supernets, &evaluator, &member.genes, None)?;
            let test_error = evaluator.error(&subnet, Split::Test)?;
            text.push_str(
                &serde_json::to_string(&TestLine { genes, test_error }).expect("plain values"),
            );
            text.push('\n');
            errors.push(test_error);
            measured(errors.len());
        }
        write_atomically(&path, text.as_bytes())?;
        Ok(errors)
    }
}
