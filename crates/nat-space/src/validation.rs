//! What makes a space valid, and what is said when it is not.

use std::{fmt::Display, io, path::PathBuf};

use thiserror::Error;

use crate::limits::{EPS, MAX_DEPTH, MAX_EXPAND, MAX_KERNEL, MAX_SIDE, MAX_STAGES, MAX_WIDTH};
use crate::space::{Space, Stage};

/// Why there is no such space.
#[derive(Debug, Error)]
pub enum SpaceError {
    /// Neither a built-in name nor a file.
    #[error(
        "unknown space `{name}`: expected one of {} or the path of a TOML file",
        Space::BUILTIN_NAMES.join(", ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the space file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file was read, but what it holds is no space.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<SpaceError>,
    },
    /// No TOML, a missing or unknown key, or a value of the wrong type.
    #[error("line {line}: {message}")]
    Toml {
        /// From 1.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// A value that no space can have.
    #[error("{field} = {found}: expected {expected}")]
    Invalid {
        /// The key, as a path from the top of the file; stages are counted from 0.
        field: String,
        /// What is allowed.
        expected: String,
        /// What was given.
        found: String,
    },
}

const MAX_WIDTHS: usize = 16;

fn check(
    holds: bool,
    field: impl Display,
    found: impl Display,
    expected: impl Into<String>,
) -> Result<(), SpaceError> {
    if holds {
        return Ok(());
    }
    Err(SpaceError::Invalid {
        field: field.to_string(),
        expected: expected.into(),
        found: found.to_string(),
    })
}

/// Not empty, and every value above the one before it.
fn ascends<T: PartialOrd>(values: &[T]) -> bool {
    !values.is_empty() && values.is_sorted_by(|a, b| a < b)
}

impl Space {
    /// Checks every field; the first one that is wrong is the error.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn validate(&self) -> Result<(), SpaceError> {
        check(
            !self.name.trim().is_empty(),
            "name",
            format!("{:?}", self.name),
            "a name",
        )?;
        check(
            self.family == "mbconv",
            "family",
            format!("{:?}", self.family),
            "\"mbconv\"",
        )?;

        let widths = &self.width_multipliers;
        check(
            ascends(widths)
                && widths.len() <= MAX_WIDTHS
                && widths.iter().all(|w| w.is_finite() && *w > 0.0),
            "width_multipliers",
            format!("{widths:?}"),
            format!("1 to {MAX_WIDTHS} ascending numbers above 0"),
        )?;

        let sides = self.resolutions;
        check(
            (1..=MAX_SIDE).contains(&sides.from),
            "resolutions.from",
            sides.from,
            format!("1 to {MAX_SIDE}"),
        )?;
        check(
            (sides.from..=MAX_SIDE).contains(&sides.to),
            "resolutions.to",
            sides.to,
            format!("{} (resolutions.from) to {MAX_SIDE}", sides.from),
        )?;
        check(
            sides.step > 0 && (sides.to - sides.from).is_multiple_of(sides.step),
            "resolutions.step",
            sides.step,
            format!("a divisor of {} - {}, at least 1", sides.to, sides.from),
        )?;

        check(
            EPS.contains(&self.bn.eps),
            "bn.eps",
            self.bn.eps,
            "1e-12 to 1",
        )?;
        check(
            (0.0..=1.0).contains(&self.bn.momentum),
            "bn.momentum",
            self.bn.momentum,
            "0 to 1",
        )?;

        self.check_width("stem.width", self.stem.width)?;
        check_kernel("stem.kernel", self.stem.kernel, self.stem.kernel)?;
        check_stride("stem.stride", self.stem.stride)?;

        check(
            (1..=MAX_STAGES).contains(&self.stages.len()),
            "stage",
            format!("{} tables", self.stages.len()),
            format!("1 to {MAX_STAGES} tables"),
        )?;
        for (index, stage) in self.stages.iter().enumerate() {
            self.check_stage(index, stage)?;
        }

        self.check_width("head.expand", self.head.expand)?;
        if let Some(mix) = self.head.mix {
            self.check_width("head.mix", mix)?;
        }
        check(
            (0.0..1.0).contains(&self.head.dropout),
            "head.dropout",
            self.head.dropout,
            "0 to below 1",
        )?;

        check(
            self.checked_size().is_some(),
            "stage",
            "more than 2^128 networks",
            "fewer or smaller choices",
        )
    }

    fn check_stage(&self, index: usize, stage: &Stage) -> Result<(), SpaceError> {
        let field = |key: &str| format!("stage[{index}].{key}");
        self.check_width(&field("width"), stage.width)?;
        check_stride(&field("stride"), stage.stride)?;

        let depths = &stage.depths;
        check(
            !depths.is_empty()
                && depths.windows(2).all(|pair| pair[1] == pair[0] + 1)
                && depths[0] >= 1
                && stage.max_depth() <= MAX_DEPTH,
            field("depths"),
            format!("{depths:?}"),
            format!("consecutive ascending numbers in 1 to {MAX_DEPTH}"),
        )?;

        let kernels = format!("{:?}", stage.kernels);
        check(
            ascends(&stage.kernels),
            field("kernels"),
            &kernels,
            "ascending odd numbers",
        )?;
        for &kernel in &stage.kernels {
            check_kernel(&field("kernels"), kernel, &kernels)?;
        }

        let expands = &stage.expands;
        check(
            ascends(expands) && expands[0] >= 1 && expands[expands.len() - 1] <= MAX_EXPAND,
            field("expands"),
            format!("{expands:?}"),
            format!("ascending numbers in 1 to {MAX_EXPAND}"),
        )?;
        check(
            expands[0] > 1 || expands.len() == 1,
            field("expands"),
            format!("{expands:?}"),
            "1 only by itself, as it means no expansion convolution",
        )
    }

    fn check_width(&self, field: &str, width: usize) -> Result<(), SpaceError> {
        let widest = self.width_multipliers[self.width_multipliers.len() - 1];
        check(
            width >= 1 && width as f64 * widest <= MAX_WIDTH as f64,
            field,
            width,
            format!("at least 1, and at most {MAX_WIDTH} after multiplication by {widest}"),
        )
    }
}

fn check_kernel(field: &str, kernel: usize, found: impl Display) -> Result<(), SpaceError> {
    check(
        kernel % 2 == 1 && kernel <= MAX_KERNEL,
        field,
        found,
        format!("odd and in 1 to {MAX_KERNEL}"),
    )
}

fn check_stride(field: &str, stride: usize) -> Result<(), SpaceError> {
    check(stride == 1 || stride == 2, field, stride, "1 or 2")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message for the `nat` space with one text replaced.
    fn message(old: &str, new: &str) -> String {
        let text = include_str!("../spaces/nat.toml");
        assert!(text.contains(old), "{old}");
        let error = Space::from_toml(&text.replacen(old, new, 1)).unwrap_err();
        error.to_string()
    }

    #[test]
    fn every_error_names_its_field_and_value() {
        let cases = [
            ("\"nat\"", "\" \"", "name = \" \": "),
            ("\"mbconv\"", "\"resnet\"", "family = \"resnet\": "),
            ("[1.0, 1.2]", "[]", "width_multipliers = []: "),
            (
                "[1.0, 1.2]",
                "[1.2, 1.0]",
                "width_multipliers = [1.2, 1.0]: ",
            ),
            (
                "[1.0, 1.2]",
                "[1.0, 1.0]",
                "width_multipliers = [1.0, 1.0]: ",
            ),
            ("[1.0, 1.2]", "[-1.0]", "width_multipliers = [-1.0]: "),
            ("[1.0, 1.2]", "[nan]", "width_multipliers = [NaN]: "),
            (
                "[1.0, 1.2]",
                "[1.0, inf]",
                "width_multipliers = [1.0, inf]: ",
            ),
            ("from = 192", "from = 0", "resolutions.from = 0: "),
            ("to = 256", "to = 188", "resolutions.to = 188: "),
            ("to = 256", "to = 100000", "resolutions.to = 100000: "),
            ("step = 4", "step = 0", "resolutions.step = 0: "),
            ("step = 4", "step = 7", "resolutions.step = 7: "),
            ("eps = 1e-5", "eps = -1.0", "bn.eps = -1: "),
            ("eps = 1e-5", "eps = 1e-13", "bn.eps = 0.0000000000001: "),
            ("momentum = 0.1", "momentum = 1.5", "bn.momentum = 1.5: "),
            ("width = 16", "width = 0", "stem.width = 0: "),
            ("kernel = 3", "kernel = 4", "stem.kernel = 4: "),
            ("stride = 2", "stride = 3", "stem.stride = 3: "),
            ("width = 160", "width = 7000", "stage[5].width = 7000: "),
            ("stride = 1", "stride = 0", "stage[0].stride = 0: "),
            ("depths = [1]", "depths = []", "stage[0].depths = []: "),
            (
                "depths = [1]",
                "depths = [0, 1]",
                "stage[0].depths = [0, 1]: ",
            ),
            ("[2, 3, 4]", "[2, 4]", "stage[1].depths = [2, 4]: "),
            ("[2, 3, 4]", "[16, 17]", "stage[1].depths = [16, 17]: "),
            ("[3, 5, 7]", "[]", "stage[1].kernels = []: "),
            ("[3, 5, 7]", "[0, 3]", "stage[1].kernels = [0, 3]: "),
            ("[3, 5, 7]", "[3, 4]", "stage[1].kernels = [3, 4]: "),
            ("[3, 5, 7]", "[5, 3]", "stage[1].kernels = [5, 3]: "),
            ("[3, 5, 7]", "[31, 33]", "stage[1].kernels = [31, 33]: "),
            ("expands = [1]", "expands = [0]", "stage[0].expands = [0]: "),
            ("[3, 4, 6]", "[]", "stage[1].expands = []: "),
            ("[3, 4, 6]", "[4, 4]", "stage[1].expands = [4, 4]: "),
            ("[3, 4, 6]", "[1, 3]", "stage[1].expands = [1, 3]: "),
            ("[3, 4, 6]", "[3, 17]", "stage[1].expands = [3, 17]: "),
            ("expand = 960", "expand = 0", "head.expand = 0: "),
            ("mix = 1280", "mix = 0", "head.mix = 0: "),
            ("dropout = 0.1", "dropout = 1.0", "head.dropout = 1: "),
        ];
        for (old, new, start) in cases {
            let message = message(old, new);
            assert!(message.starts_with(start), "{old} -> {new}: {message}");
            assert!(message.contains(": expected "), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn errors_of_the_text_name_the_line() {
        let cases = [
            ("dropout = 0.1", "dropuot = 0.1", "dropuot"),
            ("se = false", "", "missing field `se`"),
            ("\"symmetric\"", "\"valid\"", "unknown variant `valid`"),
            ("activation = \"h_swish\"", "activation = \"gelu\"", "gelu"),
            ("width = 24", "width = -24", "-24"),
            ("[head]", "[head", "line 69"),
        ];
        for (old, new, part) in cases {
            let message = message(old, new);
            assert!(message.starts_with("line "), "{message}");
            assert!(message.contains(part), "{old} -> {new}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_space_beyond_counting_is_refused() {
        let mut space = Space::builtin("nat").unwrap();
        for stage in &mut space.stages {
            stage.depths = (1..=16).collect();
        }
        let error = space.validate().unwrap_err().to_string();
        assert!(error.contains("more than 2^128 networks"), "{error}");
    }
}
