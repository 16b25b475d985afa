"""The bundled quickstart table, simulated queries, noise on any table, and RouterBench from its published files."""

from headrace.datasets.noise import NoisyCost, with_noise
from headrace.datasets.quickstart import load_quickstart
from headrace.datasets.routerbench import download_routerbench, load_routerbench
from headrace.datasets.simulated import NOISE_LEVELS, NoisyOracle, simulate

__all__ = [
    "NOISE_LEVELS",
    "NoisyCost",
    "NoisyOracle",
    "download_routerbench",
    "load_quickstart",
    "load_routerbench",
    "simulate",
    "with_noise",
]
