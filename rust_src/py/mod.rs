//! The boundary to Python: a list of what the module holds. No mathematics here.
//!
//! **The map.** `arrays` and `belief` read arguments; `batch` reads those of many queries, and works apart from the
//! interpreter; `rule` is the base class that decides, `rules` its subclasses; `decision`, `value`, `gaussian`, `ridge`, `linear` and `text` are the
//! other things that Python sees; `pickling` makes objects again; `errors` maps errors; `signals` ends what takes too
//! long; `fastcall` is a shorter way into `Rule.select`.

// Docstrings are numpydoc, not rustdoc; PyO3 hands arguments over by value.
#![allow(clippy::doc_markdown, clippy::needless_pass_by_value)]

mod arrays;
mod batch;
mod belief;
mod decision;
mod errors;
#[cfg(not(feature = "abi3"))]
mod fastcall;
mod gaussian;
mod linear;
mod pickling;
mod ridge;
mod rule;
mod rules;
mod signals;
mod text;
mod value;

use pyo3::prelude::*;

/// Compiled core of headrace: rules, decisions, and the expected maximum.
#[pymodule]
mod _core {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    /// Address of the builtins of the interpreter that has the module: it and NumPy keep objects for the whole process.
    static OWNER: AtomicUsize = AtomicUsize::new(0);

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let here = module.py().import("builtins")?.as_ptr() as usize;
        let owner =
            OWNER.compare_exchange(0, here, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|owner| owner);
        if owner != 0 && owner != here {
            return Err(PyImportError::new_err(
                "headrace can be loaded by one interpreter only, once per process",
            ));
        }
        #[cfg(not(feature = "abi3"))]
        super::fastcall::install(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    #[pymodule_export]
    use super::decision::Decision;
    #[pymodule_export]
    use super::gaussian::regressions;
    #[pymodule_export]
    use super::linear::Linear;
    #[pymodule_export]
    use super::ridge::ridge;
    #[pymodule_export]
    use super::rule::Rule;
    #[pymodule_export]
    use super::rules::{Cascade, CascadeRouting, IndexRule, Routing, ThresholdCascade};
    #[pymodule_export]
    use super::text::{project_texts, text_sizes};
    #[pymodule_export]
    use super::value::{expected_max, expected_max_batch};
}
