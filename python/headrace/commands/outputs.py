"""What the commands write: refused before the work where it can't be written, and no reason to lose the result."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from headrace.atomic_file import same_file

__all__ = ["Force", "Output", "attempted", "check_output", "tell_written"]

Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]


class Output(NamedTuple):
    """A file that was to be written.

    Attributes
    ----------
    path : Path or None
        Where it is; None if it isn't there.
    failure : Exception or None
        Why it isn't.
    """

    path: Path | None = None
    failure: Exception | None = None

    @property
    def name(self) -> str | None:
        """The path as text, for JSON."""
        return None if self.path is None else str(self.path)


def check_output(
    option: str,
    path: Path,
    *,
    reads: Sequence[Path | None] = (),
    force: bool = False,
    suffixes: Sequence[str] = (),
) -> None:
    """Refuse a file that can't, or mustn't, be written, before there is anything to write.

    Parameters
    ----------
    option : str
        Which option named it, for the message.
    path : Path
    reads : sequence of Path or None
        What the command reads: never overwritten.
    force : bool
        Whether a file that exists may be replaced.
    suffixes : sequence of str
        Kinds of files that the command writes; any if empty.

    Raises
    ------
    typer.BadParameter
        The file is of another kind.
    ValueError, OSError
        It is what the command reads, or exists; its folder isn't there or can't be written
        to.

    Examples
    --------
    >>> from pathlib import Path
    >>> from headrace.commands.outputs import check_output
    >>> check_output("--out", Path("log.csv"), reads=[Path("log.csv")])
    Traceback (most recent call last):
    ValueError: --out: log.csv is what is read; name another file
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise typer.BadParameter(f"{option}: expected a name that ends in {', '.join(suffixes)}; got {path.name}")
    if any(read is not None and same_file(read, path) for read in reads):
        raise ValueError(f"{option}: {path} is what is read; name another file")
    if path.is_file() and not force:
        raise ValueError(f"{option}: {path} exists; name another file, or replace it with --force")
    reason = "it isn't a file" if path.exists() and not path.is_file() else None
    try:
        with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
            pass
    except OSError as error:
        reason = reason or error.strerror or str(error)
    if reason is not None:
        raise OSError(f"{option}: expected a file in a folder that can be written to, got {path} ({reason})")


def attempted(write: Callable[[], Path]) -> Output:
    """Write a file; whatever fails is for the caller to raise once the result is printed, so that no work is lost."""
    try:
        return Output(write())
    except Exception as error:
        return Output(failure=error)


def tell_written(output: Output, *, quiet: bool = False) -> None:
    """Say what was written, or raise what went wrong, once the result is printed."""
    if output.failure is not None:
        raise output.failure
    if output.path is not None and not quiet:
        typer.echo(f"written: {output.path}")
