//! What closed forms say of a problem in which nothing has run: most decisions end here.
//!
//! Let i be the best single model, and m its tradeoff. A plan better than {i}
//! - has i as a member: then each other member j brings at most its gain on top of i alone, less its price;
//! - or has not: then max over S of Q <= m + sum over S of (Q - m)+, whatever the dependence, so v(S) <= m + the sum of
//!   E[(`Q_j` - m)+].
//!
//! A model that can lift neither kind of plan above m leaves the search before an integral is taken
//! (docs/decisions/0001-level-bound.md). The excesses are bounded in turn by chords, without a transcendental function. O(k).

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
        let (level, top_mean) = (best.tradeoff, best.value);
        let nets = |j: usize| {
            let (mean, price) = (mean(j), cost_weight * problem.cost[j]);
            let beside = chords.bound(mean, difference_sd(top, j), top_mean) - price;
            (beside, chords.bound(mean, sd(j), level) - price)
        };
        let others = open.minus(best.plan);
        let mut beside = Nets::default();
        let mut without = Nets::default();
        for j in others.iter() {
            let net = nets(j);
            beside.add(net.0);
            without.add(net.1);
        }
        let (least_beside, least_without) = (beside.least(slack + tie), without.least(slack + tie));
        let left = if beside.highest < least_beside && without.highest < least_without {
            best.plan
        } else {
            let stays = |(beside, without)| beside >= least_beside || without >= least_without;
            others.iter().filter(|&j| stays(nets(j))).collect::<ModelSet>().union(best.plan)
        };
        Some(Self { best, left })
    }
}

/// What bounds the worth of plans of one kind: nothing brings them more than all positive nets together.
struct Nets {
    positive: f64,
    highest: f64,
}

impl Default for Nets {
    fn default() -> Self {
        Self { positive: 0.0, highest: f64::NEG_INFINITY }
    }
}

impl Nets {
    #[inline]
    fn add(&mut self, net: f64) {
        self.positive += larger(net, 0.0);
        self.highest = larger(net, self.highest);
    }

    /// The least net with which a model may be part of a better plan.
    fn least(&self, slack: f64) -> f64 {
        -slack - self.positive
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
