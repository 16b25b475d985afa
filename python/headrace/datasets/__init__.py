"""Data that need no download: the bundled quickstart table, simulated queries, and noise on any table."""

from headrace.datasets.noise import NoisyCost, with_noise
from headrace.datasets.quickstart import load_quickstart
from headrace.datasets.simulated import NOISE_LEVELS, NoisyOracle, simulate

__all__ = ["NOISE_LEVELS", "NoisyCost", "NoisyOracle", "load_quickstart", "simulate", "with_noise"]
