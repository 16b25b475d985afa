//! What a search writes to while it runs.

use super::candidate::Candidate;
use super::tangent::Tangent;

/// Buffers that a search reuses: one state and one list of candidates per depth.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    pub(super) states: Vec<Vec<f64>>,
    pub(super) candidates: Vec<Vec<Candidate>>,
    pub(super) tangent: Tangent,
}

impl Scratch {
    /// Makes room for a state of the given length, and a list of candidates, at a depth.
    pub(super) fn reach(&mut self, depth: usize, n_points: usize) {
        while self.states.len() <= depth {
            self.states.push(Vec::new());
            self.candidates.push(Vec::new());
        }
        self.states[depth].resize(n_points, 0.0);
    }

    /// Two states of the given length.
    pub(crate) fn two_states(&mut self, n_points: usize) -> (&mut Vec<f64>, &mut Vec<f64>) {
        self.reach(0, n_points);
        self.reach(1, n_points);
        let (first, rest) = self.states.split_at_mut(1);
        (&mut first[0], &mut rest[0])
    }
}
