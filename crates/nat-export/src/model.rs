//! Exported models, opened and run by a runtime of their own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use nat_supernet::{FoldedNet, InferenceNet};
use rten::{Dimension, ModelOptions, NodeId, RunOptions, ThreadPool, ValueView};

use crate::{ExportError, ModelInfo, onnx, weights};

/// An exported model, ready to classify.
///
/// Safetensors run on the program's own kernels, ONNX in a runtime that knows nothing of them.
#[derive(Debug)]
pub struct Model {
    path: PathBuf,
    info: ModelInfo,
    runtime: Runtime,
}

/// Who runs a model.
#[derive(Debug)]
enum Runtime {
    Own(Box<InferenceNet>),
    Rten {
        model: Box<rten::Model>,
        input: NodeId,
        output: NodeId,
        options: RunOptions,
    },
}

impl Model {
    /// Opens a model that this program wrote; its content, not its name, tells the form.
    ///
    /// # Errors
    ///
    /// [`ExportError::Read`] and [`ExportError::UnknownForm`] for files of another kind, [`ExportError::Damaged`]
    /// for truncated or inconsistent ones, [`ExportError::Foreign`] and [`ExportError::Metadata`] where the
    /// description is missing or contradicts the network, [`ExportError::Tensor`] where weights are missing or
    /// superfluous, [`ExportError::Run`] where the runtime refuses the graph.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let bytes = read(path)?;
        let info = info_of(path, &bytes)?;
        let runtime = if weights::recognises(&bytes) {
            let net = weights::decode(path, &bytes)?;
            agree(path, &info, &net)?;
            Runtime::Own(Box::new(net.inference()))
        } else {
            rten(bytes, &info).map_err(|reason| ExportError::Run {
                path: path.into(),
                reason,
            })?
        };
        Ok(Self {
            path: path.into(),
            info,
            runtime,
        })
    }

    /// The same model on up to `threads` threads.
    pub fn with_threads(mut self, threads: usize) -> Self {
        match &mut self.runtime {
            Runtime::Own(network) => **network = network.as_ref().clone().with_threads(threads),
            Runtime::Rten { options, .. } => *options = on_threads(threads),
        }
        self
    }

    /// Whether RTen runs the model, as it does ONNX files; safetensors have this program's own kernels.
    pub fn is_run_by_rten(&self) -> bool {
        matches!(self.runtime, Runtime::Rten { .. })
    }

    /// What the file says about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Logits `[n, classes]` of `n` images `[n, 3, resolution, resolution]`, normalised RGB, both in memory order.
    ///
    /// # Errors
    ///
    /// [`ExportError::Length`] for a wrong number of pixels, [`ExportError::Run`] where the runtime fails.
    pub fn run(&self, images: &[f32], n: usize) -> Result<Vec<f32>, ExportError> {
        let side = self.info.resolution;
        let shape = [n, 3, side, side];
        check_length("the batch of images", shape.iter().product(), images.len())?;
        if n == 0 {
            return Ok(Vec::new());
        }
        let (runtime, input, output, options) = match &self.runtime {
            Runtime::Own(network) => return Ok(network.logits(images, shape)),
            Runtime::Rten {
                model,
                input,
                output,
                options,
            } => (model, *input, *output, options.clone()),
        };
        let view = ValueView::from_shape(shape, images).map_err(|error| self.failed(error))?;
        let [logits] = runtime
            .run_n(vec![(input, view.into())], [output], Some(options))
            .map_err(|error| self.failed(error))?;
        let (shape, logits) = logits
            .into_shape_vec::<f32, 2>()
            .map_err(|error| self.failed(error))?;
        let expected = [n, self.info.classes.len()];
        if shape != expected {
            let reason = format!("logits have shape {shape:?}, the metadata promises {expected:?}");
            return Err(self.failed(reason));
        }
        Ok(logits)
    }

    fn failed(&self, reason: impl ToString) -> ExportError {
        ExportError::Run {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }
}

/// Reads the description of a model without making it ready to run.
///
/// # Errors
///
/// As [`Model::open`], as far as the description goes.
pub fn read_info(path: &Path) -> Result<ModelInfo, ExportError> {
    info_of(path, &read(path)?)
}

/// Runs the file at `path` on `n` images (see [`Model::run`]) and returns the largest absolute difference of its
/// logits from `expected` `[n, classes]`; infinite where either side is not a number.
///
/// # Errors
///
/// Those of [`Model::open`] and [`Model::run`], and [`ExportError::Length`] for a wrong number of logits.
pub fn verify(path: &Path, images: &[f32], n: usize, expected: &[f32]) -> Result<f32, ExportError> {
    let found = Model::open(path)?.run(images, n)?;
    check_length("the expected logits", found.len(), expected.len())?;
    Ok(found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (found - expected).abs())
        // `f32::max` alone would drop a NaN, the one difference that must not go unnoticed.
        .map(|difference| {
            if difference.is_nan() {
                f32::INFINITY
            } else {
                difference
            }
        })
        .fold(0.0, f32::max))
}

/// An ONNX graph with the interface that the metadata promise.
fn rten(graph: Vec<u8>, info: &ModelInfo) -> Result<Runtime, String> {
    let model = ModelOptions::with_all_ops()
        .load(graph)
        .map_err(|error| error.to_string())?;
    let side = Some(info.resolution);
    let input = node(&model, onnx::INPUT, &[None, Some(3), side, side])?;
    let output = node(&model, onnx::OUTPUT, &[None, Some(info.classes.len())])?;
    Ok(Runtime::Rten {
        model: Box::new(model),
        input,
        output,
        options: RunOptions::default(),
    })
}

/// Runs with a pool of so many threads.
pub(crate) fn on_threads(threads: usize) -> RunOptions {
    let pool = ThreadPool::with_num_threads(threads);
    RunOptions::default().with_thread_pool(Some(Arc::new(pool)))
}

/// Finds a named value of the graph whose shape does not contradict `expected`; a symbolic or unknown size agrees
/// with every number.
fn node(runtime: &rten::Model, name: &str, expected: &[Option<usize>]) -> Result<NodeId, String> {
    let id = runtime.node_id(name).map_err(|error| error.to_string())?;
    let Some(shape) = runtime.node_info(id).and_then(|node| node.shape()) else {
        return Ok(id);
    };
    let agrees = |(found, expected): (&Dimension, &Option<usize>)| match (found, expected) {
        (Dimension::Fixed(found), Some(expected)) => found == expected,
        _ => true,
    };
    if shape.len() == expected.len() && shape.iter().zip(expected).all(agrees) {
        Ok(id)
    } else {
        Err(format!(
            "the graph's `{name}` has shape {shape:?}, which the metadata contradicts"
        ))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ExportError> {
    std::fs::read(path).map_err(|source| ExportError::Read {
        path: path.into(),
        source,
    })
}

fn info_of(path: &Path, bytes: &[u8]) -> Result<ModelInfo, ExportError> {
    if weights::recognises(bytes) {
        weights::read_info(path, bytes)
    } else if onnx::recognises(bytes) {
        onnx::read_info(path, bytes)
    } else {
        Err(ExportError::UnknownForm { path: path.into() })
    }
}

/// A description that contradicts its own file is the file's fault, so the message must name the file.
fn agree(path: &Path, info: &ModelInfo, net: &FoldedNet) -> Result<(), ExportError> {
    info.check(net).map_err(|error| match error {
        ExportError::Info { field, reason } => ExportError::Metadata {
            path: path.into(),
            key: field,
            reason,
        },
        other => other,
    })
}

fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), ExportError> {
    if expected == found {
        Ok(())
    } else {
        Err(ExportError::Length {
            what,
            expected,
            found,
        })
    }
}
