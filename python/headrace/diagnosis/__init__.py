"""Diagnosis: how good estimates are on labelled queries that they have not seen, and what to do about them."""

from headrace.diagnosis.diagnose import diagnose
from headrace.diagnosis.diagnosis import Diagnosis
from headrace.diagnosis.findings import CostScore, Finding
from headrace.diagnosis.reliability import Reliability
from headrace.diagnosis.scores import Scores

__all__ = ["CostScore", "Diagnosis", "Finding", "Reliability", "Scores", "diagnose"]
