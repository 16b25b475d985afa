//! `headrace._core.project_texts` and `text_sizes`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use super::arrays::{Kinds, array, shape_text};
use super::errors::{wrong_type, wrong_value};
use crate::text::project;

/// Texts as hashed runs of bytes, weighted, in given directions; see `headrace.estimators.reduction.TextReduction`.
///
/// Parameters
/// ----------
/// texts : list of bytes
/// rarity : array of shape (n_buckets,)
///     `n_buckets` is a power of two.
/// directions : array of shape (n_buckets, n_directions)
///
/// Returns
/// -------
/// ndarray of shape (n_texts, n_directions)
///
/// Raises
/// ------
/// TypeError, ValueError
///     Texts that are no bytes; arrays of other types or shapes.
#[pyfunction]
#[pyo3(signature = (texts, rarity, directions))]
pub fn project_texts<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyList>,
    rarity: &Bound<'py, PyAny>,
    directions: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let rarity = array::<f64>("rarity", rarity, Kinds::Numbers)?;
    let directions = array::<f32>("directions", directions, Kinds::Numbers)?;
    let n_buckets = rarity.len();
    if !(n_buckets.is_power_of_two() && n_buckets > 1 && rarity.ndim() == 1) {
        return Err(wrong_value("rarity", "as many numbers as a power of two", &shape_text(rarity.shape())));
    }
    let [rows, n_directions] = *directions.shape() else {
        return Err(wrong_value("directions", "two axes", &shape_text(directions.shape())));
    };
    if rows != n_buckets {
        return Err(wrong_value("directions", &format!("{n_buckets} rows"), &rows.to_string()));
    }
    let contiguous = |_| wrong_value("rarity, directions", "contiguous arrays", "others");
    let (rarity, directions) =
        (rarity.as_slice().map_err(contiguous)?, directions.as_slice().map_err(contiguous)?);
    let mut vectors = vec![0.0; texts.len() * n_directions];
    let mut counts = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let Ok(text) = text.cast::<PyBytes>() else {
            return Err(wrong_type(
                "texts",
                "a list of bytes",
                &format!("{} among them", text.get_type().name()?),
            ));
        };
        if let Some(vector) = vectors.get_mut(at * n_directions..(at + 1) * n_directions) {
            project(text.as_bytes(), rarity, directions, &mut counts, vector);
        }
    }
    vectors.into_pyarray(py).reshape([texts.len(), n_directions])
}

/// Numbers of characters of texts.
///
/// Parameters
/// ----------
/// cells : list
///
/// Returns
/// -------
/// ndarray of int of shape (n_cells,)
///     0 for None, -1 for what is no text.
///
/// Raises
/// ------
/// TypeError
///     No list; and what the length of a text of a class of its own raises.
#[pyfunction]
#[pyo3(signature = (cells))]
pub fn text_sizes<'py>(py: Python<'py>, cells: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let size = |cell: Bound<'py, PyAny>| {
        if cell.is_instance_of::<PyString>() {
            Ok(i64::try_from(cell.len()?)?)
        } else {
            Ok(-i64::from(!cell.is_none()))
        }
    };
    Ok(cells.iter().map(size).collect::<PyResult<Vec<_>>>()?.into_pyarray(py))
}
