//! The open format of latency tables.

use serde::{Deserialize, Serialize};

use super::{Correction, Device, LatencyTable, Layer, MAX_MS, Timing, milliseconds, published};

/// What the field `format` says.
const FORMAT: &str = "nat-latency-1";

/// What is said of JSON that is neither form.
const EXPECTED: &str = "expected a latency table: {\"format\":\"nat-latency-1\",\"device\":…,\"rows\":[…]}, or as published an \
                        object of rows {\"NAME-input:…\":{\"mean\":MS},…}";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    #[serde(default)]
    device: Device,
    #[serde(default)]
    interpolate: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correction: Option<Correction>,
    rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spread: Option<f64>,
    layer: Layer,
}

impl LatencyTable {
    /// Reads the open format, or a published table as JSON.
    ///
    /// ```json
    /// {"format": "nat-latency-1",
    ///  "device": {"device": "i7-8700K", "runtime": "nat", "threads": 1},
    ///  "interpolate": true,
    ///  "correction": {"scale": 0.98, "offset": 0.2},
    ///  "rows": [{"ms": 1.25, "spread": 0.02, "layer": {"kind": "block", "side": 56, "input": 24,
    ///            "middle": 96, "output": 40, "kernel": 5, "stride": 2, "se": true, "activation": "relu"}}]}
    /// ```
    ///
    /// `device`, `interpolate`, `correction` and `spread` may be left out, and of a layer `middle`, `se`
    /// and `residual` where they are 0 or false; `activation` where the table does not tell them apart;
    /// `resolution` (side of the network's input) where equal layers take equal time in all networks.
    /// Kinds: `stem`, `block`, `final_expand`, `pool`, `feature_mix`, `classifier`.
    ///
    /// # Errors
    /// No table; the message says where.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if value.get("format").is_none() {
            let rows = value
                .as_object()
                .filter(|rows| rows.values().all(|row| row.is_object()));
            return published::from_json(rows.ok_or(EXPECTED)?);
        }
        // Read from the text once more, so that an error has its line.
        let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if file.format != FORMAT {
            return Err(format!(
                "the format is '{}', expected '{FORMAT}'",
                file.format
            ));
        }
        let mut table = LatencyTable::new(file.device, []);
        for (number, row) in file.rows.into_iter().enumerate() {
            let place = |fault: String| format!("row {}: {fault}", number + 1);
            row.layer.check().map_err(place)?;
            let ms = milliseconds(row.ms).map_err(place)?;
            let timing = Timing {
                ms,
                spread: row.spread,
            };
            table.insert(row.layer, timing);
        }
        if let Some(Correction { scale, offset }) = file.correction
            && !(scale > 0.0 && scale <= MAX_MS && offset.abs() <= MAX_MS)
        {
            return Err(format!(
                "the correction has scale {scale:?} and offset {offset:?}, expected a scale above 0 and neither beyond {MAX_MS}"
            ));
        }
        table.interpolate = file.interpolate;
        table.correction = file.correction;
        Ok(table)
    }

    /// The table in the open format.
    pub fn to_json(&self) -> String {
        let file = File {
            format: FORMAT.into(),
            device: self.device.clone(),
            interpolate: self.interpolate,
            correction: self.correction,
            rows: (self.rows().into_iter())
                .map(|(layer, Timing { ms, spread })| Row { ms, spread, layer })
                .collect(),
        };
        let mut text = serde_json::to_string(&file).expect("a table is plain data");
        // A line a row, for people and for version control.
        text = text.replace("{\"ms\":", "\n{\"ms\":");
        text.push('\n');
        text
    }
}
