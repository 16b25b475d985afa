//! Lambda profiles: for one query and one set of models run, the next model as a step function of the rule's parameter.
//!
//! For a [`PlanRule`] the parameter is the cost weight lambda. As it falls from infinity to zero, the best plan moves along
//! the upper concave hull of the points (added cost, value), so the profile has few pieces. They are found by the method
//! of Eisner and Severance (J. ACM 23, 1976): solve at both ends of an interval; where the plans differ, solve at the
//! lambda at which they are worth the same; a third plan that is better there splits the interval. Twice as many searches
//! as there are pieces, each exact, so the profile is exact to the accuracy of the values.
//!
//! A [`ThresholdCascade`] is profiled over minus its threshold, so that a larger parameter is the cheaper choice here, too.
//! The [`IndexRule`](crate::rule::IndexRule) has a profile of its own kind, in `index_profile.rs`.

use crate::error::Result;
use crate::expected_max::ExpectedMax;
use crate::far_off::{FAR, Raised, reach_far_down};
use crate::rule::{PlanRule, Rule, Searcher, ThresholdCascade, Workspace, with_finer_tie};
use crate::search::{Problem, Scratch, Solution};

/// On parameters between `from` and `to`, run `next` (`None` = stop).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// Lower end.
    pub from: f64,
    /// Upper end; may be infinite.
    pub to: f64,
    /// The model to run, if any.
    pub next: Option<usize>,
}

/// A rule with one parameter that trades quality for cost: the larger, the cheaper.
pub trait ProfiledRule: Sync {
    /// Appends the pieces on [from, to], in rising order, without gaps; neighbours differ in what they run.
    ///
    /// # Errors
    /// Those of [`Rule::select`].
    fn profile(
        &self,
        problem: &Problem<'_>,
        from: f64,
        to: f64,
        workspace: &mut Workspace,
        pieces: &mut Vec<Piece>,
    ) -> Result<()>;
}

/// Appends a piece, or lengthens the last one.
pub(super) fn push(pieces: &mut Vec<Piece>, start: usize, from: f64, to: f64, next: Option<usize>) {
    if to <= from {
        return;
    }
    if pieces.len() > start
        && let Some(last) = pieces.last_mut()
        && last.next == next
    {
        last.to = to;
    } else {
        pieces.push(Piece { from, to, next });
    }
}

impl<R: PlanRule> ProfiledRule for R {
    fn profile(
        &self,
        problem: &Problem<'_>,
        from: f64,
        to: f64,
        workspace: &mut Workspace,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let start = pieces.len();
        if reach_far_down(problem.range()) {
            return profile_by_parts(self, problem, (from, to), workspace, start, pieces);
        }
        let problem = &with_finer_tie(problem, problem.in_play(), self.uncertainty_scale());
        let mut hull = Hull { rule: self, problem, from, to, start, pieces };
        workspace.search(problem, self.uncertainty_scale(), &mut hull)?
    }
}

/// A profile where a model may be far off: which ones are depends on lambda, so there is a part for each power of [`FAR`] that
/// lies between the prices and the lowest quality, and each part has its own [`Raised`] belief.
#[cold]
fn profile_by_parts<R: PlanRule>(
    rule: &R,
    problem: &Problem<'_>,
    (from, to): (f64, f64),
    workspace: &mut Workspace,
    start: usize,
    pieces: &mut Vec<Piece>,
) -> Result<()> {
    /// So many powers lie between most lowest qualities and the precision of others; and between any of them and one.
    const PARTS: i32 = 8;
    const MOST_PARTS: i32 = 52;
    let (open, scale) = (problem.open()?, rule.uncertainty_scale());
    workspace.check(problem, scale)?; // as it was given: a raised model loses its covariances
    let quality = problem.belief.quality();
    let in_play = problem.run.union(open);
    let lowest = in_play.iter().map(|j| quality[j]).fold(f64::INFINITY, f64::min);
    let highest = in_play.iter().map(|j| quality[j]).fold(f64::NEG_INFINITY, f64::max);
    // The last part is one of prices at which the others' qualities matter.
    let reaches = |power: &i32| FAR.powi(power - 1) * highest.abs() >= lowest.abs();
    let parts = (PARTS..MOST_PARTS).find(reaches).unwrap_or(MOST_PARTS);
    let price = open.iter().map(|j| problem.cost[j]).sum::<f64>();
    let inner = (1..=parts).rev().map(|power| lowest.abs() / (FAR.powi(power) * price));
    let mut lower = from;
    for upper in inner.chain([to]) {
        let upper = if upper < to { upper } else { to };
        if upper <= lower && upper < to {
            continue;
        }
        let sure = rule.sure_tradeoff(problem, open, upper);
        let raised = Raised::new(&problem.belief, scale, in_play, sure);
        let belief = match &raised {
            Some(raised) => raised.belief(&problem.belief),
            None => problem.belief,
        };
        let raised = Problem { belief, ..*problem };
        let problem = with_finer_tie(&raised, in_play, scale);
        let mut hull = Hull { rule, problem: &problem, from: lower, to: upper, start, pieces: &mut *pieces };
        workspace.search(&problem, scale, &mut hull)??;
        lower = upper;
        if upper >= to {
            break;
        }
    }
    Ok(())
}

/// A walk along the hull of one problem's plans.
struct Hull<'a, R> {
    rule: &'a R,
    problem: &'a Problem<'a>,
    from: f64,
    to: f64,
    start: usize,
    pieces: &'a mut Vec<Piece>,
}

impl<R: PlanRule> Searcher for Hull<'_, R> {
    type Output = Result<()>;

    fn search<E: ExpectedMax>(&mut self, evaluator: &mut E, scratch: &mut Scratch) -> Result<()> {
        let (run, open) = (self.problem.run, self.problem.open()?);
        let slots = self.rule.max_depth().saturating_sub(run.len());
        if !run.is_empty() && (slots == 0 || open.is_empty()) {
            // What has run is the only plan.
            self.rule.check(self.problem)?;
            push(self.pieces, self.start, self.from, self.to, None);
            return Ok(());
        }
        // One grid for all cost weights: the searches below find it in place.
        evaluator.prepare(run, open, slots);
        let cheap = self.rule.best(evaluator, self.problem, self.to, scratch)?;
        let costly = self.rule.best(evaluator, self.problem, self.from, scratch)?;
        self.split(evaluator, scratch, (self.from, costly), (self.to, cheap))
    }
}

impl<R: PlanRule> Hull<'_, R> {
    /// Lists the pieces between two parameters at which the best plans are known.
    fn split<E: ExpectedMax>(
        &mut self,
        evaluator: &mut E,
        scratch: &mut Scratch,
        (from, costly): (f64, Solution),
        (to, cheap): (f64, Solution),
    ) -> Result<()> {
        let saving = self.problem.added_cost(costly.plan) - self.problem.added_cost(cheap.plan);
        let loss = costly.value - cheap.value;
        let crossing = loss / saving;
        let inside = saving > 0.0 && from < crossing && crossing < to;
        if costly.plan == cheap.plan || !inside {
            // Plans that are worth the same everywhere, or that meet at an end, to rounding.
            let plan = if crossing >= to { costly.plan } else { cheap.plan };
            push(self.pieces, self.start, from, to, self.rule.first(self.problem, plan));
            return Ok(());
        }
        let between = self.rule.best(evaluator, self.problem, crossing, scratch)?;
        let on_the_line = cheap.value - crossing * self.problem.added_cost(cheap.plan);
        let better = between.tradeoff - on_the_line;
        if better <= self.problem.tie() || between.plan == costly.plan || between.plan == cheap.plan {
            push(self.pieces, self.start, from, crossing, self.rule.first(self.problem, costly.plan));
            push(self.pieces, self.start, crossing, to, self.rule.first(self.problem, cheap.plan));
            return Ok(());
        }
        self.split(evaluator, scratch, (from, costly), (crossing, between))?;
        self.split(evaluator, scratch, (crossing, between), (to, cheap))
    }
}

impl ProfiledRule for ThresholdCascade {
    fn profile(
        &self,
        problem: &Problem<'_>,
        from: f64,
        to: f64,
        workspace: &mut Workspace,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let start = pieces.len();
        let ahead = self.with_threshold(f64::INFINITY).select(problem, workspace)?.next;
        let seen = self.last_run(problem)?.map(|last| problem.belief.quality()[last]);
        // Stops when the quality seen is at least the threshold: when minus the threshold is at least minus the quality.
        let stop_from = seen.map_or(f64::INFINITY, |seen| -seen).clamp(from, to);
        push(pieces, start, from, stop_from, ahead);
        push(pieces, start, stop_from, to, if seen.is_some() { None } else { ahead });
        Ok(())
    }
}
