"""Packages that not everybody needs: imported where they are used, or the way to get them is told."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["EXTRAS", "imported"]

#: Which extra brings a package.
EXTRAS = {
    "httpx": "serve",
    "huggingface_hub": "hub",
    "jinja2": "report",
    "joblib": "estimators",
    "langchain_core": "langchain",
    "litellm": "litellm",
    "matplotlib": "report",
    "narwhals": "data",
    "opentelemetry": "otel",
    "prometheus_client": "serve",
    "pyarrow": "data",
    "ray": "ray",
    "sklearn": "estimators",
    "starlette": "serve",
    "uvicorn": "serve",
}


def imported(module: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        E.g. "pyarrow.parquet".
    purpose : str
        What needs it, as the message says: "Parquet files".

    Raises
    ------
    ImportError
        It isn't installed; the message says how to get it.

    Examples
    --------
    >>> from headrace.extras import imported
    >>> imported("json", "an example").dumps([1])
    '[1]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        install = f"pip install 'headrace[{EXTRAS[package]}]'" if package in EXTRAS else f"pip install {package}"
        raise ModuleNotFoundError(f"{purpose} needs {package}: {install}", name=package) from error
