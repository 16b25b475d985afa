"""Write the reference values that ``tests/rust/golden.rs`` compares the core with.

They are computed with mpmath to 40 digits (but for the third kind), from formulas that the core does not use:

* Independent normals: E[max] = b - integral from a to b of the product of the CDFs, with all mass between a and b
  (to 1e-32). A model without uncertainty only raises a to its mean, exactly.
* Two correlated normals: Clark's closed form, of the covariance's doubles as they stand.
* More correlated normals, of covariance diag(own_sd^2) + loading loading': given the common factor z they are
  independent of means mean + loading z, so E[max] is the average of the first integral over z. This double integral
  is taken in double precision, to 1e-13.
* Functions of the normal distribution: closed forms; their inverses by root finding.

Integrals are sums over panels of 16 Gauss-Legendre nodes. Each panel is halved until the halves agree with the whole
to the tolerance, and the halves are taken. Inputs are drawn from `SEED` and written as the shortest decimals that
read back as the same doubles. Needs mpmath and rustfmt, and a few minutes::

    python scripts/make_golden.py
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from mpmath import mp, mpf

SEED = 20260117
TARGET = Path(__file__).parents[1] / "tests/rust/golden_values.rs"

mp.dps = 40
# Of one panel, in units of the largest standard deviation: of the single integral, and of those inside the double one.
TOLERANCE = mpf("1e-22")
INNER_TOLERANCE = 1e-14

# No normal has more than 2e-33 of its mass beyond so many standard deviations.
REACH = 12
# Where panels begin, in standard deviations around each mean.
SPLITS = (-REACH, -8, -6, -4, -2, -1, 0, 1, 2, 4, 6, 8, REACH)
N_NODES = 16

TAIL_POINTS = (-38.0, -10.0, -5.0, -1.0, -1e-8, 0.0, 1e-8, 0.5, 1.0, 2.0, 3.5, 5.0, 8.0, 12.0, 20.0, 30.0, 37.0)
PROBABILITIES = (
    *(1e-300, 1e-100, 1e-20, 1e-9, 1e-4, 0.02, 0.02425, 0.03, 0.1, 0.25, 0.4),
    *(0.4999, 0.499999999, 0.5, 0.500001, 0.6, 0.9, 0.999, 1 - 2.0**-30, 1 - 2.0**-53),
)
EXCESS_POINTS = (*(-40.0, -10.0, -5.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 37.0),)
EXCESS_TARGETS = (
    *(1e-290, 1e-200, 1e-100, 1e-30, 1e-16, 1e-8, 1e-4, 0.01, 0.1, 0.3, 0.3989),
    *(0.399, 0.4, 0.41, 0.6, 1.0, 3.0, 8.0, 39.0, 41.0, 1e9),
)

HEAD = """\
//! Reference values for `golden.rs`. Written by `scripts/make_golden.py`, which says how they are computed.

/// Independent normals, and the expected value of their maximum.
#[derive(Debug)]
pub struct IndependentCase {
    pub name: &'static str,
    pub mean: &'static [f64],
    pub sd: &'static [f64],
    pub value: f64,
}

/// Two normals of a covariance given row by row, and the expected value of their maximum.
#[derive(Debug)]
pub struct PairCase {
    pub name: &'static str,
    pub mean: [f64; 2],
    pub covariance: [f64; 4],
    pub value: f64,
}

/// Normals of covariance diag(own sd^2) + loading loading', and the expected value of their maximum.
#[derive(Debug)]
pub struct FactorCase {
    pub name: &'static str,
    pub mean: &'static [f64],
    pub own_sd: &'static [f64],
    pub loading: &'static [f64],
    pub value: f64,
}
"""


Number = TypeVar("Number", mpf, float)


@dataclass(frozen=True)
class Independent:
    """Independent normals."""

    name: str
    mean: list[float]
    sd: list[float]


@dataclass(frozen=True)
class Pair:
    """Two normals of any covariance."""

    name: str
    mean: list[float]
    covariance: list[float]


@dataclass(frozen=True)
class Factor:
    """Normals that share one factor."""

    name: str
    mean: list[float]
    own_sd: list[float]
    loading: list[float]


# Quadrature


@cache
def gauss_legendre(number: type) -> list[tuple[Number, Number]]:
    """Nodes and weights on [-1, 1], by Newton's method on the Legendre polynomial."""
    rule = []
    for i in range(N_NODES):
        x = mp.cos(mp.pi * (i + 0.75) / (N_NODES + 0.5))
        for _ in range(7):
            before, at = mpf(1), x
            for n in range(2, N_NODES + 1):
                before, at = at, ((2 * n - 1) * x * at - (n - 1) * before) / n
            slope = N_NODES * (x * at - before) / (x * x - 1)
            x -= at / slope
        rule.append((x, 2 / ((1 - x * x) * slope * slope)))
    assert abs(sum(w for _, w in rule) - 2) < mpf("1e-36")
    return [(number(x), number(w)) for x, w in rule]


def panel(f: Callable[[Number], Number], a: Number, b: Number) -> Number:
    centre, half = (a + b) / 2, (b - a) / 2
    return half * sum(w * f(centre + half * x) for x, w in gauss_legendre(type(half)))


def integrate(f: Callable[[Number], Number], edges: Sequence[Number], tolerance: Number) -> Number:
    """Sum over the panels between the edges, each halved until the halves agree with the whole."""
    total = 0
    todo = [(a, b, panel(f, a, b)) for a, b in itertools.pairwise(edges)]
    while todo:
        a, b, whole = todo.pop()
        middle = (a + b) / 2
        left, right = panel(f, a, middle), panel(f, middle, b)
        if abs(left + right - whole) <= tolerance:
            total += left + right
        else:
            todo += [(a, middle, left), (middle, b, right)]
    return total


# Expected maxima


def cdf(z: Number) -> Number:
    return math.erfc(-z / math.sqrt(2)) / 2 if isinstance(z, float) else mp.erfc(-z / mp.sqrt(2)) / 2


def split(mean: Sequence[Number], sd: Sequence[Number], start: Number, end: Number) -> list[Number]:
    """Edges from `SPLITS`, but none closer to the last than a quarter of the smallest standard deviation at work."""
    points = sorted(m + c * s for m, s in zip(mean, sd, strict=True) for c in SPLITS)
    edges = [start]
    for point in points:
        at_work = [s for m, s in zip(mean, sd, strict=True) if abs(point - m) <= REACH * s]
        if start < point < end and point - edges[-1] >= min(at_work) / 4:
            edges.append(point)
    return [*edges, end]


def independent_max(mean: Sequence[Number], sd: Sequence[Number], tolerance: Number) -> Number:
    start = max(m - REACH * s for m, s in zip(mean, sd, strict=True))
    rest = [(m, s) for m, s in zip(mean, sd, strict=True) if s > 0 and m + REACH * s > start]
    if not rest:
        return start
    end = max(m + REACH * s for m, s in rest)

    def product(t: Number) -> Number:
        result = 1
        for m, s in rest:
            if t < m + REACH * s:
                result *= cdf((t - m) / s)
        return result

    edges = split([m for m, _ in rest], [s for _, s in rest], start, end)
    return end - integrate(product, edges, tolerance * max(s for _, s in rest))


def value_of_independent(case: Independent) -> float:
    return float(independent_max([mpf(m) for m in case.mean], [mpf(s) for s in case.sd], TOLERANCE))


def value_of_pair(case: Pair) -> float:
    a, b = (mpf(m) for m in case.mean)
    v, c, _, w = (mpf(x) for x in case.covariance)
    theta = mp.sqrt(v + w - 2 * c)
    if theta == 0:
        return float(max(a, b))
    alpha = (a - b) / theta
    return float(a * mp.ncdf(alpha) + b * mp.ncdf(-alpha) + theta * mp.npdf(alpha))


def value_of_factor(case: Factor) -> float:
    mean, own, loading, reach = case.mean, case.own_sd, case.loading, 9.0

    def weighted(z: float) -> float:
        shifted = [m + b * z for m, b in zip(mean, loading, strict=True)]
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * independent_max(shifted, own, INNER_TOLERANCE)

    # The inner value bends where two models' means cross: sharply, where both follow the factor alone.
    edges = {-reach, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, reach}
    for i, j in itertools.combinations(range(len(mean)), 2):
        if loading[i] != loading[j]:
            crossing = (mean[i] - mean[j]) / (loading[j] - loading[i])
            width = math.hypot(own[i], own[j]) / abs(loading[i] - loading[j])
            edges |= {crossing + c * width for c in (-3, 0, 3)}
    return integrate(weighted, sorted(z for z in edges if abs(z) <= reach), 1e-14)


# The normal distribution


def unit_excess(z: mpf) -> mpf:
    return mp.npdf(z) - z * mp.ncdf(-z)


def quantile(p: float) -> mpf:
    if p == 0.5:
        return mpf(0)
    # From the smaller tail, whose logarithm is nearly linear; 1 - p is exact in mpmath.
    side, tail = (1, mpf(p)) if p < 0.5 else (-1, 1 - mpf(p))
    start = statistics.NormalDist().inv_cdf(max(float(tail), 1e-300))
    return side * mp.findroot(lambda z: mp.log(mp.ncdf(z)) - mp.log(tail), start)


def inverse_unit_excess(target: float) -> mpf:
    if target > 40:
        # unit_excess(z) + z is below 1e-300 here.
        return -mpf(target)
    start = -target if target > 0.4 else math.sqrt(-2 * math.log(target)) * 0.95
    return mp.findroot(lambda z: mp.log(unit_excess(z)) - mp.log(target), start)


def table(
    f: Callable[[mpf], mpf], points: Iterable[float], convert: Callable[[float], object] = mpf
) -> list[tuple[float, float]]:
    return [(x, float(f(convert(x)))) for x in points]


# Inputs


def uniform(rng: random.Random, low: float, high: float, n: int) -> list[float]:
    return [round(rng.uniform(low, high), 4) for _ in range(n)]


def scales(rng: random.Random, n: int) -> list[float]:
    """Draw standard deviations from 1e-6 to 10, even in the logarithm, of three digits; both ends are there."""
    inner = [float(f"{10 ** rng.uniform(-6, 1):.2e}") for _ in range(n)]
    return [1e-6, 10.0, *inner][:n]


def independent_cases() -> list[Independent]:
    rng = random.Random(SEED)
    cases = []

    def add(name: str, mean: list[float], sd: list[float]) -> None:
        cases.append(Independent(f"{name}, k = {len(mean)}", mean, sd))

    for k in (1, 2, 3, 5, 8, 11, 20, 50, 100):
        add("means in [0, 1] with sd 0.1", uniform(rng, 0, 1, k), [0.1] * k)
    for k in (2, 3, 5, 8, 11, 20, 50, 100):
        add("sds alike", uniform(rng, 0.3, 0.7, k), uniform(rng, 0.1, 0.3, k))
    for k in (2, 3, 5, 8, 11, 20, 50, 100):
        add("sds from 1e-6 to 10", uniform(rng, 0, 1, k), scales(rng, k))
    for k in (2, 3, 5, 8, 11, 20, 50):
        sd = [0.0 if j % 2 == 0 else s for j, s in enumerate(uniform(rng, 0.01, 0.3, k))]
        add("every other model certain", uniform(rng, 0, 1, k), sd)
    for k in (2, 5, 11, 20):
        add("means far apart", [5.0 * j for j in range(k)], uniform(rng, 0.1, 1, k))
    for k in (2, 3, 5, 6, 11, 12, 30, 31, 100, 128):
        add("identical", [0.5] * k, [0.1] * k)
    for k in (3, 5, 11, 30):
        add("means within two sds", uniform(rng, 0, 2, k), [1.0] * k)
    for k, sd in ((3, 0.5418), (5, 0.6501), (8, 0.8126), (11, 0.8126), (30, 0.8126), (128, 0.8126)):
        # The sd at which the core's panels, whole in number, come out as wide as it allows; nearly its worst case.
        for mean in (0.0, 0.1):
            add(f"one of sd 1 at {mean} among sds of {sd}", [mean] + [0.0] * (k - 1), [1.0] + [sd] * (k - 1))
    for k in (2, 3, 8, 20):
        add("sd 1e-6 next to sd 10, one mean", [0.5] * k, [(1e-6, 10.0)[j % 2] for j in range(k)])
    for k in (3, 8, 20):
        add("means near 1000", [1000 + m for m in uniform(rng, 0, 1, k)], uniform(rng, 0.01, 1, k))
    add("near 1000, sds of 1e-6 and 10", [1000.0, 1000.0, 999.5], [1e-6, 10.0, 0.1])
    add("means near -1000", [-1000.25, -1000.5, -1000.0], [0.3, 0.2, 0.1])
    add("ladder of scales, one mean", [0.0] * 8, [10.0**-j for j in range(8)])
    add("ladder of scales, means one sd apart", [1 - 2.0**-j for j in range(12)], [2.0**-j for j in range(12)])
    add("one uncertain among certain ties", [0.5, 0.5, 0.2, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0, 0.3])
    add("uncertain below the certain", [0.3, 0.9, 0.35], [0.05, 0.0, 0.04])
    add("all certain", [0.1, 0.75, 0.5], [0.0, 0.0, 0.0])
    add("all of scale 1e-9", [1e-9, 2e-9, 1.5e-9, 0.0], [1e-9, 2e-9, 5e-10, 0.0])
    add("all of scale 1e9", [1e9, 2e9, 1.5e9, 0.0], [1e9, 2e9, 5e8, 0.0])
    return cases


def pair_cases() -> list[Pair]:
    return [
        Pair("uncorrelated", [0.5, 0.6], [0.04, 0.0, 0.0, 0.01]),
        Pair("correlation 1/2", [0.5, 0.6], [0.04, 0.01, 0.01, 0.01]),
        Pair("correlation -1/2", [0.7, 0.6], [0.04, -0.01, -0.01, 0.01]),
        Pair("correlation 1, equal variances", [0.5, 0.6], [0.04, 0.04, 0.04, 0.04]),
        Pair("correlation 1, unequal variances", [0.5, 0.6], [0.25, 0.125, 0.125, 0.0625]),
        Pair("correlation -1", [0.5, 0.4], [0.25, -0.125, -0.125, 0.0625]),
        Pair("correlation 1 - 1e-10", [0.5, 0.5], [0.04, 0.04 * (1 - 1e-10), 0.04 * (1 - 1e-10), 0.04]),
        Pair("one certain", [0.5, 0.4], [0.0, 0.0, 0.0, 0.09]),
        Pair("both certain", [0.5, 0.4], [0.0, 0.0, 0.0, 0.0]),
        Pair("six sds apart", [0.0, 1.0], [0.02, 0.005, 0.005, 0.015]),
        Pair("near 1000", [1000.0, 1000.1], [4.0, 1.5, 1.5, 1.0]),
        Pair("scales 1e-6 and 10", [0.5, 0.5], [1e-12, 5e-6, 5e-6, 100.0]),
    ]


def factor_cases() -> list[Factor]:
    rng = random.Random(SEED + 1)
    cases = []

    def add(name: str, mean: list[float], own_sd: list[float], loading: list[float]) -> None:
        cases.append(Factor(f"{name}, k = {len(mean)}", mean, own_sd, loading))

    for k in (3, 4, 5, 6):
        add("random", uniform(rng, 0, 1, k), uniform(rng, 0.05, 0.3, k), uniform(rng, -0.3, 0.3, k))
    for k in (3, 4, 5, 6):
        add("all pulled one way", uniform(rng, 0.4, 0.6, k), uniform(rng, 0.05, 0.1, k), uniform(rng, 0.2, 0.4, k))
    for k in (3, 4, 6):
        own = [0.0 if j < 2 else s for j, s in enumerate(uniform(rng, 0.05, 0.2, k))]
        add("two follow the factor alone", uniform(rng, 0.3, 0.7, k), own, uniform(rng, -0.3, 0.3, k))
    add("one certain", [0.6, 0.5, 0.4, 0.55], [0.0, 0.1, 0.2, 0.1], [0.0, 0.2, -0.1, 0.1])
    add("rank one", [0.5, 0.4, 0.55, 0.3], [0.0] * 4, [0.1, -0.2, 0.05, 0.4])
    add("no common factor", [0.5, 0.6, 0.55], [0.1, 0.2, 0.05], [0.0] * 3)
    add("identical", [0.5] * 5, [0.1] * 5, [0.2] * 5)
    add("scales from 0.001 to 1", [0.5, 0.5, 0.5], [0.001, 0.03, 1.0], [0.002, -0.05, 0.5])
    return cases


# Output


def rust_slice(xs: Sequence[float]) -> str:
    if len(xs) > 1 and len(set(xs)) == 1:
        return f"&[{xs[0]!r}; {len(xs)}]"
    return f"&[{', '.join(map(repr, xs))}]"


def rust_array(xs: Sequence[float]) -> str:
    return rust_slice(xs).removeprefix("&")


def rust_independent(case: Independent, value: float) -> str:
    arrays = f"mean: {rust_slice(case.mean)}, sd: {rust_slice(case.sd)}"
    return f'    IndependentCase {{ name: "{case.name}", {arrays}, value: {value!r} }},\n'


def rust_pair(case: Pair, value: float) -> str:
    arrays = f"mean: {rust_array(case.mean)}, covariance: {rust_array(case.covariance)}"
    return f'    PairCase {{ name: "{case.name}", {arrays}, value: {value!r} }},\n'


def rust_factor(case: Factor, value: float) -> str:
    arrays = f"mean: {rust_slice(case.mean)}, own_sd: {rust_slice(case.own_sd)}, loading: {rust_slice(case.loading)}"
    return f'    FactorCase {{ name: "{case.name}", {arrays}, value: {value!r} }},\n'


def rust_const(name: str, doc: str, kind: str, rows: Iterable[str]) -> str:
    return f"\n/// {doc}\npub const {name}: &[{kind}] = &[\n{''.join(rows)}];\n"


def rust_table(name: str, doc: str, rows: list[tuple[float, float]]) -> str:
    return rust_const(name, doc, "(f64, f64)", (f"    ({x!r}, {y!r}),\n" for x, y in rows))


def main() -> None:
    independent, pairs, factors = independent_cases(), pair_cases(), factor_cases()
    with ProcessPoolExecutor() as pool:
        # The factor cases take longest and go first.
        of_factors = pool.map(value_of_factor, factors)
        of_independent = pool.map(value_of_independent, independent)
        of_pairs = pool.map(value_of_pair, pairs)
        parts = [
            rust_const(
                "INDEPENDENT",
                "Any mixture of scales.",
                "IndependentCase",
                map(rust_independent, independent, of_independent),
            ),
            rust_const("PAIRS", "Clark's closed form.", "PairCase", map(rust_pair, pairs, of_pairs)),
            rust_const("FACTORS", "Good to 1e-13.", "FactorCase", map(rust_factor, factors, of_factors)),
        ]
    parts += [
        rust_table("UPPER_TAIL", "z and P(Z > z).", table(lambda z: mp.ncdf(-z), TAIL_POINTS)),
        rust_table("QUANTILE", "p and the z with P(Z <= z) = p.", table(quantile, PROBABILITIES, float)),
        rust_table("UNIT_EXCESS", "z and E[(Z - z)+].", table(unit_excess, EXCESS_POINTS)),
        rust_table(
            "INVERSE_UNIT_EXCESS",
            "E[(Z - z)+] and z.",
            table(inverse_unit_excess, EXCESS_TARGETS, float),
        ),
    ]
    TARGET.write_text(HEAD + "".join(parts))
    subprocess.run(["rustfmt", "--edition", "2024", str(TARGET)], check=True)


if __name__ == "__main__":
    main()
