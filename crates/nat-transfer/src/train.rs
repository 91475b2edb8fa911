//! One training step: several subnets on one batch, their gradients added.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use burn::tensor::Tensor;
use nat_data::Batch;
use nat_space::Architecture;
use nat_supernet::{BatchMoments, BnMode, Gradient, Supernet, images, losses};

/// Gradients in parameter order; `None` where no subnet used the parameter.
pub type Gradients = Vec<Option<Gradient>>;

/// What a subnet learns from a batch.
#[derive(Clone, Debug)]
struct Lesson {
    /// Smoothing of the labels, where they are learned from.
    labels: Option<f64>,
    /// Logits to imitate, and the weight of that.
    teacher: Option<(Tensor<2>, f64)>,
}

/// What subnets are taught with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Teaching {
    /// Label smoothing, 0 to 1.
    pub smoothing: f64,
    /// Weight of the cross entropy with the softmax of the largest subnet's logits for the same batch under batch
    /// statistics.
    pub distillation: f64,
    /// Whether subnets below the largest learn from the labels too.
    pub labels: bool,
}

impl Teaching {
    fn lesson(&self, teacher: Option<Tensor<2>>) -> Lesson {
        Lesson {
            labels: self.labels.then_some(self.smoothing),
            teacher: teacher.map(|logits| (logits, self.distillation)),
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
    let learned = Queue::new(&lessons).work_off(supernet, batch, || ());
    let losses: f32 = learned.1.iter().map(|(_, loss)| loss).sum();
    let mean = losses / subnets.len() as f32;
    (sum(supernet, learned.1), mean)
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
    let logits = own
        .subnet(largest)
        .forward(input(supernet, batch, true), &mut BnMode::Batch);
    let lesson = teaching.lesson(Some(logits.clone().inner()));
    let lessons: Vec<(&Architecture, &Lesson)> = others
        .iter()
        .map(|architecture| (architecture, &lesson))
        .collect();
    // The others need no more than the logits: they go forward while the largest goes backward.
    let (first, mut learned) = Queue::new(&lessons).work_off(supernet, batch, || {
        backward(
            &own,
            losses::cross_entropy(logits, &batch.labels, teaching.smoothing as f32),
        )
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
    smoothing: f64,
) -> (Gradients, f32, Vec<BatchMoments>) {
    let mut moments = Vec::new();
    let logits = supernet.subnet(architecture).forward(
        input(supernet, batch, true),
        &mut BnMode::Track(&mut moments),
    );
    let loss = losses::cross_entropy(logits, &batch.labels, smoothing as f32);
    let (gradients, loss) = backward(supernet, loss);
    (gradients, loss, moments)
}

/// Lessons that several threads take one by one. Each has a gradient graph of its own, so the
/// result does not depend on who takes what; sums are formed in the order of the lessons.
struct Queue<'a> {
    lessons: &'a [(&'a Architecture, &'a Lesson)],
    next: AtomicUsize,
    learned: Mutex<Vec<(usize, Learned)>>,
}

type Learned = (Gradients, f32);

impl<'a> Queue<'a> {
    fn new(lessons: &'a [(&'a Architecture, &'a Lesson)]) -> Queue<'a> {
        Queue {
            lessons,
            next: AtomicUsize::new(0),
            learned: Mutex::default(),
        }
    }

    /// Does every lesson, and `first` on this thread before it joins in.
    fn work_off<T>(
        &self,
        supernet: &Supernet,
        batch: &Batch,
        first: impl FnOnce() -> T,
    ) -> (T, Vec<Learned>) {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let result = thread::scope(|scope| {
            for _ in 1..threads.min(self.lessons.len() + 1) {
                scope.spawn(|| self.work(supernet, batch));
            }
            let result = first();
            self.work(supernet, batch);
            result
        });
        let mut learned = std::mem::take(&mut *self.learned.lock().expect("no worker panicked"));
        learned.sort_by_key(|(index, _)| *index);
        (
            result,
            learned.into_iter().map(|(_, learned)| learned).collect(),
        )
    }

    fn work(&self, supernet: &Supernet, batch: &Batch) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((architecture, lesson)) = self.lessons.get(index) else {
                return;
            };
            let learned = learn(supernet, batch, architecture, lesson);
            self.learned
                .lock()
                .expect("no worker panicked")
                .push((index, learned));
        }
    }
}

fn learn(
    supernet: &Supernet,
    batch: &Batch,
    architecture: &Architecture,
    lesson: &Lesson,
) -> Learned {
    let own = supernet.clone();
    let logits = own
        .subnet(architecture)
        .forward(input(supernet, batch, true), &mut BnMode::Batch);
    let hard = lesson
        .labels
        .map(|smoothing| losses::cross_entropy(logits.clone(), &batch.labels, smoothing as f32));
    let soft = lesson.teacher.as_ref().map(|(teacher, weight)| {
        let teacher = Tensor::from_inner(teacher.clone());
        losses::distillation(logits, teacher).mul_scalar(*weight)
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
