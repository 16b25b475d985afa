//! `headrace.expected_max`, and the same of many plans.

use numpy::{IntoPyArray, PyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::{Bound, IntoPyObjectExt, PyAny};

use super::arrays::{Kinds, array, read_masks, real, shape_text};
use super::batch::{BeliefRows, detached};
use super::belief::BeliefArguments;
use super::errors::wrong_value;
use crate::model_set::ModelSet;
use crate::rule::check_uncertainty_scale;

/// Expected maximum of normal qualities: v(S) of the set of all models given.
///
/// Parameters
/// ----------
/// quality : array-like of shape (n_models,)
///     Means.
/// variance : array-like of shape (n_models,), optional
///     Variances of independent qualities.
/// covariance : array-like of shape (n_models, n_models), optional
///     Covariance of joint qualities; give this or `variance`, or neither for certain qualities.
/// loading : array-like of shape (n_models,), optional
///     Loadings on one factor that all models share; goes with `variance`. The covariance is
///     outer(loading, loading) + diag(variance).
/// uncertainty_scale : float, default 1.0
///     Factor of the standard deviations.
/// with_error : bool, default False
///     Return the error as well.
///
/// Returns
/// -------
/// float or (float, float)
///     The expected maximum, and how far it may be off: a bound for independent qualities (1e-7 times the largest
///     standard deviation), for qualities that share one factor, and for two models (exact); a 99% half-width otherwise.
///
/// Raises
/// ------
/// ValueError
///     A number that is not finite or beyond 1e150, a negative variance, shapes that don't fit, or a covariance that is not positive
///     semi-definite.
///
/// Notes
/// -----
/// Independent: Gauss-Legendre panels that resolve every standard deviation. Two models: Clark's closed form
/// (Operations Research 9, 1961). One factor: the trapezoidal rule over the factor, of independent values. Correlated: eight independently shifted Sobol point sets.
///
/// Examples
/// --------
/// >>> import headrace as hr
/// >>> round(hr.expected_max([0.5, 0.5], variance=[0.01, 0.01]), 6)
/// 0.556419
#[pyfunction]
#[pyo3(signature = (quality, *, variance = None, covariance = None, loading = None, uncertainty_scale = 1.0, with_error = false))]
pub fn expected_max<'py>(
    py: Python<'py>,
    quality: &Bound<'py, PyAny>,
    variance: Option<&Bound<'py, PyAny>>,
    covariance: Option<&Bound<'py, PyAny>>,
    loading: Option<&Bound<'py, PyAny>>,
    #[pyo3(from_py_with = real)] uncertainty_scale: f64,
    with_error: bool,
) -> PyResult<Bound<'py, PyAny>> {
    check_uncertainty_scale(uncertainty_scale)?;
    let mut arguments = BeliefArguments::default();
    arguments.read(quality, variance, covariance, loading)?;
    let belief = arguments.belief()?;
    let estimate = py.detach(|| crate::expected_max::expected_max(&belief, uncertainty_scale))?;
    if with_error {
        (estimate.value, estimate.error).into_bound_py_any(py)
    } else {
        estimate.value.into_bound_py_any(py)
    }
}

/// Expected maxima of many plans: each what `expected_max` gives of its models alone, bit for bit.
///
/// Parameters
/// ----------
/// quality : array-like of shape (n_queries, n_models)
/// plans : array of bool of shape (n_plans, n_models)
///     The models of each plan, one at least.
/// row : array of int of shape (n_plans,)
///     The query of each plan, as an index of a row of `quality`.
/// variance : array-like of shape (n_queries, n_models) or (n_models,), optional
/// covariance : array-like of shape (n_queries, n_models, n_models) or (n_models, n_models), optional
/// loading : array-like of shape (n_queries, n_models) or (n_models,), optional
/// uncertainty_scale : float, default 1.0
///     Factor of the standard deviations.
/// threads : int, optional
///     Number of threads; all cores by default. The results don't depend on it.
///
/// Returns
/// -------
/// ndarray of float64 of shape (n_plans,)
///
/// Raises
/// ------
/// TypeError, ValueError
///     As `expected_max`, with the row that is at fault: all its numbers are looked at. A plan of no models.
/// IndexError
///     `row` names a query that doesn't exist.
///
/// Examples
/// --------
/// >>> from headrace._core import expected_max_batch
/// >>> plans = [[True, False], [True, True]]
/// >>> expected_max_batch([[0.5, 0.5]], plans, row=[0, 0], variance=[0.01, 0.01]).round(6).tolist()
/// [0.5, 0.556419]
#[pyfunction]
#[pyo3(signature = (quality, plans, *, row, variance = None, covariance = None, loading = None, uncertainty_scale = 1.0, threads = None))]
#[allow(clippy::too_many_arguments)]
pub fn expected_max_batch<'py>(
    py: Python<'py>,
    quality: &Bound<'py, PyAny>,
    plans: &Bound<'py, PyAny>,
    row: &Bound<'py, PyAny>,
    variance: Option<&Bound<'py, PyAny>>,
    covariance: Option<&Bound<'py, PyAny>>,
    loading: Option<&Bound<'py, PyAny>>,
    #[pyo3(from_py_with = real)] uncertainty_scale: f64,
    threads: Option<i64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    check_uncertainty_scale(uncertainty_scale)?;
    let believed = BeliefRows::read(quality, variance, covariance, loading)?;
    let beliefs = believed.beliefs()?;
    let plans = plans_of(plans, row, believed.n, believed.k)?;
    let mut out = vec![0.0; plans.len()];
    detached(py, (plans.len(), believed.k), threads, |stop| {
        crate::batch::expected_max_batch(&beliefs, &plans, uncertainty_scale, &mut out, stop)
    })??;
    Ok(out.into_pyarray(py))
}

/// Pairs of a query and a set of its models.
fn plans_of(
    plans: &Bound<'_, PyAny>,
    row: &Bound<'_, PyAny>,
    n: usize,
    k: usize,
) -> PyResult<Vec<(usize, ModelSet)>> {
    let rows = array::<i64>("row", row, Kinds::Whole)?;
    let &[n_plans] = rows.shape() else {
        return Err(wrong_value("row", "shape (n_plans,)", &format!("shape {}", shape_text(rows.shape()))));
    };
    let masks = array::<bool>("plans", plans, Kinds::Bools)?;
    if *masks.shape() != [n_plans, k] {
        let wanted = format!("shape (n_plans, n_models) = {}", shape_text(&[n_plans, k]));
        return Err(wrong_value("plans", &wanted, &format!("shape {}", shape_text(masks.shape()))));
    }
    let plans = read_masks("plans", &masks, n_plans, k)?;
    let pairs = rows.as_slice()?.iter().zip(plans).enumerate().map(|(at, (&query, models))| {
        let row = usize::try_from(query).ok().filter(|&row| row < n);
        let row = row.ok_or_else(|| {
            PyIndexError::new_err(format!("row: expected indices from 0 to {n} - 1, got {query}"))
        })?;
        if models.is_empty() {
            return Err(wrong_value("plans", "at least one model in each row", &format!("none in row {at}")));
        }
        Ok((row, models))
    });
    pairs.collect()
}
