//! The value of a set of independent normals: one integral over a grid that all sets of a decision share.
//!
//! With F the CDFs, E[max] = t0 + integral over t > t0 of (1 - product of F(t)) for any t0 below every member, and the gain
//! of model j on top of S is the integral of (product over S of F(t)) (1 - `F_j(t)`): a sum of non-negative terms, free of
//! cancellation. A model without uncertainty is a step, and steps lie on panel edges, so they cost no accuracy.
//!
//! The grid: panels of 16 Gauss-Legendre nodes, so narrow that no standard deviation at work inside one is met by fewer
//! than [`nodes_per_sd`] nodes. Where scales are alike the panels are equal; towards a model of much smaller scale they
//! are halved. Rows of tails are computed when a model is first asked for.
//!
//! Complexity: O(nodes) per gain, O(nodes) normal tails per model. Typical: 32 to 64 nodes.

use super::lanes::{LEAST_CDF, dot, fill_hazards, fill_products, fill_tails};
use super::{ClosedForms, ExpectedMax, spread};
use crate::model_set::ModelSet;
use crate::normal::SMALLEST_SD;

/// Beyond this many standard deviations a normal counts as a step: the excess there is 4e-12 standard deviations.
const REACH: f64 = 6.5;

/// Nodes of a Gauss-Legendre panel.
const PANEL: usize = 16;

/// Positive Gauss-Legendre nodes on [-1, 1], 16 points.
const NODES: [f64; PANEL / 2] = [
    0.095_012_509_837_637_44,
    0.281_603_550_779_258_9,
    0.458_016_777_657_227_37,
    0.617_876_244_402_643_8,
    0.755_404_408_355_003,
    0.865_631_202_387_831_8,
    0.944_575_023_073_232_6,
    0.989_400_934_991_649_9,
];

/// Their weights.
const WEIGHTS: [f64; PANEL / 2] = [
    0.189_450_610_455_068_5,
    0.182_603_415_044_923_58,
    0.169_156_519_395_002_53,
    0.149_595_988_816_576_74,
    0.124_628_971_255_533_88,
    0.095_158_511_682_492_79,
    0.062_253_523_938_647_894,
    0.027_152_459_411_754_096,
];

/// An interval up to this many panels wide is divided evenly; a wider one is halved first, in case the small scale that
/// asks for narrow panels is at work in one half only.
const MOST_EVEN_PANELS: f64 = 8.0;

/// A standard deviation below this fraction of its mean is not resolved by floating point and counts as zero.
const UNRESOLVED: f64 = 1e-14;

/// Bound of the error, in units of the largest standard deviation.
const ACCURACY: f64 = 1e-7;

/// Rounding, in units of the distance between the means.
const ROUNDING: f64 = 1e-15;

/// How densely the product of `n` normal CDFs must be sampled for an error near 1e-8 standard deviations.
///
/// Measured, with 16-point panels as wide as allowed, on the maximum of n normals, searching for the worst means and scales
/// (3e-8 standard deviations): the maximum of more variables has sharper edges than each of them.
const fn nodes_per_sd(n: usize) -> f64 {
    match n {
        0..=3 => 2.2,
        4..=5 => 2.7,
        6..=11 => 3.4,
        12..=30 => 4.4,
        _ => 5.6,
    }
}

/// How far from the means the grid reaches, in standard deviations, how densely it samples them, and which it leaves out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolution {
    pub reach: f64,
    /// Factor of [`nodes_per_sd`].
    pub density: f64,
    /// A standard deviation below this fraction of the largest counts as zero: it matters less than the accuracy, and panels
    /// need not follow it.
    pub negligible: f64,
}

impl Default for Resolution {
    fn default() -> Self {
        Self { reach: REACH, density: 1.0, negligible: 1e-10 }
    }
}

/// v of sets of independent normals.
#[derive(Debug, Clone, Default)]
pub struct IndependentMax {
    resolution: Resolution,
    mean: Vec<f64>,
    sd: Vec<f64>,
    largest_sd: f64,
    /// Highest mean minus lowest mean.
    spread: f64,
    prepared: Option<Prepared>,
    base: f64,
    node: Vec<f64>,
    weight: Vec<f64>,
    /// 1 - F.
    tails: Rows,
    /// -ln F.
    hazards: Rows,
    edges: Vec<f64>,
}

/// What the grid in place is good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared {
    pub run: ModelSet,
    pub candidates: ModelSet,
    pub max_added: usize,
}

impl Prepared {
    /// Are these sets among those that the grid was laid for?
    pub fn serves(&self, run: ModelSet, candidates: ModelSet, max_added: usize) -> bool {
        self.run == run && candidates.is_subset(self.candidates) && max_added <= self.max_added
    }
}

/// One row of numbers per model, computed when first asked for, and laid where the last one ended.
#[derive(Debug, Clone, Default)]
struct Rows {
    width: usize,
    values: Vec<f64>,
    /// Where the row of each model starts.
    start: Vec<usize>,
    /// Where the last one ended.
    end: usize,
}

/// The start of a row that is not there yet.
const NOWHERE: usize = usize::MAX;

impl Rows {
    /// Forgets the rows, for rows of another width.
    fn clear(&mut self, n_models: usize, width: usize) {
        self.width = width;
        self.start.clear();
        self.start.resize(n_models, NOWHERE);
        self.end = 0;
    }

    /// The row of a model; `fill` writes it.
    #[inline]
    fn row(&mut self, model: usize, fill: impl FnOnce(&mut [f64])) -> &[f64] {
        let mut start = self.start[model];
        if start == NOWHERE {
            start = self.end;
            self.end += self.width;
            // Rows are written before they are read, so what an earlier grid left may stay.
            if self.values.len() < self.end {
                self.values.resize(self.end, 0.0);
            }
            fill(&mut self.values[start..self.end]);
            self.start[model] = start;
        }
        &self.values[start..start + self.width]
    }
}

impl IndependentMax {
    /// An evaluator with a grid of another resolution, of another accuracy.
    pub(super) fn with_resolution(resolution: Resolution) -> Self {
        Self { resolution, ..Self::default() }
    }

    /// Takes a new belief about the models `in_play`, standard deviations multiplied by `scale`.
    pub fn reset(&mut self, quality: &[f64], variance: &[f64], scale: f64, in_play: ModelSet) {
        let sd = variance.iter().map(|variance| variance.sqrt() * scale);
        self.reset_to(quality.iter().copied().zip(sd), in_play);
    }

    /// Takes means and standard deviations of all models, of which those `in_play` set the scale.
    pub(super) fn reset_to(&mut self, models: impl Iterator<Item = (f64, f64)>, in_play: ModelSet) {
        self.mean.clear();
        self.sd.clear();
        for (mean, sd) in models {
            self.mean.push(mean);
            self.sd.push(sd);
        }
        self.largest_sd = in_play.iter().map(|j| self.sd[j]).fold(0.0, f64::max);
        let negligible = self.resolution.negligible * self.largest_sd;
        for (sd, mean) in self.sd.iter_mut().zip(&self.mean) {
            if *sd <= (UNRESOLVED * mean.abs()).max(negligible).max(SMALLEST_SD) {
                *sd = 0.0;
            }
        }
        self.spread = spread(&self.mean, in_play);
        self.prepared = None;
    }

    /// Fills the grid for sets between `run` and `run` + `candidates`.
    fn lay_grid(&mut self, run: ModelSet, candidates: ModelSet, max_added: usize) {
        let in_play = run.union(candidates);
        let lower = |j: usize| self.mean[j] - self.resolution.reach * self.sd[j];
        let upper = |j: usize| self.mean[j] + self.resolution.reach * self.sd[j];
        // The members of `run` are in every set, so no set has weight below the highest of their lower ends.
        let base = if run.is_empty() {
            in_play.iter().map(lower).fold(f64::INFINITY, f64::min)
        } else {
            run.iter().map(lower).fold(f64::NEG_INFINITY, f64::max)
        };
        let top = in_play.iter().map(upper).fold(base, f64::max);
        let uncertain = |j: &usize| self.sd[*j] > 0.0;
        let most_uncertain =
            run.iter().filter(uncertain).count() + max_added.min(candidates.iter().filter(uncertain).count());
        let panel_in_sds = PANEL as f64 / (self.resolution.density * nodes_per_sd(most_uncertain));

        let mut edges = std::mem::take(&mut self.edges);
        edges.clear();
        edges.push(base);
        edges.extend(
            in_play.iter().filter(|j| !uncertain(j)).map(|j| self.mean[j]).filter(|&m| base < m && m < top),
        );
        edges.push(top);
        edges.sort_unstable_by(f64::total_cmp);
        edges.dedup();
        self.base = base;
        self.node.clear();
        self.weight.clear();
        for ends in edges.windows(2) {
            self.lay_panels(ends[0], ends[1], in_play, panel_in_sds);
        }
        self.edges = edges;
    }

    /// Appends nodes for one interval in which every function is smooth.
    fn lay_panels(&mut self, from: f64, to: f64, in_play: ModelSet, panel_in_sds: f64) {
        let smallest_at_work = in_play
            .iter()
            .filter(|&j| {
                let (mean, reach) = (self.mean[j], self.resolution.reach * self.sd[j]);
                reach > 0.0 && mean - reach < to && mean + reach > from
            })
            .map(|j| self.sd[j])
            .fold(f64::INFINITY, f64::min);
        let width = to - from;
        let middle = from + 0.5 * width;
        if smallest_at_work.is_infinite() || !(from < middle && middle < to) {
            // Every factor is 0 or 1 throughout, or the interval is as narrow as floating point allows.
            self.node.push(middle);
            self.weight.push(width);
            return;
        }
        let n_panels = (width / (panel_in_sds * smallest_at_work)).ceil().max(1.0);
        if n_panels > MOST_EVEN_PANELS {
            self.lay_panels(from, middle, in_play, panel_in_sds);
            self.lay_panels(middle, to, in_play, panel_in_sds);
            return;
        }
        let half = 0.5 * width / n_panels;
        let mut centre = from + half;
        while centre < to {
            for (x, w) in NODES.iter().zip(&WEIGHTS) {
                self.node.extend([centre - half * x, centre + half * x]);
                self.weight.extend([half * w, half * w]);
            }
            centre += 2.0 * half;
        }
    }

    /// The row of 1 - F of a model.
    fn tails_of(&mut self, model: usize) -> &[f64] {
        let (mean, sd, node) = (self.mean[model], self.sd[model], &self.node);
        self.tails.row(model, |tails| {
            if sd > 0.0 {
                fill_tails(tails, node, mean, 1.0 / sd);
            } else {
                for (tail, t) in tails.iter_mut().zip(node) {
                    *tail = if *t < mean { 1.0 } else { 0.0 };
                }
            }
        })
    }

    /// The row of -ln F of a model.
    fn hazards_of(&mut self, model: usize) -> &[f64] {
        self.tails_of(model);
        let tails = &mut self.tails;
        self.hazards.row(model, |hazards| fill_hazards(hazards, tails.row(model, |_| ())))
    }
}

impl ClosedForms for IndependentMax {
    fn mean(&self, model: usize) -> f64 {
        self.mean[model]
    }

    fn sd(&self, model: usize) -> f64 {
        self.sd[model]
    }

    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        self.sd[a].hypot(self.sd[b])
    }

    #[inline]
    fn difference_variance(&self, a: usize, b: usize) -> f64 {
        self.sd[a] * self.sd[a] + self.sd[b] * self.sd[b]
    }
}

impl ExpectedMax for IndependentMax {
    fn prepare(&mut self, run: ModelSet, candidates: ModelSet, max_added: usize) {
        if self.prepared.is_some_and(|grid| grid.serves(run, candidates, max_added)) {
            return;
        }
        self.lay_grid(run, candidates, max_added);
        self.tails.clear(self.mean.len(), self.node.len());
        self.hazards.clear(self.mean.len(), self.node.len());
        self.prepared = Some(Prepared { run, candidates, max_added });
    }

    fn n_points(&self) -> usize {
        self.node.len()
    }

    /// The state is the product of the members' CDFs times the weight, per node.
    fn start(&self, state: &mut [f64]) -> f64 {
        state.copy_from_slice(&self.weight);
        self.base
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        dot(state, self.tails_of(model))
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        fill_products(next, state, self.tails_of(model));
    }

    /// With H = -ln F and W the product of weight and CDFs at `at`, 1 - exp(-H) lies below its tangent, so that v(S + T) is at
    /// most v(S + at) + the sum over T, less that over `at`, of the integrals of W `H_j`.
    fn tangent(
        &mut self,
        state: &[f64],
        at: ModelSet,
        models: ModelSet,
        buffer: &mut Vec<f64>,
        weights: &mut [f64],
    ) -> f64 {
        buffer.clear();
        buffer.extend_from_slice(state);
        let mut gain = 0.0;
        for model in at.iter() {
            for (product, tail) in buffer.iter_mut().zip(self.tails_of(model)) {
                let part = *product * tail;
                gain += part;
                *product -= part;
            }
        }
        for model in models.iter() {
            let weight = dot(buffer, self.hazards_of(model));
            weights[model] += weight;
            if at.contains(model) {
                gain -= weight;
            }
        }
        gain + 2.0 * LEAST_CDF * models.len() as f64 * state.iter().sum::<f64>()
    }

    fn slack(&self) -> f64 {
        ACCURACY * self.largest_sd + ROUNDING * self.spread
    }

    fn interchangeable(&self, a: usize, b: usize) -> bool {
        self.mean[a] == self.mean[b] && self.sd[a] == self.sd[b]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected_max::value_of;
    use crate::normal::excess;

    fn value(mean: &[f64], sd: &[f64]) -> f64 {
        let variance: Vec<f64> = sd.iter().map(|s| s * s).collect();
        let mut evaluator = IndependentMax::default();
        let all = ModelSet::first(mean.len());
        evaluator.reset(mean, &variance, 1.0, all);
        value_of(&mut evaluator, all)
    }

    #[test]
    fn one_model_is_worth_its_mean_and_constants_their_maximum() {
        assert!((value(&[0.3], &[0.2]) - 0.3).abs() < 1e-9);
        assert_eq!(value(&[0.3, 0.7, 0.1], &[0.0; 3]), 0.7);
        assert_eq!(value(&[0.3, 0.3], &[0.0; 2]), 0.3);
    }

    #[test]
    fn a_constant_floor_gives_the_closed_form() {
        for (mean, sd, floor) in [(0.5, 0.1, 0.4), (0.5, 1e-6, 0.5), (-3.0, 10.0, 0.25), (0.2, 0.3, 0.9)] {
            let expected = floor + excess(mean, sd, floor);
            assert!(
                (value(&[mean, floor], &[sd, 0.0]) - expected).abs() < 1e-8 * sd.max(1e-6),
                "{mean} {sd} {floor}"
            );
        }
    }

    #[test]
    fn identical_normals_give_the_known_order_statistics() {
        // Expected maxima of n standard normals (Harter 1961), to 10 digits from mpmath.
        for (n, expected) in [(2, 0.564_189_583_547_756_3), (3, 0.846_284_375_321_634_5)] {
            let got = value(&vec![0.0; n], &vec![1.0; n]);
            assert!((got - expected).abs() < 1e-8, "{n}: {got}");
        }
    }

    #[test]
    fn values_shift_and_scale_with_the_inputs() {
        let (mean, sd) = ([0.2, 0.5, 0.45], [0.3, 0.01, 0.2]);
        let base = value(&mean, &sd);
        let moved = value(&mean.map(|m| 7.0 + 3.0 * m), &sd.map(|s| 3.0 * s));
        assert!((moved - (7.0 + 3.0 * base)).abs() < 1e-8);
    }
}
