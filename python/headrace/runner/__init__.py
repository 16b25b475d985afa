"""The runner: calls real models as a decider says, through failures, bills and deadlines."""

from headrace.runner.faults import KINDS, Fault, FaultKind
from headrace.runner.targets import Reply, Request, StreamingTarget, Target

__all__ = ["KINDS", "Fault", "FaultKind", "Reply", "Request", "StreamingTarget", "Target"]
