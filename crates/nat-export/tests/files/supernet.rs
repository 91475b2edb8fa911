//! Subnets of real supernets: what the file computes is what the training side computed.

use nat_export::{verify, write_onnx, write_safetensors};
use nat_space::Space;
use nat_supernet::{BnMode, Subnet, Supernet, images};
use tempfile::tempdir;

use crate::reference::{info_of, random_images};

/// NAT-M3: width multiplier 1.2, skipped slots.
const M3: &str = "8,1,2,1,1,0,5,4,5,1,5,8,1,1,8,9,7,5,9,7,7,1";

/// A subnet as an evaluation would use it: extracted, batch norms recalibrated on two batches.
fn evaluated_subnet(supernet: &Supernet, genes: &str) -> Subnet {
    let space = supernet.space();
    let architecture = space.architecture(&space.parse(genes).unwrap());
    let mut subnet = supernet.extract(&architecture);
    let net = subnet.fold();
    let side = net.resolution;
    let batches = [21, 22].map(|seed| {
        let pixels = random_images(&net, 4, seed);
        Ok::<_, std::convert::Infallible>(images(pixels, [4, 3, side, side], supernet.device()))
    });
    subnet.recalibrate(batches.into_iter()).unwrap();
    subnet
}

#[test]
fn files_agree_with_the_subnets_they_were_extracted_from() {
    let directory = tempdir().unwrap();
    let onnx = directory.path().join("net.onnx");
    let safetensors = directory.path().join("net.safetensors");
    for (name, genes) in [("tiny", None), ("nat", Some(M3)), ("lite0", None)] {
        let space = Space::builtin(name).unwrap();
        let genes = genes.map_or_else(|| space.largest().to_string(), str::to_string);
        let width = space.architecture(&space.parse(&genes).unwrap()).width;
        let supernet = Supernet::new(&space, width, 100, 20);
        let subnet = evaluated_subnet(&supernet, &genes);
        let net = subnet.fold();

        let n = 2;
        let side = net.resolution;
        let pixels = random_images(&net, n, 23);
        let input = images(pixels.clone(), [n, 3, side, side], supernet.device());
        let logits = subnet.forward(input, &mut BnMode::Fixed).into_data();
        let logits = logits.try_to_vec::<f32>().unwrap();

        write_onnx(&onnx, &net, &info_of(&net)).unwrap();
        write_safetensors(&safetensors, &net, &info_of(&net)).unwrap();
        for path in [&onnx, &safetensors] {
            let difference = verify(path, &pixels, n, &logits).unwrap();
            println!("{name}, {}: logits differ by {difference}", path.display());
            assert!(difference < 1e-4);
        }
    }
}
