//! What a first look at the numbers shows of a query on which nothing has run: which model is the best one alone, and which
//! others may matter besides.
//!
//! Two passes over plain numbers, without a root or a division (docs/decisions/0013-neither-root-nor-division.md). Where no other
//! model is near, the best one alone is the best plan, and that is most decisions; closed forms go on with those that are
//! ([`Outlook`](super::Outlook)).

use super::{Problem, tie_of};
use crate::model_set::ModelSet;
use crate::normal::{is_excess_below, larger};

/// The best model alone, which is better than each other one by more than the tie.
#[derive(Debug, Clone, Copy)]
pub struct Glance {
    /// The model.
    pub model: usize,
    /// The tradeoff of running it alone.
    pub tradeoff: f64,
    /// The tradeoff difference below which plans are equal.
    pub tie: f64,
    /// Other models that may gain their price on top of it, or be in a better plan without it.
    pub near: ModelSet,
}

impl Glance {
    /// The best of single models, with none near; None where one is not the best beyond doubt, some model has run or may not
    /// run, costs are capped, or lambda is infinite.
    #[inline]
    pub fn of_single_models(problem: &Problem<'_>, cost_weight: f64) -> Option<Self> {
        if !problem.is_plain() || cost_weight.is_infinite() {
            return None;
        }
        let quality = problem.belief.quality();
        let (mut first, mut second, mut model) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0);
        for (j, (mean, cost)) in quality.iter().zip(problem.cost).enumerate() {
            let worth = mean - cost_weight * cost;
            let lower = if worth < first { worth } else { first };
            model = if worth > first { j } else { model };
            first = larger(worth, first);
            second = larger(lower, second);
        }
        let tie = tie_of(quality.iter().copied());
        (second < first - 2.0 * tie).then_some(Self { model, tradeoff: first, tie, near: ModelSet::EMPTY })
    }

    /// The same, and the models near it where estimates are independent with these variances, at a scale of the deviations.
    #[inline]
    pub fn of_independent(
        problem: &Problem<'_>,
        cost_weight: f64,
        variance: &[f64],
        scale: f64,
    ) -> Option<Self> {
        let best = Self::of_single_models(problem, cost_weight)?;
        let (squared, own) = (scale * scale, *variance.get(best.model)?);
        let near = ModelSet::of_those(problem.belief.quality().iter().zip(variance).zip(problem.cost).map(
            |((mean, variance), cost)| {
                let price = cost_weight * cost - best.tie;
                // The level is at most the mean of the best model, and the variance that of a difference at least the model's.
                !is_excess_below(price, mean - best.tradeoff, squared * (own + variance))
            },
        ));
        Some(Self { near: near.minus(ModelSet::of(best.model)), ..best })
    }
}
