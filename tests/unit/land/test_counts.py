"""The four counts of all that lands, moves and drops raw events, as a scrape tells them."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counting import Counting
from landing import NOW, World, event, record

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import IsothermError
from isotherm.eventlog.port import Record
from isotherm.land import archive, retention
from isotherm.land.lake import LakeUnavailable
from isotherm.land.lander import Lander
from isotherm.land.scan import Scanner
from isotherm.land.scan_source import open_source
from isotherm.land.tiers import open_tiers

HOUR = NOW - NOW % HOUR_MS


def batch(name: str, events: int = 3) -> Record:
    return record("shop", name, [event(HOUR + n) for n in range(events)])


def test_the_lander_counts_what_lands_what_is_dead_and_its_failures(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting("land")
    world.append(batch("a"), Record("k", b"nonsense", NOW), batch("b", 4))
    lander = world.lander()
    lander.drain()
    assert counting.found() == (8, 7, 0, 1)
    world.append(batch("c"))
    with monkeypatch.context() as broken:
        stop = threading.Event()

        def away(*_: Any, **__: Any) -> int:
            stop.set()
            raise LakeUnavailable("away")

        broken.setattr(Lander, "step", away)
        lander.run(stop)
    # Once, and once more when it lands what it has read at the end.
    assert counting.found() == (8, 7, 2, 1)
    lander.drain()
    assert counting.found()[:2] == (11, 10)


def test_the_scanner_counts_as_itself(world: World, tmp_path: Path) -> None:
    root = tmp_path / "sink"
    root.mkdir()
    settings = world.settings.model_copy(update={"scan": root.as_uri()})
    (root / "a.jsonl").write_bytes(b"\n".join([batch("a").value, b"nonsense", batch("a").value]) + b"\n")
    counting, other = Counting("scan"), Counting("land")
    Scanner(settings, world.log, open_source(settings), world.lake, world.manifest, world.clock).drain()
    assert counting.found() == (7, 3, 0, 4)
    assert other.found() == (0, 0, 0, 0)


def test_the_archive_counts_events_that_it_moves_and_hours_that_it_cannot(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    world.lake = open_tiers(world.settings)  # type: ignore[assignment] - all of a lake but its folder
    world.append(batch("a", 5))
    world.lander().drain()
    counting = Counting("archive")

    def move() -> Any:
        return archive.archive_old(world.settings, world.lake, world.manifest, NOW + 31 * DAY_MS)

    with monkeypatch.context() as broken:
        broken.setattr(archive, "merge_files", _broken)
        with pytest.raises(IsothermError, match="damaged"):
            move()
    assert counting.found() == (0, 0, 1, 0)
    assert move().rows == 5
    assert counting.found() == (5, 5, 1, 0)
    move()
    assert counting.found() == (5, 5, 1, 0)


def _broken(*_: Any) -> bool:
    raise IsothermError("damaged")


def test_retention_counts_the_events_that_it_drops(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(batch("a", 5), batch("b", 2))
    world.lander().drain()
    counting = Counting("retention")
    later = NOW + (world.settings.raw_retention_days + 1) * DAY_MS
    assert retention.expire_raw(world.settings, world.manifest, NOW) == 0
    assert counting.found() == (0, 0, 0, 0)
    with monkeypatch.context() as broken:
        broken.setattr(retention, "_any", _broken)
        with pytest.raises(IsothermError):
            retention.expire_raw(world.settings, world.manifest, later)
    assert retention.expire_raw(world.settings, world.manifest, later) == 1
    assert counting.found() == (7, 0, 1, 7)
