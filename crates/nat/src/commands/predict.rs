//! `nat predict`: classes of single images.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use nat_data::{RgbImage, Scaler};
use serde_json::json;

use crate::{args, commands::eval, dataset, failure::bad_input, weights};

/// Pictures that cannot be used are named and passed over; the error at the end counts them.
pub fn run(args: &args::Predict) -> Result<()> {
    let model = weights::network(&args.model)?;
    let info = model.info();
    let transform = eval::transform(info)?;
    let mut scaler = Scaler::default();
    let mut input = vec![0.0; 3 * info.resolution * info.resolution];
    let mut unusable = 0;
    for path in &args.images {
        let name = path.display().to_string();
        let picture = match open(path) {
            Ok(picture) => picture,
            Err(reason) => {
                errln!("nat: {name}: {reason}");
                unusable += 1;
                continue;
            }
        };
        transform.apply(&picture, info.resolution, &mut scaler, &mut input);
        let logits = model.run(&input, 1).with_context(|| name.clone())?;
        let probabilities = softmax(&logits);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| {
            probabilities[b]
                .total_cmp(&probabilities[a])
                .then(a.cmp(&b))
        });
        order.truncate(args.top.into());
        if args.json {
            let classes: Vec<_> = order
                .iter()
                .map(|&i| json!({ "class": info.classes[i], "probability": probabilities[i] }))
                .collect();
            outln!("{}", json!({ "image": name, "classes": classes }));
        } else {
            let classes: Vec<String> = order
                .iter()
                .map(|&i| format!("{} {:.1} %", info.classes[i], 100.0 * probabilities[i]))
                .collect();
            outln!("{name}: {}", classes.join(", "));
        }
    }
    match unusable {
        0 => Ok(()),
        _ => Err(bad_input(format!(
            "{unusable} of {} images cannot be used",
            args.images.len()
        ))),
    }
}

fn open(path: &Path) -> Result<RgbImage, String> {
    if path.is_dir() {
        return Err("is a folder; give images".into());
    }
    let encoded = fs::read(path).map_err(|error| error.to_string())?;
    dataset::picture(&encoded).map_err(|fault| fault.to_string())
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_and_survives_large_logits() {
        let probabilities = softmax(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(probabilities, [0.5, 0.5, 0.0]);
    }
}
