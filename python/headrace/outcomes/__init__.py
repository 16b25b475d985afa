"""The table of outcomes: read from logs, checked, described, split."""

from headrace.outcomes.outcomes import Outcomes

__all__ = ["Outcomes"]
