"""For tests of backups: deployments with everything in them, their backups, and what proves the restored ones."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
from landing import NOW, event, record
from proving import verdicts
from tiling import World, worlds

from isotherm.backup.inventory import Inventory
from isotherm.backup.restore import Report, Restore, choose
from isotherm.backup.sources import Sources, published
from isotherm.backup.stores import Stores
from isotherm.backup.take import take
from isotherm.backup.target import Target
from isotherm.clock import HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog, open_dead_log, open_log
from isotherm.land import ledger
from isotherm.land.lander import Lander
from isotherm.rollup.copies import drop_maps, pages, put_maps, read_maps
from isotherm.rollup.verify import Finding
from isotherm.store.db import open_db, reading
from isotherm.store.olap import Olap
from isotherm.store.tables import metadata

Nothing = Callable[[str], None]
DATABASE = "isotherm.db"


def nothing(_: str) -> None:
    """No checkpoint."""


@dataclass
class Deployment:
    """One deployment on the stores of its settings."""

    world: World
    log: EventLog
    dead: EventLog
    sent: int = 0
    expected: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def settings(self) -> Settings:
        return self.world.settings

    @property
    def engine(self) -> sa.Engine:
        return self.world.database

    def send(self, *clients: str, hours_ago: int = 0, events: int = 40, batch: str = "") -> None:
        """One batch for each client."""
        chance = np.random.default_rng(self.sent)
        for client in clients:
            at = NOW - hours_ago * HOUR_MS
            places = chance.random((events, 2)).tolist()
            name = batch or f"b{self.sent}"
            found = self.log.append([record(client, name, [event(at, x, y) for x, y in places], received_at=NOW)])
            self.sent += 1
            if found != [None]:
                self.expected[client] = self.expected.get(client, 0) + events

    def land(self) -> None:
        world = self.world
        Lander(self.settings, self.log, world.lake, world.manifest, world.clock, dead=self.dead).drain()

    def tile(self) -> None:
        self.world.run_all()

    def sources(self, maps: Any = None) -> Sources:
        world = self.world
        return Sources(
            settings=self.settings,
            engine=world.database,
            lake=world.lake,
            manifest=world.manifest,
            log=self.log,
            dead=self.dead,
            maps=maps or (lambda bucket, page: read_maps(world.olap, bucket, page)),
            clock=world.clock,
        )

    def back_up(self, target: Target, checkpoint: Nothing = nothing, maps: Any = None) -> Inventory:
        return take(self.sources(maps), target, checkpoint=checkpoint)

    def restore(
        self, target: Target, *, force: bool = False, checkpoint: Nothing = nothing, at: int | None = None
    ) -> Report:
        inventory = target.inventory(choose(target, at))
        world = self.world
        stores = Stores(
            settings=self.settings, engine=world.database, lake=world.lake, olap=world.olap, log=self.log,
            clock=world.clock, dead=self.dead,
        )  # fmt: skip
        return Restore(target, inventory, stores, checkpoint=checkpoint).run(force=force)

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        table = metadata.tables[name]
        with reading(self.engine) as connection:
            return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]

    def landed(self) -> dict[str, int]:
        """Rows by client, as the lake's files say when pandas reads them."""
        frames = [pd.read_parquet(io.BytesIO(self.world.lake.get(f.path))) for f in self.world.manifest.listed()]
        names = pd.concat(frames)["client_id"].astype(str) if frames else pd.Series([], dtype=str)
        return {str(client): int(count) for client, count in names.value_counts().items()}

    def maps(self) -> list[dict[str, Any]]:
        """What the tile store holds, read without the program's own reader."""
        return self.world.olap.query(
            "SELECT client_id, screen_id, event_type, segment, toString(level) AS level, bucket_start, version, cells,"
            " counts, events, tiled FROM maps FINAL WHERE events > 0 ORDER BY ALL"
        ).to_pylist()

    def prove(self) -> None:
        """What is left is landed and tiled; the sums close, and every map is what the raw events say."""
        self.land()
        self.tile()
        found = ledger.read(self.engine)
        assert ledger.check(found) == []
        assert self.landed() == self.expected
        assert ledger.sums(found)["landed"] == sum(self.expected.values())
        said = verdicts(self.world)
        assert said
        assert {one.finding for one in said} == {Finding.SAME}


Maker = Callable[..., Deployment]


@contextmanager
def deployments(folder: Path, olap: Olap, fresh_db: Path | None = None) -> Iterator[Maker]:
    """Makes deployments, `make(name, **settings)`, in folders of these names, all on one tile store.

    `fresh_db` is an empty database to be copied, which is faster than to make one; a folder that is there is opened.
    """
    with ExitStack() as stack:
        make_world = stack.enter_context(worlds())

        def made(name: str, revision: str = "head", **settings: Any) -> Deployment:
            built = Settings(data=folder / name, job_threads=2, **settings)
            built.data.mkdir(exist_ok=True)
            if fresh_db is not None and revision == "head" and not built.db and not (built.data / DATABASE).exists():
                shutil.copyfile(fresh_db, built.data / DATABASE)
            if revision != "head":
                open_db(built.url("db"), revision).dispose()
            # One tile store for all: a new deployment has none of another's maps.
            drop_maps(olap)
            clock = ManualClock(NOW)
            log = open_log(built, clock)
            stack.callback(log.close)
            dead = open_dead_log(built, clock)
            stack.callback(dead.close)
            return Deployment(make_world(built, olap, clock=clock), log, dead)

        yield made


@dataclass
class Kept:
    """A deployment that was filled and closed: its folder, the maps that belong to it, and what was sent."""

    data: Path
    maps: list[pa.Table]
    sent: int
    expected: dict[str, int]

    def opened(self, make: Maker, folder: Path) -> Deployment:
        """A copy of it, under the same name in this folder."""
        shutil.copytree(self.data, folder / self.data.name)
        one: Deployment = make(self.data.name)
        for maps in self.maps:
            put_maps(one.world.olap, maps)
        one.sent, one.expected = self.sent, dict(self.expected)
        return one


def filled(folder: Path, olap: Olap, fresh_db: Path) -> Kept:
    """`fill`, once for many tests."""
    with deployments(folder, olap, fresh_db) as make:
        one = make("source")
        fill(one)
        with reading(one.engine) as connection:
            found = published(connection)
        maps = [read_maps(olap, each.bucket, page) for each in found for page in pages(each.maps)]
        return Kept(one.settings.data, maps, one.sent, one.expected)


def fill(one: Deployment) -> None:
    """Landed and tiled hours of two clients, and records that wait on the log."""
    one.send("a", "b", hours_ago=30)
    one.send("a", "b")
    one.land()
    one.tile()
    one.send("a", events=7)
    one.send("b", events=5)
