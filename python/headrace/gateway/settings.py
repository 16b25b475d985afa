"""The gateway's settings: ``serve.toml``. A secret is only ever named: by its environment variable."""

from __future__ import annotations

import ipaddress
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headrace.arguments import checked_int, checked_number, checked_seconds, listed
from headrace.gateway.budgets import accounts_of, checked_budgets
from headrace.json_values import MOST_LEVELS
from headrace.runner import DecisionLog, LitellmTarget, OpenAITarget, Runner
from headrace.runner.targets import Target
from headrace.serving import Decider, load

__all__ = [
    "ROUTER_VARIABLE",
    "SETTINGS_VARIABLE",
    "Settings",
    "is_loopback",
    "read_settings",
    "settings_from_environment",
]

#: Environment variables that name serve.toml, and the router's file where another one than it says is wanted.
SETTINGS_VARIABLE, ROUTER_VARIABLE = "HEADRACE_SERVE", "HEADRACE_ROUTER"

#: What each table of the file may hold.
TABLES: Mapping[str, frozenset[str]] = {
    "": frozenset({"router", "listen", "limits", "log", "budgets", "targets"}),
    "listen": frozenset({"host", "port", "key_env"}),
    "limits": frozenset({"timeout_s", "deadline_s", "concurrency", "max_body_bytes", "stream"}),
    "log": frozenset({"path", "audit"}),
    "budgets": frozenset({"path", "limit", "every", "by", "per_request", "largest_cost", "hold_s"}),
    "target": frozenset({"url", "model", "litellm", "key_env", "prices", "options", "supports"}),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a gateway needs to know.

    Attributes
    ----------
    router : Path or None
        The router's file.
    host : str
    port : int
    key_env : str or None
        Environment variable with the key that clients must send.
    targets : mapping of str to mapping
        Of each model: "url" and "model", or "litellm"; "key_env", "prices", "options", "supports".
    timeout_s : float
        Seconds of a call at most.
    deadline_s : float or None
        Deadline of requests that say none.
    concurrency : int or None
        Calls of a model at once.
    max_body_bytes : int
        A longer request is refused.
    stream : {"decide-first", "buffer"}
        How streams are made.
    log : Path or None
        The decision log.
    audit : float
        Share of the queries that all models run on.
    budgets : mapping of str to value
        What `Accounts` gets, and "by": whose budgets these are (`headrace.gateway.budgets`); empty = none.
    """

    router: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8700
    key_env: str | None = None
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    timeout_s: float = 30.0
    deadline_s: float | None = None
    concurrency: int | None = None
    max_body_bytes: int = 4 * 2**20
    stream: str = "decide-first"
    log: Path | None = None
    audit: float = 0.0
    budgets: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> str | None:
        """Give the key that clients must send.

        Raises
        ------
        ValueError
            None is set, and others than this machine's programs could connect; or the variable is empty.
        """
        if self.key_env is not None:
            key = os.environ.get(self.key_env, "").strip()
            if not key:
                raise ValueError(f"listen.key_env: the environment variable {self.key_env} is not set")
            return key
        if not is_loopback(self.host):
            raise ValueError(
                f"listen.host: {self.host} lets in other machines; set listen.key_env, the name of an environment "
                "variable that holds a key"
            )
        return None

    def targets_for(self, decider: Decider) -> dict[str, Target]:
        """Make the targets of a decider's models; log-probabilities are asked for where the fit had them.

        Raises
        ------
        ValueError
            A model without a target, a target of no model, or settings that make no target.
        """
        lacking = [name for name in decider.models if name not in self.targets]
        unknown = [name for name in self.targets if name not in decider.models]
        if lacking or unknown:
            what = f"lacks {listed(lacking)}" if lacking else f"has {listed(unknown)}"
            raise ValueError(f"targets: expected those of the router, {listed(decider.models)}; the file {what}")
        wanted = {"logprobs": True} if {"logprobs", "logprob"} & set(decider.response_columns) else {}
        return {name: _target(name, told, wanted) for name, told in self.targets.items()}

    def runner(self) -> Runner:
        """Load the router, and make the runner that calls the targets.

        Raises
        ------
        ArtefactError, OSError
            The router's file can't be read.
        ValueError
            Settings that don't fit it.
        """
        if self.router is None:
            raise ValueError("router: expected the router's file, on the command line or in serve.toml")
        decider = load(self.router)
        if decider.wanted:
            bought = listed(decider.wanted)
            raise ValueError(
                f"router: it buys {bought} after each run, which a gateway can't; serve it with Runner(signals=...), "
                "or take one that buys nothing: Router.buying()"
            )
        return Runner(
            decider,
            self.targets_for(decider),
            timeout_s=self.timeout_s,
            concurrency=self.concurrency,
            supports=self.supports,
            log=None if self.log is None else DecisionLog(self.log),
            audit=self.audit,
            accounts=accounts_of(self.budgets),
        )

    @property
    def supports(self) -> dict[str, list[str]]:
        """What models support, as far as it is said."""
        return {name: list(told["supports"]) for name, told in self.targets.items() if "supports" in told}


def read_settings(path: str | os.PathLike[str]) -> Settings:
    """Read ``serve.toml``; paths in it are relative to its folder.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    TypeError, ValueError
        No TOML, a whole number beyond 64 bits, more than 100 levels of tables, an unknown key, or a value that doesn't
        fit; the message names it.
    OSError
        The file can't be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from headrace.gateway.settings import read_settings
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "serve.toml"
    >>> _ = path.write_text('''
    ... router = "router.headrace"
    ... [targets.small]
    ... url = "https://api.openai.com/v1"
    ... model = "gpt-5-nano"
    ... key_env = "OPENAI_API_KEY"
    ... prices = { input = 0.05, output = 0.4 }
    ... ''')
    >>> settings = read_settings(path)
    >>> settings.port, settings.router.name, list(settings.targets)
    (8700, 'router.headrace', ['small'])
    """
    file = Path(path)
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of numbers with too many digits
        raise ValueError(f"{file.name}: expected TOML ({error})") from error
    _check_values(told, file.name)
    _known(told, "", file.name)
    tables = {
        name: _table(told.get(name, {}), name, file.name) for name in ("listen", "limits", "log", "budgets", "targets")
    }
    for name in ("listen", "limits", "log", "budgets"):
        _known(tables[name], name, file.name)
    for name, target in tables["targets"].items():
        _known(_table(target, f"targets.{name}", file.name), "target", file.name, f"targets.{name}")
        for part in ("prices", "options"):
            _table(target.get(part, {}), f"targets.{name}.{part}", file.name)
        for part in ("url", "model", "litellm", "key_env"):
            _text(target.get(part, ""), f"targets.{name}.{part}", file.name)
        able = target.get("supports", [])
        if not isinstance(able, list) or not all(isinstance(one, str) for one in able):
            raise ValueError(f"{file.name}: targets.{name}.supports: expected a list of texts, got {able!r:.40}")
    listen, limits, log = tables["listen"], tables["limits"], tables["log"]
    given: dict[str, Any] = {**listen, **limits, "targets": tables["targets"]}
    if "router" in told:
        given["router"] = file.parent / _text(told["router"], "router", file.name)
    if "path" in log:
        given["log"] = file.parent / _text(log["path"], "log.path", file.name)
    if "audit" in log:
        given["audit"] = log["audit"]
    if tables["budgets"]:
        given["budgets"] = checked_budgets(tables["budgets"], file.parent)
    return checked(Settings(**given))


def settings_from_environment() -> Settings:
    """Read the files that `SETTINGS_VARIABLE` and `ROUTER_VARIABLE` name.

    Raises
    ------
    ValueError
        The variable isn't set; otherwise as `read_settings`.
    """
    if SETTINGS_VARIABLE not in os.environ:
        raise ValueError(f"{SETTINGS_VARIABLE}: expected the path of serve.toml in this environment variable")
    settings = read_settings(os.environ[SETTINGS_VARIABLE])
    if ROUTER_VARIABLE in os.environ:
        settings = replace(settings, router=Path(os.environ[ROUTER_VARIABLE]))
    return settings


def checked(settings: Settings) -> Settings:
    """Check the values.

    Raises
    ------
    TypeError, ValueError
        One doesn't fit; the message names it.
    """
    if not 0 <= checked_int("listen.port", settings.port, 0) < 65536:
        raise ValueError(f"listen.port: expected 0 to 65535, got {settings.port}")
    checked_seconds("limits.timeout_s", settings.timeout_s, above_zero=True)
    if settings.deadline_s is not None:
        checked_seconds("limits.deadline_s", settings.deadline_s, above_zero=True)
    if settings.concurrency is not None:
        checked_int("limits.concurrency", settings.concurrency, 1)
    checked_int("limits.max_body_bytes", settings.max_body_bytes, 1)
    if settings.stream not in ("decide-first", "buffer"):
        raise ValueError(f'limits.stream: expected "decide-first" or "buffer", got {settings.stream!r}')
    if not 0.0 <= checked_number("log.audit", settings.audit) <= 1.0:
        raise ValueError(f"log.audit: expected a share from 0 to 1, got {settings.audit}")
    for name in ("host", "key_env"):
        if not isinstance(value := getattr(settings, name), str | None):
            raise ValueError(f"listen.{name}: expected a text, got {value!r}")
    return settings


def is_loopback(host: str) -> bool:
    """Tell whether only this machine's programs can connect to an address.

    Examples
    --------
    >>> from headrace.gateway.settings import is_loopback
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _target(name: str, told: Mapping[str, Any], wanted: Mapping[str, Any]) -> Target:
    """Make a target; messages name its table."""
    options = {**wanted, **told.get("options", {})}
    try:
        if "api_key" in options:
            raise ValueError("options: a key doesn't belong here; name its environment variable by key_env")
        if "litellm" in told:
            if own := sorted({"url", "model", "key_env", "prices"} & set(told)):
                raise ValueError(f"litellm knows address, key and prices itself; leave out {listed(own)}")
            return LitellmTarget(told["litellm"], **options)
        if not isinstance(told.get("url"), str) or not isinstance(told.get("model"), str):
            raise ValueError("expected url and model, or litellm")
        return OpenAITarget(
            told["url"], told["model"], key_env=told.get("key_env"), prices=told.get("prices"), options=options
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"targets.{name}: {error}") from error


def _check_values(told: dict[str, Any], file: str) -> None:
    """Refuse whole numbers beyond 64 bits, which TOML doesn't have but Python reads, and tables on too many levels."""
    boxes: list[tuple[str, Any]] = [("", told)]
    for _ in range(MOST_LEVELS):
        parts = [
            (f"{name}.{key}" if name else str(key), value)
            for name, box in boxes
            for key, value in (box.items() if isinstance(box, dict) else enumerate(box))
        ]
        for name, value in parts:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                digits = math.ceil(value.bit_length() * math.log10(2.0))
                raise ValueError(f"{file}: {name}: expected whole numbers of 64 bits, got one of {digits} digits")
        boxes = [(name, value) for name, value in parts if isinstance(value, dict | list)]
        if not boxes:
            return
    name = boxes[0][0]
    raise ValueError(f"{file}: {name:.40}...: expected tables on at most {MOST_LEVELS} levels, got more")


def _table(value: Any, name: str, file: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{file}: {name}: expected a table, got {value!r:.40}")
    return value


def _text(value: Any, name: str, file: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{file}: {name}: expected a text, got {value!r:.40}")
    return value


def _known(table: Mapping[str, Any], kind: str, file: str, name: str | None = None) -> None:
    where = name or kind
    for key in table:
        if key not in TABLES[kind]:
            shown = f"{where}.{key}" if where else key
            raise ValueError(f"{file}: unknown setting {shown!r}; known: {', '.join(sorted(TABLES[kind]))}")
