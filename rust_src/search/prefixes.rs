//! The best prefix of a fixed order: what a cascade chooses among. O(k) gains.

use super::{Incumbent, Problem, Scratch, Solution, tradeoff};
use crate::error::Result;
use crate::expected_max::ExpectedMax;
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
    let (open, tie) = (problem.open()?, problem.tie());
    let passed = order.iter().rposition(|&j| problem.run.contains(j)).map_or(0, |at| at + 1);
    let next_models = order[passed..].iter().copied().filter(|&j| open.contains(j));
    let slots = max_depth.saturating_sub(problem.run.len());
    let ahead: ModelSet = next_models.clone().take(slots).collect();
    evaluator.prepare(problem.run, ahead, slots);
    let (state, next) = scratch.two_states(evaluator.n_points());

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
    }
    let (mut plan, mut cost) = (problem.run, 0.0);
    for model in next_models.take(slots) {
        cost += problem.cost[model];
        if cost > problem.max_cost {
            break;
        }
        value += evaluator.gain(state, model);
        evaluator.extend(state, model, next);
        std::mem::swap(state, next);
        plan = plan.with(model);
        n_nodes += 1;
        match &mut best {
            None => best = Some(Incumbent::new(problem, cost_weight, tie, plan, value)),
            Some(best) => best.offer(problem, plan, value, tradeoff(value, cost_weight, cost)),
        }
    }
    best.map(|best| best.solution(f64::NEG_INFINITY, n_nodes)).ok_or(crate::error::Error::NothingAllowed)
}
