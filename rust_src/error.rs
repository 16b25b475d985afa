//! What callers can get wrong, with the numbers that say so.

use thiserror::Error;

use crate::model_set::ModelSet;

/// A caller's mistake. Limits that are reached (a node limit, say) are not errors but fields of the result.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// An argument has the wrong length.
    #[error("{argument}: expected {expected} values, one per model, got {got}")]
    Length {
        /// Name of the argument.
        argument: &'static str,
        /// How many values were wanted.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// A value is NaN or infinite.
    #[error("{argument}: expected finite numbers, got {value} for model {model}")]
    NotFinite {
        /// Name of the argument.
        argument: &'static str,
        /// Index of the model.
        model: usize,
        /// The value that came.
        value: f64,
    },
    /// A number so large that distances and standard deviations made of it might overflow.
    #[error("{argument}: expected magnitudes up to {limit:e}, got {value:e} for model {model}")]
    TooLarge {
        /// Name of the argument.
        argument: &'static str,
        /// Index of the model.
        model: usize,
        /// The value that came.
        value: f64,
        /// The largest magnitude that is taken.
        limit: f64,
    },
    /// A cost or a variance is negative.
    #[error("{argument}: expected numbers >= 0, got {value} for model {model}")]
    Negative {
        /// Name of the argument.
        argument: &'static str,
        /// Index of the model.
        model: usize,
        /// The value that came.
        value: f64,
    },
    /// A covariance matrix is not symmetric.
    #[error(
        "covariance: expected a symmetric matrix, got {upper} at ({row}, {column}) and {lower} at ({column}, {row})"
    )]
    NotSymmetric {
        /// Row of the entry.
        row: usize,
        /// Column of the entry.
        column: usize,
        /// Entry at (row, column).
        upper: f64,
        /// Entry at (column, row).
        lower: f64,
    },
    /// A covariance matrix is not positive semi-definite.
    #[error(
        "covariance: expected a positive semi-definite matrix, got pivot {value:e} at model {model} (tolerance {tolerance:e})"
    )]
    NotPositiveSemidefinite {
        /// Model at which the factorisation fails.
        model: usize,
        /// The pivot found there.
        value: f64,
        /// How far below zero a pivot may lie.
        tolerance: f64,
    },
    /// A covariance of which a variable has no variance left, or is not a finite number.
    #[error(
        "covariance: expected a positive definite matrix of finite numbers, got pivot {value:e} at variable {variable}"
    )]
    NotPositiveDefinite {
        /// The variable.
        variable: usize,
        /// Its variance given the variables before it, or an entry that isn't finite.
        value: f64,
    },
    /// No model at all.
    #[error("quality: expected at least one model, got none")]
    NoModels,
    /// More models than a set can hold.
    #[error("quality: expected at most {limit} models, got {got}")]
    TooManyModels {
        /// How many came.
        got: usize,
        /// How many a set can hold.
        limit: usize,
    },
    /// A model index outside of the range.
    #[error("{argument}: expected model indices below {n_models}, got {got}")]
    NoSuchModel {
        /// Name of the argument.
        argument: &'static str,
        /// The index that came.
        got: i64,
        /// Number of models.
        n_models: usize,
    },
    /// Nothing has run, and nothing may.
    #[error("allowed: expected at least one model, as none has run yet; got none")]
    NothingAllowed,
    /// Nothing has run, and every allowed model costs more than the cap.
    #[error(
        "max_cost: expected at least {cheapest:e}, the cost of the cheapest allowed model, as none has run yet; got {max_cost:e}"
    )]
    NothingAffordable {
        /// The cap that came.
        max_cost: f64,
        /// Cost of the cheapest allowed model.
        cheapest: f64,
    },
    /// A search that was told to stop.
    #[error("the search was interrupted")]
    Interrupted,
    /// A setting out of its range.
    #[error("{name}: expected {wanted}, got {got}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// The range.
        wanted: &'static str,
        /// The value that came, as text.
        got: String,
    },
}

impl Error {
    /// A mistake that was found in the numbers of `models` alone, with the model's index among all.
    pub(crate) fn among(self, models: ModelSet) -> Self {
        match self {
            Self::NotPositiveSemidefinite { model, value, tolerance } => {
                let model = models.iter().nth(model).unwrap_or(model);
                Self::NotPositiveSemidefinite { model, value, tolerance }
            }
            other => other,
        }
    }
}

/// Result of an operation that callers can get wrong.
pub type Result<T> = std::result::Result<T, Error>;
