//! Latency tables as they are named on the command line: by file.

use std::path::Path;

use anyhow::{Context, Result};
use nat_space::LatencyTable;
use nat_transfer::{Limits, Name, Objective, Preferences};

use crate::failure::wrong_argument;

/// Opens the table of every `latency:FILE` among objectives, limits and preferences, and lets them go by the file's name without
/// its ending from now on. `latency` alone in a limit or preference is the only table there is.
pub fn open(
    objectives: &mut [Objective],
    limits: &mut Limits,
    prefer: &mut Preferences,
) -> Result<Vec<(Name, LatencyTable)>> {
    let mut tables: Vec<(Name, LatencyTable)> = Vec::new();
    let mut open = |file: Name| -> Result<Name> {
        let path = Path::new(file.as_str());
        let Some(stem) = path.file_stem() else {
            return match tables[..] {
                [(only, _)] => Ok(only),
                _ => Err(wrong_argument(
                    "'latency' needs the table of a device: latency:FILE",
                )),
            };
        };
        let name = Name::new(&stem.to_string_lossy());
        let known = tables.iter().any(|(known, _)| *known == name);
        if known && name == file {
            return Ok(name);
        }
        if known {
            return Err(wrong_argument(format!(
                "two latency tables are called '{}'",
                name.as_str()
            )));
        }
        let table = LatencyTable::open(path)
            .with_context(|| format!("the objective latency:{}", file.as_str()))?;
        tables.push((name, table));
        Ok(name)
    };
    for objective in objectives {
        if let Objective::Latency(file) = objective {
            *objective = Objective::Latency(open(*file)?);
        }
    }
    let mut rename = |objective| match objective {
        Objective::Latency(file) => open(file).map(Objective::Latency),
        other => Ok(other),
    };
    limits.rename(&mut rename)?;
    prefer.rename(&mut rename)?;
    Ok(tables)
}
