//! Search for the best supermodel: the set S that contains what has run and has the highest tradeoff.
//!
//! tau(S) = v(S) - lambda (sum of the costs of S minus R), over S between R and R + the allowed models, with at most
//! `max_depth` members and an added cost of at most `max_cost`. With nothing run, S has at least one member.
//!
//! **Order of plans.** A plan is better when its tradeoff is higher by more than [`TIE`] of the problem's scale; among
//! equals the cheaper, then, at the same cost, the one of the higher value by more than that (a high price rounds values
//! away), then the one with fewer models, then the lexicographically smallest. With an infinite lambda the
//! cheapest plan is best, and among the cheapest the most valuable.

mod branch_and_bound;
mod candidate;
mod exhaustive;
mod glance;
mod level;
mod prefixes;
mod scratch;
mod stop;
mod tangent;

pub use branch_and_bound::{Pruning, branch_and_bound};
pub use exhaustive::exhaustive;
pub use glance::Glance;
pub use level::{Level, Outlook};
pub use prefixes::best_prefix;
pub use scratch::Scratch;
pub use stop::Stop;

use std::cmp::Ordering;

use crate::belief::{Belief, is_amount};
use crate::error::{Error, Result};
use crate::far_off::FAR;
use crate::model_set::ModelSet;
use crate::normal::larger;

/// Tradeoffs closer than this fraction of the problem's scale are equal.
pub const TIE: f64 = 1e-11;

/// One query at one step: what is believed, what each model would cost, what has run and what may.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// Qualities of the models, as believed now.
    pub belief: Belief<'a>,
    /// Cost of running each model now. Entries of models already run are ignored.
    pub cost: &'a [f64],
    /// Models that have run.
    pub run: ModelSet,
    /// Models that may run.
    pub allowed: ModelSet,
    /// Cap on the cost still to be added.
    pub max_cost: f64,
    /// Whether to give up a long search.
    pub stop: Stop<'a>,
    /// The tradeoff difference below which plans are equal, where that is known: by default it is [`TIE`] of
    /// the largest quality. Where that is far off, or all are zero, a search takes a finer one.
    pub tie: Option<f64>,
}

impl<'a> Problem<'a> {
    /// A problem in which nothing has run and every model may.
    ///
    /// # Errors
    /// A cost that is negative, not finite or beyond [`LARGEST_MAGNITUDE`](crate::belief::LARGEST_MAGNITUDE); not one cost
    /// per model.
    pub fn new(belief: Belief<'a>, cost: &'a [f64]) -> Result<Self> {
        let k = belief.n_models();
        is_amount("cost", cost, k)?;
        Ok(Self {
            belief,
            cost,
            run: ModelSet::EMPTY,
            allowed: ModelSet::first(k),
            max_cost: f64::INFINITY,
            stop: Stop::default(),
            tie: None,
        })
    }

    /// Has nothing run, may every model, at any price, and is the tie that of all qualities?
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.run.is_empty()
            && self.tie.is_none()
            && self.max_cost == f64::INFINITY
            && ModelSet::first(self.belief.n_models()).is_subset(self.allowed)
    }

    /// Models that may still be added and are within the cap on their own.
    ///
    /// # Errors
    /// With nothing run: no allowed model, or none within the cap.
    pub fn open(&self) -> Result<ModelSet> {
        let allowed = self.allowed.intersection(ModelSet::first(self.belief.n_models())).minus(self.run);
        let open: ModelSet = if self.max_cost == f64::INFINITY {
            allowed
        } else {
            allowed.iter().filter(|&j| self.cost[j] <= self.max_cost).collect()
        };
        if self.run.is_empty() && open.is_empty() {
            return Err(if allowed.is_empty() {
                Error::NothingAllowed
            } else {
                let cheapest = allowed.iter().map(|j| self.cost[j]).fold(f64::INFINITY, f64::min);
                Error::NothingAffordable { max_cost: self.max_cost, cheapest }
            });
        }
        Ok(open)
    }

    /// Cost of what a plan adds to the models already run, summed in the order of the models.
    pub fn added_cost(&self, plan: ModelSet) -> f64 {
        plan.minus(self.run).iter().map(|j| self.cost[j]).sum()
    }

    /// The cheapest model that a plan adds; the first of equals; none when it adds none.
    pub fn cheapest_added(&self, plan: ModelSet) -> Option<usize> {
        plan.minus(self.run).iter().min_by(|&a, &b| self.cost[a].total_cmp(&self.cost[b]))
    }

    /// The models that have run, or may.
    pub(crate) fn in_play(&self) -> ModelSet {
        self.run.union(self.allowed)
    }

    /// Lowest and highest quality of the models in play.
    pub(crate) fn range(&self) -> (f64, f64) {
        let quality = self.belief.quality();
        let in_play = self.in_play().intersection(ModelSet::first(quality.len()));
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        in_play.iter().map(|j| quality[j]).fold(none, |(low, high), q| (low.min(q), high.max(q)))
    }

    /// The tradeoff difference below which plans are equal.
    pub(crate) fn tie(&self) -> f64 {
        self.tie.unwrap_or_else(|| tie_of(self.belief.quality().iter().copied()))
    }

    /// The tie of some models, if that of all is far coarser. Qualities that are all zero have no scale: their standard
    /// deviations, as `sd` has them, set the tie.
    pub(crate) fn finer_tie(&self, models: ModelSet, sd: impl Fn(usize) -> f64) -> Option<f64> {
        let quality = self.belief.quality();
        let models = models.intersection(ModelSet::first(quality.len()));
        let tie = if models.iter().all(|j| quality[j] == 0.0) {
            tie_of(models.iter().map(sd))
        } else {
            tie_of(models.iter().map(|j| quality[j]))
        };
        (self.tie() > FAR * tie).then_some(tie)
    }
}

/// The tie of models of these qualities, or deviations.
fn tie_of(numbers: impl Iterator<Item = f64>) -> f64 {
    let largest = numbers.fold(0.0, |largest, number| larger(number.abs(), largest));
    TIE * if largest > 0.0 { largest } else { 1.0 }
}

/// How far a search may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of models in a plan, those already run included.
    pub max_depth: usize,
    /// Largest number of sets that are valued before the search stops with what it has.
    pub node_limit: u64,
}

/// Is the plan proven to be the best?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Optimal,
    /// The node limit was reached; no plan beats it by more than the gap.
    Bounded,
}

/// The best plan that a search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solution {
    /// The models that will have run, those that have included.
    pub plan: ModelSet,
    /// v(plan).
    pub value: f64,
    /// v(plan) - lambda (added cost).
    pub tradeoff: f64,
    /// Proven or not.
    pub status: Status,
    /// No plan's tradeoff is higher by more than this; 0 when optimal.
    pub gap: f64,
    /// Number of sets valued.
    pub n_nodes: u64,
}

/// Is a plan of this tradeoff the best, and by how much may another be better, where none has a tradeoff above `bound`?
pub(crate) fn proof(bound: f64, tradeoff: f64, tie: f64) -> (Status, f64) {
    let gap = bound - tradeoff;
    // Neither where no number says that there is a better one.
    if gap > tie { (Status::Bounded, gap) } else { (Status::Optimal, 0.0) }
}

/// v - lambda c, where an infinite lambda leaves a free plan its value.
pub(crate) fn tradeoff(value: f64, cost_weight: f64, cost: f64) -> f64 {
    if cost == 0.0 { value } else { value - cost_weight * cost }
}

/// The best plan so far, by the documented order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incumbent {
    pub plan: ModelSet,
    pub value: f64,
    pub tradeoff: f64,
    cost: f64,
    cost_weight: f64,
    pub tie: f64,
}

impl Incumbent {
    /// The first plan.
    pub fn new(problem: &Problem<'_>, cost_weight: f64, tie: f64, plan: ModelSet, value: f64) -> Self {
        let cost = problem.added_cost(plan);
        Self { plan, value, tradeoff: tradeoff(value, cost_weight, cost), cost, cost_weight, tie }
    }

    /// Takes the plan if it is better.
    pub fn offer(&mut self, problem: &Problem<'_>, plan: ModelSet, value: f64, tradeoff: f64) {
        let finite = self.cost_weight.is_finite();
        if finite && tradeoff < self.tradeoff - self.tie {
            return;
        }
        let cost = problem.added_cost(plan);
        let better_by_worth = if finite {
            tradeoff > self.tradeoff + self.tie
        } else {
            cost < self.cost || cost == self.cost && value > self.value + self.tie
        };
        let tied = finite || cost == self.cost && value >= self.value - self.tie;
        let better_among_equals = || {
            let by_cost = cost.total_cmp(&self.cost);
            let by_size = plan.len().cmp(&self.plan.len());
            // At equal costs the values tell more than tradeoffs in which a high price has rounded them away.
            let by_value = if by_cost.is_ne() || (value - self.value).abs() <= self.tie {
                Ordering::Equal
            } else {
                self.value.total_cmp(&value)
            };
            let order = by_cost.then(by_value).then(by_size);
            order.is_lt() || order.is_eq() && plan.precedes(self.plan)
        };
        if better_by_worth || tied && better_among_equals() {
            *self = Self { plan, value, tradeoff, cost, ..*self };
        }
    }

    /// The result of a search that is complete up to plans of tradeoff `open_bound`.
    pub fn solution(self, open_bound: f64, n_nodes: u64) -> Solution {
        let (status, gap) = proof(open_bound, self.tradeoff, self.tie);
        Solution { plan: self.plan, value: self.value, tradeoff: self.tradeoff, status, gap, n_nodes }
    }
}
