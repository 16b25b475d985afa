//! Rules: from what is believed of one query to the model that runs next, or to stop.
//!
//! A rule is a few numbers. It keeps no state between decisions; the [`Workspace`] holds buffers only.

mod cascade;
mod cascade_routing;
mod index;
mod routing;
mod threshold;

pub use cascade::Cascade;
pub use cascade_routing::CascadeRouting;
pub use index::IndexRule;
pub(crate) use index::Prospect;
pub use routing::Routing;
pub use threshold::ThresholdCascade;

use crate::belief::{LARGEST_MAGNITUDE, Uncertainty};
use crate::error::{Error, Result};
use crate::expected_max::{
    BeliefForms, CertainMax, CorrelatedMax, ExpectedMax, IndependentMax, OneFactorMax, PairMax,
};
use crate::far_off::{FAR, Raised, reach_far_down, standard_deviation};
use crate::model_set::{MAX_MODELS, ModelSet};
use crate::normal::larger;
use crate::search::{Glance, Level, Problem, Scratch, Solution, Status, TIE, proof, tradeoff};

/// Sample points per replicate in a decision on a correlated belief.
const POINTS_PER_REPLICATE: usize = 128;

/// Most nodes of the factor in a decision on a one-factor belief.
const MOST_FACTOR_NODES: usize = 129;

/// Which model to run next, and what that is part of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// The model to run now; `None` = stop.
    pub next: Option<usize>,
    /// The models that will have run if nothing changes the estimates.
    pub plan: ModelSet,
    /// v(plan).
    pub value: f64,
    /// v(plan) - lambda (cost still to be added).
    pub tradeoff: f64,
    /// Is the plan proven to be the best?
    pub status: Status,
    /// No plan's tradeoff is higher by more than this.
    pub gap: f64,
    /// Number of sets that were valued.
    pub n_nodes: u64,
}

impl Decision {
    fn new(solution: Solution, next: Option<usize>) -> Self {
        let Solution { plan, value, tradeoff, status, gap, n_nodes } = solution;
        Self { next, plan, value, tradeoff, status, gap, n_nodes }
    }

    /// A decision that no search had to find.
    fn plain(next: Option<usize>, plan: ModelSet, value: f64, tradeoff: f64) -> Self {
        Self { next, plan, value, tradeoff, status: Status::Optimal, gap: 0.0, n_nodes: 1 }
    }

    /// Stops with what has run, worth its highest mean.
    fn stop(problem: &Problem<'_>) -> Self {
        let value = best_seen(problem);
        Self::plain(None, problem.run, value, value)
    }
}

/// A map from a problem to a decision.
pub trait Rule: Sync {
    /// Decides.
    ///
    /// # Errors
    /// Nothing has run and nothing may; a covariance that is not positive semi-definite; an order that doesn't fit.
    fn select(&self, problem: &Problem<'_>, workspace: &mut Workspace) -> Result<Decision>;
}

/// Buffers that decisions reuse. One per thread; the results don't depend on what it held before.
#[derive(Debug, Clone)]
pub struct Workspace {
    certain: CertainMax,
    independent: IndependentMax,
    correlated: CorrelatedMax,
    one_factor: OneFactorMax,
    scratch: Scratch,
}

impl Default for Workspace {
    fn default() -> Self {
        Self {
            certain: CertainMax::default(),
            independent: IndependentMax::default(),
            correlated: CorrelatedMax::new(POINTS_PER_REPLICATE),
            one_factor: OneFactorMax::new(MOST_FACTOR_NODES),
            scratch: Scratch::default(),
        }
    }
}

/// A rule that picks, from some family of plans, the one of the best tradeoff.
pub trait PlanRule: Sync {
    /// Lambda.
    fn cost_weight(&self) -> f64;

    /// Factor of the standard deviations.
    fn uncertainty_scale(&self) -> f64;

    /// Most models in a plan.
    fn max_depth(&self) -> usize;

    /// Do the settings fit the problem?
    ///
    /// # Errors
    /// One doesn't.
    fn check(&self, _problem: &Problem<'_>) -> Result<()> {
        Ok(())
    }

    /// The best plan for any lambda.
    ///
    /// # Errors
    /// Those of [`Rule::select`].
    fn best<E: ExpectedMax>(
        &self,
        evaluator: &mut E,
        problem: &Problem<'_>,
        cost_weight: f64,
        scratch: &mut Scratch,
    ) -> Result<Solution>;

    /// The same, where closed forms have been asked already.
    ///
    /// # Errors
    /// Those of [`Rule::select`].
    fn best_of_left<E: ExpectedMax>(
        &self,
        evaluator: &mut E,
        problem: &Problem<'_>,
        cost_weight: f64,
        scratch: &mut Scratch,
    ) -> Result<Solution> {
        self.best(evaluator, problem, cost_weight, scratch)
    }

    /// The model of a plan that runs first; `None` when the plan adds none.
    fn first(&self, problem: &Problem<'_>, plan: ModelSet) -> Option<usize>;

    /// The tradeoff of some plan of the family, in closed form; minus infinity where none is at hand.
    fn sure_tradeoff(&self, problem: &Problem<'_>, open: ModelSet, cost_weight: f64) -> f64 {
        let may_add = problem.run.len() < self.max_depth();
        let alone = open
            .iter()
            .filter(|_| may_add)
            .map(|j| tradeoff(problem.belief.quality()[j], cost_weight, problem.cost[j]));
        alone.fold(best_seen(problem), f64::max)
    }

    /// What a first look at the numbers shows, if anything.
    fn glance(&self, _problem: &Problem<'_>) -> Option<Glance> {
        None
    }

    /// What closed forms say of the best plan after that look, if anything.
    fn level(&self, _problem: &Problem<'_>, _open: ModelSet, _glance: Option<&Glance>) -> Option<Level> {
        None
    }
}

impl<R: PlanRule> Rule for R {
    fn select(&self, problem: &Problem<'_>, workspace: &mut Workspace) -> Result<Decision> {
        let glance = self.glance(problem);
        if let Some(Glance { model, tradeoff, tie, near }) = glance
            && near.is_empty()
        {
            let quality = problem.belief.quality();
            if !is_coarse(tie, quality[model]) {
                let plain = Decision::plain(Some(model), ModelSet::of(model), quality[model], tradeoff);
                return Ok(Decision { n_nodes: quality.len() as u64, ..plain });
            }
        }
        let open = problem.open()?;
        let Some(level) = self.level(problem, open, glance.as_ref()) else {
            return self.without_level(problem, workspace);
        };
        workspace.check(problem, self.uncertainty_scale())?;
        // The tie is a fraction of the largest quality, and that may be of a model far off.
        if is_coarse(level.best.tie, level.best.value)
            && let Some(decision) = self.decide_finely(problem, open, level.left, workspace)?
        {
            return Ok(decision);
        }
        if level.is_settled {
            let solution = level.best.solution(f64::NEG_INFINITY, level.n_nodes);
            return Ok(Decision::new(solution, self.first(problem, solution.plan)));
        }
        let left = Problem { allowed: level.left, tie: Some(problem.tie()), ..*problem };
        let mut decision = self.searched(&left, workspace)?;
        decision.n_nodes += if problem.run.is_empty() { (open.len() - level.left.len()) as u64 } else { 0 };
        Ok(decision)
    }
}

/// May the tie be that of a model far off, where the best plan has this value? Asks on for every value that isn't positive.
#[inline]
fn is_coarse(tie: f64, value: f64) -> bool {
    tie > FAR * TIE * larger(value, 0.0)
}

/// How a rule decides by a search.
trait Searched: PlanRule + Sized {
    /// The decision where closed forms have nothing to say.
    #[inline(never)]
    fn without_level(&self, problem: &Problem<'_>, workspace: &mut Workspace) -> Result<Decision> {
        let by_deviations = by_deviations(problem, problem.open()?, self.uncertainty_scale());
        let problem = by_deviations.as_ref().unwrap_or(problem);
        let raised = self.decide_raised(problem, workspace)?;
        raised.map_or_else(|| self.searched(problem, workspace), Ok)
    }

    /// Decides where a model may be far off: far below the others, or of high quality at a price that it is not worth.
    /// None where no model is; `left` are those that a best plan may add.
    #[cold]
    fn decide_finely(
        &self,
        problem: &Problem<'_>,
        open: ModelSet,
        left: ModelSet,
        workspace: &mut Workspace,
    ) -> Result<Option<Decision>> {
        if let Some(decision) = self.decide_raised(problem, workspace)? {
            return Ok(Some(decision));
        }
        let scale = self.uncertainty_scale();
        let by_deviations = by_deviations(problem, open, scale);
        let finer = by_deviations.unwrap_or_else(|| with_finer_tie(problem, problem.run.union(left), scale));
        if by_deviations.is_none() && problem.tie() <= FAR * FAR * finer.tie() {
            // Not worth a search: the tie is within a hundred-thousandth of what is left.
            return Ok(None);
        }
        let narrower = Problem { allowed: left, ..finer };
        let mut decision = self.searched(&narrower, workspace)?;
        decision.n_nodes += if problem.run.is_empty() { open.minus(left).len() as u64 } else { 0 };
        Ok(Some(decision))
    }

    /// Decides where a model is far below the others: see [`Raised`]. None where no model is.
    fn decide_raised(&self, problem: &Problem<'_>, workspace: &mut Workspace) -> Result<Option<Decision>> {
        if !reach_far_down(problem.range()) {
            return Ok(None);
        }
        let scale = self.uncertainty_scale();
        workspace.check(problem, scale)?;
        let sure = self.sure_tradeoff(problem, problem.open()?, self.cost_weight());
        let Some(raised) = Raised::new(&problem.belief, scale, problem.in_play(), sure) else {
            return Ok(None);
        };
        let near = Problem { belief: raised.belief(&problem.belief), ..*problem };
        let near = with_finer_tie(&near, near.in_play(), scale);
        let found = self.searched(&near, workspace)?;
        if !raised.is_all_of(found.plan) {
            return Ok(Some(found));
        }
        // A search that ended early, at raised models alone: the value is theirs, the bound that of the others.
        let own = Problem { allowed: found.plan.minus(problem.run), ..*problem };
        let own = self.without_level(&own, workspace)?; // among these, too, one may be far below the others
        let (status, gap) = proof(found.tradeoff + found.gap, own.tradeoff, near.tie());
        Ok(Some(Decision { status, gap, n_nodes: found.n_nodes + own.n_nodes, ..own }))
    }

    /// A decision by the best plan that an evaluator finds.
    fn searched(&self, problem: &Problem<'_>, workspace: &mut Workspace) -> Result<Decision> {
        let mut search = BestPlan { rule: self, problem };
        let solution = workspace.search(problem, self.uncertainty_scale(), &mut search)??;
        Ok(Decision::new(solution, self.first(problem, solution.plan)))
    }
}

impl<R: PlanRule> Searched for R {}

struct BestPlan<'a, R> {
    rule: &'a R,
    problem: &'a Problem<'a>,
}

impl<R: PlanRule> Searcher for BestPlan<'_, R> {
    type Output = Result<Solution>;

    fn search<E: ExpectedMax>(&mut self, evaluator: &mut E, scratch: &mut Scratch) -> Self::Output {
        self.rule.best_of_left(evaluator, self.problem, self.rule.cost_weight(), scratch)
    }
}

/// What is done with an evaluator, whichever it is.
pub(crate) trait Searcher {
    /// What comes out.
    type Output;

    /// Does it.
    fn search<E: ExpectedMax>(&mut self, evaluator: &mut E, scratch: &mut Scratch) -> Self::Output;
}

impl Workspace {
    /// Checks what only a factorisation shows of a belief.
    pub(crate) fn check(&mut self, problem: &Problem<'_>, uncertainty_scale: f64) -> Result<()> {
        match problem.belief.uncertainty() {
            Uncertainty::Correlated(covariance) if uncertainty_scale != 0.0 => {
                self.correlated.check(covariance, problem.belief.n_models())
            }
            _ => Ok(()),
        }
    }

    /// Runs a search with the evaluator that fits the belief: the cheapest that is exact.
    pub(crate) fn search<S: Searcher>(
        &mut self,
        problem: &Problem<'_>,
        uncertainty_scale: f64,
        searcher: &mut S,
    ) -> Result<S::Output> {
        let belief = &problem.belief;
        let quality = belief.quality();
        let uncertainty = if uncertainty_scale == 0.0 { Uncertainty::Certain } else { belief.uncertainty() };
        let in_play = problem.run.union(problem.open()?);
        let few = in_play.len() <= 2;
        Ok(match uncertainty {
            Uncertainty::Certain => {
                self.certain.reset(quality, in_play);
                searcher.search(&mut self.certain, &mut self.scratch)
            }
            Uncertainty::Independent(_) | Uncertainty::OneFactor { .. } if few => {
                let forms = BeliefForms::new(*belief, uncertainty_scale, in_play);
                searcher.search(&mut PairMax::new(forms, in_play), &mut self.scratch)
            }
            Uncertainty::Independent(variance) => {
                self.independent.reset(quality, variance, uncertainty_scale, in_play);
                searcher.search(&mut self.independent, &mut self.scratch)
            }
            // A factor that moves all models alike moves their maximum by nothing on average.
            Uncertainty::OneFactor { variance, loading } if all_equal(in_play, loading) => {
                self.independent.reset(quality, variance, uncertainty_scale, in_play);
                searcher.search(&mut self.independent, &mut self.scratch)
            }
            Uncertainty::OneFactor { variance, loading } => {
                self.one_factor.reset(quality, variance, loading, uncertainty_scale, in_play);
                searcher.search(&mut self.one_factor, &mut self.scratch)
            }
            Uncertainty::Correlated(covariance) => {
                self.correlated.reset(quality, covariance, uncertainty_scale, in_play)?;
                if few {
                    let forms = BeliefForms::new(*belief, uncertainty_scale, in_play);
                    searcher.search(&mut PairMax::new(forms, in_play), &mut self.scratch)
                } else {
                    searcher.search(&mut self.correlated, &mut self.scratch)
                }
            }
        })
    }
}

/// The problem with the tie of some models, where that of all is far coarser.
pub(crate) fn with_finer_tie<'a>(problem: &Problem<'a>, models: ModelSet, scale: f64) -> Problem<'a> {
    let sd = |j| standard_deviation(&problem.belief, j) * scale;
    Problem { tie: problem.finer_tie(models, sd).or(problem.tie), ..*problem }
}

/// The problem with a tie of its deviations, where all qualities are zero, what sets the tie without them is far coarser, and
/// only the `open` models may be added.
fn by_deviations<'a>(problem: &Problem<'a>, open: ModelSet, scale: f64) -> Option<Problem<'a>> {
    let (quality, in_play) = (problem.belief.quality(), problem.run.union(open));
    if in_play.iter().any(|j| quality[j] != 0.0) {
        return None;
    }
    let finer = with_finer_tie(problem, in_play, scale);
    (finer.tie() < problem.tie()).then_some(finer)
}

fn all_equal(models: ModelSet, values: &[f64]) -> bool {
    models.iter().next().is_none_or(|first| models.iter().all(|j| values[j] == values[first]))
}

/// Checks a cost weight, whose zero is kept without a sign (x + 0.0 does that): a number >= 0; infinity means the cheapest plan.
pub(crate) fn check_cost_weight(cost_weight: f64) -> Result<()> {
    if cost_weight >= 0.0 {
        Ok(())
    } else {
        Err(setting("cost_weight", "a number >= 0 (quality per unit of cost)", cost_weight))
    }
}

/// Checks an uncertainty scale: a number >= 0, of a magnitude that overflows no standard deviation.
pub(crate) fn check_uncertainty_scale(scale: f64) -> Result<()> {
    if (0.0..=LARGEST_MAGNITUDE).contains(&scale) {
        Ok(())
    } else {
        Err(setting("uncertainty_scale", "a number from 0 to 1e150", scale))
    }
}

/// Checks a depth.
pub(crate) fn check_max_depth(max_depth: usize) -> Result<()> {
    if max_depth >= 1 { Ok(()) } else { Err(setting("max_depth", "at least 1", max_depth)) }
}

/// Checks an order: different models.
pub(crate) fn check_order(order: Option<&[usize]>) -> Result<()> {
    let Some(order) = order else { return Ok(()) };
    let mut seen = ModelSet::EMPTY;
    for &model in order {
        if model >= MAX_MODELS || seen.contains(model) {
            return Err(setting("order", "different model indices below 128", format!("{order:?}")));
        }
        seen = seen.with(model);
    }
    if order.is_empty() { Err(setting("order", "at least one model", "none")) } else { Ok(()) }
}

/// The order for a problem: as set, or that of the indices.
pub(crate) fn order_for<'a>(order: Option<&'a [usize]>, problem: &Problem<'_>) -> Result<&'a [usize]> {
    let n_models = problem.belief.n_models();
    match order {
        None => Ok(&NATURAL_ORDER[..n_models]),
        Some(order) => match order.iter().find(|&&j| j >= n_models) {
            None => Ok(order),
            Some(&got) => Err(Error::NoSuchModel {
                argument: "order",
                got: i64::try_from(got).unwrap_or(i64::MAX),
                n_models,
            }),
        },
    }
}

/// The order of the indices.
static NATURAL_ORDER: [usize; MAX_MODELS] = {
    let mut order = [0; MAX_MODELS];
    let mut at = 0;
    while at < order.len() {
        order[at] = at;
        at += 1;
    }
    order
};

fn setting(name: &'static str, wanted: &'static str, got: impl std::fmt::Display) -> Error {
    Error::Setting { name, wanted, got: format!("{got}") }
}

/// The highest mean among the models run; minus infinity when none has.
pub(crate) fn best_seen(problem: &Problem<'_>) -> f64 {
    problem.run.iter().map(|j| problem.belief.quality()[j]).fold(f64::NEG_INFINITY, f64::max)
}
