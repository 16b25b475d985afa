"""Serving: decisions for one query, a batch, a frame or a file, and watching what comes in. No label gets here."""

from headrace.serving.controller import BudgetController
from headrace.serving.decider import Decider
from headrace.serving.files import decide_file
from headrace.serving.frames import BeliefDecider
from headrace.serving.loading import load
from headrace.serving.monitor import ConfidenceSequence, Monitor, Watch
from headrace.serving.promised import Promised
from headrace.serving.session import Session
from headrace.serving.within import Within, decide_within

__all__ = [
    "BeliefDecider",
    "BudgetController",
    "ConfidenceSequence",
    "Decider",
    "Monitor",
    "Promised",
    "Session",
    "Watch",
    "Within",
    "decide_file",
    "decide_within",
    "load",
]
