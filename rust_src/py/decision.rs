//! `headrace.Decision`.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};

use super::arrays::real;
use super::errors::wrong_value;
use super::pickling::rebuild;
use crate::model_set::{MAX_MODELS, ModelSet};
use crate::rule;
use crate::search::Status;

/// What a rule decides for one query: the model to run next, or to stop.
///
/// Attributes
/// ----------
/// next : int or None
///     Index of the model to run now; None = stop.
/// plan : tuple of int
///     The supermodel: the models that will have run if nothing changes the estimates, those already run included.
/// value : float
///     What the plan is believed to be worth: the expected best of the qualities that estimates may move to once all
///     its models have run. It compares plans, and is no forecast: the walk stops earlier, and the best of several
///     estimates is partly a lucky one. `Router.path_` forecasts the mean quality.
/// tradeoff : float
///     Value minus the cost weight times the cost still to be added.
/// status : {"optimal", "bounded"}
///     Whether the plan is proven to be the best. "bounded": the node limit was reached.
/// gap : float
///     No plan's tradeoff is higher by more than this; 0.0 when optimal.
/// n_nodes : int
///     Number of sets that were valued.
///
/// Examples
/// --------
/// >>> import headrace as hr
/// >>> d = hr.Routing(cost_weight=1.0).select([0.6, 0.8], [0.1, 0.4])
/// >>> d.next, d.plan, d.status
/// (0, (0,), 'optimal')
#[pyclass(frozen, module = "headrace")]
#[derive(Debug, Clone, PartialEq)]
pub struct Decision(pub rule::Decision);

#[pymethods]
impl Decision {
    #[new]
    #[pyo3(signature = (next, plan, value, tradeoff, *, status = "optimal", gap = 0.0, n_nodes = 1))]
    fn new(
        next: Option<usize>,
        plan: Vec<usize>,
        #[pyo3(from_py_with = real)] value: f64,
        #[pyo3(from_py_with = real)] tradeoff: f64,
        status: &str,
        #[pyo3(from_py_with = real)] gap: f64,
        n_nodes: u64,
    ) -> PyResult<Self> {
        if let Some(model) = plan.iter().chain(&next).find(|&&j| j >= MAX_MODELS) {
            return Err(wrong_value("plan", "model indices below 128", &model.to_string()));
        }
        let status = match status {
            "optimal" => Status::Optimal,
            "bounded" => Status::Bounded,
            other => return Err(wrong_value("status", "\"optimal\" or \"bounded\"", other)),
        };
        let plan: ModelSet = plan.into_iter().collect();
        Ok(Self(rule::Decision { next, plan, value, tradeoff, status, gap, n_nodes }))
    }

    #[getter]
    fn next(&self) -> Option<usize> {
        self.0.next
    }

    #[getter]
    fn plan<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.plan.iter().collect::<Vec<_>>())
    }

    #[getter]
    fn value(&self) -> f64 {
        self.0.value
    }

    #[getter]
    fn tradeoff(&self) -> f64 {
        self.0.tradeoff
    }

    #[getter]
    fn status(&self) -> &'static str {
        match self.0.status {
            Status::Optimal => "optimal",
            Status::Bounded => "bounded",
        }
    }

    #[getter]
    fn gap(&self) -> f64 {
        self.0.gap
    }

    #[getter]
    fn n_nodes(&self) -> u64 {
        self.0.n_nodes
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get() == self)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0.plan, self.0.next).hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let next = self.0.next.map_or_else(|| "None".to_owned(), |j| j.to_string());
        let plan = self.plan(py)?.repr()?;
        let rule::Decision { value, tradeoff, gap, n_nodes, .. } = self.0;
        let number = |x: f64| PyFloat::new(py, x).repr();
        Ok(format!(
            "Decision(next={next}, plan={plan}, value={}, tradeoff={}, status='{}', gap={}, n_nodes={n_nodes})",
            number(value)?,
            number(tradeoff)?,
            self.status(),
            number(gap)?
        ))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let fields = ["next", "plan", "value", "tradeoff", "status", "gap", "n_nodes"];
        let kwargs = pyo3::types::PyDict::new(py);
        for field in &fields[4..] {
            kwargs.set_item(field, slf.getattr(*field)?)?;
        }
        let args: Vec<_> = fields[..4].iter().map(|field| slf.getattr(*field)).collect::<PyResult<_>>()?;
        rebuild(slf.as_any(), PyTuple::new(py, args)?, kwargs)
    }
}

/// A decision as an object.
#[cfg(feature = "abi3")]
pub fn object(py: Python<'_>, decision: rule::Decision) -> PyResult<Bound<'_, Decision>> {
    Bound::new(py, Decision(decision))
}
