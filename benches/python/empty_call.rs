//! An empty native method with the arguments of `Rule.select`: what a call from Python costs before anything is read.

use pyo3::prelude::*;

/// A class, because `select` is a method.
#[pyclass(frozen)]
struct Empty;

#[pymethods]
impl Empty {
    #[new]
    fn new() -> Self {
        Self
    }

    #[pyo3(signature = (quality, cost, *, variance = None, covariance = None, loading = None, run = None, allowed = None, max_cost = None))]
    #[allow(clippy::too_many_arguments, clippy::unused_self, unused_variables)]
    fn select(
        &self,
        quality: &Bound<'_, PyAny>,
        cost: &Bound<'_, PyAny>,
        variance: Option<&Bound<'_, PyAny>>,
        covariance: Option<&Bound<'_, PyAny>>,
        loading: Option<&Bound<'_, PyAny>>,
        run: Option<&Bound<'_, PyAny>>,
        allowed: Option<&Bound<'_, PyAny>>,
        max_cost: Option<f64>,
    ) {
    }
}

#[pymodule]
mod empty_call {
    #[pymodule_export]
    use super::Empty;
}
