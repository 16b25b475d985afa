//! The best prefix of a fixed order: what a cascade chooses among. O(k) gains.

use super::{Incumbent, Problem, Scratch, Solution, TIE, tradeoff};
use crate::error::Result;
use crate::expected_max::ExpectedMax;
use crate::far_off::FAR;
use crate::model_set::ModelSet;

/// The best plan among R and R + the next models of `order`, as many as one likes.
///
/// Models of the order that come before the last one run, or are not allowed, are passed over; the first model that would
/// break the cap on cost ends the prefixes.
///
/// # Errors
/// Nothing has run and nothing may.
pub fn best_prefix<E: ExpectedMax>(
    evaluator: &mut E,
    problem: &Problem<'_>,
    order: &[usize],
    cost_weight: f64,
    max_depth: usize,
    scratch: &mut Scratch,
) -> Result<Solution> {
    let open = problem.open()?;
    let passed = order.iter().rposition(|&j| problem.run.contains(j)).map_or(0, |at| at + 1);
    let next_models = order[passed..].iter().copied().filter(|&j| open.contains(j));
    let slots = max_depth.saturating_sub(problem.run.len());
    let ahead: ModelSet = next_models.clone().take(slots).collect();
    evaluator.prepare(problem.run, ahead, slots);
    let mut walk = |tie, level| {
        walk(evaluator, problem, next_models.clone().take(slots), (cost_weight, tie), level, scratch)
    };
    let (mut best, n_nodes, _) = walk(problem.tie(), f64::NEG_INFINITY)?;
    if problem.tie() > FAR * TIE * best.value.abs() {
        // A prefix far off, of high quality and higher price, may have set the tie: those near the best one set a finer one.
        let (_, _, largest) = walk(problem.tie(), best.tradeoff - 2.0 * problem.tie())?;
        if largest > 0.0 && problem.tie() > FAR * TIE * largest {
            (best, _, _) = walk(TIE * largest, f64::NEG_INFINITY)?;
        }
    }
    Ok(best.solution(f64::NEG_INFINITY, n_nodes))
}

/// Values the prefixes: the best one, how many there are, and the largest quality in those of a tradeoff of at least `level`.
fn walk<E: ExpectedMax>(
    evaluator: &mut E,
    problem: &Problem<'_>,
    ahead: impl Iterator<Item = usize>,
    (cost_weight, tie): (f64, f64),
    level: f64,
    scratch: &mut Scratch,
) -> Result<(Incumbent, u64, f64)> {
    let (state, next) = scratch.two_states(evaluator.n_points());
    let quality = problem.belief.quality();
    let size = |evaluator: &E, models: ModelSet| {
        let largest = models.iter().map(|j| quality[j].abs()).fold(0.0, f64::max);
        // Qualities of zero have the scale of their deviations.
        if largest > 0.0 { largest } else { models.iter().map(|j| evaluator.sd(j)).fold(0.0, f64::max) }
    };
    let mut largest = 0.0;

    let mut value = evaluator.start(state);
    let mut n_nodes = 0;
    let mut best = None;
    for model in problem.run.iter() {
        value += evaluator.gain(state, model);
        evaluator.extend(state, model, next);
        std::mem::swap(state, next);
    }
    if !problem.run.is_empty() {
        n_nodes += 1;
        best = Some(Incumbent::new(problem, cost_weight, tie, problem.run, value));
        largest = size(evaluator, problem.run);
    }
    let (mut plan, mut cost) = (problem.run, 0.0);
    for model in ahead {
        cost += problem.cost[model];
        if cost > problem.max_cost {
            break;
        }
        value += evaluator.gain(state, model);
        evaluator.extend(state, model, next);
        std::mem::swap(state, next);
        plan = plan.with(model);
        n_nodes += 1;
        let tradeoff = tradeoff(value, cost_weight, cost);
        if tradeoff >= level && level > f64::NEG_INFINITY {
            largest = size(evaluator, plan);
        }
        match &mut best {
            None => best = Some(Incumbent::new(problem, cost_weight, tie, plan, value)),
            Some(best) => best.offer(problem, plan, value, tradeoff),
        }
    }
    best.map(|best| (best, n_nodes, largest)).ok_or(crate::error::Error::NothingAllowed)
}
