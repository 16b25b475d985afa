//! The value of a set of correlated normals: an average over fixed points, of the running maximum.
//!
//! Q = mean + L z at the points z of [`NormalPoints`], with L the pivoted Cholesky factor of the covariance. The state of a
//! set is the maximum of its members per point. Complexity: O(points) per gain, O(points x rank) once per model.

use super::points::N_REPLICATES;
use super::{Estimate, ExpectedMax, NormalPoints};
use crate::belief::COVARIANCE_TOLERANCE;
use crate::error::{Error, Result};
use crate::model_set::ModelSet;

/// 99% two-sided quantile of Student's t with 7 degrees of freedom, for the mean of eight replicates.
const STUDENT_7: f64 = 3.499;

/// The fraction of a model's variance that counts as rounding of the factorisation.
const EXPLAINED: f64 = 1e-13;

/// A factor L of a covariance L L', row by row, with as many columns as the covariance has rank.
#[derive(Debug, Clone, Default)]
pub struct Factor {
    rows: Vec<f64>,
    rank: usize,
    k: usize,
}

impl Factor {
    /// Factors a symmetric k x k matrix by Cholesky's method with complete pivoting.
    ///
    /// # Errors
    /// A pivot below zero by more than rounding: the matrix is not positive semi-definite.
    pub fn new(covariance: &[f64], k: usize) -> Result<Self> {
        let largest = (0..k).map(|j| covariance[j * k + j].abs()).fold(0.0, f64::max);
        let tolerance = COVARIANCE_TOLERANCE * largest;
        let not_semidefinite = |model, value| Error::NotPositiveSemidefinite { model, value, tolerance };
        let mut rest = covariance.to_vec();
        let mut rows = vec![0.0; k * k];
        let mut left: Vec<usize> = (0..k).collect();
        let mut rank = 0;
        while !left.is_empty() {
            if let Some(&j) = left.iter().find(|&&j| rest[j * k + j] < -tolerance) {
                return Err(not_semidefinite(j, rest[j * k + j]));
            }
            // A model whose variance is explained, to rounding of its own size, has no part in the rest.
            let open = (0..left.len()).filter(|&i| {
                let own = left[i] * k + left[i];
                rest[own] > EXPLAINED * covariance[own]
            });
            let highest = open
                .reduce(|a, b| if rest[left[b] * k + left[b]] > rest[left[a] * k + left[a]] { b } else { a });
            let Some(at) = highest else {
                // No variance is left, so no covariance may be: |c_ij| <= sqrt(c_ii c_jj).
                for &i in &left {
                    if let Some(&j) =
                        left.iter().find(|&&j| j != i && rest[i * k + j].abs() > 2.0 * tolerance)
                    {
                        return Err(not_semidefinite(i, -rest[i * k + j].abs()));
                    }
                }
                break;
            };
            let pivot = left.swap_remove(at);
            let root = rest[pivot * k + pivot].sqrt();
            rows[pivot * k + rank] = root;
            for &i in &left {
                rows[i * k + rank] = rest[i * k + pivot] / root;
            }
            for &i in &left {
                for &j in &left {
                    rest[i * k + j] -= rows[i * k + rank] * rows[j * k + rank];
                }
            }
            rank += 1;
        }
        Ok(Self { rows, rank, k })
    }

    fn row(&self, model: usize) -> &[f64] {
        &self.rows[model * self.k..][..self.rank]
    }
}

/// v of sets of correlated normals.
#[derive(Debug, Clone)]
pub struct CorrelatedMax {
    points: NormalPoints,
    mean: Vec<f64>,
    factor: Factor,
    scale: f64,
    base: f64,
    /// Quality at each point, one row per model, computed on first use.
    samples: Vec<f64>,
    has_samples: ModelSet,
}

impl CorrelatedMax {
    /// An evaluator with eight replicates of `per_replicate` points (a power of two).
    pub fn new(per_replicate: usize) -> Self {
        Self {
            points: NormalPoints::new(per_replicate),
            mean: Vec::new(),
            factor: Factor::default(),
            scale: 1.0,
            base: 0.0,
            samples: Vec::new(),
            has_samples: ModelSet::EMPTY,
        }
    }

    /// Takes a new belief, standard deviations multiplied by `scale`.
    pub fn reset(&mut self, quality: &[f64], factor: Factor, scale: f64) {
        self.points.grow(factor.rank);
        self.mean.clear();
        self.mean.extend_from_slice(quality);
        self.scale = scale;
        self.samples.clear();
        self.samples.resize(quality.len() * self.points.len(), 0.0);
        self.has_samples = ModelSet::EMPTY;
        // Below every sample: |L z| <= |L| |z|, and no coordinate of z passes 7 (its uniform has 32 bits).
        let reach = 7.0 * (factor.rank as f64).sqrt() * scale;
        self.base = (0..quality.len())
            .map(|j| quality[j] - reach * factor.row(j).iter().map(|x| x * x).sum::<f64>().sqrt())
            .fold(f64::INFINITY, f64::min);
        self.factor = factor;
    }

    /// v(set), and its error from the spread of the replicates.
    pub fn estimate(&mut self, set: ModelSet) -> Estimate {
        let n = self.points.len();
        let mut state = vec![0.0; n];
        let mut next = vec![0.0; n];
        self.start(&mut state);
        for model in set.iter() {
            self.extend(&state, model, &mut next);
            std::mem::swap(&mut state, &mut next);
        }
        let means: Vec<f64> = state
            .chunks_exact(self.points.per_replicate())
            .map(|part| part.iter().sum::<f64>() / part.len() as f64)
            .collect();
        let replicates = N_REPLICATES as f64;
        let value = means.iter().sum::<f64>() / replicates;
        let variance = means.iter().map(|m| (m - value) * (m - value)).sum::<f64>() / (replicates - 1.0);
        Estimate { value, error: STUDENT_7 * (variance / replicates).sqrt() }
    }

    fn samples_of(&mut self, model: usize) -> &[f64] {
        let n = self.points.len();
        let row = model * n..(model + 1) * n;
        if !self.has_samples.contains(model) {
            let samples = &mut self.samples[row.clone()];
            samples.fill(self.mean[model]);
            for (dimension, loading) in self.factor.row(model).iter().enumerate() {
                let loading = loading * self.scale;
                for (sample, z) in samples.iter_mut().zip(self.points.column(dimension)) {
                    *sample += loading * z;
                }
            }
            self.has_samples = self.has_samples.with(model);
        }
        &self.samples[row]
    }
}

impl ExpectedMax for CorrelatedMax {
    fn prepare(&mut self, _run: ModelSet, _candidates: ModelSet, _max_added: usize) {}

    fn n_points(&self) -> usize {
        self.points.len()
    }

    fn start(&self, state: &mut [f64]) -> f64 {
        state.fill(self.base);
        self.base
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        let n = state.len() as f64;
        mean_excess(self.samples_of(model), |at| state[at], n)
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        for ((next, highest), sample) in next.iter_mut().zip(state).zip(self.samples_of(model)) {
            *next = highest.max(*sample);
        }
    }

    fn mean(&self, model: usize) -> f64 {
        self.mean[model]
    }

    fn excess(&mut self, model: usize, level: f64) -> f64 {
        let n = self.points.len() as f64;
        mean_excess(self.samples_of(model), |_| level, n)
    }

    fn gain_bound(&self, _member: usize, _model: usize) -> f64 {
        // Clark's closed form bounds the expectation, not the average over these points.
        f64::INFINITY
    }

    fn slack(&self) -> f64 {
        // The points are centred: their average of one model is its mean, to rounding.
        1e-12 * (self.mean.iter().fold(0.0, |largest: f64, m| largest.max(m.abs())) + self.base.abs())
    }

    fn interchangeable(&self, _a: usize, _b: usize) -> bool {
        false
    }
}

/// Average of (sample - level at its point)+, summed in four interleaved parts of fixed order.
fn mean_excess(samples: &[f64], level: impl Fn(usize) -> f64, n: f64) -> f64 {
    let mut parts = [0.0; 4];
    for (at, sample) in samples.iter().enumerate() {
        parts[at % 4] += (sample - level(at)).max(0.0);
    }
    ((parts[0] + parts[1]) + (parts[2] + parts[3])) / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_rebuilds_the_matrix_at_any_rank() {
        let full = [4.0, 2.0, 1.0, 2.0, 3.0, 0.5, 1.0, 0.5, 2.0];
        let flat = [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 4.0];
        for (covariance, rank) in [(full, 3), (flat, 1), ([0.0; 9], 0)] {
            let factor = Factor::new(&covariance, 3).unwrap();
            assert_eq!(factor.rank, rank);
            for i in 0..3 {
                for j in 0..3 {
                    let rebuilt: f64 = factor.row(i).iter().zip(factor.row(j)).map(|(a, b)| a * b).sum();
                    assert!((rebuilt - covariance[i * 3 + j]).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn indefinite_matrices_are_refused_with_the_pivot() {
        let negative = [1.0, 0.0, 0.0, -0.5];
        assert!(matches!(Factor::new(&negative, 2), Err(Error::NotPositiveSemidefinite { model: 1, .. })));
        let too_correlated = [1.0, 1.5, 1.5, 1.0];
        assert!(
            matches!(Factor::new(&too_correlated, 2), Err(Error::NotPositiveSemidefinite { value, .. }) if value < -1.0)
        );
        let no_variance = [0.0, 0.1, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 1.0];
        assert!(Factor::new(&no_variance, 3).is_err());
    }
}
