"""Mutations of files: what damage, accidents and people with bad intent make of a valid one."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["mutated", "mutated_json", "mutated_value"]

#: What is put into a file or in place of a word of it.
ODD_BYTES = (
    *(b"NaN", b"nan", b"Infinity", b"-inf", b"1e308", b"-1e308", b"1e999", b"-0", b"-0.0", b"5e-324", b"1e-300"),
    *(b"0", b"-1", b"2", b"0.5", b"9" * 30, b"9" * 400, b"9" * 5000, b"0x10", b"1_000", b"007", b"1,5", b"+1"),
    *(b"true", b"false", b"null", b"None", b"", b" ", b'""', b'"', b"'", b'""""', b"\\", b"|", b"|quality", b"|cost"),
    *(b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\n\n", b":", b"{", b"}", b"[", b"]", b"[]", b"{}", b"#", b"="),
    *(b"\x00", b"\x1b[2J", b"\x7f", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"\\ud800"', b"\\udfff"),
    *("\u2028".encode(), "\u202e".encode(), "١٢".encode(), "é".encode("latin-1"), b"\xf0\x9f\x90\x88"),
    *(b"[" * 100_000, b'{"a":' * 20_000, b"[" * 400 + b"]" * 400, b"a" * 70_000, b'"' + b"b" * 3000 + b'"'),
    *(b"cost", b"quality", b"query_id", b"group", b"model", b"text", b"task", b"answer", b"tokens"),
)

#: What is put in place of a value of JSON.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -0.0, -1, 1, 2, 0.5, 1.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf")),
    *(2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 10**4000),
    *("", " ", "a", "1", "007", "NaN", "1e308", "-0", "true", "null", "\x00", "\x1b[2J", "\ud800", "\ufeffa", "\u2028"),
    *("|", "a|quality", "cost", "quality", "inf", "x" * 70_000),
    *([], [None], [1, 2], ["a"], [[]], [1, "a"], [float("nan")], {}, {"a": 1}, {"": None}, {"cost": [1]}),
)

#: Values that nest up to so many levels; json.dumps itself gives up at about 1000.
DEEPEST = 400

WORD = re.compile(rb'"[^"\n]*"|[A-Za-z0-9_.+-]+')


def mutated(r: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change one of some files in one to four places, or cut it, or join it with another one."""
    data = r.choice(seeds)
    for _ in range(r.choice((1, 1, 1, 2, 4))):
        data = _changed(r, data, seeds)
    return data


def _changed(r: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    kind = r.randrange(10)
    a, b = sorted((r.randint(0, len(data)), r.randint(0, len(data))))
    if kind == 0 and data:
        damaged = bytearray(data)
        for _ in range(r.choice((1, 1, 3, 20))):
            damaged[r.randrange(len(data))] ^= 1 << r.randrange(8)
        return bytes(damaged)
    if kind == 1:
        return data[:a] + data[min(b, a + r.choice((1, 8, 1000))) :]
    if kind == 2:
        return data[:b] + data[max(a, b - 2000) : b] * r.choice((1, 2, 30)) + data[b:]
    if kind == 3:
        c = r.randint(b, len(data))
        return data[:a] + data[b:c] + data[a:b] + data[c:]
    if kind in (4, 5):
        return data[:a] + r.choice(ODD_BYTES) + data[a:]
    if kind == 6:
        return data[:a]
    if kind == 7:
        other = r.choice(seeds)
        return data[:a] + other[r.randint(0, len(other)) :]
    words = list(WORD.finditer(data))
    if not words:
        return data + r.choice(ODD_BYTES)
    word = r.choice(words)
    new = r.choice(ODD_BYTES) if r.random() < 0.8 else r.choice(words).group()
    return data[: word.start()] + new + data[word.end() :]


def mutated_json(r: random.Random, text: bytes, *, in_lines: bool) -> bytes:
    """Change one to three values of JSON text; its own form stays valid."""
    lines = text.split(b"\n") if in_lines else [text]
    places = [place for place, line in enumerate(lines) if line.strip()]
    value: Any
    for _ in range(r.choice((1, 1, 2, 3))):
        place = r.choice(places)
        value = mutated_value(r, json.loads(lines[place]))
        # Sometimes as other programs write it: lone surrogates as bytes.
        ascii_only = r.random() < 0.8
        lines[place] = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def mutated_value(r: random.Random, value: Any) -> Any:
    """Change one value within a value as JSON knows it, which is not kept as it was."""
    slots = list(_slots(value))
    if not slots:
        return _odd(r)
    holder, key = r.choice(slots)
    kind = r.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        other, name = r.choice(slots)
        holder[key] = json.loads(json.dumps(other[name]))
    elif kind == 2 and isinstance(holder, dict):
        holder[r.choice(("", "a", "cost", "a|quality", "\ud800", "\x00", "k" * 5000, key + " "))] = holder.pop(key)
    elif kind == 3 and isinstance(holder, list):
        holder.insert(key, json.loads(json.dumps(holder[key])))
    else:
        holder[key] = _odd(r)
    return value


def _odd(r: random.Random) -> Any:
    if r.random() < 0.05:
        nested: Any = []
        for _ in range(r.choice((3, DEEPEST))):
            nested = r.choice(([nested], {"a": nested}))
        return nested
    return json.loads(json.dumps(r.choice(ODD_VALUES))) if r.random() < 0.9 else [r.choice(ODD_VALUES)] * 50


def _slots(value: Any) -> list[tuple[Any, Any]]:
    """Name the place of each value within a value, but for those below the deepest."""
    found: list[tuple[Any, Any]] = []
    holders = [value]
    while holders:
        holder = holders.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            holders.append(holder[key])
    return found
