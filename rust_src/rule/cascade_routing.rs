//! Cascade routing: the best set of models at every step, in any order.

use super::{PlanRule, check_cost_weight, check_max_depth, check_uncertainty_scale, setting};
use crate::belief::Uncertainty;
use crate::error::Result;
use crate::expected_max::{BeliefForms, ExpectedMax, IndependentForms};
use crate::model_set::ModelSet;
use crate::search::{Glance, Level, Limits, Outlook, Problem, Pruning, Scratch, Solution, branch_and_bound};

/// Finds the best supermodel, runs its cheapest model first, and decides again (Theorem 3 of Dekoninck et al. 2025).
#[derive(Debug, Clone, PartialEq)]
pub struct CascadeRouting {
    cost_weight: f64,
    limits: Limits,
    uncertainty_scale: f64,
}

impl CascadeRouting {
    /// A rule with the given lambda.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(cost_weight: f64, limits: Limits, uncertainty_scale: f64) -> Result<Self> {
        check_cost_weight(cost_weight)?;
        check_max_depth(limits.max_depth)?;
        check_uncertainty_scale(uncertainty_scale)?;
        if limits.node_limit == 0 {
            return Err(setting("node_limit", "at least 1", 0));
        }
        Ok(Self { cost_weight: cost_weight + 0.0, limits, uncertainty_scale: uncertainty_scale + 0.0 })
    }

    /// Depth and nodes.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

impl PlanRule for CascadeRouting {
    fn cost_weight(&self) -> f64 {
        self.cost_weight
    }

    fn uncertainty_scale(&self) -> f64 {
        self.uncertainty_scale
    }

    fn max_depth(&self) -> usize {
        self.limits.max_depth
    }

    fn best<E: ExpectedMax>(
        &self,
        evaluator: &mut E,
        problem: &Problem<'_>,
        cost_weight: f64,
        scratch: &mut Scratch,
    ) -> Result<Solution> {
        branch_and_bound(evaluator, problem, cost_weight, self.limits, Pruning::default(), scratch)
    }

    fn best_of_left<E: ExpectedMax>(
        &self,
        evaluator: &mut E,
        problem: &Problem<'_>,
        cost_weight: f64,
        scratch: &mut Scratch,
    ) -> Result<Solution> {
        let pruning = Pruning { closed_forms: false, ..Pruning::default() };
        branch_and_bound(evaluator, problem, cost_weight, self.limits, pruning, scratch)
    }

    fn first(&self, problem: &Problem<'_>, plan: ModelSet) -> Option<usize> {
        problem.cheapest_added(plan)
    }

    #[inline]
    fn glance(&self, problem: &Problem<'_>) -> Option<Glance> {
        match problem.belief.uncertainty() {
            Uncertainty::Certain => Glance::of_single_models(problem, self.cost_weight),
            Uncertainty::Independent(variance) => {
                Glance::of_independent(problem, self.cost_weight, variance, self.uncertainty_scale)
            }
            Uncertainty::Correlated(_) | Uncertainty::OneFactor { .. } => None,
        }
    }

    fn level(&self, problem: &Problem<'_>, open: ModelSet, glance: Option<&Glance>) -> Option<Level> {
        let slots = self.limits.max_depth.saturating_sub(problem.run.len());
        let (quality, scale) = (problem.belief.quality(), self.uncertainty_scale);
        if let Uncertainty::Independent(variance) = problem.belief.uncertainty() {
            let forms = IndependentForms { quality, variance, scale };
            return Outlook::new(problem, &forms, self.cost_weight, 0.0).level(open, slots, glance);
        }
        let forms = BeliefForms::new(problem.belief, scale, problem.run.union(open));
        Outlook::new(problem, &forms, self.cost_weight, 0.0).level(open, slots, glance)
    }
}
