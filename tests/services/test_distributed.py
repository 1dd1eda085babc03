"""The whole distributed build, its roles as processes of their own: every recorded event, and tenants kept apart."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import recount
from journey.truth import assert_books_close, assert_every_map_is_exact, import_file
from recount import DATA

from services.deployment import STORES, Roles, settings_for, swapping

SAPIMOUSE = DATA / "mouse" / "sapimouse.jsonl.gz"
DAYS_AGO = 9
EVENTS = 1_175_136
HOSTILE = ["' OR 1=1 --", "s1' OR client_id != '", "\\' OR 1=1 --", "../s1", "{client_id:String}", "%", "*", "s1\0"]

pytestmark = [
    swapping(*STORES),
    pytest.mark.skipif(not SAPIMOUSE.exists(), reason="shared data is absent"),
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.timeout(900),
]


@pytest.fixture
def roles(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Roles]:
    started = Roles(tmp_path / "data", **settings_for(request, STORES))
    started.start()
    yield started
    started.stop()


@pytest.mark.drill
def test_every_recorded_event_on_the_distributed_build(roles: Roles) -> None:
    shift_days = recount.days_into_horizon(SAPIMOUSE, DAYS_AGO)
    recording = recount.read(SAPIMOUSE, shift_days)
    report = import_file(roles, SAPIMOUSE, shift_days)
    assert (report["accepted"], report["rejected"], report["duplicate"]) == (len(recording.events), 0, 0)
    assert len(recording.events) == EVENTS
    roles.wait_idle()
    assert_every_map_is_exact(roles, recording)
    assert_books_close(roles, recording)

    again = import_file(roles, SAPIMOUSE, shift_days)
    assert again["rejected"] == 0
    assert again["accepted"] + again["duplicate"] == EVENTS
    roles.wait_idle()
    # Not every map again, which takes minutes: the hashes that were exact before are recounted from the lake.
    assert_books_close(roles, recording)
    _assert_tenants_are_apart(roles, recording)


def _assert_tenants_are_apart(roles: Roles, recording: recount.Recording) -> None:
    """Nobody's id, however it is spelt, shows another client's counts."""
    client_id, screen_id, _, _ = next(iter(recording.maps("hour")))
    span = {"from": recording.start.isoformat(), "to": recording.end.isoformat()}
    for hostile in HOSTILE:
        for path, ids in (
            ("/v1/heatmap", {"client_id": hostile, "screen_id": screen_id, **span}),
            ("/v1/heatmap", {"client_id": client_id, "screen_id": hostile, **span}),
            ("/v1/screens", {"client_id": hostile}),
            ("/v1/live/windows", {"client_id": hostile, "screen_id": screen_id, "size": "1h"}),
        ):
            with pytest.raises(HTTPError) as refused:
                urlopen(f"{roles.app_url}{path}?{urlencode(ids)}", timeout=30)
            with refused.value as answer:
                assert answer.code in (400, 404), (path, hostile)
                assert "cells" not in json.load(answer)
