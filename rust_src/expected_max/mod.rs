//! The value of a set of models: the expected maximum of their qualities.
//!
//! v(S) = E[max over i in S of `Q_i`] is an average of maxima and so monotone and submodular in S: the gain of a model on
//! top of a set never exceeds its gain on top of a smaller set. Every evaluator here averages over one fixed set of
//! points (nodes of a quadrature, or sample points), chosen once per decision, so that both properties hold for the
//! numbers that it computes and not only for the exact expectation. The search leans on that.
//!
//! | evaluator | belief | state of a set | accuracy |
//! |---|---|---|---|
//! | [`CertainMax`] | no uncertainty | the maximum | exact |
//! | [`PairMax`] | at most two models in play | which of them are in | closed form |
//! | [`IndependentMax`] | independent normals | product of the CDFs, per node | 1e-7 times the largest standard deviation |
//! | [`OneFactorMax`] | independent normals given one factor | the same, per node of the factor | 1e-6 times the largest standard deviation; 4e-4 at kinks |
//! | [`CorrelatedMax`] | joint normals | running maximum, per sample point | estimated, see [`Estimate::error`] |

mod certain;
mod closed_forms;
mod correlated;
mod factor;
mod independent;
mod lanes;
mod one_factor;
mod pair;
mod points;
mod sobol_directions;

pub use certain::CertainMax;
pub use closed_forms::{BeliefForms, ClosedForms, IndependentForms};
pub use correlated::CorrelatedMax;
pub use independent::IndependentMax;
pub(crate) use lanes::in_lanes;
pub use one_factor::OneFactorMax;
pub use pair::PairMax;
pub use points::NormalPoints;

use crate::belief::{Belief, Uncertainty};
use crate::error::Result;
use crate::far_off::{Raised, reach_far_down};
use crate::model_set::ModelSet;

/// Evaluates v(S) set by set: keeps a state per set, and extends it by one model at a time.
pub trait ExpectedMax: ClosedForms {
    /// Readies the evaluator for the sets that contain `run` and at most `max_added` of the `candidates` besides.
    fn prepare(&mut self, run: ModelSet, candidates: ModelSet, max_added: usize);

    /// Length of a state.
    fn n_points(&self) -> usize;

    /// Writes the state of the empty set and returns the value that stands for it: a lower bound of every v(S).
    fn start(&self, state: &mut [f64]) -> f64;

    /// v(S + model) - v(S), where `state` is that of S; never negative beyond rounding.
    fn gain(&mut self, state: &[f64], model: usize) -> f64;

    /// Writes the state of S + model to `next`, where `state` is that of S.
    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]);

    /// A bound that is linear in what is added: adds weights to those given such that, for every T among the `models`,
    /// v(S + T) - v(S) <= a + the sum of the added weights of T, where `state` is that of S, and returns a. It is tightest at
    /// T = `at` or where the weights, of which minus a price was given, sum highest. `buffer` is the evaluator's to use.
    /// Infinity where there is no such bound.
    fn tangent(
        &mut self,
        _state: &[f64],
        _at: ModelSet,
        _models: ModelSet,
        _buffer: &mut Vec<f64>,
        _weights: &mut [f64],
    ) -> f64 {
        f64::INFINITY
    }

    /// How far the closed forms of bounds may lie from what the states give.
    fn slack(&self) -> f64;

    /// Do the states give pairs the values of their closed forms, to within the slack? Plans valued in either way may then be
    /// compared.
    fn agrees_on_pairs(&self) -> bool {
        true
    }

    /// May the two models change places in every set without changing any value?
    fn interchangeable(&self, a: usize, b: usize) -> bool;
}

/// An expected maximum, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// E[max of the qualities].
    pub value: f64,
    /// Half-width of an interval that holds the exact value. For correlated beliefs of three models and more it comes
    /// from the spread of independently shifted point sets, at 99% confidence; otherwise it is a bound.
    pub error: f64,
}

/// Points per replicate with which [`expected_max`] evaluates correlated beliefs.
const POINTS_PER_REPLICATE: usize = 1024;

/// Most nodes of the factor with which [`expected_max`] evaluates one-factor beliefs.
const MOST_FACTOR_NODES: usize = 1025;

/// The expected maximum of all models of a belief, standard deviations multiplied by `uncertainty_scale`.
///
/// # Errors
/// A covariance that is not positive semi-definite.
///
/// # Accuracy
/// One factor: 1e-6 times the largest standard deviation, 1e-5 where models have no variance of their own.
/// Independent: absolute error below 1e-7 times the largest standard deviation, for up to 128 models of any mixture of
/// scales (`tests/rust/golden.rs` compares with 30-digit values). Correlated: exact for two models, else quasi Monte
/// Carlo with its error estimated.
///
/// # Examples
/// ```
/// use headrace::belief::{Belief, Uncertainty};
/// let belief = Belief::new(&[0.5, 0.5], Uncertainty::Independent(&[0.01, 0.01]))?;
/// let estimate = headrace::expected_max::expected_max(&belief, 1.0)?;
/// assert!((estimate.value - (0.5 + 0.1 / std::f64::consts::PI.sqrt())).abs() < 1e-12);
/// # Ok::<(), headrace::error::Error>(())
/// ```
pub fn expected_max(belief: &Belief<'_>, uncertainty_scale: f64) -> Result<Estimate> {
    Finest::default().expected_max(belief, uncertainty_scale)
}

/// The evaluators of [`expected_max`]: their buffers and points serve one belief after the other.
#[derive(Debug)]
pub struct Finest {
    independent: IndependentMax,
    correlated: CorrelatedMax,
    one_factor: OneFactorMax,
}

impl Default for Finest {
    fn default() -> Self {
        Self {
            independent: IndependentMax::default(),
            correlated: CorrelatedMax::new(POINTS_PER_REPLICATE),
            one_factor: OneFactorMax::new(MOST_FACTOR_NODES),
        }
    }
}

impl Finest {
    /// What [`expected_max`] gives, bit for bit, whatever these evaluators had before.
    ///
    /// # Errors
    /// A covariance that is not positive semi-definite.
    pub fn expected_max(&mut self, belief: &Belief<'_>, uncertainty_scale: f64) -> Result<Estimate> {
        let k = belief.n_models();
        let all = ModelSet::first(k);
        let (quality, uncertainty) = (belief.quality(), belief.uncertainty());
        if let Uncertainty::Correlated(covariance) = uncertainty {
            self.correlated.reset(quality, covariance, uncertainty_scale, all)?;
        }
        if k <= 2 {
            let forms = BeliefForms::new(*belief, uncertainty_scale, all);
            let value = if k == 2 { forms.pair(0, 1) } else { forms.mean(0) };
            return Ok(Estimate { value, error: 0.0 });
        }
        let range = ends(quality, all);
        if reach_far_down(range)
            && let Some(raised) = Raised::new(belief, uncertainty_scale, all, range.1)
        {
            return self.expected_max(&raised.belief(belief), uncertainty_scale);
        }
        Ok(match uncertainty {
            Uncertainty::Certain => {
                Estimate { value: quality.iter().copied().fold(f64::NEG_INFINITY, f64::max), error: 0.0 }
            }
            Uncertainty::Independent(variance) => {
                self.independent.reset(quality, variance, uncertainty_scale, all);
                let value = value_of(&mut self.independent, all);
                Estimate { value, error: self.independent.slack() + f64::EPSILON * value.abs() }
            }
            Uncertainty::Correlated(_) => self.correlated.estimate(all),
            Uncertainty::OneFactor { variance, loading } => {
                self.one_factor.reset(quality, variance, loading, uncertainty_scale, all);
                self.one_factor.estimate(all)
            }
        })
    }
}

/// The lowest and the highest value among some models.
fn ends(values: &[f64], models: ModelSet) -> (f64, f64) {
    let none = (f64::INFINITY, f64::NEG_INFINITY);
    models.iter().map(|j| values[j]).fold(none, |(low, high), x| (low.min(x), high.max(x)))
}

/// Distance between the highest and the lowest value among some models.
fn spread(values: &[f64], models: ModelSet) -> f64 {
    let (low, high) = ends(values, models);
    high - low
}

/// Largest absolute value among some models.
fn magnitude(values: &[f64], models: ModelSet) -> f64 {
    models.iter().map(|j| values[j]).fold(0.0, |largest: f64, x| largest.max(x.abs()))
}

/// v(set) by an evaluator, its members added in increasing order.
pub fn value_of<E: ExpectedMax>(evaluator: &mut E, set: ModelSet) -> f64 {
    evaluator.prepare(ModelSet::EMPTY, set, set.len());
    let mut state = vec![0.0; evaluator.n_points()];
    let mut next = state.clone();
    let mut value = evaluator.start(&mut state);
    for model in set.iter() {
        value += evaluator.gain(&state, model);
        evaluator.extend(&state, model, &mut next);
        std::mem::swap(&mut state, &mut next);
    }
    value
}
