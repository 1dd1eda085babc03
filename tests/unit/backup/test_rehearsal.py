"""What a drill says of scale, and the settings it runs with."""

from pathlib import Path
from typing import Any

import pytest

from isotherm.cli.rehearsal import at_scale, settings_of
from isotherm.config import Settings


def test_a_billion_events_a_day_at_the_measured_rate() -> None:
    assert at_scale(4_000_000_000, 1_000_000_000, 100e6) == {
        "bytes_per_event": 4.0,
        "seconds_per_day_of_1e9_events": 40.0,
        "days_of_1e9_events_in_4_h": 360.0,
    }
    assert at_scale(70_000, 1_000, 1e6) == {}
    assert at_scale(1 << 30, 0, 1e6) == {}


def test_a_drill_keeps_rules_and_reaches_no_store_of_others(
    full: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.world.settings = full.settings.model_copy(
        update={"raw_retention_days": 400, "retention": {"a": {"raw": 50}}, "token": "t", "host": "0.0.0.0"}
    )
    inventory = full.back_up(target)
    monkeypatch.setenv("ISOTHERM_LOG", "kafka://elsewhere:9092?topic=x")
    monkeypatch.setenv("ISOTHERM_DB", "postgresql://elsewhere/x")
    drill = settings_of(inventory, tmp_path / "drill")
    assert (drill.raw_retention_days, drill.retention) == (400, {"a": {"raw": 50}})
    assert (drill.token, drill.host) == ("", Settings().host)
    for name in ("log", "lake", "olap", "db"):
        assert str(tmp_path / "drill") in drill.url(name)
