"""Benchmarks: the protocols of the paper and of the field, each one function that gives tables of results."""

from headrace.benchmarks.protocols import PROTOCOLS, Protocol
from headrace.benchmarks.results import Results, Table

__all__ = ["PROTOCOLS", "Protocol", "Results", "Table"]
