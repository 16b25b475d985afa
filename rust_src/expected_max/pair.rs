//! The value of a set when at most two models are in play: Clark's closed form.

use super::ExpectedMax;
use super::one_factor::centred;
use crate::belief::Uncertainty;
use crate::model_set::ModelSet;

/// v of sets drawn from at most two models, correlated or not.
///
/// E[max(X, Y)] = mean of X + E[(Y - X)+], and Y - X is normal (Clark 1961, eq. 2). Exact to rounding.
#[derive(Debug, Clone, Default)]
pub struct PairMax {
    mean: Vec<f64>,
    variance: Vec<f64>,
    covariance: Vec<f64>,
    /// Loadings on the common factor less their mean; empty where there is no factor.
    loading: Vec<f64>,
    scale: f64,
}

/// The state of a set is one number: a set of one model is its index, and these stand for the other two sets.
const NEITHER: f64 = -1.0;
const BOTH: f64 = -2.0;

impl PairMax {
    /// Takes a new belief about the models `in_play`, standard deviations multiplied by `scale`.
    pub fn reset(&mut self, quality: &[f64], uncertainty: Uncertainty<'_>, scale: f64, in_play: ModelSet) {
        let k = quality.len();
        self.scale = scale;
        self.mean.clear();
        self.mean.extend_from_slice(quality);
        self.variance.clear();
        self.covariance.clear();
        self.loading.clear();
        match uncertainty {
            Uncertainty::Certain => self.variance.resize(k, 0.0),
            Uncertainty::Independent(variance) => self.variance.extend_from_slice(variance),
            Uncertainty::Correlated(covariance) => {
                self.variance.extend((0..k).map(|j| covariance[j * k + j]));
                self.covariance.extend_from_slice(covariance);
            }
            Uncertainty::OneFactor { variance, loading } => {
                self.variance.extend_from_slice(variance);
                self.loading.extend(centred(loading, in_play));
            }
        }
    }

    /// v of the first model and, if there are two, of both.
    pub fn value(&self) -> f64 {
        let gain = if self.mean.len() > 1 { self.gain_bound(0, 1) } else { 0.0 };
        self.mean.first().map_or(f64::NEG_INFINITY, |mean| mean + gain)
    }

    fn loading_of(&self, model: usize) -> f64 {
        self.loading.get(model).copied().unwrap_or(0.0)
    }
}

// A state holds an index below 128, written as a float by this file alone.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl ExpectedMax for PairMax {
    fn prepare(&mut self, run: ModelSet, candidates: ModelSet, _max_added: usize) {
        debug_assert!(run.union(candidates).len() <= 2, "three models in play need a quadrature");
    }

    fn n_points(&self) -> usize {
        1
    }

    fn start(&self, state: &mut [f64]) -> f64 {
        state[0] = NEITHER;
        self.mean.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        if state[0] == NEITHER {
            let lowest = self.mean.iter().copied().fold(f64::INFINITY, f64::min);
            self.mean[model] - lowest
        } else if state[0] == BOTH || state[0] as usize == model {
            0.0
        } else {
            self.gain_bound(state[0] as usize, model)
        }
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        next[0] = if state[0] == NEITHER || state[0] == model as f64 { model as f64 } else { BOTH };
    }

    fn mean(&self, model: usize) -> f64 {
        self.mean[model]
    }

    fn sd(&self, model: usize) -> f64 {
        let own = self.variance[model].max(0.0).sqrt();
        self.scale * if self.loading.is_empty() { own } else { own.hypot(self.loading[model]) }
    }

    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        let covariance = self.covariance.get(a * self.mean.len() + b).copied().unwrap_or(0.0);
        // Each difference alone is exact where the correlation is near one; the sum minus twice the covariance cancels.
        let variance = (self.variance[b] - covariance) + (self.variance[a] - covariance);
        self.scale * variance.max(0.0).sqrt().hypot(self.loading_of(b) - self.loading_of(a))
    }

    fn slack(&self) -> f64 {
        0.0
    }

    fn interchangeable(&self, a: usize, b: usize) -> bool {
        self.mean[a] == self.mean[b]
            && self.variance[a] == self.variance[b]
            && self.loading_of(a) == self.loading_of(b)
    }
}
