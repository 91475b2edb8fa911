//! Layers of a configuration: a file over a preset, single values over both.

use toml::{Table, Value};

use crate::TransferError;

/// Lays `layer` over `base`. Only keys that `base` has may be set, save for the optional `resolutions` and `commands`.
pub fn merge(base: &mut Table, layer: Table, path: &str) -> Result<(), String> {
    for (key, value) in layer {
        let full = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(layer)) => merge(inner, layer, &full)?,
            (Some(Value::Table(_)), _) => {
                return Err(format!("'{full}' is a section, not a value"));
            }
            (Some(slot @ Value::Float(_)), Value::Integer(whole)) => {
                *slot = Value::Float(whole as f64)
            }
            (Some(slot), value) => {
                if slot.type_str() != value.type_str() {
                    return Err(format!(
                        "'{full}' takes a value of type {}, got {}",
                        slot.type_str(),
                        value.type_str()
                    ));
                }
                *slot = value;
            }
            (None, value)
                if ["resolutions", "commands"].contains(&full.as_str())
                    || path == "resolutions"
                    || path.starts_with("commands") =>
            {
                base.insert(key, value);
            }
            (None, _) => {
                let known: Vec<&str> = base.keys().map(String::as_str).collect();
                return Err(format!(
                    "there is no key '{full}'; here are {}",
                    known.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// `a.b=c` as a table. What TOML does not read as a value is taken as a string.
///
/// # Errors
/// There is no `=`, or what stands before it is no key.
pub fn parse_override(text: &str) -> Result<Table, TransferError> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(TransferError::Config(format!(
            "--set takes key=value, got '{text}'"
        )));
    };
    let (key, value) = (key.trim(), value.trim());
    let quoted = Value::String(value.to_owned()).to_string();
    for candidate in [value, quoted.as_str()] {
        if let Ok(table) = format!("{key} = {candidate}").parse::<Table>() {
            return Ok(table);
        }
    }
    Err(TransferError::Config(format!(
        "--set takes key=value, got '{text}'"
    )))
}

/// What is wrong with a TOML text, on one line.
pub fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}
