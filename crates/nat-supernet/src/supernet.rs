//! The supernet: shared weights of all networks of a space at one width.

use std::thread;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use nat_kernels::workspace::{Party, Workspace};
use nat_space::{Architecture, Resolutions, Space};

use crate::batch_norm::{BatchMoments, move_running};
use crate::gradient::Gradient;
use crate::init::Init;
use crate::layout::{Layout, ParameterSpec};
use crate::parameters::{Parameter, RunningStatistics};
use crate::slicing::Slicing;
use crate::subnet::Subnet;

/// Learnable tensors and running statistics that all subnets of a space share, at one of its width multipliers.
///
/// A clone shares memory until one of them changes, and trains on its own: threads that train at the same time need
/// a clone each.
#[derive(Clone, Debug)]
pub struct Supernet {
    space: Space,
    width: usize,
    classes: usize,
    device: Device,
    layout: Layout,
    parameters: Vec<Parameter>,
    statistics: Vec<RunningStatistics>,
    workspace: Workspace,
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
        Self::build(space, width, classes, |stream, spec| {
            spec.init.draw(spec.len(), seed, stream)
        })
    }

    /// A supernet for a reader that fills in every tensor: zeros where [`Supernet::new`] draws random values, which
    /// takes most of the time of reading a file.
    pub(crate) fn blank(space: &Space, width: usize, classes: usize) -> Self {
        Self::build(space, width, classes, |_, spec| match spec.init {
            Init::Normal(_) | Init::Uniform(_) => vec![0.0; spec.len()],
            Init::Constant(_) | Init::Identity => spec.init.draw(spec.len(), 0, 0),
        })
    }

    fn build(
        space: &Space,
        width: usize,
        classes: usize,
        values: impl Fn(u64, &ParameterSpec) -> Vec<f32>,
    ) -> Self {
        assert!(classes > 0, "a supernet needs at least one class");
        let device = Device::flex();
        let layout = Layout::new(space, width, classes);
        let parameters = (0..)
            .zip(&layout.parameters)
            .map(|(stream, spec)| Parameter::new(spec, values(stream, spec), &device))
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
            workspace: Workspace::new(thread::available_parallelism().map_or(1, usize::from)),
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

    pub(crate) fn set_resolutions(&mut self, resolutions: Resolutions) {
        self.space.resolutions = resolutions;
    }

    /// The same supernet, for kernels with up to `threads` threads; by default as many as the machine has.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.workspace = self.workspace.with_threads(threads);
        self
    }

    /// Does `work` for every item in `0..items`, several at a time on the threads of the kernels. Networks of this supernet,
    /// or of clones, that run inside share the threads. No result depends on their number.
    pub fn side_by_side(&self, items: usize, work: impl Fn(usize) + Sync) {
        self.workspace.side_by_side(items, work);
    }

    /// Announces that a network of this supernet, or of a clone, runs beside others until the result is dropped: they share
    /// the threads. No result depends on it.
    pub fn party(&self) -> Party {
        self.workspace.party()
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
    /// One subnet a loss: where two of one supernet meet in it, the parts of a parameter that they use differ, and their
    /// gradients cannot be added up. Clones of a supernet, which share its memory, have gradients of their own.
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
    pub fn gradients(&self, gradients: &mut Gradients) -> Vec<Option<Gradient>> {
        self.parameters
            .iter()
            .map(|parameter| parameter.take_gradient(gradients))
            .collect()
    }

    /// Moves the running statistics of the layers of `architecture` towards one batch's by `momentum` (0 to 1, the share of
    /// the batch); inactive channels keep theirs. `moments` are those of a forward pass of that architecture.
    ///
    /// # Panics
    /// If `moments` come from another architecture.
    pub fn track(&mut self, architecture: &Architecture, moments: &[BatchMoments], momentum: f64) {
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
            let values = Init::fan_in(features).draw(spec.len(), seed, index as u64);
            self.parameters[index] = Parameter::new(spec, values, &self.device);
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
            workspace: &self.workspace,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_norm::BnMode;
    use crate::losses::cross_entropy;
    use crate::parameters::Kind;
    use crate::subnet::images;

    fn tiny() -> Supernet {
        Supernet::new(&Space::builtin("tiny").unwrap(), 0, 4, 9)
    }

    fn gradients(supernet: &Supernet, architecture: &Architecture) -> Vec<Option<Vec<f32>>> {
        let values = Init::Normal(1.0).draw(3 * 3 * 32 * 32, 4, 0);
        let batch = images(values, [3, 3, 32, 32], supernet.device());
        let logits = supernet
            .subnet(architecture)
            .forward(batch, &mut BnMode::Batch);
        let mut gradients = cross_entropy(logits, &[0, 3, 1], 0.1).backward();
        let gradients = supernet.gradients(&mut gradients);
        gradients
            .into_iter()
            .map(|gradient| gradient.map(|gradient| gradient.to_vec()))
            .collect()
    }

    #[test]
    fn gradients_stay_inside_the_active_slices() {
        let supernet = tiny();
        let space = supernet.space().clone();
        let architecture = space.architecture(&space.smallest());
        let network = space.network(&architecture, 4);
        let gradients = gradients(&supernet, &architecture);
        for (parameter, gradient) in supernet.parameters().iter().zip(&gradients) {
            let name = parameter.name();
            let Some(slot) = name.strip_prefix("blocks.") else {
                assert!(gradient.is_some(), "{name}");
                continue;
            };
            let slot: usize = slot.split('.').next().unwrap().parse().unwrap();
            let Some(plan) = network.blocks.iter().find(|plan| plan.slot == slot) else {
                assert!(gradient.is_none(), "{name}");
                continue;
            };
            let gradient = gradient.as_ref().unwrap();
            if parameter.kind() == Kind::KernelMatrix {
                assert!(gradient.iter().any(|&g| g != 0.0), "{name}");
            }
            if name.contains("depth_conv.conv.weight") {
                let kernel = gradient.len() / parameter.shape()[0];
                let (active, rest) = gradient.split_at(plan.mid_channels * kernel);
                assert!(active.iter().any(|&g| g != 0.0) && rest.iter().all(|&g| g == 0.0));
            }
        }
    }

    #[test]
    fn a_clone_learns_on_its_own() {
        let original = tiny();
        let architecture = original.space().architecture(&original.space().largest());
        let clone = original.clone();
        let values = Init::Normal(1.0).draw(3 * 32 * 32, 4, 0);
        let batch = images(values, [1, 3, 32, 32], clone.device());
        let logits = clone
            .subnet(&architecture)
            .forward(batch, &mut BnMode::Batch);
        let mut gradients = cross_entropy(logits, &[2], 0.0).backward();
        assert!(
            original
                .gradients(&mut gradients)
                .iter()
                .all(Option::is_none)
        );
        assert!(clone.gradients(&mut gradients).iter().any(Option::is_some));
    }

    #[test]
    fn one_seed_gives_one_supernet() {
        let values = |seed| {
            let supernet = Supernet::new(&Space::builtin("tiny").unwrap(), 0, 4, seed);
            let parameters = supernet.parameters().iter();
            parameters.map(Parameter::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }

    #[test]
    fn a_new_classifier_leaves_the_rest() {
        let mut supernet = tiny();
        let before = supernet.clone();
        supernet.replace_classifier(7, 5);
        assert_eq!(supernet.classes(), 7);
        for (new, old) in supernet.parameters().iter().zip(before.parameters()) {
            if new.name().starts_with("classifier") {
                let features = before
                    .space()
                    .network(&before.space().architecture(&before.space().largest()), 4);
                let bound = 1.0 / (features.features() as f32).sqrt();
                assert_eq!(new.shape()[0], 7);
                assert!(new.to_vec().iter().all(|v| v.abs() <= bound && *v != 0.0));
            } else {
                assert_eq!(new.to_vec(), old.to_vec(), "{}", new.name());
            }
        }
    }

    #[test]
    fn tracking_reaches_only_the_active_norms() {
        let mut supernet = tiny();
        let before = supernet.statistics().to_vec();
        let architecture = supernet.space().architecture(&supernet.space().smallest());
        let values = Init::Normal(1.0).draw(2 * 3 * 32 * 32, 4, 0);
        let batch = images(values, [2, 3, 32, 32], supernet.device());
        let mut moments = Vec::new();
        let subnet = supernet.extract(&architecture);
        subnet.forward(batch, &mut BnMode::Track(&mut moments));
        supernet.track(&architecture, &moments, 0.1);
        let active = supernet.active_norms(&architecture);
        for (index, (new, old)) in supernet.statistics().iter().zip(&before).enumerate() {
            assert_eq!(
                new.mean != old.mean,
                active.contains(&index),
                "{}",
                new.name
            );
        }
    }
}
