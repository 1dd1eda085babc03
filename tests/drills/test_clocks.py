"""A host in another time zone.

Clients' clocks: tests/unit/collect/test_clocks.py and tests/unit/land/test_clocks.py; the scheduler beside a clock that
jumps: tests/unit/rollup/test_clock_jumps.py.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from drilling import account, books_close, loaded, now_hour, settle
from system_helpers import System

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

ZONES = ("Pacific/Kiritimati", "Asia/Kolkata")
"""14 hours ahead; half an hour off."""


@pytest.mark.parametrize("zone", ZONES)
def test_the_host_is_in_another_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    name = f"zone-{zone.replace('/', '-')}"
    system = System(tmp_path / "data")
    system.start()
    try:
        first = now_hour()
        with loaded(system, name) as load:
            load.flows(60)
        settle(system)
        account(name, load, [0.0])
        books_close(system, name)
        # The hour by its name in UTC has them all, whatever the host calls it.
        events = 0
        for hour in {first, now_hour()}:
            at = datetime.fromtimestamp(hour / 1000, UTC)
            query = {"client_id": name, "screen_id": "home", "dt": f"{at:%Y-%m-%d}", "hour": f"{at:%H}"}
            events += sum(cell["count"] for cell in system.get("/heatmap/hourly", **query)["cells"])
        assert events == load.events * len(load.acknowledged)
    finally:
        system.stop()
    # The commands by themselves, in that zone too.
    day = datetime.now(UTC)
    again = system.run("rollup", "--from", f"{day:%Y-%m-%d}T00:00", "--to", f"{day:%Y-%m-%d}T23:00")
    assert again.returncode == 0, again.stderr
    books_close(system, name)
