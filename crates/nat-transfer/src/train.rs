//! One training step: several subnets on one batch, their gradients added.

use std::sync::{Mutex, OnceLock};

use nat_data::Batch;
use nat_space::Architecture;
use nat_supernet::{
    BatchMoments, BnMode, Dropout, Gradient, Subnet, Supernet, Tensor, images, losses,
};

use crate::config::Divergence;

/// Gradients in parameter order; `None` where no subnet used the parameter.
pub type Gradients = Vec<Option<Gradient>>;

/// What a subnet learns from a batch.
#[derive(Clone, Debug)]
struct Lesson {
    /// Smoothing of the labels, where they are learned from.
    labels: Option<f64>,
    /// Logits to imitate, and the weight of that.
    teacher: Option<(Tensor<2>, f64)>,
    divergence: Divergence,
    /// Of the inputs of the classifier.
    dropout: Dropout,
    /// Whether nothing but the classifier learns.
    frozen: bool,
}

/// What subnets are taught with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Teaching {
    /// Label smoothing, 0 to 1.
    pub smoothing: f64,
    /// Weight of the cross entropy with the softmax of the largest subnet's logits for the same batch under batch
    /// statistics.
    pub distillation: f64,
    /// How that is measured.
    pub divergence: Divergence,
    /// Whether subnets below the largest learn from the labels too.
    pub labels: bool,
    /// Of what the classifiers of the step read; a teacher's reads everything.
    pub dropout: Dropout,
    /// Whether nothing but the classifier learns.
    pub frozen: bool,
}

impl Teaching {
    fn lesson(&self, teacher: Option<Tensor<2>>) -> Lesson {
        Lesson {
            labels: self.labels.then_some(self.smoothing),
            teacher: teacher.map(|logits| (logits, self.distillation)),
            divergence: self.divergence,
            dropout: self.dropout,
            frozen: self.frozen,
        }
    }
}

/// What the classifier of a subnet reads, out of the reach of gradients where only the classifier learns.
fn features(subnet: &Subnet, images: Tensor<4>, bn: &mut BnMode, frozen: bool) -> Tensor<2> {
    let features = subnet.features(images, bn);
    match frozen {
        true => Tensor::from_inner(features.inner()),
        false => features,
    }
}

/// Cross entropy with the labels of a batch, with those of both images where they were mixed.
fn labelled(logits: Tensor<2>, batch: &Batch, smoothing: f64) -> Tensor<1> {
    let loss = |logits, labels| losses::cross_entropy(logits, labels, smoothing as f32);
    match &batch.mixture {
        None => loss(logits, &batch.labels),
        Some(mixture) => {
            loss(logits.clone(), &batch.labels).mul_scalar(mixture.share)
                + loss(logits, &mixture.labels).mul_scalar(1.0 - mixture.share)
        }
    }
}

/// The gradients of an adaptation step and its mean loss: each subnet learns from the labels and, with distillation,
/// from the largest subnet as it is: `loss = distillation * CE_soft + CE_smooth` (mit-han-lab/once-for-all,
/// `train_ofa_net.py`).
pub fn adaptation_gradients(
    supernet: &Supernet,
    batch: &Batch,
    subnets: &[Architecture],
    largest: &Architecture,
    teaching: Teaching,
) -> (Gradients, f32) {
    let teacher = (teaching.distillation > 0.0).then(|| {
        supernet
            .extract(largest)
            .forward(input(supernet, batch, false), &mut BnMode::Batch)
    });
    let lesson = teaching.lesson(teacher);
    let lessons: Vec<(&Architecture, &Lesson)> = subnets
        .iter()
        .map(|architecture| (architecture, &lesson))
        .collect();
    let ((), learned) = learn_all(supernet, batch, &lessons, || ());
    let losses: f32 = learned.iter().map(|(_, loss)| loss).sum();
    let mean = losses / subnets.len() as f32;
    (sum(supernet, learned), mean)
}

/// The gradients of a sandwich step and the largest subnet's loss: the largest subnet learns from the labels, all
/// others from its logits (facebookresearch/AlphaNet, `train_alphanet.py`) and, if asked for, from the labels.
pub fn sandwich_gradients(
    supernet: &Supernet,
    batch: &Batch,
    largest: &Architecture,
    others: &[Architecture],
    teaching: Teaching,
) -> (Gradients, f32) {
    let own = supernet.clone();
    let (subnet, images) = (own.subnet(largest), input(supernet, batch, true));
    let features = features(&subnet, images, &mut BnMode::Batch, teaching.frozen);
    let logits = subnet.classify(teaching.dropout.apply(features.clone(), 0));
    let lesson = teaching.lesson(Some(subnet.classify(features).inner()));
    let lessons: Vec<(&Architecture, &Lesson)> = others
        .iter()
        .map(|architecture| (architecture, &lesson))
        .collect();
    // The others need no more than the logits: they go forward while the largest goes backward.
    let (first, mut learned) = learn_all(supernet, batch, &lessons, || {
        backward(&own, labelled(logits, batch, teaching.smoothing))
    });
    let loss = first.1;
    learned.insert(0, first);
    (sum(supernet, learned), loss)
}

/// The gradients of one subnet that learns from the labels alone, its loss, and the moments of its batch norms.
pub fn tracked_gradients(
    supernet: &Supernet,
    batch: &Batch,
    architecture: &Architecture,
    teaching: Teaching,
) -> (Gradients, f32, Vec<BatchMoments>) {
    let mut moments = Vec::new();
    let (subnet, images) = (supernet.subnet(architecture), input(supernet, batch, true));
    let mut bn = BnMode::Track(&mut moments);
    let features = features(&subnet, images, &mut bn, teaching.frozen);
    let logits = subnet.classify(teaching.dropout.apply(features, 0));
    let (gradients, loss) = backward(supernet, labelled(logits, batch, teaching.smoothing));
    (gradients, loss, moments)
}

/// Does every lesson, several at a time, and `first` beside them. Each has a gradient graph of its own, so the result
/// does not depend on who does what; it has the order of the lessons.
fn learn_all<T: Send>(
    supernet: &Supernet,
    batch: &Batch,
    lessons: &[(&Architecture, &Lesson)],
    first: impl FnOnce() -> T + Send,
) -> (T, Vec<Learned>) {
    let first = Mutex::new((Some(first), None));
    let learned: Vec<OnceLock<Learned>> = lessons.iter().map(|_| OnceLock::new()).collect();
    supernet.side_by_side(lessons.len() + 1, |item| {
        if item == 0 {
            let mut first = first.lock().expect("one thread locks it");
            first.1 = first.0.take().map(|work| work());
            return;
        }
        // The last one first: the smallest subnet, the first of a sandwich, fills the rest of the time best.
        let index = lessons.len() - item;
        let (architecture, lesson) = lessons[index];
        // The subnet of number 0 is the largest one, which is no lesson.
        let done = learn(supernet, batch, architecture, lesson, index + 1);
        assert!(learned[index].set(done).is_ok(), "a lesson is done once");
    });
    let (_, first) = first.into_inner().expect("no worker panicked");
    let learned = learned.into_iter().map(OnceLock::into_inner);
    (
        first.expect("the first item is done"),
        learned
            .map(|done| done.expect("every lesson is done"))
            .collect(),
    )
}

type Learned = (Gradients, f32);

fn learn(
    supernet: &Supernet,
    batch: &Batch,
    architecture: &Architecture,
    lesson: &Lesson,
    number: usize,
) -> Learned {
    let own = supernet.clone();
    let (subnet, images) = (own.subnet(architecture), input(supernet, batch, true));
    let features = features(&subnet, images, &mut BnMode::Batch, lesson.frozen);
    let logits = subnet.classify(lesson.dropout.apply(features, number));
    let hard = (lesson.labels).map(|smoothing| labelled(logits.clone(), batch, smoothing));
    let soft = lesson.teacher.as_ref().map(|(teacher, weight)| {
        let teacher = Tensor::from_inner(teacher.clone());
        let loss = match lesson.divergence {
            Divergence::CrossEntropy => losses::distillation(logits, teacher),
            Divergence::Adaptive => losses::adaptive_divergence(logits, teacher),
        };
        loss.mul_scalar(*weight)
    });
    let loss = match (hard, soft) {
        (Some(hard), Some(soft)) => hard + soft,
        (hard, soft) => hard.or(soft).expect("a lesson teaches something"),
    };
    backward(&own, loss)
}

fn input(supernet: &Supernet, batch: &Batch, autodiff: bool) -> Tensor<4> {
    let shape = [batch.labels.len(), 3, batch.resolution, batch.resolution];
    let tensor = images(batch.images.clone(), shape, supernet.device());
    if autodiff { tensor.autodiff() } else { tensor }
}

fn backward(supernet: &Supernet, loss: Tensor<1>) -> Learned {
    let value = loss.clone().into_scalar::<f32>();
    let mut gradients = loss.backward();
    (supernet.gradients(&mut gradients), value)
}

fn sum(supernet: &Supernet, learned: Vec<Learned>) -> Gradients {
    let mut sum: Gradients = vec![None; supernet.parameters().len()];
    for (gradients, _) in learned {
        for (slot, gradient) in sum.iter_mut().zip(gradients) {
            *slot = match (slot.take(), gradient) {
                (Some(sum), Some(gradient)) => Some(sum.plus(&gradient)),
                (sum, gradient) => sum.or(gradient),
            };
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use nat_data::Mixture;
    use nat_space::Space;

    use super::*;

    const TEACHING: Teaching = Teaching {
        smoothing: 0.1,
        distillation: 1.0,
        divergence: Divergence::CrossEntropy,
        labels: true,
        dropout: Dropout { rate: 0.0, seed: 5 },
        frozen: false,
    };

    fn supernet() -> (Supernet, Architecture, Architecture) {
        let space = Space::builtin("tiny").unwrap();
        let fit = |genes| Architecture {
            resolution: 16,
            ..space.architecture(&genes)
        };
        let supernet = Supernet::new(&space, 0, 3, 1);
        (supernet, fit(space.largest()), fit(space.smallest()))
    }

    fn batch(labels: [usize; 4], mixture: Option<([usize; 4], f32)>) -> Batch {
        let values = 0..4 * 3 * 16 * 16;
        Batch {
            images: values
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 30.0)
                .collect(),
            labels: labels.to_vec(),
            resolution: 16,
            mixture: mixture.map(|(labels, share)| Mixture {
                labels: labels.to_vec(),
                share,
            }),
        }
    }

    fn flat(gradients: Gradients) -> Vec<Option<Vec<f32>>> {
        let whole = gradients.into_iter();
        whole.map(|gradient| Some(gradient?.to_vec())).collect()
    }

    fn sandwich(batch: &Batch, teaching: Teaching) -> (Vec<Option<Vec<f32>>>, f32) {
        let (supernet, largest, smallest) = supernet();
        let (gradients, loss) =
            sandwich_gradients(&supernet, batch, &largest, &[smallest], teaching);
        (flat(gradients), loss)
    }

    fn apart(one: &[Option<Vec<f32>>], other: &[Option<Vec<f32>>]) -> f32 {
        let values = |list: &[Option<Vec<f32>>]| list.iter().flatten().flatten().copied().collect();
        let (one, other): (Vec<f32>, Vec<f32>) = (values(one), values(other));
        assert_eq!(one.len(), other.len());
        let pairs = one.iter().zip(&other);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn labels_count_by_their_share() {
        let (one, other) = ([0, 1, 2, 1], [2, 2, 0, 1]);
        let plain = sandwich(&batch(one, None), TEACHING);
        let whole = sandwich(&batch(one, Some((other, 1.0))), TEACHING);
        assert!(apart(&plain.0, &whole.0) < 1e-6 && plain.1 == whole.1);
        let rest = sandwich(&batch(other, None), TEACHING);
        let mixed = sandwich(&batch(one, Some((other, 0.25))), TEACHING);
        // The loss is linear in the targets.
        assert!((mixed.1 - 0.25 * plain.1 - 0.75 * rest.1).abs() < 1e-5);
        for ((mixed, plain), rest) in mixed.0.iter().zip(&plain.0).zip(&rest.0) {
            let values = |part: &Option<Vec<f32>>| part.clone().unwrap_or_default();
            let parts = values(plain).into_iter().zip(values(rest));
            for (mixed, (plain, rest)) in values(mixed).iter().zip(parts) {
                assert!((mixed - 0.25 * plain - 0.75 * rest).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_frozen_body_has_no_gradients() {
        let batch = batch([0, 1, 2, 1], None);
        let frozen = Teaching {
            frozen: true,
            ..TEACHING
        };
        let (free, held) = (sandwich(&batch, TEACHING), sandwich(&batch, frozen));
        assert_eq!(free.1, held.1);
        let (supernet, ..) = supernet();
        for ((parameter, free), held) in supernet.parameters().iter().zip(&free.0).zip(&held.0) {
            match parameter.is_classifier() {
                true => assert_eq!(free, held, "{}", parameter.name()),
                false => assert!(held.is_none(), "{}", parameter.name()),
            }
        }
    }

    #[test]
    fn dropout_is_for_those_who_learn() {
        let batch = batch([0, 1, 2, 1], None);
        let (supernet, largest, smallest) = supernet();
        let dropping = Teaching {
            labels: false,
            dropout: Dropout { rate: 0.5, seed: 5 },
            ..TEACHING
        };
        let learned = |teaching| {
            adaptation_gradients(
                &supernet,
                &batch,
                std::slice::from_ref(&smallest),
                &largest,
                teaching,
            )
            .1
        };
        // The teacher of an adaptation step does not learn, so that its logits are those without dropout.
        let teacher = supernet
            .extract(&largest)
            .forward(input(&supernet, &batch, false), &mut BnMode::Batch);
        let subnet = supernet.extract(&smallest);
        let read = subnet.features(input(&supernet, &batch, false), &mut BnMode::Batch);
        let logits = subnet.classify(dropping.dropout.apply(read, 1));
        let expected = losses::distillation(logits, teacher).into_scalar::<f32>();
        assert!((learned(dropping) - expected).abs() < 1e-5);
        let whole = Teaching {
            labels: false,
            ..TEACHING
        };
        assert!((learned(whole) - expected).abs() > 1e-3);
        // In a sandwich the largest learns and teaches: what it teaches is whole.
        let (taught, _) = sandwich(&batch, dropping);
        let (_, loss) = sandwich(&batch, whole);
        let own = supernet.clone();
        let subnet = own.subnet(&largest);
        let read = subnet.features(input(&supernet, &batch, true), &mut BnMode::Batch);
        let logits = subnet.classify(dropping.dropout.apply(read.clone(), 0));
        let first = backward(&own, labelled(logits, &batch, 0.1));
        assert!((first.1 - loss).abs() > 1e-4);
        let lesson = dropping.lesson(Some(subnet.classify(read).inner()));
        let second = learn(&supernet, &batch, &smallest, &lesson, 1);
        let expected = flat(sum(&supernet, vec![first, second]));
        assert!(apart(&taught, &expected) < 1e-6);
    }
}
