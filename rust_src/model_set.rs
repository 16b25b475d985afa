//! Sets of models, as bits.

/// Largest number of models that one decision can choose among.
pub const MAX_MODELS: usize = u128::BITS as usize;

/// A set of model indices below [`MAX_MODELS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ModelSet(u128);

impl ModelSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// The set {0, ..., n - 1}; all [`MAX_MODELS`] indices when `n` is larger than that.
    pub const fn first(n: usize) -> Self {
        if n >= MAX_MODELS { Self(u128::MAX) } else { Self((1 << n) - 1) }
    }

    /// The set that holds `model` alone.
    pub const fn of(model: usize) -> Self {
        Self(1 << model)
    }

    /// The models whose flag is set; flags beyond [`MAX_MODELS`] are ignored.
    #[inline]
    pub fn of_those(flags: impl IntoIterator<Item = bool>) -> Self {
        let mut flags = flags.into_iter();
        // Half by half: shifts of one register.
        let mut half = || {
            flags
                .by_ref()
                .take(u64::BITS as usize)
                .zip(0..)
                .fold(0, |bits, (flag, at)| bits | u64::from(flag) << at)
        };
        let (lower, upper) = (half(), half());
        Self(u128::from(lower) | u128::from(upper) << u64::BITS)
    }

    /// The set with the given bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits of the set: bit j is set when model j is a member.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Is `model` a member?
    pub const fn contains(self, model: usize) -> bool {
        model < MAX_MODELS && self.0 >> model & 1 == 1
    }

    /// This set and `model`.
    #[must_use]
    pub const fn with(self, model: usize) -> Self {
        Self(self.0 | 1 << model)
    }

    /// Members of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Members of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Members of this set that are not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Is every member also in `other`?
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Number of members.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Has the set no members?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Members in increasing order.
    // The casts take the two halves apart.
    #[allow(clippy::cast_possible_truncation)]
    pub fn iter(self) -> Members {
        Members { first: 0, rest: self.0 as u64, upper: (self.0 >> u64::BITS) as u64 }
    }

    /// Is this set's increasing list of members lexicographically before the other's?
    ///
    /// A proper prefix comes first: {0} before {0, 3}, and {0, 3} before {1}.
    pub fn precedes(self, other: Self) -> bool {
        let difference = self.0 ^ other.0;
        if difference == 0 {
            return false;
        }
        let lowest = difference.trailing_zeros();
        let above = if lowest + 1 == u128::BITS { 0 } else { u128::MAX << (lowest + 1) };
        if self.0 >> lowest & 1 == 1 {
            // This list has `lowest` where the other has a larger model, or nothing at all.
            other.0 & above != 0
        } else {
            self.0 & above == 0
        }
    }
}

/// The members of a set in increasing order, half by half: most sets have all of theirs in the lower one.
#[derive(Debug, Clone)]
pub struct Members {
    /// Index that the lowest bit of `rest` stands for.
    first: usize,
    rest: u64,
    upper: u64,
}

impl Iterator for Members {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.rest == 0 {
            if self.upper == 0 {
                return None;
            }
            *self = Self { first: u64::BITS as usize, rest: self.upper, upper: 0 };
        }
        let model = self.first + self.rest.trailing_zeros() as usize;
        self.rest &= self.rest - 1;
        Some(model)
    }

    #[inline]
    fn fold<B, F: FnMut(B, usize) -> B>(mut self, start: B, mut f: F) -> B {
        let mut folded = start;
        loop {
            while self.rest != 0 {
                folded = f(folded, self.first + self.rest.trailing_zeros() as usize);
                self.rest &= self.rest - 1;
            }
            if self.upper == 0 {
                return folded;
            }
            self = Self { first: u64::BITS as usize, rest: self.upper, upper: 0 };
        }
    }
}

impl FromIterator<usize> for ModelSet {
    fn from_iter<I: IntoIterator<Item = usize>>(models: I) -> Self {
        models.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_in_order_up_to_the_last_bit() {
        let members = [0, 5, 63, 64, 127];
        let set: ModelSet = members.into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), members);
        assert_eq!(set.iter().skip(1).fold(Vec::new(), |all, j| [all, vec![j]].concat()), members[1..]);
        assert_eq!(set.len(), 5);
        assert!(!set.contains(200));
        assert_eq!(ModelSet::first(128).len(), 128);
        assert_eq!(ModelSet::first(3).bits(), 0b111);
        for n in [0, 3, 64, 65, 128, 130] {
            let expected: ModelSet = (0..n.min(MAX_MODELS)).filter(|j| j % 3 == 0).collect();
            assert_eq!(ModelSet::of_those((0..n).map(|j| j % 3 == 0)), expected);
        }
    }

    #[test]
    fn order_is_that_of_the_lists() {
        let lists: Vec<Vec<usize>> =
            (0_u32..64).map(|bits| (0..6).filter(|j| bits >> j & 1 == 1).collect()).collect();
        for a in &lists {
            for b in &lists {
                let (set_a, set_b): (ModelSet, ModelSet) =
                    (a.iter().copied().collect(), b.iter().copied().collect());
                assert_eq!(set_a.precedes(set_b), a < b, "{a:?} {b:?}");
            }
        }
        assert!(ModelSet::of(0).precedes(ModelSet::of(127)));
        assert!(!ModelSet::of(127).precedes(ModelSet::of(0)));
    }
}
