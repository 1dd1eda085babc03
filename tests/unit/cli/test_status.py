"""`isotherm status` where no app runs: by the stores, of roles that run by themselves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from landing import NOW, World, event, record

from isotherm.cli import status
from isotherm.cli.options import Serving
from isotherm.cli.standing import facts_of
from isotherm.clock import DAY_MS, MINUTE_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.port import open_log
from isotherm.land.lake_local import LocalLake
from isotherm.land.manifest import Manifest
from isotherm.serve import unwell
from isotherm.store.db import open_db

WELL: dict[str, Any] = {"oldest_unlanded_ms": 20_000, "retention_ms": 7 * DAY_MS, "gaps": [], "sink": None}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings(data=tmp_path, log="memory://")
    clock, engine = ManualClock(NOW), open_db(settings.url("db"))
    log = open_log(settings, clock)
    lake = LocalLake.of_url(settings.url("lake"), settings)
    yield World(settings, clock, log, lake, engine, Manifest(engine, clock))
    log.close()
    engine.dispose()


def facts(world: World, **more: Any) -> dict[str, Any]:
    return facts_of(world.settings.model_copy(update=more), world.log, world.engine, world.clock)


def test_gaps_and_the_oldest_record_are_told_without_a_lander(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(*(record("a", f"b{i}", [event(NOW)]) for i in range(4)))
    with monkeypatch.context() as patched:
        read = world.log.read
        patched.setattr(world.log, "read", lambda p, at, **limits: [r for r in read(p, at, **limits) if r.offset != 1])
        world.lander().drain()
    late = record("a", "b4", [event(NOW)])
    world.append(msgspec.structs.replace(late, timestamp=NOW - 20 * DAY_MS))
    world.clock.advance(MINUTE_MS)
    told = facts(world)
    assert told["lander"] == {
        "partitions": [{"partition": 0, "next_offset": 4, "head": 5, "lag": 1}],
        "gaps": [{"partition": 0, "first": 1, "last": 1, "noticed_at": NOW}],
        "lag": 1,
        "oldest_unlanded_ms": MINUTE_MS,
        "retention_ms": None,
    }
    assert told["lake"]["parquet"]["rows"] == 3
    assert told["dirty"] == {"hour": 1}
    assert unwell.landing(told["lander"], NOW) == [
        "records that the log lost before they were landed: 1; land faster, or let it keep them longer"
    ]


def test_a_sink_is_measured_by_what_it_has_not_committed(world: World) -> None:
    group = world.settings.scan_group
    world.append(*(record("a", f"b{i}", [event(NOW)], received_at=NOW + i) for i in range(4)))
    told = facts(world, scan="s3://bucket/raw?key=secret")
    assert told["lander"]["source"] == "s3://bucket/raw"
    assert (told["lander"]["lag"], told["lander"]["sink"]["lag"]) == (4, 4)
    assert f"no sink has committed offsets as {group}" in told["lander"]["sink"]["problem"]
    world.log.commit(group, 0, 3)
    world.clock.advance(11 * MINUTE_MS)
    told = facts(world, scan="s3://bucket/raw")
    assert told["lander"]["sink"] == {"group": group, "lag": 1, "problem": None}
    assert told["lander"]["oldest_unlanded_ms"] == 11 * MINUTE_MS - 3
    [problem] = unwell.landing(told["lander"], NOW)
    assert f"what the worker of {group} logs" in problem


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"oldest_unlanded_ms": 4 * DAY_MS}, ["land it soon"]),
        ({"oldest_unlanded_ms": 4 * DAY_MS, "retention_ms": None}, ["what the landers log"]),
        ({"sink": {"group": "g", "lag": 1, "problem": "the offsets of g"}}, ["the offsets of g"]),
        ({"gaps": [{"partition": 0, "first": 5, "last": 9, "noticed_at": NOW - MINUTE_MS}]}, ["landed: 5;"]),
        ({"gaps": [{"partition": 0, "first": 5, "last": 9, "noticed_at": NOW - 2 * DAY_MS}]}, []),
    ],
)
def test_what_is_not_well_is_said(change: dict[str, Any], said: list[str]) -> None:
    found = unwell.landing(WELL | change, NOW)
    assert len(found) == len(said)
    assert all(part in problem for part, problem in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("log", "db", "shared"), [("kafka", "postgresql", True), ("kafka", "", False), ("", "", False)]
)
def test_roles_that_run_by_themselves_are_no_trouble(
    log: str, db: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where log and database are servers, no data folder and no `isotherm up` is needed here."""
    told: dict[str, Any] = {"log": {}, "lake": {}, "lander": dict(WELL), "tiles": {}, "dirty": {}}
    monkeypatch.setattr(status, "_from_stores", lambda _: told)
    monkeypatch.setenv("ISOTHERM_DATA", str(tmp_path if not shared else tmp_path / "none"))
    if log:
        monkeypatch.setenv("ISOTHERM_LOG", "kafka://localhost:9092?topic=t")
    if db:
        monkeypatch.setenv("ISOTHERM_DB", "postgresql://u:p@localhost/d")
    assert status.command(Serving()) == (0 if shared else 1)
    assert ("nothing runs" in capsys.readouterr().out) is not shared
    told["lander"]["oldest_unlanded_ms"] = 11 * MINUTE_MS
    assert status.command(Serving(), json=True) == 1
    assert "a record waits for 11 min" in json.loads(capsys.readouterr().out)["problems"][0]
