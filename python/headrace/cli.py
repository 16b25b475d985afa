"""The command line, ``headrace``: its commands are in `headrace.commands`."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; say how to install it where it isn't, and when what it prints can't be written."""
    try:
        from headrace.commands import app
    except ImportError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit("The headrace command needs typer and rich: pip install 'headrace[cli]'")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:  # the disk of the standard output is full, or its reader is gone
        # What is left in its buffer would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"error: the standard output: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
