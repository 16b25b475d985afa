//! Models so far below all that matters that their numbers would only cost the others their precision.
//!
//! A tie is a fraction of the largest quality, and sums of gains start from the lowest one. So a quality of -1e10, which is how
//! some callers write "never this one", would blur qualities between 0 and 1, though no good plan has anything to do with it.
//!
//! Let t be the tradeoff of some plan, and M the models in play that reach t, within [`REACH`] standard deviations. A plan
//! better than t has a member in M, since v(S) <= t + the sum over S of E[(`Q_j` - t)+]. A model that lies wholly below t and
//! below all of M gains nothing on top of that member, whatever the dependence (Clark's gain underflows), so no best plan
//! depends on its numbers, nor does the value of one. Such a model counts as a sure thing a little below the rest.

use crate::belief::{Belief, Uncertainty};
use crate::model_set::ModelSet;

/// What is larger by this factor costs others their precision.
pub const FAR: f64 = 1e3;

/// Do qualities of this range reach so far down that there may be a model to raise?
#[inline]
pub fn reach_far_down((low, high): (f64, f64)) -> bool {
    low < -FAR * high.abs()
}

/// Standard deviations beyond which an excess underflows.
const REACH: f64 = 40.0;

/// The numbers of a belief, those of models far off replaced.
#[derive(Debug, Clone)]
pub struct Raised {
    models: ModelSet,
    quality: Vec<f64>,
    spread: Vec<f64>,
    loading: Vec<f64>,
}

impl Raised {
    /// A belief with the models raised that lie far below the others in play; none where there are no such models. `sure` is
    /// the tradeoff of some plan.
    #[cold]
    pub fn new(belief: &Belief<'_>, uncertainty_scale: f64, in_play: ModelSet, sure: f64) -> Option<Self> {
        let quality = belief.quality();
        let in_play = in_play.intersection(ModelSet::first(quality.len()));
        let reach = |j: usize| REACH * uncertainty_scale * standard_deviation(belief, j);
        let (matter, others): (Vec<usize>, Vec<usize>) =
            in_play.iter().partition(|&j| quality[j] + reach(j) >= sure);
        let floor = matter.iter().map(|&j| quality[j] - reach(j)).fold(sure, f64::min);
        let largest = matter.iter().map(|&j| quality[j].abs()).fold(floor.abs(), f64::max);
        let unit = if largest > 0.0 { largest } else { 1.0 };
        let level = floor - unit;
        let is_far = |&j: &usize| quality[j] < level - FAR * unit && quality[j] + reach(j) < level;
        let far: ModelSet = others.into_iter().filter(is_far).collect();
        if far.is_empty() || !level.is_finite() {
            return None;
        }
        let k = quality.len();
        let (spread, loading) = match belief.uncertainty() {
            Uncertainty::Certain => (&[][..], &[][..]),
            Uncertainty::Independent(spread) | Uncertainty::Correlated(spread) => (spread, &[][..]),
            Uncertainty::OneFactor { variance, loading } => (variance, loading),
        };
        let mut raised = Self {
            models: far,
            quality: quality.to_vec(),
            spread: spread.to_vec(),
            loading: loading.to_vec(),
        };
        for model in far.iter() {
            raised.quality[model] = level;
            let is_of_model =
                |at: usize| if spread.len() == k { at == model } else { at / k == model || at % k == model };
            let entries = raised.spread.iter_mut().enumerate();
            entries.filter(|(at, _)| is_of_model(*at)).for_each(|(_, entry)| *entry = 0.0);
            raised.loading.iter_mut().skip(model).take(1).for_each(|loading| *loading = 0.0);
        }
        Some(raised)
    }

    /// Does a plan hold raised models only? Its value would not be its own: a search that ends early may stop at one.
    pub fn is_all_of(&self, plan: ModelSet) -> bool {
        plan.minus(self.models).is_empty()
    }

    /// The belief, of the kind of that which was given.
    pub fn belief<'a>(&'a self, given: &Belief<'_>) -> Belief<'a> {
        let uncertainty = match given.uncertainty() {
            Uncertainty::Certain => Uncertainty::Certain,
            Uncertainty::Independent(_) => Uncertainty::Independent(&self.spread),
            Uncertainty::Correlated(_) => Uncertainty::Correlated(&self.spread),
            Uncertainty::OneFactor { .. } => {
                Uncertainty::OneFactor { variance: &self.spread, loading: &self.loading }
            }
        };
        given.remade(&self.quality, uncertainty)
    }
}

/// Standard deviation of a model, as believed.
pub(crate) fn standard_deviation(belief: &Belief<'_>, model: usize) -> f64 {
    match belief.uncertainty() {
        Uncertainty::Certain => 0.0,
        Uncertainty::Independent(variance) => variance[model].sqrt(),
        Uncertainty::Correlated(covariance) => covariance[model * belief.n_models() + model].max(0.0).sqrt(),
        Uncertainty::OneFactor { variance, loading } => variance[model].sqrt().hypot(loading[model]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_set::ModelSet;
    use crate::rule::{Cascade, CascadeRouting, Routing, Rule, Workspace};
    use crate::search::{Limits, Problem};

    #[test]
    fn what_is_far_below_becomes_a_sure_thing_below_the_rest() {
        let (quality, all) = ([-1e10, 0.5, 0.59], ModelSet::first(3));
        let covariance = [1e4, 1.0, 0.0, 1.0, 0.01, 0.0, 0.0, 0.0, 0.01];
        let belief = Belief::new(&quality, Uncertainty::Correlated(&covariance)).unwrap();
        let raised = Raised::new(&belief, 1.0, all, 0.58).unwrap();
        assert!(raised.quality[0] < -3.0 && raised.quality[0] > -20.0);
        assert_eq!(raised.quality[1..], quality[1..]);
        assert_eq!(raised.spread, [0.0, 0.0, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.01]);
        // Its own deviation may bring it back, and so may a price that no other is worth.
        let wide = Belief::new(&quality, Uncertainty::Independent(&[1e20, 0.01, 0.01])).unwrap();
        assert!(Raised::new(&wide, 1.0, all, 0.58).is_none());
        assert!(Raised::new(&belief, 1.0, all, -1e10).is_none());
        assert!(Raised::new(&belief, 1.0, ModelSet::first(3).minus(ModelSet::of(0)), 0.58).is_none());
    }

    #[test]
    fn a_far_off_quality_blurs_no_others() {
        let limits = Limits { max_depth: 1, node_limit: u64::MAX };
        let mut workspace = Workspace::default();
        for (far, cost) in [(-1e10, 0.1), (-1e140, 0.0), (1e10, 1e13)] {
            let (quality, cost) = ([far, 0.5, 0.59], [cost, 0.1, 0.2]);
            let belief = Belief::new(&quality, Uncertainty::Certain).unwrap();
            let problem = Problem::new(belief, &cost).unwrap();
            let best = |decision: crate::rule::Decision| (decision.next, decision.tradeoff);
            let routing = Routing::new(0.01).unwrap();
            assert_eq!(best(routing.select(&problem, &mut workspace).unwrap()), (Some(2), 0.588));
            let rule = CascadeRouting::new(0.01, limits, 1.0).unwrap();
            assert_eq!(rule.select(&problem, &mut workspace).unwrap().next, Some(2));
            let cascade = Cascade::new(0.01, Some(vec![1, 2]), 3, 1.0).unwrap();
            assert_eq!(cascade.select(&problem, &mut workspace).unwrap().plan.len(), 2);
        }
    }

    #[test]
    fn a_search_that_ends_at_a_far_off_model_gives_its_own_value() {
        let limits = Limits { max_depth: 3, node_limit: 1 };
        for spread in [Uncertainty::Certain, Uncertainty::Independent(&[0.01; 3])] {
            let belief = Belief::new(&[0.4, -1e6, 0.0], spread).unwrap();
            let mut problem = Problem::new(belief, &[0.1, 0.1, 0.2]).unwrap();
            problem.run = ModelSet::of(1);
            let rule = CascadeRouting::new(0.1, limits, 1.0).unwrap();
            let decision = rule.select(&problem, &mut Workspace::default()).unwrap();
            let far = decision.plan == problem.run;
            assert!((decision.value - if far { -1e6 } else { 0.4 }).abs() < 1e-3);
            assert!(decision.tradeoff + decision.gap >= 0.389);
        }
    }

    #[test]
    fn prices_that_overflow_leave_the_cheapest_model_of_the_highest_quality() {
        let belief = Belief::new(&[0.5, 0.6, 0.7], Uncertainty::Independent(&[0.01; 3])).unwrap();
        let problem = Problem::new(belief, &[1e17, 1e17, 2e17]).unwrap();
        let limits = Limits { max_depth: 3, node_limit: u64::MAX };
        let rule = CascadeRouting::new(1e300, limits, 1.0).unwrap();
        assert_eq!(rule.select(&problem, &mut Workspace::default()).unwrap().next, Some(1));
    }
}
