//! `headrace._core.ridge`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::arrays::{Kinds, array, at_least, shape_text, whole};
use super::errors::wrong_value;
use crate::ridge::{Regressed, regress};

type Found<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// Ridge regressions of many targets on the same features, each at the penalty of the smallest error of generalised
/// cross-validation.
///
/// Parameters
/// ----------
/// gram : array of shape (n_features, n_features)
///     X'X. Symmetric: that is not checked.
/// pull : array of shape (n_features, n_targets)
///     X'y.
/// squares : array of shape (n_targets,)
///     y'y.
/// n : int
///     Number of rows; features and targets have lost their means.
/// penalties : array of shape (n_penalties,)
///     Added to the diagonal of `gram`.
///
/// Returns
/// -------
/// weights : ndarray of shape (n_features, n_targets)
/// left : ndarray of shape (n_targets,)
///     Sum of the squares of what is left of the targets.
/// freedom : ndarray of shape (n_targets,)
///     Mean over the rows of 1 - leverage.
///
/// Raises
/// ------
/// TypeError, ValueError
///     Arrays of other types or shapes; no rows; no penalty, or one that is negative or not finite.
#[pyfunction]
pub fn ridge<'py>(
    py: Python<'py>,
    gram: &Bound<'py, PyAny>,
    pull: &Bound<'py, PyAny>,
    squares: &Bound<'py, PyAny>,
    #[pyo3(from_py_with = whole)] n: i64,
    penalties: &Bound<'py, PyAny>,
) -> PyResult<Found<'py>> {
    let read =
        |argument: &'static str, values: &Bound<'py, PyAny>, wanted: Option<&[usize]>, n_axes: usize| {
            let numbers = array::<f64>(argument, values, Kinds::Numbers)?;
            let shape = numbers.shape();
            if wanted.map_or(shape.len() == n_axes, |wanted| shape == wanted) {
                return Ok(numbers);
            }
            let expected = wanted.map_or_else(
                || ["one axis", "two axes"][n_axes - 1].to_owned(),
                |wanted| format!("shape {}", shape_text(wanted)),
            );
            Err(wrong_value(argument, &expected, &format!("shape {}", shape_text(shape))))
        };
    let pull = read("pull", pull, None, 2)?;
    let (n_features, n_targets) = (pull.shape()[0], pull.shape()[1]);
    let gram = read("gram", gram, Some(&[n_features, n_features]), 2)?;
    let squares = read("squares", squares, Some(&[n_targets]), 1)?;
    let penalties = read("penalties", penalties, None, 1)?;
    if penalties.is_empty() {
        return Err(wrong_value("penalties", "at least one number", "none"));
    }
    if let Some(wrong) =
        penalties.as_slice()?.iter().find(|penalty| !(penalty.is_finite() && **penalty >= 0.0))
    {
        return Err(wrong_value("penalties", "finite numbers >= 0", &wrong.to_string()));
    }
    let n_rows = at_least("n", 1, n)?;
    let (gram, pull, squares, penalties) =
        (gram.as_slice()?.to_vec(), pull.as_slice()?, squares.as_slice()?, penalties.as_slice()?);
    let Regressed { weights, left, freedom } = py.detach(|| regress(gram, pull, squares, n_rows, penalties));
    let weights = weights.into_pyarray(py).reshape([n_features, n_targets])?;
    Ok((weights, left.into_pyarray(py), freedom.into_pyarray(py)))
}
