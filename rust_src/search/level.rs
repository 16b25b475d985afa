//! What closed forms say of a problem before any integral is taken: most decisions end here.
//!
//! *Some models have run.* Each other member of the best plan gains more than its price on top of any of them alone (negative
//! marginal gain).
//!
//! *Nothing has run.* Let i be the best single model, and m its tradeoff. In a best plan that beats {i},
//! - where i is a member, each other member j gains more than its price on top of i alone;
//! - where i is not: for any S, max over S of Q <= m + sum over S of (Q - m)+, whatever the dependence, so v(S) <= m + the sum
//!   of E[(`Q_j` - m)+]. So some member l, a *rival*, has E[(`Q_l` - m)+] above its price, and each other member gains more
//!   than its price on top of l alone.
//!
//! Where no model has any uncertainty, a set is worth its highest mean, so that the best single model is the best plan.
//!
//! Any other model leaves the search (docs/decisions/0001-level-bound.md). Where a pair is left, Clark's closed form says
//! whether it is worth more than one model; where three or four are, the closed forms of the pairs, and what the others can
//! gain on top of either member (docs/decisions/0014-few-models-by-pairs.md). Gains are bounded without a transcendental
//! function first. O(k) and, where there are rivals, O(k) for each.

use super::{Glance, Incumbent, Problem, TIE, tradeoff};
use crate::expected_max::ClosedForms;
use crate::far_off::FAR;
use crate::model_set::ModelSet;
use crate::normal::{ExcessChords, is_excess_below, larger};

/// The most models for which closed forms of their pairs are worth while.
const FEW: usize = 4;

/// What is known of the best plan.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// The best plan of those valued.
    pub(crate) best: Incumbent,
    /// The models that may be added in a better one; with nothing run, that of the best one among them.
    pub left: ModelSet,
    /// Is the best plan known to be the best of all?
    pub is_settled: bool,
    /// Number of sets valued.
    pub n_nodes: u64,
}

/// A problem, its price of quality, and what is known in closed form.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<'a, F> {
    problem: &'a Problem<'a>,
    forms: &'a F,
    cost_weight: f64,
    /// What a plan's tradeoff may lack and still count as the best.
    slack: f64,
    tie: f64,
}

impl<'a, F: ClosedForms> Outlook<'a, F> {
    /// Closed forms that agree with the values of plans to within `slack`.
    pub fn new(problem: &'a Problem<'a>, forms: &'a F, cost_weight: f64, slack: f64) -> Self {
        Self { problem, forms, cost_weight, slack, tie: problem.tie() }
    }

    /// What is known of plans with at most `slots` of the `open` models added to those run, after a first look if there was one.
    /// None where nothing is, or lambda is infinite.
    pub fn level(&self, open: ModelSet, slots: usize, glance: Option<&Glance>) -> Option<Level> {
        if self.cost_weight.is_infinite() {
            return None;
        }
        if self.problem.run.is_empty() {
            self.with_nothing_run(open, slots, glance)
        } else {
            self.with_run(open, slots)
        }
    }

    /// The best plan of one model, where plans of one model are all that there is.
    pub fn of_single_models(&self, open: ModelSet) -> Option<Level> {
        Some(Self::of_best(self.best_single(open)?, open))
    }

    /// That the best plan of one model is the best one.
    fn of_best(best: Incumbent, open: ModelSet) -> Level {
        Level { best, left: best.plan, is_settled: true, n_nodes: open.len() as u64 }
    }

    fn with_nothing_run(&self, open: ModelSet, slots: usize, glance: Option<&Glance>) -> Option<Level> {
        let mut level = match glance {
            Some(glance) => Self::of_best(self.alone(glance.model), open),
            None => self.of_single_models(open)?,
        };
        let top = level.left.iter().next()?;
        if slots <= 1 || self.are_certain(open) {
            return Some(level);
        }
        let chords = ExcessChords::get();
        let (mut left, mut rivals) = (level.left, ModelSet::EMPTY);
        for j in glance.map_or(open.minus(left), |glance| glance.near).iter() {
            // The level is at most the mean of the top model, so that this closes both questions.
            let variance = larger(self.forms.variance(j), self.forms.difference_variance(top, j));
            let lead = self.forms.mean(j) - level.best.tradeoff;
            if glance.is_none() && is_excess_below(self.least_gain(j), lead, variance) {
                continue;
            }
            if chords.bound(lead, self.forms.sd(j), 0.0) >= self.least_gain(j) {
                rivals = rivals.with(j);
            }
            if self.may_gain(chords, top, j) {
                left = left.with(j);
            }
        }
        left = left.union(rivals);
        for rival in rivals.iter() {
            let others = open.minus(left).iter().filter(|&j| self.may_gain(chords, rival, j));
            left = others.fold(left, ModelSet::with);
        }
        level.left = left;
        self.settle(&mut level, (top, left.minus(ModelSet::of(top))), slots - 1);
        Some(level)
    }

    fn with_run(&self, open: ModelSet, slots: usize) -> Option<Level> {
        let run = self.problem.run;
        let top = run.iter().reduce(|a, b| if self.forms.mean(b) > self.forms.mean(a) { b } else { a })?;
        let chords = ExcessChords::get();
        let may_be_added = |&j: &usize| slots > 0 && self.may_gain(chords, top, j);
        let left: ModelSet = open.iter().filter(may_be_added).collect();
        let best = Incumbent::new(self.problem, self.cost_weight, self.tie, run, self.forms.mean(top));
        let mut level = Level { best, left, is_settled: false, n_nodes: 1 };
        // The highest mean is what has run is worth, unless several of these may still move.
        if run.len() == 1 || self.are_certain(run) {
            self.settle(&mut level, (top, left), slots);
        }
        Some(level)
    }

    /// Has none of some models any uncertainty? Then a set of them is worth what its best member is worth.
    fn are_certain(&self, models: ModelSet) -> bool {
        models.iter().all(|j| self.forms.variance(j) == 0.0)
    }

    /// Settles the level, if closed forms can, where the best plan has the value of `member`, and at most `slots` of the
    /// `others` may be added.
    fn settle(&self, level: &mut Level, (member, others): (usize, ModelSet), slots: usize) {
        level.is_settled = match others.len() {
            0 => true,
            1 => others.iter().all(|model| self.offer_pair(level, member, model)),
            2..FEW => self.settle_few(level, (member, others), slots),
            _ => false,
        };
    }

    /// Offers the plan that has another member besides one. Is there a closed form of its value?
    fn offer_pair(&self, level: &mut Level, member: usize, model: usize) -> bool {
        let run = self.problem.run;
        let plan = run.with(member).with(model);
        let cost = self.problem.added_cost(plan);
        let gain = self.forms.gain_bound(member, model);
        if gain.is_finite() && cost <= self.problem.max_cost {
            let value = self.forms.mean(member) + gain;
            level.n_nodes += 1;
            level.best.offer(self.problem, plan, value, tradeoff(value, self.cost_weight, cost));
        }
        gain.is_finite()
    }

    /// Settles a few models, the first of which has run or is the best one alone, if all plans of three or more are bounded
    /// away: by a pair of their members, and what the others gain on top of either of the two.
    // A call of its own: the decisions that need it are few, and it would take registers from the others.
    #[inline(never)]
    fn settle_few(&self, level: &mut Level, (member, others): (usize, ModelSet), slots: usize) -> bool {
        let chords = ExcessChords::get();
        let (mut models, mut n) = ([member; FEW], 1);
        for model in others.iter() {
            models[n] = model;
            n += 1;
        }
        // The better ones first: what comes later is bounded by what it gains on top of these.
        let worth = |j: usize| self.forms.mean(j) - self.cost_weight * self.problem.cost[j];
        models[1..n].sort_unstable_by(|&a, &b| worth(b).total_cmp(&worth(a)));
        let models = &models[..n];
        let has_run = !self.problem.run.is_empty();
        let price = |place: usize| {
            if place == 0 && has_run { 0.0 } else { self.cost_weight * self.problem.cost[models[place]] }
        };
        // What each of a pair gains beyond its price on top of the other alone, at most, where both may gain it.
        let least = -self.slack - self.tie;
        let mut nets = [[f64::NEG_INFINITY; FEW]; FEW];
        for b in 1..n {
            for a in 0..b {
                let lead = self.forms.mean(models[b]) - self.forms.mean(models[a]);
                let sd = self.forms.difference_sd(models[a], models[b]);
                let (on_a, on_b) =
                    (chords.bound(lead, sd, 0.0) - price(b), chords.bound(-lead, sd, 0.0) - price(a));
                if on_a >= least && on_b >= least {
                    (nets[a][b], nets[b][a]) = (on_a, on_b);
                }
            }
        }
        let alone = |a: usize| self.forms.mean(models[a]) - price(a);
        let firsts = if has_run { 1 } else { n - 1 };
        let pairs = || (0..firsts).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
        let (mut best_pair, mut most) = (level.best.tradeoff, f64::NEG_INFINITY);
        for (a, b) in pairs() {
            let pair = alone(a) + nets[a][b];
            best_pair = larger(best_pair, pair);
            let on_both = |c: usize| if nets[a][c] < nets[b][c] { nets[a][c] } else { nets[b][c] };
            let (sum, largest) =
                (b + 1..n).map(on_both).fold((0.0, f64::NEG_INFINITY), |(sum, largest), net| {
                    (sum + larger(net, 0.0), larger(largest, net))
                });
            most = larger(most, pair + if sum > 0.0 { sum } else { largest });
        }
        let is_more_open = |best: f64| slots >= 2 && most >= best - self.slack - self.tie;
        // The values of pairs are at most their bounds: no need to look at them.
        if is_more_open(best_pair) {
            return false;
        }
        for (a, b) in pairs() {
            if alone(a) + nets[a][b] >= level.best.tradeoff - self.tie
                && !self.offer_pair(level, models[a], models[b])
            {
                return false;
            }
        }
        !is_more_open(level.best.tradeoff)
    }

    /// May a model gain its price on top of another one alone?
    #[inline]
    fn may_gain(&self, chords: &ExcessChords, member: usize, model: usize) -> bool {
        let (mean, level) = (self.forms.mean(model), self.forms.mean(member));
        let least = self.least_gain(model);
        !is_excess_below(least, mean - level, self.forms.difference_variance(member, model))
            && chords.bound(mean, self.forms.difference_sd(member, model), level) >= least
    }

    #[inline]
    fn least_gain(&self, model: usize) -> f64 {
        self.cost_weight * self.problem.cost[model] - self.slack - self.tie
    }

    /// The best plan of one model, by the order of plans.
    fn best_single(&self, open: ModelSet) -> Option<Incumbent> {
        let worth = |j: usize| self.forms.mean(j) - self.cost_weight * self.problem.cost[j];
        let lowest = f64::NEG_INFINITY;
        let (first, second, top) = open.iter().fold((lowest, lowest, None), |(first, second, top), j| {
            let worth = worth(j);
            let (lower, top) = if worth > first { (first, Some(j)) } else { (worth, top) };
            (larger(first, worth), larger(second, lower), top)
        });
        let top = match top {
            Some(top) if second < first - 2.0 * self.tie => top,
            _ => return self.best_of_near(open, first),
        };
        Some(self.alone(top))
    }

    /// The plan of one model.
    fn alone(&self, model: usize) -> Incumbent {
        let quality = self.forms.mean(model);
        Incumbent::new(self.problem, self.cost_weight, self.tie, ModelSet::of(model), quality)
    }

    /// The best plan of one model where several are worth about `first`, by the order of plans. Where every price overflows
    /// and all are worth minus infinity, that is the cheapest.
    #[cold]
    fn best_of_near(&self, open: ModelSet, first: f64) -> Option<Incumbent> {
        let worth = |j: usize| self.forms.mean(j) - self.cost_weight * self.problem.cost[j];
        let within = |tie: f64| open.iter().filter(move |&j| worth(j) >= first - 2.0 * tie);
        let finer = TIE * within(self.tie).map(|j| self.forms.mean(j).abs()).fold(0.0, larger);
        // A model far off makes no tie of these.
        let tie = if finer > 0.0 && FAR * finer < self.tie { finer } else { self.tie };
        let plan_of = |j: usize| {
            Incumbent::new(self.problem, self.cost_weight, tie, ModelSet::of(j), self.forms.mean(j))
        };
        // The first of those of the highest worth.
        let mut best = plan_of(within(0.0).next()?);
        for j in within(tie) {
            best.offer(self.problem, ModelSet::of(j), self.forms.mean(j), worth(j));
        }
        best.tie = self.tie;
        Some(best)
    }
}
