//! Why a model cannot be fitted.

/// Why a model cannot be fitted to the training rows it was given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Rows and labels differ in number.
    #[error("{rows} training rows came with {labels} labels")]
    LabelCount {
        /// Training rows given.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// A row is not of the space that the scaling describes.
    #[error("training row {row} has {found} genes, the space has {expected}")]
    GeneCount {
        /// Index of the row.
        row: usize,
        /// Genes of the space.
        expected: usize,
        /// Genes of the row.
        found: usize,
    },
    /// A gene lies outside its alphabet.
    #[error(
        "training row {row}, gene {gene}: value {value} is outside {lower}..={}",
        alphabet - 1
    )]
    GeneRange {
        /// Index of the row.
        row: usize,
        /// Index of the gene.
        gene: usize,
        /// The value found.
        value: u16,
        /// The least value of the gene.
        lower: u16,
        /// Alphabet size: the largest value of the gene plus one.
        alphabet: u16,
    },
    /// A label is infinite or not a number.
    #[error("the label of training row {row} is {value}, expected a finite number")]
    Label {
        /// Index of the row.
        row: usize,
        /// The label found.
        value: f64,
    },
    /// A linear tail over `variables` genes needs more distinct rows than that.
    #[error(
        "{distinct} distinct training rows are too few for a linear tail over {variables} varying genes"
    )]
    TooFewRows {
        /// Distinct rows among those given.
        distinct: usize,
        /// Genes that vary over the rows.
        variables: usize,
    },
    /// The interpolation system has no unique solution: over the training rows, some varying gene
    /// is a linear combination of others.
    #[error("the interpolation system over {variables} genes is singular")]
    Singular {
        /// Genes that vary over the rows.
        variables: usize,
    },
    /// No gene varies, so no member of an ensemble can be built.
    #[error("no gene varies over the {rows} training rows, at least two different rows are needed")]
    NothingVaries {
        /// Training rows given.
        rows: usize,
    },
    /// Every member of the ensemble failed.
    #[error("none of the {members} members of the ensemble has a solution")]
    NoMember {
        /// Members asked for.
        members: usize,
    },
    /// A setting makes no sense.
    #[error("{name} is {value}, expected {expected}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
}
