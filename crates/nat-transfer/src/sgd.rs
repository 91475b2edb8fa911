//! Stochastic gradient descent with Nesterov momentum over a supernet's parameters.

use nat_supernet::{Gradient, Kind, Parameter};
use rayon::prelude::*;

use crate::config::Adaptation;

/// PyTorch's rule: `d = g + decay * p`, `v = momentum * v + d` (`v = d` at first), then `p -= rate * (d + momentum * v)`
/// with Nesterov's form and `p -= rate * v` without.
///
/// A step touches the parameters that took part in it: blocks that every sampled subnet skips keep weights and
/// velocities. Inside a tensor that took part the whole tensor moves: channels outside the active slice have gradient
/// zero, yet momentum and weight decay act on them, as in PyTorch.
#[derive(Clone, Debug)]
pub struct Sgd {
    settings: SgdSettings,
    velocities: Vec<Option<Vec<f32>>>,
}

/// Constants of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdSettings {
    /// Share of the velocity that a step keeps.
    pub momentum: f64,
    /// Nesterov's form.
    pub nesterov: bool,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether batch-norm parameters, biases and kernel matrices decay too.
    pub decay_all: bool,
    /// What the learning rate of everything but the classifier is multiplied by: a classifier for new classes starts
    /// from nothing, the body does not.
    pub body_rate: f64,
}

impl From<&Adaptation> for SgdSettings {
    fn from(adapt: &Adaptation) -> Self {
        SgdSettings {
            momentum: adapt.momentum,
            nesterov: adapt.nesterov,
            weight_decay: adapt.weight_decay,
            decay_all: adapt.decay_all,
            body_rate: adapt.body_rate,
        }
    }
}

impl Sgd {
    /// An optimizer at rest for `parameters` tensors.
    pub fn new(settings: SgdSettings, parameters: usize) -> Sgd {
        Sgd {
            settings,
            velocities: vec![None; parameters],
        }
    }

    /// Moves the parameters that have a gradient.
    ///
    /// # Panics
    /// The lists differ in length.
    pub fn step(
        &mut self,
        parameters: &mut [Parameter],
        gradients: Vec<Option<Gradient>>,
        rate: f64,
    ) {
        assert_eq!(
            parameters.len(),
            gradients.len(),
            "one gradient slot a parameter"
        );
        let SgdSettings {
            momentum,
            nesterov,
            weight_decay,
            decay_all,
            body_rate,
        } = self.settings;
        let (momentum, body, head) = (momentum as f32, (body_rate * rate) as f32, rate as f32);
        let tensors = parameters
            .par_iter_mut()
            .zip(gradients)
            .zip(&mut self.velocities);
        tensors.for_each(|((parameter, gradient), slot)| {
            let Some(gradient) = gradient else { return };
            let rate = if parameter.is_classifier() {
                head
            } else {
                body
            };
            let decays = weight_decay > 0.0 && (decay_all || parameter.kind() == Kind::Weight);
            let decay = if decays { weight_decay as f32 } else { 0.0 };
            // A velocity at rest: momentum times zero adds nothing to the first direction.
            let velocity = slot.get_or_insert_with(|| vec![0.0; parameter.len()]);
            let move_value = |value: &mut f32, velocity: &mut f32, gradient: f32| {
                let direction = gradient + decay * *value;
                *velocity = momentum * *velocity + direction;
                let change = if nesterov {
                    direction + momentum * *velocity
                } else {
                    *velocity
                };
                *value -= rate * change;
            };
            parameter.update(|values| {
                for (row, gradient) in gradient.rows() {
                    let (values, velocity) = (&mut values[row.clone()], &mut velocity[row]);
                    let (active, rest) = values.split_at_mut(gradient.len());
                    let (active_velocity, rest_velocity) = velocity.split_at_mut(gradient.len());
                    let pairs = active.iter_mut().zip(active_velocity);
                    for ((value, velocity), gradient) in pairs.zip(gradient) {
                        move_value(value, velocity, *gradient);
                    }
                    for (value, velocity) in rest.iter_mut().zip(rest_velocity) {
                        move_value(value, velocity, 0.0);
                    }
                }
            });
        });
    }

    /// The velocities in parameter order; `None` where a parameter has not been touched yet.
    pub fn velocities(&self) -> Vec<Option<Vec<f32>>> {
        self.velocities.clone()
    }

    /// Puts back what [`Sgd::velocities`] gave.
    pub fn restore(&mut self, velocities: Vec<Option<Vec<f32>>>) {
        self.velocities = velocities;
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use nat_supernet::Supernet;

    use super::*;

    #[test]
    fn follows_the_rule_by_hand_and_leaves_untouched_parameters_alone() {
        let mut supernet = Supernet::new(&Space::builtin("tiny").unwrap(), 0, 3, 1);
        let settings = SgdSettings {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.1,
            decay_all: false,
            body_rate: 0.25,
        };
        let count = supernet.parameters().len();
        let mut sgd = Sgd::new(settings, count);
        let before: Vec<Vec<f32>> = supernet
            .parameters()
            .iter()
            .map(Parameter::to_vec)
            .collect();
        let weight = supernet
            .parameters()
            .iter()
            .position(|p| p.kind() == Kind::Weight)
            .unwrap();
        let norm = supernet
            .parameters()
            .iter()
            .position(|p| p.kind() == Kind::Norm)
            .unwrap();
        let classifier = supernet
            .parameters()
            .iter()
            .position(|p| p.is_classifier() && p.kind() == Kind::Weight)
            .unwrap();
        for _ in 0..2 {
            let mut gradients = vec![None; count];
            for index in [weight, norm, classifier] {
                gradients[index] = Some(Gradient::whole(vec![0.5; before[index].len()]));
            }
            sgd.step(supernet.parameters_mut(), gradients, 0.1);
        }
        let by_hand = |start: f32, decay: f32, rate: f32| {
            let (mut p, mut v) = (start, 0.0);
            for _ in 0..2 {
                let d = 0.5 + decay * p;
                v = 0.9 * v + d;
                p -= rate * (d + 0.9 * v);
            }
            p
        };
        for (index, parameter) in supernet.parameters().iter().enumerate() {
            let decay = if index == norm { 0.0 } else { 0.1 };
            let rate = if index == classifier { 0.1 } else { 0.025 };
            for (&was, is) in before[index].iter().zip(parameter.to_vec()) {
                if [weight, norm, classifier].contains(&index) {
                    assert!((by_hand(was, decay, rate) - is).abs() < 1e-6);
                } else {
                    assert_eq!(was, is);
                }
            }
        }
    }

    #[test]
    fn velocities_survive_a_round_trip() {
        let mut supernet = Supernet::new(&Space::builtin("tiny").unwrap(), 0, 3, 1);
        let settings = SgdSettings {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            decay_all: true,
            body_rate: 1.0,
        };
        let count = supernet.parameters().len();
        let mut sgd = Sgd::new(settings, count);
        let mut gradients = vec![None; count];
        gradients[0] = Some(Gradient::whole(vec![0.25; supernet.parameters()[0].len()]));
        sgd.step(supernet.parameters_mut(), gradients, 0.1);
        let mut copy = Sgd::new(settings, count);
        copy.restore(sgd.velocities());
        assert_eq!(copy.velocities(), sgd.velocities());
        assert!(copy.velocities()[1].is_none());
    }
}
