//! `headrace._core.regressions`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::arrays::{Kinds, array, read_masks, shape_text};
use super::errors::wrong_value;
use crate::error::Error;
use crate::gaussian::{self, Regression};
use crate::model_set::MAX_MODELS;

type Stacked<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray3<f64>>,
);

/// Regressions of the targets of a Gaussian on the features that are known after each of some run sets.
///
/// Parameters
/// ----------
/// covariance : array of shape (n_variables, n_variables)
///     Of the features, then of the targets. Symmetric: that is not checked.
/// members : bool array of shape (n_features, n_models)
///     The models that must have run for a feature to be known.
/// runs : bool array of shape (n_runs, n_models)
///
/// Returns
/// -------
/// known : ndarray of int
///     Indices of the features known after the first run set, in increasing order, then those after the second, ...
/// ends : ndarray of int of shape (n_runs,)
///     Position after the last feature of each run set in `known`.
/// weights : ndarray of shape (len(known), n_targets)
/// residual : ndarray of shape (n_runs, n_targets, n_targets)
///     Covariance of the targets that is left.
///
/// Raises
/// ------
/// TypeError, ValueError
///     Arrays of other types or shapes; a covariance that is not positive definite.
#[pyfunction]
#[pyo3(signature = (covariance, members, runs))]
pub fn regressions<'py>(
    py: Python<'py>,
    covariance: &Bound<'py, PyAny>,
    members: &Bound<'py, PyAny>,
    runs: &Bound<'py, PyAny>,
) -> PyResult<Stacked<'py>> {
    let covariance = array::<f64>("covariance", covariance, Kinds::Numbers)?;
    let masks = |argument: &'static str, values| {
        let mask = array::<bool>(argument, values, Kinds::Bools)?;
        match *mask.shape() {
            [rows, models] if models <= MAX_MODELS => {
                Ok((rows, models, read_masks(argument, &mask, rows, models)?))
            }
            [_, models] => Err(Error::TooManyModels { got: models, limit: MAX_MODELS }.into()),
            ref shape => Err(wrong_value(argument, "two axes", &format!("shape {}", shape_text(shape)))),
        }
    };
    let (n_features, n_models, members) = masks("members", members)?;
    let (n_runs, models_of_runs, runs) = masks("runs", runs)?;
    if models_of_runs != n_models {
        let wanted = format!("{n_models} models, as in members");
        return Err(wrong_value("runs", &wanted, &models_of_runs.to_string()));
    }
    let n_variables = match *covariance.shape() {
        [rows, columns] if rows == columns && rows >= n_features => rows,
        ref shape => {
            let wanted = format!("a square matrix of at least {n_features} rows, one per feature");
            return Err(wrong_value("covariance", &wanted, &format!("shape {}", shape_text(shape))));
        }
    };
    let n_targets = n_variables - n_features;
    let numbers = covariance.as_slice()?;
    let found: Vec<Regression> =
        py.detach(|| gaussian::regressions(numbers, n_variables, &members, &runs))?;
    let index = |position: usize| i64::try_from(position).map_err(PyErr::from);
    let known = found.iter().flat_map(|one| &one.known).map(|&v| index(v)).collect::<PyResult<Vec<_>>>()?;
    let n_known = known.len();
    let ends = found.iter().scan(0, |end, one| {
        *end += one.known.len();
        Some(index(*end))
    });
    let ends = ends.collect::<PyResult<Vec<_>>>()?;
    let weights = found.iter().map(|one| one.weights.as_slice()).collect::<Vec<_>>().concat();
    let residual = found.iter().map(|one| one.residual.as_slice()).collect::<Vec<_>>().concat();
    Ok((
        known.into_pyarray(py),
        ends.into_pyarray(py),
        weights.into_pyarray(py).reshape([n_known, n_targets])?,
        residual.into_pyarray(py).reshape([n_runs, n_targets, n_targets])?,
    ))
}
