"""Read the docstrings of the compiled core where its stub has none: an extension of Griffe, named in mkdocs.yml."""

from __future__ import annotations

import inspect
from typing import Any

import griffe

from headrace import _core


class CompiledDocstrings(griffe.Extension):
    """Signatures are the stub's; docstrings are those of the objects."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Give every class and function of the core, and what is in a class, its docstring."""
        for thing in pkg[_core.__name__.rpartition(".")[2]].members.values():
            if thing.is_alias or not (thing.is_class or thing.is_function):
                continue
            compiled = getattr(_core, thing.name)
            _document(thing, compiled)
            for member in thing.members.values() if thing.is_class else ():
                if not member.name.startswith("_"):
                    _document(member, getattr(compiled, member.name))
            # Griffe shows how a class is called by its __init__.
            if "__new__" in thing.members and "__init__" not in thing.members:
                thing.members["__init__"] = thing.members["__new__"]


def _document(shown: Any, compiled: Any) -> None:
    if text := inspect.getdoc(compiled):
        shown.docstring = griffe.Docstring(text, parent=shown, parser="numpy")
