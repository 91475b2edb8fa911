//! One training step: several subnets on one batch, their gradients added.

use burn::tensor::Tensor;
use nat_data::Batch;
use nat_space::Architecture;
use nat_supernet::{BnMode, Subnet, Supernet, images, losses};

/// Gradients in parameter order; `None` where no subnet used the parameter.
pub type Gradients = Vec<Option<Tensor<1>>>;

/// The gradients of an adaptation step and its mean loss.
///
/// Each subnet learns from the labels and, with `distillation` above 0, from the logits that the largest subnet has
/// for the same batch under batch statistics: `loss = distillation * CE_soft + CE_smooth` (mit-han-lab/once-for-all,
/// `train_ofa_net.py`).
pub fn adaptation_gradients(
    supernet: &Supernet,
    batch: &Batch,
    subnets: &[Architecture],
    largest: &Architecture,
    distillation: f64,
    smoothing: f64,
) -> (Gradients, f32) {
    let teacher = (distillation > 0.0).then(|| {
        let input = batch_images(supernet, batch, false);
        supernet.extract(largest).forward(input, &mut BnMode::Batch)
    });
    let mut gradients = vec![None; supernet.parameters().len()];
    let mut total = 0.0;
    for architecture in subnets {
        let logits = train_forward(&supernet.subnet(architecture), supernet, batch);
        let mut loss = losses::cross_entropy(logits.clone(), &batch.labels, smoothing as f32);
        if let Some(teacher) = &teacher {
            let soft = losses::distillation(logits, Tensor::from_inner(teacher.clone()));
            loss = loss + soft.mul_scalar(distillation);
        }
        total += add_gradients(supernet, loss, &mut gradients);
    }
    (gradients, total / subnets.len() as f32)
}

/// The gradients of a sandwich step and the largest subnet's loss: the largest subnet learns from the labels, all
/// others only from its logits (facebookresearch/AlphaNet, `train_alphanet.py`).
pub fn sandwich_gradients(
    supernet: &Supernet,
    batch: &Batch,
    largest: &Architecture,
    others: &[Architecture],
    smoothing: f64,
) -> (Gradients, f32) {
    let mut gradients = vec![None; supernet.parameters().len()];
    let logits = train_forward(&supernet.subnet(largest), supernet, batch);
    let teacher = logits.clone().inner();
    let loss = losses::cross_entropy(logits, &batch.labels, smoothing as f32);
    let reported = add_gradients(supernet, loss, &mut gradients);
    for architecture in others {
        let logits = train_forward(&supernet.subnet(architecture), supernet, batch);
        let loss = losses::distillation(logits, Tensor::from_inner(teacher.clone()));
        add_gradients(supernet, loss, &mut gradients);
    }
    (gradients, reported)
}

fn batch_images(supernet: &Supernet, batch: &Batch, autodiff: bool) -> Tensor<4> {
    let side = batch.resolution;
    let tensor = images(batch.images.clone(), [batch.labels.len(), 3, side, side], supernet.device());
    if autodiff { tensor.autodiff() } else { tensor }
}

fn train_forward(subnet: &Subnet, supernet: &Supernet, batch: &Batch) -> Tensor<2> {
    subnet.forward(batch_images(supernet, batch, true), &mut BnMode::Batch)
}

/// Backpropagates one loss, adds its gradients to the sum and returns its value. The graph is gone afterwards, so only
/// one subnet's activations are alive at a time.
fn add_gradients(supernet: &Supernet, loss: Tensor<1>, sum: &mut Gradients) -> f32 {
    let value = loss.clone().into_scalar::<f32>();
    let mut gradients = loss.backward();
    for (slot, gradient) in sum.iter_mut().zip(supernet.gradients(&mut gradients)) {
        *slot = match (slot.take(), gradient) {
            (Some(sum), Some(gradient)) => Some(sum + gradient),
            (sum, gradient) => sum.or(gradient),
        };
    }
    value
}
