//! Tables that were published: text keys with a mean, as YAML or JSON.
//!
//! mikelzc1990/nsganetv2 `data/i7-8700K_lut.yaml` (keys `MBConv-...`) and mit-han-lab/once-for-all
//! `tutorial/checkpoints/latency_table@note10` (keys `expanded_conv-...`, one file an input side).

use std::{collections::HashMap, fs, path::Path};

use serde_json::{Map, Value};

use super::{Device, LatencyError, LatencyTable, Layer, LayerKind, Timing, milliseconds};
use crate::space::Activation;

/// A folder with one file for each input side of the network, `<side>.yaml` or, as they were published,
/// `<side>_lookup_table.yaml`.
pub(super) fn folder(
    path: &Path,
    read: &dyn Fn(&Path) -> Result<String, LatencyError>,
) -> Result<LatencyTable, LatencyError> {
    let entries = fs::read_dir(path).map_err(|source| LatencyError::Read {
        path: path.into(),
        source,
    })?;
    let mut files: Vec<(usize, std::path::PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let stem = path.file_stem()?.to_str()?;
            let side = stem.strip_suffix("_lookup_table").unwrap_or(stem);
            let side = side.parse().ok()?;
            (path.extension()? == "yaml").then_some((side, path))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(LatencyError::File {
            path: path.into(),
            reason: "the folder holds no <side>.yaml or <side>_lookup_table.yaml".into(),
        });
    }
    let mut rows = Vec::new();
    for (side, file) in files {
        let part = from_yaml(&read(&file)?, Some(side))
            .map_err(|reason| LatencyError::File { path: file, reason })?;
        rows.extend(part.rows());
    }
    Ok(LatencyTable::new(Device::default(), rows))
}

/// Keys at the margin, each with indented `name: number` lines below it: all the YAML that these
/// tables use.
pub(super) fn from_yaml(text: &str, resolution: Option<usize>) -> Result<LatencyTable, String> {
    let mut table = LatencyTable::new(Device::default(), []);
    let mut key: Option<(usize, &str)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.trim_end();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if !content.starts_with(' ') {
            let name = content
                .strip_suffix(':')
                .ok_or_else(|| format!("line {number}: expected a key and a colon"))?;
            key = Some((number, name));
            continue;
        }
        let (name, value) = content
            .trim_start()
            .split_once(':')
            .ok_or_else(|| format!("line {number}: expected 'name: number'"))?;
        let (at, row) = key.ok_or_else(|| format!("line {number}: a value without a key"))?;
        if name == "mean" {
            let ms: f64 = value
                .trim()
                .parse()
                .map_err(|_| format!("line {number}: '{}' is no number", value.trim()))?;
            let ms = milliseconds(ms).map_err(|e| format!("line {number}: {e}"))?;
            let layer = parse_key(row, resolution).map_err(|e| format!("line {at}: {e}"))?;
            table.insert(layer, Timing { ms, spread: None });
        }
    }
    if table.rows.is_empty() {
        return Err("there is no row with a mean".into());
    }
    Ok(table)
}

/// `{key: {"mean": ms, ...}}`, or the same once more below input sides.
pub(super) fn from_json(top: &Map<String, Value>) -> Result<LatencyTable, String> {
    let mut table = LatencyTable::new(Device::default(), []);
    for (key, row) in top {
        match key.parse::<usize>() {
            Ok(side) => {
                let rows = row
                    .as_object()
                    .ok_or_else(|| format!("'{key}': expected rows"))?;
                for (key, row) in rows {
                    insert_json(&mut table, key, row, Some(side))?;
                }
            }
            Err(_) => insert_json(&mut table, key, row, None)?,
        }
    }
    if table.rows.is_empty() {
        return Err("there are no rows".into());
    }
    Ok(table)
}

fn insert_json(
    table: &mut LatencyTable,
    key: &str,
    row: &Value,
    resolution: Option<usize>,
) -> Result<(), String> {
    let number = |name: &str| row.get(name).and_then(Value::as_f64);
    let ms = number("mean").ok_or_else(|| format!("'{key}' has no mean"))?;
    let ms = milliseconds(ms).map_err(|e| format!("'{key}': {e}"))?;
    let spread = number("std").or_else(|| number("var").map(f64::sqrt));
    table.insert(parse_key(key, resolution)?, Timing { ms, spread });
    Ok(())
}

/// `name-input:AxBxC-output:...-expand:...`
fn parse_key(key: &str, resolution: Option<usize>) -> Result<Layer, String> {
    let bad = |what: &str| format!("the key '{key}' {what}");
    let mut parts = key.split('-');
    let name = parts.next().unwrap_or_default();
    let fields: HashMap<&str, &str> = parts
        .map(|part| {
            part.split_once(':')
                .ok_or_else(|| bad("has a part without ':'"))
        })
        .collect::<Result<_, _>>()?;
    let shape = |field: &str| -> Result<(usize, usize), String> {
        let text = fields
            .get(field)
            .ok_or_else(|| bad(&format!("has no {field}")))?;
        let numbers: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
        match numbers.as_deref() {
            Some([height, width, channels]) if height == width => Ok((*height, *channels)),
            Some([channels]) => Ok((1, *channels)),
            _ => Err(bad(&format!(
                "has the {field} '{text}', expected HxHxC or C"
            ))),
        }
    };
    let number = |field: &str| -> Result<usize, String> {
        let text = fields
            .get(field)
            .ok_or_else(|| bad(&format!("has no {field}")))?;
        text.parse()
            .map_err(|_| bad(&format!("has the {field} '{text}'")))
    };
    let ((side, input), (_, output)) = (shape("input")?, shape("output")?);
    let plain = |kind| Layer {
        resolution,
        ..Layer::pointwise(kind, side, input, output)
    };
    let block = |middle: usize, activation| -> Result<Layer, String> {
        Ok(Layer {
            middle,
            kernel: number("kernel")?,
            stride: number("stride")?,
            se: number("se")? == 1,
            residual: number("idskip")? == 1,
            activation,
            ..plain(LayerKind::Block)
        })
    };
    let layer = match name {
        "first_conv" | "Conv" => Layer {
            kernel: 3,
            stride: 2,
            ..plain(LayerKind::Stem)
        },
        "MBConv" => {
            let middle = input.checked_mul(number("expand")?);
            block(middle.ok_or_else(|| bad("expands too far"))?, None)?
        }
        "expanded_conv" => {
            let activation = match number("hs")? {
                0 => Activation::Relu,
                _ => Activation::HSwish,
            };
            block(number("expand")?, Some(activation))?
        }
        "final_expand_layer" | "Conv_1" => plain(LayerKind::FinalExpand),
        "AvgPool2D" => plain(LayerKind::Pool),
        "feature_mix_layer" | "Conv_2" => plain(LayerKind::FeatureMix),
        "classifier" | "Logits" => plain(LayerKind::Classifier),
        _ => return Err(bad("names no known layer")),
    };
    let fault = |reason: String| bad(&format!("has {reason}"));
    layer.check().map_err(fault)?;
    Ok(layer)
}
