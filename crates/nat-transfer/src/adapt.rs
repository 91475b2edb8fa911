//! The lower level: the supernet is trained where the candidates lie.

use nat_data::Split;
use nat_space::{Architecture, Genotype, Space};
use nat_supernet::SupernetFile;
use rand::{Rng, RngExt};

use crate::{
    Course, Phase, RunConfig, TransferError,
    config::Sampling,
    marginals::Marginals,
    schedule::Schedule,
    sgd::SgdSettings,
    streams::{Purpose, key, stream},
    train::{Teaching, adaptation_gradients, sandwich_gradients},
    trainee::Trainee,
    training::{Moment, Pass, Task, Training, plan},
};

/// Supernets at the beginning of the first adaptation.
pub fn trainee(config: &RunConfig, supernets: SupernetFile) -> Trainee {
    let settings = SgdSettings::from(&config.adapt);
    Trainee::new(supernets, settings, config.adapt.average)
}

/// Steps of each width: the share of the candidates that have it, rounded down.
fn shares(steps: usize, widths: usize, candidates: &[Genotype]) -> Vec<usize> {
    (0..widths)
        .map(|width| {
            let having = candidates
                .iter()
                .filter(|genes| usize::from(genes.as_slice()[1]) == width)
                .count();
            steps * having / candidates.len()
        })
        .collect()
}

/// One of the candidates of a width: of those of the resolution where there are any, otherwise with that resolution.
///
/// # Panics
/// No candidate has the width.
fn member(
    space: &Space,
    candidates: &[Genotype],
    (resolution, width): (u16, u16),
    rng: &mut impl Rng,
) -> Genotype {
    let having = |resolution: Option<u16>| -> Vec<&Genotype> {
        let all = candidates.iter();
        all.filter(|genes| {
            let genes = genes.as_slice();
            genes[1] == width && resolution.is_none_or(|side| genes[0] == side)
        })
        .collect()
    };
    let mut members = having(Some(resolution));
    if members.is_empty() {
        members = having(None);
    }
    let member = members[rng.random_range(0..members.len())];
    placed(space, member, (resolution, width))
}

/// Genes with another resolution and width.
fn placed(space: &Space, genes: &Genotype, (resolution, width): (u16, u16)) -> Genotype {
    let mut genes = genes.as_slice().to_vec();
    (genes[0], genes[1]) = (resolution, width);
    space.genotype(&genes).expect("a member of the space")
}

/// The subnets of a step besides the largest: drawn ones, the first of which gives way to the smallest where that has its turn.
fn subnets(
    space: &Space,
    count: usize,
    fixed: (u16, u16),
    smallest: bool,
    mut draw: impl FnMut() -> Genotype,
) -> Vec<Architecture> {
    (0..count)
        .map(|place| match smallest && place == 0 {
            true => placed(space, &space.smallest(), fixed),
            false => draw(),
        })
        .map(|genes| space.architecture(&genes))
        .collect()
}

/// Trains one iteration from step `start` on; returns whether all are done.
///
/// Each batch takes its resolution from the marginal of the candidates, and its subnets from the marginals of all other
/// genes, pooled over both widths (paper profile), or as `adapt.sampling` says; the steps of the share `adapt.any_resolution` draw the resolution uniformly.
///
/// # Errors
/// An unreadable image, a loss that is no number, or what `watch` fails with.
pub fn adapt(
    task: &Task<'_>,
    (candidates, course): (&[Genotype], Course),
    trainee: &mut Trainee,
    start: usize,
    watch: &mut dyn FnMut(Moment<'_>) -> Result<bool, TransferError>,
) -> Result<bool, TransferError> {
    let Task {
        set, space, config, ..
    } = *task;
    let settings = &config.adapt;
    let pass = Pass::of(Phase::Adapt, config, set.len(Split::Train));
    // One cosine over all iterations, of which a supernet with a share of the steps follows the first part of the iteration's
    // segment (paper profile), or one for each supernet in every iteration.
    let (offset, whole) = match settings.cyclic {
        true => (0, None),
        false => (
            course.trained * pass.steps,
            Some(pass.steps * (config.search.iterations + 1)),
        ),
    };
    let schedule = |steps: usize| {
        let total = whole.unwrap_or(steps);
        Schedule {
            peak: settings.learning_rate,
            warmup: (settings.warmup * total as f64) as usize,
            total,
            last: 0.0,
        }
    };
    let marginals = match settings.sampling {
        Sampling::Uniform => Marginals::of(space, [], 1.0),
        _ => Marginals::of(space, candidates, settings.floor),
    };
    let stretch = Training::stretch(Phase::Adapt, course.generation);
    let sides: Vec<usize> = space.resolutions.sides().collect();
    let rng = |purpose, step| stream(key(config.seed, purpose, stretch, step));
    let resolution_gene = |step| {
        let explores = rng(Purpose::Exploration, step).random::<f64>() < settings.any_resolution;
        let mut rng = rng(Purpose::Resolution, step);
        if explores {
            rng.random_range(0..sides.len()) as u16
        } else {
            marginals.sample_gene(0, &mut rng)
        }
    };
    let widths = trainee.supernets.supernets.len();
    let counts = match settings.sampling {
        Sampling::Uniform => vec![pass.steps / widths; widths],
        _ => shares(pass.steps, widths, candidates),
    };
    let steps = plan(&counts, offset, schedule, |step| {
        sides[usize::from(resolution_gene(step))]
    });
    let training = task.training(Phase::Adapt, course, pass, steps);
    training.run(
        trainee,
        start,
        |supernets, batch, step| {
            let width = training.steps[step].width;
            let fixed = (resolution_gene(step), width as u16);
            let smallest = rng(Purpose::Smallest, step).random::<f64>() < settings.smallest;
            let mut rng = rng(Purpose::Subnet, step);
            let subnets = subnets(space, settings.subnets, fixed, smallest, || match settings
                .sampling
            {
                Sampling::Members => member(space, candidates, fixed, &mut rng),
                _ => marginals.sample(space, fixed.0, fixed.1, &mut rng),
            });
            let largest = space.architecture(&placed(space, &space.largest(), fixed));
            let supernet = &supernets.supernets[width];
            let teaching = Teaching {
                smoothing: settings.label_smoothing,
                distillation: settings.distillation,
                divergence: settings.divergence,
                labels: true,
                dropout: training.dropout(step),
                frozen: false,
            };
            if settings.sandwich {
                sandwich_gradients(supernet, batch, &largest, &subnets, teaching)
            } else {
                adaptation_gradients(supernet, batch, &subnets, &largest, teaching)
            }
        },
        watch,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_share_the_steps_like_the_candidates() {
        let space = Space::builtin("nat").unwrap();
        let candidates = [space.smallest(), space.smallest(), space.largest()];
        assert_eq!(shares(100, 2, &candidates), [66, 33]);
        assert_eq!(shares(100, 2, &candidates[..2]), [100, 0]);
    }

    #[test]
    fn genes_keep_everything_but_their_place() {
        let space = Space::builtin("nat").unwrap();
        let moved = placed(&space, &space.smallest(), (7, 1));
        assert_eq!(moved.as_slice()[..2], [7, 1]);
        assert_eq!(moved.as_slice()[2..], space.smallest().as_slice()[2..]);
    }

    #[test]
    fn the_smallest_takes_the_place_of_one_that_is_drawn() {
        let space = Space::builtin("nat").unwrap();
        let step = |smallest| {
            let mut draws = 0;
            let subnets = subnets(&space, 3, (7, 1), smallest, || {
                draws += 1;
                placed(&space, &space.largest(), (7, 1))
            });
            (subnets, draws)
        };
        let [largest, smallest] = [space.largest(), space.smallest()]
            .map(|genes| space.architecture(&placed(&space, &genes, (7, 1))));
        let with = vec![smallest, largest.clone(), largest.clone()];
        assert_eq!(step(true), (with, 2));
        assert_eq!(step(false), (vec![largest; 3], 3));
    }

    #[test]
    fn members_are_trained_as_they_are() {
        let space = Space::builtin("nat").unwrap();
        let mut rng = stream(key(1, Purpose::Subnet, 0, 0));
        let candidates: Vec<Genotype> = (0..40).map(|_| space.sample(&mut rng)).collect();
        for resolution in 0..16 {
            let drawn = member(&space, &candidates, (resolution, 1), &mut rng);
            let same = |genes: &&Genotype| genes.as_slice()[1..] == drawn.as_slice()[1..];
            let origin = candidates.iter().find(same).unwrap();
            assert_eq!(drawn.as_slice()[..2], [resolution, 1]);
            let own = |genes: &Genotype| genes.as_slice()[..2] == [resolution, 1];
            assert!(own(origin) || !candidates.iter().any(own));
        }
    }
}
