"""For drills on the embedded build: load that never gives up, and the account of what became of it.

The account is taken past our own code: the manifest by sqlite3, the lake's files by pyarrow. All sums are of events.
"""

import itertools
import json
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
from system_helpers import System, fetch, wait_for

from isotherm.clock import HOUR_MS

SENDERS = 3
AGAIN = 0.15
"""How often a batch that was acknowledged is sent once more."""
RECOVERY_SECONDS = 240.0


class Load:
    """Threads that send batches of one client; each batch is sent until it gets its 202.

    `faults` are answers that nobody may get; `refusals` what 503s said.
    """

    def __init__(
        self, system: System, client_id: str, *, events: int = 8, pause: float = 0.02, reconnect: bool = False
    ) -> None:
        self.system = system
        self.client_id = client_id
        self.events = events
        self.pause = pause
        self.headers = {"connection": "close"} if reconnect else {}
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.faults: list[str] = []
        self.duplicates = 0
        self._ending = threading.Event()
        self._giving_up = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), name=f"sender {n}") for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        with httpx.Client(timeout=30, headers=self.headers) as client:
            for count in itertools.count():
                body = self._body(f"{self.client_id}-{number}-{count}", chance)
                self._deliver(client, body)
                if chance.random() < AGAIN:
                    self._deliver(client, body)
                if self._ending.wait(self.pause):
                    return

    def _body(self, batch_id: str, chance: random.Random) -> dict[str, Any]:
        now = int(time.time() * 1000)
        events = [
            {"event_time": now + n, "event_type": "mousemove", "x_norm": chance.random(), "y_norm": chance.random()}
            for n in range(self.events)
        ]
        return {"client_id": self.client_id, "screen_id": "home", "batch_id": batch_id, "events": events}

    def _deliver(self, client: httpx.Client, body: dict[str, Any]) -> None:
        self.sent.add(body["batch_id"])
        while not self._giving_up.is_set():
            try:
                answer = client.post(f"{self.system.collect_url}/events/batch", json=body)
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 202:
                    self._note(body, answer.json())
                    return
                if answer.status_code == 503 and "retry-after" in answer.headers:
                    self.refusals[answer.json()["detail"]] += 1
                else:
                    self.faults.append(f"{answer.status_code}: {answer.text[:300]}")
            self._giving_up.wait(0.1)

    def _note(self, body: dict[str, Any], said: dict[str, Any]) -> None:
        if sorted((said["accepted"], said["duplicate"], said["rejected"])) != [0, 0, self.events] or said["rejected"]:
            self.faults.append(f"not a whole batch: {said}")
        self.duplicates += said["duplicate"]
        self.acknowledged.add(body["batch_id"])

    def flows(self, batches: int = 20) -> float:
        """Return when so many more batches are acknowledged; gives the seconds it took."""
        began, until_now = time.monotonic(), len(self.acknowledged)
        wait_for("batches to be acknowledged", lambda: len(self.acknowledged) > until_now + batches, RECOVERY_SECONDS)
        return time.monotonic() - began

    def end(self, *, give_up: bool = False) -> None:
        """Return when every batch that was begun is acknowledged, or at once those that are not are given up."""
        self._ending.set()
        if give_up:
            self._giving_up.set()
        for thread in self._threads:
            thread.join(RECOVERY_SECONDS)
        alive = any(thread.is_alive() for thread in self._threads)
        self._giving_up.set()
        assert not alive, f"no 202 for some batches: {self.answers} {self.refusals}"


@contextmanager
def loaded(system: System, client_id: str, **more: Any) -> Generator[Load]:
    """Load around the block; what fails inside is shown with what was answered and said."""
    load = Load(system, client_id, **more)
    try:
        yield load
        load.end()
    except BaseException:
        print(load.answers, load.refusals, load.faults[:5], system.said(), sep="\n")
        load.end(give_up=True)
        raise


def database(data: Path) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(data / "isotherm.db", timeout=30))


def landed(data: Path, client_id: str, lake: Path | None = None, db: Path | None = None) -> Counter[tuple[str, int]]:
    """How often each (batch, position) of a client stands in the listed files."""
    with database(db or data) as connection:
        listed = connection.execute(
            "SELECT path FROM files WHERE state = 'listed' AND format = 'parquet' AND client_id = ?", (client_id,)
        ).fetchall()
    rows: Counter[tuple[str, int]] = Counter()
    for (path,) in listed:
        table = pq.read_table((lake or data / "lake") / path, columns=["batch_id", "position"])
        rows.update(zip(table["batch_id"].to_pylist(), table["position"].to_pylist(), strict=True))
    return rows


def tiled(data: Path, client_id: str) -> int:
    """Events of a client that are in a cell of a published hour."""
    with database(data) as connection:
        asked = "SELECT coalesce(sum(tiled), 0) FROM buckets WHERE level = 'hour' AND client_id = ?"
        return connection.execute(asked, (client_id,)).fetchone()[0]


def say(name: str, *, acknowledged: int, landed: int, tiled: int, lost: int, duplicated: int, seconds: str) -> None:
    """The one line of a drill."""
    print(
        f"\n{name}: acknowledged {acknowledged}, landed {landed}, tiled {tiled}, lost {lost}, duplicated {duplicated},"
        f" seconds to recover {seconds}"
    )


def account(
    name: str,
    load: Load,
    seconds: Sequence[float],
    *,
    lake: Path | None = None,
    db: Path | None = None,
    missing: int = 0,
) -> None:
    """Print what became of a load that has ended and is tiled, and assert that it is what was acknowledged.

    `missing` are the events that the drill itself destroyed: lost, and named as lost.
    """
    data = load.system.data
    rows = landed(data, load.client_id, lake, db)
    found: dict[str, set[int]] = {}
    for batch_id, position in rows:
        found.setdefault(batch_id, set()).add(position)
    lost = sum(load.events - len(found.get(batch_id, ())) for batch_id in load.acknowledged)
    twice = sum(times - 1 for times in rows.values())
    in_cells = tiled(db or data, load.client_id)
    say(
        name,
        acknowledged=load.events * len(load.acknowledged),
        landed=rows.total(),
        tiled=in_cells,
        lost=lost,
        duplicated=twice,
        seconds=", ".join(f"{one:.1f}" for one in seconds),
    )
    assert load.acknowledged
    assert lost == missing
    assert twice == 0
    assert missing or all(len(positions) == load.events for positions in found.values()), "a batch is torn"
    assert found.keys() <= load.sent
    assert in_cells == rows.total()
    assert load.faults == []


def books_close(system: System, client_id: str | None = None) -> None:
    """`isotherm ledger --check` and `isotherm verify` say yes."""
    whose = () if client_id is None else ("--client", client_id)
    checked = system.run("ledger", "--check", "--json", *whose)
    assert checked.returncode == 0, checked.stdout[-2000:] + checked.stderr[-2000:]
    assert json.loads(checked.stdout)["differences"] == []
    verified = system.run("verify", "--json", *whose)
    assert verified.returncode == 0, verified.stdout[-2000:] + verified.stderr[-2000:]
    verdict = json.loads(verified.stdout)
    assert verdict["different"] == 0
    assert verdict["same"] > 0


def settle(system: System) -> float:
    """Return when everything is landed and tiled; gives the seconds it took."""
    began = time.monotonic()
    system.wait_idle()
    return time.monotonic() - began


def says(system: System, words: str) -> Callable[[], bool]:
    """What looks whether the status names a trouble in these words."""

    def told() -> bool:
        status = fetch(f"{system.app_url}/v1/status")
        return status is not None and words in json.dumps(status["problems"])

    return told


def now_hour() -> int:
    return int(time.time() * 1000) // HOUR_MS * HOUR_MS
