//! The pieces of a network as one differentiable operation each: stem, inverted bottleneck, head.
//!
//! On the CPU a piece runs on the kernels of `nat_kernels`, forward and backward, and is one node of the gradient graph.
//! Its maps are NHWC. Devices without such kernels run the plain operations of [`Subnet`](crate::Subnet) instead.

use std::fmt;
use std::sync::{Arc, Mutex};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use nat_kernels::filters::Filters;
use nat_kernels::norm::{Moments, NormWeights};
use nat_kernels::squeeze_excite::SqueezeExcite;
use nat_kernels::workspace::Workspace;
use nat_kernels::{head, mbconv, stem};

use crate::parameters::{Active, Part};

/// What a piece computes. Its weights come as a list: those of every convolution followed by scale and shift of its batch
/// norm, in network order; reduction and expansion of a squeeze-excite, each with its bias, before the projection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Of images in NCHW order.
    Stem(stem::Shape),
    MbConv {
        shape: mbconv::Shape,
        expand: bool,
        squeeze_excite: bool,
    },
    /// To features `[batch, channels]`.
    Head(head::Shape),
}

impl Kind {
    /// Number of its weights.
    fn weights(&self) -> usize {
        match self {
            Kind::Stem(_) | Kind::Head(_) => 3,
            Kind::MbConv {
                expand,
                squeeze_excite,
                ..
            } => 6 + 3 * usize::from(*expand) + 4 * usize::from(*squeeze_excite),
        }
    }
}

/// One run of a piece: how it runs, and what it leaves behind.
pub(crate) struct Run {
    pub kind: Kind,
    pub workspace: Workspace,
    /// Statistics of its batch norms instead of the batch's own.
    pub given: Option<Vec<Moments>>,
    /// Which part of each weight it reads, where that is not all of it.
    parts: Vec<Option<Part>>,
    left: Mutex<Left>,
}

#[derive(Default)]
struct Left {
    moments: Vec<Moments>,
    saved: Option<Saved>,
}

enum Saved {
    Stem(stem::Saved),
    MbConv(Box<mbconv::Saved>),
    Head(head::Saved),
}

impl fmt::Debug for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.kind)
    }
}

impl Run {
    pub(crate) fn new(kind: Kind, workspace: Workspace, given: Option<Vec<Moments>>) -> Self {
        Self {
            kind,
            workspace,
            given,
            parts: Vec::new(),
            left: Mutex::default(),
        }
    }

    /// Runs the piece; the result has rank `D`. Also returns the statistics that its batch norms used.
    pub(crate) fn run<const D: usize, const E: usize>(
        mut self,
        x: Tensor<D>,
        weights: Vec<Weight>,
    ) -> (Tensor<E>, Vec<Moments>) {
        self.parts = weights.iter().map(|weight| weight.part).collect();
        let run = Arc::new(self);
        let x = x.into_dispatch();
        let mut weights = weights.into_iter().map(|weight| weight.tensor);
        // Places without a weight take the input, which nobody reads there.
        let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12] =
            std::array::from_fn(|_| weights.next().unwrap_or_else(|| x.clone()));
        let output = Dispatch::piece(
            x,
            w0,
            w1,
            w2,
            w3,
            w4,
            w5,
            w6,
            w7,
            w8,
            w9,
            w10,
            w11,
            w12,
            Arc::clone(&run),
        );
        let mut left = run.left.lock().expect("no kernel panicked");
        let moments = std::mem::take(&mut left.moments);
        (Tensor::from_dispatch(output), moments)
    }

    fn leave(&self, moments: Vec<Moments>, saved: Saved) {
        let mut left = self.left.lock().expect("no kernel panicked");
        *left = Left {
            moments,
            saved: Some(saved),
        };
    }

    fn saved(&self) -> Option<Saved> {
        self.left.lock().expect("no kernel panicked").saved.take()
    }
}

/// A weight of any rank, or the flat parameter of which a part is the weight: its gradient then is the part's, as
/// `[rows, values]`.
pub(crate) struct Weight {
    tensor: burn::backend::DispatchTensor,
    part: Option<Part>,
}

impl<const D: usize> From<&Active<D>> for Weight {
    fn from(weight: &Active<D>) -> Self {
        match &weight.part {
            Some((parameter, part)) => Self {
                tensor: parameter.clone().into_dispatch(),
                part: Some(*part),
            },
            None => Self {
                tensor: weight.view.clone().into_dispatch(),
                part: None,
            },
        }
    }
}

/// Most weights that a piece has.
const WEIGHTS: usize = 13;

/// The fused pieces of a backend.
///
/// Burn's extensions take no lists of tensors, so every weight is an argument; those behind the last of the piece repeat
/// the input.
#[backend_extension(Flex, Autodiff)]
#[allow(clippy::too_many_arguments)]
pub trait Piece: Backend {
    /// The output of `run` for `x` and its weights.
    fn piece(
        x: FloatTensor<Self>,
        w0: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        w3: FloatTensor<Self>,
        w4: FloatTensor<Self>,
        w5: FloatTensor<Self>,
        w6: FloatTensor<Self>,
        w7: FloatTensor<Self>,
        w8: FloatTensor<Self>,
        w9: FloatTensor<Self>,
        w10: FloatTensor<Self>,
        w11: FloatTensor<Self>,
        w12: FloatTensor<Self>,
        run: Arc<Run>,
    ) -> FloatTensor<Self>;
}

/// Gradients of [`Piece`].
pub trait PieceGradients: Backend {
    /// Gradients of input (none for images) and weights after a run under batch statistics.
    fn piece_gradients(
        x: FloatTensor<Self>,
        weights: &[FloatTensor<Self>],
        gradient: FloatTensor<Self>,
        run: &Run,
    ) -> (Option<FloatTensor<Self>>, Vec<FloatTensor<Self>>);
}

impl<B: Piece + PieceGradients, C: CheckpointStrategy> Piece for Autodiff<B, C> {
    fn piece(
        x: FloatTensor<Self>,
        w0: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        w3: FloatTensor<Self>,
        w4: FloatTensor<Self>,
        w5: FloatTensor<Self>,
        w6: FloatTensor<Self>,
        w7: FloatTensor<Self>,
        w8: FloatTensor<Self>,
        w9: FloatTensor<Self>,
        w10: FloatTensor<Self>,
        w11: FloatTensor<Self>,
        w12: FloatTensor<Self>,
        run: Arc<Run>,
    ) -> FloatTensor<Self> {
        let weights = [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12];
        let parents = std::array::from_fn(|place| match place.checked_sub(1) {
            Some(index) => weights[index].node(),
            None => x.node(),
        });
        let prep = PieceNode.prepare::<C>(parents).compute_bound();
        let x = x.into_primitive();
        let weights = weights.map(|weight| weight.into_primitive());
        match prep.stateful() {
            OpsKind::Tracked(prep) => {
                let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12] = weights.clone();
                let output = B::piece(
                    x.clone(),
                    w0,
                    w1,
                    w2,
                    w3,
                    w4,
                    w5,
                    w6,
                    w7,
                    w8,
                    w9,
                    w10,
                    w11,
                    w12,
                    Arc::clone(&run),
                );
                let mut weights = Vec::from(weights);
                weights.truncate(run.kind.weights());
                prep.finish(State::<B> { x, weights, run }, output)
            }
            OpsKind::UnTracked(prep) => {
                let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12] = weights;
                prep.finish(B::piece(
                    x, w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, run,
                ))
            }
        }
    }
}

#[derive(Debug)]
struct PieceNode;

#[derive(Clone, Debug)]
struct State<B: Backend> {
    x: FloatTensor<B>,
    weights: Vec<FloatTensor<B>>,
    run: Arc<Run>,
}

impl<B: Piece + PieceGradients> Backward<B, { WEIGHTS + 1 }> for PieceNode {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<State<B>, { WEIGHTS + 1 }>,
        gradients: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let State { x, weights, run } = ops.state;
        let (input, of_weights) = B::piece_gradients(x, &weights, gradient, &run);
        let results = std::iter::once(input).chain(of_weights.into_iter().map(Some));
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                gradients.register::<B>(parent.id, result);
            }
        }
    }
}

/// The values of a tensor without gaps.
fn packed(tensor: &FlexTensor) -> &[f32] {
    assert!(tensor.is_contiguous(), "{:?} has gaps", tensor.shape());
    &tensor.storage::<f32>()[tensor.layout().start_offset()..][..tensor.shape().num_elements()]
}

/// Weights in the order of [`Kind`].
struct Reader<'a>(
    std::iter::Zip<std::slice::Iter<'a, FlexTensor>, std::slice::Iter<'a, Option<Part>>>,
);

impl<'a> Reader<'a> {
    fn new(weights: &'a [FlexTensor], run: &'a Run) -> Self {
        Self(weights.iter().zip(&run.parts))
    }

    /// A weight whose rows may be parts of longer ones.
    fn filters(&mut self) -> Filters<'a> {
        let (tensor, part) = self.0.next().expect("a piece comes with all its weights");
        let part = part.unwrap_or_else(|| {
            let shape = tensor.shape();
            let row = shape.num_elements() / shape[0];
            Part {
                rows: shape[0],
                active: row,
                row,
            }
        });
        Filters {
            values: packed(tensor),
            row: part.row,
            outputs: part.rows,
            inputs: part.active,
        }
    }

    /// A weight without gaps.
    fn packed(&mut self) -> &'a [f32] {
        let filters = self.filters();
        assert_eq!(filters.row, filters.inputs, "rows with gaps");
        &filters.values[..filters.outputs * filters.inputs]
    }

    fn norm(&mut self) -> NormWeights<'a> {
        NormWeights {
            scale: self.packed(),
            shift: self.packed(),
        }
    }

    fn layer(&mut self) -> (Filters<'a>, NormWeights<'a>) {
        (self.filters(), self.norm())
    }

    fn block(&mut self, expand: bool, squeeze_excite: bool) -> mbconv::Weights<'a> {
        mbconv::Weights {
            expand: expand.then(|| self.layer()),
            depthwise: self.packed(),
            depthwise_norm: self.norm(),
            squeeze_excite: squeeze_excite.then(|| SqueezeExcite {
                reduce: self.filters(),
                reduce_bias: self.packed(),
                expand: self.filters(),
                expand_bias: self.packed(),
            }),
            project: self.filters(),
            project_norm: self.norm(),
        }
    }
}

fn tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

fn contiguous(map: FlexTensor) -> FlexTensor {
    match map.is_contiguous() {
        true => map,
        false => map.to_contiguous(),
    }
}

/// Keeps the memory of a map for later ones, unless somebody else still reads it.
fn recycle(workspace: &Workspace, map: FlexTensor) {
    if map.is_unique()
        && let Ok(values) = map.into_data().try_into_vec::<f32>()
    {
        workspace.give(values);
    }
}

impl Piece for Flex {
    fn piece(
        x: FlexTensor,
        w0: FlexTensor,
        w1: FlexTensor,
        w2: FlexTensor,
        w3: FlexTensor,
        w4: FlexTensor,
        w5: FlexTensor,
        w6: FlexTensor,
        w7: FlexTensor,
        w8: FlexTensor,
        w9: FlexTensor,
        w10: FlexTensor,
        w11: FlexTensor,
        w12: FlexTensor,
        run: Arc<Run>,
    ) -> FlexTensor {
        let weights = [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12];
        let x = contiguous(x);
        let mut reader = Reader::new(&weights, &run);
        let (workspace, given) = (&run.workspace, run.given.as_deref());
        let first = given.map(|given| &given[0]);
        let output = match run.kind {
            Kind::Stem(shape) => {
                let layer = reader.layer();
                let (y, saved) = stem::forward(workspace, &shape, layer, packed(&x), first);
                run.leave(vec![saved.moments().clone()], Saved::Stem(saved));
                let (height, width) = shape.plane.output;
                tensor(y, [shape.batch, height, width, layer.0.outputs])
            }
            Kind::MbConv {
                shape,
                expand,
                squeeze_excite,
            } => {
                let block = reader.block(expand, squeeze_excite);
                let (y, saved) = mbconv::forward(workspace, &shape, &block, packed(&x), given);
                run.leave(
                    saved.moments().cloned().collect(),
                    Saved::MbConv(Box::new(saved)),
                );
                let (height, width) = shape.plane.output;
                tensor(y, [shape.batch, height, width, shape.outputs])
            }
            Kind::Head(shape) => {
                let layer = reader.layer();
                let (y, saved) = head::forward(workspace, &shape, layer, packed(&x), first);
                run.leave(vec![saved.moments().clone()], Saved::Head(saved));
                tensor(y, [shape.batch, layer.0.outputs])
            }
        };
        // Weights that are no arguments of the piece are the input once more.
        drop(weights);
        if !matches!(run.kind, Kind::Stem(_)) {
            recycle(&run.workspace, x);
        }
        output
    }
}

impl PieceGradients for Flex {
    fn piece_gradients(
        x: FlexTensor,
        weights: &[FlexTensor],
        gradient: FlexTensor,
        run: &Run,
    ) -> (Option<FlexTensor>, Vec<FlexTensor>) {
        // They are those of a batch norm that follows its batch.
        assert!(
            run.given.is_none(),
            "training needs the statistics of the batch"
        );
        let [x, gradient] = [x, gradient].map(contiguous);
        let mut reader = Reader::new(weights, run);
        let workspace = &run.workspace;
        let saved = run.saved().expect("a piece runs before its gradients");
        let (input, of_weights) = match (run.kind, saved) {
            (Kind::Stem(shape), Saved::Stem(saved)) => {
                let (weight, (scale, shift)) =
                    stem::backward(workspace, &shape, packed(&x), saved, packed(&gradient));
                (None, vec![weight, scale, shift])
            }
            (
                Kind::MbConv {
                    shape,
                    expand,
                    squeeze_excite,
                },
                Saved::MbConv(saved),
            ) => {
                let block = reader.block(expand, squeeze_excite);
                let gradients = mbconv::backward(
                    workspace,
                    &shape,
                    &block,
                    packed(&x),
                    *saved,
                    packed(&gradient),
                );
                let mut list = Vec::with_capacity(WEIGHTS);
                if let Some((weight, (scale, shift))) = gradients.expand {
                    list.extend([weight, scale, shift]);
                }
                let (scale, shift) = gradients.depthwise_norm;
                list.extend([gradients.depthwise, scale, shift]);
                if let Some(gate) = gradients.squeeze_excite {
                    list.extend([gate.reduce, gate.reduce_bias, gate.expand, gate.expand_bias]);
                }
                let (scale, shift) = gradients.project_norm;
                list.extend([gradients.project, scale, shift]);
                (Some(gradients.input), list)
            }
            (Kind::Head(shape), Saved::Head(saved)) => {
                let (filters, _) = reader.layer();
                let gradients = head::backward(
                    workspace,
                    &shape,
                    filters,
                    packed(&x),
                    saved,
                    packed(&gradient),
                );
                let (scale, shift) = gradients.norm;
                (Some(gradients.input), vec![gradients.filters, scale, shift])
            }
            _ => unreachable!("a run saves what its kind computes"),
        };
        let input = input.map(|values| tensor(values, x.shape().to_vec()));
        // What did not come from the workspace must not pile up there.
        if !matches!(run.kind, Kind::Stem(_)) {
            recycle(workspace, x);
        }
        if !matches!(run.kind, Kind::Head(_)) {
            recycle(workspace, gradient);
        }
        let of_weights = of_weights
            .into_iter()
            .zip(weights)
            .zip(&run.parts)
            .map(|((values, weight), part)| match part {
                Some(part) => tensor(values, [part.rows, part.active]),
                None => tensor(values, weight.shape().to_vec()),
            })
            .collect();
        (input, of_weights)
    }
}
