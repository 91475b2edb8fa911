//! Times of a training step and of an evaluation: `step_times [SPACE SIDE BATCH CLASSES]`, one line a subnet.

use std::time::Instant;

use nat_space::Space;
use nat_supernet::{BnMode, Supernet, images, losses};

fn median(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    1e3 * times[2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        let given = arguments
            .get(index)
            .map(|text| text.parse().expect("a number"));
        given.unwrap_or(default)
    };
    let name = arguments.first().map_or("tiny", String::as_str);
    let (side, batch, classes) = (number(1, 48), number(2, 64), number(3, 10));
    let space = Space::builtin(name).expect("a built-in space");
    let supernet = Supernet::new(&space, 0, classes, 1);
    let pixels = (0..batch * 3 * side * side)
        .map(|i| (i as f32 * 0.7).sin())
        .collect();
    let batch_images = images(pixels, [batch, 3, side, side], supernet.device());
    let labels: Vec<usize> = (0..batch).map(|i| i % classes).collect();
    for (name, genotype) in [("max", space.largest()), ("min", space.smallest())] {
        let architecture = space.architecture(&genotype);
        let step = median(|| {
            let logits = supernet
                .subnet(&architecture)
                .forward(batch_images.clone(), &mut BnMode::Batch);
            let mut gradients = losses::cross_entropy(logits, &labels, 0.1).backward();
            supernet.gradients(&mut gradients);
        });
        let subnet = supernet.extract(&architecture);
        let evaluation = median(|| {
            subnet
                .forward(batch_images.clone(), &mut BnMode::Fixed)
                .into_data();
        });
        println!("{name}: step {step:.1} ms, evaluation {evaluation:.1} ms");
    }
}
