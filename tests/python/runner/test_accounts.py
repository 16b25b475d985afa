"""Accounts: what is spent never exceeds the limit, over threads of calls, processes, kills and resets."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import COSTS, MODELS, query, reply

import headrace as hr
from headrace.errors import AccountEmpty, CapTooSmall
from headrace.runner import Accounts, DecisionLog, Exhausted, Fault, Reply, Request, Retry, Runner, read_log
from headrace.runner.purse import N_POINTS, Purses

QUICK = Retry(attempts=2, base_s=0.001, cap_s=0.01)

WORKER = Path(__file__).with_name("account_worker.py")


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    return pools.fitted()


@pytest.fixture(scope="module")
def router(decider: hr.Decider, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("router") / "router.headrace"
    decider.save(path)
    return path


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def opened(folder: Path, limit: Any = 10.0, **told: Any) -> Accounts:
    return Accounts(folder / "accounts.db", limit=limit, **told)


# The file


def test_what_is_reserved_is_taken_and_what_it_cost_is_booked(tmp_path: Path) -> None:
    accounts = opened(tmp_path)
    first, second = accounts.reserve("a", 6.0), accounts.reserve("a", 4.0)
    with pytest.raises(AccountEmpty) as refused:
        accounts.reserve("a", 0.001)
    told = refused.value
    assert (told.account, told.left, told.limit, told.resets_at) == ("a", 0.0, 10.0, None)
    assert accounts.left("b") == 10.0
    accounts.settle(first, 2.5)
    accounts.release(second)
    accounts.settle(first, 2.5)  # it is closed
    balance = accounts.balance("a")
    assert (balance.spent, balance.reserved, balance.left) == (2.5, 0.0, 7.5)


def test_sums_are_exact(tmp_path: Path) -> None:
    accounts = opened(tmp_path, limit=1.0)
    for _ in range(10):
        accounts.settle(accounts.reserve("a", 0.1), 0.3 / 3)
    assert accounts.balance("a").spent == 1.0
    with pytest.raises(AccountEmpty):
        accounts.reserve("a", 1e-15)  # rounded up to a part


def test_a_call_beyond_its_bound_is_booked_in_full_and_the_account_refuses(tmp_path: Path) -> None:
    accounts = opened(tmp_path)
    accounts.settle(accounts.reserve("a", 9.0), 12.0)
    with pytest.raises(AccountEmpty) as refused:
        accounts.reserve("a", 0.0)
    assert refused.value.left == -2.0


def test_limits_by_name(tmp_path: Path) -> None:
    accounts = opened(tmp_path, limit={"a": 1.0, "*": 2.0})
    assert (accounts.left("a"), accounts.left("b")) == (1.0, 2.0)
    assert opened(tmp_path, limit={"a": 1.0}).left("b") == 0.0


@pytest.mark.parametrize(
    ("every", "last", "following"),
    [
        ("day", datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        ("month", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (3600, datetime(2026, 5, 6, 7, 59, 59, tzinfo=UTC), datetime(2026, 5, 6, 8, tzinfo=UTC)),
    ],
)
def test_accounts_are_filled_at_the_boundary(tmp_path: Path, every: Any, last: datetime, following: datetime) -> None:
    clock = Clock(last.timestamp())
    accounts = opened(tmp_path, every=every, clock=clock)
    accounts.settle(accounts.reserve("a", 7.0), 7.0)
    under_way = accounts.reserve("a", 3.0)
    with pytest.raises(AccountEmpty) as refused:
        accounts.reserve("a", 1.0)
    assert refused.value.resets_at == following.timestamp()
    clock.now = following.timestamp()
    balance = accounts.balance("a")
    assert (balance.spent, balance.reserved, balance.left) == (0.0, 3.0, 7.0)
    accounts.settle(under_way, 2.0)
    assert accounts.balance("a").spent == 2.0
    clock.now = last.timestamp()  # set back: nothing is filled again, and nothing is lost
    balance = accounts.balance("a")
    assert balance.spent == 2.0
    assert balance.resets_at is not None
    assert balance.resets_at > following.timestamp()
    accounts.settle(accounts.reserve("a", 1.0), 1.0)
    assert accounts.balance("a").spent == 3.0
    clock.now = following.timestamp() + 1.0
    assert accounts.balance("a").spent == 3.0


def test_a_reservation_comes_back_after_hold_s(tmp_path: Path) -> None:
    clock = Clock()
    accounts = opened(tmp_path, hold_s=60.0, clock=clock)
    lost = accounts.reserve("a", 10.0)
    clock.now += 59.9
    assert accounts.left("a") == 0.0
    clock.now += 0.1
    assert accounts.left("a") == 10.0
    accounts.reserve("a", 1.0)
    accounts.settle(lost, 4.0)  # it was late, not lost: it is booked, and no other reservation is ended
    balance = accounts.balance("a")
    assert (balance.spent, balance.reserved) == (4.0, 1.0)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"limit": -1.0}, "limit"),
        ({"limit": float("nan")}, "limit"),
        ({"limit": 1e12}, "limit"),
        ({"every": "week"}, "every"),
        ({"every": 0.0}, "every"),
        ({"hold_s": 0.0}, "hold_s"),
        ({"per_request": -1.0}, "per_request"),
        ({"largest_cost": {"small": float("inf")}}, "largest_cost"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, told: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        opened(tmp_path, **told)


@pytest.mark.parametrize("name", ["", "*", 7, None])
def test_names_that_are_none_are_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="account"):
        opened(tmp_path).left(name)


def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    path.write_text("no database, but a text that is long enough to be looked at\n" * 20)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="something else"):
        opened(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_opens_the_file_again(tmp_path: Path) -> None:
    accounts = opened(tmp_path)
    child = os.fork()
    if not child:
        with suppress(BaseException):
            accounts.settle(accounts.reserve("a", 1.0), 1.0)
        os._exit(0)
    os.waitpid(child, 0)
    assert accounts.balance("a").spent == 1.0


amounts = st.integers(0, 12 * 10**9).map(lambda parts: parts / 10**9)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.sampled_from("ab"), amounts),
        st.tuples(st.just("settle"), st.integers(0, 30), amounts),
        st.tuples(st.just("release"), st.integers(0, 30), st.just(0.0)),
        st.tuples(st.just("wait"), st.floats(0.0, 90.0), st.just(0.0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, every=st.sampled_from([None, 100.0]))
def test_it_does_as_one_that_keeps_all_in_memory(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any, float]], every: float | None
) -> None:
    clock, limit, hold_s = Clock(), 20 * 10**9, 60.0
    accounts = opened(tmp_path_factory.mktemp("accounts"), 20.0, every=every, hold_s=hold_s, clock=clock)
    spent: dict[tuple[str, int], int] = {}
    held: dict[int, tuple[str, int, float]] = {}
    holds: list[Any] = []

    def period() -> int:
        return 0 if every is None else int(clock.now // every)

    def known(name: str) -> tuple[int, int]:
        reserved = sum(amount for owner, amount, ends in held.values() if owner == name and ends > clock.now)
        return spent.get((name, period()), 0), reserved

    for what, which, amount in steps:
        parts = round(amount * 10**9)
        if what == "wait":
            clock.now += which
        elif what == "reserve":
            if parts > limit - sum(known(which)):
                with pytest.raises(AccountEmpty):
                    accounts.reserve(which, amount)
                continue
            held[len(holds)] = (which, parts, clock.now + hold_s)
            holds.append(accounts.reserve(which, amount))
        elif which < len(holds):
            accounts.settle(holds[which], amount) if what == "settle" else accounts.release(holds[which])
            if which in held:
                key = (held.pop(which)[0], period())
                spent[key] = spent.get(key, 0) + parts
        for name in "ab":
            balance = accounts.balance(name)
            assert (round(balance.spent * 10**9), round(balance.reserved * 10**9)) == known(name)
            assert round(balance.left * 10**9) == limit - sum(known(name))
    accounts.close()


# The runner


class Pool:
    """Targets that take a moment, cost what is told, and look at the account while they run."""

    def __init__(self, look: Callable[[], None] = lambda: None, **told: Any) -> None:
        self.look, self.told = look, told
        self.calls: list[str] = []

    def targets(self) -> dict[str, Any]:
        return {name: self._target(name) for name in MODELS}

    def _target(self, name: str) -> Any:
        pool = self

        class One:
            async def call(self, request: Request) -> Reply:
                pool.calls.append(name)
                pool.look()
                await asyncio.sleep(0.001)
                done = pool.told.get(name, {})
                done = done(request) if callable(done) else done
                if isinstance(done, BaseException):
                    raise done
                said = {**reply(name), **done}
                return Reply(answer=said["answer"], cost=said["cost"], columns={"logprob": said["logprob"]})

        return One()


async def answered(runner: Runner, n: int, **terms: Any) -> list[Any]:
    """Ask many at once; give the results, and the errors of an empty account."""
    told = await asyncio.gather(
        *(runner.arun(query(row), id=f"q-{row}", **terms) for row in range(n)), return_exceptions=True
    )
    assert all(isinstance(one, hr.runner.Result | AccountEmpty) for one in told), told
    return told


def within(accounts: Accounts, account: str = "a") -> Callable[[], None]:
    def look() -> None:
        balance = accounts.balance(account)
        assert balance.spent + balance.reserved <= balance.limit

    return look


def run(decider: hr.Decider, pool: Pool, accounts: Accounts | None, work: Callable[[Runner], Any], **told: Any) -> Any:
    async def main() -> Any:
        async with Runner(decider, pool.targets(), accounts=accounts, retry=QUICK, **told) as runner:
            return await work(runner)

    return asyncio.run(main())


def test_of_200_at_once_those_are_answered_that_there_is_room_for(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, 100.0, largest_cost=COSTS)
    pool = Pool(within(accounts))
    told = run(decider, pool, accounts, lambda runner: answered(runner, 200, account="a", allowed=["small"]))
    assert sum(isinstance(one, AccountEmpty) for one in told) == 100
    assert (accounts.balance("a").spent, accounts.balance("a").reserved) == (100.0, 0.0)
    assert len(pool.calls) == 100


def test_cascades_at_once_stay_within_the_limit(decider: hr.Decider, tmp_path: Path) -> None:
    accounts, random_ = opened(tmp_path, 150.0, largest_cost=COSTS), random.Random(1)

    def unsure(name: str) -> Callable[[Request], dict[str, Any]]:
        return lambda _: {"cost": COSTS[name] * random_.uniform(0.2, 1.0), "logprob": random_.choice([-0.1, -1.5])}

    pool = Pool(within(accounts), **{name: unsure(name) for name in MODELS})
    told = run(decider, pool, accounts, lambda runner: answered(runner, 200, account="a"))
    results = [one for one in told if not isinstance(one, AccountEmpty)]
    balance = accounts.balance("a")
    assert 0.0 < balance.spent <= balance.limit
    assert balance.reserved == 0.0
    assert balance.spent == pytest.approx(sum(one.cost for one in results), abs=1e-6)
    assert len(results) < 200


@contextmanager
def workers(n: int, *told: Any, program: tuple[str, ...] = (str(WORKER),)) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        made = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, *program, *map(str, told)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(WORKER.parent)])},
                )
            )
            for _ in range(n)
        ]
        for one in made:
            stack.callback(one.kill)
        for one in made:
            assert one.stdout is not None
            assert one.stdin is not None
            assert one.stdout.readline() == "ready\n"
        for one in made:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        yield made


SPENDER = """
import sys
from headrace.errors import AccountEmpty
from headrace.runner import Accounts

print("ready", flush=True)
sys.stdin.readline()
accounts, n = Accounts(sys.argv[1], limit=2000.0), 0
while True:
    try:
        hold = accounts.reserve("a", 1.0)
    except AccountEmpty:
        break
    accounts.settle(hold, 1.0)
    n += 1
print(n)
"""


def test_processes_that_spend_as_fast_as_they_can_share_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with workers(3, path, program=("-c", SPENDER)) as made:
        told = [one.communicate(timeout=300)[0] for one in made]
    assert sum(map(int, told)) == Accounts(path, limit=2000.0).balance("a").spent == 2000


def test_two_processes_share_the_limit(router: Path, tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with workers(2, router, path, 100.0, 200, -1) as made:
        told = [one.communicate(timeout=300)[0].split() for one in made]
    n_answered = sum(words.count("answered") for words in told)
    assert sum(map(len, told)) == 400
    balance = Accounts(path, limit=100.0).balance("shared")
    assert balance.reserved == 0.0
    assert balance.spent == n_answered == 100


def test_after_a_kill_nothing_booked_is_lost_and_what_was_reserved_comes_back(router: Path, tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with workers(1, router, path, 1000.0, 50, 20) as (one,):
        assert one.stdout is not None
        said = [one.stdout.readline().strip() for _ in range(21)]
        one.kill()
        one.wait()
    assert said == ["answered"] * 20 + ["hangs"]
    ahead = [0.0]
    accounts = Accounts(path, limit=1000.0, clock=lambda: time.time() + ahead[0])
    balance = accounts.balance("shared")
    assert (balance.spent, balance.reserved) == (20.0, COSTS["small"])
    ahead[0] = 120.0
    balance = accounts.balance("shared")
    assert (balance.spent, balance.reserved, balance.left) == (20.0, 0.0, 980.0)


def test_queries_become_cheaper_before_any_is_refused(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, 400.0, largest_cost=COSTS)
    unsure = {"logprob": -1.5}
    pool = Pool(small=unsure, medium=unsure, large=unsure)

    async def work(runner: Runner) -> list[tuple[float, hr.runner.Result]]:
        done = []
        with suppress(AccountEmpty):
            for row in range(1000):
                left = accounts.left("a")
                done.append((left, await runner.arun(query(row), id=f"q-{row}", account="a")))
        return done

    done = run(decider, pool, accounts, work)
    early = [one.cost for left, one in done if left > 80.0]
    late = [one.cost for left, one in done if left < 30.0]
    assert len(late) >= 5
    assert sum(late) / len(late) < 0.6 * sum(early) / len(early)
    assert {one.policy for left, one in done if left >= 80.0} == {decider.fingerprint}
    assert len({one.policy for _, one in done}) > 3
    assert accounts.balance("a").spent <= 400.0
    assert accounts.left("a") < 1.5 * COSTS["small"]
    assert done[-1][1].left == accounts.left("a")


def test_the_points_go_down_to_the_cheapest_and_share_the_estimators(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, 100.0)
    purses, costs = Purses(accounts, decider), []
    while accounts.left("a") > 0.0:
        purse = purses.open("a")
        assert purse is not None
        assert purse.decider.estimators is decider.estimators
        costs.append(purse.decider.point.cost)
        accounts.settle(accounts.reserve("a", 0.5), 0.5)
    assert costs == sorted(costs, reverse=True)
    assert set(costs[:160]) == {decider.point.cost}
    assert costs[-1] == pytest.approx(decider.path.cost.min())
    assert 3 < len(set(costs)) <= N_POINTS + 1
    with pytest.raises(AccountEmpty):
        purses.open("a")


def test_a_dear_model_that_is_not_covered_makes_way_for_a_cheap_one(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, 9.0, largest_cost=COSTS | {"large": 50.0})
    work = lambda runner: runner.arun(query(0), id="q", account="a", allowed=["large", "small"])  # noqa: E731
    dear = decider.with_quality_target(float(decider.path.quality.max()))
    result = run(dear, Pool(small={"logprob": -1.5}), accounts, work)
    assert result.model == "small"
    with pytest.raises(AccountEmpty):
        run(dear, Pool(), accounts, lambda runner: runner.arun(query(0), account="a", allowed=["large"]))


def test_a_cancelled_request_releases(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path)

    async def work(runner: Runner) -> None:
        task = asyncio.create_task(runner.arun(query(0), account="a"))
        while not accounts.balance("a").reserved:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(decider, Pool(), accounts, work)
    assert (accounts.balance("a").spent, accounts.balance("a").reserved) == (0.0, 0.0)


def test_what_faults_cost_is_booked(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, largest_cost=COSTS)
    pool = Pool(small=Fault("server", cost=0.25))
    with pytest.raises(Exhausted):
        run(decider, pool, accounts, lambda runner: runner.arun(query(0), account="a", allowed=["small"]))
    assert pool.calls == ["small", "small"]
    assert (accounts.balance("a").spent, accounts.balance("a").reserved) == (0.5, 0.0)


def test_what_is_begun_ahead_is_reserved_and_booked(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, 1000.0, largest_cost=COSTS)
    pool = Pool(within(accounts), small={"logprob": -1.5})

    async def work(runner: Runner) -> list[Any]:
        for name in MODELS:
            runner._caller.took(name, 10.0)
        return [await runner.arun(query(row), id=f"q-{row}", account="a", deadline_s=5.0) for row in range(10)]

    results = run(decider, pool, accounts, work, speculative=True)
    assert accounts.balance("a").spent == pytest.approx(sum(one.cost for one in results))
    assert accounts.balance("a").reserved == 0.0


class Talking:
    """A target that streams three words, and then is cut off."""

    async def call(self, request: Request) -> Reply:
        raise NotImplementedError

    async def stream(self, request: Request) -> Any:
        for word in ("one", "two", "three"):
            yield {"content": word}
        raise Fault("connection")


@pytest.mark.parametrize("leaves", [True, False])
def test_a_stream_that_is_broken_off_costs_its_reservation(decider: hr.Decider, tmp_path: Path, leaves: bool) -> None:
    accounts = opened(tmp_path, largest_cost=COSTS)

    async def main() -> None:
        targets = {"small": Talking(), "medium": None, "large": None}
        async with Runner(decider, targets, accounts=accounts) as runner:
            pieces = runner.stream(query(0), account="a")
            await anext(pieces)
            if not leaves:
                with pytest.raises(Fault):
                    _ = [piece async for piece in pieces]
            await pieces.aclose()

    asyncio.run(main())
    assert (accounts.balance("a").spent, accounts.balance("a").reserved) == (COSTS["small"], 0.0)


def test_queries_at_cheaper_points_are_logged_and_neither_audited_nor_watched(
    decider: hr.Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, watched = opened(tmp_path, 100.0), list[Any]()
    accounts.settle(accounts.reserve("a", 90.0), 90.0)
    pool, log = Pool(), DecisionLog(tmp_path / "decisions.jsonl")

    async def work(runner: Runner) -> Any:
        monkeypatch.setattr(runner.monitor, "observe", watched.append)
        result = await runner.arun(query(0), id="q", account="a")
        await runner.drain()
        return result

    result = run(decider, pool, accounts, work, log=log, audit=1.0, explore=1.0)
    assert (len(pool.calls), watched) == (len(result.attempts), [])
    (event,) = [one for one in read_log(log.path) if one["event"] == "decision"]
    assert event["policy"] == result.policy != decider.fingerprint


def test_threads_share_a_runner_and_its_accounts(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, 40.0, largest_cost=COSTS)
    targets = {"small": lambda _: reply("small"), "medium": None, "large": None}

    def ask(row: int) -> bool:
        try:
            runner.run(query(row), id=f"q-{row}", account="a")
        except AccountEmpty:
            return False
        return True

    with Runner(decider, targets, accounts=accounts) as runner, ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(80))) == 40
    assert (accounts.balance("a").spent, accounts.balance("a").reserved) == (40.0, 0.0)


def test_threads_share_the_file(tmp_path: Path) -> None:
    accounts = opened(tmp_path, 100.0)

    def spend(_: int) -> bool:
        with suppress(AccountEmpty):
            accounts.settle(accounts.reserve("a", 1.0), 1.0)
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(spend, range(300))) == 100
    assert accounts.balance("a").spent == 100.0


def test_a_stream_books_what_it_cost(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path)

    async def work(runner: Runner) -> Any:
        return [piece async for piece in runner.stream(query(0), account="a")][-1]

    result = run(decider, Pool(), accounts, work)
    assert accounts.balance("a").spent == result.cost
    assert result.left == 10.0 - result.cost


def test_a_query_may_cost_so_much_by_estimate(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, 1000.0, per_request=2.0)
    unsure = {"logprob": -1.5}
    pool = Pool(small=unsure, medium=unsure, large=unsure)
    told = run(decider, pool, accounts, lambda runner: answered(runner, 20, account="a"))
    assert {one.run for one in told} == {("small",)}
    with pytest.raises(CapTooSmall):  # the query's own cap, not the account's
        run(decider, pool, accounts, lambda runner: runner.arun(query(0), account="a", max_cost=0.01))


def test_a_query_on_an_account_ends_before_its_reservation(decider: hr.Decider, tmp_path: Path) -> None:
    accounts = opened(tmp_path, hold_s=0.2)

    class Endless:
        async def call(self, request: Request) -> Reply:
            await asyncio.sleep(600.0)
            raise AssertionError

    async def main() -> None:
        async with Runner(decider, dict.fromkeys(MODELS, Endless()), accounts=accounts) as runner:
            await runner.arun(query(0), account="a")

    with pytest.raises(Exhausted, match="deadline"):
        asyncio.run(main())


def test_who_pays_is_said_where_there_are_accounts(decider: hr.Decider, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Runner\\(accounts="):
        run(decider, Pool(), None, lambda runner: runner.arun(query(0), account="a"))
    accounts = opened(tmp_path)
    assert run(decider, Pool(), accounts, lambda runner: runner.arun(query(0))).left is None
    with pytest.raises(ValueError, match="unknown model 'huge'"):
        Runner(decider, Pool().targets(), accounts=opened(tmp_path, largest_cost={"huge": 1.0}))


def test_a_file_that_cannot_be_written_lets_no_call_through_and_loses_no_answer(
    decider: hr.Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = opened(tmp_path)
    reserve, n_good = accounts.reserve, iter([True])

    def fails(account: str, upper: float) -> Any:
        if next(n_good, False):
            return reserve(account, upper)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(accounts, "reserve", fails)
    pool = Pool(**{name: {"logprob": -1.5} for name in MODELS})
    dear = decider.with_quality_target(float(decider.path.quality.max()))
    result = run(dear, pool, accounts, lambda runner: runner.arun(query(0), account="a"))
    assert [one.kind for one in result.attempts] == ["ok", "account"]
    with pytest.raises(Exhausted, match="account"):
        run(decider, pool, accounts, lambda runner: runner.arun(query(0), account="a", allowed=["small"]))


def test_a_booking_that_fails_loses_no_answer(
    decider: hr.Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = opened(tmp_path)

    def fails(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(accounts, "settle", fails)
    assert run(decider, Pool(), accounts, lambda runner: runner.arun(query(0), account="a")).model in MODELS
    assert "can't be booked" in caplog.text
    assert accounts.balance("a").reserved > 0.0
