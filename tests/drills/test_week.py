"""Ten days of operation at accelerated time, by an injected clock: every day closes, and what is past its time goes."""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from drilling import say
from landing import event, record
from proving import verdicts

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.port import EventLog, open_log
from isotherm.land import ledger
from isotherm.land.lake import Lake, LocalPlace
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.land.tiers import open_tiers, tier_of
from isotherm.land.upkeep import Upkeep
from isotherm.rollup import audit, audit_screens
from isotherm.rollup.scheduler import Scheduler
from isotherm.rollup.verify import Finding
from isotherm.store import tables
from isotherm.store.db import open_db, reading
from isotherm.store.olap import Olap

DAYS = 10
CLIENTS = ("shop", "bank")
KEPT = {
    "late_horizon_days": 1,
    "log_retention_days": 1,
    "hourly_retention_days": 4,
    "raw_retention_days": 6,
    "daily_retention_days": 8,
    "weekly_retention_days": 30,
    "archive_after_days": 2,
    "close_delay_seconds": 0,
    "retile_min_seconds": 0.1,
    "job_threads": 2,
}


@dataclass
class Days:
    """One deployment with a clock of its own; `sent` counts events by client and event hour."""

    settings: Settings
    clock: ManualClock
    log: EventLog
    lake: Lake
    database: sa.Engine
    olap: Olap
    manifest: Manifest
    lander: Lander
    scheduler: Scheduler
    upkeep: Upkeep
    failures: list[Exception]
    sent: Counter[tuple[str, int]] = field(default_factory=Counter)
    batches: int = 0

    def hour(self, chance: random.Random) -> None:
        """What comes in an hour, some of it up to 20 hours late; then an hour goes by."""
        now = self.clock.now_ms()
        for client_id in CLIENTS:
            late = chance.choice((0, 0, 0, 1, 20)) * HOUR_MS
            events = [
                event(now - late + chance.randrange(50 * MINUTE_MS), chance.random(), chance.random())
                for _ in range(chance.randrange(5, 30))
            ]
            self.sent.update((client_id, one["event_time"] // HOUR_MS * HOUR_MS) for one in events)
            self.batches += 1
            self.log.append([record(client_id, f"b{self.batches}", events, received_at=now)])
        self.lander.drain()
        self.clock.advance(HOUR_MS)
        self.tile()
        self.upkeep.once(threading.Event())

    def tile(self) -> None:
        """All that is due; the scheduler leaves a bucket alone for a while after its last job."""
        for _ in range(20):
            while self.scheduler.step():
                pass
            self.clock.advance(100)
        assert self.scheduler.status()["last_error"] is None

    def files(self) -> Iterator[tuple[Path, str]]:
        place = self.lake.place
        assert isinstance(place, LocalPlace)
        for file in self.manifest.listed(raw_only=None):
            yield Path(place.root) / file.path, file.path

    def frame(self) -> pd.DataFrame:
        """All rows of the lake, by pandas."""
        names = ["client_id", "event_time", "batch_id", "position"]
        frames = [pd.read_parquet(path, columns=names, partitioning=None) for path, _ in self.files()]
        return pd.concat(frames, ignore_index=True)

    def closes(self) -> None:
        """The ledger, screen by screen, and every map beside the raw events."""
        rows = ledger.read(self.database)
        assert ledger.check(rows) == []
        with reading(self.database) as connection:
            hours = audit.event_hours(connection, audit.EVERYTHING, lake=True)
        assert [one.text for one in audit.event_differences(hours)] == []
        for compared in audit_screens.compare_screens(self.database, self.olap, audit.EVERYTHING):
            assert [one.text for one in compared.differences] == []
        found = Counter(verdict.finding for verdict in verdicts(self))
        assert found[Finding.SAME] > 0
        assert set(found) <= {Finding.SAME, Finding.FROZEN}, found


@pytest.fixture
def days(tmp_path: Path, empty_olap: Olap) -> Iterator[Days]:
    settings = Settings(data=tmp_path / "data", log_segment_bytes=4 << 20, **KEPT)
    # The tile store's own limit goes by the host's clock, so that ours must not lie behind it.
    clock = ManualClock(time.time_ns() // 1_000_000 // DAY_MS * DAY_MS + DAY_MS)
    log, lake, database = open_log(settings, clock), open_tiers(settings), open_db(settings.url("db"))
    manifest = Manifest(database, clock)
    failures: list[Exception] = []
    made = Days(
        settings, clock, log, lake, database, empty_olap, manifest,
        Lander(settings, log, lake, manifest, clock),
        Scheduler(settings, database, empty_olap, lake, manifest, clock),
        Upkeep(settings, log, lake, manifest, clock, failures.append),
        failures,
    )  # fmt: skip
    yield made
    log.close()
    database.dispose()
    shutil.rmtree(settings.data)


def retired(days: Days, what: str) -> dict[tuple[str, int], Any]:
    with reading(days.database) as connection:
        rows = connection.execute(sa.select(tables.retired).where(tables.retired.c.what == what)).all()
    return {(row.client_id, row.start): row for row in rows}


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_ten_days_close_each_by_itself(days: Days) -> None:
    chance, sizes = random.Random(7), list[int]()
    for _ in range(DAYS):
        for _ in range(24):
            days.hour(chance)
        days.closes()
        sizes.append(sum(path.stat().st_size for path, _ in days.files()))
    assert days.failures == []
    frame = days.frame()
    assert not frame.duplicated(["client_id", "batch_id", "position"]).any()
    hours = frame["event_time"].astype("int64") // HOUR_MS * HOUR_MS
    there = Counter(zip(frame["client_id"].astype(str), hours.tolist(), strict=True))
    gone = retired(days, "raw")
    landed = Counter(there)
    landed.update({key: row.rows for key, row in gone.items()})
    with reading(days.database) as connection:
        kept = connection.execute(sa.select(tables.buckets).where(tables.buckets.c.level == "hour")).all()
    tiled = Counter({(row.client_id, row.start): row.tiled for row in kept})
    tiled.update({key: row.tiled for key, row in retired(days, "hour").items()})
    say("ten-days", acknowledged=days.sent.total(), landed=landed.total(), tiled=tiled.total(),
        lost=(days.sent - landed).total(), duplicated=(landed - days.sent).total(), seconds="-")  # fmt: skip
    assert landed == days.sent
    assert tiled == days.sent
    now = days.clock.now_ms()
    raw_from, archived_until = now - 6 * DAY_MS - HOUR_MS, now - 2 * DAY_MS - 26 * HOUR_MS
    assert min(hour for _, hour in there) >= raw_from
    assert {start for _, start in gone} >= {hour for _, hour in days.sent if hour < raw_from - HOUR_MS}
    tiers = {tier_of(path) for _, path in days.files() if f"dt={pd.Timestamp(archived_until, unit='ms'):%F}" in path}
    assert tiers == {"archive"}
    assert retired(days, "day")
    # Disk stays flat once retention has begun.
    assert max(sizes[7:]) < 1.3 * sizes[6]
