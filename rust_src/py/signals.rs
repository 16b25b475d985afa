//! Ctrl-C, and other threads, during a decision that takes long.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::Error;

/// How often a long decision looks for signals and lets other threads run: as often as Python changes threads.
const POLL: Duration = Duration::from_millis(5);

/// Looks for signals now and then, and keeps what one raises.
#[derive(Default)]
pub struct Signals {
    next: Mutex<Option<Instant>>,
    raised: Mutex<Option<PyErr>>,
}

impl Signals {
    /// Looks for the first time when [`POLL`] has passed.
    pub fn from_now_on() -> Self {
        Self { next: Mutex::new(Some(Instant::now() + POLL)), ..Self::default() }
    }

    /// Has a signal raised an exception? Looks at most once per [`POLL`].
    pub fn have_raised(&self) -> bool {
        self.are_due() && Python::attach(|py| self.look(py))
    }

    /// Is it time to look? Then it isn't again for as long as [`POLL`].
    pub fn are_due(&self) -> bool {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| now < next) {
            return false;
        }
        *next = Some(now + POLL);
        true
    }

    /// Lets other threads run, and keeps what a signal raises, if one does.
    pub fn look(&self, py: Python<'_>) -> bool {
        py.detach(|| ());
        match py.check_signals() {
            Ok(()) => false,
            Err(raised) => {
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(raised);
                true
            }
        }
    }

    /// The exception that stands for an error of the core: what a signal raised, if that was it.
    #[cold]
    pub fn exception(&self, error: Error) -> PyErr {
        self.raised().unwrap_or_else(|| error.into())
    }

    /// What a signal raised.
    #[cold]
    pub fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
