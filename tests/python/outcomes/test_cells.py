"""Numbers in text: against reading every cell on its own."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from headrace.outcomes.readers.cells import MISSING_WORDS, PADDED, TRUTH, WHOLE, number_in, numbers_if_all, parsed
from headrace.outcomes.rows import Rows, shown

Cells = list[str | None]

WHOLES = st.integers(-(2**64), 2**64).map(str) | st.integers(-9, 9).map(str)
FLOATS = st.floats().map(repr) | st.sampled_from(["1.0", "-0.0", ".5", "1e400", "inf", "-Infinity"])
MISSING = st.none() | st.sampled_from(sorted(MISSING_WORDS)) | st.sampled_from(["NaN", "N/A", "None"])
TRUTHS = st.sampled_from(["true", "True", "FALSE", "false"])
OTHERS = st.sampled_from(["007", "+1", "1_0", " 2", "yes", "$3", "12345678901234567890123", "0x1"])


@st.composite
def columns(draw: st.DrawFn) -> Cells:
    """Draw a column of a few different cells, of one kind or of several, that come again and again."""
    kinds = draw(st.lists(st.sampled_from([WHOLES, FLOATS, MISSING, TRUTHS, OTHERS]), min_size=1, max_size=3))
    distinct = draw(st.lists(st.one_of(kinds), min_size=1, max_size=5))
    return draw(st.lists(st.sampled_from(distinct), min_size=1, max_size=12))


def column_of(cells: Cells) -> npt.NDArray[np.object_]:
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


def is_missing(cell: str | None) -> bool:
    return cell is None or cell.lower() in MISSING_WORDS


def plain_numbers(cells: Cells) -> npt.NDArray[Any] | None:
    """Give the numbers of a column, cell by cell; None where it stays text."""
    present = [cell for cell in cells if cell is not None and not is_missing(cell)]
    try:
        if not present or np.isnan(number_in(present[0])):
            return None
        numbers = [np.nan if is_missing(cell) else number_in(cell) for cell in cells]
    except ValueError:
        return None
    whole = all(WHOLE.fullmatch(cell) for cell in present)
    if any(PADDED.match(cell) for cell in present) or (whole and any(abs(int(cell)) >= 2**63 for cell in present)):
        return None
    if len(present) == len(cells) and whole:
        return np.array([int(cell) for cell in present], dtype=np.int64)
    if len(present) == len(cells) and all(cell.lower() in TRUTH for cell in present):
        return np.array(numbers, dtype=np.bool_)
    return np.array(numbers, dtype=np.float64)


@settings(max_examples=400, deadline=None)
@given(cells=columns())
def test_a_column_of_text_that_is_all_numbers(cells: Cells) -> None:
    column, expected = column_of(cells), plain_numbers(cells)
    found = numbers_if_all(column)
    if expected is None:
        assert found is column
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=400, deadline=None)
@given(cells=columns(), truth=st.booleans())
def test_a_column_that_must_be_numbers(cells: Cells, truth: bool) -> None:
    expected, wrong, words = [], [], []
    for row, cell in enumerate(cells):
        if cell is not None and is_missing(cell):
            words.append(cell)
        try:
            expected.append(np.nan if is_missing(cell) else number_in(cell, truth=truth))
        except ValueError:
            wrong.append(row)
    notes: list[str] = []
    if wrong:
        with pytest.raises(ValueError, match="column 'x': expected a number, got ") as refused:
            parsed("x", column_of(cells), notes, truth=truth)
        assert f"got {shown(cells[wrong[0]])}{Rows(source='x').place(wrong)}" in str(refused.value)
        assert notes == []
        return
    np.testing.assert_array_equal(parsed("x", column_of(cells), notes, truth=truth), expected)
    told = [f"column 'x': {len(words)} cells such as {words[0]!r} count as missing"] if words else []
    assert notes == told
