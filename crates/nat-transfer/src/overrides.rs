//! Layers of a configuration: a file over a preset, single values over both.

use std::collections::BTreeSet;

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

/// Objectives, limits or preferences that name a `balanced_error`, with the plain `error` in its place; nothing where none does.
pub fn plain_error(text: &str) -> Option<String> {
    let parts = text.replace(" and ", ",");
    let plain: Vec<&str> = (parts.split(','))
        .map(|part| match part.trim().strip_prefix("balanced_") {
            Some(plain) if plain.starts_with("error") => plain,
            _ => part,
        })
        .collect();
    let plain = plain.join(",");
    (plain != parts).then_some(plain)
}

/// Limits or preferences of a run as its user writes them: an error that is balanced goes by that name.
pub fn as_written(texts: Vec<String>, balanced: bool) -> Vec<String> {
    let name = |part: &str| match balanced && part.trim_start().starts_with("error") {
        true => part.replacen("error", "balanced_error", 1),
        false => part.to_owned(),
    };
    let all = texts.into_iter();
    all.map(|text| text.split(',').map(name).collect::<Vec<_>>().join(","))
        .collect()
}

/// `balanced_error` is the error as `evaluate.balanced` counts it: objectives, limits and preferences that name it get `error`, and that
/// switch is turned on. Only what is `given` was asked for.
///
/// # Errors
/// A plain `error` is asked for beside it.
pub fn resolve_balanced_error(config: &mut Table, given: &BTreeSet<String>) -> Result<(), String> {
    let (mut balanced, mut counted) = (false, None);
    for key in ["objectives", "limits", "prefer"] {
        let asked = given.contains(key);
        let texts = config.get_mut(key).and_then(Value::as_array_mut);
        for value in texts.into_iter().flatten() {
            let Value::String(text) = value else { continue };
            let parts = text.replace(" and ", ",");
            let mut parts = parts.split(',').map(str::trim);
            if asked && let Some(part) = parts.find(|part| part.starts_with("error")) {
                counted = Some(part.to_owned());
            }
            if let Some(plain) = plain_error(text) {
                *text = plain;
                balanced = true;
            }
        }
    }
    if let Some(part) = counted.filter(|_| balanced) {
        return Err(format!(
            "'{part}' beside a balanced_error: a run counts errors in one way, by image or by class"
        ));
    }
    let evaluate = config.get_mut("evaluate").and_then(Value::as_table_mut);
    if let Some(evaluate) = evaluate.filter(|_| balanced) {
        evaluate.insert("balanced".into(), Value::Boolean(true));
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

/// What is wrong with a TOML text or the values of a table, on one line, behind the line or the key.
pub fn one_line(error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    // Where it is is not told apart from what it is but in the long form.
    let long = error.to_string();
    let between = |start: &str, end: char| Some(long.split_once(start)?.1.split_once(end)?.0);
    match (
        between("TOML parse error at line ", ','),
        between("\nin `", '`'),
    ) {
        (Some(line), _) => format!("line {line}: {message}"),
        (None, Some(key)) => format!("{key}: {message}"),
        (None, None) => message,
    }
}
