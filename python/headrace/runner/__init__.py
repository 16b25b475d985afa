"""The runner: calls real models as a decider says, through failures, bills and deadlines; the decision log."""

from headrace.runner.faults import KINDS, Fault, FaultKind
from headrace.runner.log import DecisionLog, read_log
from headrace.runner.targets import Reply, Request, StreamingTarget, Target

__all__ = ["KINDS", "DecisionLog", "Fault", "FaultKind", "Reply", "Request", "StreamingTarget", "Target", "read_log"]
