"""The rules, and what they decide: numbers in, decision out.

They live in the compiled core; this module names them.
"""

from headrace._core import (
    Cascade,
    CascadeRouting,
    Decision,
    IndexRule,
    Routing,
    Rule,
    ThresholdCascade,
    expected_max,
)

__all__ = [
    "Cascade",
    "CascadeRouting",
    "Decision",
    "IndexRule",
    "Routing",
    "Rule",
    "ThresholdCascade",
    "expected_max",
]
