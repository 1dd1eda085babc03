"""`isotherm ledger`: the way of every event as a table and as JSON, and what it says of sums that do not close."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from landing import NOW, event, record
from litestar.testing import TestClient

from isotherm.cli import ledger as command
from isotherm.cli import run
from isotherm.clock import HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.eventlog.memory import MemoryLog
from isotherm.events import ViewSequence
from isotherm.land.lake_local import LocalLake
from isotherm.land.lander import Lander
from isotherm.land.manifest import Manifest
from isotherm.rollup.engines.port import open_engine
from isotherm.rollup.jobs import Jobs
from isotherm.serve.app import create_app
from isotherm.serve.deps import Deps
from isotherm.store.db import open_db, writing
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, ledger, ledger_screens

HOUR = NOW - NOW % HOUR_MS


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ISOTHERM_{name.upper()}", raising=False)


@pytest.fixture
def data(tmp_path: Path, empty_olap: Olap) -> Path:
    """A data folder in which two clients' events are landed and tiled; of one of them a batch was lost."""
    settings, clock = Settings(data=tmp_path, log="memory://"), ManualClock(NOW)
    engine, log = open_db(settings.url("db")), MemoryLog("memory://", settings, clock)
    lake = LocalLake.of_url(settings.url("lake"), settings)
    manifest = Manifest(engine, clock)
    for client in ("shop", "bank"):
        events = [event(NOW), event(NOW, 0.7), event(NOW, None, kind="view")]
        sequence = ViewSequence("v", 1, 5 if client == "shop" else 0)
        log.append([record(client, f"{client}1", events, sequence=sequence, rejected={"too_old": 2})])
    Lander(settings, log, lake, manifest, clock).drain()
    tiles = open_engine(settings, empty_olap, lake)
    Jobs(settings, engine, empty_olap, manifest, tiles, clock).run_hours(HOUR, ["bank", "shop"])
    log.close()
    engine.dispose()
    return tmp_path


@pytest.fixture
def through_the_app(data: Path, empty_olap: Olap, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real route stands for the running app, which owns the tile store."""
    engine = open_db(f"sqlite://{data / 'isotherm.db'}")
    deps = Deps(settings=Settings(data=data), engine=engine, olap=empty_olap, clock=ManualClock(NOW))
    with TestClient(create_app(deps), base_url="http://127.0.0.1") as client:

        class App:
            asked: ClassVar[list[dict[str, Any]]] = []

            def get_json(self, path: str, **query: Any) -> Any:
                App.asked.append(query)
                named = {name.rstrip("_"): value for name, value in query.items()}
                answer = client.get(path, params=named)
                assert answer.status_code == 200, answer.text
                return answer.json()

        monkeypatch.setattr(command, "running_app", lambda _: App())
        yield App
    engine.dispose()


def tampered(data: Path, change: Callable[[sa.Connection], object]) -> None:
    engine = open_db(f"sqlite://{data / 'isotherm.db'}")
    with writing(engine) as connection:
        change(connection)
    engine.dispose()


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["ledger", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_whole_way_as_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, "--data", str(data), "--client", "shop")
    assert code == 0
    totals = found["totals"]
    assert {name: totals[name] for name in ("received", "accepted", "rejected", "landed", "no_position")} == {
        "received": 5, "accepted": 3, "rejected": 2, "landed": 3, "no_position": 1,
    }  # fmt: skip
    assert (totals["sent"], totals["sequenced"], found["lost_on_the_way"]) == (10, 5, 5)
    assert found["events"]["totals"]["tiled"] == 2
    assert [one["state"] for one in found["events"]["hours"]] == ["tiled"]
    assert {one["client_id"] for one in found["hours"] + found["events"]["hours"]} == {"shop"}
    assert (found["rejected"], found["differences"]) == ({"too_old": 2}, [])


def test_the_table_names_what_is_lost_at_each_step(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "--data", str(data)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "sent with numbers 15 5 lost on the way or still to come" in shown
    assert "accepted 6 4 rejected" in shown
    assert "tiled, by event hour 4 2 without a position" in shown
    assert "the sums close" in shown


def test_of_many_hours_the_newest_are_shown_and_all_are_added_up(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"client_id": client, "hour": HOUR - back * HOUR_MS, "measure": measure, "reason": reason, "events": 7}
        for client in ("bank", "zoo")
        for back in (1, 2)
        for measure, reason in (("received", ""), ("rejected", "bad_time"))
    ]
    tampered(data, lambda c: c.execute(sa.insert(ledger), rows))
    monkeypatch.setattr(command, "_HOURS", 3)
    assert run(["ledger", "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert "the newest 3 of 6 hours" in shown
    assert [line.split()[0] for line in shown.splitlines()[2:6]] == ["zoo", "bank", "shop", "all"]
    assert shown.splitlines()[5].split()[1] == str(5 + 5 + 4 * 7)
    found = told(capsys, "--data", str(data))[1]
    named = [(one["hour"], one["client_id"]) for one in found["hours"]]
    assert named == sorted(named)
    assert len(named) == 6
    assert found["rejected"] == {"bad_time": 28, "too_old": 4}


def test_a_range_chooses_hours(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, "--data", str(data), "--from", str(HOUR + HOUR_MS))
    assert (code, found["hours"], found["events"]["hours"]) == (0, [], [])
    for nothing in (["--from", str(HOUR + HOUR_MS)], ["--client", "nobody"]):
        assert run(["ledger", "--data", str(data), *nothing]) == 0
        assert "nothing of this client and range" in capsys.readouterr().out
    assert run(["ledger", "--data", str(data), "--client", "no body"]) == 1
    assert "is not a client id" in capsys.readouterr().err


def test_sums_that_do_not_close_fail_it_and_the_hours_are_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = (ledger.c.client_id == "shop") & (ledger.c.measure == "rejected")
    tampered(data, lambda c: c.execute(sa.update(ledger).where(mine).values(events=1)))
    of_tiles = (buckets.c.client_id == "bank") & (buckets.c.level == "hour")
    tampered(data, lambda c: c.execute(sa.update(buckets).where(of_tiles).values(tiled=1)))
    assert run(["ledger", "--data", str(data)]) == 1
    said = capsys.readouterr().err
    assert "client 'shop', hour of receipt" in said
    assert "received 5 is not accepted + rejected + duplicate + sampled_out = 4" in said
    assert "client 'bank', event hour" in said
    assert "landed 3 is not tiled + no_position + raw_only = 2" in said
    code, found = told(capsys, "--data", str(data), "--client", "shop")
    assert (code, len(found["differences"])) == (1, 1)


def test_check_asks_the_app_for_every_screen(
    data: Path, through_the_app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = told(capsys, "--data", str(data), "--check")
    assert (code, found["screens"]) == (0, {"hours": 2, "screens": 2})
    assert [asked["client_id"] for asked in through_the_app.asked] == ["bank", "shop"]
    mine = ledger_screens.c.client_id == "bank"
    tampered(data, lambda c: c.execute(sa.update(ledger_screens).where(mine).values(no_position=0)))
    assert run(["ledger", "--data", str(data), "--check"]) == 1
    assert "client 'bank'" in (said := capsys.readouterr().err)
    assert "screen 'home': landed 3, 3 with a position, but the maps hold 3 events, 2 in cells" in said


def test_check_opens_the_tile_store_where_no_app_runs(
    data: Path, empty_olap: Olap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    class Lent:
        """The suite's tile store, which one process may open once."""

        query = staticmethod(empty_olap.query)

        def close(self) -> None:
            opened.append("closed")

    def lend(url: str, _: Settings) -> Lent:
        opened.append(url)
        return Lent()

    monkeypatch.setattr(command, "open_olap", lend)
    code, found = told(capsys, "--data", str(data), "--check")
    assert (code, found["screens"]) == (0, {"hours": 2, "screens": 2})
    assert len(opened) == 2
    assert opened[1] == "closed"
