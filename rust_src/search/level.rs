//! The level bound: what single models and closed forms say of a problem in which nothing has run.
//!
//! For any number m, max over S of Q <= m + sum over S of (Q - m)+, whatever the dependence, so v(S) <= m + the sum of
//! E[(`Q_j` - m)+]. With m the best tradeoff of a single model, a model that can't lift any set above m leaves the search
//! before an integral is taken; most decisions end here (docs/decisions/0001-level-bound.md). The excesses are bounded in turn
//! by chords, without a transcendental function. O(k).

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
    /// what counts as a tie, from means and standard deviations. None where no model is open, or lambda is infinite.
    pub fn of(
        problem: &Problem<'_>,
        open: ModelSet,
        cost_weight: f64,
        slack: f64,
        mean: impl Fn(usize) -> f64,
        sd: impl Fn(usize) -> f64,
    ) -> Option<Self> {
        let tie = problem.tie();
        let best = best_single(problem, open, cost_weight, tie, &mean)?;
        let chords = ExcessChords::get();
        let net = |j: usize| chords.bound(mean(j), sd(j), best.tradeoff) - cost_weight * problem.cost[j];
        // Nothing brings a set more than all positive nets together; `least` is what a model may lack of bringing that.
        let others = open.minus(best.plan);
        let (most, highest) = others.iter().fold((0.0, f64::NEG_INFINITY), |(most, highest), j| {
            let net = net(j);
            (most + larger(net, 0.0), larger(net, highest))
        });
        let own = best.plan.iter().map(net).fold(0.0, larger);
        let least = -slack - tie - (most + own);
        let left = if highest < least {
            best.plan
        } else {
            others.iter().filter(|&j| net(j) >= least).collect::<ModelSet>().union(best.plan)
        };
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
