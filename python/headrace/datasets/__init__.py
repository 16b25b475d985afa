"""Tables of outcomes to try headrace on."""

from headrace.datasets.quickstart import load_quickstart

__all__ = ["load_quickstart"]
