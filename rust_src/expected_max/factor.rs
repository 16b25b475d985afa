//! The pivoted Cholesky factor of a covariance, and whether the covariance is positive semi-definite.
//!
//! Sigma = L L', with as many columns in L as Sigma has rank. A matrix is checked by Gauss's elimination first, which is
//! cheaper; only where that meets a pivot that is not positive is the factor found, and what it leaves must be rounding.
//!
//! Complexity: O(k^3 / 6) to check, O(k^2 rank) to factor.

use crate::belief::COVARIANCE_TOLERANCE;
use crate::error::{Error, Result};
use crate::model_set::ModelSet;

/// The fraction of a model's variance that counts as rounding of the factorisation.
pub(super) const EXPLAINED: f64 = 1e-13;

/// A factor L of a covariance L L', with as many columns as the covariance has rank.
#[derive(Debug, Clone, Default)]
pub(super) struct Factor {
    k: usize,
    rank: usize,
    /// L, column by column.
    columns: Vec<f64>,
    /// What the columns don't explain.
    rest: Vec<f64>,
    /// The variances whose rounding counts.
    own: Vec<f64>,
}

impl Factor {
    /// Number of columns.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Factors a symmetric k x k matrix by Cholesky's method with complete pivoting. What is left of a variance counts as
    /// rounding below [`EXPLAINED`] of `own`.
    pub fn fill(&mut self, matrix: impl Iterator<Item = f64>, own: impl Iterator<Item = f64>, k: usize) {
        self.k = k;
        self.rank = 0;
        self.columns.clear();
        self.rest.clear();
        self.rest.extend(matrix);
        self.own.clear();
        self.own.extend(own);
        let mut left = ModelSet::first(k);
        loop {
            let open = left.iter().filter(|&j| self.rest[j * k + j] > EXPLAINED * self.own[j]);
            let highest = open.reduce(|a, b| if self.rest[b * k + b] > self.rest[a * k + a] { b } else { a });
            let Some(pivot) = highest else { return };
            left = left.minus(ModelSet::of(pivot));
            let root = self.rest[pivot * k + pivot].sqrt();
            let from = self.columns.len();
            self.columns.extend(self.rest[pivot * k..][..k].iter().map(|entry| entry / root));
            let column = &mut self.columns[from..];
            column[pivot] = root;
            for (row, &loading) in self.rest.chunks_exact_mut(k).zip(column.iter()) {
                for (entry, other) in row.iter_mut().zip(column.iter()) {
                    *entry -= loading * other;
                }
            }
            // A pivot is explained for good: rounding in its row is no part of later columns.
            for j in 0..k {
                self.rest[pivot * k + j] = 0.0;
                self.rest[j * k + pivot] = 0.0;
            }
            self.rank += 1;
        }
    }

    /// Is the matrix that was factored positive semi-definite, to the tolerance?
    fn check(&self, tolerance: f64) -> Result<()> {
        let k = self.k;
        for i in 0..k {
            let variance = self.rest[i * k + i];
            // No variance is left, so no covariance may be: |c_ij| <= sqrt(c_ii c_jj).
            let off = (0..k).filter(|&j| j != i).map(|j| self.rest[i * k + j].abs()).fold(0.0, f64::max);
            if variance < -tolerance || off > 2.0 * tolerance {
                return Err(Error::NotPositiveSemidefinite {
                    model: i,
                    value: variance.min(-off),
                    tolerance,
                });
            }
        }
        Ok(())
    }

    /// The entries of L in the row of a model.
    pub fn row(&self, model: usize) -> impl Iterator<Item = f64> {
        self.columns.chunks_exact(self.k).map(move |column| column[model])
    }
}

/// Is a symmetric k x k matrix positive semi-definite? `factor` is the buffer.
pub(super) fn check_semidefinite(factor: &mut Factor, covariance: &[f64], k: usize) -> Result<()> {
    // Gauss's elimination without a change of order: where all its pivots are positive, the matrix is definite.
    let rest = &mut factor.rest;
    rest.clear();
    rest.extend_from_slice(covariance);
    let mut is_definite = true;
    let mut below = &mut rest[..];
    for pivot in 0..k {
        let (row, later) = below.split_at_mut(k);
        let own = covariance[pivot * k + pivot];
        // The reciprocal of what is smaller than a normal number overflows.
        if row[pivot].is_nan()
            || row[pivot] <= EXPLAINED * own
            || row[pivot] < f64::MIN_POSITIVE
            || own <= 0.0
        {
            is_definite = false;
            break;
        }
        let reciprocal = 1.0 / row[pivot];
        for (at, other) in later.chunks_exact_mut(k).enumerate() {
            let column = pivot + 1 + at;
            let multiple = row[column] * reciprocal;
            for (entry, above) in other[column..].iter_mut().zip(&row[column..]) {
                *entry -= multiple * above;
            }
        }
        below = later;
    }
    if is_definite {
        return Ok(());
    }
    let variances = (0..k).map(|j| covariance[j * k + j]);
    let largest = variances.clone().map(f64::abs).fold(0.0, f64::max);
    factor.fill(covariance.iter().copied(), variances, k);
    factor.check((COVARIANCE_TOLERANCE * largest).max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_rebuilds_the_matrix_at_any_rank() {
        let full = [4.0, 2.0, 1.0, 2.0, 3.0, 0.5, 1.0, 0.5, 2.0];
        let flat = [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 4.0];
        for (covariance, rank) in [(full, 3), (flat, 1), ([0.0; 9], 0)] {
            let mut factor = Factor::default();
            factor.fill(covariance.iter().copied(), [4.0, 3.0, 4.0].into_iter(), 3);
            assert_eq!(factor.rank, rank);
            for i in 0..3 {
                for j in 0..3 {
                    let rebuilt: f64 = factor.row(i).zip(factor.row(j)).map(|(a, b)| a * b).sum();
                    assert!((rebuilt - covariance[i * 3 + j]).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn indefinite_matrices_are_refused_with_the_pivot() {
        let check = |covariance: &[f64], k| check_semidefinite(&mut Factor::default(), covariance, k);
        assert!(matches!(
            check(&[1.0, 0.0, 0.0, -0.5], 2),
            Err(Error::NotPositiveSemidefinite { model: 1, .. })
        ));
        assert!(
            matches!(check(&[1.0, 1.5, 1.5, 1.0], 2), Err(Error::NotPositiveSemidefinite { value, .. }) if value < -1.0)
        );
        assert!(check(&[0.0, 0.1, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 1.0], 3).is_err());
        assert_eq!(check(&[4.0, 2.0, 1.0, 2.0, 3.0, 0.5, 1.0, 0.5, 2.0], 3), Ok(()));
        assert_eq!(check(&[1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 4.0], 3), Ok(()));
        assert_eq!(check(&[0.0; 9], 3), Ok(()));
    }
}
