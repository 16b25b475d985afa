//! `headrace._core.Linear`.

use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::arrays::{Kinds, array, read_numbers, shape_text};
use super::errors::wrong_value;
use crate::linear;

/// Several linear regressions on the features of one query, in one pass.
///
/// Each estimate is ``clip((features - average) @ weights + intercept, low, high)``.
///
/// Parameters
/// ----------
/// average : array of shape (n_features,)
/// weights : array of shape (n_features, n_estimates)
/// missing : array of shape (n_features, n_estimates)
///     What a missing feature (NaN) adds to each estimate.
/// intercept, low, high : array of shape (n_estimates,)
/// n_rows : int
///     The estimates are given in so many rows.
///
/// Raises
/// ------
/// TypeError, ValueError
///     Arrays of other types or shapes.
#[pyclass(module = "headrace._core", frozen)]
pub struct Linear {
    inner: linear::Linear,
    n_rows: usize,
}

#[pymethods]
impl Linear {
    #[new]
    fn new(
        average: &Bound<'_, PyAny>,
        weights: &Bound<'_, PyAny>,
        missing: &Bound<'_, PyAny>,
        intercept: &Bound<'_, PyAny>,
        low: &Bound<'_, PyAny>,
        high: &Bound<'_, PyAny>,
        n_rows: usize,
    ) -> PyResult<Self> {
        let read = |argument: &'static str, values: &Bound<'_, PyAny>, shape: Option<&[usize]>| {
            let numbers = array::<f64>(argument, values, Kinds::Numbers)?;
            let wanted =
                shape.map_or_else(|| "one axis".to_owned(), |one| format!("shape {}", shape_text(one)));
            let fits = shape.map_or(numbers.shape().len() == 1, |one| numbers.shape() == one);
            if !fits {
                return Err(wrong_value(
                    argument,
                    &wanted,
                    &format!("shape {}", shape_text(numbers.shape())),
                ));
            }
            Ok(numbers.as_slice()?.to_vec())
        };
        let average = read("average", average, None)?;
        let intercept = read("intercept", intercept, None)?;
        let n_estimates = intercept.len();
        if n_rows == 0 || !n_estimates.is_multiple_of(n_rows) {
            let wanted = format!("a divisor of the number of estimates, {n_estimates}");
            return Err(wrong_value("n_rows", &wanted, &n_rows.to_string()));
        }
        let table = [average.len(), n_estimates];
        let tables = [read("weights", weights, Some(&table))?, read("missing", missing, Some(&table))?];
        let ranges = [read("low", low, Some(&[n_estimates]))?, read("high", high, Some(&[n_estimates]))?];
        let [low, high] = ranges;
        Ok(Self { inner: linear::Linear::new(average, tables, [intercept, low, high]), n_rows })
    }

    /// Estimate from features, of shape (n_features,): shape (n_rows, n_estimates / n_rows).
    fn estimates<'py>(
        &self,
        py: Python<'py>,
        features: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let mut numbers = Vec::with_capacity(self.inner.n_features());
        read_numbers("features", features, &mut numbers)?;
        if numbers.len() != self.inner.n_features() {
            let wanted = format!("{} numbers", self.inner.n_features());
            return Err(wrong_value("features", &wanted, &numbers.len().to_string()));
        }
        let found = self.inner.estimates(&numbers);
        found.into_pyarray(py).reshape([self.n_rows, self.inner.n_estimates() / self.n_rows])
    }
}
