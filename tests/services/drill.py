"""A deployment in trouble: a load that remembers what was acknowledged, a reader that never rests, and the account.

Every batch has one event in each of a few fixed cells of one screen and hour. So in a whole map these cells have equal
counts and all others none, whatever it was made of; a map of half a file, or of half a batch, shows at once.
"""

import io
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pandas as pd
import psycopg
import pyarrow.parquet as pq
import sums
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from journey.truth import served
from recount import Recording
from sending import Sending
from system_helpers import fetch, wait_for

from services.clickhouse import ClickHouseFront
from services.deployment import SWAPS, Roles, Settings
from services.kafka import Kafka
from services.postgres import Postgres
from services.proxy import Proxy
from services.redis import Redis
from services.s3 import Versitygw

CELLS: Final = ((3, 5), (20, 150), (50, 50), (50, 51), (99, 199), (0, 0))
EVENTS: Final = len(CELLS)
HOUR_MS: Final = 3_600_000
RECOVERY_SECONDS: Final = 150.0
"""Long enough for a busy machine; what it took is printed."""
OPEN: Final = "open"
PAST: Final = "past"


@dataclass
class Servers:
    """One of each, for the drills to stop and kill. The lake is reached by way of `proxy`."""

    kafka: Kafka
    s3: Versitygw
    proxy: Proxy
    postgres: Postgres
    redis: Redis
    clickhouse: ClickHouseFront

    def settings(self) -> Settings:
        """The settings of a deployment on all of them; a request to S3 is given up after 3 s."""
        used = {
            "log": self.kafka, "lake": self.s3, "olap": self.clickhouse, "db": self.postgres, "cache": self.redis
        }  # fmt: skip
        chosen: Settings = {"s3_timeout_seconds": 3}
        for name, server in used.items():
            chosen |= SWAPS[name][1](server)
        return chosen | {"lake": chosen["lake"].replace(self.s3.endpoint, self.proxy.endpoint)}


class Load(Sending):
    """Batches to screens of one client in turn; `hours` is screen: start of the hour of its events, in ms."""

    SENDERS = 4
    AGAIN = 0.1
    RETRY_SECONDS = 0.2
    RECOVERY_SECONDS = RECOVERY_SECONDS

    def __init__(self, url: str, client_id: str, hours: dict[str, int]) -> None:
        super().__init__(client_id, events=EVENTS, pause=0.03)
        self.url = url
        self.hours = hours
        self.begin()

    def address(self) -> str:
        return self.url

    def content(self, count: int, chance: random.Random) -> dict[str, Any]:
        screen = list(self.hours)[count % len(self.hours)]
        events = [
            {
                "event_time": self.hours[screen] + chance.randrange(HOUR_MS),
                "event_type": "mousemove",
                "x_norm": (x + 0.5) / 100,
                "y_norm": (y + 0.5) / 200,
            }
            for x, y in CELLS
        ]
        return {"screen_id": screen, "events": events}


@dataclass
class Reader:
    """A thread that asks for the maps all the time, and notes what must never be seen."""

    url: str
    client_id: str
    hours: dict[str, int]
    seen: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """(level, screen): batches in the map when it was last seen."""
    answers: "Counter[int]" = field(default_factory=Counter[int])
    faults: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader")
        self._thread.start()

    def _run(self) -> None:
        wanted = list(self._wanted())
        with httpx.Client(timeout=120, base_url=self.url) as client:
            while not self._ending.is_set():
                for what, route, query in wanted:
                    try:
                        self._look(what, client.get(f"/heatmap/{route}", params=query))
                    except Exception as error:  # noqa: BLE001 - also an answer that nobody expects must not end it
                        self.faults.append(f"{what}: {error!r}")
                self._ending.wait(0.05)

    def _wanted(self) -> Iterator[tuple[tuple[str, str], str, dict[str, str]]]:
        for screen, start in self.hours.items():
            at = datetime.fromtimestamp(start / 1000, UTC)
            monday = at - timedelta(days=at.weekday())
            whose = {"client_id": self.client_id, "screen_id": screen}
            yield ("hour", screen), "hourly", {**whose, "dt": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"}
            yield ("day", screen), "daily", {**whose, "dt": f"{at:%Y-%m-%d}"}
            yield ("week", screen), "weekly", {**whose, "week_start": f"{monday:%Y-%m-%d}"}

    def _look(self, what: tuple[str, str], answer: httpx.Response) -> None:
        self.answers[answer.status_code] += 1
        match answer.status_code:
            case 200:
                self._count(what, answer.json()["cells"])
            case 404 if what not in self.seen:
                pass
            case 503 if "a store behind the API does not answer" in answer.text and "retry-after" in answer.headers:
                pass
            case _:
                self.faults.append(f"{what}: {answer.status_code} {answer.text[:300]}")

    def _count(self, what: tuple[str, str], cells: list[dict[str, int]]) -> None:
        counts = {(cell["cell_x"], cell["cell_y"]): cell["count"] for cell in cells}
        if counts and (counts.keys() != set(CELLS) or len(set(counts.values())) != 1):
            self.faults.append(f"{what}: half a map: {counts}")
        now, before = max(counts.values(), default=0), self.seen.get(what, 0)
        if now < before:
            self.faults.append(f"{what}: {before} batches, and then {now}")
        if now:
            self.seen[what] = now

    def end(self) -> None:
        self._ending.set()
        self._thread.join(130)
        assert not self._thread.is_alive()


@dataclass
class World:
    """The deployment and its servers, for one drill after the other; each has a client of its own."""

    servers: Servers
    settings: Settings
    roles: Roles
    folder: Path
    """For what a drill starts besides."""

    @contextmanager
    def drill(self, client_id: str, *, collects: bool = True, serves: bool = True) -> Generator["Drill"]:
        """Load and reader around the block, and the account after it.

        `collects` and `serves` say that the trouble is none of the collector's or the query API's: it answers as ever.
        """
        now = int(time.time() * 1000) // HOUR_MS * HOUR_MS
        # One hour that still runs, and one of a day that is over: its roll-up follows every landing.
        hours = {OPEN: now, PAST: now - 26 * HOUR_MS}
        load = Load(self.roles.collect_url, client_id, hours)
        reader = Reader(self.roles.app_url, client_id, hours)
        running = Drill(self, load, reader)
        try:
            yield running
            load.end()
            running.settle()
        except BaseException:
            print(
                f"{load.answers} {load.refusals} {load.faults[:5]} {reader.answers} {reader.seen} {reader.faults[:5]}"
            )
            print(self.roles.said())
            raise
        finally:
            try:
                load.end()
            finally:
                reader.end()
        running.check(collects=collects, serves=serves)

    def lives(self) -> bool:
        """Every process runs; AssertionError with the ends of their logs otherwise."""
        dead = [name for name in Roles.COMMANDS if self.roles.pid(name) is None]
        assert not dead, f"{', '.join(dead)} ended:\n{self.roles.said()}"
        return True

    def drained(self) -> bool:
        """Whether the manifest has all that Kafka holds, and no map waits; from the servers' own mouths."""
        with psycopg.connect(self.settings["db"]) as connection:
            rows = connection.execute("SELECT partition, next_offset FROM positions").fetchall()
        landed: dict[int, int] = dict(rows)
        if any(head != landed.get(partition, 0) for partition, head in self.heads().items()):
            return False
        status = fetch(f"{self.roles.app_url}/v1/status")
        return status is not None and status["idle"]

    def heads(self) -> dict[int, int]:
        """Records of every partition, by the broker."""
        asking = Consumer({**self.servers.kafka.client_settings(), "group.id": "drill"})
        try:
            numbers = range(self.settings["kafka_partitions"])
            return {n: asking.get_watermark_offsets(TopicPartition(self.topic, n), timeout=20)[1] for n in numbers}
        finally:
            asking.close()

    def landers(self) -> list[int]:
        """How many partitions each member of the landers' group has, by the broker; in order."""
        group = f"{self.topic}.land"
        admin = AdminClient(self.servers.kafka.client_settings())
        found = admin.describe_consumer_groups([group], request_timeout=20)[group].result(20)
        return sorted(len(member.assignment.topic_partitions) for member in found.members)

    @property
    def topic(self) -> str:
        return parse_qs(urlsplit(self.settings["log"]).query)["topic"][0]

    def lake(self, client_id: str) -> pd.DataFrame:
        """The rows of every listed file of a client: the list by SQL, the files by signed requests and pyarrow."""
        with psycopg.connect(self.settings["db"]) as connection:
            listed = connection.execute(
                "SELECT path, rows FROM files WHERE state = 'listed' AND client_id = %s", (client_id,)
            ).fetchall()
        where = urlsplit(self.settings["lake"])
        asking, frames = self.servers.s3.requests(), list[pd.DataFrame]()
        for path, rows in listed:
            status, data = asking.ask("GET", f"/{where.netloc}{where.path}/{path}")
            assert status == 200, (path, status)
            frames.append(pq.read_table(io.BytesIO(data)).to_pandas())
            assert len(frames[-1]) == rows, path
        return pd.concat(frames, ignore_index=True)


@dataclass
class Drill:
    """One trouble, under load and watched."""

    world: World
    load: Load
    reader: Reader
    recoveries: list[float] = field(default_factory=list[float])

    def flows(self) -> None:
        """Return when batches are acknowledged and maps of them are seen."""
        before = len(self.load.acknowledged)
        self._until("batches to be acknowledged", lambda: len(self.load.acknowledged) > before + 30)
        self._until("the first map", lambda: ("hour", OPEN) in self.reader.seen)

    def recovers(self) -> None:
        """Return when batches are acknowledged as before, and the map of the open hour has all that was until now."""
        began = time.monotonic()
        until_now, screen_until_now = len(self.load.acknowledged), self.load.count(OPEN)
        self._until("batches to be acknowledged", lambda: len(self.load.acknowledged) > until_now + Load.SENDERS)
        self._until("the map", lambda: self.reader.seen.get(("hour", OPEN), 0) >= screen_until_now)
        self.recoveries.append(time.monotonic() - began)

    def settle(self) -> None:
        """Return when everything is landed and tiled, and the reader has seen all of it."""
        self._until("all to be landed and tiled", self.world.drained)
        levels = itertools.product(("hour", "day", "week"), (OPEN, PAST))
        wanted = {what: self.load.count(what[1]) for what in levels}
        self._until("the reader to see all", lambda: all(self.reader.seen.get(w, 0) >= n for w, n in wanted.items()))

    def _until(self, what: str, ready: Callable[[], bool]) -> None:
        wait_for(what, lambda: self.world.lives() and ready(), RECOVERY_SECONDS)

    def check(self, *, collects: bool, serves: bool) -> None:
        """The account; prints it first."""
        client_id = self.load.client_id
        rows = self.world.lake(client_id)
        positions: dict[str, list[int]] = {}
        for batch_id, position in zip(rows["batch_id"].astype(str), rows["position"], strict=True):
            positions.setdefault(batch_id, []).append(position)
        lost = self.load.acknowledged.keys() - positions.keys()
        twice = [batch_id for batch_id, found in positions.items() if len(found) > len(set(found))]
        torn = [batch_id for batch_id, found in positions.items() if set(found) != set(range(EVENTS))]
        tiled = self.reader.seen.get(("hour", OPEN), 0) + self.reader.seen.get(("hour", PAST), 0)
        print(
            f"\n{client_id}: batches acknowledged {len(self.load.acknowledged)} (as duplicates {self.load.duplicates}),"
            f" landed {len(positions)}, tiled {tiled}, lost {len(lost)}, duplicated {len(twice)}, torn {len(torn)};"
            f" seconds to recover {', '.join(f'{s:.1f}' for s in self.recoveries)};"
            f" collector {dict(self.load.answers)}, reader {dict(self.reader.answers)}"
        )
        sums.note(
            client_id, EVENTS * len(self.load.acknowledged), len(rows), EVENTS * tiled, EVENTS * len(lost),
            sum(len(found) - len(set(found)) for found in positions.values()),
            ", ".join(f"{seconds:.1f}" for seconds in self.recoveries),
        )  # fmt: skip
        assert not lost
        assert not twice
        assert not torn
        assert positions.keys() <= self.load.sent.keys()
        assert tiled == len(positions)
        assert self.load.faults == []
        assert self.reader.faults == []
        assert self.load.duplicates > 0
        assert not collects or self.load.answers.keys() == {"202"}
        assert not serves or self.reader.answers.keys() <= {200, 404}
        self._compare(rows)
        self._books_close(len(rows))

    def _compare(self, rows: pd.DataFrame) -> None:
        """Every map is the recount of the lake's rows, and the lake's rows are those that were sent."""
        x, y = (np.floor(rows[name].to_numpy() * size).astype(int) for name, size in (("x_norm", 100), ("y_norm", 200)))
        frame = rows.assign(cell=y * 100 + x)
        for name in ("client_id", "screen_id", "event_type", "batch_id"):
            frame[name] = frame[name].astype(str)
        assert dict(zip(frame["batch_id"], frame["screen_id"], strict=True)).items() <= self.load.sent.items()
        assert sorted(frame.groupby("cell").size()) == [len(rows) // EVENTS] * EVENTS
        recording = Recording(frame)
        for level in ("hour", "day", "week"):
            for key, counts in recording.maps(level).items():
                assert np.array_equal(served(self.world.roles, level, key), counts), (level, key)

    def _books_close(self, rows: int) -> None:
        client = ("--client", self.load.client_id, "--json")
        with ThreadPoolExecutor() as pool:
            running = [pool.submit(self.world.roles.run_json, name, *client) for name in ("ledger", "verify")]
        ledger, verdict = (one.result() for one in running)
        assert ledger["differences"] == []
        assert ledger["totals"]["landed"] == rows
        assert verdict["different"] == 0, verdict
        assert verdict["same"] > 0
