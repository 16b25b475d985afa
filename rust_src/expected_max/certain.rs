//! The value of a set when nothing is uncertain: its largest mean.

use super::{ClosedForms, ExpectedMax};
use crate::model_set::ModelSet;

/// v(S) = max of the means. What a rule that ignores uncertainty uses.
#[derive(Debug, Clone, Default)]
pub struct CertainMax {
    mean: Vec<f64>,
    lowest: f64,
}

impl CertainMax {
    /// Takes the means of a new belief about the models `in_play`.
    pub fn reset(&mut self, quality: &[f64], in_play: ModelSet) {
        self.mean.clear();
        self.mean.extend_from_slice(quality);
        let means = in_play.iter().filter_map(|j| quality.get(j).copied());
        self.lowest = means.fold(f64::INFINITY, f64::min);
    }
}

impl ClosedForms for CertainMax {
    fn mean(&self, model: usize) -> f64 {
        self.mean[model]
    }

    fn sd(&self, _model: usize) -> f64 {
        0.0
    }

    fn difference_sd(&self, _a: usize, _b: usize) -> f64 {
        0.0
    }
}

impl ExpectedMax for CertainMax {
    fn prepare(&mut self, _run: ModelSet, _candidates: ModelSet, _max_added: usize) {}

    fn n_points(&self) -> usize {
        1
    }

    fn start(&self, state: &mut [f64]) -> f64 {
        state[0] = self.lowest;
        self.lowest
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        (self.mean[model] - state[0]).max(0.0)
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        next[0] = state[0].max(self.mean[model]);
    }

    fn slack(&self) -> f64 {
        0.0
    }

    fn interchangeable(&self, a: usize, b: usize) -> bool {
        self.mean[a] == self.mean[b]
    }
}
