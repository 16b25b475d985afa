"""The runner: calls real models as a decider says, through failures, bills and deadlines."""

from headrace.runner.faults import KINDS, Fault, FaultKind
from headrace.runner.litellm_target import LitellmTarget
from headrace.runner.openai_target import OpenAITarget
from headrace.runner.targets import Reply, Request, StreamingTarget, Target

__all__ = [
    "KINDS",
    "Fault",
    "FaultKind",
    "LitellmTarget",
    "OpenAITarget",
    "Reply",
    "Request",
    "StreamingTarget",
    "Target",
]
