//! The profile of the index rule.
//!
//! The rule runs the model of the highest reservation value r(lambda), and r falls as lambda grows. Seen from the level r,
//! model j is worth running up to `lambda_j`(r) = E[(`Q_j` - r)+] / `cost_j`, and the model of the highest `lambda_j`(r)
//! is the one that is next at that lambda: no inverse has to be found. So the pieces are found by dividing the levels between
//! the quality seen (where everything stops) and the top, until one model leads all through: just below and just above where
//! the leaders at both ends are worth the same, and in halves where that doesn't tell.
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

/// Relative width of levels that aren't divided.
const NARROW: f64 = 1e-9;

/// Least share of the levels that one of two parts gets.
const LEAST_PART: f64 = 0.2;

/// Most levels at which a crossing is looked for; most are found at eight.
const MOST_STEPS: usize = 30;

/// The models that may run in one problem, seen from a level.
struct Levels {
    prospects: Vec<Prospect>,
    largest_sd: f64,
}

/// A level, the model that is next there, and up to which lambda each model is worth running there.
struct Seen {
    level: f64,
    leader: usize,
    worths: Vec<f64>,
}

impl Levels {
    /// What each model is worth at a level.
    fn worths(&self, level: f64) -> Vec<f64> {
        self.prospects.iter().map(|p| p.worth(level)).collect()
    }

    /// The model that is next by what each is worth, and the lambda up to which it is.
    fn first(&self, worths: &[f64]) -> (usize, f64) {
        let leader = worths.iter().copied().zip(self.prospects.iter().copied()).reduce(Prospect::preferred);
        leader.map_or((0, 0.0), |(lambda, prospect)| (prospect.model, lambda))
    }

    /// A level, with the model that is next where the reservation values peak there.
    fn at(&self, level: f64) -> Seen {
        let worths = self.worths(level);
        Seen { level, leader: self.first(&worths).0, worths }
    }

    /// A model that may run, and what it is worth at a level.
    fn of(&self, model: usize, worths: &[f64]) -> Option<(Prospect, f64)> {
        let found = self.prospects.iter().zip(worths).find(|(p, _)| p.model == model);
        found.map(|(p, &worth)| (*p, worth))
    }

    /// A level between two others, and the model that is next there: one of their leaders, as far as rounding tells. Models that
    /// differ by rounding alone would else take turns at every level.
    fn seen_between(&self, below: usize, above: usize, level: f64) -> Seen {
        let worths = self.worths(level);
        let (leader, lambda) = self.first(&worths);
        let leads = |(p, worth): &(Prospect, f64)| {
            if p.model == leader {
                return true;
            }
            let rounded = level.abs().max(p.mean.abs()) * p.worth_lost(level) + lambda;
            // Prices near zero make lambdas without a number: there nothing is known of rounding.
            rounded.is_finite() && lambda - worth <= ROUNDING * rounded
        };
        let of = |model: usize| self.of(model, &worths).filter(leads);
        let leader = of(below).or_else(|| of(above)).map_or(leader, |(p, _)| p.model);
        Seen { level, leader, worths }
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

    /// May another model come ahead of one that leads at two levels somewhere between them? Gives the share of the width at
    /// which the bounds are farthest apart; None if none may.
    fn may_be_overtaken(&self, low: &Seen, high: &Seen) -> Option<f64> {
        let (ahead, at_low) = self.of(low.leader, &low.worths)?;
        let (_, at_high) = self.of(low.leader, &high.worths)?;
        let (falls_low, falls_high) = (ahead.worth_lost(low.level), ahead.worth_lost(high.level));
        let width = high.level - low.level;
        // The share of the width at which the tangents meet.
        let meet = (at_low - at_high - falls_high * width) / ((falls_low - falls_high) * width);
        let meet = if meet.is_finite() { meet.clamp(0.0, 1.0) } else { 0.0 };
        let least = at_low - falls_low * width * meet;
        let missed = LEAST_LEAD * self.largest_sd + ROUNDING * low.level.abs().max(high.level.abs());
        let ends = low.worths.iter().zip(&high.worths);
        let mut others = self.prospects.iter().zip(ends).filter(|(p, _)| p.model != low.leader);
        let is_ahead = others.any(|(p, (of_low, of_high))| {
            let most = (1.0 - meet) * of_low + meet * of_high;
            (most - least) * p.cost > missed
        });
        is_ahead.then_some(meet)
    }

    /// The highest reservation value at a cost weight, kept between two levels, with the model that has it.
    fn at_weight(&self, cost_weight: f64, low: f64, high: f64) -> Seen {
        let ranked = self.prospects.iter().map(|p| (p.reservation(cost_weight), *p));
        let leader = ranked.reduce(Prospect::preferred);
        let (level, leader) = leader.map_or((low, 0), |(r, p)| (r.clamp(low, high), p.model));
        Seen { level, leader, worths: self.worths(level) }
    }

    /// The level between two at which their leaders, which differ, are worth the same: by false position, in the way that is
    /// called Illinois (Dowell and Jarratt, BIT 11, 1971). None where rounding, or a free model, leaves no crossing to look for.
    fn crossing(&self, low: &Seen, high: &Seen) -> Option<f64> {
        let (first, first_worth) = self.of(low.leader, &low.worths)?;
        let (second, second_worth) = self.of(high.leader, &high.worths)?;
        let lead = |level: f64| first.worth(level) - second.worth(level);
        let (mut left, mut right) = (low.level, high.level);
        let (mut ahead, mut behind) = (first_worth - second.worth(left), first.worth(right) - second_worth);
        let mut last = left;
        for _ in 0..MOST_STEPS {
            if !(ahead > 0.0 && behind < 0.0) {
                return None;
            }
            let level = left + (right - left) * (ahead / (ahead - behind));
            if !(left < level && level < right) {
                return None;
            }
            let now = lead(level);
            if now == 0.0 || (level - last).abs() <= 0.1 * NARROW * (1.0 + level.abs()) {
                return Some(level);
            }
            // The end that stays twice counts half, so that it will move.
            if now > 0.0 {
                behind *= if last == left { 0.5 } else { 1.0 };
                (left, ahead) = (level, now);
            } else {
                ahead *= if last == right { 0.5 } else { 1.0 };
                (right, behind) = (level, now);
            }
            last = level;
        }
        None
    }

    /// Appends `(lambda, leader above it in level)` for every change of leader between two levels, by rising level.
    ///
    /// What was divided at a crossing is divided in halves next, `in_halves`: so it gets narrow whatever the crossings are.
    fn changes(&self, low: &Seen, high: &Seen, in_halves: bool, out: &mut Vec<(f64, usize)>) {
        let mut share = 0.5;
        if low.leader == high.leader {
            let Some(meet) = self.may_be_overtaken(low, high) else { return };
            share = meet.clamp(LEAST_PART, 1.0 - LEAST_PART);
        }
        let middle = (1.0 - share) * low.level + share * high.level;
        if high.level - low.level <= NARROW * (1.0 + high.level.abs())
            || !(low.level < middle && middle < high.level)
        {
            if low.leader != high.leader {
                out.push((self.first(&high.worths).1, high.leader));
            }
            return;
        }
        let seen = |level| self.seen_between(low.leader, high.leader, level);
        let crossing = if in_halves || low.leader == high.leader { None } else { self.crossing(low, high) };
        if let Some(level) = crossing {
            let aside = 0.25 * NARROW * (1.0 + level.abs());
            let (below, above) = (level - aside, level + aside);
            if low.level < below && above < high.level {
                let (below, above) = (seen(below), seen(above));
                self.changes(low, &below, true, out);
                self.changes(&below, &above, true, out);
                self.changes(&above, high, true, out);
                return;
            }
        }
        let between = seen(middle);
        self.changes(low, &between, false, out);
        self.changes(&between, high, false, out);
    }

    /// The changes of leader between two cost weights, as `(lambda, leader below it)`, by falling lambda; the first entry
    /// is the leader at `to`. Nothing is run at levels below the lowest, where everything stops at `stop`.
    fn leaders(&self, lowest: Seen, from: f64, to: f64, stop: f64) -> Vec<(f64, usize)> {
        let top = self.top().max(lowest.level);
        let mut low =
            if to >= stop || to.is_infinite() { lowest } else { self.at_weight(to, lowest.level, top) };
        let high = if from > 0.0 { self.at_weight(from, low.level, top) } else { self.at(top) };
        let (begin, end) = (low.level, high.level);
        // A free model without uncertainty is worth any lambda below its mean, and none above.
        let sure = self.prospects.iter().filter(|p| p.sd == 0.0 && begin < p.mean && p.mean < end);
        let mut drops: Vec<f64> = sure.map(|p| p.mean).collect();
        if begin < -FAR * end.abs() {
            // What rounding hides at the lowest level it need not hide at the others.
            let linear = self.prospects.iter().map(|p| p.mean - Prospect::REACH * p.sd);
            drops.extend(linear.filter(|&level| begin < level && level < end));
        }
        drops.sort_unstable_by(f64::total_cmp);
        let mut changes = vec![(to, low.leader)];
        for level in drops {
            let next = self.at(level);
            self.changes(&low, &next, false, &mut changes);
            low = next;
        }
        self.changes(&low, &high, false, &mut changes);
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
        let lowest = levels.at(if problem.run.is_empty() { levels.bottom() } else { best_seen(problem) });
        let stop = match (problem.run.is_empty(), levels.prospects.is_empty()) {
            (_, true) => 0.0,
            (true, false) => f64::INFINITY,
            (false, false) => levels.first(&lowest.worths).1,
        };
        let go_to = stop.clamp(from, to);
        if go_to > from {
            let changes = levels.leaders(lowest, from, go_to, stop);
            for (nth, &(upper, next)) in changes.iter().enumerate().rev() {
                let lower = changes.get(nth + 1).map_or(from, |change| change.0);
                push(pieces, start, lower.clamp(from, go_to), upper.clamp(from, go_to), Some(next));
            }
        }
        push(pieces, start, go_to, to, None);
        Ok(())
    }
}
