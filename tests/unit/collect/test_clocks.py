"""Wrong clocks, late and early events at the door. What the hours must be, pandas says."""

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.collect.request import Request
from isotherm.collect.steps import STEPS, Rules
from isotherm.config import Settings
from isotherm.events import Envelope, decode_envelope

NOW = 1_795_000_000_000


def rules(**settings: Any) -> Rules:
    return Rules.of(Settings(**settings), 1 << 24)


def sent(
    times: list[Any], *, received_at: int = NOW, given: Rules | None = None, query: str = "", **fields: Any
) -> tuple[Request, Envelope]:
    events = [{"event_time": at, "event_type": "click", "x_norm": 0.5, "y_norm": 0.5} for at in times]
    body = json.dumps({"client_id": "shop", "screen_id": "home", "events": events, **fields}).encode()
    request = Request(body, received_at, query=query)
    for _, step in STEPS:
        step(request, given or rules())
    assert request.record is not None
    return request, decode_envelope(request.record.value)


def hours(times: list[int]) -> dict[str, int]:
    """Events per UTC hour, by pandas."""
    floors = pd.to_datetime(pd.Series(times), unit="ms", utc=True).dt.floor("h").astype("datetime64[ms, UTC]")
    return {str(at): int(n) for at, n in floors.astype("int64").value_counts().items()}


@pytest.mark.parametrize(
    ("settings", "oldest"),
    [
        ({}, NOW - 30 * DAY_MS),
        ({"late_horizon_days": 1}, NOW - DAY_MS),
        ({"late_events": "raw_only"}, NOW - 730 * DAY_MS),
        ({"late_events": "raw_only", "raw_retention_days": 100}, NOW - 100 * DAY_MS),
        ({"late_events": "raw_only", "retention": {"shop": {"raw": 60}, "blog": {"raw": 90}}}, NOW - 60 * DAY_MS),
    ],
)
def test_what_is_too_old_and_what_is_too_far_ahead(settings: dict[str, Any], oldest: int) -> None:
    newest = NOW + DAY_MS
    request, envelope = sent([oldest - 1, oldest, NOW, newest, newest + 1], given=rules(**settings))
    assert [(one.index, one.reason) for one in request.rejections] == [(0, "too_old"), (4, "too_far_ahead")]
    assert envelope.positions == [1, 2, 3]
    assert envelope.counts.accepted == hours([oldest, NOW, newest])
    assert envelope.counts.rejected == {"too_old": 1, "too_far_ahead": 1}


def test_before_1970_there_is_nothing(tmp_path: Any) -> None:
    early = rules(late_events="raw_only", raw_retention_days=36_500)
    request, envelope = sent([0, 5 * MINUTE_MS], given=early, received_at=40_000 * DAY_MS // 2, sent_at=0)
    assert request.rejections == []
    back, _ = sent([0, 3 * HOUR_MS], given=early, received_at=NOW, sent_at=NOW + 2 * HOUR_MS)
    assert [(one.index, one.reason) for one in back.rejections] == [(0, "too_old")]
    assert envelope.skew_ms > 0


EDGES = [
    "2028-02-29T00:00Z", "2028-03-01T00:00Z", "2100-03-01T00:00Z", "2027-01-01T00:00Z", "2027-01-04T00:00Z",
    "2026-12-28T00:00Z", "2032-12-27T00:00Z", "2026-10-25T01:00Z", "2026-03-29T01:00Z",
]  # fmt: skip


@pytest.mark.parametrize("edge", EDGES)
def test_leap_days_and_the_edges_of_weeks_and_years(edge: str) -> None:
    at = int(pd.Timestamp(edge).timestamp() * 1000)
    times = [at - HOUR_MS, at - 1, at, at + 1, at + HOUR_MS - 1, at + HOUR_MS]
    _, envelope = sent(times, received_at=at + 2 * HOUR_MS)
    assert envelope.counts.accepted == hours(times)
    texts = [pd.Timestamp(one, unit="ms", tz="America/New_York").isoformat() for one in times]
    _, written = sent(texts, received_at=at + 2 * HOUR_MS)
    assert written.counts.accepted == hours(times)


def test_the_hour_that_a_clock_shows_twice_is_two_hours() -> None:
    """In October, 02:30 in Berlin comes twice; its two offsets tell them apart."""
    first = pd.Timestamp("2026-10-25T02:30:00+02:00")
    second = pd.Timestamp("2026-10-25T02:30:00+01:00")
    received = int(second.timestamp() * 1000) + MINUTE_MS
    _, envelope = sent([first.isoformat(), second.isoformat()], received_at=received)
    assert len(envelope.counts.accepted) == 2
    assert envelope.counts.accepted == hours([int(one.timestamp() * 1000) for one in (first, second)])


def test_a_clock_that_is_set_back_an_hour_in_the_middle_of_a_view() -> None:
    """Each batch is corrected by its own sent_at: times go on as the server's clock does, in UTC."""
    true = [NOW + at * MINUTE_MS for at in range(90)]
    shown = [at if at < true[30] else at - HOUR_MS for at in true]
    found: list[int] = []
    for first in range(0, 90, 10):
        part, received = shown[first : first + 10], true[first + 9] + 1
        shift = received - true[first + 9]
        request, envelope = sent(part, received_at=received, sent_at=part[-1] + shift)
        assert request.rejected == 0
        assert envelope.skew_ms == (0 if first < 30 else HOUR_MS)
        found += [at + envelope.skew_ms for at in part]
    assert found == true


def test_set_back_within_a_batch_nothing_is_lost() -> None:
    before, after = [NOW - MINUTE_MS, NOW - 1], [NOW - HOUR_MS, NOW - HOUR_MS + 5]
    request, envelope = sent([*before, *after], received_at=NOW + 10, sent_at=NOW - HOUR_MS + 10)
    assert (request.accepted, request.rejected, envelope.skew_ms) == (4, 0, HOUR_MS)
    assert envelope.counts.accepted == hours([at + HOUR_MS for at in [*before, *after]])


def test_every_attempt_says_when_it_was_sent() -> None:
    """A batch that waited for hours in a queue is corrected by the clock's error, not by how long it waited."""
    wrong = 3 * HOUR_MS
    times = [NOW - wrong - 5 * HOUR_MS]
    made, attempts = NOW - wrong - 5 * HOUR_MS, [NOW - 4 * HOUR_MS, NOW]
    skews = []
    for received in attempts:
        _, envelope = sent(times, received_at=received, query=f"sent_at={received - wrong}", sent_at=made)
        skews.append(envelope.skew_ms)
        assert envelope.counts.accepted == hours([NOW - 5 * HOUR_MS])
    assert skews == [wrong, wrong]


@given(
    ages=st.lists(st.integers(-2 * DAY_MS, 800 * DAY_MS), min_size=1, max_size=8),
    skew=st.integers(-3 * DAY_MS, 3 * DAY_MS),
    kept=st.booleans(),
)
def test_any_clock_any_age(ages: list[int], skew: int, kept: bool) -> None:
    skew = 0 if abs(skew) <= MINUTE_MS else skew
    times = [NOW - age for age in ages]
    given = rules(late_events="raw_only" if kept else "reject")
    request, envelope = sent([at - skew for at in times], given=given, sent_at=NOW - skew)
    oldest = NOW - (730 if kept else 30) * DAY_MS
    good = [at for at in times if oldest <= at <= NOW + DAY_MS]
    assert envelope.skew_ms == skew
    assert envelope.counts.accepted == (hours(good) if good else {})
    assert request.accepted + request.rejected == len(ages)
