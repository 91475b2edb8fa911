//! How the weights of one architecture lie in the supernet's tensors.
//!
//! Active channels are always the first ones; a smaller depthwise kernel is the centre of the next larger one, put
//! through a learned matrix (mit-han-lab/once-for-all, `elastic_nn/modules/dynamic_op.py`).

use burn::tensor::{Device, Tensor};
use nat_kernels::workspace::Workspace;
use nat_space::{Architecture, BlockPlan, Space};

use crate::batch_norm::Norm;
use crate::layer::Layer;
use crate::layout::{BlockSlot, LayerSlot, Layout, NormSlot, SqueezeExciteSlot};
use crate::parameters::{Active, Parameter, Part, RunningStatistics, from_vec};
use crate::squeeze_excite::SqueezeExcite;
use crate::subnet::{Block, Subnet};
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
    pub workspace: &'a Workspace,
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
            workspace: self.workspace.clone(),
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
    fn kernel(&self, slot: &BlockSlot, plan: &BlockPlan) -> Active<4> {
        let channels = plan.mid_channels;
        let full = self.tensor::<4>(slot.depthwise.weight);
        let [_, _, height, width] = full.dims();
        let mut kernel = first(full, [channels, 1, height, width]);
        for matrix in slot.matrices.iter().take_while(|m| plan.kernel <= m.to) {
            let crop = (matrix.from - matrix.to) / 2;
            let area = matrix.to * matrix.to;
            let inside = crop..crop + matrix.to;
            let centre = kernel
                .slice([0..channels, 0..1, inside.clone(), inside])
                .reshape([channels, area]);
            let matrix_values = self.tensor::<2>(matrix.matrix);
            kernel = centre
                .matmul(matrix_values.transpose())
                .reshape([channels, 1, matrix.to, matrix.to]);
        }
        if plan.kernel == height {
            let part = [channels, height * width];
            return self.active(slot.depthwise.weight, kernel, part);
        }
        Active::own(self.finished(kernel))
    }

    fn filters(&self, index: usize, outputs: usize, inputs: usize) -> Active<4> {
        let tensor = self.tensor::<4>(index);
        let [.., height, width] = tensor.dims();
        let view = first(tensor, [outputs, inputs, height, width]);
        self.active(index, view, [outputs, inputs * height * width])
    }

    fn vector(&self, index: usize, length: usize) -> Active<1> {
        // Every value of a vector is a row.
        self.active(index, first(self.tensor(index), [length]), [length, 1])
    }

    fn active<const D: usize>(
        &self,
        index: usize,
        view: Tensor<D>,
        [rows, active]: [usize; 2],
    ) -> Active<D> {
        if self.copies {
            return Active::own(contiguous(view, self.device));
        }
        let parameter = &self.parameters[index];
        let part = Part {
            rows,
            active,
            row: parameter.len() / parameter.shape()[0],
        };
        Active {
            view,
            part: Some((parameter.leaf(), part)),
        }
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

/// The leading `sizes` of every dimension. A full-size slice is skipped: its gradient would be a copy into zeros.
fn first<const D: usize>(tensor: Tensor<D>, sizes: [usize; D]) -> Tensor<D> {
    if tensor.dims() == sizes {
        tensor
    } else {
        tensor.slice(sizes.map(|size| 0..size))
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;

    use crate::init::Init;
    use crate::parameters::from_vec;
    use crate::subnet::Subnet;
    use crate::supernet::Supernet;

    /// The subnet with this kernel and expansion everywhere, at full depth.
    fn uniform(supernet: &Supernet, kernel: usize, expand: usize) -> Subnet {
        let space = supernet.space();
        let mut architecture = space.architecture(&space.largest());
        architecture
            .kernels
            .iter_mut()
            .flatten()
            .for_each(|k| *k = kernel);
        architecture
            .expands
            .iter_mut()
            .flatten()
            .for_each(|e| *e = expand);
        supernet.extract(&architecture)
    }

    /// Kernel of the fourth block, `[channels, k, k]` in memory order.
    fn kernel(subnet: &Subnet) -> Vec<f32> {
        let tensors = subnet.named_tensors();
        let name = "blocks.3.depth_conv.conv.weight";
        tensors.into_iter().find(|t| t.name == name).unwrap().values
    }

    /// The centre of side `to` of every kernel of side `from`.
    fn centre(kernels: &[f32], from: usize, to: usize) -> Vec<f32> {
        let crop = (from - to) / 2;
        let mut centre = Vec::new();
        for kernel in kernels.chunks_exact(from * from) {
            for row in crop..crop + to {
                centre.extend(&kernel[row * from + crop..][..to]);
            }
        }
        centre
    }

    /// `y_i = sum_j m_ij x_j` for every kernel `x`.
    fn transformed(kernels: &[f32], matrix: &[f32], area: usize) -> Vec<f32> {
        let mut result = Vec::new();
        for x in kernels.chunks_exact(area) {
            for row in matrix.chunks_exact(area) {
                result.push(row.iter().zip(x).map(|(m, x)| m * x).sum());
            }
        }
        result
    }

    #[test]
    fn identity_matrices_leave_the_centre() {
        let space = Space::builtin("ofa-mbv3-w1.0").unwrap();
        let supernet = Supernet::new(&space, 0, 4, 3);
        let full = kernel(&uniform(&supernet, 7, 6));
        assert_eq!(kernel(&uniform(&supernet, 5, 6)), centre(&full, 7, 5));
        assert_eq!(kernel(&uniform(&supernet, 3, 6)), centre(&full, 7, 3));
        let narrow = kernel(&uniform(&supernet, 7, 3));
        assert_eq!(narrow, full[..full.len() / 2]);
    }

    #[test]
    fn each_smaller_kernel_starts_from_the_transformed_larger_one() {
        let space = Space::builtin("ofa-mbv3-w1.0").unwrap();
        let mut supernet = Supernet::new(&space, 0, 4, 3);
        let device = supernet.device().clone();
        let mut matrix = |name: &str, length: usize, stream: u64| {
            let values = Init::Normal(0.5).draw(length, 1, stream);
            let name = format!("blocks.3.depth_conv.conv.{name}");
            let mut parameters = supernet.parameters_mut().iter_mut();
            let found = parameters.find(|p| p.name() == name).unwrap();
            found.set(from_vec(values.clone(), &device));
            values
        };
        let to5 = matrix("7to5_matrix", 625, 0);
        let to3 = matrix("5to3_matrix", 81, 1);
        let full = kernel(&uniform(&supernet, 7, 4));
        let five = transformed(&centre(&full, 7, 5), &to5, 25);
        let three = transformed(&centre(&five, 5, 3), &to3, 9);
        for (size, expected) in [(5, five), (3, three)] {
            let got = kernel(&uniform(&supernet, size, 4));
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-5, "{size}: {got} {expected}");
            }
        }
    }
}
