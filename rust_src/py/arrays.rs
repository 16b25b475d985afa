//! Numbers in: lists, tuples and arrays to slices of floats and to sets of models.

use numpy::{Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyException, PyOverflowError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::errors::{wrong_type, wrong_value};
use crate::error::Error;
use crate::model_set::{MAX_MODELS, ModelSet};

/// What a single decision's argument may be.
const NUMBERS: &str = "a sequence of real numbers";

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}

/// The refusal that stands for an error met while an argument was read; a signal or an exit stays what it is.
fn instead(py: Python<'_>, error: PyErr, refusal: impl FnOnce() -> PyErr) -> PyErr {
    if error.is_instance_of::<PyException>(py) { refusal() } else { error }
}

/// Reads one number.
#[inline]
fn number(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match value.cast_exact::<PyFloat>() {
        Ok(float) => Ok(float.value()),
        Err(_) => other_number(argument, value),
    }
}

/// Reads one number that is no plain float.
#[cold]
fn other_number(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let refusal = || wrong_type(argument, NUMBERS, &format!("{} among them", type_name(value)));
    // NumPy's complex numbers would lose their imaginary part with a warning only.
    if value.get_type().name().is_ok_and(|name| name.to_string().starts_with("complex")) {
        return Err(refusal());
    }
    value.extract().map_err(|error| instead(value.py(), error, refusal))
}

/// Reads a setting that is a number; an int that no float holds is refused as what can't be read.
#[inline]
pub fn real(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    value.extract().map_err(|error: PyErr| {
        let wanted = "a number that a float can hold";
        let overflows = error.is_instance_of::<PyOverflowError>(value.py());
        if overflows { wrong_type("argument", wanted, &type_name(value)) } else { error }
    })
}

/// Reads a setting that is a number, or none.
#[inline]
pub fn real_if_given(value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if value.is_none() { Ok(None) } else { real(value).map(Some) }
}

/// Reads a whole number; one beyond the range counts as the end of the range.
pub fn whole(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    let py = value.py();
    let refusal = || wrong_type("argument", "a whole number", &type_name(value));
    let index = value.call_method0(intern!(py, "__index__")).map_err(|error| instead(py, error, refusal))?;
    match index.extract() {
        Ok(number) => Ok(number),
        Err(_) if index.lt(0)? => Ok(i64::MIN),
        Err(_) => Ok(i64::MAX),
    }
}

/// Checks that a whole number is at least `least`.
pub fn at_least(argument: &str, least: i64, number: i64) -> PyResult<usize> {
    match usize::try_from(number) {
        Ok(count) if number >= least => Ok(count),
        _ => Err(wrong_value(argument, &format!("at least {least}"), &number.to_string())),
    }
}

/// Reads an order of models: their indices.
pub fn read_order(order: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Vec<usize>>> {
    let Some(order) = order else { return Ok(None) };
    let wanted = "a sequence of different model indices";
    let refusal = || wrong_type("order", wanted, &type_name(order));
    let refusal_of = |model: &Bound<'_, PyAny>| {
        let got = format!("{} among them", type_name(model));
        move || wrong_type("order", wanted, &got)
    };
    unmasked("order", order)?;
    if not_numbers(order) {
        return Err(refusal());
    }
    let mut models = Vec::new();
    for model in order.try_iter().map_err(|error| instead(order.py(), error, refusal))? {
        not_endless("order", models.len())?;
        let model = model?;
        let index = whole(&model).map_err(|error| instead(order.py(), error, refusal_of(&model)))?;
        models.push(at_least("order", 0, index)?);
    }
    Ok(Some(models))
}

/// Replaces what `out` holds by the numbers of a list, tuple, one-dimensional array or any other iterable.
///
/// Lists, tuples and float64 arrays take fast paths: no array is made of them.
pub fn read_numbers(argument: &str, values: &Bound<'_, PyAny>, out: &mut Vec<f64>) -> PyResult<()> {
    if let Ok(list) = values.cast::<PyList>() {
        return read_list(argument, list, out);
    }
    unmasked(argument, values)?;
    out.clear();
    if let Ok(tuple) = values.cast::<PyTuple>() {
        out.reserve(tuple.len());
        for value in tuple.iter_borrowed() {
            out.push(number(argument, &value)?);
        }
    } else if let Some(array) = aligned(values) {
        one_dimensional(argument, array.shape())?;
        append(array, out);
    } else {
        read_other_numbers(argument, values, out)?;
    }
    Ok(())
}

/// Refuses a masked array, in whose place the numbers behind its mask would be read.
///
/// Only a subclass of an array may be one, so that a plain array costs the look at its type alone.
#[inline]
fn unmasked(argument: &str, values: &Bound<'_, PyAny>) -> PyResult<()> {
    match values.cast::<PyUntypedArray>() {
        Ok(array) if !is_plain(array) => refuse_mask(argument, values),
        _ => Ok(()),
    }
}

/// Is the array of NumPy's own type?
#[allow(unsafe_code)]
fn is_plain(array: &Bound<'_, PyUntypedArray>) -> bool {
    // SAFETY: the pointer is that of an object, and the interpreter is attached.
    unsafe { numpy::npyffi::PyArray_CheckExact(array.py(), array.as_ptr()) != 0 }
}

#[cold]
fn refuse_mask(argument: &str, values: &Bound<'_, PyAny>) -> PyResult<()> {
    static MASKED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if values.is_instance(MASKED.import(values.py(), "numpy.ma", "MaskedArray")?)? {
        return Err(wrong_type(
            argument,
            "an array without a mask (fill or drop what is masked)",
            "a masked array",
        ));
    }
    Ok(())
}

/// The argument as an array of float64, if it is one whose numbers lie where they may.
fn aligned<'a, 'py>(values: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyArrayDyn<f64>>> {
    values.cast::<PyArrayDyn<f64>>().ok().filter(|array| array.is_aligned())
}

/// Appends the numbers of an aligned array, row by row.
#[allow(unsafe_code)]
fn append(array: &Bound<'_, PyArrayDyn<f64>>, out: &mut Vec<f64>) {
    // SAFETY: no Python code runs while the numbers are copied. Native code of another thread that writes to the array at
    // this moment would interfere, as it would with NumPy's own functions; asking for a borrow takes as long as a decision.
    match unsafe { array.as_slice() } {
        Ok(values) if array.is_c_contiguous() => out.extend_from_slice(values),
        _ => out.extend(unsafe { array.as_array() }.iter()),
    }
}

/// Replaces what `out` holds by the numbers of a k x k matrix, row by row.
pub fn read_matrix(argument: &str, values: &Bound<'_, PyAny>, k: usize, out: &mut Vec<f64>) -> PyResult<()> {
    unmasked(argument, values)?;
    let converted;
    let matrix = if let Some(matrix) = aligned(values) {
        matrix
    } else {
        converted = array::<f64>(argument, values, Kinds::Numbers)?;
        &*converted
    };
    if *matrix.shape() != [k, k] {
        let got = format!("shape {}", shape_text(matrix.shape()));
        return Err(wrong_value(argument, &format!("shape ({k}, {k})"), &got));
    }
    out.clear();
    append(matrix, out);
    Ok(())
}

/// Replaces what `out` holds by the numbers of a list.
fn read_list(argument: &str, list: &Bound<'_, PyList>, out: &mut Vec<f64>) -> PyResult<()> {
    if read_floats(list, out) {
        return Ok(());
    }
    out.clear();
    list.iter().try_for_each(|value| {
        out.push(number(argument, &value)?);
        Ok(())
    })
}

/// Replaces what `out` holds by the numbers of a list of floats, without a new reference to each. Is it one?
#[cfg(not(feature = "abi3"))]
#[allow(unsafe_code)]
fn read_floats(list: &Bound<'_, PyList>, out: &mut Vec<f64>) -> bool {
    use pyo3::ffi;
    pyo3::sync::critical_section::with_critical_section(list, || {
        out.resize(list.len(), 0.0);
        out.iter_mut().enumerate().all(|(at, number)| {
            // SAFETY: `at` is within the list, which nothing changes meanwhile: no Python code runs here.
            let value = unsafe { ffi::PyList_GET_ITEM(list.as_ptr(), at.cast_signed()) };
            let is_float = unsafe { ffi::PyFloat_CheckExact(value) } != 0;
            if is_float {
                // SAFETY: it is exactly a float.
                *number = unsafe { ffi::PyFloat_AS_DOUBLE(value) };
            }
            is_float
        })
    })
}

/// The stable ABI shows no insides of a list.
#[cfg(feature = "abi3")]
fn read_floats(_list: &Bound<'_, PyList>, _out: &mut Vec<f64>) -> bool {
    false
}

/// Reads the numbers of an array of another type, or of any iterable.
#[cold]
fn read_other_numbers(argument: &str, values: &Bound<'_, PyAny>, out: &mut Vec<f64>) -> PyResult<()> {
    if let Ok(shape) = values.getattr(intern!(values.py(), "shape")).and_then(|s| s.extract::<Vec<usize>>()) {
        one_dimensional(argument, &shape)?;
    }
    let wrong = || wrong_type(argument, NUMBERS, &type_name(values));
    if not_numbers(values) {
        return Err(wrong());
    }
    for value in values.try_iter().map_err(|error| instead(values.py(), error, wrong))? {
        not_endless(argument, out.len())?;
        out.push(number(argument, &value?)?);
    }
    Ok(())
}

/// An iterator may have no end; nothing that is read has more items than there may be models.
fn not_endless(argument: &str, n_read: usize) -> PyResult<()> {
    if n_read < MAX_MODELS {
        return Ok(());
    }
    Err(wrong_value(argument, &format!("at most {MAX_MODELS} items"), "more"))
}

/// Iterables whose items are not what the caller means.
fn not_numbers(values: &Bound<'_, PyAny>) -> bool {
    values.is_instance_of::<PyDict>()
        || values.is_instance_of::<PyString>()
        || values.is_instance_of::<PyBytes>()
        || values.is_instance_of::<PyByteArray>()
}

fn one_dimensional(argument: &str, shape: &[usize]) -> PyResult<()> {
    if shape.len() == 1 {
        Ok(())
    } else {
        Err(wrong_value(argument, "shape (n_models,)", &format!("shape {}", shape_text(shape))))
    }
}

/// A shape as Python writes it.
pub fn shape_text(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Which arrays may be converted.
#[derive(Debug, Clone, Copy)]
pub enum Kinds {
    /// Real numbers of any kind.
    Numbers,
    /// Whole numbers: others would be cut.
    Whole,
    /// Booleans only: 0 and 1 could be meant as indices.
    Bools,
}

/// A C-contiguous, aligned array of the given type, the argument itself where it is one already.
pub fn array<'py, T: Element>(
    argument: &str,
    values: &Bound<'py, PyAny>,
    kinds: Kinds,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static REQUIRE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = values.py();
    unmasked(argument, values)?;
    // Rows in a list may be masked, too.
    if let Ok(rows) = values.cast::<PyList>() {
        rows.iter().try_for_each(|row| unmasked(argument, &row))?;
    } else if let Ok(rows) = values.cast::<PyTuple>() {
        rows.iter().try_for_each(|row| unmasked(argument, &row))?;
    }
    let fits = |array: &&Bound<'py, PyArrayDyn<T>>| array.is_c_contiguous() && array.is_aligned();
    let ready = values.cast::<PyArrayDyn<T>>().ok().filter(fits).cloned();
    let array = if let Some(array) = ready {
        array
    } else {
        let asarray = ASARRAY.import(py, "numpy", "asarray")?;
        let (known, wanted) = match kinds {
            Kinds::Numbers => ("biuf", "an array of real numbers"),
            Kinds::Whole => ("iu", "an array of whole numbers"),
            Kinds::Bools => ("b", "an array of bool"),
        };
        let refused = |got: String| wrong_type(argument, wanted, &got);
        let convert = || -> PyResult<(String, Bound<'py, PyAny>)> {
            let plain = asarray.call1((values,))?;
            let kind: String =
                plain.getattr(intern!(py, "dtype"))?.getattr(intern!(py, "kind"))?.extract()?;
            // Text, objects and complex numbers would be converted silently, or with a warning.
            let converted = if known.contains(&kind) {
                REQUIRE.import(py, "numpy", "require")?.call1((plain, T::get_dtype(py), "CA"))?
            } else {
                plain
            };
            Ok((kind, converted))
        };
        let (kind, converted) = convert().map_err(|error| {
            let got = format!("{} ({error})", type_name(values));
            instead(py, error, || refused(got))
        })?;
        if !known.contains(&kind) {
            return Err(refused(format!("{} of dtype {}", type_name(values), converted.getattr("dtype")?)));
        }
        converted.cast_into::<PyArrayDyn<T>>()?
    };
    array.try_readonly().map_err(|_| wrong_value(argument, "an array that is not in use", "one that is"))
}

/// The models named by a sequence of indices or by a mask of booleans.
pub fn read_models(argument: &'static str, models: &Bound<'_, PyAny>, n_models: usize) -> PyResult<ModelSet> {
    const WANTED: &str = "a sequence of model indices, or one bool per model";
    let mut set = ModelSet::EMPTY;
    let (mut n_flags, mut at) = (0, 0);
    unmasked(argument, models)?;
    let items = models
        .try_iter()
        .map_err(|error| instead(models.py(), error, || wrong_type(argument, WANTED, &type_name(models))))?;
    for item in items {
        not_endless(argument, at)?;
        let item = item?;
        let flag = match item.cast::<PyBool>() {
            Ok(flag) => Some(flag.is_true()),
            // A numpy.bool is not a bool, nor an integer.
            Err(_) if !item.is_exact_instance_of::<PyInt>() && type_name(&item).starts_with("bool") => {
                Some(item.is_truthy()?)
            }
            Err(_) => None,
        };
        if let Some(flag) = flag {
            n_flags += 1;
            if flag && at < MAX_MODELS {
                set = set.with(at);
            }
        } else {
            let refusal = || wrong_type(argument, WANTED, &format!("{} among them", type_name(&item)));
            let index: i64 = item.extract().map_err(|error| instead(item.py(), error, refusal))?;
            match usize::try_from(index) {
                Ok(index) if index < n_models => set = set.with(index),
                _ => return Err(Error::NoSuchModel { argument, got: index, n_models }.into()),
            }
        }
        at += 1;
    }
    if n_flags > 0 && (n_flags != at || at != n_models) {
        return Err(wrong_value(
            argument,
            &format!("{n_models} bools, or indices only"),
            &format!("{n_flags} bools among {at}"),
        ));
    }
    Ok(set)
}

/// One set of models per row of a boolean array of shape (n, k); an array of shape (k,) serves all rows.
pub fn read_masks(
    argument: &'static str,
    masks: &Bound<'_, PyAny>,
    n: usize,
    k: usize,
) -> PyResult<Vec<ModelSet>> {
    let mask = array::<bool>(argument, masks, Kinds::Bools)?;
    let set = |flags: &[bool]| {
        let flags = flags.iter().take(MAX_MODELS).enumerate();
        flags.filter(|(_, flag)| **flag).map(|(j, _)| j).collect::<ModelSet>()
    };
    let flags = mask.as_slice().map_err(|_| wrong_value(argument, "a contiguous array", "another"))?;
    match *mask.shape() {
        [columns] if columns == k => Ok(vec![set(flags); n]),
        // Rows of no models hold nothing to cut into chunks.
        [rows, 0] if rows == n && k == 0 => Ok(vec![ModelSet::EMPTY; n]),
        [rows, columns] if rows == n && columns == k => Ok(flags.chunks_exact(k).map(set).collect()),
        ref shape => Err(wrong_value(
            argument,
            &format!("shape (n_queries, n_models) = ({n}, {k}) or ({k},)"),
            &format!("shape {}", shape_text(shape)),
        )),
    }
}
