//! Routing: one model, then stop.

use super::{PlanRule, check_cost_weight};
use crate::error::Result;
use crate::expected_max::{BeliefForms, ExpectedMax};
use crate::model_set::ModelSet;
use crate::search::{Glance, Level, Limits, Outlook, Problem, Pruning, Scratch, Solution, branch_and_bound};

/// Runs the model with the highest mean - lambda cost, and stops once one has run (Theorem 1 of Dekoninck et al. 2025).
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    cost_weight: f64,
}

impl Routing {
    /// A rule with the given lambda.
    ///
    /// # Errors
    /// A cost weight below zero or NaN.
    pub fn new(cost_weight: f64) -> Result<Self> {
        check_cost_weight(cost_weight)?;
        Ok(Self { cost_weight: cost_weight + 0.0 })
    }
}

impl PlanRule for Routing {
    fn cost_weight(&self) -> f64 {
        self.cost_weight
    }

    /// Plans of one model: the means are all there is to know.
    fn uncertainty_scale(&self) -> f64 {
        0.0
    }

    fn max_depth(&self) -> usize {
        1
    }

    fn best<E: ExpectedMax>(
        &self,
        evaluator: &mut E,
        problem: &Problem<'_>,
        cost_weight: f64,
        scratch: &mut Scratch,
    ) -> Result<Solution> {
        let limits = Limits { max_depth: self.max_depth(), node_limit: u64::MAX };
        branch_and_bound(evaluator, problem, cost_weight, limits, Pruning::default(), scratch)
    }

    fn first(&self, problem: &Problem<'_>, plan: ModelSet) -> Option<usize> {
        problem.cheapest_added(plan)
    }

    #[inline]
    fn glance(&self, problem: &Problem<'_>) -> Option<Glance> {
        Glance::of_single_models(problem, self.cost_weight)
    }

    fn level(&self, problem: &Problem<'_>, open: ModelSet, _glance: Option<&Glance>) -> Option<Level> {
        let forms = BeliefForms::new(problem.belief, 0.0, open);
        let outlook = Outlook::new(problem, &forms, self.cost_weight, 0.0);
        if problem.run.is_empty() && self.cost_weight.is_finite() {
            outlook.of_single_models(open)
        } else {
            None
        }
    }
}
