//! Which tensors a supernet of a space has: their names, shapes, kinds, and where each layer finds them.

use nat_space::{BlockPlan, Network, Space};

use crate::init::Init;
use crate::parameters::Kind;

/// Name, shape, kind and initial law of one tensor.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSpec {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: Kind,
    pub init: Init,
}

impl ParameterSpec {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Name and width of one batch norm.
#[derive(Clone, Debug)]
pub(crate) struct NormSpec {
    pub name: String,
    pub channels: usize,
}

/// Positions of a batch norm's tensors: scale and shift among the parameters, statistics among the norms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormSlot {
    pub scale: usize,
    pub shift: usize,
    pub statistics: usize,
}

/// A convolution without bias and the batch norm behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerSlot {
    pub weight: usize,
    pub norm: NormSlot,
}

/// A learned matrix that maps the flattened centre of a `from` x `from` kernel to a `to` x `to` kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixSlot {
    pub from: usize,
    pub to: usize,
    pub matrix: usize,
}

/// The two biased 1x1 convolutions of a squeeze-excite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SqueezeExciteSlot {
    pub reduce_weight: usize,
    pub reduce_bias: usize,
    pub expand_weight: usize,
    pub expand_bias: usize,
}

/// Everything of one block at its largest.
#[derive(Clone, Debug)]
pub(crate) struct BlockSlot {
    pub expand: Option<LayerSlot>,
    pub depthwise: LayerSlot,
    /// From the largest kernel downwards; each starts from the result of the one before.
    pub matrices: Vec<MatrixSlot>,
    pub squeeze_excite: Option<SqueezeExciteSlot>,
    pub project: LayerSlot,
    /// The block at its largest kernel and expansion.
    pub plan: BlockPlan,
}

/// The tensors of a supernet in network order, and the layers' views of them.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub parameters: Vec<ParameterSpec>,
    pub norms: Vec<NormSpec>,
    pub stem: LayerSlot,
    pub blocks: Vec<BlockSlot>,
    pub final_expand: LayerSlot,
    pub feature_mix: Option<usize>,
    pub classifier_weight: usize,
    pub classifier_bias: usize,
}

impl Layout {
    /// The layout of a supernet of `space` at width multiplier number `width`.
    pub(crate) fn new(space: &Space, width: usize, classes: usize) -> Self {
        let mut largest = space.architecture(&space.largest());
        largest.width = width;
        let network = space.network(&largest, classes);
        Builder::default().build(space, &network)
    }
}

#[derive(Default)]
struct Builder {
    parameters: Vec<ParameterSpec>,
    norms: Vec<NormSpec>,
}

impl Builder {
    fn build(mut self, space: &Space, network: &Network) -> Layout {
        let stem = &network.stem;
        let stem = self.layer(
            "first_conv",
            stem.in_channels,
            stem.out_channels,
            stem.kernel,
        );
        let blocks: Vec<_> = network
            .blocks
            .iter()
            .map(|plan| self.block(plan, &space.stages[plan.stage].kernels))
            .collect();
        let head = &network.final_expand;
        let final_expand = self.layer(
            "final_expand_layer",
            head.in_channels,
            head.out_channels,
            head.kernel,
        );
        let mut features = head.out_channels;
        let feature_mix = network.feature_mix.as_ref().map(|mix| {
            features = mix.out_channels;
            self.convolution("feature_mix_layer", mix.in_channels, mix.out_channels, 1)
        });
        let classes = network.classes;
        let classifier_weight = self.push(
            "classifier.linear.weight",
            vec![classes, features],
            Kind::Weight,
            Init::fan_in(features),
        );
        let classifier_bias = self.push(
            "classifier.linear.bias",
            vec![classes],
            Kind::Bias,
            Init::Constant(0.0),
        );
        Layout {
            parameters: self.parameters,
            norms: self.norms,
            stem,
            blocks,
            final_expand,
            feature_mix,
            classifier_weight,
            classifier_bias,
        }
    }

    fn block(&mut self, plan: &BlockPlan, kernels: &[usize]) -> BlockSlot {
        let name = format!("blocks.{}", plan.slot);
        let expand = (plan.expand > 1).then(|| {
            let name = format!("{name}.inverted_bottleneck");
            self.layer(&name, plan.in_channels, plan.mid_channels, 1)
        });
        let depthwise_name = format!("{name}.depth_conv");
        // One input channel a group: the second dimension of a depthwise weight is 1.
        let weight = self.convolution(&depthwise_name, 1, plan.mid_channels, plan.kernel);
        let matrices = kernels
            .windows(2)
            .rev()
            .map(|pair| {
                let (from, to) = (pair[1], pair[0]);
                let matrix = self.push(
                    format!("{depthwise_name}.conv.{from}to{to}_matrix"),
                    vec![to * to, to * to],
                    Kind::KernelMatrix,
                    Init::Identity,
                );
                MatrixSlot { from, to, matrix }
            })
            .collect();
        let norm = self.norm(&depthwise_name, plan.mid_channels);
        let squeeze_excite = plan
            .se
            .map(|squeezed| self.squeeze_excite(&depthwise_name, plan.mid_channels, squeezed));
        let project = self.layer(
            &format!("{name}.point_linear"),
            plan.mid_channels,
            plan.out_channels,
            1,
        );
        BlockSlot {
            expand,
            depthwise: LayerSlot { weight, norm },
            matrices,
            squeeze_excite,
            project,
            plan: plan.clone(),
        }
    }

    fn squeeze_excite(
        &mut self,
        name: &str,
        channels: usize,
        squeezed: usize,
    ) -> SqueezeExciteSlot {
        let mut convolution = |part: &str, inputs: usize, outputs: usize| {
            let weight = self.push(
                format!("{name}.se.fc.{part}.weight"),
                vec![outputs, inputs, 1, 1],
                Kind::Weight,
                Init::fan_out(1, outputs),
            );
            let bias = self.push(
                format!("{name}.se.fc.{part}.bias"),
                vec![outputs],
                Kind::Bias,
                Init::Constant(0.0),
            );
            (weight, bias)
        };
        let (reduce_weight, reduce_bias) = convolution("reduce", channels, squeezed);
        let (expand_weight, expand_bias) = convolution("expand", squeezed, channels);
        SqueezeExciteSlot {
            reduce_weight,
            reduce_bias,
            expand_weight,
            expand_bias,
        }
    }

    fn layer(&mut self, name: &str, inputs: usize, outputs: usize, kernel: usize) -> LayerSlot {
        LayerSlot {
            weight: self.convolution(name, inputs, outputs, kernel),
            norm: self.norm(name, outputs),
        }
    }

    fn convolution(&mut self, name: &str, inputs: usize, outputs: usize, kernel: usize) -> usize {
        self.push(
            format!("{name}.conv.weight"),
            vec![outputs, inputs, kernel, kernel],
            Kind::Weight,
            Init::fan_out(kernel, outputs),
        )
    }

    fn norm(&mut self, name: &str, channels: usize) -> NormSlot {
        let scale = self.push(
            format!("{name}.bn.weight"),
            vec![channels],
            Kind::Norm,
            Init::Constant(1.0),
        );
        let shift = self.push(
            format!("{name}.bn.bias"),
            vec![channels],
            Kind::Norm,
            Init::Constant(0.0),
        );
        self.norms.push(NormSpec {
            name: format!("{name}.bn"),
            channels,
        });
        NormSlot {
            scale,
            shift,
            statistics: self.norms.len() - 1,
        }
    }

    fn push(
        &mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        kind: Kind,
        init: Init,
    ) -> usize {
        self.parameters.push(ParameterSpec {
            name: name.into(),
            shape,
            kind,
            init,
        });
        self.parameters.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn once_for_all_has_its_475_tensors() {
        for (space, total, statistics) in [
            ("ofa-mbv3-w1.0", 7_678_880, 41_824),
            ("ofa-mbv3-w1.2", 10_715_752, 50_832),
        ] {
            let layout = Layout::new(&Space::builtin(space).unwrap(), 0, 1000);
            // Every batch norm has two more running vectors and a counter in the public file.
            assert_eq!(layout.parameters.len() + 3 * layout.norms.len(), 475);
            let sum: usize = layout.parameters.iter().map(ParameterSpec::len).sum();
            assert_eq!(sum, total);
            let matrices = layout
                .parameters
                .iter()
                .filter(|p| p.kind == Kind::KernelMatrix);
            assert_eq!(matrices.map(ParameterSpec::len).sum::<usize>(), 14_120);
            let channels: usize = layout.norms.iter().map(|norm| norm.channels).sum();
            assert_eq!(2 * channels, statistics);
            let names: BTreeSet<_> = layout.parameters.iter().map(|p| &p.name).collect();
            assert_eq!(names.len(), layout.parameters.len());
        }
    }

    #[test]
    fn squeeze_widths_and_matrices_follow_the_stage() {
        let layout = Layout::new(&Space::builtin("ofa-mbv3-w1.2").unwrap(), 0, 10);
        let shape = |name: &str| {
            let found = layout.parameters.iter().find(|p| p.name == name);
            found.map(|p| p.shape.clone())
        };
        assert_eq!(
            shape("blocks.20.depth_conv.se.fc.reduce.weight"),
            Some(vec![288, 1152, 1, 1])
        );
        assert_eq!(shape("blocks.4.depth_conv.se.fc.reduce.weight"), None);
        assert_eq!(shape("blocks.0.inverted_bottleneck.conv.weight"), None);
        assert_eq!(shape("blocks.0.depth_conv.conv.7to5_matrix"), None);
        assert_eq!(
            shape("blocks.9.depth_conv.conv.7to5_matrix"),
            Some(vec![25, 25])
        );
        assert_eq!(
            shape("blocks.9.depth_conv.conv.5to3_matrix"),
            Some(vec![9, 9])
        );
    }

    #[test]
    fn spaces_with_fewer_kernels_have_fewer_matrices() {
        let layout = Layout::new(&Space::builtin("lite0").unwrap(), 0, 10);
        for block in &layout.blocks {
            assert!(
                block
                    .matrices
                    .iter()
                    .all(|matrix| (matrix.from, matrix.to) == (5, 3))
            );
        }
        let elastic = layout
            .blocks
            .iter()
            .filter(|block| !block.matrices.is_empty())
            .count();
        assert!(elastic > 0 && elastic < layout.blocks.len());
    }
}
