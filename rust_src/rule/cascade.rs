//! The cascade: a fixed order, and the best prefix of it at every step.

use super::{
    PlanRule, best_seen, check_cost_weight, check_max_depth, check_order, check_uncertainty_scale, order_for,
};
use crate::error::Result;
use crate::expected_max::ExpectedMax;
use crate::model_set::ModelSet;
use crate::search::{Problem, Scratch, Solution, best_prefix, tradeoff};

/// Runs the models of a fixed order as long as some longer prefix has a better tradeoff than stopping (Theorem 2 of
/// Dekoninck et al. 2025): unlike a threshold, it looks past the next model.
#[derive(Debug, Clone, PartialEq)]
pub struct Cascade {
    cost_weight: f64,
    order: Option<Vec<usize>>,
    max_depth: usize,
    uncertainty_scale: f64,
}

impl Cascade {
    /// A rule with the given lambda and order (`None` = that of the indices).
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(
        cost_weight: f64,
        order: Option<Vec<usize>>,
        max_depth: usize,
        uncertainty_scale: f64,
    ) -> Result<Self> {
        check_cost_weight(cost_weight)?;
        check_order(order.as_deref())?;
        check_max_depth(max_depth)?;
        check_uncertainty_scale(uncertainty_scale)?;
        Ok(Self {
            cost_weight: cost_weight + 0.0,
            order,
            max_depth,
            uncertainty_scale: uncertainty_scale + 0.0,
        })
    }

    /// The order, if it is not that of the indices.
    pub fn order(&self) -> Option<&[usize]> {
        self.order.as_deref()
    }
}

impl PlanRule for Cascade {
    fn cost_weight(&self) -> f64 {
        self.cost_weight
    }

    fn uncertainty_scale(&self) -> f64 {
        self.uncertainty_scale
    }

    fn max_depth(&self) -> usize {
        self.max_depth
    }

    fn check(&self, problem: &Problem<'_>) -> Result<()> {
        order_for(self.order(), problem).map(|_| ())
    }

    fn best<E: ExpectedMax>(
        &self,
        evaluator: &mut E,
        problem: &Problem<'_>,
        cost_weight: f64,
        scratch: &mut Scratch,
    ) -> Result<Solution> {
        let order = order_for(self.order(), problem)?;
        best_prefix(evaluator, problem, order, cost_weight, self.max_depth, scratch)
    }

    fn sure_tradeoff(&self, problem: &Problem<'_>, open: ModelSet, cost_weight: f64) -> f64 {
        let Ok(order) = order_for(self.order(), problem) else { return f64::NEG_INFINITY };
        let passed = order.iter().rposition(|&j| problem.run.contains(j)).map_or(0, |at| at + 1);
        let slots = self.max_depth.saturating_sub(problem.run.len());
        let ahead = order[passed..].iter().copied().filter(|&j| open.contains(j)).take(slots);
        // A prefix is worth its last model at least.
        let prefixes = ahead.scan(0.0, |cost, model| {
            *cost += problem.cost[model];
            (*cost <= problem.max_cost).then(|| tradeoff(problem.belief.quality()[model], cost_weight, *cost))
        });
        prefixes.fold(best_seen(problem), f64::max)
    }

    fn first(&self, problem: &Problem<'_>, plan: ModelSet) -> Option<usize> {
        let added = plan.minus(problem.run);
        match self.order() {
            None => added.iter().next(),
            Some(order) => order.iter().copied().find(|&j| added.contains(j)),
        }
    }
}
