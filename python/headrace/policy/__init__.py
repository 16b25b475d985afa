"""Policies: a few numbers that decide, the path that they are chosen on, and why they decide as they do."""

from headrace.policy.policy import Policy

__all__ = ["Policy"]
