//! How the weights of one architecture lie in the supernet's tensors.
//!
//! Active channels are always the first ones; a smaller depthwise kernel is the centre of the next larger one, put
//! through a learned matrix (mit-han-lab/once-for-all, `elastic_nn/modules/dynamic_op.py`).

use burn::tensor::{Device, Tensor};
use nat_space::{Architecture, BlockPlan, Space};

use crate::batch_norm::Norm;
use crate::layout::{BlockSlot, LayerSlot, Layout, NormSlot, SqueezeExciteSlot};
use crate::parameters::{Parameter, RunningStatistics, from_vec};
use crate::squeeze_excite::SqueezeExcite;
use crate::subnet::{Block, Layer, Subnet};
use crate::supernet::contiguous;

/// A supernet's tensors, to be cut into subnets.
pub(crate) struct Slicing<'a> {
    pub space: &'a Space,
    pub width: usize,
    pub classes: usize,
    pub layout: &'a Layout,
    pub parameters: &'a [Parameter],
    pub statistics: &'a [RunningStatistics],
    pub device: &'a Device,
    /// Copies outside the gradient graph instead of views inside it.
    pub copies: bool,
}

impl Slicing<'_> {
    pub(crate) fn subnet(&self, architecture: &Architecture) -> Subnet {
        assert_eq!(
            architecture.width, self.width,
            "the architecture's width index is not the supernet's"
        );
        let network = self.space.network(architecture, self.classes);
        let full = |slot: LayerSlot| {
            let shape = self.parameters[slot.weight].shape();
            self.layer(slot, shape[0], shape[1])
        };
        Subnet {
            stem: full(self.layout.stem),
            blocks: network
                .blocks
                .iter()
                .map(|plan| self.block(&self.layout.blocks[plan.slot], plan))
                .collect(),
            final_expand: full(self.layout.final_expand),
            feature_mix: self.layout.feature_mix.map(|index| self.whole(index)),
            classifier_weight: self.whole(self.layout.classifier_weight),
            classifier_bias: self.whole(self.layout.classifier_bias),
            network,
        }
    }

    fn block(&self, slot: &BlockSlot, plan: &BlockPlan) -> Block {
        let middle = plan.mid_channels;
        Block {
            expand: slot
                .expand
                .filter(|_| plan.expand > 1)
                .map(|layer| self.layer(layer, middle, plan.in_channels)),
            depthwise: Layer {
                weight: self.kernel(slot, plan),
                norm: self.norm(slot.depthwise.norm, middle),
            },
            squeeze_excite: slot
                .squeeze_excite
                .zip(plan.se)
                .map(|(slot, squeezed)| self.squeeze_excite(slot, middle, squeezed)),
            project: self.layer(slot.project, plan.out_channels, middle),
        }
    }

    fn squeeze_excite(
        &self,
        slot: SqueezeExciteSlot,
        channels: usize,
        squeezed: usize,
    ) -> SqueezeExcite {
        SqueezeExcite {
            reduce_weight: self.filters(slot.reduce_weight, squeezed, channels),
            reduce_bias: self.vector(slot.reduce_bias, squeezed),
            expand_weight: self.filters(slot.expand_weight, channels, squeezed),
            expand_bias: self.vector(slot.expand_bias, channels),
        }
    }

    fn layer(&self, slot: LayerSlot, outputs: usize, inputs: usize) -> Layer {
        Layer {
            weight: self.filters(slot.weight, outputs, inputs),
            norm: self.norm(slot.norm, outputs),
        }
    }

    fn norm(&self, slot: NormSlot, channels: usize) -> Norm {
        let running = &self.statistics[slot.statistics];
        let head = |values: &[f32]| from_vec(values[..channels].to_vec(), self.device);
        Norm {
            scale: self.vector(slot.scale, channels),
            shift: self.vector(slot.shift, channels),
            mean: head(&running.mean),
            variance: head(&running.variance),
        }
    }

    /// The depthwise kernel that the block uses: active channels, then the chain of centres and matrices.
    fn kernel(&self, slot: &BlockSlot, plan: &BlockPlan) -> Tensor<4> {
        let channels = plan.mid_channels;
        let mut kernel = self
            .tensor::<4>(slot.depthwise.weight)
            .narrow(0, 0, channels);
        for matrix in slot.matrices.iter().take_while(|m| plan.kernel <= m.to) {
            let crop = (matrix.from - matrix.to) / 2;
            let area = matrix.to * matrix.to;
            let centre = kernel
                .narrow(2, crop, matrix.to)
                .narrow(3, crop, matrix.to)
                .reshape([channels, area]);
            let matrix_values = self.tensor::<2>(matrix.matrix);
            kernel = centre
                .matmul(matrix_values.transpose())
                .reshape([channels, 1, matrix.to, matrix.to]);
        }
        self.finished(kernel)
    }

    fn filters(&self, index: usize, outputs: usize, inputs: usize) -> Tensor<4> {
        let tensor = self.tensor::<4>(index);
        self.finished(tensor.narrow(0, 0, outputs).narrow(1, 0, inputs))
    }

    fn vector(&self, index: usize, length: usize) -> Tensor<1> {
        self.finished(self.tensor::<1>(index).narrow(0, 0, length))
    }

    fn whole<const D: usize>(&self, index: usize) -> Tensor<D> {
        self.finished(self.tensor(index))
    }

    fn tensor<const D: usize>(&self, index: usize) -> Tensor<D> {
        let parameter = &self.parameters[index];
        let shape: [usize; D] = parameter
            .shape()
            .try_into()
            .expect("the layout gives every tensor its rank");
        let flat = if self.copies {
            parameter.value()
        } else {
            parameter.leaf()
        };
        flat.reshape(shape)
    }

    fn finished<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        if self.copies {
            contiguous(tensor, self.device)
        } else {
            tensor
        }
    }
}
