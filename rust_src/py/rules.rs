//! The rules as Python classes: one base class that decides, and a subclass per rule that holds its settings.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicBool;

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::arrays::{at_least, read_models, read_numbers, read_order, whole};
use super::batch::{BatchArguments, Given, detached, per_query};
use super::belief::BeliefArguments;
use super::decision::Decision;
use super::errors::wrong_value;
use crate::batch::{profile_batch, select_batch};
use crate::calibrate::Piece;
use crate::rule::{self, PlanRule, Rule as _, Workspace};
use crate::search::{Limits, Problem};

thread_local! {
    /// Buffers of this thread's single decisions.
    static BUFFERS: RefCell<(Workspace, BeliefArguments)> = RefCell::default();
}

/// Any of the rules.
#[derive(Debug, Clone, PartialEq)]
enum AnyRule {
    Routing(rule::Routing),
    ThresholdCascade(rule::ThresholdCascade),
    Cascade(rule::Cascade),
    CascadeRouting(rule::CascadeRouting),
    IndexRule(rule::IndexRule),
}

/// Calls a generic function with the rule inside.
macro_rules! with_rule {
    ($any:expr, $rule:ident => $call:expr) => {
        match $any {
            AnyRule::Routing($rule) => $call,
            AnyRule::ThresholdCascade($rule) => $call,
            AnyRule::Cascade($rule) => $call,
            AnyRule::CascadeRouting($rule) => $call,
            AnyRule::IndexRule($rule) => $call,
        }
    };
}

/// Base of the rules: from what is believed of a query's models to the model to run next, or to stop.
///
/// A rule is a few numbers: immutable, hashable, comparable, picklable. Construct one of the subclasses.
#[pyclass(frozen, subclass, module = "headrace", weakref)]
pub struct Rule(AnyRule);

#[pymethods]
impl Rule {
    /// Decide for one query.
    ///
    /// Parameters
    /// ----------
    /// quality : array-like of shape (n_models,)
    ///     Estimated quality of each model's answer, given all that has been seen. At most 128 models.
    /// cost : array-like of shape (n_models,)
    ///     Estimated cost of running each model now, >= 0. Costs of models already run don't matter.
    /// variance : array-like of shape (n_models,), optional
    ///     Variance of the update still to come: of (estimate once the plan has run) minus (estimate now).
    /// covariance : array-like of shape (n_models, n_models), optional
    ///     The same, jointly; positive semi-definite. Give this or `variance`, or neither for certain estimates.
    /// loading : array-like of shape (n_models,), optional
    ///     Loading of each update on one factor that all models share, such as the query's difficulty, of any sign. Goes
    ///     with `variance`, which is then that of each model's own part: the covariance is
    ///     outer(loading, loading) + diag(variance). Takes a fraction of the time of a covariance. An `IndexRule` refuses it.
    /// run : sequence of int or mask of bool, optional
    ///     Models that have run.
    /// allowed : sequence of int or mask of bool, optional
    ///     Models that may run; all by default.
    /// max_cost : float, optional
    ///     Cap on the cost still to be added.
    ///
    /// Returns
    /// -------
    /// Decision
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     A number that is not finite or beyond 1e150, a negative cost or variance, lengths that differ, a covariance that is not positive
    ///     semi-definite, no model allowed or affordable while none has run.
    /// IndexError
    ///     `run` or `allowed` names a model that doesn't exist.
    /// TypeError
    ///     An argument that can't be read as numbers.
    ///
    /// Examples
    /// --------
    /// >>> import headrace as hr
    /// >>> rule = hr.CascadeRouting(cost_weight=1.0)
    /// >>> rule.select([0.6, 0.8], [0.01, 0.2], variance=[0.09, 0.04]).next
    /// 0
    #[pyo3(signature = (quality, cost, *, variance = None, covariance = None, loading = None, run = None, allowed = None, max_cost = None))]
    #[allow(clippy::too_many_arguments)]
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
    ) -> PyResult<Decision> {
        let decide = |workspace: &mut Workspace, arguments: &mut BeliefArguments| {
            arguments.read(quality, variance, covariance, loading)?;
            read_numbers("cost", cost, &mut arguments.cost)?;
            let n_models = arguments.quality.len();
            let mut problem = Problem::new(arguments.belief()?, &arguments.cost)?;
            if let Some(models) = run {
                problem.run = read_models("run", models, n_models)?;
            }
            if let Some(models) = allowed {
                problem.allowed = read_models("allowed", models, n_models)?;
            }
            if let Some(cap) = max_cost {
                if cap.is_nan() || cap < 0.0 {
                    return Err(wrong_value("max_cost", "a number >= 0", &cap.to_string()));
                }
                problem.max_cost = cap;
            }
            Ok(with_rule!(&self.0, rule => rule.select(&problem, workspace))?)
        };
        // Reading an argument may run Python code that decides again on this thread; that call gets buffers of its own.
        BUFFERS
            .with(|buffers| match buffers.try_borrow_mut() {
                Ok(mut buffers) => {
                    let (workspace, arguments) = &mut *buffers;
                    decide(workspace, arguments)
                }
                Err(_) => decide(&mut Workspace::default(), &mut BeliefArguments::default()),
            })
            .map(Decision)
    }

    /// Decide for many queries at once; the results are those of a loop over `select`, bit for bit.
    ///
    /// Parameters
    /// ----------
    /// quality : array-like of shape (n_queries, n_models)
    /// cost : array-like of shape (n_queries, n_models) or (n_models,)
    /// variance : array-like of shape (n_queries, n_models) or (n_models,), optional
    /// covariance : array-like of shape (n_queries, n_models, n_models) or (n_models, n_models), optional
    /// loading : array-like of shape (n_queries, n_models) or (n_models,), optional
    /// run : array of bool of shape (n_queries, n_models) or (n_models,), optional
    /// allowed : array of bool of shape (n_queries, n_models) or (n_models,), optional
    /// max_cost : float or array-like of shape (n_queries,), optional
    /// threads : int, optional
    ///     Number of threads; all cores by default. The results don't depend on it.
    ///
    /// Returns
    /// -------
    /// ndarray of int32 of shape (n_queries,)
    ///     Index of the model to run next; -1 = stop.
    ///
    /// Raises
    /// ------
    /// ValueError, TypeError
    ///     As `select`, with the row that is at fault.
    ///
    /// Examples
    /// --------
    /// >>> import headrace as hr
    /// >>> hr.Routing(cost_weight=1.0).select_batch([[0.6, 0.8], [0.1, 0.9]], [0.1, 0.4]).tolist()
    /// [0, 1]
    #[pyo3(signature = (quality, cost, *, variance = None, covariance = None, loading = None, run = None, allowed = None, max_cost = None, threads = None))]
    #[allow(clippy::too_many_arguments)]
    fn select_batch<'py>(
        &self,
        py: Python<'py>,
        quality: &Bound<'py, PyAny>,
        cost: &Bound<'py, PyAny>,
        variance: Option<&Bound<'py, PyAny>>,
        covariance: Option<&Bound<'py, PyAny>>,
        loading: Option<&Bound<'py, PyAny>>,
        run: Option<&Bound<'py, PyAny>>,
        allowed: Option<&Bound<'py, PyAny>>,
        max_cost: Option<&Bound<'py, PyAny>>,
        threads: Option<i64>,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let given = Given { quality, cost, variance, covariance, loading, run, allowed, max_cost };
        let arguments = BatchArguments::read(&given)?;
        let batch = arguments.batch()?;
        let mut out = vec![-1_i32; batch.n_queries];
        let next =
            |decision: &rule::Decision| decision.next.and_then(|j| i32::try_from(j).ok()).unwrap_or(-1);
        let work = |cancelled: &AtomicBool| with_rule!(&self.0, rule => select_batch(rule, &batch, &mut out, next, cancelled));
        detached(py, &batch, threads, work)??;
        Ok(out.into_pyarray(py))
    }

    /// What the rule does with many queries at every value of its parameter: the next model as a step function.
    ///
    /// The parameter is the cost weight; for a `ThresholdCascade`, minus the threshold. The rule's own value of it is
    /// ignored. Arguments as for `select_batch`, and `lower` and `upper`, the interval of interest of each query.
    ///
    /// Parameters
    /// ----------
    /// lower, upper : array-like of shape (n_queries,)
    ///     `upper` may be infinite, and for a `ThresholdCascade` `lower` as well.
    ///
    /// Returns
    /// -------
    /// row : ndarray of int64 of shape (n_pieces,)
    ///     Query that a piece belongs to, rising.
    /// lower, upper : ndarray of float64 of shape (n_pieces,)
    ///     Ends of the piece, rising within a query and without gaps.
    /// next : ndarray of int32 of shape (n_pieces,)
    ///     Model to run next between these ends; -1 = stop.
    ///
    /// Examples
    /// --------
    /// >>> import headrace as hr
    /// >>> rule = hr.Routing(cost_weight=0.0)
    /// >>> _, lower, upper, model = rule.profile_batch([[0.6, 0.8]], [0.1, 0.4], lower=[0.0], upper=[float("inf")])
    /// >>> model.tolist(), lower.round(6).tolist()
    /// ([1, 0], [0.0, 0.666667])
    #[pyo3(signature = (quality, cost, *, lower, upper, variance = None, covariance = None, loading = None, run = None, allowed = None, max_cost = None, threads = None))]
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn profile_batch<'py>(
        &self,
        py: Python<'py>,
        quality: &Bound<'py, PyAny>,
        cost: &Bound<'py, PyAny>,
        lower: &Bound<'py, PyAny>,
        upper: &Bound<'py, PyAny>,
        variance: Option<&Bound<'py, PyAny>>,
        covariance: Option<&Bound<'py, PyAny>>,
        loading: Option<&Bound<'py, PyAny>>,
        run: Option<&Bound<'py, PyAny>>,
        allowed: Option<&Bound<'py, PyAny>>,
        max_cost: Option<&Bound<'py, PyAny>>,
        threads: Option<i64>,
    ) -> PyResult<(
        Bound<'py, PyArray1<i64>>,
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray1<f64>>,
        Bound<'py, PyArray1<i32>>,
    )> {
        let given = Given { quality, cost, variance, covariance, loading, run, allowed, max_cost };
        let arguments = BatchArguments::read(&given)?;
        let batch = arguments.batch()?;
        let (lower, upper) =
            (per_query("lower", lower, batch.n_queries)?, per_query("upper", upper, batch.n_queries)?);
        if !matches!(self.0, AnyRule::ThresholdCascade(_))
            && let Some(bad) = lower.iter().find(|&&at| at < 0.0 || at.is_infinite())
        {
            return Err(wrong_value("lower", "cost weights >= 0", &bad.to_string()));
        }
        let falling = lower.iter().zip(&upper).position(|(low, high)| low > high);
        if let Some(row) = falling {
            let wanted = format!("at least lower = {} in row {row}", lower[row]);
            return Err(wrong_value("upper", &wanted, &upper[row].to_string()));
        }
        let work = |cancelled: &AtomicBool| with_rule!(&self.0, rule => profile_batch(rule, &batch, &lower, &upper, cancelled));
        let pieces = detached(py, &batch, threads, work)??;
        let next = |piece: &Piece| piece.next.and_then(|j| i32::try_from(j).ok()).unwrap_or(-1);
        let column = |f: fn(&Piece) -> f64| {
            pieces.iter().map(|(_, piece)| f(piece)).collect::<Vec<_>>().into_pyarray(py)
        };
        let row: Vec<i64> = pieces.iter().map(|(row, _)| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
        Ok((
            row.into_pyarray(py),
            column(|piece| piece.from),
            column(|piece| piece.to),
            pieces.iter().map(|(_, piece)| next(piece)).collect::<Vec<_>>().into_pyarray(py),
        ))
    }

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().0 == slf.get().0)
    }

    fn __hash__(slf: &Bound<'_, Self>) -> PyResult<u64> {
        let mut hasher = DefaultHasher::new();
        slf.repr()?.to_cow()?.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let settings = settings(slf)?;
        let mut text = Vec::new();
        for (name, value) in settings {
            text.push(format!("{name}={}", value.repr()?));
        }
        Ok(format!("{}({})", slf.get_type().name()?, text.join(", ")))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        rebuild(slf.as_any(), PyTuple::empty(slf.py()), settings(slf)?)
    }
}

/// What pickle needs to make the object again: a callable, and the arguments it takes.
pub fn rebuild<'py>(
    object: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Bound<'py, PyDict>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
    let py = object.py();
    let partial = py.import("functools")?.getattr("partial")?;
    let class = PyTuple::new(py, [object.get_type()])?;
    let make = partial.call(class, Some(&kwargs))?;
    Ok((make, args))
}

/// The settings of a rule, by the names that its constructor takes.
fn settings<'py>(rule: &Bound<'py, Rule>) -> PyResult<Bound<'py, PyDict>> {
    let names: &[&str] = match &rule.get().0 {
        AnyRule::Routing(_) => &["cost_weight"],
        AnyRule::ThresholdCascade(_) => &["thresholds", "order"],
        AnyRule::Cascade(_) => &["cost_weight", "order", "max_depth", "uncertainty_scale"],
        AnyRule::CascadeRouting(_) => &["cost_weight", "max_depth", "uncertainty_scale", "node_limit"],
        AnyRule::IndexRule(_) => &["cost_weight", "uncertainty_scale"],
    };
    let settings = PyDict::new(rule.py());
    for name in names {
        settings.set_item(name, rule.getattr(*name)?)?;
    }
    Ok(settings)
}

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
    fn new(cost_weight: f64) -> PyResult<PyClassInitializer<Self>> {
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
        cost_weight: f64,
        order: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = whole)] max_depth: i64,
        uncertainty_scale: f64,
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
        cost_weight: f64,
        #[pyo3(from_py_with = whole)] max_depth: i64,
        uncertainty_scale: f64,
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
/// Of a covariance, only the variances are used; a loading is refused.
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
    fn new(cost_weight: f64, uncertainty_scale: f64) -> PyResult<PyClassInitializer<Self>> {
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
