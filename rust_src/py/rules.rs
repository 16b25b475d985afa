//! The rules as Python classes: a subclass of [`Rule`] per rule, which holds its settings.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::arrays::{at_least, read_numbers, read_order, real, whole};
use super::rule::{AnyRule, Rule};
use crate::rule::{self, PlanRule as _};
use crate::search::Limits;

/// Run the one model with the highest quality - cost weight x cost, then stop.
///
/// Optimal among rules that run one model (Dekoninck, Baader and Vechev, ICML 2025, Theorem 1).
///
/// Parameters
/// ----------
/// cost_weight : float
///     Quality that one unit of cost is worth, >= 0; infinity = always the cheapest.
///
/// Examples
/// --------
/// >>> import headrace as hr
/// >>> hr.Routing(cost_weight=1.0).select([0.6, 0.8], [0.1, 0.4]).next
/// 0
#[pyclass(frozen, extends = Rule, module = "headrace")]
pub struct Routing;

#[pymethods]
impl Routing {
    #[new]
    #[pyo3(signature = (cost_weight))]
    fn new(#[pyo3(from_py_with = real)] cost_weight: f64) -> PyResult<PyClassInitializer<Self>> {
        let rule = rule::Routing::new(cost_weight)?;
        Ok(PyClassInitializer::from(Rule(AnyRule::Routing(rule))).add_subclass(Self))
    }

    #[getter]
    fn cost_weight(slf: PyRef<'_, Self>) -> f64 {
        cost_weight(slf.as_super())
    }
}

/// Run the models of a fixed order, and go on while the quality of the last one run is below its threshold.
///
/// The classic baseline; optimal only where costs and the estimates of models still to run don't depend on the query
/// (Dekoninck, Baader and Vechev, ICML 2025, Corollary 1).
///
/// Parameters
/// ----------
/// thresholds : float or sequence of float
///     One threshold for every step, or one per step of the order.
/// order : sequence of int, optional
///     Order of the models; that of the indices by default.
///
/// Examples
/// --------
/// >>> import headrace as hr
/// >>> rule = hr.ThresholdCascade(0.7)
/// >>> rule.select([0.6, 0.8], [0.1, 0.4], run=(0,)).next
/// 1
/// >>> rule.select([0.9, 0.8], [0.1, 0.4], run=(0,)).next is None
/// True
#[pyclass(frozen, extends = Rule, module = "headrace")]
pub struct ThresholdCascade;

#[pymethods]
impl ThresholdCascade {
    #[new]
    #[pyo3(signature = (thresholds, *, order = None))]
    fn new(
        thresholds: &Bound<'_, PyAny>,
        order: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let mut values = Vec::new();
        match thresholds.extract::<f64>() {
            Ok(shared) => values.push(shared),
            Err(_) => read_numbers("thresholds", thresholds, &mut values)?,
        }
        let rule = rule::ThresholdCascade::new(values, read_order(order)?)?;
        Ok(PyClassInitializer::from(Rule(AnyRule::ThresholdCascade(rule))).add_subclass(Self))
    }

    #[getter]
    fn thresholds<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let base = slf.as_super().get();
        let thresholds = if let AnyRule::ThresholdCascade(rule) = &base.0 { rule.thresholds() } else { &[] };
        PyTuple::new(slf.py(), thresholds)
    }

    #[getter]
    fn order<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        order(slf.py(), slf.as_super().get())
    }
}

/// Run the models of a fixed order as long as some longer prefix of it has a better tradeoff than stopping.
///
/// Optimal among rules that keep the order (Dekoninck, Baader and Vechev, ICML 2025, Theorem 2).
///
/// Parameters
/// ----------
/// cost_weight : float
///     Quality that one unit of cost is worth, >= 0; infinity = stop as soon as possible.
/// order : sequence of int, optional
///     Order of the models; that of the indices by default.
/// max_depth : int, default 128
///     Most models to run.
/// uncertainty_scale : float, default 1.0
///     Factor of the standard deviations; 0 = ignore uncertainty.
///
/// Examples
/// --------
/// >>> import headrace as hr
/// >>> d = hr.Cascade(cost_weight=0.1).select([0.6, 0.6, 0.9], [0.1, 0.1, 0.4], run=(0,))
/// >>> d.next, d.plan
/// (1, (0, 1, 2))
#[pyclass(frozen, extends = Rule, module = "headrace")]
pub struct Cascade;

#[pymethods]
impl Cascade {
    #[new]
    #[pyo3(signature = (cost_weight, *, order = None, max_depth = 128, uncertainty_scale = 1.0))]
    fn new(
        #[pyo3(from_py_with = real)] cost_weight: f64,
        order: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = whole)] max_depth: i64,
        #[pyo3(from_py_with = real)] uncertainty_scale: f64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let max_depth = at_least("max_depth", 1, max_depth)?;
        let rule = rule::Cascade::new(cost_weight, read_order(order)?, max_depth, uncertainty_scale)?;
        Ok(PyClassInitializer::from(Rule(AnyRule::Cascade(rule))).add_subclass(Self))
    }

    #[getter]
    fn cost_weight(slf: PyRef<'_, Self>) -> f64 {
        cost_weight(slf.as_super())
    }

    #[getter]
    fn order<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        order(slf.py(), slf.as_super().get())
    }

    #[getter]
    fn max_depth(slf: PyRef<'_, Self>) -> usize {
        max_depth(slf.as_super())
    }

    #[getter]
    fn uncertainty_scale(slf: PyRef<'_, Self>) -> f64 {
        uncertainty_scale(slf.as_super())
    }
}

/// Find the set of models with the best tradeoff, run its cheapest member first, and decide again.
///
/// Routing and cascading in one; optimal among all rules of the kind (Dekoninck, Baader and Vechev, ICML 2025, Theorem 3).
/// The search over all sets is exact.
///
/// Parameters
/// ----------
/// cost_weight : float
///     Quality that one unit of cost is worth, >= 0; infinity = the cheapest.
/// max_depth : int, default 5
///     Most models in a plan.
/// uncertainty_scale : float, default 1.0
///     Factor of the standard deviations; 0 = ignore uncertainty.
/// node_limit : int, default 100000
///     Sets valued before the search stops with the best plan so far and a proven gap.
///
/// Examples
/// --------
/// >>> import headrace as hr
/// >>> rule = hr.CascadeRouting(cost_weight=0.5)
/// >>> d = rule.select([0.6, 0.7, 0.8], [0.01, 0.05, 0.3], variance=[0.09, 0.06, 0.04])
/// >>> d.next, d.plan
/// (0, (0, 1))
#[pyclass(frozen, extends = Rule, module = "headrace")]
pub struct CascadeRouting;

#[pymethods]
impl CascadeRouting {
    #[new]
    #[pyo3(signature = (cost_weight, *, max_depth = 5, uncertainty_scale = 1.0, node_limit = 100_000))]
    fn new(
        #[pyo3(from_py_with = real)] cost_weight: f64,
        #[pyo3(from_py_with = whole)] max_depth: i64,
        #[pyo3(from_py_with = real)] uncertainty_scale: f64,
        #[pyo3(from_py_with = whole)] node_limit: i64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let max_depth = at_least("max_depth", 1, max_depth)?;
        let node_limit = at_least("node_limit", 1, node_limit)? as u64;
        let rule =
            rule::CascadeRouting::new(cost_weight, Limits { max_depth, node_limit }, uncertainty_scale)?;
        Ok(PyClassInitializer::from(Rule(AnyRule::CascadeRouting(rule))).add_subclass(Self))
    }

    #[getter]
    fn cost_weight(slf: PyRef<'_, Self>) -> f64 {
        cost_weight(slf.as_super())
    }

    #[getter]
    fn max_depth(slf: PyRef<'_, Self>) -> usize {
        max_depth(slf.as_super())
    }

    #[getter]
    fn uncertainty_scale(slf: PyRef<'_, Self>) -> f64 {
        uncertainty_scale(slf.as_super())
    }

    #[getter]
    fn node_limit(slf: PyRef<'_, Self>) -> u64 {
        if let AnyRule::CascadeRouting(rule) = &slf.as_super().0 { rule.limits().node_limit } else { 0 }
    }
}

/// Run the model of the highest reservation value; stop once the best quality seen is at least every one left.
///
/// The reservation value r of a model solves E[(Q - r)+] = cost weight x cost. Optimal among *all* adaptive rules where
/// estimates are independent and a run reveals the quality (Weitzman, Econometrica 47, 1979), and needs no search.
/// Correlations are ignored: only the variances are used, of a covariance or of a common factor and own parts.
///
/// Parameters
/// ----------
/// cost_weight : float
///     Quality that one unit of cost is worth, >= 0.
/// uncertainty_scale : float, default 1.0
///     Factor of the standard deviations; 0 = ignore uncertainty.
///
/// Examples
/// --------
/// >>> import headrace as hr
/// >>> rule = hr.IndexRule(cost_weight=1.0)
/// >>> rule.select([0.6, 0.8], [0.01, 0.2], variance=[0.09, 0.04]).next
/// 0
#[pyclass(frozen, extends = Rule, module = "headrace")]
pub struct IndexRule;

#[pymethods]
impl IndexRule {
    #[new]
    #[pyo3(signature = (cost_weight, *, uncertainty_scale = 1.0))]
    fn new(
        #[pyo3(from_py_with = real)] cost_weight: f64,
        #[pyo3(from_py_with = real)] uncertainty_scale: f64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let rule = rule::IndexRule::new(cost_weight, uncertainty_scale)?;
        Ok(PyClassInitializer::from(Rule(AnyRule::IndexRule(rule))).add_subclass(Self))
    }

    #[getter]
    fn cost_weight(slf: PyRef<'_, Self>) -> f64 {
        cost_weight(slf.as_super())
    }

    #[getter]
    fn uncertainty_scale(slf: PyRef<'_, Self>) -> f64 {
        uncertainty_scale(slf.as_super())
    }
}

fn cost_weight(base: &Rule) -> f64 {
    match &base.0 {
        AnyRule::Routing(rule) => rule.cost_weight(),
        AnyRule::Cascade(rule) => rule.cost_weight(),
        AnyRule::CascadeRouting(rule) => rule.cost_weight(),
        AnyRule::IndexRule(rule) => rule.cost_weight(),
        AnyRule::ThresholdCascade(_) => f64::NAN,
    }
}

fn max_depth(base: &Rule) -> usize {
    match &base.0 {
        AnyRule::Cascade(rule) => rule.max_depth(),
        AnyRule::CascadeRouting(rule) => rule.max_depth(),
        _ => 1,
    }
}

fn uncertainty_scale(base: &Rule) -> f64 {
    match &base.0 {
        AnyRule::Cascade(rule) => rule.uncertainty_scale(),
        AnyRule::CascadeRouting(rule) => rule.uncertainty_scale(),
        AnyRule::IndexRule(rule) => rule.uncertainty_scale(),
        _ => 0.0,
    }
}

fn order<'py>(py: Python<'py>, base: &Rule) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let order = match &base.0 {
        AnyRule::Cascade(rule) => rule.order(),
        AnyRule::ThresholdCascade(rule) => rule.order(),
        _ => None,
    };
    order.map(|order| PyTuple::new(py, order)).transpose()
}
