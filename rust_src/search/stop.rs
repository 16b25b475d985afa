//! When to give up a search that takes long.

use std::fmt;

/// Asked now and then by a long search: shall it end without a result? By default it never shall.
#[derive(Clone, Copy, Default)]
pub struct Stop<'a>(Option<&'a (dyn Fn() -> bool + Sync)>);

impl<'a> Stop<'a> {
    /// Calls of `ask` are so rare that each may take some microseconds, and so frequent that a fifth of a second never
    /// passes between two of them.
    pub fn new(ask: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self(Some(ask))
    }

    /// Shall the search end?
    pub(crate) fn is_wanted(self) -> bool {
        self.0.is_some_and(|ask| ask())
    }
}

impl fmt::Debug for Stop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Stop(ask)" } else { "Stop(never)" })
    }
}
