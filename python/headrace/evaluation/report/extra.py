"""The packages of the extra `report`: pictures and pages need them, nothing else does."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["imported"]


def imported(module: str) -> ModuleType:
    """Import a module of the extra.

    Parameters
    ----------
    module : str
        E.g. "matplotlib.figure" or "jinja2".

    Raises
    ------
    ImportError
        It isn't installed; the message says how to get it.

    Examples
    --------
    >>> from headrace.evaluation.report.extra import imported
    >>> imported("json").dumps([1])
    '[1]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"pages and pictures need {package}: pip install 'headrace[report]'") from error
