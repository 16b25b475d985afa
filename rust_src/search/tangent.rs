//! A bound of the tradeoff that is linear in the set, and tight at one set.
//!
//! v(R + T) <= a + sum over T of `w_j`, for every T, as [`ExpectedMax::tangent`] gives it at the best plan found so far. Once
//! it is drawn, a set costs no evaluation unless the sum of its weights, less its price, passes the best tradeoff.

use super::Problem;
use crate::expected_max::ExpectedMax;
use crate::model_set::ModelSet;

/// The bound in force, in terms of the tradeoff. Before it is drawn it excludes nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Tangent {
    is_drawn: bool,
    /// Weight less price, per model.
    net: Vec<f64>,
    buffer: Vec<f64>,
    largest: Vec<f64>,
}

impl Tangent {
    /// Forgets the bound.
    pub fn clear(&mut self) {
        self.is_drawn = false;
    }

    /// Is there a bound?
    pub fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// Draws the bound at `added`, for sets of `models` on top of the state given; returns what bounds the gain of none.
    pub fn draw<E: ExpectedMax>(
        &mut self,
        evaluator: &mut E,
        problem: &Problem<'_>,
        cost_weight: f64,
        state: &[f64],
        (added, models): (ModelSet, ModelSet),
    ) -> f64 {
        self.is_drawn = true;
        self.net.clear();
        self.net.extend(problem.cost.iter().map(|cost| -cost_weight * cost));
        evaluator.tangent(state, added, models, &mut self.buffer, &mut self.net)
    }

    /// Weight of a model, less its price.
    pub fn net(&self, model: usize) -> f64 {
        self.net[model]
    }

    /// The most that `n` of the models can weigh together.
    pub fn heaviest(&mut self, models: impl Iterator<Item = usize>, n: usize) -> f64 {
        let mut sum = 0.0;
        self.largest.clear();
        for model in models {
            sum += self.weigh_in(model, n);
        }
        sum
    }

    /// Lets a model compete for a place among the `n` heaviest, and returns by how much their sum grows.
    fn weigh_in(&mut self, model: usize, n: usize) -> f64 {
        let net = self.net[model];
        if net <= 0.0 || n == 0 {
            return 0.0;
        }
        let mut displaced = 0.0;
        if self.largest.len() == n {
            displaced = self.largest[n - 1];
            if net <= displaced {
                return 0.0;
            }
            self.largest.pop();
        }
        let at = self.largest.partition_point(|&heavier| heavier >= net);
        self.largest.insert(at, net);
        net - displaced
    }
}
