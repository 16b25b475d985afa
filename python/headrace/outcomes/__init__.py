"""The table of outcomes: read from logs, checked, described, split."""

from headrace.outcomes.outcomes import Outcomes
from headrace.outcomes.recorder import Recorder

__all__ = ["Outcomes", "Recorder"]
