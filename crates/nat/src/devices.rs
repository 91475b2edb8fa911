//! Latency tables as they are named on the command line: by file.

use std::path::Path;

use anyhow::{Context, Result};
use nat_space::LatencyTable;
use nat_transfer::{Limits, Name, Objective, Preferences};

use crate::failure::{check_file, wrong_argument};

/// Opens the table of every `latency:FILE` among objectives, limits and preferences, and lets them go by the file's name without
/// its ending from now on. `latency` alone in a limit or preference is the only table there is.
///
/// # Errors
/// A table cannot be opened, two different files have the same name, or `latency` alone could mean several.
pub fn open(
    objectives: &mut [Objective],
    limits: &mut Limits,
    prefer: &mut Preferences,
) -> Result<Vec<(Name, LatencyTable)>> {
    let mut tables: Vec<(Name, LatencyTable)> = Vec::new();
    let mut files: Vec<Name> = Vec::new();
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
        let stem = stem.to_string_lossy();
        if stem.contains(['=', ',', '<', '>']) || stem.contains(" and ") {
            return Err(wrong_argument(format!(
                "{}: limits and preferences are written with the name of the file, which must have no '=', ',', '<', '>' or ' and '",
                file.as_str()
            )));
        }
        let name = Name::new(&stem);
        if let Some(place) = tables.iter().position(|(known, _)| *known == name) {
            if file == name || file == files[place] {
                return Ok(name);
            }
            return Err(wrong_argument(format!(
                "two latency tables are called '{name}': {} and {}",
                files[place].as_str(),
                file.as_str(),
                name = name.as_str(),
            )));
        }
        let table = check_file(path, "a latency table: `nat latency build` makes one")
            .and_then(|()| Ok(LatencyTable::open(path)?))
            .with_context(|| format!("the objective latency:{}", file.as_str()))?;
        tables.push((name, table));
        files.push(file);
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

#[cfg(test)]
mod tests {
    use nat_space::Device;

    use super::*;

    fn opened(objectives: &str, limits: &str, prefer: &str) -> Result<Vec<(Name, LatencyTable)>> {
        let mut objectives: Vec<Objective> = objectives
            .split(',')
            .map(|name| name.parse().unwrap())
            .collect();
        let mut limits = Limits::parse(limits).unwrap();
        let mut prefer = Preferences::try_from(vec![prefer.to_owned()]).unwrap();
        open(&mut objectives, &mut limits, &mut prefer)
    }

    #[test]
    fn one_file_serves_objective_limits_and_preference() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, LatencyTable::new(Device::default(), []).to_json()).unwrap();
            path.display().to_string()
        };
        let (phone, other) = (written("phone.json"), written("b/phone.json"));
        let objectives = format!("error,latency:{phone}");
        let limits =
            format!("latency:{phone}<=15,latency:{phone}<=20,latency:phone<=25,latency<=30");
        let preferred = format!("latency:{phone}=10");
        let tables = opened(&objectives, &limits, &preferred).unwrap();
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].0.as_str(), "phone");

        let error = opened(&objectives, &format!("latency:{other}<=15"), &preferred).unwrap_err();
        assert!(error.to_string().contains(&other), "{error}");

        let odd = written("threads=4.json");
        let objectives = format!("error,latency:{odd}");
        let error = opened(&objectives, "madds<=20M", "madds=10M").unwrap_err();
        assert!(error.to_string().contains("threads=4.json"), "{error}");
    }
}
