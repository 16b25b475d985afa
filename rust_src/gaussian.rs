//! Regressions of some variables of a Gaussian on others, for many run sets at once.
//!
//! Features belong to sets of models: a feature is known once all of its models have run. After the models R have run,
//! with A the features known then, y the targets and Sigma the covariance of all variables,
//!
//! - weights  `W_R = Sigma_AA^-1 Sigma_Ay`,  so that the estimate is mean + (A - mean)' `W_R`
//! - residual `Sigma_yy - Sigma_yA W_R`,     the covariance of y that is left once A is known.
//!
//! Both come from Gauss-Jordan elimination (the sweep operator): to know one more variable p turns the array
//! `[Sigma_AA^-1 Sigma_AB; Sigma_BB - Sigma_BA Sigma_AA^-1 Sigma_AB]`, of which B are all other variables, into that of A
//! and p. Run sets share their beginnings: they are the leaves of a tree that decides model after model, and each of its
//! nodes is eliminated once, with those variables only that a run set below it needs.
//!
//! **Cost.** All 2^k sets: about 2 `n_targets` products per entry of `W_R` and per feature of the last model; one set: O(n^3).
//!
//! **Determinism.** The pivots of a run set are taken in one order, whatever the other sets are: same bits.
//!
//! Reference: Goodnight, "A tutorial on the SWEEP operator" (The American Statistician 33, 1979).

use crate::error::{Error, Result};
use crate::model_set::ModelSet;

/// A pivot below this share of the variable's variance is rounding: the variable is known from those before it.
const LEAST_PIVOT: f64 = 1e-13;

/// What some known features tell of the targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Regression {
    /// The features known, in increasing order.
    pub known: Vec<usize>,
    /// One row per known feature, one column per target.
    pub weights: Vec<f64>,
    /// Covariance of the targets that is left.
    pub residual: Vec<f64>,
}

/// The regressions of the targets on what is known after each of some run sets.
///
/// `covariance` has `n_variables` rows: the features, whose models are `members`, then the targets.
///
/// # Errors
///
/// [`Error::Setting`] where the sizes don't fit, [`Error::NotPositiveDefinite`] where the covariance isn't that of features
/// none of which follows from others.
pub fn regressions(
    covariance: &[f64],
    n_variables: usize,
    members: &[ModelSet],
    runs: &[ModelSet],
) -> Result<Vec<Regression>> {
    let wrong = |name, wanted, got: usize| Error::Setting { name, wanted, got: got.to_string() };
    if covariance.len() != n_variables * n_variables {
        return Err(wrong("covariance", "one entry per pair of variables", covariance.len()));
    }
    if members.len() > n_variables {
        return Err(wrong("members", "at most one entry per variable", members.len()));
    }
    if let Some(at) = covariance.iter().position(|x| !x.is_finite()) {
        return Err(Error::NotPositiveDefinite { variable: at / n_variables, value: covariance[at] });
    }
    let start = Swept {
        known: Vec::new(),
        open: (0..n_variables).collect(),
        stride: n_variables,
        entries: covariance.to_vec(),
    };
    let mut tree = Tree { covariance, n_variables, members, runs, found: vec![None; runs.len()] };
    tree.descend(&start, ModelSet::EMPTY, 0, &(0..runs.len()).collect::<Vec<_>>())?;
    Ok(tree.found.into_iter().flatten().collect())
}

/// The run sets as leaves, and what has been found at them.
struct Tree<'a> {
    covariance: &'a [f64],
    n_variables: usize,
    members: &'a [ModelSet],
    runs: &'a [ModelSet],
    found: Vec<Option<Regression>>,
}

impl Tree<'_> {
    /// Finds the regressions of the run sets `leaves`, which agree with `decided` on all models below `model`.
    fn descend(&mut self, above: &Swept, decided: ModelSet, model: usize, leaves: &[usize]) -> Result<()> {
        let some = leaves.iter().fold(ModelSet::EMPTY, |all, &leaf| all.union(self.runs[leaf]));
        let step = self.step(above, decided, some)?;
        let swept = step.as_ref().unwrap_or(above);
        // The models that none of them runs need no decision.
        let Some(next) = some.iter().find(|&j| j >= model) else {
            for &leaf in leaves {
                self.found[leaf] = Some(swept.regression());
            }
            return Ok(());
        };
        let (with, without): (Vec<usize>, Vec<usize>) =
            leaves.iter().partition(|&&leaf| self.runs[leaf].contains(next));
        if !without.is_empty() {
            self.descend(swept, decided, next + 1, &without)?;
        }
        self.descend(swept, decided.with(next), next + 1, &with)
    }

    /// Eliminates the features that are known once `decided` has run, and drops those that no run set in `some` needs.
    fn step(&self, above: &Swept, decided: ModelSet, some: ModelSet) -> Result<Option<Swept>> {
        let within =
            |v: usize, set: ModelSet| self.members.get(v).is_some_and(|models| models.is_subset(set));
        let (pivots, rest): (Vec<usize>, Vec<usize>) =
            (0..above.open.len()).partition(|&at| within(above.open[at], decided));
        let kept: Vec<usize> = rest
            .into_iter()
            .filter(|&at| above.open[at] >= self.members.len() || within(above.open[at], some))
            .collect();
        if kept.len() == above.open.len() {
            return Ok(None);
        }
        let mut swept = above.reordered(&pivots, &kept);
        let mut scratch = vec![0.0; swept.stride];
        for (i, &at) in pivots.iter().enumerate() {
            let variable = above.open[at];
            let least = LEAST_PIVOT * self.covariance[variable * self.n_variables + variable];
            let value = swept.eliminate(above.known.len() + i, swept.stride - 1 - i, &mut scratch);
            if value.is_nan() || value <= least {
                return Err(Error::NotPositiveDefinite { variable, value });
            }
        }
        Ok(Some(swept))
    }
}

/// The array after some pivots: a row per known variable, then one per open variable; a column per open variable.
struct Swept {
    known: Vec<usize>,
    open: Vec<usize>,
    /// Entries per row: more than there are columns where pivots have been taken, which come last.
    stride: usize,
    entries: Vec<f64>,
}

impl Swept {
    /// Copies the rows and columns that are still needed; the rows of `pivots` join those of what is known.
    fn reordered(&self, pivots: &[usize], kept: &[usize]) -> Self {
        // The first pivot's column comes last: what is right of a pivot's column is never looked at again.
        let columns: Vec<usize> = kept.iter().chain(pivots.iter().rev()).copied().collect();
        let first_open = self.known.len();
        let rows = (0..first_open).chain(pivots.iter().chain(kept).map(|at| first_open + at));
        let mut entries = Vec::with_capacity((first_open + columns.len()) * columns.len());
        for row in rows {
            let from = &self.entries[row * self.stride..][..self.open.len()];
            entries.extend(columns.iter().map(|&column| from[column]));
        }
        Self {
            known: self.known.iter().copied().chain(pivots.iter().map(|&at| self.open[at])).collect(),
            open: kept.iter().map(|&at| self.open[at]).collect(),
            stride: columns.len(),
            entries,
        }
    }

    /// Takes one pivot; gives its value.
    fn eliminate(&mut self, row: usize, column: usize, scratch: &mut [f64]) -> f64 {
        let pivot = self.entries[row * self.stride + column];
        let scaled = &mut scratch[..column];
        for (s, x) in scaled.iter_mut().zip(&self.entries[row * self.stride..]) {
            *s = x / pivot;
        }
        for (i, other) in self.entries.chunks_exact_mut(self.stride).enumerate() {
            if i == row {
                other[..column].copy_from_slice(scaled);
            } else {
                let factor = other[column];
                for (x, s) in other[..column].iter_mut().zip(&*scaled) {
                    *x -= factor * s;
                }
            }
        }
        pivot
    }

    /// What is left to read off once no feature is open.
    fn regression(&self) -> Regression {
        let mut order: Vec<usize> = (0..self.known.len()).collect();
        order.sort_unstable_by_key(|&row| self.known[row]);
        let rows = |row: usize| &self.entries[row * self.stride..][..self.open.len()];
        Regression {
            known: order.iter().map(|&row| self.known[row]).collect(),
            weights: order.iter().flat_map(|&row| rows(row)).copied().collect(),
            residual: (self.known.len()..self.known.len() + self.open.len())
                .flat_map(rows)
                .copied()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two features of no model, one per model, one per pair of them; two targets.
    fn members(n_models: usize) -> Vec<ModelSet> {
        let pairs = (0..n_models).flat_map(|j| (0..j).map(move |i| ModelSet::of(i).with(j)));
        [ModelSet::EMPTY; 2].into_iter().chain((0..n_models).map(ModelSet::of)).chain(pairs).collect()
    }

    /// G G' + I of a matrix of numbers without a pattern.
    fn covariance(d: usize) -> Vec<f64> {
        let g: Vec<f64> = (0..d * d).map(|i| (1.7 * (i * i) as f64).sin()).collect();
        let entry = |i: usize, j: usize| (0..d).map(|l| g[i * d + l] * g[j * d + l]).sum::<f64>();
        (0..d * d).map(|at| entry(at / d, at % d) + if at / d == at % d { 1.0 } else { 0.0 }).collect()
    }

    #[test]
    fn weights_solve_the_normal_equations_and_the_residual_is_what_is_left() {
        for n_models in 1..5 {
            let members = members(n_models);
            let d = members.len() + 2;
            let sigma = covariance(d);
            let runs: Vec<ModelSet> = (0..1_u128 << n_models).map(ModelSet::from_bits).collect();
            for (run, found) in runs.iter().zip(regressions(&sigma, d, &members, &runs).unwrap()) {
                let known: Vec<usize> = (0..members.len()).filter(|&v| members[v].is_subset(*run)).collect();
                assert_eq!(found.known, known);
                for target in 0..2 {
                    let explained = |v: usize| -> f64 {
                        known
                            .iter()
                            .zip(found.weights.chunks(2))
                            .map(|(a, w)| sigma[v * d + a] * w[target])
                            .sum()
                    };
                    for &v in &known {
                        assert!((explained(v) - sigma[v * d + d - 2 + target]).abs() < 1e-11);
                    }
                    for other in 0..2 {
                        let v = d - 2 + other;
                        let left = sigma[v * d + d - 2 + target] - explained(v);
                        assert!((found.residual[2 * other + target] - left).abs() < 1e-11);
                    }
                }
            }
        }
    }

    #[test]
    fn a_run_set_alone_gives_the_same_bits_as_among_others() {
        let members = members(4);
        let d = members.len() + 2;
        let sigma = covariance(d);
        let runs: Vec<ModelSet> = [9, 0, 15, 9, 6].map(ModelSet::from_bits).into();
        let together = regressions(&sigma, d, &members, &runs).unwrap();
        for (&run, found) in runs.iter().zip(together) {
            assert_eq!(regressions(&sigma, d, &members, &[run]).unwrap(), [found]);
        }
        assert!(regressions(&sigma, d, &members, &[]).unwrap().is_empty());
    }

    #[test]
    fn without_features_nothing_is_told() {
        let run = [ModelSet::of(0)];
        let found = regressions(&[2.0], 1, &[], &run).unwrap();
        assert_eq!(found, [Regression { known: vec![], weights: vec![], residual: vec![2.0] }]);
        assert!(regressions(&[], 0, &[], &run).unwrap()[0].residual.is_empty());
    }

    #[test]
    fn what_is_not_a_covariance_is_refused() {
        let of = [ModelSet::EMPTY; 2];
        let refused = |entries: [f64; 4]| match regressions(&entries, 2, &of, &[ModelSet::EMPTY]) {
            Err(Error::NotPositiveDefinite { variable, .. }) => variable,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused([1.0, 2.0, 2.0, 1.0]), 1);
        assert_eq!(refused([1.0, 1.0, 1.0, 1.0]), 1);
        assert_eq!(refused([0.0, 0.0, 0.0, 1.0]), 0);
        assert_eq!(refused([1.0, 0.0, f64::NAN, 1.0]), 1);
        assert!(matches!(regressions(&[1.0], 2, &of, &[]), Err(Error::Setting { name: "covariance", .. })));
        assert!(matches!(regressions(&[1.0], 1, &of, &[]), Err(Error::Setting { name: "members", .. })));
    }
}
