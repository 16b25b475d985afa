"""Parameters by name: scikit-learn's contract of get_params, set_params and repr, without scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any, Self

__all__ = ["Parameters"]


class Parameters:
    """An object whose constructor stores its arguments under their names, and does nothing else.

    So ``sklearn.base.clone`` copies it, and searches over parameters can set them. An estimator of your own needs no
    base class; this one saves a few lines.

    Examples
    --------
    >>> import headrace as hr
    >>> router = hr.Router(rule="routing").set_params(seed=3)
    >>> router, router.get_params()["seed"]
    (Router(rule='routing', seed=3), 3)
    """

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        parameters = list(inspect.signature(cls).parameters.values())
        return {p.name: p.default for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the parameters by name.

        Parameters
        ----------
        deep : bool, default True
            Also those of parameters that have some themselves, as ``<name>__<its name>``.

        Returns
        -------
        dict of str to value
        """
        params: dict[str, Any] = {}
        for name in self._defaults():
            value = params[name] = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                params |= {f"{name}__{inner}": given for inner, given in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ``<name>__<its name>`` sets one of a parameter's own.

        Raises
        ------
        ValueError
            An unknown name.
        """
        known = self._defaults()
        for name, value in params.items():
            outer, _, inner = name.partition("__")
            if outer not in known:
                raise ValueError(f"{name}: {type(self).__name__} has no such parameter; it has {', '.join(known)}")
            if inner:
                getattr(self, outer).set_params(**{inner: value})
            else:
                setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """Give scikit-learn what it asks of an estimator; only scikit-learn calls this."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=True))

    def __repr__(self) -> str:
        changed = []
        for name, default in self._defaults().items():
            value = getattr(self, name)
            if not (value is default or (type(value) is type(default) and bool(value == default))):
                changed.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"
