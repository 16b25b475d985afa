//! The models that may be added to a set, in the order in which a search tries them.

use std::cmp::Ordering;

/// A model that may be added to the set at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub model: usize,
    /// Gain in value.
    pub gain: f64,
    /// Gain in tradeoff.
    pub net: f64,
    /// Were the gains found at the set at hand? If not, at a smaller one, where they were no smaller.
    pub is_fresh: bool,
}

/// Candidates by falling gain; equals by index, so that symmetric models meet in order.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.net.total_cmp(&a.net).then(a.model.cmp(&b.model))
}

pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(order);
}

/// Moves the first candidate, whose gain is now known to be as given, to where it belongs among the others in order.
pub(super) fn settle(candidates: &mut [Candidate], first: Candidate) {
    let before = |c: &Candidate| order(c, &first).is_lt();
    let place = candidates[1..].partition_point(before);
    candidates.copy_within(1..=place, 0);
    candidates[place] = first;
}

/// Sum of the gains of the first `n` candidates, falling and positive ones only.
pub(super) fn sum_of_gains(candidates: &[Candidate], n: usize) -> f64 {
    candidates.iter().take(n).map(|c| c.net).take_while(|&net| net > 0.0).sum()
}
