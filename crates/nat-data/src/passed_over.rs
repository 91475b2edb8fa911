//! What was passed over in a set that cannot be used, in few words.

use std::collections::BTreeMap;
use std::fmt;

use crate::entry::Warning;

/// Reasons that are told; the rest is counted.
const SHOWN: usize = 3;

/// Everything in a data set that was not used when it turned out to be unusable as a whole: often the cause.
///
/// As text the end of a line that says what is wrong: a path and the reason for each of the first few reasons, the rest as
/// numbers; nothing where nothing was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassedOver {
    /// Sorted by path.
    pub warnings: Vec<Warning>,
    /// Files without a warning, as their names do not end like those of images.
    pub ignored: usize,
}

impl PassedOver {
    pub(crate) fn new(mut warnings: Vec<Warning>, ignored: usize) -> PassedOver {
        warnings.sort();
        warnings.dedup();
        PassedOver { warnings, ignored }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number_of: BTreeMap<&str, usize> = BTreeMap::new();
        for warning in &self.warnings {
            *number_of.entry(&warning.reason).or_default() += 1;
        }
        let mut parts = Vec::new();
        let mut untold = self.warnings.len();
        for warning in &self.warnings {
            if parts.len() == SHOWN {
                break;
            }
            // The first of its reason speaks for the others.
            let Some(number) = number_of.remove(&warning.reason[..]) else {
                continue;
            };
            untold -= number;
            let more = match number - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            parts.push(format!("{}{more} ({})", warning.path, warning.reason));
        }
        if untold > 0 {
            parts.push(format!("{untold} for other reasons"));
        }
        match self.ignored {
            0 => {}
            1 => parts.push("1 file without the extension of an image".to_owned()),
            files => parts.push(format!("{files} files without the extension of an image")),
        }
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, "; passed over: {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(warnings: &[(&str, &str)], ignored: usize) -> String {
        let warnings = warnings.iter().map(|(path, reason)| Warning {
            path: (*path).to_owned(),
            reason: (*reason).to_owned(),
        });
        PassedOver::new(warnings.collect(), ignored).to_string()
    }

    #[test]
    fn nothing_passed_over_is_not_mentioned() {
        assert_eq!(text(&[], 0), "");
    }

    #[test]
    fn a_reason_is_told_once() {
        let twice = [("b.heic", "no"), ("a.heic", "no"), ("a.heic", "no")];
        assert_eq!(
            text(&twice, 1),
            "; passed over: a.heic and 1 more (no), 1 file without the extension of an image"
        );
    }

    #[test]
    fn many_reasons_are_counted() {
        let many = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d", "4"),
            ("e", "5"),
            ("f", "1"),
        ];
        assert_eq!(
            text(&many, 20),
            "; passed over: a and 1 more (1), b (2), c (3), 2 for other reasons, \
             20 files without the extension of an image"
        );
    }
}
