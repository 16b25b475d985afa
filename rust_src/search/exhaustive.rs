//! The oracle: every set, valued from scratch. For tests and benches; O(2^k).

use super::{Incumbent, Problem, Solution, tradeoff};
use crate::error::Result;
use crate::expected_max::ExpectedMax;
use crate::model_set::ModelSet;

/// The best plan, by looking at all of them.
///
/// # Errors
/// Nothing has run and nothing may.
pub fn exhaustive<E: ExpectedMax>(
    evaluator: &mut E,
    problem: &Problem<'_>,
    cost_weight: f64,
    max_depth: usize,
) -> Result<Solution> {
    let open: Vec<usize> = problem.open()?.iter().collect();
    let slots = max_depth.saturating_sub(problem.run.len());
    evaluator.prepare(problem.run, open.iter().copied().collect(), slots);
    let mut state = vec![0.0; evaluator.n_points()];
    let mut next = state.clone();
    let mut best: Option<Incumbent> = None;
    let mut n_nodes = 0;
    for bits in 0_u64..1 << open.len() {
        let added: ModelSet = (0..open.len()).filter(|i| bits >> i & 1 == 1).map(|i| open[i]).collect();
        let plan = problem.run.union(added);
        let cost = problem.added_cost(plan);
        if plan.is_empty() || added.len() > slots || cost > problem.max_cost {
            continue;
        }
        n_nodes += 1;
        let mut value = evaluator.start(&mut state);
        for model in plan.iter() {
            value += evaluator.gain(&state, model);
            evaluator.extend(&state, model, &mut next);
            std::mem::swap(&mut state, &mut next);
        }
        match &mut best {
            None => best = Some(Incumbent::new(problem, cost_weight, problem.tie(), plan, value)),
            Some(best) => best.offer(problem, plan, value, tradeoff(value, cost_weight, cost)),
        }
    }
    best.map(|best| best.solution(f64::NEG_INFINITY, n_nodes)).ok_or(crate::error::Error::NothingAllowed)
}
