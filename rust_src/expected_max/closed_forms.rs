//! What is known of normals in closed form: each alone, and two at a time.

use crate::belief::{Belief, Uncertainty};
use crate::far_off::FAR;
use crate::model_set::ModelSet;
use crate::normal::excess;

/// Moments of models and of their differences.
pub trait ClosedForms {
    /// Mean quality of a model: v of the set that holds it alone.
    fn mean(&self, model: usize) -> f64;

    /// Standard deviation of a model; infinity where it has no closed form.
    fn sd(&self, model: usize) -> f64;

    /// Standard deviation of the difference of two models; infinity where it has no closed form.
    fn difference_sd(&self, a: usize, b: usize) -> f64;

    /// Square of [`Self::sd`]; without its root, where it is one.
    fn variance(&self, model: usize) -> f64 {
        self.sd(model).powi(2)
    }

    /// Square of [`Self::difference_sd`]; without its root, where it is one.
    fn difference_variance(&self, a: usize, b: usize) -> f64 {
        self.difference_sd(a, b).powi(2)
    }

    /// The gain of `model` on top of `member` alone, which bounds its gain on top of any set with that member; infinity
    /// where there is no closed form.
    ///
    /// E[max(X, Y)] = mean of X + E[(Y - X)+], and Y - X is normal (Clark 1961, eq. 2).
    fn gain_bound(&self, member: usize, model: usize) -> f64 {
        excess(self.mean(model), self.difference_sd(member, model), self.mean(member))
    }

    /// The value of two models, where it has a closed form.
    ///
    /// The gain of the second one counts from the first, unless that lies so far below that the difference would lose what
    /// the second one is worth.
    fn pair(&self, a: usize, b: usize) -> f64 {
        let (from, other) = if self.mean(a) < -FAR * self.mean(b).abs() { (b, a) } else { (a, b) };
        self.mean(from) + self.gain_bound(from, other)
    }
}

/// The closed forms of independent models: those of nearly all decisions, so that no case is told apart for each model.
#[derive(Debug, Clone, Copy)]
pub struct IndependentForms<'a> {
    /// Means.
    pub quality: &'a [f64],
    /// Variances.
    pub variance: &'a [f64],
    /// Factor of the standard deviations.
    pub scale: f64,
}

impl ClosedForms for IndependentForms<'_> {
    #[inline]
    fn mean(&self, model: usize) -> f64 {
        self.quality[model]
    }

    #[inline]
    fn sd(&self, model: usize) -> f64 {
        self.scale * self.variance[model].sqrt()
    }

    #[inline]
    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        self.scale * (self.variance[a] + self.variance[b]).sqrt()
    }

    #[inline]
    fn variance(&self, model: usize) -> f64 {
        self.scale * self.scale * self.variance[model]
    }

    #[inline]
    fn difference_variance(&self, a: usize, b: usize) -> f64 {
        self.scale * self.scale * (self.variance[a] + self.variance[b])
    }
}

/// The closed forms of any belief.
#[derive(Debug, Clone, Copy)]
pub struct BeliefForms<'a> {
    belief: Belief<'a>,
    scale: f64,
    /// What all loadings have in common: it moves every model alike.
    common: f64,
}

impl<'a> BeliefForms<'a> {
    /// The closed forms for the models `in_play`, standard deviations multiplied by `scale`.
    pub fn new(belief: Belief<'a>, scale: f64, in_play: ModelSet) -> Self {
        let common = match belief.uncertainty() {
            Uncertainty::OneFactor { loading, .. } => mean_loading(loading, in_play),
            _ => 0.0,
        };
        Self { belief, scale, common }
    }

    /// Variance of a model at scale 1.
    #[inline]
    fn plain_variance(&self, model: usize) -> f64 {
        match self.belief.uncertainty() {
            Uncertainty::Certain => 0.0,
            Uncertainty::Independent(variance) => variance[model],
            Uncertainty::Correlated(covariance) => {
                covariance[model * self.belief.n_models() + model].max(0.0)
            }
            Uncertainty::OneFactor { variance, loading } => {
                variance[model] + (loading[model] - self.common).powi(2)
            }
        }
    }

    /// Variance of the difference of two models at scale 1.
    #[inline]
    fn plain_difference_variance(&self, a: usize, b: usize) -> f64 {
        match self.belief.uncertainty() {
            Uncertainty::Certain => 0.0,
            Uncertainty::Independent(variance) => variance[a] + variance[b],
            Uncertainty::Correlated(covariance) => {
                let entry = |i: usize, j: usize| covariance[i * self.belief.n_models() + j];
                // Each difference alone is exact where the correlation is near one; the sum minus twice the covariance
                // cancels.
                ((entry(a, a) - entry(a, b)) + (entry(b, b) - entry(a, b))).max(0.0)
            }
            Uncertainty::OneFactor { variance, loading } => {
                variance[a] + variance[b] + (loading[a] - loading[b]).powi(2)
            }
        }
    }
}

/// Mean over the models in play; of equal loadings, to the last bit.
pub(super) fn mean_loading(loading: &[f64], in_play: ModelSet) -> f64 {
    let first = in_play.iter().next().map_or(0.0, |j| loading[j]);
    first + in_play.iter().map(|j| loading[j] - first).sum::<f64>() / in_play.len().max(1) as f64
}

impl ClosedForms for BeliefForms<'_> {
    #[inline]
    fn mean(&self, model: usize) -> f64 {
        self.belief.quality()[model]
    }

    #[inline]
    fn sd(&self, model: usize) -> f64 {
        self.scale * self.plain_variance(model).sqrt()
    }

    #[inline]
    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        self.scale * self.plain_difference_variance(a, b).sqrt()
    }

    #[inline]
    fn variance(&self, model: usize) -> f64 {
        self.scale * self.scale * self.plain_variance(model)
    }

    #[inline]
    fn difference_variance(&self, a: usize, b: usize) -> f64 {
        self.scale * self.scale * self.plain_difference_variance(a, b)
    }
}
