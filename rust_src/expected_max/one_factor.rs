//! The value of a set of normals that share one factor: an average, over the factor, of independent values.
//!
//! `Q_j` = `mean_j` + `b_j` Z + `sd_j` `e_j` with independent standard normals Z and `e_j`. Given Z = z the models are
//! independent with means mean + b z, so v(S) = E[g(Z)] with g(z) the value of [`IndependentMax`]. The average is taken over
//! equally spaced nodes with the weights of the normal density: the trapezoidal rule, which converges exponentially fast on
//! entire functions of this decay (Trefethen and Weideman, SIAM Review 56, 2014). A weighted sum of monotone, submodular
//! values is one too, so the search is exact for the fixed nodes.
//!
//! What all loadings have in common moves every model alike, and so no value: loadings count from their mean.
//!
//! g bends where two models cross, over a width in z of hypot(`sd_i`, `sd_j`) / |`b_i` - `b_j`|: the sharpest bend in play sets the
//! spacing. At bends sharper than the most nodes resolve, a kink in the extreme, the error falls with the square of the
//! spacing only; [`slack`](ExpectedMax::slack) says so. Beside a deviation of three hundred times the distance between loadings
//! and more, kinks matter less than the accuracy, and fewer nodes do.
//!
//! Accuracy, in units of the largest standard deviation: 1e-6. Models without variance of their own, but with different
//! loadings, make kinks: 4e-4 with 129 nodes, 1e-5 with 1025. Measured in `tests/rust/golden.rs` against a quadrature with
//! an edge at every kink.
//!
//! Complexity: that of [`IndependentMax`] times the number of nodes, 9 to 20 where loadings differ by no more than the standard
//! deviations. A search keeps the grids of all nodes: of 128 models whose deviations and loadings differ by a factor of 1e8,
//! with kinks, half a gigabyte, and ten seconds for 500 sets.

use super::closed_forms::mean_loading;
use super::independent::{IndependentMax, Prepared, Resolution};
use super::{ClosedForms, Estimate, ExpectedMax, magnitude, spread, value_of};
use crate::model_set::ModelSet;
use crate::normal::{SMALLEST_SD, density};

/// Nodes lie within this many standard deviations of the factor: the excess beyond is 5e-8 standard deviations.
const REACH: f64 = 5.0;

/// The grids of the independent evaluators: coarser than for one alone, in proportion to the accuracy wanted.
const GIVEN_FACTOR: Resolution = Resolution { reach: 5.5, density: 0.75, negligible: 1e-8 };

/// Their error, in units of the largest standard deviation.
const GIVEN_ACCURACY: f64 = 1e-6;

/// Spacing of the nodes where no bend asks for a closer one.
const WIDEST_SPACING: f64 = 1.2;

/// Error of the rule with enough nodes, in units of the largest distance between loadings.
const ACCURACY: f64 = 1e-6;

/// Error at a kink, in units of the squared spacing times the distance between loadings: that of a chord, at the density's
/// highest, 1 / (8 sqrt(2 pi)).
const KINK: f64 = 0.05;

/// Rounding, in units of the largest magnitude.
const ROUNDING: f64 = 1e-14;

/// v of sets of normals that share one factor.
#[derive(Debug, Clone)]
pub struct OneFactorMax {
    mean: Vec<f64>,
    sd: Vec<f64>,
    /// Loadings less their mean.
    loading: Vec<f64>,
    most_nodes: usize,
    prepared: Option<Prepared>,
    /// One evaluator per node; those beyond `n_nodes` are buffers.
    given: Vec<IndependentMax>,
    weight: Vec<f64>,
    /// Where the part of each node ends in a state.
    ends: Vec<usize>,
    slack: f64,
}

impl OneFactorMax {
    /// An evaluator with at most `most_nodes` (an odd number) nodes of the factor.
    pub fn new(most_nodes: usize) -> Self {
        Self {
            mean: Vec::new(),
            sd: Vec::new(),
            loading: Vec::new(),
            most_nodes,
            prepared: None,
            given: Vec::new(),
            weight: Vec::new(),
            ends: Vec::new(),
            slack: 0.0,
        }
    }

    /// Takes a new belief about the models `in_play`, standard deviations and loadings multiplied by `scale`.
    pub fn reset(
        &mut self,
        quality: &[f64],
        variance: &[f64],
        loading: &[f64],
        scale: f64,
        in_play: ModelSet,
    ) {
        self.mean.clear();
        self.mean.extend_from_slice(quality);
        self.sd.clear();
        // Squares of what is smaller underflow.
        let resolved = |x: f64| if x.abs() <= SMALLEST_SD { 0.0 } else { x };
        self.sd.extend(variance.iter().map(|variance| resolved(variance.sqrt() * scale)));
        self.loading.clear();
        let common = mean_loading(loading, in_play);
        self.loading.extend(loading.iter().map(|b| resolved((b - common) * scale)));
        self.prepared = None;
        self.slack = self.error_bound(in_play);
    }

    /// A bound of the error for any of the models in play: fewer have no sharper bends.
    fn error_bound(&self, in_play: ModelSet) -> f64 {
        let resolving = self.resolving_spacing(in_play);
        let wanted = resolving.max(self.harmless_spacing(in_play));
        let spacing = REACH / self.nodes_per_side(wanted) as f64;
        let at_bends = if resolving < spacing * (1.0 - ROUNDING) { KINK * spacing * spacing } else { 0.0 };
        let inside = GIVEN_ACCURACY * magnitude(&self.sd, in_play);
        inside
            + (ACCURACY + at_bends) * spread(&self.loading, in_play)
            + ROUNDING * magnitude(&self.mean, in_play)
    }

    /// Number of nodes of the factor that the last belief took.
    pub fn n_nodes(&self) -> usize {
        self.weight.len()
    }

    /// Square of the reciprocal width in z of the bend of two models; zero where they never meet, or move alike.
    fn sharpness(&self, i: usize, j: usize) -> f64 {
        let slope = (self.loading[i] - self.loading[j]).abs();
        let (a, b) = (self.sd[i], self.sd[j]);
        let apart = (self.mean[i] - self.mean[j]).abs() > REACH * (slope + a + b);
        if apart || slope == 0.0 { 0.0 } else { slope * slope / (a * a + b * b) }
    }

    /// The spacing that the sharpest bend among some models asks for.
    fn resolving_spacing(&self, in_play: ModelSet) -> f64 {
        let pairs =
            in_play.iter().flat_map(|i| in_play.iter().take_while(move |&j| j < i).map(move |j| (i, j)));
        let sharpest = pairs.map(|(i, j)| self.sharpness(i, j)).fold(0.0, f64::max);
        WIDEST_SPACING / (1.0 + sharpest).sqrt()
    }

    /// The spacing at which a kink is off by no more than the independent evaluators are.
    fn harmless_spacing(&self, in_play: ModelSet) -> f64 {
        let accuracy = GIVEN_ACCURACY * magnitude(&self.sd, in_play);
        (accuracy / (KINK * spread(&self.loading, in_play))).sqrt().min(WIDEST_SPACING)
    }

    /// Nodes on each side of zero for a spacing at least as close as the one given, as far as there may be so many.
    // Where the spacing is zero, the quotient is infinite and its conversion saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn nodes_per_side(&self, spacing: f64) -> usize {
        ((REACH / spacing).ceil() as usize).clamp(1, (self.most_nodes / 2).max(1))
    }

    /// The nodes for some models, at multiples of the spacing.
    fn nodes(&self, in_play: ModelSet) -> impl ExactSizeIterator<Item = f64> + use<> {
        let wanted = self.resolving_spacing(in_play).max(self.harmless_spacing(in_play));
        let per_side = self.nodes_per_side(wanted);
        let spacing = REACH / per_side as f64;
        let n_nodes = 2 * per_side + 1;
        (0..n_nodes).map(move |node| (node as f64 - per_side as f64) * spacing)
    }

    /// v(set), one node after the other: the grids of all nodes, which a search keeps, may take gigabytes for many models
    /// of different scales.
    pub fn estimate(&self, set: ModelSet) -> Estimate {
        let mut given = IndependentMax::with_resolution(GIVEN_FACTOR);
        let (mut sum, mut total) = (0.0, 0.0);
        for z in self.nodes(set) {
            given.reset_to(given_factor(&self.mean, &self.loading, &self.sd, z), set);
            sum += density(z) * value_of(&mut given, set);
            total += density(z);
        }
        Estimate { value: sum / total, error: self.slack }
    }

    /// Places the nodes; the weights sum to one.
    fn lay_nodes(&mut self, run: ModelSet, candidates: ModelSet, max_added: usize) {
        let in_play = run.union(candidates);
        let nodes = self.nodes(in_play);
        if self.given.len() < nodes.len() {
            self.given.resize(nodes.len(), IndependentMax::with_resolution(GIVEN_FACTOR));
        }
        self.weight.clear();
        self.ends.clear();
        let mut end = 0;
        for (z, given) in nodes.zip(&mut self.given) {
            given.reset_to(given_factor(&self.mean, &self.loading, &self.sd, z), in_play);
            given.prepare(run, candidates, max_added);
            end += given.n_points();
            self.ends.push(end);
            self.weight.push(density(z));
        }
        let total: f64 = self.weight.iter().sum();
        self.weight.iter_mut().for_each(|weight| *weight /= total);
    }

    /// The evaluators, and the part of a state that belongs to each.
    fn parts<'a>(
        &'a mut self,
        state: &'a [f64],
    ) -> impl Iterator<Item = (&'a mut IndependentMax, &'a [f64])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(self.ends.iter().copied()).map(|(from, to)| from..to);
        self.given.iter_mut().zip(ranges).map(move |(given, range)| (given, &state[range]))
    }
}

/// Means and standard deviations where the factor is z.
fn given_factor(mean: &[f64], loading: &[f64], sd: &[f64], z: f64) -> impl Iterator<Item = (f64, f64)> {
    mean.iter().zip(loading).map(move |(mean, b)| mean + b * z).zip(sd.iter().copied())
}

impl ClosedForms for OneFactorMax {
    fn mean(&self, model: usize) -> f64 {
        self.mean[model]
    }

    fn sd(&self, model: usize) -> f64 {
        self.sd[model].hypot(self.loading[model])
    }

    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        self.sd[a].hypot(self.sd[b]).hypot(self.loading[a] - self.loading[b])
    }
}

impl ExpectedMax for OneFactorMax {
    fn prepare(&mut self, run: ModelSet, candidates: ModelSet, max_added: usize) {
        if !self.prepared.is_some_and(|grid| grid.serves(run, candidates, max_added)) {
            self.lay_nodes(run, candidates, max_added);
            self.prepared = Some(Prepared { run, candidates, max_added });
        }
    }

    fn n_points(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The state is that of the independent evaluators, one after the other, times their weights.
    fn start(&self, state: &mut [f64]) -> f64 {
        let mut base = 0.0;
        let mut rest = state;
        for (given, weight) in self.given.iter().zip(&self.weight) {
            let (part, later) = rest.split_at_mut(given.n_points());
            base += weight * given.start(part);
            for x in part.iter_mut() {
                *x *= weight;
            }
            rest = later;
        }
        base
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        self.parts(state).map(|(given, part)| given.gain(part, model)).sum()
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        let mut rest = next;
        for (given, part) in self.parts(state) {
            let (next, later) = rest.split_at_mut(part.len());
            given.extend(part, model, next);
            rest = later;
        }
    }

    /// The average of the independent evaluators' tangents.
    fn tangent(
        &mut self,
        state: &[f64],
        at: ModelSet,
        models: ModelSet,
        buffer: &mut Vec<f64>,
        weights: &mut [f64],
    ) -> f64 {
        self.parts(state).map(|(given, part)| given.tangent(part, at, models, buffer, weights)).sum()
    }

    fn slack(&self) -> f64 {
        self.slack
    }

    fn agrees_on_pairs(&self) -> bool {
        false
    }

    fn interchangeable(&self, a: usize, b: usize) -> bool {
        self.mean[a] == self.mean[b] && self.sd[a] == self.sd[b] && self.loading[a] == self.loading[b]
    }
}
