"""The command line, ``headrace``: its commands are in `headrace.commands`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; say how to install it where it isn't."""
    try:
        from headrace.commands import app
    except ImportError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit("The headrace command needs typer and rich: pip install 'headrace[cli]'")
    app()
