//! The one table that maps the core's errors to Python's.

use pyo3::PyErr;
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyTypeError, PyValueError};

use crate::batch::BatchError;
use crate::error::Error;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchModel { .. } => PyIndexError::new_err(error.to_string()),
            Error::Interrupted => PyRuntimeError::new_err(error.to_string()),
            Error::Length { .. }
            | Error::NotFinite { .. }
            | Error::TooLarge { .. }
            | Error::Negative { .. }
            | Error::NotSymmetric { .. }
            | Error::NotPositiveSemidefinite { .. }
            | Error::NotPositiveDefinite { .. }
            | Error::NoModels
            | Error::TooManyModels { .. }
            | Error::NothingAllowed
            | Error::NothingAffordable { .. }
            | Error::Setting { .. } => PyValueError::new_err(error.to_string()),
        }
    }
}

impl From<BatchError> for PyErr {
    fn from(BatchError { query, error }: BatchError) -> Self {
        let message = format!("row {query}: {error}");
        match error {
            Error::NoSuchModel { .. } => PyIndexError::new_err(message),
            _ => PyValueError::new_err(message),
        }
    }
}

/// An argument whose type can't be read.
pub fn wrong_type(argument: &str, wanted: &str, got: &str) -> PyErr {
    PyTypeError::new_err(format!("{argument}: expected {wanted}, got {got}"))
}

/// An argument whose value can't be used.
pub fn wrong_value(argument: &str, wanted: &str, got: &str) -> PyErr {
    PyValueError::new_err(format!("{argument}: expected {wanted}, got {got}"))
}
