//! The base class of the rules: any rule, and what all rules do with one query, a batch, or a profile.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::arrays::{read_models, read_numbers, real_if_given};
use super::batch::{BatchArguments, Given, detached, per_query};
use super::belief::BeliefArguments;
use super::decision::Decision;
#[cfg(feature = "abi3")]
use super::decision::object;
use super::errors::wrong_value;
#[cfg(not(feature = "abi3"))]
use super::fastcall::object;
use super::pickling::rebuild;
use super::signals::Signals;
use crate::batch::{profile_batch, select_batch};
use crate::calibrate::Piece;
use crate::error::Result;
use crate::rule::{self, Rule as _, Workspace};
use crate::search::{Problem, Stop};

thread_local! {
    /// Buffers of this thread's single decisions.
    pub(super) static BUFFERS: RefCell<(Workspace, BeliefArguments)> = RefCell::default();
}

/// Any of the rules.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyRule {
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
pub struct Rule(pub AnyRule);

impl Rule {
    /// Decides a problem.
    #[inline]
    pub(super) fn decide(&self, problem: &Problem<'_>, workspace: &mut Workspace) -> Result<rule::Decision> {
        with_rule!(&self.0, rule => rule.select(problem, workspace))
    }
}

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
    ///     outer(loading, loading) + diag(variance). Takes a fraction of the time of a covariance.
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
    fn select<'py>(
        &self,
        quality: &Bound<'py, PyAny>,
        cost: &Bound<'_, PyAny>,
        variance: Option<&Bound<'_, PyAny>>,
        covariance: Option<&Bound<'_, PyAny>>,
        loading: Option<&Bound<'_, PyAny>>,
        run: Option<&Bound<'_, PyAny>>,
        allowed: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = real_if_given)] max_cost: Option<f64>,
    ) -> PyResult<Bound<'py, Decision>> {
        let signals = Signals::default();
        let have_raised = || signals.have_raised();
        let decide = |workspace: &mut Workspace, arguments: &mut BeliefArguments| {
            arguments.read(quality, variance, covariance, loading)?;
            read_numbers("cost", cost, &mut arguments.cost)?;
            let n_models = arguments.quality.len();
            let mut problem = Problem::new(arguments.belief()?, &arguments.cost)?;
            problem.stop = Stop::new(&have_raised);
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
            self.decide(&problem, workspace).map_err(|error| signals.exception(error))
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
            .and_then(|decision| object(quality.py(), decision))
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
        let work =
            |stop: Stop<'_>| with_rule!(&self.0, rule => select_batch(rule, &batch, &mut out, next, stop));
        detached(py, (batch.n_queries, batch.n_models), threads, work)??;
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
        let work =
            |stop: Stop<'_>| with_rule!(&self.0, rule => profile_batch(rule, &batch, &lower, &upper, stop));
        let pieces = detached(py, (batch.n_queries, batch.n_models), threads, work)??;
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
