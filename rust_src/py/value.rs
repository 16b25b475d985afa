//! `headrace.expected_max`.

use pyo3::prelude::*;
use pyo3::{Bound, IntoPyObjectExt, PyAny};

use super::arrays::real;
use super::belief::BeliefArguments;
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
