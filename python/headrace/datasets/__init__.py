"""Data that need no download: the bundled quickstart table, and simulated queries."""

from headrace.datasets.quickstart import load_quickstart
from headrace.datasets.simulated import NOISE_LEVELS, NoisyOracle, simulate

__all__ = ["NOISE_LEVELS", "NoisyOracle", "load_quickstart", "simulate"]
