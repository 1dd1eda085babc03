"""A host in another time zone, and a clock that goes back and forth by hours while events come in.

Clients' clocks: tests/unit/collect/test_clocks.py and tests/unit/land/test_clocks.py; the scheduler beside a clock that
jumps: tests/unit/rollup/test_clock_jumps.py.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drilling import account, books_close, database, loaded, now_hour, settle
from system_helpers import System

from isotherm.clock import HOUR_MS

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

ZONES = ("Pacific/Kiritimati", "Asia/Kolkata", "America/St_Johns")
"""14 hours ahead; half an hour off; half an hour off, with summer time."""


@pytest.mark.parametrize("zone", ZONES)
def test_the_host_is_in_another_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    name = f"zone-{zone.replace('/', '-')}"
    with System(tmp_path / "data") as system:
        first = now_hour()
        with loaded(system, name) as load:
            load.flows(60)
        account(name, load, [settle(system)])
        books_close(system, name)
        # The hour by its name in UTC has them all, whatever the host calls it.
        events = 0
        for hour in {first, now_hour()}:
            at = datetime.fromtimestamp(hour / 1000, UTC)
            query = {"client_id": name, "screen_id": "home", "dt": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"}
            events += sum(cell["count"] for cell in system.get("/heatmap/hourly", **query)["cells"])
        assert events == load.events * len(load.acknowledged)
    # The commands by themselves, in that zone too.
    day = datetime.now(UTC)
    again = system.run("rollup", "--from", f"{day:%Y-%m-%d}T00:00", "--to", f"{day:%Y-%m-%d}T23:00")
    assert again.returncode == 0, again.stderr
    books_close(system, name)


class Turned:
    """A system whose clock is turned by so many milliseconds."""

    def __init__(self, system: System, file: Path) -> None:
        self.system = system
        self.file = file

    def turn(self, ms: int) -> None:
        new = self.file.with_name("new")
        new.write_text(str(ms))
        new.rename(self.file)


@contextmanager
def turning(data: Path) -> Generator[Turned]:
    file = data.with_name("clock")
    file.write_text("0")
    paths = os.pathsep.join([str(Path(__file__).parent / "turning"), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("DRILL_CLOCK_FILE", str(file))
        with System(data) as system:
            yield Turned(system, file)


def test_the_clock_goes_forward_and_back_by_hours(tmp_path: Path) -> None:
    """Senders whose clocks are right say so with `sent_at`: their events count at the host's time, wherever that is."""
    name, seconds, hours = "clock-turned", list[float](), (0, 5, -5, 11, 0)
    with turning(tmp_path / "data") as turned:
        first = now_hour()
        with loaded(turned.system, name, sent_at=True) as load:
            for turn in hours:
                turned.turn(turn * HOUR_MS)
                seconds.append(load.flows(40))
            # Landing and tiling go on behind a clock that stands 11 hours before what they saw last.
            since = time.monotonic()
            load.flows(40)
        settle(turned.system)
        account(name, load, [max(seconds), time.monotonic() - since])
        books_close(turned.system, name)
        with database(turned.system.data) as connection:
            asked = "SELECT start FROM buckets WHERE level = 'hour' AND client_id = ?"
            starts = {start for (start,) in connection.execute(asked, (name,))}
        last = now_hour()
        assert all({first + turn * HOUR_MS, last + turn * HOUR_MS} & starts for turn in hours)
        assert load.answers.keys() == {"202"}
