//! The profile of the index rule.
//!
//! The rule runs the model of the highest reservation value r(lambda), and r falls as lambda grows. Seen from the level r,
//! model j is worth running up to `lambda_j`(r) = E[(`Q_j` - r)+] / `cost_j`, and the model of the highest `lambda_j`(r)
//! is the one that is next at that lambda: no inverse has to be found. So the pieces are found by halving the levels between
//! the quality seen (where everything stops) and the top, until one model leads all through.
//!
//! A model leads between two levels at which it leads if no other comes ahead in between. Every `lambda_j` is convex in r, so
//! that a chord bounds the other from above, and two tangents bound the leader from below; their difference is largest where
//! the tangents meet.
//!
//! Accuracy: breakpoints to a relative 1e-9 of the level. A model that is ahead by less than a millionth of the largest
//! standard deviation may be missed.

use super::profile::{Piece, ProfiledRule, push};
use crate::error::Result;
use crate::far_off::FAR;
use crate::rule::{IndexRule, Prospect, Workspace, best_seen};
use crate::search::Problem;

/// Excess of a lead that may be missed, in largest standard deviations.
const LEAST_LEAD: f64 = 1e-6;

/// The same as a fraction of the level, where rounding makes leads.
const ROUNDING: f64 = 1e-13;

/// Relative width at which bisection ends.
const BISECTION: f64 = 1e-9;

/// The models that may run in one problem, seen from a level.
struct Levels {
    prospects: Vec<Prospect>,
    largest_sd: f64,
}

impl Levels {
    /// The model that is next where the reservation values peak at `level`, and the lambda at which they do.
    fn leader(&self, level: f64) -> (usize, f64) {
        let leader = self.prospects.iter().map(|p| (p.worth(level), *p)).reduce(Prospect::preferred);
        leader.map_or((0, 0.0), |(lambda, prospect)| (prospect.model, lambda))
    }

    /// The model that is next at a level between two others: one of their leaders, as far as rounding tells. Models that differ
    /// by rounding alone would else take turns at every level.
    fn leader_between(&self, below: usize, above: usize, level: f64) -> usize {
        let (leader, lambda) = self.leader(level);
        let leads = |p: &&Prospect| {
            let rounded = level.abs().max(p.mean.abs()) * p.worth_lost(level) + lambda;
            // Prices near zero make lambdas without a number: there nothing is known of rounding.
            p.model == leader || rounded.is_finite() && lambda - p.worth(level) <= ROUNDING * rounded
        };
        let of = |model: usize| self.prospects.iter().find(|p| p.model == model).filter(leads);
        of(below).or_else(|| of(above)).map_or(leader, |p| p.model)
    }

    /// Below this level every excess is linear in the level.
    fn linear_below(&self) -> f64 {
        self.prospects.iter().map(|p| p.mean - Prospect::REACH * p.sd).fold(f64::INFINITY, f64::min)
    }

    /// Above this level no model has anything to add.
    fn top(&self) -> f64 {
        Prospect::top(self.prospects.iter().copied())
    }

    /// Below this level the cheapest model leads.
    fn bottom(&self) -> f64 {
        let linear_below = self.linear_below();
        let cheapest = self.prospects.iter().reduce(|a, b| if b.cost < a.cost { b } else { a });
        let Some(least) = cheapest else { return linear_below };
        let costlier = self.prospects.iter().filter(|p| p.cost > least.cost);
        let crossings = costlier.map(|p| (p.cost * least.mean - least.cost * p.mean) / (p.cost - least.cost));
        crossings.fold(linear_below, f64::min) - 1.0
    }

    /// May another model come ahead of one that leads at two levels somewhere between them?
    fn may_be_overtaken(&self, leader: usize, low: f64, high: f64) -> bool {
        let Some(ahead) = self.prospects.iter().find(|p| p.model == leader) else { return false };
        let (falls_low, falls_high) = (ahead.worth_lost(low), ahead.worth_lost(high));
        let at_low = ahead.worth(low);
        let width = high - low;
        // The share of the width at which the tangents meet.
        let meet = (at_low - ahead.worth(high) - falls_high * width) / ((falls_low - falls_high) * width);
        let meet = if meet.is_finite() { meet.clamp(0.0, 1.0) } else { 0.0 };
        let least = at_low - falls_low * width * meet;
        let missed = LEAST_LEAD * self.largest_sd + ROUNDING * low.abs().max(high.abs());
        self.prospects.iter().filter(|p| p.model != leader).any(|p| {
            let most = (1.0 - meet) * p.worth(low) + meet * p.worth(high);
            (most - least) * p.cost > missed
        })
    }

    /// The highest reservation value at a cost weight, kept between two levels, and the model that has it.
    fn leader_at(&self, cost_weight: f64, low: f64, high: f64) -> (f64, usize) {
        let ranked = self.prospects.iter().map(|p| (p.reservation(cost_weight), *p));
        let leader = ranked.reduce(Prospect::preferred);
        leader.map_or((low, 0), |(reservation, p)| (reservation.clamp(low, high), p.model))
    }

    /// Appends `(lambda, leader above it in level)` for every change of leader between two levels, by rising level.
    fn changes(&self, (low, below): (f64, usize), (high, above): (f64, usize), out: &mut Vec<(f64, usize)>) {
        if below == above && !self.may_be_overtaken(below, low, high) {
            return;
        }
        let middle = 0.5 * (low + high);
        if high - low <= BISECTION * (1.0 + high.abs()) || !(low < middle && middle < high) {
            if below != above {
                out.push((self.leader(high).1, above));
            }
            return;
        }
        let leader = self.leader_between(below, above, middle);
        self.changes((low, below), (middle, leader), out);
        self.changes((middle, leader), (high, above), out);
    }

    /// The changes of leader between two cost weights, as `(lambda, leader below it)`, by falling lambda; the first entry
    /// is the leader at `to`.
    fn leaders(&self, problem: &Problem<'_>, from: f64, to: f64, stop: f64) -> Vec<(f64, usize)> {
        let lowest = if problem.run.is_empty() { self.bottom() } else { best_seen(problem) };
        let top = self.top().max(lowest);
        let (low, last) = if to >= stop || to.is_infinite() {
            (lowest, self.leader(lowest).0)
        } else {
            self.leader_at(to, lowest, top)
        };
        let (high, first) =
            if from > 0.0 { self.leader_at(from, low, top) } else { (top, self.leader(top).0) };
        // A free model without uncertainty is worth any lambda below its mean, and none above.
        let sure = self.prospects.iter().filter(|p| p.sd == 0.0 && low < p.mean && p.mean < high);
        let mut drops: Vec<f64> = sure.map(|p| p.mean).collect();
        if low < -FAR * high.abs() {
            // What rounding hides at the lowest level it need not hide at the others.
            let ends = self.prospects.iter().map(|p| p.mean - Prospect::REACH * p.sd);
            drops.extend(ends.filter(|&end| low < end && end < high));
        }
        drops.sort_unstable_by(f64::total_cmp);
        let mut changes = vec![(to, last)];
        let mut at = (low, last);
        for level in drops {
            let next = (level, self.leader(level).0);
            self.changes(at, next, &mut changes);
            at = next;
        }
        self.changes(at, (high, first), &mut changes);
        changes
    }
}

impl ProfiledRule for IndexRule {
    fn profile(
        &self,
        problem: &Problem<'_>,
        from: f64,
        to: f64,
        _workspace: &mut Workspace,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let start = pieces.len();
        let prospects = self.prospects(problem)?;
        let largest_sd = prospects.iter().map(|p| p.sd).fold(0.0, f64::max);
        let levels = Levels { prospects, largest_sd };
        // Above this lambda everything stops; with nothing run, something always runs.
        let stop = match (problem.run.is_empty(), levels.prospects.is_empty()) {
            (_, true) => 0.0,
            (true, false) => f64::INFINITY,
            (false, false) => levels.leader(best_seen(problem)).1,
        };
        let go_to = stop.clamp(from, to);
        if go_to > from {
            let changes = levels.leaders(problem, from, go_to, stop);
            for (nth, &(upper, next)) in changes.iter().enumerate().rev() {
                let lower = changes.get(nth + 1).map_or(from, |change| change.0);
                push(pieces, start, lower.clamp(from, go_to), upper.clamp(from, go_to), Some(next));
            }
        }
        push(pieces, start, go_to, to, None);
        Ok(())
    }
}
