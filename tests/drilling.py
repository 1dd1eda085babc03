"""For drills on the embedded build: load that never gives up, and the account of what became of it.

The account is taken past our own code: the manifest by sqlite3, the lake's files by pyarrow. All sums are of events.
"""

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sums
from sending import Sending
from system_helpers import System, fetch, wait_for

from isotherm.clock import HOUR_MS


class Load(Sending):
    """Batches of `events` events each of one screen, at the moment's time, to a system that may move.

    With `reconnect` each request has a connection of its own; with `sent_at` each says when its sender sent it.
    """

    def __init__(
        self,
        system: System,
        client_id: str,
        *,
        events: int = 8,
        pause: float = 0.02,
        reconnect: bool = False,
        sent_at: bool = False,
    ) -> None:
        super().__init__(client_id, events=events, pause=pause, headers={"connection": "close"} if reconnect else None)
        self.system = system
        self.sent_at = sent_at
        self.begin()

    def address(self) -> str:
        return self.system.collect_url

    def content(self, count: int, chance: random.Random) -> dict[str, Any]:
        now = int(time.time() * 1000)
        events = [
            {"event_time": now + n, "event_type": "mousemove", "x_norm": chance.random(), "y_norm": chance.random()}
            for n in range(self.events)
        ]
        return {"screen_id": "home", "events": events} | ({"sent_at": now} if self.sent_at else {})

    def flows(self, batches: int = 20) -> float:
        """Return when so many more batches are acknowledged; gives the seconds it took."""
        began, until_now = time.monotonic(), len(self.acknowledged)
        wait_for(
            "batches to be acknowledged", lambda: len(self.acknowledged) > until_now + batches, self.RECOVERY_SECONDS
        )
        return time.monotonic() - began


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
    """The one line of a drill, and its row in the table at the end."""
    sums.note(name, acknowledged, landed, tiled, lost, duplicated, seconds)
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
    assert found.keys() <= load.sent.keys()
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
