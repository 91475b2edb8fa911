//! A training step gives the same bytes with any number of threads.

use nat_space::Space;
use nat_supernet::{BnMode, Supernet, images, losses};

/// Loss, all gradients and recalibrated logits of one step, as bits.
fn step((space, side, batch): (&str, usize, usize), threads: usize) -> Vec<u32> {
    let space = Space::builtin(space).unwrap();
    let supernet = Supernet::new(&space, 0, 10, 3).with_threads(threads);
    let pixels: Vec<f32> = (0..batch * 3 * side * side)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let images = images(pixels, [batch, 3, side, side], supernet.device());
    let labels: Vec<usize> = (0..batch).map(|i| i % 10).collect();
    let mut bits = Vec::new();
    for genotype in [space.largest(), space.smallest()] {
        let architecture = space.architecture(&genotype);
        let subnet = supernet.subnet(&architecture);
        let logits = subnet.forward(images.clone(), &mut BnMode::Batch);
        let loss = losses::cross_entropy(logits, &labels, 0.1);
        let mut gradients = loss.backward();
        let mut push = |values: Vec<f32>| bits.extend(values.into_iter().map(f32::to_bits));
        push(loss.inner().into_data().try_to_vec().unwrap());
        for gradient in supernet.gradients(&mut gradients).into_iter().flatten() {
            push(gradient.to_vec());
        }
        let mut subnet = supernet.extract(&architecture);
        subnet
            .recalibrate([Ok::<_, String>(images.clone())].into_iter())
            .unwrap();
        let logits = subnet.forward(images.clone(), &mut BnMode::Fixed);
        push(logits.into_data().try_to_vec().unwrap());
    }
    bits
}

#[test]
fn threads_do_not_change_a_bit() {
    for network in [("tiny", 48, 16), ("ofa-mbv3-w1.0", 64, 6), ("lite0", 64, 4)] {
        let one = step(network, 1);
        for threads in [2, 3] {
            let several = step(network, threads);
            assert!(
                one == several,
                "{network:?}: {threads} threads differ from one"
            );
        }
    }
}
