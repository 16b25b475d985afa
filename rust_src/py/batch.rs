//! Batches: arrays in, arrays out, detached from the interpreter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::arrays::{Kinds, array, read_masks, shape_text};
use super::belief::goes_with_variance;
use super::errors::{wrong_type, wrong_value};
use super::signals::Signals;
use crate::batch::{Batch, BatchUncertainty, Beliefs, Pool, Rows};
use crate::model_set::ModelSet;
use crate::search::Stop;

/// How often a long batch looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(50);

/// Most threads that a call may ask for: far beyond what helps, and short of what breaks.
const MOST_THREADS: i64 = 1024;

/// Few queries of up to this many models are decided before a signal could be looked for.
const SMALL: usize = 12;

/// What is believed of many queries, as arrays of float64.
pub struct BeliefRows<'py> {
    quality: PyReadonlyArrayDyn<'py, f64>,
    variance: Option<PyReadonlyArrayDyn<'py, f64>>,
    covariance: Option<PyReadonlyArrayDyn<'py, f64>>,
    loading: Option<PyReadonlyArrayDyn<'py, f64>>,
    pub n: usize,
    pub k: usize,
}

impl<'py> BeliefRows<'py> {
    /// Reads and checks shapes; the numbers are checked row by row, as they are used.
    pub fn read(
        quality: &Bound<'py, PyAny>,
        variance: Option<&Bound<'py, PyAny>>,
        covariance: Option<&Bound<'py, PyAny>>,
        loading: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let quality = array::<f64>("quality", quality, Kinds::Numbers)?;
        let &[n, k] = quality.shape() else {
            return Err(wrong_value(
                "quality",
                "shape (n_queries, n_models)",
                &format!("shape {}", shape_text(quality.shape())),
            ));
        };
        if k == 0 {
            return Err(crate::error::Error::NoModels.into());
        }
        if variance.is_some() && covariance.is_some() {
            return Err(wrong_value("covariance", "None where a variance is given", "both"));
        }
        goes_with_variance(variance.is_some(), loading.is_some())?;
        let variance = variance.map(|v| shaped("variance", v, &[n, k])).transpose()?;
        let covariance = covariance.map(|v| shaped("covariance", v, &[n, k, k])).transpose()?;
        let loading = loading.map(|b| shaped("loading", b, &[n, k])).transpose()?;
        Ok(Self { quality, variance, covariance, loading, n, k })
    }

    /// The beliefs that the core works on.
    pub fn beliefs(&self) -> PyResult<Beliefs<'_>> {
        let per_model = |argument, values| rows(argument, values, self.k, 1);
        let uncertainty = match (&self.variance, &self.loading, &self.covariance) {
            (Some(variance), Some(loading), _) => BatchUncertainty::OneFactor {
                variance: per_model("variance", variance)?,
                loading: per_model("loading", loading)?,
            },
            (Some(variance), None, _) => BatchUncertainty::Independent(per_model("variance", variance)?),
            (None, _, Some(covariance)) => {
                BatchUncertainty::Correlated(rows("covariance", covariance, self.k * self.k, 2)?)
            }
            (None, _, None) => BatchUncertainty::Certain,
        };
        Ok(Beliefs { quality: per_model("quality", &self.quality)?, uncertainty })
    }
}

/// The arguments of a batch of decisions.
pub struct BatchArguments<'py> {
    believed: BeliefRows<'py>,
    cost: PyReadonlyArrayDyn<'py, f64>,
    run: Vec<ModelSet>,
    allowed: Vec<ModelSet>,
    max_cost: Vec<f64>,
}

/// The arguments as Python gives them; the order is that of the signature.
pub struct Given<'a, 'py> {
    pub quality: &'a Bound<'py, PyAny>,
    pub cost: &'a Bound<'py, PyAny>,
    pub variance: Option<&'a Bound<'py, PyAny>>,
    pub covariance: Option<&'a Bound<'py, PyAny>>,
    pub loading: Option<&'a Bound<'py, PyAny>>,
    pub run: Option<&'a Bound<'py, PyAny>>,
    pub allowed: Option<&'a Bound<'py, PyAny>>,
    pub max_cost: Option<&'a Bound<'py, PyAny>>,
}

impl<'py> BatchArguments<'py> {
    /// Reads and checks shapes; the numbers are checked row by row, as each decision is made.
    pub fn read(given: &Given<'_, 'py>) -> PyResult<Self> {
        let believed = BeliefRows::read(given.quality, given.variance, given.covariance, given.loading)?;
        let (n, k) = (believed.n, believed.k);
        let cost = shaped("cost", given.cost, &[n, k])?;
        let masks = |name, masks: Option<&Bound<'py, PyAny>>| {
            masks.map_or(Ok(Vec::new()), |m| read_masks(name, m, n, k))
        };
        let max_cost = given.max_cost.map_or(Ok(Vec::new()), |caps| caps_of(caps, n))?;
        let (run, allowed) = (masks("run", given.run)?, masks("allowed", given.allowed)?);
        Ok(Self { believed, cost, run, allowed, max_cost })
    }

    /// The batch that the core works on.
    pub fn batch(&self) -> PyResult<Batch<'_>> {
        Ok(Batch {
            n_queries: self.believed.n,
            n_models: self.believed.k,
            beliefs: self.believed.beliefs()?,
            cost: rows("cost", &self.cost, self.believed.k, 1)?,
            run: &self.run,
            allowed: &self.allowed,
            max_cost: &self.max_cost,
        })
    }
}

/// An array of the given shape, or of that shape without its first axis.
fn shaped<'py>(
    argument: &str,
    values: &Bound<'py, PyAny>,
    shape: &[usize],
) -> PyResult<PyReadonlyArrayDyn<'py, f64>> {
    let array = array::<f64>(argument, values, Kinds::Numbers)?;
    if array.shape() == shape || array.shape() == &shape[1..] {
        return Ok(array);
    }
    Err(wrong_value(
        argument,
        &format!("shape {} or {}", shape_text(shape), shape_text(&shape[1..])),
        &format!("shape {}", shape_text(array.shape())),
    ))
}

/// The rows of an array; one shared row where the array lacks the axis of the queries.
fn rows<'a>(
    argument: &str,
    array: &'a PyReadonlyArrayDyn<'_, f64>,
    width: usize,
    axes: usize,
) -> PyResult<Rows<'a>> {
    let values = array.as_slice().map_err(|_| wrong_value(argument, "a contiguous array", "another"))?;
    Ok(if array.ndim() == axes { Rows::shared(values) } else { Rows::each(values, width) })
}

/// One cap per query, from a number or an array of n; NaN is refused, infinity is no cap.
fn caps_of(caps: &Bound<'_, PyAny>, n: usize) -> PyResult<Vec<f64>> {
    let array = array::<f64>("max_cost", caps, Kinds::Numbers)?;
    let values = array.as_slice().map_err(|_| wrong_value("max_cost", "a contiguous array", "another"))?;
    if let Some(bad) = values.iter().find(|c| c.is_nan() || **c < 0.0) {
        return Err(wrong_value("max_cost", "numbers >= 0", &bad.to_string()));
    }
    match *array.shape() {
        [] => Ok(vec![values[0]; n]),
        [length] if length == n => Ok(values.to_vec()),
        ref shape => Err(wrong_value(
            "max_cost",
            &format!("a number, or shape ({n},)"),
            &format!("shape {}", shape_text(shape)),
        )),
    }
}

/// Queries that aren't worth another thread: one task of the smallest kind. To start a thread takes longer than a few decisions.
const FEW: usize = 16;

/// Runs `work` on `n` queries of `n_models` models on `threads` threads (all cores by default), detached, and raises what a
/// signal raises meanwhile. Few queries are worked on in this thread.
///
/// `work` is told when to stop early; what it returns then is dropped.
pub fn detached<T: Send>(
    py: Python<'_>,
    (n, n_models): (usize, usize),
    threads: Option<i64>,
    work: impl FnOnce(Stop<'_>) -> T + Send,
) -> PyResult<T> {
    let pool = match threads {
        Some(wanted) if !(1..=MOST_THREADS).contains(&wanted) => {
            return Err(wrong_value("threads", &format!("1 to {MOST_THREADS}"), &wanted.to_string()));
        }
        _ if n <= FEW => return on_this_thread(py, n_models, work),
        Some(1) => None,
        Some(wanted) => Some(Pool::of(usize::try_from(wanted).unwrap_or(1))),
        None => Some(Pool::of_all_cores()),
    };
    let pool = pool.transpose().map_err(|error| PyRuntimeError::new_err(format!("threads: {error}")))?;
    let cancelled = AtomicBool::new(false);
    let is_cancelled = || cancelled.load(Ordering::Relaxed);
    let stop = Stop::new(&is_cancelled);
    let run = || match &pool {
        Some(pool) => pool.run(|| work(stop)),
        None => work(stop),
    };
    let failed = || PyRuntimeError::new_err("a worker thread ended without a result");
    std::thread::scope(|scope| {
        let (done, wait) = mpsc::channel();
        scope.spawn(move || done.send(run()));
        // The receiver is only ever used by one thread at a time, but a plain reference to it is not Send.
        let mut wait = wait;
        loop {
            let (received, back) = py.detach(move || (wait.recv_timeout(POLL), wait));
            wait = back;
            match received {
                Ok(result) => return Ok(result),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(failed()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Err(raised) = py.check_signals() {
                        cancelled.store(true, Ordering::Relaxed);
                        return Err(raised);
                    }
                }
            }
        }
    })
}

/// Runs `work` on few queries, detached, and looks for signals meanwhile.
fn on_this_thread<T: Send>(
    py: Python<'_>,
    n_models: usize,
    work: impl FnOnce(Stop<'_>) -> T + Send,
) -> PyResult<T> {
    if n_models <= SMALL {
        return Ok(py.detach(|| work(Stop::default())));
    }
    let signals = Signals::from_now_on();
    let have_raised = || signals.have_raised();
    let done = py.detach(|| work(Stop::new(&have_raised)));
    signals.raised().map_or(Ok(done), Err)
}

/// Reads one float64 per query.
pub fn per_query(argument: &str, values: &Bound<'_, PyAny>, n: usize) -> PyResult<Vec<f64>> {
    let array = array::<f64>(argument, values, Kinds::Numbers)?;
    let values = array.as_slice().map_err(|_| wrong_value(argument, "a contiguous array", "another"))?;
    if array.shape() != [n] || values.iter().any(|v| v.is_nan()) {
        return Err(wrong_type(
            argument,
            &format!("{n} numbers"),
            &format!("shape {}", shape_text(array.shape())),
        ));
    }
    Ok(values.to_vec())
}
