//! The value of a set when at most two models are in play: Clark's closed form.

use super::{BeliefForms, ClosedForms, ExpectedMax};
use crate::model_set::ModelSet;

/// v of sets drawn from at most two models, correlated or not: exact to rounding.
#[derive(Debug, Clone, Copy)]
pub struct PairMax<'a> {
    forms: BeliefForms<'a>,
    lowest: f64,
}

/// The state of a set is one number: a set of one model is its index, and these stand for the other two sets.
const NEITHER: f64 = -1.0;
const BOTH: f64 = -2.0;

impl<'a> PairMax<'a> {
    /// An evaluator for the models `in_play`, at most two.
    pub fn new(forms: BeliefForms<'a>, in_play: ModelSet) -> Self {
        let lowest = in_play.iter().map(|j| forms.mean(j)).fold(f64::INFINITY, f64::min);
        Self { forms, lowest }
    }
}

impl ClosedForms for PairMax<'_> {
    fn mean(&self, model: usize) -> f64 {
        self.forms.mean(model)
    }

    fn sd(&self, model: usize) -> f64 {
        self.forms.sd(model)
    }

    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        self.forms.difference_sd(a, b)
    }
}

// A state holds an index below 128, written as a float by this file alone.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl ExpectedMax for PairMax<'_> {
    fn prepare(&mut self, run: ModelSet, candidates: ModelSet, _max_added: usize) {
        debug_assert!(run.union(candidates).len() <= 2, "three models in play need a quadrature");
    }

    fn n_points(&self) -> usize {
        1
    }

    fn start(&self, state: &mut [f64]) -> f64 {
        state[0] = NEITHER;
        self.lowest
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        if state[0] == NEITHER {
            self.mean(model) - self.lowest
        } else if state[0] == BOTH || state[0] as usize == model {
            0.0
        } else {
            self.gain_bound(state[0] as usize, model)
        }
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        next[0] = if state[0] == NEITHER || state[0] == model as f64 { model as f64 } else { BOTH };
    }

    fn slack(&self) -> f64 {
        0.0
    }

    fn interchangeable(&self, a: usize, b: usize) -> bool {
        // Of what lies between a model and another, only its own mean and the difference count.
        self.mean(a) == self.mean(b)
    }
}
