"""States: fitted estimators as arrays and JSON values, and back; nothing in a state is code.

An object takes part by two methods. ``get_state()`` gives a dict: arrays of numbers or bools, JSON values, lists,
tuples and dicts of these (by str, or by run set: the bytes of a bool array), and other objects that take part. A class
method ``from_state(state)`` makes the object again. Which class that is, a state says by a name only: that of a part of
headrace, or that under which an installed package registers an estimator (`headrace.estimators.registry`).
A function, such as `equal` of `LinearQuality`, is known by the name under which a package registers it::

    [project.entry-points."headrace.equalities"]
    same-number = "my_package:same_number"
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Self

import numpy as np

from headrace.arguments import listed
from headrace.errors import ArtefactError

__all__ = ["Stateful", "fingerprint", "flattened", "restored"]

#: Groups of entry points under which packages register estimators and functions.
ESTIMATORS = ("headrace.quality_estimators", "headrace.cost_estimators")
EQUALITIES = "headrace.equalities"

#: What is said of a name or an object that isn't registered.
UNKNOWN = "no installed package registers it as an entry point of"

#: Keys of dicts that stand for something else begin with this.
MARK = "$"

#: The parts of headrace by name.
_PARTS: dict[str, type[Stateful]] = {}


class Stateful:
    """An object whose state is some of its attributes.

    A subclass says ``part=``, its name in files, and ``kept=``, the attributes; parameters of its constructor that
    `Parameters` knows, come on top. An attribute that isn't there yet, as before a fit, is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators import ConstantQuality
    >>> estimator = ConstantQuality.from_state({"mean_": np.array([0.5, 1.0])})
    >>> estimator.get_state()
    {'mean_': array([0.5, 1. ])}
    """

    _part: ClassVar[str] = ""
    _kept: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, part: str = "", kept: Sequence[str] = (), **options: Any) -> None:
        super().__init_subclass__(**options)
        if part:
            cls._part, cls._kept = part, tuple(kept)
            _PARTS[part] = cls

    @classmethod
    @cache
    def _names(cls) -> tuple[str, ...]:
        parameters = cls._defaults() if hasattr(cls, "_defaults") else ()
        return (*parameters, *cls._kept)

    def get_state(self) -> dict[str, Any]:
        """Give what the object consists of.

        Returns
        -------
        dict of str to value
            Arrays, JSON values, and objects that have this method.
        """
        own = vars(self)
        return {name: own[name] for name in self._names() if name in own}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make the object again.

        Parameters
        ----------
        state : mapping of str to value
            As `get_state` gives it.

        Raises
        ------
        ValueError
            A name that isn't one of its attributes.
        """
        names = cls._names()
        for name in state:
            if name not in names:
                raise ValueError(f"state: {cls.__name__} has no {name!r}; it has {listed(names)}")
        made = cls.__new__(cls)
        vars(made).update(state)
        return made


def flattened(value: Any, put: Callable[[np.ndarray], int]) -> Any:
    """Turn a value of a state into JSON values.

    Parameters
    ----------
    value : object
        What may be in a state.
    put : callable
        Takes an array, and gives the number under which it is kept.

    Returns
    -------
    JSON value

    Raises
    ------
    ArtefactError
        Of kind "unsupported", for what can't be in a state.

    Examples
    --------
    >>> from headrace.estimators.state import flattened
    >>> flattened({"widths": (1, 2), "range": [0.0, float("inf")]}, put=int)
    {'widths': {'$tuple': [1, 2]}, 'range': [0.0, {'$float': 'inf'}]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, np.ndarray):
        return {"$array": put(_checked(value))}
    if isinstance(value, np.dtype):
        return {"$dtype": value.str}
    if isinstance(value, Mapping):
        return _of_mapping(value, put)
    if isinstance(value, list | tuple | set | frozenset):
        items = [flattened(item, put) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    return _of_object(value, put)


def fingerprint(value: Any) -> bytes:
    """Give a hash of a value of a state: that of an equal one is the same; errors as in `flattened`.

    Examples
    --------
    >>> from headrace.estimators.state import fingerprint
    >>> fingerprint({"range": (0.0, 1.0)}) == fingerprint({"range": (0.0, 1.0)}) != fingerprint({"range": [0.0, 1.0]})
    True
    """
    hashed = hashlib.blake2b(digest_size=16)

    def put(array: np.ndarray) -> int:
        hashed.update(f"{array.dtype.str} {array.shape}".encode())
        hashed.update(array.tobytes())
        return 0

    hashed.update(json.dumps(flattened(value, put)).encode())
    return hashed.digest()


def restored(value: Any, take: Callable[[int], np.ndarray]) -> Any:
    """Turn JSON values back into what `flattened` was given.

    Parameters
    ----------
    value : JSON value
    take : callable
        Gives the array that is kept under a number.

    Raises
    ------
    ArtefactError
        Of kind "unsupported", for an estimator or a function that no installed package registers.
    KeyError, TypeError, ValueError
        JSON values that `flattened` doesn't give.
    """
    if isinstance(value, list):
        return [restored(item, take) for item in value]
    if not isinstance(value, dict):
        return value
    mark = next((key for key in value if key.startswith(MARK)), None)
    if mark is None:
        return {key: restored(item, take) for key, item in value.items()}
    content = value[mark]
    if mark == "$array":
        return take(content)
    if mark == "$float":
        return float(content)
    if mark == "$tuple":
        return tuple(restored(item, take) for item in content)
    if mark == "$dict":
        return {key: restored(item, take) for key, item in content}
    if mark == "$runs":
        return {_run_named(run): restored(item, take) for run, item in content}
    if mark == "$dtype":
        return np.dtype(str(content))
    if mark == "$equality":
        return _registered(EQUALITIES, content)
    if mark == "$part":
        return _PARTS[content].from_state(restored(value["state"], take))
    if mark == "$estimator":
        group = value["group"]
        if group not in ESTIMATORS:
            raise ValueError(f"group: expected one of {listed(ESTIMATORS)}; got {group!r}")
        return _registered(group, content).from_state(restored(value["state"], take))
    raise ValueError(f"state: unknown mark {mark!r}")


def _checked(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise _unsupported(f"an array of dtype {array.dtype}, which may hold text of the fitting data")
    return array


def _of_mapping(value: Mapping[Any, Any], put: Callable[[np.ndarray], int]) -> dict[str, Any]:
    # Another thread that serves may be adding a run set.
    value = dict(value)
    if value and all(isinstance(key, bytes) for key in value):
        return {"$runs": [[_run_shown(run), flattened(item, put)] for run, item in value.items()]}
    for key in value:
        if not isinstance(key, str):
            raise _unsupported(f"a dict with the key {key!r}; keys are str")
    if any(key.startswith(MARK) for key in value):
        return {"$dict": [[key, flattened(item, put)] for key, item in value.items()]}
    return {key: flattened(item, put) for key, item in value.items()}


def _of_object(value: Any, put: Callable[[np.ndarray], int]) -> dict[str, Any]:
    """Name the class of an object, and give its state; or name a function."""
    kind = type(value)
    if isinstance(value, Stateful) and _PARTS.get(kind._part) is kind:
        return {"$part": kind._part, "state": flattened(value.get_state(), put)}
    name = f"{kind.__module__}.{kind.__qualname__}"
    if hasattr(value, "fit") and hasattr(value, "predict"):
        if not (callable(getattr(value, "get_state", None)) and callable(getattr(kind, "from_state", None))):
            raise _unsupported(f"the estimator {name}, which has no get_state() and from_state(state)")
        for group in ESTIMATORS:
            registered = _name_of(kind, group)
            if registered is not None:
                return {"$estimator": registered, "group": group, "state": flattened(value.get_state(), put)}
        raise _unsupported(
            f"the estimator {name}: no installed package registers it as an entry point of {ESTIMATORS[0]}"
        )
    if callable(value) and not isinstance(value, type):
        registered = _name_of(value, EQUALITIES)
        shown = f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', name)}"
        if registered is None:
            raise _unsupported(
                f"the function {shown}: no installed package registers it as an entry point of {EQUALITIES}"
            )
        return {"$equality": registered}
    raise _unsupported(f"an object of type {name}")


def _run_shown(run: bytes) -> str:
    """Write a run set, the bytes of a bool array, as text: "1" for a model that has run."""
    return "".join("1" if ran else "0" for ran in run)


def _run_named(text: str) -> bytes:
    return bytes(ran == "1" for ran in text)


def _name_of(wanted: Any, group: str) -> str | None:
    """Give the name of the entry point that is an object."""
    for point in entry_points(group=group):
        try:
            if point.load() is wanted:
                return point.name
        except Exception:  # another package's trouble is none of this object's
            continue
    return None


def _registered(group: str, name: str) -> Any:
    found = [point for point in entry_points(group=group) if point.name == name]
    if not found:
        raise ArtefactError(f"it needs {name!r}: {UNKNOWN} {group}", kind="unsupported")
    return found[0].load()


def _unsupported(what: str) -> ArtefactError:
    return ArtefactError(f"decider: a file can't hold {what}", kind="unsupported")
