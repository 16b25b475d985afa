//! What closed forms say of a problem in which nothing has run: most decisions end here.
//!
//! Let i be the best single model, and m its tradeoff. In a best plan that beats {i},
//! - where i is a member, each other member j gains more than its price on top of i alone (negative marginal gain);
//! - where i is not: for any S, max over S of Q <= m + sum over S of (Q - m)+, whatever the dependence, so v(S) <= m + the sum
//!   of E[(`Q_j` - m)+]. So some member l, a *rival*, has E[(`Q_l` - m)+] above its price, and each other member gains more
//!   than its price on top of l alone.
//!
//! Any other model leaves the search before an integral is taken (docs/decisions/0001-level-bound.md). The closed forms are
//! bounded in turn by chords, without a transcendental function. O(k) and, where there are rivals, O(k) for each.

use super::{Incumbent, Problem};
use crate::model_set::ModelSet;
use crate::normal::ExcessChords;

/// What the level bound leaves.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// The best single model.
    pub(crate) best: Incumbent,
    /// The models that may be part of a better plan, that model among them.
    pub left: ModelSet,
}

impl Level {
    /// Finds the best of the `open` models, where plans of one model are all there is to choose from. None where no model is
    /// open, or lambda is infinite.
    pub fn of_single_models(problem: &Problem<'_>, open: ModelSet, cost_weight: f64) -> Option<Self> {
        let quality = problem.belief.quality();
        let best = best_single(problem, open, cost_weight, problem.tie(), |j| quality[j])?;
        Some(Self { best, left: best.plan })
    }

    /// Finds the best of the `open` models and the models that may be part of a plan better by more than minus `slack` and
    /// what counts as a tie, from means, standard deviations and those of differences. None where no model is open, or
    /// lambda is infinite.
    pub fn of(
        problem: &Problem<'_>,
        open: ModelSet,
        cost_weight: f64,
        slack: f64,
        mean: impl Fn(usize) -> f64,
        sd: impl Fn(usize) -> f64,
        difference_sd: impl Fn(usize, usize) -> f64,
    ) -> Option<Self> {
        let tie = problem.tie();
        let best = best_single(problem, open, cost_weight, tie, &mean)?;
        let top = best.plan.iter().next()?;
        let chords = ExcessChords::get();
        let price = |j: usize| cost_weight * problem.cost[j] - slack - tie;
        let gains_on = |member: usize, j: usize| {
            chords.bound(mean(j), difference_sd(member, j), mean(member)) >= price(j)
        };
        let is_rival = |j: usize| chords.bound(mean(j), sd(j), best.tradeoff) >= price(j);
        let others = open.minus(best.plan);
        let (mut left, mut rivals) = (best.plan, ModelSet::EMPTY);
        for j in others.iter() {
            if is_rival(j) {
                rivals = rivals.with(j);
            }
            if gains_on(top, j) {
                left = left.with(j);
            }
        }
        left = left.union(rivals);
        for rival in rivals.iter() {
            left = others.minus(left).iter().filter(|&j| gains_on(rival, j)).fold(left, ModelSet::with);
        }
        Some(Self { best, left })
    }
}

/// The larger of two numbers, neither of which is NaN: one instruction, which the library's is not.
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// The best plan of one model, by the order of plans.
fn best_single(
    problem: &Problem<'_>,
    open: ModelSet,
    cost_weight: f64,
    tie: f64,
    mean: impl Fn(usize) -> f64,
) -> Option<Incumbent> {
    if cost_weight.is_infinite() || open.is_empty() {
        return None;
    }
    let worth = |j: usize| mean(j) - cost_weight * problem.cost[j];
    let none = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    let (first, top, second) = open.iter().fold(none, |(first, top, second), j| {
        let worth = worth(j);
        if worth > top { (j, worth, top) } else { (first, top, larger(worth, second)) }
    });
    let plan_of = |j: usize| Incumbent::new(problem, cost_weight, tie, ModelSet::of(j), mean(j));
    if second < top - 2.0 * tie {
        return Some(plan_of(first));
    }
    // Models that may tie are compared in the order of plans.
    let mut rivals = open.iter().filter(|&j| worth(j) >= top - 2.0 * tie);
    let mut best = plan_of(rivals.next()?);
    for j in rivals {
        best.offer(problem, ModelSet::of(j), mean(j), worth(j));
    }
    Some(best)
}
