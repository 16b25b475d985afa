"""Diagnosis: how good estimates are on labelled queries that they have not seen, and what each column brings."""

from headrace.diagnosis.columns import ColumnGain
from headrace.diagnosis.diagnose import diagnose
from headrace.diagnosis.diagnosis import Diagnosis
from headrace.diagnosis.findings import CostScore, Finding
from headrace.diagnosis.reliability import Reliability
from headrace.diagnosis.scores import Scores
from headrace.diagnosis.used_columns import Oddity, UsedColumns, used_columns

__all__ = [
    "ColumnGain",
    "CostScore",
    "Diagnosis",
    "Finding",
    "Oddity",
    "Reliability",
    "Scores",
    "UsedColumns",
    "diagnose",
    "used_columns",
]
