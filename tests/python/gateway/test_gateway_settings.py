"""serve.toml: every wrong line is told by name, in one line."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("httpx")

import pools
from pools import MODELS

from headrace.gateway.serving import bound
from headrace.gateway.settings import TABLES, read_settings

if TYPE_CHECKING:
    import headrace as hr

GUIDE = Path(__file__).resolve().parents[3] / "docs/gateway.md"

WHOLE = """
router = "routers/router.headrace"
[listen]
host = "::1"
port = 8701
key_env = "GATEWAY_KEY"
[limits]
timeout_s = 20
deadline_s = 60.5
concurrency = 8
max_body_bytes = 100_000
stream = "buffer"
[log]
path = "logs/decisions.jsonl"
audit = 0.02
[targets.small]
url = "http://127.0.0.1:8000/v1"
model = "qwen-7b"
key_env = "SMALL_KEY"
prices = { input = 0.05, output = 0.2 }
options = { temperature = 0 }
supports = ["tools"]
[targets.medium]
url = "http://127.0.0.1:8001/v1"
model = "qwen-70b"
[targets.large]
url = "http://127.0.0.1:8002/v1"
model = "big"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_settings_are_read(tmp_path: Path, decider: hr.Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(written(tmp_path, WHOLE))
    assert settings.router == tmp_path / "routers/router.headrace"
    assert settings.log == tmp_path / "logs/decisions.jsonl"
    assert (settings.host, settings.port, settings.key_env) == ("::1", 8701, "GATEWAY_KEY")
    assert (settings.timeout_s, settings.deadline_s, settings.concurrency) == (20, 60.5, 8)
    assert (settings.max_body_bytes, settings.stream, settings.audit) == (100_000, "buffer", 0.02)
    assert settings.supports == {"small": ["tools"]}
    monkeypatch.setenv("SMALL_KEY", "sk-small")
    made = settings.targets_for(decider)
    assert made["small"].options == {"logprobs": True, "temperature": 0}  # type: ignore[attr-defined]
    assert made["small"].key_env == "SMALL_KEY"  # type: ignore[attr-defined]


@pytest.mark.skipif(not GUIDE.is_file(), reason="the tests run without the source tree")
def test_the_guide_shows_every_setting(tmp_path: Path) -> None:
    shown = GUIDE.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    settings = read_settings(written(tmp_path, shown))
    assert set(settings.targets) == {"small", "large"}
    assert all(re.search(rf"\b{name}\b", shown) for names in TABLES.values() for name in names)


def test_a_missing_key_of_a_target_is_told_by_name(
    tmp_path: Path, decider: hr.Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMALL_KEY", raising=False)
    settings = read_settings(written(tmp_path, WHOLE))
    with pytest.raises(ValueError, match=r"targets\.small: .*SMALL_KEY is not set"):
        settings.targets_for(decider)


def test_targets_are_those_of_the_router(tmp_path: Path, decider: hr.Decider) -> None:
    without = WHOLE.partition("[targets.large]")[0].replace('key_env = "SMALL_KEY"\n', "")
    with pytest.raises(ValueError, match="the file lacks 'large'"):
        read_settings(written(tmp_path, without)).targets_for(decider)
    other = WHOLE.replace('key_env = "SMALL_KEY"\n', "") + '[targets.huge]\nurl = "http://127.0.0.1/v1"\nmodel = "x"\n'
    with pytest.raises(ValueError, match="the file has 'huge'"):
        read_settings(written(tmp_path, other)).targets_for(decider)
    assert set(MODELS) == set(decider.models)
    assert pools.MODELS == MODELS


TARGET = '[targets.small]\nurl = "http://127.0.0.1/v1"\nmodel = "x"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("router =", "expected TOML"),
        ("rooter = 'x'", "unknown setting 'rooter'; known: .*router"),
        ("router = 5", "router: expected a text, got 5"),
        ("listen = 8700", "listen: expected a table"),
        ("[listen]\nkey = 'sk-1'", r"unknown setting 'listen.key'; known: host, key_env, port"),
        ("[listen]\nport = 99999", "listen.port: expected 0 to 65535"),
        ("[listen]\nport = '8700'", "listen.port"),
        ("[listen]\nhost = 5", "listen.host: expected a text"),
        ("[limits]\ntimeout_s = 0", "limits.timeout_s"),
        ("[limits]\ntimeout_s = '1 s'", "limits.timeout_s"),
        ("[limits]\ndeadline_s = -1", "limits.deadline_s"),
        ("[limits]\nconcurrency = 1.5", "limits.concurrency"),
        ("[limits]\nmax_body_bytes = true", "limits.max_body_bytes"),
        ("[limits]\nstream = 'fast'", 'limits.stream: expected "decide-first" or "buffer"'),
        ("[log]\naudit = 2", "log.audit: expected a share"),
        ("[log]\npath = 1", "log.path: expected a text"),
        ("targets = []", "targets: expected a table"),
        ("[targets]\nsmall = 5", "targets.small: expected a table"),
        (TARGET + "api_key = 'sk-1'", r"unknown setting 'targets.small.api_key'; known: key_env"),
        (TARGET + "prices = 5", r"targets.small.prices: expected a table"),
        (TARGET + "options = 'x'", r"targets.small.options: expected a table"),
        (TARGET + "key_env = 5", r"targets.small.key_env: expected a text"),
        (TARGET + "supports = 'tools'", r"targets.small.supports: expected a list of texts"),
        (
            "[limits]\ntimeout_s = 1" + "0" * 400,
            r"serve.toml: limits.timeout_s: expected whole numbers of 64 bits, got .* 401",
        ),
        ("[listen]\nport = 0x1" + "0" * 9000, r"serve.toml: listen.port: expected whole numbers of 64 bits"),
        ("[limits]\nconcurrency = 9223372036854775808", r"limits.concurrency: expected whole numbers of 64 bits"),
        (TARGET + "options = { seed = [1, -9223372036854775809] }", r"targets.small.options.seed.1: expected whole"),
        ("[budgets]\nlimit = 1" + "0" * 30, r"budgets.limit: expected whole numbers of 64 bits"),
        ("router" + ".a" * 2000 + " = 1", r"router.a.a.*: expected tables on at most 100 levels"),
        (TARGET + "[targets.small.options" + ".a" * 200 + "]", r"targets.small.options.a.*at most 100 levels"),
    ],
)
def test_what_is_wrong_is_told_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says) as caught:
        read_settings(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("", "expected url and model, or litellm"),
        ("litellm = 'openai/gpt-5-nano'\nkey_env = 'KEY'", "litellm knows address, key and prices itself"),
        ("url = 'http://127.0.0.1/v1'\nmodel = 'x'\noptions = { api_key = 'sk-1' }", "a key doesn't belong here"),
        ("url = 'ftp://x'\nmodel = 'x'", "expected a URL"),
        ("url = 'http://127.0.0.1/v1'\nmodel = 'x'\nprices = { input = 'free' }", "input"),
    ],
)
def test_a_target_that_is_none_is_told_by_name(tmp_path: Path, decider: hr.Decider, target: str, says: str) -> None:
    others = "".join(f'[targets.{name}]\nurl = "http://127.0.0.1/v1"\nmodel = "x"\n' for name in MODELS[1:])
    settings = read_settings(written(tmp_path, f"[targets.small]\n{target}\n{others}"))
    with pytest.raises(ValueError, match=rf"targets\.small: .*{says}"):
        settings.targets_for(decider)


def test_answers_are_sent_at_once() -> None:
    # asyncio turns the delay off (TCP_NODELAY) for connections whose socket names its protocol.
    with bound("127.0.0.1", 0) as held:
        assert held.proto == socket.IPPROTO_TCP
