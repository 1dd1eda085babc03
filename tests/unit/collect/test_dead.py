"""What the door refuses is kept whole, and sent through the same door again it counts once: the real collector, the
real landing."""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from collecting import RunningCollector, batch, event, now_ms, until

from isotherm.cli import dead_replay, run
from isotherm.cli.dead_replay import request_of
from isotherm.clock import HOUR_MS, SystemClock
from isotherm.collect.dead import REASONS, Letter, letter, of_rejections, record_of, scrubbed
from isotherm.collect.request import Request
from isotherm.config import Settings, load_settings
from isotherm.errors import DropReason
from isotherm.eventlog.port import open_dead_log, open_log
from isotherm.events import MAX_EVENTS, Counts, encode_envelope
from isotherm.land import lander, ledger
from isotherm.land.lake_local import LocalLake
from isotherm.land.lander import Lander
from isotherm.land.letters import Entry, Wanted, look, one
from isotherm.land.manifest import Manifest
from isotherm.store.db import open_db

BAD = {"event_type": "Not A Type"}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[RunningCollector]:
    running = RunningCollector(tmp_path / "data", clients="shop,blog").start()
    yield running
    assert running.stop() == 0


def settings_of(door: RunningCollector) -> Settings:
    return load_settings(**door.settings)


def kept(door: RunningCollector, **wanted: Any) -> list[tuple[Entry, Letter]]:
    """The letters, read beside the collector that is running."""
    settings = settings_of(door)
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_dead_log(settings, SystemClock())))
        engine = open_db(settings.url("db"))
        stack.callback(engine.dispose)
        return [(entry, one(log, entry.place)) for entry in look(log, engine, Wanted(**wanted))]


def land(door: RunningCollector) -> dict[str, int]:
    """Land what is on the log, beside the collector. Returns the ledger's sums, which close."""
    settings, clock = settings_of(door), SystemClock()
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_log(settings, clock)))
        engine = open_db(settings.url("db"))
        stack.callback(engine.dispose)
        lake = LocalLake.of_url(settings.url("lake"), settings)
        manifest = Manifest(engine, clock)
        dead = stack.enter_context(closing(open_dead_log(settings, clock)))
        Lander(settings, log, lake, manifest, clock, dead=dead).drain()
        rows = ledger.read(engine)
        assert ledger.check(rows) == []
        return ledger.sums(rows)


def rows(door: RunningCollector) -> list[tuple[str, int, int]]:
    """(batch_id, position, event_time) of all that landed, from the files themselves."""
    found: list[tuple[str, int, int]] = []
    for path in (door.data / "lake").rglob("*.parquet"):
        table = pq.ParquetFile(path).read(columns=["batch_id", "position", "event_time"])
        times = table.column("event_time").cast("int64").to_pylist()
        found += zip(table.column("batch_id").to_pylist(), table.column("position").to_pylist(), times, strict=True)
    return sorted(found)


def replay(door: RunningCollector, *arguments: str) -> int:
    return run(["dead", "replay", *arguments, "--data", str(door.data), "--collector", door.url])


REFUSED: dict[str, tuple[bytes, dict[str, str], str, str | None]] = {
    "no JSON": (b'{"client_id":"shop","events":[', {}, "unreadable", "shop"),
    "no UTF-8": (b'{"client_id":"shop"}\xff', {}, "unreadable", "shop"),
    "broken gzip": (gzip.compress(b"{}" * 99)[:-9], {"content-encoding": "gzip"}, "unreadable", None),
    "a list": (b"[1]", {}, "no_batch", None),
    "no screen": (json.dumps({"client_id": "shop", "events": []}).encode(), {}, "no_batch", "shop"),
    "packed": (gzip.compress(b'{"client_id":"blog"}', mtime=0), {"content-encoding": "gzip"}, "no_batch", "blog"),
}


def test_a_refused_body_is_kept_as_it_came(door: RunningCollector) -> None:
    secrets = {"cookie": "session=1", "authorization": "Bearer abc", "x-forwarded-for": "192.0.2.1"}
    told = {"user-agent": "Mozilla/5.0 Firefox/140.0 of Jane", "origin": "https://u:p@shop.example:8443", **secrets}
    for body, headers, _, _ in REFUSED.values():
        for _ in range(2):
            assert door.post(body, headers={**headers, **told}).status_code in (400, 422)
    found = {letter.content: (entry, letter) for entry, letter in kept(door)}
    assert len(found) == len(kept(door)) == len(REFUSED)
    for body, headers, reason, client in REFUSED.values():
        entry, letter = found[body]
        assert (letter.reason, letter.client_id, letter.stage) == (reason, client, "collect")
        expected = {"content-type": "application/json", "user-agent": "firefox", "origin": "https://shop.example"}
        assert letter.headers == {**expected, **headers}
        assert entry.state == "waiting"
    everything = json.dumps([letter.headers for _, letter in kept(door)])
    assert not any(secret in everything for secret in ("session", "abc", "192.0.2", "Jane", "8443", "u:p"))
    assert [letter.client_id for _, letter in kept(door, client_id="blog")] == ["blog"]
    metrics = httpx.get(f"{door.url}/metrics").text
    assert 'isotherm_dead_letters_total{reason="no_batch",stage="collect"} 3.0' in metrics
    assert 'isotherm_dead_letters_total{reason="unreadable",stage="collect"} 3.0' in metrics


def test_every_count_of_letters_is_shown_before_the_first_one(door: RunningCollector) -> None:
    shown = httpx.get(f"{door.url}/metrics").text.splitlines()
    assert 'isotherm_dead_letters_lost_total{stage="collect"} 0.0' in shown
    for reason in ("unreadable", "no_batch", "bad_time", "not_an_event"):
        assert f'isotherm_dead_letters_total{{reason="{reason}",stage="collect"}} 0.0' in shown
    assert not any("too_old" in line for line in shown if line.startswith("isotherm_dead_letters"))


def test_what_is_no_fault_of_ours_is_not_kept(door: RunningCollector) -> None:
    now = now_ms()
    others: list[tuple[Any, dict[str, str], int]] = [
        (batch(client_id="stranger"), {}, 422),
        (json.dumps({"client_id": "stranger", "events": 5}).encode(), {}, 422),
        (b"{" + b" " * 600_000, {}, 413),
        (b"<html>", {"content-type": "text/html"}, 415),
        (batch(3), {}, 202),
        (batch([event(event_time=now - 40 * 24 * HOUR_MS), event(event_time=now + 30 * HOUR_MS), event()]), {}, 202),
    ]
    for body, headers, status in others:
        assert door.post(body, headers=headers).status_code == status
    assert kept(door) == []
    assert not (door.data / "log-dead").exists() or kept(door) == []


def as_if_good(letter: Letter) -> tuple[bytes, dict[str, str], dict[str, str]]:
    """What the letter is sent with, its bad events made good: stands for a newer version that takes them."""
    content, headers, query = request_of(letter)
    body = json.loads(content)
    for one_event in body["events"]:
        one_event["event_type"] = "click"
    return json.dumps(body).encode(), headers, query


@pytest.mark.parametrize("named", [True, False])
def test_replayed_twice_only_what_is_missing_is_added(
    door: RunningCollector, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = now_ms()
    events = [event(event_time=start - n, **(BAD if n in (1, 3) else {})) for n in range(5)]
    answer = door.post(batch(events, **({"batch_id": "b1"} if named else {}))).json()
    assert (answer["accepted"], answer["rejected"]) == (3, 2)
    assert land(door)["landed"] == 3
    [(entry, letter)] = kept(door, client_id="shop")
    assert (letter.reason, letter.bytes) == ("bad_event_type", len(letter.content))
    before = rows(door)

    # As it is, it is rejected again: what was accepted before is not counted twice.
    assert replay(door) == 1
    assert (land(door)["landed"], rows(door)) == (3, before)
    assert [entry.state for entry, _ in kept(door)] == ["waiting"]

    monkeypatch.setattr(dead_replay, "request_of", as_if_good)
    for _ in range(3):
        assert replay(door, str(entry.place)) == 0
        found = land(door)
        assert (found["landed"], found["rejected"]) == (5, 4)
    assert [(position, time) for _, position, time in rows(door)] == [(n, start - n) for n in range(5)]
    assert len({name for name, _, _ in rows(door)}) == 1
    if named:
        assert rows(door)[0][0] == "b1"
    [(done, _)] = kept(door)
    assert (done.state, done.accepted) == ("replayed", 5)


def test_a_replay_keeps_the_correction_of_the_sender_s_clock(door: RunningCollector) -> None:
    now = now_ms()
    wrong = now - 5 * HOUR_MS
    events = [event(event_time=wrong - 1_000), event(event_time=wrong, **BAD)]
    door.post(batch(events, batch_id="b1", sent_at=wrong))
    land(door)
    [(_, found)] = kept(door)
    before = rows(door)
    assert abs(found.skew_ms - 5 * HOUR_MS) < 60_000
    assert before[0][2] == wrong - 1_000 + found.skew_ms
    assert replay(door) == 1
    assert land(door)["landing_duplicate"] == 1
    assert rows(door) == before


def test_letters_of_landing_are_sent_again_too(door: RunningCollector) -> None:
    at = now_ms() - 10 * HOUR_MS
    body = json.dumps(batch([event(event_time=at), event(event_time=at + 1)], batch_id="b7")).encode()
    facts: dict[str, Any] = {"client_id": "shop", "screen_id": "home", "batch_id": "b7", "received_at": at}
    value = encode_envelope(**facts, skew_ms=7, flags=(), counts=Counts(accepted={"0": 2}), batch=body)
    letters = [
        letter(raw, reason="lander_error", stage="land", time=at, client_id="shop", key=str(n))
        for n, raw in enumerate((value, b"nonsense"))
    ]
    with closing(open_dead_log(settings_of(door), SystemClock())) as log:
        log.append(list(map(record_of, letters)))
    for _ in range(2):
        assert replay(door, "--again") == 1
    assert land(door)["landed"] == 2
    assert rows(door) == [("b7", 0, at + 7), ("b7", 1, at + 8)]
    assert sorted(entry.state for entry, _ in kept(door, stage="land")) == ["replayed", "waiting"]


def test_what_landing_failed_at_is_dead_until_it_is_replayed(
    door: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now_ms()
    door.post(batch([event(event_time=at), event(**BAD), event(event_time=at + 1)], batch_id="b9"))
    real = lander.new_rows

    def broken(decoded: Sequence[Any], *rest: Any, **more: Any) -> Any:
        if any(one.batches for one in decoded):
            raise TypeError("a fault of ours")
        return real(decoded, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(lander, "new_rows", broken)
        assert (land(door)["landed"], land(door)["dead"]) == (0, 2)
    assert {letter.reason for _, letter in kept(door)} == {"lander_error", "bad_event_type"}
    # The letter of the whole body is rejected in part again and keeps waiting; the record's is done with.
    for known in (2, 6):
        assert replay(door, "--again") == 1
        found = land(door)
        assert (found["dead"], found["landed"], found["landing_duplicate"]) == (0, 2, known)
        assert rows(door) == [("b9", 0, at), ("b9", 2, at + 1)]
    assert {letter.stage: entry.state for entry, letter in kept(door)} == {"land": "replayed", "collect": "waiting"}


def test_the_longest_list_of_places_passes_the_door(door: RunningCollector) -> None:
    at = now_ms()
    places = list(reversed(range(MAX_EVENTS)))
    body = json.dumps(batch([{"event_time": at, "event_type": "a"}] * MAX_EVENTS, batch_id="b8")).encode()
    facts: dict[str, Any] = {"client_id": "shop", "screen_id": "home", "batch_id": "b8", "received_at": at}
    counts = Counts(accepted={"0": MAX_EVENTS})
    value = encode_envelope(**facts, skew_ms=0, flags=(), counts=counts, positions=places, batch=body)
    with closing(open_dead_log(settings_of(door), SystemClock())) as log:
        log.append([record_of(letter(value, reason="unusable", stage="land", time=at, client_id="shop", key="1"))])
    assert replay(door) == 0
    assert land(door)["landed"] == MAX_EVENTS
    assert [position for _, position, _ in rows(door)] == sorted(places)


def test_ls_show_and_drop(door: RunningCollector, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        door.post(json.dumps({"client_id": "shop" if number else "blog", "n": number}).encode())
    data = ["--data", str(door.data)]

    def said(*arguments: str) -> str:
        capfd.readouterr()
        assert run(["dead", *arguments, *data]) == 0
        return capfd.readouterr().out

    listed = json.loads(said("ls", "--json"))
    assert listed["total"] == 3
    assert [found["client_id"] for found in listed["letters"]] == ["shop", "shop", "blog"]
    assert "body" not in listed["letters"][0]
    assert json.loads(said("ls", "--json", "--client", "blog"))["total"] == 1
    assert json.loads(said("ls", "--json", "--limit", "1", "--reason", "no_batch"))["total"] == 3
    assert json.loads(said("ls", "--json", "--stage", "land"))["total"] == 0
    assert "no dead letters" in said("ls", "--to", "2020-01-01")
    place = json.loads(said("ls", "--json", "--client", "blog"))["letters"][0]["place"]
    assert said("show", place, "--body") == '{"client_id": "blog", "n": 0}'
    assert "no batch" in said("show", place).lower() or "not a batch" in said("show", place)
    assert "1 dead letters dropped" in said("drop", place)
    assert json.loads(said("ls", "--json"))["total"] == 2
    assert json.loads(said("drop", "--client", "shop", "--yes", "--json")) != {"dropped": []}
    assert "no dead letters" in said("ls")
    assert json.loads(said("ls", "--json", "--state", "dropped"))["total"] == 3
    (door.data / "dead").mkdir(exist_ok=True)
    assert json.loads(said("ls", "--json"))["in_folder"] == 0
    (door.data / "dead" / "1-0-17.bin").write_bytes(b"x")
    assert json.loads(said("ls", "--json"))["in_folder"] == 1
    assert run(["dead", "ls", *data]) == 0
    assert "holds 1 records more" in " ".join(capfd.readouterr().err.split())
    assert run(["dead", "drop", *data]) == 1
    assert run(["dead", "show", "0-99", *data]) == 1
    assert run(["dead", "show", "../x", *data]) == 1
    assert run(["dead", "ls", "--reason", "nonsense", *data]) == 1


def test_a_log_of_dead_letters_that_takes_nothing_keeps_no_good_batch(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "log-dead"
    folder.mkdir(parents=True)
    (folder / "something").write_text("of somebody else")
    door = RunningCollector(tmp_path / "data").start()
    try:
        assert door.post(b"[1]").status_code == 422
        answer = door.post(batch([event(), event(**BAD)]))
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
        until(lambda: 'lost_total{stage="collect"} 2.0' in httpx.get(f"{door.url}/metrics").text, "both are counted")
    finally:
        assert door.stop() == 0


def test_every_reason_is_explained() -> None:
    assert {reason.value for reason in DropReason} - REASONS.keys() == {"too_old", "too_far_ahead"}


def test_a_strange_origin_is_no_trouble() -> None:
    for origin in ("null", "http://[", "://", "x" * 9_999, "https://a.example/secret?x=1"):
        request = Request(b"{}", 0, header={"origin": origin}.get)
        assert scrubbed(request).get("origin") in (None, "https://a.example")
    assert of_rejections(Request(b"{}", 0)) is None
