//! Many decisions at once, over threads.
//!
//! Every decision is the one that [`Rule::select`] makes alone, bit for bit, whatever the number of threads: each thread
//! has a workspace of its own, and nothing is summed across queries.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::belief::{Belief, Part, Uncertainty};
use crate::calibrate::{Piece, ProfiledRule};
use crate::error::{Error, Result};
use crate::expected_max::Finest;
use crate::model_set::ModelSet;
use crate::rule::{Decision, Rule, Workspace};
use crate::search::{Problem, Stop};

/// Queries that one task decides before the next is handed out.
const TASK: usize = 64;

thread_local! {
    /// Buffers of this thread's batches: of many small ones, most time would go into new buffers.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Works with the buffers of this thread; with new ones where a batch is worked on within another one.
fn with_workspace<T>(work: impl FnOnce(&mut Workspace) -> T) -> T {
    WORKSPACE.with(|workspace| match workspace.try_borrow_mut() {
        Ok(mut workspace) => work(&mut workspace),
        Err(_) => work(&mut Workspace::default()),
    })
}

/// A table of n rows of `width` numbers, or one row that serves all queries.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f64],
    width: usize,
    shared: bool,
}

impl<'a> Rows<'a> {
    /// One row per query.
    pub fn each(values: &'a [f64], width: usize) -> Self {
        Self { values, width, shared: false }
    }

    /// One row for all queries.
    pub fn shared(values: &'a [f64]) -> Self {
        Self { values, width: values.len(), shared: true }
    }

    fn row(&self, query: usize) -> &'a [f64] {
        let start = if self.shared { 0 } else { query * self.width };
        self.values.get(start..start + self.width).unwrap_or_default()
    }
}

/// How far the estimates of a batch may still move.
#[derive(Debug, Clone, Copy)]
pub enum BatchUncertainty<'a> {
    /// Not at all.
    Certain,
    /// k variances per query.
    Independent(Rows<'a>),
    /// k x k covariances per query.
    Correlated(Rows<'a>),
    /// k variances and k loadings per query.
    OneFactor {
        /// Variances of what is each model's own.
        variance: Rows<'a>,
        /// Loadings on the common factor.
        loading: Rows<'a>,
    },
}

/// What is believed of many queries.
#[derive(Debug, Clone, Copy)]
pub struct Beliefs<'a> {
    /// Means, k per query.
    pub quality: Rows<'a>,
    /// Uncertainty.
    pub uncertainty: BatchUncertainty<'a>,
}

impl<'a> Beliefs<'a> {
    /// What is believed of one query.
    ///
    /// # Errors
    /// What [`Belief::new`] refuses.
    pub fn of(&self, query: usize) -> Result<Belief<'a>> {
        let uncertainty = match self.uncertainty {
            BatchUncertainty::Certain => Uncertainty::Certain,
            BatchUncertainty::Independent(variance) => Uncertainty::Independent(variance.row(query)),
            BatchUncertainty::Correlated(covariance) => Uncertainty::Correlated(covariance.row(query)),
            BatchUncertainty::OneFactor { variance, loading } => {
                Uncertainty::OneFactor { variance: variance.row(query), loading: loading.row(query) }
            }
        };
        Belief::new(self.quality.row(query), uncertainty)
    }
}

/// The problems of many queries.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Number of queries.
    pub n_queries: usize,
    /// Number of models.
    pub n_models: usize,
    /// What is believed of k models per query.
    pub beliefs: Beliefs<'a>,
    /// Costs, k per query.
    pub cost: Rows<'a>,
    /// Models run, one set per query; empty when nothing has run anywhere.
    pub run: &'a [ModelSet],
    /// Models allowed, one set per query; empty when all are.
    pub allowed: &'a [ModelSet],
    /// Caps on the added cost, one per query; empty when there is none.
    pub max_cost: &'a [f64],
}

impl Batch<'_> {
    /// The problem of one query.
    ///
    /// # Errors
    /// What [`Belief::new`] and [`Problem::new`] refuse.
    pub fn problem(&self, query: usize) -> Result<Problem<'_>> {
        let belief = self.beliefs.of(query)?;
        let mut problem = Problem::new(belief, self.cost.row(query))?;
        problem.run = self.run.get(query).copied().unwrap_or(problem.run);
        problem.allowed = self.allowed.get(query).copied().unwrap_or(problem.allowed);
        problem.max_cost = self.max_cost.get(query).copied().unwrap_or(problem.max_cost);
        Ok(problem)
    }
}

/// A mistake, and the query that it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchError {
    /// Row of the batch.
    pub query: usize,
    /// What is wrong with it.
    pub error: Error,
}

/// Decides every query of a batch; slot i of `out` gets what `convert` makes of the decision on query i.
///
/// In parallel on the threads of a [`Pool`] that runs it, otherwise one after the other. Stops early, without an error,
/// once `stop` says so.
///
/// # Errors
/// The mistake in the first faulty query.
pub fn select_batch<R: Rule, T: Send>(
    rule: &R,
    batch: &Batch<'_>,
    out: &mut [T],
    convert: impl Fn(&Decision) -> T + Sync,
    stop: Stop<'_>,
) -> std::result::Result<(), BatchError> {
    let decide_task = |workspace: &mut Workspace, task: usize, slots: &mut [T]| {
        for (at, slot) in slots.iter_mut().enumerate() {
            if stop.is_wanted() {
                return None;
            }
            let query = task * TASK + at;
            let problem = batch.problem(query).map(|problem| Problem { stop, ..problem });
            match problem.and_then(|problem| rule.select(&problem, workspace)) {
                Ok(decision) => *slot = convert(&decision),
                Err(Error::Interrupted) => return None,
                Err(error) => return Some(BatchError { query, error }),
            }
        }
        None
    };
    in_tasks(out, |task, slots| with_workspace(|workspace| decide_task(workspace, task, slots)))
}

/// Works on the slots task by task, in parallel on the threads of a [`Pool`].
///
/// # Errors
/// The mistake in the first faulty slot.
fn in_tasks<T: Send>(
    out: &mut [T],
    work: impl Fn(usize, &mut [T]) -> Option<BatchError> + Sync,
) -> std::result::Result<(), BatchError> {
    let first = if on_a_pool() {
        let tasks = out.par_chunks_mut(TASK).enumerate();
        // In the order of the tasks.
        let failures: Vec<BatchError> = tasks.filter_map(|(task, slots)| work(task, slots)).collect();
        failures.into_iter().next()
    } else {
        out.chunks_mut(TASK).enumerate().find_map(|(task, slots)| work(task, slots))
    };
    first.map_or(Ok(()), Err)
}

/// The expected maxima of many plans; slot i of `out` gets that of plan i: a query, and some of its models.
///
/// Each is what [`expected_max`](crate::expected_max::expected_max) gives of those models alone, bit for bit. In parallel as
/// [`select_batch`]. Stops early, without an error, once `stop` says so.
///
/// # Errors
/// The mistake in the query of the first faulty plan; a plan of no models.
pub fn expected_max_batch(
    beliefs: &Beliefs<'_>,
    plans: &[(usize, ModelSet)],
    uncertainty_scale: f64,
    out: &mut [f64],
    stop: Stop<'_>,
) -> std::result::Result<(), BatchError> {
    in_tasks(out, |task, slots| {
        let (mut finest, mut part) = (Finest::default(), Part::default());
        for (slot, &(query, models)) in slots.iter_mut().zip(&plans[task * TASK..]) {
            if stop.is_wanted() {
                return None;
            }
            let mut value = || {
                let whole = beliefs.of(query)?;
                let models = models.intersection(ModelSet::first(whole.n_models()));
                if models.is_empty() {
                    return Err(Error::NoModels);
                }
                let found = finest.expected_max(&part.of(&whole, models), uncertainty_scale);
                found.map_err(|error| error.among(models))
            };
            match value() {
                Ok(estimate) => *slot = estimate.value,
                Err(error) => return Some(BatchError { query, error }),
            }
        }
        None
    })
}

/// Profiles of many queries, each on its own interval: `(row, piece)` in the order of the rows.
///
/// In parallel as [`select_batch`]. Stops early, with what it has, once `stop` says so.
///
/// # Errors
/// The mistake in the first faulty row.
pub fn profile_batch<R: ProfiledRule>(
    rule: &R,
    batch: &Batch<'_>,
    from: &[f64],
    to: &[f64],
    stop: Stop<'_>,
) -> std::result::Result<Vec<(usize, Piece)>, BatchError> {
    type Found = std::result::Result<Vec<(usize, Piece)>, BatchError>;
    /// Rows that one task profiles.
    const TASK: usize = 16;
    let profile_task = |workspace: &mut Workspace, task: usize| -> Found {
        let mut out = Vec::new();
        let mut pieces = Vec::new();
        for row in task * TASK..((task + 1) * TASK).min(batch.n_queries) {
            if stop.is_wanted() {
                break;
            }
            pieces.clear();
            let problem = batch.problem(row).map(|problem| Problem { stop, ..problem });
            let profiled = problem
                .and_then(|problem| rule.profile(&problem, from[row], to[row], workspace, &mut pieces));
            match profiled {
                Err(Error::Interrupted) => break,
                done => done.map_err(|error| BatchError { query: row, error })?,
            }
            out.extend(pieces.iter().map(|&piece| (row, piece)));
        }
        Ok(out)
    };
    let profile = |task| with_workspace(|workspace| profile_task(workspace, task));
    let tasks = 0..batch.n_queries.div_ceil(TASK);
    let found: Vec<Found> =
        if on_a_pool() { tasks.into_par_iter().map(profile).collect() } else { tasks.map(profile).collect() };
    let mut all = Vec::new();
    for pieces in found {
        all.extend(pieces?);
    }
    Ok(all)
}

/// Is this one of the threads of a [`Pool`]?
fn on_a_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// Threads to run a batch on.
#[derive(Debug, Clone)]
pub struct Pool(Arc<ThreadPool>);

impl Pool {
    /// A pool of `n_threads` threads: the shared one where it has as many, as threads take a while to start.
    ///
    /// # Errors
    /// The system gives no such threads.
    pub fn of(n_threads: usize) -> std::result::Result<Self, ThreadPoolBuildError> {
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == n_threads) {
            let shared = Self::of_all_cores()?;
            if shared.0.current_num_threads() == n_threads {
                return Ok(shared);
            }
        }
        Self::new(n_threads)
    }

    /// A pool of its own; 0 = as many threads as there are cores.
    fn new(n_threads: usize) -> std::result::Result<Self, ThreadPoolBuildError> {
        Ok(Self(Arc::new(ThreadPoolBuilder::new().num_threads(n_threads).build()?)))
    }

    /// The pool that calls share by default: one per process, as many threads as there are cores.
    ///
    /// A forked child has none of its parent's threads, so it gets a pool of its own; its copy of the parent's is never
    /// touched again.
    ///
    /// # Errors
    /// The system gives no such threads.
    pub fn of_all_cores() -> std::result::Result<Self, ThreadPoolBuildError> {
        static SHARED: Mutex<Option<(u32, Pool)>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((owner, pool)) = &*shared
            && *owner == std::process::id()
        {
            return Ok(pool.clone());
        }
        let pool = Self::new(0)?;
        if let Some(inherited) = shared.replace((std::process::id(), pool.clone())) {
            std::mem::forget(inherited);
        }
        Ok(pool)
    }

    /// Runs `work`, and what it does in parallel, on these threads.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.install(work)
    }
}
