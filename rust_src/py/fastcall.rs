//! `Rule.select` without what PyO3 adds to a call, and the memory of decisions.
//!
//! **The call.** [`select`] stands in the place of the function that PyO3 made for `Rule.select`: the same method object, so
//! the same name, signature and documentation. It decides where nothing of Python can run: quality, cost and variance in
//! plain lists or tuples of plain floats or in plain arrays, models run or allowed in plain lists or tuples of plain ints or of bools, a plain
//! float as a cap. All else, and all that is refused, goes to PyO3's function with the same arguments.
//!
//! **The memory.** A decision owns nothing but its numbers. Where one ends, its object is kept, up to [`N_KEPT`] of them, and
//! the next decision is written into it: no memory is asked for, and the garbage collector isn't told.
//!
//! **Where.** Interpreters with a global lock only: the lock guards what is kept, and lists while they are read. Other builds
//! of CPython take PyO3's way for both. See `docs/decisions/0022-fast-call.md` for what it brings.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use numpy::npyffi::{NPY_ARRAY_ALIGNED, PyArray_Descr, PyArrayObject};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray};
use pyo3::exceptions::PyImportError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::decision::Decision;
use super::rule::{BUFFERS, Rule};
use super::signals::Signals;
use crate::belief::{Belief, LARGEST_MAGNITUDE, Uncertainty};
use crate::model_set::{MAX_MODELS, ModelSet};
use crate::rule;
use crate::search::{Problem, Stop};

/// Most ended decisions whose objects are kept: 7 kB.
const N_KEPT: usize = 64;

/// Has the interpreter a global lock? Without one, objects begin with more than a count and a type.
const HAS_LOCK: bool = size_of::<PyObject>() == 2 * size_of::<usize>();

/// Objects of ended decisions: the first `N_OF_KEPT`. Only threads that hold the interpreter's lock read or write these two.
static KEPT: [AtomicPtr<PyObject>; N_KEPT] = [const { AtomicPtr::new(ptr::null_mut()) }; N_KEPT];
static N_OF_KEPT: AtomicUsize = AtomicUsize::new(0);

/// What PyO3 made, and the names of the arguments that are known by their address.
struct Made {
    dealloc: ffi::destructor,
    select: ffi::PyCFunctionFastWithKeywords,
    names: [Py<PyString>; 6],
}

static MADE: OnceLock<Made> = OnceLock::new();

/// NumPy's own type of arrays, and its type of the usual float64. Both stay for as long as the process.
struct Arrays {
    array: *mut ffi::PyTypeObject,
    float64: *mut PyArray_Descr,
}

// SAFETY: only addresses are compared.
unsafe impl Send for Arrays {}
// SAFETY: the same.
unsafe impl Sync for Arrays {}

/// Known from the first array on: NumPy isn't imported for lists.
static ARRAYS: OnceLock<Arrays> = OnceLock::new();

/// Puts the functions of this file in their places, once.
pub fn install(py: Python<'_>) -> PyResult<()> {
    if !HAS_LOCK || MADE.get().is_some() {
        return Ok(());
    }
    let missing = || PyImportError::new_err("headrace was built with a version of PyO3 that it doesn't know");
    let (rule, decision) = (py.get_type::<Rule>().as_type_ptr(), py.get_type::<Decision>().as_type_ptr());
    // SAFETY: PyO3 made both types, and keeps them and the table of methods for as long as the process; the table ends with a
    // method without a name, and lies in memory that may be written. No other thread runs in the interpreter meanwhile.
    unsafe {
        let mut method = (*rule).tp_methods;
        while !(*method).ml_name.is_null() && CStr::from_ptr((*method).ml_name) != c"select" {
            method = method.add(1);
        }
        let is_known =
            !(*method).ml_name.is_null() && (*method).ml_flags == ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
        let (true, Some(dealloc)) = (is_known, (*decision).tp_dealloc) else { return Err(missing()) };
        let name = |name| PyString::intern(py, name).unbind();
        let made = Made {
            dealloc,
            select: (*method).ml_meth.PyCFunctionFastWithKeywords,
            names: ["variance", "run", "allowed", "max_cost", "covariance", "loading"].map(name),
        };
        if MADE.set(made).is_ok() {
            (*method).ml_meth = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: select };
            (*decision).tp_dealloc = Some(keep);
        }
    }
    Ok(())
}

/// A decision as an object.
#[allow(clippy::cast_ptr_alignment)] // where a decision lies, another may lie
#[inline]
pub fn object(py: Python<'_>, decision: rule::Decision) -> PyResult<Bound<'_, Decision>> {
    let n_kept = N_OF_KEPT.load(Relaxed);
    let Some(last) = n_kept.checked_sub(1).and_then(|last| KEPT.get(last)) else {
        return Bound::new(py, Decision(decision));
    };
    let kept = last.load(Relaxed);
    N_OF_KEPT.store(n_kept - 1, Relaxed);
    // SAFETY: what is kept is the object of an ended decision, whole but for its count and its share of its type, which are set here. Nobody
    // else refers to it. The new value goes to where the old one lies, which had nothing to drop.
    unsafe {
        ffi::PyObject_Init(kept, ffi::Py_TYPE(kept));
        let object = Bound::from_owned_ptr(py, kept).cast_into_unchecked::<Decision>();
        let offset = ptr::from_ref(object.get()).addr() - kept.addr();
        kept.byte_add(offset).cast::<Decision>().write(Decision(decision));
        Ok(object)
    }
}

const _: () = assert!(!std::mem::needs_drop::<Decision>(), "an ended decision is not dropped");

/// Keeps the object of a decision that has ended, or leaves it to PyO3. Runs no Python code.
unsafe extern "C" fn keep(object: *mut PyObject) {
    let n_kept = N_OF_KEPT.load(Relaxed);
    if let Some(place) = KEPT.get(n_kept) {
        // SAFETY: CPython calls this for an object without references; no class inherits from that of decisions. Its share of
        // its type is given back, as for each object of a type on the heap; PyO3 holds another.
        unsafe {
            ffi::PyObject_GC_UnTrack(object.cast());
            ffi::Py_DECREF(ffi::Py_TYPE(object).cast());
        }
        place.store(object, Relaxed);
        N_OF_KEPT.store(n_kept + 1, Relaxed);
    } else if let Some(made) = MADE.get() {
        // SAFETY: this is what CPython would have called.
        unsafe { (made.dealloc)(object) }
    }
}

/// `Rule.select`, as CPython calls it.
unsafe extern "C" fn select(
    rule: *mut PyObject,
    args: *const *mut PyObject,
    n_args: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let Some(made) = MADE.get() else { return ptr::null_mut() };
    // A panic, which would be a defect, leads to PyO3's function, and so to the exception that it makes of one.
    let answer = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: CPython calls this with the lock held, and the method object has checked that `rule` is one. `args` are
        // `n_args` objects and one more for each of `names`, which is a tuple or null. The caller keeps all of them alive.
        unsafe {
            let py = Python::assume_attached();
            let rule = Borrowed::from_ptr(py, rule).cast_unchecked::<Rule>();
            if n_args != 2 {
                return None;
            }
            let names = items(names).unwrap_or_default();
            let (positional, by_name) = slice::from_raw_parts(args, 2 + names.len()).split_at(2);
            let given = Given::of(made, positional, names, by_name)?;
            given.decide(py, rule.get())
        }
    }));
    if let Ok(Some(decision)) = answer {
        return decision;
    }
    // SAFETY: the arguments are those that CPython gave.
    unsafe {
        if ARRAYS.get().is_none()
            && n_args > 0
            && CStr::from_ptr((*ffi::Py_TYPE(*args)).tp_name) == c"numpy.ndarray"
        {
            // Without NumPy's interface, arrays go on to PyO3.
            let _ = catch_unwind(|| ARRAYS.get_or_init(|| Arrays::find(Python::assume_attached())));
        }
        (made.select)(rule, args, n_args, names)
    }
}

impl Arrays {
    /// Asks NumPy, which has been imported.
    #[cold]
    fn find(py: Python<'_>) -> Self {
        let array = py.get_type::<PyUntypedArray>().as_type_ptr();
        Self { array, float64: PyArrayDescr::of::<f64>(py).into_dtype_ptr() }
    }
}

/// The arguments of a call of `select`.
#[derive(Clone, Copy)]
struct Given {
    quality: *mut PyObject,
    cost: *mut PyObject,
    variance: *mut PyObject,
    run: *mut PyObject,
    allowed: *mut PyObject,
    max_cost: *mut PyObject,
}

impl Given {
    /// Sorts arguments by their names. None where there are others than this file knows.
    #[inline]
    fn of(
        made: &Made,
        positional: &[*mut PyObject],
        names: &[*mut PyObject],
        by_name: &[*mut PyObject],
    ) -> Option<Self> {
        let &[quality, cost] = positional else { return None };
        let nothing = ptr::null_mut();
        let mut given =
            Self { quality, cost, variance: nothing, run: nothing, allowed: nothing, max_cost: nothing };
        for (&name, &value) in names.iter().zip(by_name) {
            let place = match made.names.iter().position(|known| known.as_ptr() == name)? {
                0 => &mut given.variance,
                1 => &mut given.run,
                2 => &mut given.allowed,
                3 => &mut given.max_cost,
                _ if is_none(value) => continue,
                _ => return None,
            };
            *place = if is_none(value) { nothing } else { value };
        }
        Some(given)
    }

    /// Decides, as an owned object, or null with an exception set. None where that is for PyO3's function to do.
    ///
    /// # Safety
    /// The pointers are null or those of objects that live, and the lock is held.
    #[inline]
    unsafe fn decide(self, py: Python<'_>, rule: &Rule) -> Option<*mut PyObject> {
        BUFFERS.with(|buffers| {
            let (workspace, _) = &mut *buffers.try_borrow_mut().ok()?;
            let [mut quality, mut variance, mut cost] = [[const { MaybeUninit::uninit() }; MAX_MODELS]; 3];
            // SAFETY: nothing but this function runs until all is read.
            let (quality, variance, cost, run, allowed, max_cost) = unsafe {
                let quality = read(self.quality, &mut quality, SIGNED)?;
                let n_models = quality.len();
                let cost = read(self.cost, &mut cost, UNSIGNED)?;
                let variance = if self.variance.is_null() {
                    None
                } else {
                    Some(read(self.variance, &mut variance, UNSIGNED)?)
                };
                let max_cost = if self.max_cost.is_null() { f64::INFINITY } else { float(self.max_cost)? };
                let (run, allowed) = (models(self.run, n_models)?, models(self.allowed, n_models)?);
                (quality, variance, cost, run, allowed, max_cost)
            };
            let n_models = quality.len();
            let is_right =
                cost.len() == n_models && variance.is_none_or(|variance| variance.len() == n_models);
            if !is_right || max_cost.is_nan() || max_cost < 0.0 {
                return None;
            }
            let signals = Signals::default();
            // SAFETY: a single decision is made by the thread that asks for it, which holds the lock.
            let have_raised = || signals.are_due() && signals.look(unsafe { Python::assume_attached() });
            let problem = Problem {
                belief: Belief::of_checked(
                    quality,
                    variance.map_or(Uncertainty::Certain, Uncertainty::Independent),
                ),
                cost,
                run: run.unwrap_or_default(),
                allowed: allowed.unwrap_or(ModelSet::first(n_models)),
                max_cost,
                stop: Stop::new(&have_raised),
                tie: None,
            };
            let made = match rule.decide(&problem, workspace) {
                Ok(decision) => object(py, decision),
                Err(_) => Err(signals.raised()?),
            };
            Some(made.map_or_else(
                |error| {
                    error.restore(py);
                    ptr::null_mut()
                },
                Bound::into_ptr,
            ))
        })
    }
}

fn is_none(value: *mut PyObject) -> bool {
    // SAFETY: only the address is compared.
    ptr::eq(value, unsafe { ffi::Py_None() })
}

/// The items of a plain list or tuple.
///
/// # Safety
/// The pointer is null or that of an object. The items may be used for as long as no Python code can run.
#[inline]
unsafe fn items<'a>(values: *mut PyObject) -> Option<&'a [*mut PyObject]> {
    if values.is_null() {
        return None;
    }
    // SAFETY: the type says how the object lies in memory.
    unsafe {
        let (first, n_items) = if ffi::PyList_CheckExact(values) != 0 {
            ((*values.cast::<ffi::PyListObject>()).ob_item.cast_const(), ffi::PyList_GET_SIZE(values))
        } else if ffi::PyTuple_CheckExact(values) != 0 {
            let first = &raw const (*values.cast::<ffi::PyTupleObject>()).ob_item;
            (first.cast(), ffi::PyTuple_GET_SIZE(values))
        } else {
            return None;
        };
        let n_items = usize::try_from(n_items).ok()?;
        // An empty list has no memory for items.
        Some(if n_items == 0 { &[] } else { slice::from_raw_parts(first, n_items) })
    }
}

/// A plain float.
///
/// # Safety
/// The pointer is that of an object.
#[inline]
unsafe fn float(value: *mut PyObject) -> Option<f64> {
    // SAFETY: exactly a float.
    unsafe { (ffi::PyFloat_CheckExact(value) != 0).then(|| ffi::PyFloat_AS_DOUBLE(value)) }
}

/// The floats of a plain list, tuple or array, copied to `room`, if there is at least one and each is a number of [`SIGNED`] or
/// [`UNSIGNED`] bits up to the largest magnitude.
///
/// # Safety
/// As [`items`]: no other code runs meanwhile.
#[inline]
unsafe fn read(values: *mut PyObject, room: &mut Room, mask: u64) -> Option<&[f64]> {
    // SAFETY: as the caller says; a list or a tuple that Python code has seen holds objects only.
    unsafe {
        match items(values) {
            Some(items) => copied(items.len(), |at| float(items[at]), room, mask),
            None => copied_of_array(values, room, mask),
        }
    }
}

/// Copies `n` numbers to `room`, if all are right.
#[inline]
fn copied(n: usize, number: impl Fn(usize) -> Option<f64>, room: &mut Room, mask: u64) -> Option<&[f64]> {
    let numbers = room.get_mut(..n).filter(|numbers| !numbers.is_empty())?;
    let mut largest = 0;
    for (at, place) in numbers.iter_mut().enumerate() {
        let number = place.write(number(at)?);
        // Without their sign, floats are in the order of their bits, and what isn't finite comes last; with it, a negative one does.
        largest = largest.max(number.to_bits() & mask);
    }
    let is_right = largest <= LARGEST_MAGNITUDE.to_bits();
    // SAFETY: all of them were written.
    is_right.then(|| unsafe { slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) })
}

/// The same of an array of NumPy's own type, with one dimension and aligned numbers of the usual float64.
///
/// # Safety
/// The pointer is that of an object. As [`items`]; native code of another thread that writes to the array at this moment would
/// interfere, as it would with NumPy's own functions.
#[allow(clippy::cast_ptr_alignment)] // the array says that its numbers are aligned
#[inline]
unsafe fn copied_of_array(values: *mut PyObject, room: &mut Room, mask: u64) -> Option<&[f64]> {
    let Arrays { array, float64 } = ARRAYS.get()?;
    // SAFETY: the type says how the object lies in memory, and the array what lies where: `n` numbers, `stride` bytes apart.
    unsafe {
        if ffi::Py_TYPE(values) != *array {
            return None;
        }
        let array = &(*values.cast::<PyArrayObject>()).fields;
        if array.nd != 1 || array.descr != *float64 || array.flags & NPY_ARRAY_ALIGNED == 0 {
            return None;
        }
        let (n, stride) = (usize::try_from(*array.dimensions).ok()?, *array.strides);
        let number = |at: usize| {
            let number = array.data.byte_offset(at.cast_signed() * stride);
            Some(number.cast::<f64>().read())
        };
        copied(n, number, room, mask)
    }
}

/// Bits that are looked at of numbers that may be negative, and of those that may not. A zero with a sign is none of the latter.
const SIGNED: u64 = u64::MAX >> 1;
const UNSIGNED: u64 = u64::MAX;

/// Room for a number of each model.
type Room = [MaybeUninit<f64>; MAX_MODELS];

/// The models named by a plain list or tuple of plain ints, or of one bool per model; `Some(None)` for a null pointer.
///
/// # Safety
/// As [`items`]: no other code runs meanwhile.
#[allow(clippy::option_option)]
unsafe fn models(values: *mut PyObject, n_models: usize) -> Option<Option<ModelSet>> {
    if values.is_null() {
        return Some(None);
    }
    let mut set = ModelSet::EMPTY;
    // SAFETY: as the caller says.
    let values = unsafe { items(values) }?;
    if values.len() > n_models {
        return None;
    }
    // SAFETY: these are objects, as in `read`. An int that a C long can't hold is told by `overflow`, without an error.
    let is_mask = !values.is_empty() && unsafe { values.iter().all(|&flag| ffi::PyBool_Check(flag) != 0) };
    if is_mask && values.len() != n_models {
        return None;
    }
    for (at, &value) in values.iter().enumerate() {
        if is_mask {
            // SAFETY: only the address is compared.
            if ptr::eq(value, unsafe { ffi::Py_True() }) {
                set = set.with(at);
            }
            continue;
        }
        let mut overflow = 0;
        // SAFETY: exactly an int, whose number is read without a call of Python code.
        let model = unsafe {
            if ffi::PyLong_CheckExact(value) == 0 {
                return None;
            }
            ffi::PyLong_AsLongAndOverflow(value, &raw mut overflow)
        };
        match usize::try_from(model) {
            Ok(model) if overflow == 0 && model < n_models => set = set.with(model),
            _ => return None,
        }
    }
    Some(Some(set))
}
