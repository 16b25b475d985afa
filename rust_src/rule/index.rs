//! The index rule: one number per model, the models in the order of that number.

use super::{Decision, Rule, Workspace, best_seen, check_cost_weight, check_uncertainty_scale};
use crate::belief::Uncertainty;
use crate::error::Result;
use crate::normal::{excess, inverse_unit_excess};
use crate::search::{Problem, tradeoff};

/// Weitzman's rule for Pandora's box (Econometrica 47, 1979), with normal prizes.
///
/// The reservation value r of a model solves E[(Q - r)+] = lambda cost: the sure quality at which running the model neither
/// gains nor loses. Run the model of the highest r; stop once the best quality seen is at least every r left. Where the
/// qualities are independent and a run reveals the quality, no adaptive policy does better. O(k), no search.
///
/// Correlations are ignored: only the variances of a covariance are used.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexRule {
    cost_weight: f64,
    uncertainty_scale: f64,
}

impl IndexRule {
    /// A rule with the given lambda.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(cost_weight: f64, uncertainty_scale: f64) -> Result<Self> {
        check_cost_weight(cost_weight)?;
        check_uncertainty_scale(uncertainty_scale)?;
        Ok(Self { cost_weight, uncertainty_scale })
    }

    /// Lambda.
    pub fn cost_weight(&self) -> f64 {
        self.cost_weight
    }

    /// Factor of the standard deviations.
    pub fn uncertainty_scale(&self) -> f64 {
        self.uncertainty_scale
    }

    pub(crate) fn sd(&self, problem: &Problem<'_>, model: usize) -> f64 {
        let variance = match problem.belief.uncertainty() {
            Uncertainty::Certain => 0.0,
            Uncertainty::Independent(variance) => variance[model],
            Uncertainty::Correlated(covariance) => {
                covariance[model * problem.belief.n_models() + model].max(0.0)
            }
        };
        variance.sqrt() * self.uncertainty_scale
    }

    /// The r that solves E[(Q - r)+] = lambda cost; infinite for a free model, minus infinity at an infinite price.
    pub(crate) fn reservation(&self, problem: &Problem<'_>, model: usize, cost_weight: f64) -> f64 {
        let cost = problem.cost[model];
        let price = if cost == 0.0 { 0.0 } else { cost_weight * cost };
        let (mean, sd) = (problem.belief.quality()[model], self.sd(problem, model));
        if sd == 0.0 || price.is_infinite() {
            mean - price
        } else if price == 0.0 {
            f64::INFINITY
        } else {
            mean + sd * inverse_unit_excess(price / sd)
        }
    }
}

impl Rule for IndexRule {
    fn select(&self, problem: &Problem<'_>, _workspace: &mut Workspace) -> Result<Decision> {
        let open = problem.open()?;
        let cost = problem.cost;
        // Highest reservation first; among equals the cheaper, then the one of the higher mean, then the first.
        let best = open.iter().map(|j| (self.reservation(problem, j, self.cost_weight), j)).reduce(|a, b| {
            let mean = |j: usize| problem.belief.quality()[j];
            let order =
                a.0.total_cmp(&b.0)
                    .then(cost[b.1].total_cmp(&cost[a.1]))
                    .then(mean(a.1).total_cmp(&mean(b.1)));
            if order.is_lt() { b } else { a }
        });
        let seen = best_seen(problem);
        Ok(match best {
            Some((reservation, model)) if problem.run.is_empty() || reservation > seen => {
                let mean = problem.belief.quality()[model];
                let value = if problem.run.is_empty() {
                    mean
                } else {
                    seen + excess(mean, self.sd(problem, model), seen)
                };
                let worth = tradeoff(value, self.cost_weight, cost[model]);
                Decision::plain(Some(model), problem.run.with(model), value, worth)
            }
            _ => Decision::stop(problem),
        })
    }
}
