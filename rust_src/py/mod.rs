//! The boundary to Python: a list of what the module holds. No mathematics here.
//!
//! **The map.** `arrays` and `belief` read arguments; `batch` reads those of many queries, and works apart from the
//! interpreter; `rule` is the base class that decides, `rules` its subclasses; `decision`, `value`, `gaussian` and `text` are the
//! other things that Python sees; `pickling` makes objects again; `errors` maps errors; `signals` ends what takes too
//! long.

// Docstrings are numpydoc, not rustdoc; PyO3 hands arguments over by value.
#![allow(clippy::doc_markdown, clippy::needless_pass_by_value)]

mod arrays;
mod batch;
mod belief;
mod decision;
mod errors;
mod gaussian;
mod pickling;
mod rule;
mod rules;
mod signals;
mod text;
mod value;

use pyo3::prelude::*;

/// Compiled core of headrace: rules, decisions, and the expected maximum.
#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    #[pymodule_export]
    use super::decision::Decision;
    #[pymodule_export]
    use super::gaussian::regressions;
    #[pymodule_export]
    use super::rule::Rule;
    #[pymodule_export]
    use super::rules::{Cascade, CascadeRouting, IndexRule, Routing, ThresholdCascade};
    #[pymodule_export]
    use super::text::project_texts;
    #[pymodule_export]
    use super::value::expected_max;
}
