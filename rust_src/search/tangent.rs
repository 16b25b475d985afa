//! A bound of the tradeoff that is linear in the set, and tight at one set.
//!
//! v(R + T) <= a + sum over T of `w_j`, for every T, as [`ExpectedMax::tangent`] gives it at the best plan found so far. Once
//! it is drawn, a set costs no evaluation unless the sum of its weights, less its price, passes the best tradeoff.

use super::Problem;
use super::candidate::Candidate;
use crate::expected_max::ExpectedMax;
use crate::model_set::ModelSet;

/// The bound in force, in terms of the tradeoff. Before it is drawn it excludes nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Tangent {
    is_drawn: bool,
    /// Weight less price, per model.
    net: Vec<f64>,
    buffer: Vec<f64>,
    /// Models of positive net, by falling net.
    order: Vec<usize>,
    /// The place of each model in that order; none where its net isn't positive.
    rank: Vec<Ranks>,
}

/// Models of positive net by their places in the order of a tangent: the heaviest ones are the first.
pub(super) type Ranks = ModelSet;

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
        let none = evaluator.tangent(state, added, models, &mut self.buffer, &mut self.net);
        self.order.clear();
        self.order.extend(models.iter().filter(|&j| self.net[j] > 0.0));
        self.order.sort_unstable_by(|&a, &b| self.net[b].total_cmp(&self.net[a]));
        self.rank.clear();
        self.rank.resize(self.net.len(), Ranks::EMPTY);
        for (place, &model) in self.order.iter().enumerate() {
            self.rank[model] = Ranks::of(place);
        }
        none
    }

    /// The place of a model, if its net is positive.
    pub fn rank(&self, model: usize) -> Ranks {
        self.rank[model]
    }

    /// The places of candidates.
    pub fn ranks(&self, candidates: &[Candidate]) -> Ranks {
        candidates.iter().fold(Ranks::EMPTY, |ranks, c| ranks.union(self.rank[c.model]))
    }

    /// Weight of a model, less its price.
    pub fn net(&self, model: usize) -> f64 {
        self.net[model]
    }

    /// The most that `n` of the models can weigh together.
    pub fn heaviest(&self, models: Ranks, n: usize) -> f64 {
        models.iter().take(n).map(|place| self.net[self.order[place]]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::belief::{Belief, Uncertainty};
    use crate::expected_max::IndependentMax;

    /// As many as one may take of the models after each one, the heaviest of them, and nothing of negative weight.
    #[test]
    fn the_heaviest_are_those_that_sorting_gives() {
        let k = 40;
        let quality: Vec<f64> = (0..k).map(|j| 0.5 + 0.01 * ((j * 17) % k) as f64).collect();
        let (variance, cost) = (vec![0.04; k], (0..k).map(|j| ((j * 7) % 11) as f64).collect::<Vec<_>>());
        let belief = Belief::new(&quality, Uncertainty::Independent(&variance)).unwrap();
        let problem = Problem::new(belief, &cost).unwrap();
        let all = ModelSet::first(k);
        let mut evaluator = IndependentMax::default();
        evaluator.reset(&quality, &variance, 1.0, all);
        evaluator.prepare(ModelSet::EMPTY, all, 4);
        let mut state = vec![0.0; evaluator.n_points()];
        evaluator.start(&mut state);
        let mut tangent = Tangent::default();
        tangent.draw(&mut evaluator, &problem, 0.1, &state, (ModelSet::of(3), all));
        assert!(tangent.order.len() > 4 && tangent.order.len() < k, "{}", tangent.order.len());
        let candidate = |model| Candidate { model, gain: 0.0, net: 0.0, is_fresh: true };
        let candidates: Vec<Candidate> = (0..k).map(candidate).collect();
        for at in 0..=k {
            let later = &candidates[at..];
            let mut nets: Vec<f64> = later.iter().map(|c| tangent.net(c.model).max(0.0)).collect();
            nets.sort_unstable_by(|a, b| b.total_cmp(a));
            let all = tangent.ranks(&candidates);
            let ranks = candidates[..at].iter().fold(all, |ranks, c| ranks.minus(tangent.rank(c.model)));
            for n in 0..5 {
                let expected: f64 = nets.iter().take(n).sum();
                assert!((tangent.heaviest(tangent.ranks(later), n) - expected).abs() < 1e-12, "{at} {n}");
                assert_eq!(tangent.heaviest(ranks, n), tangent.heaviest(tangent.ranks(later), n));
            }
        }
    }
}
