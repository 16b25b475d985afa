//! The value of a set of correlated normals.
//!
//! v(S) depends on the means and on the variances of the differences alone: what is added to all models alike, in whatever
//! way it hangs together with them, moves their maximum by nothing on average. So
//! - the closed forms of the bounds ask for no more than a pair ([`ClosedForms`], Clark's gain): most decisions need nothing else;
//! - where there are `d_i` >= 0 with Var(`Q_i` - `Q_j`) = `d_i` + `d_j` for all pairs in play, v is that of *independent* models of
//!   variances d. Three models have such d unless one of their correlations, their average taken off, is positive;
//! - otherwise v is an average over fixed points, of the running maximum: Q = mean + L z at the points z of [`NormalPoints`],
//!   with L the pivoted Cholesky factor of the covariance in play, the average of the models taken off. The state of a set
//!   is the maximum of its members per point.
//!
//! Accuracy of a search, which has 1024 points, in units of the largest standard deviation: 2e-4 times the number of models in
//! play in root mean square, and 1.5e-3 times that at most, measured on 25,000 random covariances of 3 to 12 models.
//!
//! Complexity: O(k^3 / 6) to check the covariance; O(points) per gain, O(points x rank) once per model in play.

use super::factor::{EXPLAINED, Factor, check_semidefinite};
use super::independent::{IndependentMax, Prepared};
use super::lanes::{add_multiples, approach, fill_larger, raise, rank, sum, sum_of_excesses};
use super::points::N_REPLICATES;
use super::{ClosedForms, Estimate, ExpectedMax, NormalPoints, magnitude};
use crate::error::Result;
use crate::model_set::ModelSet;

/// 99% two-sided quantile of Student's t with 7 degrees of freedom, for the mean of eight replicates.
const STUDENT_7: f64 = 3.499;

/// How many levels a tangent tries for many models: each costs as much as a list of gains, and the third is the last that
/// pays.
const MOST_LEVELS: u32 = 3;

/// Least share of the largest variance whose [`EXPLAINED`] part counts as rounding: what is below moves no sample by more than
/// 1e-7 of the largest standard deviation.
const ROUNDED: f64 = 0.1;

/// Among fewer models, only the first level pays.
const MANY: usize = 13;

/// A covariance as it was given, in part or whole.
#[derive(Debug, Clone, Default)]
struct Joint {
    n_models: usize,
    covariance: Vec<f64>,
}

impl Joint {
    fn covariance(&self, i: usize, j: usize) -> f64 {
        self.covariance[i * self.n_models + j]
    }

    fn variance(&self, model: usize) -> f64 {
        self.covariance(model, model).max(0.0)
    }

    /// Variance of the difference of two models.
    fn distance(&self, i: usize, j: usize) -> f64 {
        let covariance = self.covariance(i, j);
        // Each difference alone is exact where the correlation is near one; the sum minus twice the covariance cancels.
        ((self.variance(i) - covariance) + (self.variance(j) - covariance)).max(0.0)
    }

    /// The variances d of independent models with the same distances between all pairs in play, if there are such.
    fn independent(&self, in_play: ModelSet) -> Option<impl Fn(usize) -> f64> {
        let mut models = in_play.iter();
        let (first, second, third) = (models.next()?, models.next(), models.next());
        let own = match (second, third) {
            (Some(b), Some(c)) => {
                0.5 * ((self.distance(first, b) - self.distance(b, c)) + self.distance(first, c))
            }
            (Some(b), None) => 0.5 * self.distance(first, b),
            _ => 0.0,
        };
        let variance = move |j: usize| if j == first { own } else { self.distance(first, j) - own };
        // Rounding of what the distances are differences of.
        let rounding = |i: usize, j: usize| EXPLAINED * (self.variance(i) + self.variance(j));
        let fits =
            |i: usize, j: usize| (self.distance(i, j) - (variance(i) + variance(j))).abs() <= rounding(i, j);
        let exist = in_play.iter().all(|j| variance(j) >= -rounding(first, j))
            && in_play.iter().all(|i| in_play.iter().take_while(|&j| j < i).all(|j| fits(i, j)));
        exist.then_some(move |j| if in_play.contains(j) { variance(j).max(0.0) } else { 0.0 })
    }
}

/// v of sets of correlated normals.
#[derive(Debug, Clone)]
pub struct CorrelatedMax {
    points: NormalPoints,
    mean: Vec<f64>,
    joint: Joint,
    scale: f64,
    slack: f64,
    prepared: Option<Prepared>,
    /// The independent models of the same value; none in play where there are no such.
    independent: IndependentMax,
    is_independent: bool,
    factor: Factor,
    /// Averages of the covariance's rows over the models in play.
    row_mean: Vec<f64>,
    /// Where the models in play stand in the factor.
    place: Vec<usize>,
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
            joint: Joint::default(),
            scale: 1.0,
            slack: 0.0,
            prepared: None,
            independent: IndependentMax::default(),
            is_independent: false,
            factor: Factor::default(),
            row_mean: Vec::new(),
            place: Vec::new(),
            base: 0.0,
            samples: Vec::new(),
            has_samples: ModelSet::EMPTY,
        }
    }

    /// Checks a covariance of k models.
    ///
    /// # Errors
    /// It is not positive semi-definite.
    pub fn check(&mut self, covariance: &[f64], k: usize) -> Result<()> {
        check_semidefinite(&mut self.factor, covariance, k)
    }

    /// Takes a new belief about the models `in_play`, standard deviations multiplied by `scale`.
    ///
    /// # Errors
    /// A covariance that is not positive semi-definite.
    pub fn reset(
        &mut self,
        quality: &[f64],
        covariance: &[f64],
        scale: f64,
        in_play: ModelSet,
    ) -> Result<()> {
        let k = quality.len();
        self.prepared = None;
        self.check(covariance, k)?;
        self.mean.clear();
        self.mean.extend_from_slice(quality);
        self.joint.n_models = k;
        self.joint.covariance.clear();
        self.joint.covariance.extend_from_slice(covariance);
        self.scale = scale;
        let largest_sd = in_play.iter().map(|j| self.joint.variance(j)).fold(0.0, f64::max).sqrt() * scale;
        // The points are centred: their average of one model is its mean, to rounding.
        self.slack = 1e-7 * largest_sd + 1e-12 * magnitude(quality, in_play);
        Ok(())
    }

    /// Readies the points for the models in play.
    fn place_points(&mut self, in_play: ModelSet) {
        let (n, k) = (in_play.len() as f64, self.mean.len());
        self.place.clear();
        self.place.resize(k, 0);
        self.row_mean.clear();
        for (place, i) in in_play.iter().enumerate() {
            self.place[i] = place;
            self.row_mean.push(in_play.iter().map(|j| self.joint.covariance(i, j)).sum::<f64>() / n);
        }
        let overall = self.row_mean.iter().sum::<f64>() / n;
        let (covariance, row_mean) = (&self.joint.covariance, &self.row_mean);
        let entries = in_play.iter().zip(row_mean).flat_map(|(i, a)| {
            in_play.iter().zip(row_mean).map(move |(j, b)| (covariance[i * k + j] - a) - (b - overall))
        });
        // The average that was taken off leaves rounding of the largest variance in every row.
        let largest = in_play.iter().map(|j| covariance[j * k + j]).fold(0.0, f64::max);
        let own = in_play.iter().map(|j| covariance[j * k + j].max(ROUNDED * largest));
        self.factor.fill(entries, own, in_play.len());
        self.points.grow(self.factor.rank());
        // Below every sample: |L z| <= |L| |z|, and no coordinate of z passes 7 (its uniform has 32 bits).
        let reach = 7.0 * (self.factor.rank() as f64).sqrt() * self.scale;
        let length = |place| self.factor.row(place).map(|x| x * x).sum::<f64>().sqrt();
        self.base = in_play
            .iter()
            .enumerate()
            .map(|(place, j)| self.mean[j] - reach * length(place))
            .fold(f64::INFINITY, f64::min);
        // Rows are written before they are read, so what is in them may stay.
        let n_samples = in_play.len() * self.points.len();
        if self.samples.len() < n_samples {
            self.samples.resize(n_samples, 0.0);
        }
        self.has_samples = ModelSet::EMPTY;
    }

    /// v(set), and its error from the spread of the replicates.
    pub fn estimate(&mut self, set: ModelSet) -> Estimate {
        let mut value = super::value_of(self, set);
        if self.is_independent {
            return Estimate { value, error: self.independent.slack() };
        }
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
        value = means.iter().sum::<f64>() / replicates;
        let variance = means.iter().map(|m| (m - value) * (m - value)).sum::<f64>() / (replicates - 1.0);
        Estimate { value, error: STUDENT_7 * (variance / replicates).sqrt() }
    }

    /// The highest and the second highest of a state and the samples of some models, per point.
    fn rank_members(&mut self, state: &[f64], members: ModelSet, second: &mut [f64], first: &mut [f64]) {
        second.copy_from_slice(state);
        first.copy_from_slice(state);
        for model in members.iter() {
            rank(second, first, self.samples_of(model));
        }
    }

    fn samples_of(&mut self, model: usize) -> &[f64] {
        let n = self.points.len();
        let place = self.place[model];
        let row = place * n..(place + 1) * n;
        if !self.has_samples.contains(model) {
            let samples = &mut self.samples[row.clone()];
            samples.fill(self.mean[model]);
            let mut dimension = 0;
            let mut row = self.factor.row(place).map(|loading| loading * self.scale).peekable();
            while row.peek().is_some() {
                // Past the last loading, zeros of any column.
                let by = std::array::from_fn(|_| row.next().unwrap_or(0.0));
                let z = std::array::from_fn(|at| {
                    self.points.column((dimension + at).min(self.factor.rank() - 1))
                });
                dimension += 4;
                if by != [0.0; 4] {
                    add_multiples(samples, by, z);
                }
            }
            self.has_samples = self.has_samples.with(model);
        }
        &self.samples[row]
    }
}

impl ClosedForms for CorrelatedMax {
    fn mean(&self, model: usize) -> f64 {
        self.mean[model]
    }

    fn sd(&self, model: usize) -> f64 {
        self.joint.variance(model).sqrt() * self.scale
    }

    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        self.joint.distance(a, b).sqrt() * self.scale
    }
}

impl ExpectedMax for CorrelatedMax {
    fn prepare(&mut self, run: ModelSet, candidates: ModelSet, max_added: usize) {
        if self.prepared.is_some_and(|prepared| prepared.serves(run, candidates, max_added)) {
            return;
        }
        let in_play = run.union(candidates);
        let independent = self.joint.independent(in_play);
        self.is_independent = independent.is_some();
        if let Some(variance) = &independent {
            let sd = |j| variance(j).sqrt() * self.scale;
            self.independent.reset_to(self.mean.iter().enumerate().map(|(j, &mean)| (mean, sd(j))), in_play);
        }
        drop(independent);
        if self.is_independent {
            self.independent.prepare(run, candidates, max_added);
        } else {
            self.place_points(in_play);
        }
        self.prepared = Some(Prepared { run, candidates, max_added });
    }

    fn n_points(&self) -> usize {
        if self.is_independent { self.independent.n_points() } else { self.points.len() }
    }

    fn start(&self, state: &mut [f64]) -> f64 {
        if self.is_independent {
            return self.independent.start(state);
        }
        state.fill(self.base);
        self.base
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        if self.is_independent {
            return self.independent.gain(state, model);
        }
        sum_of_excesses(self.samples_of(model), state) / state.len() as f64
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        if self.is_independent {
            return self.independent.extend(state, model, next);
        }
        fill_larger(next, state, self.samples_of(model));
    }

    /// For any level y per point, max of T <= y + the sum of (x - y)+ over T, with equality where y lies between the highest and
    /// the second highest of T. The first level is tight at `at`; the others are steps of the subgradient method towards the
    /// lowest bound (the dual of a facility location problem).
    fn tangent(
        &mut self,
        state: &[f64],
        at: ModelSet,
        models: ModelSet,
        buffer: &mut Vec<f64>,
        weights: &mut [f64],
    ) -> f64 {
        if self.is_independent {
            return self.independent.tangent(state, at, models, buffer, weights);
        }
        let n = state.len();
        let average = |values: &[f64]| sum(values) / n as f64;
        buffer.clear();
        buffer.extend_from_slice(weights);
        buffer.resize(weights.len() + 3 * n, 0.0);
        let (prices, rows) = buffer.split_at_mut(weights.len());
        let (level, rows) = rows.split_at_mut(n);
        let (second, first) = rows.split_at_mut(n);
        self.rank_members(state, at, second, first);
        let middle = if at.len() > 1 { 0.5 * (average(second) + average(first)) } else { average(first) };
        level.copy_from_slice(second);
        raise(level, middle, first);
        let most = self.prepared.map_or(at.len(), |prepared| prepared.max_added);
        let n_levels = if models.len() < MANY { 1 } else { MOST_LEVELS };
        for step in 1..=n_levels {
            for model in models.iter() {
                weights[model] = prices[model] + sum_of_excesses(self.samples_of(model), level) / n as f64;
            }
            if step < n_levels {
                // The bound is attained by the heaviest set; the level moves to where that set's own bound is tight.
                self.rank_members(state, heaviest(weights, models, most), second, first);
                approach(level, 1.0 / f64::from(step), second, first);
            }
        }
        average(level) - average(state)
    }

    fn slack(&self) -> f64 {
        self.slack
    }

    fn agrees_on_pairs(&self) -> bool {
        false
    }

    fn interchangeable(&self, _a: usize, _b: usize) -> bool {
        false
    }
}

/// The models of the largest positive weights, `most` of them or fewer.
fn heaviest(weights: &[f64], models: ModelSet, most: usize) -> ModelSet {
    let mut chosen = ModelSet::EMPTY;
    while chosen.len() < most {
        let left = models.minus(chosen).iter().filter(|&j| weights[j] > 0.0);
        let Some(next) = left.reduce(|a, b| if weights[b] > weights[a] { b } else { a }) else { break };
        chosen = chosen.with(next);
    }
    chosen
}
