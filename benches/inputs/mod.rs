//! The problems that benches, the instruction gate and the memory tests decide.
//!
//! "Typical": the runtime study of Dekoninck et al. 2025: quality, cost and cost weight uniform on [0, 1], variance 0.01.
//! "Hard": qualities within 0.1, costs 50 times smaller, standard deviations 0.1 to 0.3.

use headrace::belief::{Belief, Uncertainty};
use headrace::search::Problem;

/// Problems of one kind.
pub const N_PROBLEMS: usize = 64;

/// The numbers of one problem.
pub struct Input {
    /// Means.
    pub quality: Vec<f64>,
    /// Costs.
    pub cost: Vec<f64>,
    /// Variances, where qualities are independent.
    pub variance: Vec<f64>,
    /// With `own`, the same standard deviations, half of the variance or so from one factor.
    pub loading: Vec<f64>,
    /// Variances of what is each model's own.
    pub own: Vec<f64>,
    /// The one-factor belief as a full matrix.
    pub covariance: Vec<f64>,
    /// Lambda.
    pub cost_weight: f64,
}

/// Which of an input's uncertainties is taken.
pub type Spread = for<'a> fn(&'a Input) -> Uncertainty<'a>;

/// The variances alone.
pub const INDEPENDENT: Spread = |input| Uncertainty::Independent(&input.variance);
/// The loadings and what is each model's own.
pub const ONE_FACTOR: Spread =
    |input| Uncertainty::OneFactor { variance: &input.own, loading: &input.loading };
/// The full matrix.
pub const CORRELATED: Spread = |input| Uncertainty::Correlated(&input.covariance);

impl Input {
    /// The problem with nothing run.
    pub fn problem(&self, spread: Spread) -> Problem<'_> {
        let belief = Belief::new(&self.quality, spread(self)).expect("a valid belief");
        Problem::new(belief, &self.cost).expect("valid costs")
    }
}

/// The problems of `k` models; the same in every run.
pub fn inputs(k: usize, hard: bool) -> Vec<Input> {
    let mut state = 1_u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (spread, price) = if hard { (0.1, 0.02) } else { (1.0, 1.0) };
    (0..N_PROBLEMS)
        .map(|_| {
            let quality = (0..k).map(|_| spread * uniform()).collect();
            let cost = (0..k).map(|_| price * uniform()).collect();
            let variance: Vec<f64> =
                (0..k).map(|_| if hard { (0.1 + 0.2 * uniform()).powi(2) } else { 0.01 }).collect();
            let cost_weight = uniform();
            let loading: Vec<f64> = variance.iter().map(|v| v.sqrt() * (0.5 + 0.4 * uniform())).collect();
            let own: Vec<f64> = variance.iter().zip(&loading).map(|(v, b)| v - b * b).collect();
            let entry = |i: usize, j: usize| loading[i] * loading[j] + if i == j { own[i] } else { 0.0 };
            let covariance = (0..k * k).map(|at| entry(at / k, at % k)).collect();
            Input { quality, cost, variance, loading, own, covariance, cost_weight }
        })
        .collect()
}
