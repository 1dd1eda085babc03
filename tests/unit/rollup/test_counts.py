"""The four counts of the jobs that make maps, and of the retention of maps, as a scrape tells them."""

from typing import Any

import pytest
from counting import Counting
from tiling import World

from isotherm.clock import DAY_MS, MINUTE_MS
from isotherm.errors import IsothermError
from isotherm.rollup import retention
from isotherm.rollup.jobs import Jobs
from isotherm.rollup.scheduler import Scheduler


def row(at: int, x: float | None = 0.5) -> Any:
    return ("a", "/", "mousemove", at, x, x)


def test_hours_days_and_weeks_count_what_came_and_what_has_a_cell(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(world.settings, world.database, world.olap, world.lake, world.manifest, world.clock)
    counting = {name: Counting(name) for name in ("rollup", "days", "weeks", "retention_maps")}
    # Two weeks ago: nothing of these buckets runs on.
    at = world.hour - 14 * DAY_MS
    world.land([row(at), row(at + 1), row(at + 2), row(at + 3, None)])

    def settle() -> None:
        for _ in range(90):
            while scheduler.step():
                pass
            world.clock.advance(MINUTE_MS)

    settle()
    assert counting["rollup"].found() == (4, 3, 0, 1)
    assert counting["days"].found() == counting["weeks"].found() == (4, 3, 0, 1)
    world.land([row(at + 5)])
    with monkeypatch.context() as broken:
        broken.setattr(Jobs, "run", _broken)
        while not counting["rollup"].found()[2]:
            scheduler.step()
            world.clock.advance(MINUTE_MS)
    settle()
    received, sent, failed, dropped = counting["rollup"].found()
    # The hour is counted anew as a whole.
    assert (received, sent, dropped) == (9, 7, 2)
    assert failed >= 1
    assert counting["retention_maps"].found() == (0, 0, 0, 0)
    years = world.clock.now_ms() + 6 * 365 * DAY_MS
    retention.expire(world.database, world.olap, years, world.settings)
    # What is counted in maps: an hour, a day and a week of the same five events.
    assert counting["retention_maps"].found() == (15, 0, 0, 15)


def _broken(*_: Any) -> Any:
    raise IsothermError("broken")
