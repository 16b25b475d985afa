//! Pickling: how Python makes an object of the core again.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// What pickle needs to make the object again: a callable, and the arguments it takes.
pub fn rebuild<'py>(
    object: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Bound<'py, PyDict>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
    let py = object.py();
    let partial = py.import("functools")?.getattr("partial")?;
    let class = PyTuple::new(py, [object.get_type()])?;
    let make = partial.call(class, Some(&kwargs))?;
    Ok((make, args))
}
