//! The supernet: shared weights of all networks of a space at one width.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use nat_space::{Architecture, Space};

use crate::batch_norm::{BatchMoments, move_running};
use crate::init::Init;
use crate::layout::Layout;
use crate::parameters::{Parameter, RunningStatistics};
use crate::slicing::Slicing;
use crate::subnet::Subnet;

/// Learnable tensors and running statistics that all subnets of a space share, at one of its width multipliers.
#[derive(Clone, Debug)]
pub struct Supernet {
    space: Space,
    width: usize,
    classes: usize,
    device: Device,
    layout: Layout,
    parameters: Vec<Parameter>,
    statistics: Vec<RunningStatistics>,
}

impl Supernet {
    /// A supernet with initial weights, one ChaCha8 stream of `seed` a tensor.
    ///
    /// Convolutions are normal with deviation `sqrt(2 / (k^2 * outputs))`, kernel matrices are identities, batch
    /// norms pass through, the classifier is uniform in `+-1 / sqrt(features)` with bias 0. `width` is an index
    /// into the space's width multipliers.
    ///
    /// # Panics
    /// If `width` is out of range or `classes` is 0.
    pub fn new(space: &Space, width: usize, classes: usize, seed: u64) -> Self {
        assert!(classes > 0, "a supernet needs at least one class");
        let device = Device::flex();
        let layout = Layout::new(space, width, classes);
        let parameters = layout
            .parameters
            .iter()
            .enumerate()
            .map(|(stream, spec)| {
                let length = spec.shape.iter().product();
                let values = spec.init.draw(length, seed, stream as u64);
                Parameter::new(
                    spec.name.clone(),
                    spec.shape.clone(),
                    spec.kind,
                    values,
                    &device,
                )
            })
            .collect();
        let statistics = layout
            .norms
            .iter()
            .map(|norm| RunningStatistics::fresh(norm.name.clone(), norm.channels))
            .collect();
        Self {
            space: space.clone(),
            width,
            classes,
            device,
            layout,
            parameters,
            statistics,
        }
    }

    /// The space whose networks it holds.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Index of its width multiplier in the space.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The device that holds the weights, without gradients. Images belong there, in training too.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All learnable tensors, in network order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// All learnable tensors, in network order, to be changed.
    pub fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// The learnable tensor of this name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.name() == name)
    }

    /// Running statistics of every batch norm at full width, in network order.
    ///
    /// After training with changing subnets they are a mixture of all of them: recalibrate before an evaluation.
    pub fn statistics(&self) -> &[RunningStatistics] {
        &self.statistics
    }

    /// The running statistics, to be changed; lengths must stay.
    pub fn statistics_mut(&mut self) -> &mut [RunningStatistics] {
        &mut self.statistics
    }

    /// The subnet of `architecture` as views whose gradients reach this supernet's parameters.
    ///
    /// # Panics
    /// If the architecture is not one of the space at this supernet's width.
    pub fn subnet(&self, architecture: &Architecture) -> Subnet {
        self.slicing(false).subnet(architecture)
    }

    /// The subnet of `architecture` as copies without gradients.
    ///
    /// # Panics
    /// If the architecture is not one of the space at this supernet's width.
    pub fn extract(&self, architecture: &Architecture) -> Subnet {
        self.slicing(true).subnet(architecture)
    }

    /// Takes the gradients of all parameters out of what `loss.backward()` returned, in parameter order; `None`
    /// where the loss did not depend on the tensor at all.
    pub fn gradients(&self, gradients: &mut Gradients) -> Vec<Option<Tensor<1>>> {
        self.parameters
            .iter()
            .map(|parameter| parameter.take_gradient(gradients))
            .collect()
    }

    /// Moves the running statistics of the layers of `architecture` towards one batch's by the space's momentum;
    /// inactive channels keep theirs. `moments` are those of a forward pass of that architecture.
    ///
    /// # Panics
    /// If `moments` come from another architecture.
    pub fn track(&mut self, architecture: &Architecture, moments: &[BatchMoments]) {
        let momentum = self.space.bn.momentum;
        let active = self.active_norms(architecture);
        assert_eq!(
            active.len(),
            moments.len(),
            "moments of another architecture"
        );
        for (index, batch) in active.into_iter().zip(moments) {
            let running = &mut self.statistics[index];
            move_running(&mut running.mean, &mut running.variance, batch, momentum);
        }
    }

    /// Puts a fresh classifier for `classes` classes in place: weight and bias uniform in `+-1 / sqrt(features)`,
    /// as PyTorch initialises a linear layer.
    ///
    /// # Panics
    /// If `classes` is 0.
    pub fn replace_classifier(&mut self, classes: usize, seed: u64) {
        assert!(classes > 0, "a classifier needs at least one class");
        self.layout = Layout::new(&self.space, self.width, classes);
        self.classes = classes;
        let weight = self.layout.classifier_weight;
        let features = self.layout.parameters[weight].shape[1];
        for index in [weight, self.layout.classifier_bias] {
            let spec = &self.layout.parameters[index];
            let length = spec.shape.iter().product();
            let values = Init::fan_in(features).draw(length, seed, index as u64);
            self.parameters[index] = Parameter::new(
                spec.name.clone(),
                spec.shape.clone(),
                spec.kind,
                values,
                &self.device,
            );
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn slicing(&self, copies: bool) -> Slicing<'_> {
        Slicing {
            space: &self.space,
            width: self.width,
            classes: self.classes,
            layout: &self.layout,
            parameters: &self.parameters,
            statistics: &self.statistics,
            device: &self.device,
            copies,
        }
    }

    /// Positions in `statistics` of the batch norms that `architecture` runs, in its order.
    fn active_norms(&self, architecture: &Architecture) -> Vec<usize> {
        let network = self.space.network(architecture, self.classes);
        let blocks = network.blocks.iter().flat_map(|plan| {
            let slot = &self.layout.blocks[plan.slot];
            let expand = slot.expand.filter(|_| plan.expand > 1);
            expand
                .into_iter()
                .chain([slot.depthwise, slot.project])
                .map(|layer| layer.norm.statistics)
        });
        std::iter::once(self.layout.stem.norm.statistics)
            .chain(blocks)
            .chain([self.layout.final_expand.norm.statistics])
            .collect()
    }
}

/// A copy of a tensor in contiguous memory.
pub(crate) fn contiguous<const D: usize>(tensor: Tensor<D>, device: &Device) -> Tensor<D> {
    let data: TensorData = tensor.into_data();
    Tensor::from_data(data, device)
}
