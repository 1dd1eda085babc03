"""How far maps are behind, while landings, jobs, failures and lost leases fall together, against what is in them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from isotherm.clock import HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.land.landing import LakeFile, Landing, OffsetRange
from isotherm.land.manifest import Manifest
from isotherm.rollup import jobs as jobs_module
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.jobs import Jobs
from isotherm.rollup.leases import Busy, Lease, lease
from isotherm.rollup.publish import Facts
from isotherm.serve import measures
from isotherm.store.db import open_db, reading, writing
from isotherm.store.tables import buckets, dirty, files, leases

HOUR = 1_795_330_800_000
CLIENT = "shop"
STEPS = ("leased", "drawn", "made", "cleared", "measured", "published")
Plan = Sequence[tuple[str, Any]]


class Stopped(Exception):
    """A job fails between two steps."""


@dataclass
class Hour:
    """One client's hour. Each file that lands holds one event; a job's maps are here the paths that it was given."""

    database: sa.Engine
    clock: ManualClock
    jobs: Jobs = field(init=False)
    manifest: Manifest = field(init=False)
    received: dict[str, int] = field(default_factory=dict[str, int])
    made: dict[int, set[str]] = field(default_factory=dict[int, set[str]])
    plans: list[Plan] = field(default_factory=list[Plan])

    def __post_init__(self) -> None:
        self.manifest = Manifest(self.database, self.clock)
        engine, olap = cast("Any", self), cast("Any", None)
        self.jobs = Jobs(Settings(), self.database, olap, self.manifest, engine, self.clock, self.reached)

    def tile(self, bucket: Bucket, of: Sequence[LakeFile], version: int) -> None:
        self.made[version] = {file.path for file in of}

    def clear_vanished(self, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
        pass

    def land(self, waited_ms: int) -> None:
        """An event lands that was received so long ago."""
        at, offset = self.clock.now_ms() - waited_ms, len(self.received)
        origin = OffsetRange("log", 0, offset, offset, 1, "")
        file = LakeFile(f"{offset}.parquet", "parquet", CLIENT, HOUR, 1, 1, HOUR, HOUR, "", [origin])
        self.manifest.pending([file])
        brought = Landing("log", 0, offset, offset + 1, [file], {}, {(CLIENT, HOUR): at})
        assert self.manifest.land(brought) is not None
        self.received[file.path] = at

    def job(self, plan: Plan) -> None:
        """One job, during which the plan's steps are played: (where, what)."""
        self.plans.append(plan)
        try:
            self.jobs.run(Bucket(Level.HOUR, HOUR), [CLIENT])
        except (Stopped, Busy):
            pass
        finally:
            self.plans.pop()

    def reached(self, where: str) -> None:
        self.clock.advance(1_000)
        for at, what in self.plans[-1]:
            if at == where:
                self.play(what)
        self.check()

    def play(self, what: Any) -> None:
        match what:
            case "fail":
                raise Stopped
            case int():
                self.land(what)
            case _:
                # Another process takes the lease, which has run out, and does its job meanwhile.
                with writing(self.database) as connection:
                    connection.execute(sa.delete(leases))
                self.job(what)
        self.check()

    def lacks(self) -> int | None:
        """When the oldest event was received that has landed and is in no map."""
        with reading(self.database) as connection:
            version = connection.execute(sa.select(buckets.c.version).where(buckets.c.level == "hour")).scalar()
        there = self.made[version] if version is not None else set[str]()
        return min((at for path, at in self.received.items() if path not in there), default=None)

    def check(self) -> None:
        now, oldest = self.clock.now_ms(), self.lacks()
        with reading(self.database) as connection:
            told = measures.behind(connection, now)["hour"]
            marks = connection.execute(sa.select(dirty.c.oldest_received_at).where(dirty.c.level == "hour")).scalars()
            assert list(marks) == ([] if oldest is None else [oldest])
        assert told.until == (now if oldest is None else oldest)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Hour]]:
    database = open_db(f"sqlite://{tmp_path / 'store.db'}")
    here: list[Hour] = []

    def measure(_: Any, bucket: Bucket, client_ids: Sequence[str], version: int) -> dict[str, Facts]:
        return {CLIENT: Facts(rows=len(here[-1].made[version]))}

    @contextmanager
    def hooked(*args: Any) -> Generator[Lease]:
        with lease(*args) as held:
            here[-1].reached("leased")
            yield held

    def build() -> Hour:
        with writing(database) as connection:
            for table in ("dirty", "buckets", "file_ranges", files.name, "positions", "snapshots", "leases"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        here[:] = [Hour(database, ManualClock(HOUR + HOUR_MS // 2))]
        return here[-1]

    monkeypatch.setattr(jobs_module, "measure", measure)
    monkeypatch.setattr(jobs_module, "lease", hooked)
    yield build
    database.dispose()


LANDED = st.sampled_from([0, 300, 5_000, 600_000])
WHERE = st.sampled_from(STEPS)
PLANS = st.recursive(
    st.lists(st.tuples(WHERE, st.one_of(LANDED, st.just("fail"))), max_size=4),
    lambda inner: st.lists(st.tuples(WHERE, st.one_of(LANDED, st.just("fail"), inner)), max_size=4),
    max_leaves=3,
)


@given(steps=st.lists(st.one_of(LANDED, PLANS), min_size=1, max_size=6))
@example(steps=[0, [("leased", 0), ("leased", [("drawn", 600_000), ("measured", 0)]), ("drawn", 0)], []])
@example(steps=[0, [("drawn", 600_000), ("made", "fail")], [("drawn", 300)], [("drawn", 300)]])
@example(steps=[0, [("drawn", 5_000), ("made", [("drawn", 300)]), ("made", 0)], []])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mark_says_what_the_maps_lack_whatever_falls_together(make: Callable[[], Hour], steps: list[Any]) -> None:
    hour = make()
    for step in steps:
        hour.clock.advance(1_000)
        if isinstance(step, int):
            hour.land(step)
        else:
            hour.job(step)
        hour.check()
    hour.job([])
    assert hour.lacks() is None
    hour.check()


def test_a_job_whose_lease_is_another_s_does_not_begin(make: Callable[[], Hour]) -> None:
    """It would forget what has landed since the other one began."""
    hour = make()
    hour.land(0)
    late: list[Any] = []

    def begins_late(where: str) -> None:
        if where == "leased" and not late:
            # This one sleeps from here on until another one works.
            late.append(where)
            with writing(hour.database) as connection:
                connection.execute(sa.delete(leases))
                connection.execute(sa.insert(leases).values(name=NAME, holder="other", expires_at=2 * HOUR))

    hour.reached = begins_late
    with pytest.raises(Busy, match="ran out"):
        hour.jobs.run(Bucket(Level.HOUR, HOUR), [CLIENT])
    assert hour.made == {}


NAME = f"tiles hour {HOUR}"


def test_under_steady_traffic_maps_are_as_far_behind_as_their_newest_job(make: Callable[[], Hour]) -> None:
    hour = make()
    hour.land(0)
    for _ in range(30):
        hour.job([("drawn", 300), ("made", 0)])
        with reading(hour.database) as connection:
            assert measures.behind(connection, hour.clock.now_ms())["hour"].seconds < 10
