"""The runner: calls real models as a decider says, through failures, bills and deadlines; the decision log."""

from headrace.runner.accounts import Accounts
from headrace.runner.breaker import Breaker
from headrace.runner.faults import KINDS, Fault, FaultKind
from headrace.runner.litellm_target import LitellmTarget
from headrace.runner.log import DecisionLog, read_log
from headrace.runner.observing import Observation, Observer
from headrace.runner.openai_target import OpenAITarget
from headrace.runner.result import Attempt, Delta, Exhausted, Result
from headrace.runner.retry import Retry
from headrace.runner.runner import Runner
from headrace.runner.targets import Reply, Request, StreamingTarget, Target

__all__ = [
    "KINDS",
    "Accounts",
    "Attempt",
    "Breaker",
    "DecisionLog",
    "Delta",
    "Exhausted",
    "Fault",
    "FaultKind",
    "LitellmTarget",
    "Observation",
    "Observer",
    "OpenAITarget",
    "Reply",
    "Request",
    "Result",
    "Retry",
    "Runner",
    "StreamingTarget",
    "Target",
    "read_log",
]
