"""Accounts: budgets per key, user or conversation, in one file that workers share.

Before each call an upper bound of its cost is reserved; after it, what it cost is booked. Both are transactions of
SQLite, so that for every account, at every moment and over all processes,

    spent + reserved <= limit

holds, as long as no call costs more than was reserved for it. A call that does is booked in full: the account is below
zero then, and refuses. So an account is overrun by what the calls under way cost beyond their bounds, and by no more.

- A reservation ends with its call. That of a process that was killed ends `hold_s` seconds after it was made. What has
  been booked stays.
- A call that is under way at a reset counts in the period in which it ends, and until then its reservation counts in
  the new one: the inequality holds across the reset as well.
- Amounts are whole billionths of the cost's unit, costs rounded up and limits down. So sums are exact.
- The file is in WAL mode with ``synchronous=NORMAL``: what was booked survives the end of the process, by ``kill -9``
  as well. A loss of power may take the last bookings; it doesn't damage the file. The file must be on a local disk.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from headrace.arguments import LARGEST, checked_number, checked_seconds
from headrace.errors import AccountEmpty

__all__ = ["Accounts", "Balance", "Hold"]

#: Parts of a unit that amounts are whole numbers of, and what they forgive of a float's rounding, in its last places.
PARTS, ROUNDING = 10**9, 4

#: The largest limit, in units: parts must fit in SQLite's integers.
MOST = 10**9

#: The largest number of parts that is kept.
MOST_PARTS = 2**62

#: Seconds that a process waits for another one's transaction at most, and between two looks: SQLite's own are longer.
WAIT_S, LOOK_S = 10.0, 0.0002

#: The name whose limit is that of all who aren't named.
OTHERS = "*"

#: Version of the file's format.
FORMAT = 1

TABLES = f"""
CREATE TABLE accounts (name TEXT PRIMARY KEY, period REAL NOT NULL, spent INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE holds (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, amount INTEGER NOT NULL, ends REAL NOT NULL
);
CREATE INDEX holds_of_account ON holds (account, ends, amount);
PRAGMA user_version = {FORMAT};
"""

LOOK = """
SELECT
    (SELECT period FROM accounts WHERE name = :name),
    (SELECT spent FROM accounts WHERE name = :name),
    (SELECT coalesce(sum(amount), 0) FROM holds WHERE account = :name AND ends > :now)
"""

BOOK = f"""
INSERT INTO accounts VALUES (:name, :period, :spent) ON CONFLICT (name) DO UPDATE SET
    spent = min(iif(excluded.period > period, 0, spent) + excluded.spent, {MOST_PARTS}),
    period = max(period, excluded.period)
"""


@dataclass(frozen=True)
class Balance:
    """How an account stands.

    Attributes
    ----------
    account : str
    limit, spent, reserved : float
        In the unit of the costs; since the last reset.
    left : float
        What is neither spent nor reserved.
    resets_at : float or None
        When it is filled again, in seconds since 1970; None = never.
    """

    account: str
    limit: float
    spent: float
    reserved: float
    left: float
    resets_at: float | None

    def refusal(self) -> AccountEmpty:
        """Make the error that says that too little is left."""
        when = (
            "" if self.resets_at is None else f"; filled again at {datetime.fromtimestamp(self.resets_at, UTC):%FT%TZ}"
        )
        return AccountEmpty(
            f"account {self.account!r}: {self.left:.6g} of {self.limit:.6g} left, too little for this call "
            f"({self.spent:.6g} spent, {self.reserved:.6g} reserved by calls under way){when}",
            account=self.account,
            left=self.left,
            limit=self.limit,
            resets_at=self.resets_at,
        )


class Hold:
    """What is reserved for one call; made by `Accounts.reserve`.

    Attributes
    ----------
    account : str
    amount : float
        In the unit of the costs.
    is_open : bool
        Whether it has neither been settled nor released here.
    """

    def __init__(self, number: int, account: str, amount: float) -> None:
        self.number: int = number
        self.account: str = account
        self.amount: float = amount
        self.is_open = True

    def __repr__(self) -> str:
        return f"Hold({self.account!r}, {self.amount:.6g}{'' if self.is_open else ', closed'})"


class Accounts:
    """Keeps what each account has spent, and what is reserved for calls under way.

    Parameters
    ----------
    path : path-like
        The file; made where there is none. Processes and threads may share it.
    limit : float or mapping of str to float
        What an account may spend, in the unit of the first cost: of all, or by name; "*" names those that aren't
        named, which otherwise have nothing.
    every : {"day", "month"} or float, optional
        When accounts are filled again: at midnight, or on the first of the month, in UTC; or after so many seconds,
        counted from 1970. Never by default.
    per_request : float, optional
        What one query may cost, by estimate.
    largest_cost : mapping of str to float, optional
        By model, what a call costs at most: that is reserved for it, and is what makes the limit a guarantee. For
        models that aren't named the estimate is reserved, times the largest ratio that the fit saw
        (`headrace.runner.purse`): mostly enough, but no guarantee.
    hold_s : float, default 600
        Seconds after which the reservation of a killed process comes back. A query on an account has a deadline of half
        of it at most, so that no reservation ends before its call.
    clock : callable
        Gives seconds since 1970; the same for all processes.

    Raises
    ------
    TypeError, ValueError
        Values out of range; a file that holds something else.
    sqlite3.Error
        The file can't be read or written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from headrace.runner import Accounts
    >>> accounts = Accounts(pathlib.Path(tempfile.mkdtemp()) / "accounts.db", limit=1.0)
    >>> hold = accounts.reserve("user-17", 0.25)
    >>> accounts.left("user-17")
    0.75
    >>> accounts.settle(hold, 0.1)
    >>> accounts.left("user-17")
    0.9
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        limit: float | Mapping[str, float],
        every: str | float | None = None,
        per_request: float | None = None,
        largest_cost: Mapping[str, float] | None = None,
        hold_s: float = 600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path: Path = Path(path)
        limits = dict(limit) if isinstance(limit, Mapping) else {OTHERS: limit}
        self._limits = {name: _checked("limit", value) for name, value in limits.items()}
        self._every = every if every in (None, "day", "month") else _checked_every(every)
        self.per_request: float | None = None if per_request is None else _checked("per_request", per_request)
        self.largest_cost: dict[str, float] = {
            name: _checked("largest_cost", cost) for name, cost in (largest_cost or {}).items()
        }
        self.hold_s: float = checked_seconds("hold_s", hold_s, above_zero=True)
        self.clock = clock
        self._lock = Lock()
        self._db: sqlite3.Connection | None = None
        self._process = 0
        with self._lock:
            self._opened()

    def __repr__(self) -> str:
        return f"Accounts({str(self.path)!r})"

    def reserve(self, account: str, upper: float) -> Hold:
        """Reserve what a call may cost.

        Parameters
        ----------
        account : str
        upper : float
            What it costs at most.

        Returns
        -------
        Hold
            For `settle` or `release`.

        Raises
        ------
        AccountEmpty
            Less is left.
        TypeError, ValueError
            No name; no finite number >= 0.
        sqlite3.Error
            The file can't be written.
        """
        amount, now = _parts(_checked("upper", upper, most=LARGEST)), self.clock()
        with self._writing() as db:
            left, balance = self._look(db, account, now)
            if amount > left:
                raise balance.refusal()
            db.execute("DELETE FROM holds WHERE account = ? AND ends <= ?", (account, now))
            ends = now + self.hold_s
            made = db.execute("INSERT INTO holds (account, amount, ends) VALUES (?, ?, ?)", (account, amount, ends))
        return Hold(made.lastrowid or 0, account, amount / PARTS)

    def settle(self, hold: Hold, spent: float) -> None:
        """Book what a call cost, in full, and end its reservation. A hold that is closed stays as it is.

        Parameters
        ----------
        hold : Hold
        spent : float

        Raises
        ------
        TypeError, ValueError
            No finite number >= 0.
        sqlite3.Error
            The file can't be written; the hold stays open.
        """
        if not hold.is_open:
            return
        cost = min(_parts(_checked("spent", spent, most=LARGEST)), MOST_PARTS)
        with self._writing() as db:
            db.execute("DELETE FROM holds WHERE id = ?", (hold.number,))
            if cost:
                start, _ = _period(self._every, self.clock())
                db.execute(BOOK, {"name": hold.account, "period": start, "spent": cost})
        hold.is_open = False

    def release(self, hold: Hold) -> None:
        """End the reservation of a call that cost nothing."""
        self.settle(hold, 0.0)

    def balance(self, account: str) -> Balance:
        """Say how an account stands.

        Raises
        ------
        TypeError, ValueError
            No name.
        """
        with self._lock:
            return self._look(self._opened(), account, self.clock())[1]

    def left(self, account: str) -> float:
        """Give what is neither spent nor reserved."""
        return self.balance(account).left

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._db is not None and self._process == os.getpid():
                self._db.close()
            self._db = None

    def _look(self, db: sqlite3.Connection, account: str, now: float) -> tuple[int, Balance]:
        """Give what is left, in parts, and all of it in units."""
        if not isinstance(account, str):
            raise TypeError(f"account: expected a name, got {account!r}")
        if not account or account == OTHERS:
            raise ValueError(f"account: expected a name, got {account!r}")
        period, spent, reserved = _patiently(db, LOOK, {"name": account, "now": now}).fetchone()
        # A clock that is set back doesn't fill an account again.
        start, end = _period(self._every, now if period is None else max(now, period))
        limit = _parts(self._limits.get(account, self._limits.get(OTHERS, 0.0)), math.floor)
        spent = spent if period is not None and period >= start else 0
        left = limit - spent - reserved
        return left, Balance(account, limit / PARTS, spent / PARTS, reserved / PARTS, left / PARTS, end)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file alone; what fails leaves no trace."""
        with self._lock:
            db = self._opened()
            _patiently(db, "BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    def _opened(self) -> sqlite3.Connection:
        """Give the connection of this process: after a fork, a new one."""
        if self._db is not None and self._process == os.getpid():
            return self._db
        db = sqlite3.connect(self.path, timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            _patiently(db, "PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            _patiently(db, "BEGIN IMMEDIATE")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (n_tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version != FORMAT and (version or n_tables):
                raise ValueError(f"path: {self.path} holds something else than accounts; name another file")
            if not version:
                for statement in TABLES.strip().split(";\n"):
                    db.execute(statement)
            db.execute("COMMIT")
        except BaseException as error:
            db.close()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                raise ValueError(f"path: {self.path} holds something else than accounts ({error})") from error
            raise
        self._db, self._process = db, os.getpid()
        return db


def _patiently(db: sqlite3.Connection, statement: str, values: Mapping[str, object] | None = None) -> sqlite3.Cursor:
    """Execute a statement; where another process writes, wait until it has."""
    ends = time.monotonic() + WAIT_S
    while True:
        try:
            return db.execute(statement, values or {})
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(LOOK_S)


def _period(every: str | float | None, now: float) -> tuple[float, float | None]:
    """Give the beginning and the end of the period that a moment lies in."""
    if every is None:
        return 0.0, None
    if every == "day":
        every = 86400.0
    if isinstance(every, float):
        start = math.floor(now / every) * every
        return start, start + every
    first = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first.timestamp(), following.timestamp()


def _parts(amount: float, rounded: Callable[[float], int] = math.ceil) -> int:
    """Give an amount in parts: rounded up, or down, but for a float's error."""
    exact = amount * PARTS
    nearest = round(exact)
    return nearest if abs(exact - nearest) <= ROUNDING * math.ulp(exact) else rounded(exact)


def _checked(argument: str, value: float, *, most: float = MOST) -> float:
    amount = checked_number(argument, value)
    if not 0.0 <= amount <= most:
        raise ValueError(f"{argument}: expected a number from 0 to {most:.6g}, got {value!r}")
    return amount


def _checked_every(every: object) -> float:
    if isinstance(every, str):
        raise ValueError(f'every: expected "day", "month", seconds or None, got {every!r}')
    return checked_seconds("every", every, above_zero=True)
