"""Policies: which rule decides which query, and how that is written to and read from JSON."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

import headrace as hr
from headrace.policy import Policy
from headrace.policy.hashing import fold_of, share_of
from headrace.rules import RULES

N_IDS = 10_000

# Chance that a right implementation fails a test of a fixed seed: none, but none should be near the edge either.
P_VALUE = 1e-3

IDS = [f"q-{number}" for number in range(N_IDS)]

POLICIES = [
    Policy(("small", "large"), "routing", {}, (200.0, 50.0), 0.25),
    Policy(("small", "large"), "routing", {}, (math.inf, 0.0), 1.0, seed=7),
    Policy(
        ("a", "b"), "cascade-routing", {"max_depth": 2, "uncertainty_scale": 0.25}, (math.inf, 0.1), 1 / 3, seed=2**40
    ),
    Policy(("a", "b"), "cascade", {"max_depth": 2, "uncertainty_scale": 1.3}, (1e-300, 0.0), 5e-324),
    Policy(("a", "b"), "index", {"uncertainty_scale": 0.0}, (0.1 + 0.2, 1e300), 0.0, seed=-1),
    Policy(("größer", "a b\n"), "threshold-cascade", {}, (math.inf, -math.inf), 0.5),
    Policy(("a", "b"), "threshold-cascade", {}, (-0.5, -0.75), 0.5),
]


# Shares


@pytest.mark.parametrize(
    ("seed", "query_id", "bits"),
    [
        # The first 53 bits of `printf %s seed:id | b2sum -l 64`.
        (0, "q-17", 3607450519365740),
        (1, "q-17", 3401063745676601),
        (12345, "Über 你好", 7371117705094184),
        (0, "", 2258083084180530),
    ],
)
def test_shares_are_the_same_on_every_machine(seed: int, query_id: str, bits: int) -> None:
    assert share_of(seed, query_id) == bits / 2**53


@pytest.mark.parametrize("seed", [0, 1, 2**31])
def test_shares_are_uniform(seed: int) -> None:
    shares = np.array([share_of(seed, query_id) for query_id in IDS])
    assert ((shares >= 0.0) & (shares < 1.0)).all()
    assert len(set(shares.tolist())) == N_IDS
    assert kstest(shares, "uniform").pvalue > P_VALUE


def test_shares_of_another_seed_are_independent() -> None:
    first, second = (np.array([share_of(seed, query_id) for query_id in IDS]) for seed in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(N_IDS)
    # The sum modulo one of two independent uniform numbers, and their difference, are uniform again.
    assert kstest((first + second) % 1.0, "uniform").pvalue > P_VALUE
    assert kstest((first - second) % 1.0, "uniform").pvalue > P_VALUE


def test_shares_of_neighbouring_ids_are_independent() -> None:
    shares = np.array([share_of(0, query_id) for query_id in IDS])
    assert abs(np.corrcoef(shares[1:], shares[:-1])[0, 1]) < 4 / math.sqrt(N_IDS)


# Folds


def test_folds_are_the_same_on_every_machine() -> None:
    # The first 53 bits of `printf %s "0:fold of q-17" | b2sum -l 64` are 4618105293135669.
    assert [fold_of(0, "q-17", n_folds) for n_folds in (1, 2, 5, 1000)] == [0, 1, 2, 512]


@pytest.mark.parametrize("n_folds", [2, 5, 7])
def test_folds_are_even_and_independent_of_shares(n_folds: int) -> None:
    folds = np.array([fold_of(3, query_id, n_folds) for query_id in IDS])
    assert chisquare(np.bincount(folds, minlength=n_folds)).pvalue > P_VALUE
    shares = np.array([share_of(3, query_id) for query_id in IDS])
    for fold in range(n_folds):
        assert kstest(shares[folds == fold], "uniform").pvalue > P_VALUE
    assert set(np.unique(folds).tolist()) == set(range(n_folds))


# Which rule decides


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9])
def test_the_cheaper_rule_decides_its_share_of_the_queries(share: float, seed: int) -> None:
    policy = Policy(("a", "b"), "routing", {}, (3.0, 1.0), share, seed=seed)
    n_cheap = sum(policy.rule_for(query_id) == hr.Routing(3.0) for query_id in IDS)
    assert abs(n_cheap - N_IDS * share) < 4 * math.sqrt(N_IDS * share * (1 - share))
    assert all(policy.rule_for(query_id) in (hr.Routing(3.0), hr.Routing(1.0)) for query_id in IDS[:100])


@pytest.mark.parametrize(("share", "cost_weight"), [(1.0, 3.0), (0.0, 1.0)])
def test_a_whole_share_leaves_no_choice(share: float, cost_weight: float) -> None:
    policy = Policy(("a", "b"), "routing", {}, (3.0, 1.0), share)
    assert {policy.rule_for(query_id).cost_weight for query_id in IDS[:1000]} == {cost_weight}  # type: ignore[attr-defined]


def test_the_same_id_gets_the_same_rule() -> None:
    policy = Policy(("a", "b"), "cascade-routing", {"max_depth": 2}, (3.0, 1.0), 0.5)
    copies = [Policy.from_json(policy.to_json()), pickle.loads(pickle.dumps(policy))]
    rules = [policy.rule_for(query_id) for query_id in IDS[:200]]
    assert len(set(rules)) == 2
    for copied in [policy, *copies]:
        assert [copied.rule_for(query_id) for query_id in IDS[:200]] == rules
    other = Policy(("a", "b"), "cascade-routing", {"max_depth": 2}, (3.0, 1.0), 0.5, seed=1)
    assert [other.rule_for(query_id) for query_id in IDS[:200]] != rules


def test_a_smaller_share_takes_a_subset_of_the_queries() -> None:
    """With another budget, few queries change sides."""
    cheap = [
        {query_id for query_id in IDS[:2000] if policy.rule_for(query_id) == policy.rules[0]}
        for policy in (Policy(("a", "b"), "routing", {}, (3.0, 1.0), share) for share in (0.3, 0.5))
    ]
    assert cheap[0] < cheap[1]


@pytest.mark.parametrize(
    ("name", "settings", "rules"),
    [
        ("routing", {}, (hr.Routing(3.0), hr.Routing(1.0))),
        ("index", {"uncertainty_scale": 0.5}, tuple(hr.IndexRule(w, uncertainty_scale=0.5) for w in (3.0, 1.0))),
        ("cascade", {"order": (1, 0)}, (hr.Cascade(3.0, order=[1, 0]), hr.Cascade(1.0, order=[1, 0]))),
        ("cascade-routing", {"max_depth": 2}, tuple(hr.CascadeRouting(w, max_depth=2) for w in (3.0, 1.0))),
        # Told by minus the threshold, so that a larger parameter is the cheaper choice here, too.
        ("threshold-cascade", {"order": (1, 0)}, tuple(hr.ThresholdCascade(-p, order=[1, 0]) for p in (3.0, 1.0))),
    ],
)
def test_every_rule_by_its_name(name: str, settings: dict[str, Any], rules: tuple[hr.Rule, hr.Rule]) -> None:
    assert Policy(("a", "b"), name, settings, (3.0, 1.0)).rules == rules


def test_the_names_of_the_rules() -> None:
    assert list(RULES) == ["routing", "threshold-cascade", "cascade", "cascade-routing", "index"]


# JSON and files


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.rule)
def test_a_policy_survives_json(policy: Policy) -> None:
    text = policy.to_json()
    again = Policy.from_json(text)
    assert again == policy
    assert again.rules == policy.rules
    assert again.to_json() == text

    def refuse(constant: str) -> None:
        pytest.fail(f"not JSON: {constant}")

    assert json.loads(text, parse_constant=refuse)["format"] == "headrace-policy-1"


@pytest.mark.parametrize("name", ["cascade", "threshold-cascade"])
def test_a_policy_with_an_order_survives_json(name: str) -> None:
    policy = Policy(("a", "b"), name, {"order": (1, 0)}, (3.0, 1.0))
    assert Policy.from_json(policy.to_json()).rules == policy.rules
    assert Policy.from_json(policy.to_json()) == policy


def test_infinity_is_written_as_a_string() -> None:
    fields = json.loads(Policy(("a", "b"), "threshold-cascade", {}, (math.inf, -math.inf)).to_json())
    assert fields["parameters"] == ["inf", "-inf"]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.rule)
def test_a_policy_survives_a_file(policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text("something else", encoding="utf-8")
    policy.save(path)
    assert Policy.load(path) == policy
    assert Policy.load(str(path)) == policy
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_of_a_policy_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.json"
    POLICIES[0].save(path)
    replace = Path.replace
    seen: list[tuple[str, bool]] = []

    def watched(source: Path, target: Path) -> Path:
        seen.append((Path(target).read_text(encoding="utf-8"), Policy.load(source) == POLICIES[1]))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    POLICIES[1].save(path)
    # When the names were swapped, the old file was still there, and the new one complete.
    assert seen == [(POLICIES[0].to_json() + "\n", True)]
    assert Policy.load(path) == POLICIES[1]


def write_half(path: Path, data: str, **options: Any) -> int:
    with path.open("w", **options) as stream:
        stream.write(data[: len(data) // 2])
    raise OSError(28, "No space left on device")


def refuse_to_replace(path: Path, target: Path) -> Path:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(("name", "failing"), [("write_text", write_half), ("replace", refuse_to_replace)])
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    name: str, failing: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy.json"
    POLICIES[0].save(path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, name, failing)
        with pytest.raises(OSError, match=r"No space left|Permission denied"):
            POLICIES[1].save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert Policy.load(path) == POLICIES[0]


def test_a_policy_that_is_not_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    POLICIES[0].save(path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        Policy(("a", object()), "routing", {}, (2.0, 1.0)).save(path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [path]
    assert Policy.load(path) == POLICIES[0]


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        POLICIES[0].save(tmp_path / "nowhere" / "policy.json")
    with pytest.raises(FileNotFoundError):
        Policy.load(tmp_path / "nowhere" / "policy.json")
    assert list(tmp_path.iterdir()) == []


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(POLICIES[2].to_json()) | fields)


def without(field: str) -> str:
    return json.dumps({name: value for name, value in json.loads(POLICIES[2].to_json()).items() if name != field})


RUBBISH = {
    "nothing": "",
    "words": "not a policy",
    "truncated": POLICIES[2].to_json()[:-20],
    "cut to a number": "3",
    "null": "null",
    "text": '"routing"',
    "list": "[]",
    "object": "{}",
    "two": POLICIES[2].to_json() * 2,
    "another format": changed(format="headrace-policy-2"),
    "no format": without("format"),
    "no models": without("models"),
    "no parameters": without("parameters"),
    "more": changed(more=1),
    "unknown rule": changed(rule="lottery"),
    "rule of another type": changed(rule=["routing"]),
    "unknown setting": changed(settings={"depth": 2}),
    "setting out of range": changed(settings={"max_depth": 0}),
    "settings of another type": changed(settings=[1]),
    "share out of range": changed(share=1.5),
    "share of another type": changed(share="half"),
    "NaN share": changed(share=math.nan),
    "NaN parameter": changed(parameters=["nan", 1.0]),
    "negative parameter": changed(parameters=[1.0, -1.0]),
    "parameter of another type": changed(parameters=[None, 1.0]),
    "parameters of another type": changed(parameters=3),
    "rates of another type": changed(rates=1.0),
    "more rates than costs": changed(rates=[1.0, 2.0]),
}


@pytest.mark.parametrize("text", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="text: expected a headrace policy as JSON"):
        Policy.from_json(text)
    path = tmp_path / "policy.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="text: expected a headrace policy as JSON"):
        Policy.load(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, changed(parameters=[10**400, 1.0])], ids=["deep nesting", "a number beyond a float"]
)
def test_rubbish_that_breaks_the_reader_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text: expected a headrace policy as JSON"):
        Policy.from_json(text)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(POLICIES[0], protocol))
        with pytest.raises(ValueError, match=r"expected a headrace policy|codec can't decode"):
            Policy.load(path)


# What is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "lottery"}, r"rule: expected one of routing, .*, index; got 'lottery'"),
        ({"rule": ""}, r"rule: expected one of"),
        ({"share": -0.001}, r"share: expected a number from 0 to 1, got -0\.001"),
        ({"share": 1.001}, r"share: expected a number from 0 to 1, got 1\.001"),
        ({"share": math.nan}, r"share: expected a number from 0 to 1, got nan"),
        ({"parameters": (-1.0, 1.0)}, r"cost_weight: expected a number >= 0"),
        ({"parameters": (1.0, math.nan)}, r"cost_weight: expected a number >= 0"),
        ({"settings": {"max_depth": 0}}, r"max_depth: expected at least 1, got 0"),
        ({"settings": {"uncertainty_scale": -1.0}}, r"uncertainty_scale: expected a number from 0 to 1e150"),
        ({"rule": "cascade", "settings": {"order": (0, 0)}}, r"order: expected different model indices"),
        ({"rule": "threshold-cascade", "parameters": (1.0, math.nan)}, r"thresholds"),
    ],
)
def test_a_policy_that_no_rule_can_follow_is_refused(fields: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {
        "models": ("a", "b"),
        "rule": "cascade-routing",
        "settings": {},
        "parameters": (2.0, 1.0),
    }
    with pytest.raises(ValueError, match=message):
        Policy(**whole | fields)


@pytest.mark.parametrize("parameters", [(), (1.0,), (3.0, 2.0, 1.0)])
def test_a_policy_has_two_parameters(parameters: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="parameters"):
        Policy(("a", "b"), "routing", {}, parameters)  # type: ignore[arg-type]


def test_a_setting_that_the_rule_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="max_depth"):
        Policy(("a", "b"), "routing", {"max_depth": 2}, (2.0, 1.0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"models": []}, "models: expected 1 to 128 different names, got none"),
        ({"models": [f"m{j}" for j in range(200)]}, "models: expected 1 to 128 different names"),
        ({"models": ["a", "a"]}, "models: expected 1 to 128 different names, got 'a', 'a'"),
        ({"rates": ["x"]}, "rates: expected a number, got 'x'"),
        ({"rates": [-1.0]}, "rates: expected finite numbers >= 0"),
        ({"rates": [0.0]}, "rates: expected finite numbers >= 0, one of them above 0"),
        ({"share": "half"}, "share: expected a number, got 'half'"),
        ({"step_weights": ["x"]}, "step_weights"),
    ],
)
def test_a_file_that_could_not_decide_is_not_read(fields: dict[str, Any], message: str) -> None:
    policy = Policy(("a", "b"), "cascade-routing", {"max_depth": 2}, (3.0, 1.0), 0.25)
    with pytest.raises(ValueError, match=message):
        Policy.from_json(json.dumps(json.loads(policy.to_json()) | fields))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"quality": 0.5}, r"quality: expected shape \(n_queries, 2\), got \(\)"),
        ({"variance": np.full((2, 2), 0.1)}, r"variance: expected shape \(4, 2\) or \(2,\), got \(2, 2\)"),
        ({"covariance": np.ones((3, 2, 2))}, r"covariance: expected shape \(4, 2, 2\) or \(2, 2\), got \(3, 2, 2\)"),
        ({"variance": [[0.1, 0.2], [0.1]]}, "variance: not an array"),
        (
            {"variance": np.full((4, 2), 0.1), "loading": [0.1]},
            r"loading: expected shape \(4, 2\) or \(2,\), got \(1,\)",
        ),
    ],
)
def test_batches_of_spreads_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    policy = Policy(("a", "b"), "cascade-routing", {"max_depth": 2}, (3.0, 1.0), 0.5)
    arguments: dict[str, Any] = {"quality": [[0.5, 0.6]] * 4, "cost": [0.1, 0.2], "ids": list("pqrs")} | given
    with pytest.raises(ValueError, match=message):
        policy.select_batch(**arguments)
