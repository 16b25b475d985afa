//! The index rule: one number per model, the models in the order of that number.

use super::{Decision, Rule, Workspace, best_seen, check_cost_weight, check_uncertainty_scale};
use crate::belief::Uncertainty;
use crate::error::Result;
use crate::far_off::FAR;
use crate::normal::{SMALLEST_SD, excess, inverse_unit_excess, unit_excess, upper_tail};
use crate::search::{Problem, tradeoff};

/// Weitzman's rule for Pandora's box (Econometrica 47, 1979), with normal prizes.
///
/// The reservation value r of a model solves E[(Q - r)+] = lambda cost: the sure quality at which running the model neither
/// gains nor loses. Run the model of the highest r; stop once the best quality seen is at least every r left. Where the
/// qualities are independent and a run reveals the quality, no adaptive policy does better. O(k), no search.
///
/// Correlations are ignored: only the variances of a covariance are used, and those of a belief with one factor.
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
        Ok(Self { cost_weight: cost_weight + 0.0, uncertainty_scale: uncertainty_scale + 0.0 })
    }

    /// Lambda.
    pub fn cost_weight(&self) -> f64 {
        self.cost_weight
    }

    /// Factor of the standard deviations.
    pub fn uncertainty_scale(&self) -> f64 {
        self.uncertainty_scale
    }

    /// What the rule looks at in a model.
    fn prospect(&self, problem: &Problem<'_>, model: usize) -> Prospect {
        let variance = match problem.belief.uncertainty() {
            Uncertainty::Certain => 0.0,
            Uncertainty::Independent(variance) => variance[model],
            Uncertainty::OneFactor { variance, loading } => variance[model] + loading[model] * loading[model],
            Uncertainty::Correlated(covariance) => {
                covariance[model * problem.belief.n_models() + model].max(0.0)
            }
        };
        let sd = variance.sqrt() * self.uncertainty_scale;
        Prospect {
            model,
            mean: problem.belief.quality()[model],
            sd: if sd <= SMALLEST_SD { 0.0 } else { sd },
            cost: problem.cost[model],
        }
    }

    /// The models that may run.
    pub(crate) fn prospects(&self, problem: &Problem<'_>) -> Result<Vec<Prospect>> {
        Ok(problem.open()?.iter().map(|model| self.prospect(problem, model)).collect())
    }
}

/// A model that may run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prospect {
    pub model: usize,
    pub mean: f64,
    pub sd: f64,
    pub cost: f64,
}

impl Prospect {
    /// Beyond this many standard deviations above its mean, a model has nothing to add.
    pub const REACH: f64 = 7.0;

    /// The r that solves E[(Q - r)+] = lambda cost; infinite for a free model, minus infinity at an infinite price.
    pub fn reservation(&self, cost_weight: f64) -> f64 {
        let price = if self.cost == 0.0 { 0.0 } else { cost_weight * self.cost };
        if self.sd == 0.0 || price.is_infinite() {
            self.mean - price
        } else if price == 0.0 {
            f64::INFINITY
        } else {
            self.mean + self.sd * inverse_unit_excess(price / self.sd)
        }
    }

    /// Is the reservation value below `level` for sure? Asks for a bound or one excess, where the value itself takes a search.
    pub fn is_rated_below(&self, level: f64, cost_weight: f64) -> bool {
        /// Less than one by more than the excess may be off.
        const CLEARLY: f64 = 1.0 - 1e-9;
        let price = CLEARLY * cost_weight * self.cost;
        let z = (level - self.mean) / self.sd;
        // Not so where a model is free or certain, and at infinite prices: those have no excess to look at.
        if !(price > 0.0 && price.is_finite() && z.is_finite()) {
            return false;
        }
        // E[(Z - z)+] is at most phi(z) + (-z)+, and exp(-x) at most 1 / (1 + x + x^2 / 2).
        let x = 0.5 * z * z;
        let bound = 0.4 / (1.0 + x * (1.0 + 0.5 * x)) - z.min(0.0);
        self.sd * bound < price || self.sd * unit_excess(z) < price
    }

    /// The lambda up to which the model is worth running where `level` is sure.
    pub fn worth(&self, level: f64) -> f64 {
        if self.cost > 0.0 {
            excess(self.mean, self.sd, level) / self.cost
        } else if self.sd > 0.0 || self.mean > level {
            f64::INFINITY
        } else {
            0.0
        }
    }

    /// What of the worth is lost per unit of the level: minus its derivative.
    pub fn worth_lost(&self, level: f64) -> f64 {
        let above = if self.sd > 0.0 {
            upper_tail((level - self.mean) / self.sd)
        } else {
            f64::from(self.mean > level)
        };
        if self.cost > 0.0 { above / self.cost } else { 0.0 }
    }

    /// The level above which no model has anything to add.
    pub fn top(prospects: impl Iterator<Item = Self>) -> f64 {
        prospects.map(|p| p.mean + Self::REACH * p.sd).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Of two rated models the better. Ties: the cheaper, then the higher mean, then the first.
    pub fn preferred(a: (f64, Self), b: (f64, Self)) -> (f64, Self) {
        let order =
            a.0.total_cmp(&b.0).then(b.1.cost.total_cmp(&a.1.cost)).then(a.1.mean.total_cmp(&b.1.mean));
        if order.is_lt() { b } else { a }
    }
}

impl Rule for IndexRule {
    fn select(&self, problem: &Problem<'_>, _workspace: &mut Workspace) -> Result<Decision> {
        let prospects = problem.open()?.iter().map(|model| self.prospect(problem, model));
        let mut best: Option<(f64, Prospect)> = None;
        for p in prospects.clone() {
            best = match best {
                Some(leader) if p.is_rated_below(leader.0, self.cost_weight) => Some(leader),
                Some(leader) => Some(Prospect::preferred(leader, (p.reservation(self.cost_weight), p))),
                None => Some((p.reservation(self.cost_weight), p)),
            };
        }
        if self.cost_weight == 0.0 && best.is_some_and(|(reservation, _)| reservation.is_infinite()) {
            // All uncertain models are worth any price that is small enough; the order is the limit of falling prices.
            let top = Prospect::top(prospects.clone());
            let uncertain = prospects.filter(|p| p.sd > 0.0).map(|p| (p.worth(top), p));
            best = uncertain.reduce(Prospect::preferred).map(|(_, p)| (f64::INFINITY, p));
        }
        let seen = best_seen(problem);
        Ok(match best {
            Some((reservation, p)) if problem.run.is_empty() || reservation > seen => {
                let value = if problem.run.is_empty() {
                    p.mean
                } else if seen < -FAR * p.mean.abs() {
                    // The same, without the difference in which the mean would be lost.
                    p.mean + excess(seen, p.sd, p.mean)
                } else {
                    seen + excess(p.mean, p.sd, seen)
                };
                let worth = tradeoff(value, self.cost_weight, p.cost);
                Decision::plain(Some(p.model), problem.run.with(p.model), value, worth)
            }
            _ => Decision::stop(problem),
        })
    }
}
