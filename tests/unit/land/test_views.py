"""Page views that are forgotten: whatever order records are landed in, no event counts as sent twice."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.clock import HOUR_MS
from isotherm.land import views
from isotherm.store.db import writing
from isotherm.store.tables import page_views

START = 1_770_000_000_000 // HOUR_MS * HOUR_MS
LIFE = 47
"""Hours between the first and the last receipt of a view's batches, as senders keep to."""


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    # Nothing but the table: what is shown is about the views alone.
    made = sa.create_engine("sqlite://")
    page_views.create(made)
    yield made
    made.dispose()


def batches(name: str, hours: list[int]) -> list[tuple[str, views.Part]]:
    """One batch of ten events for each of these hours."""
    return [(name, views.Part(10 * n, 10 * n + 10, START + hour * HOUR_MS)) for n, hour in enumerate(sorted(hours))]


@st.composite
def traffic(draw: st.DrawFn) -> list[tuple[str, views.Part]]:
    found: list[tuple[str, views.Part]] = []
    for name in "ab":
        begun = draw(st.integers(0, 200))
        found += batches(name, [begun + hour for hour in draw(st.lists(st.integers(0, LIFE), min_size=1, max_size=4))])
    return found


def land(engine: sa.Engine, one: tuple[str, views.Part], sums: Counter[tuple[str, str]]) -> None:
    name, part = one
    with writing(engine) as connection:
        counted = views.count(connection, {(name, "view"): [views.Part(part.first, part.end, part.hour)]})
    for (client, _, measure, _), events in counted.items():
        sums[client, measure] += events


def forget(engine: sa.Engine, until: int) -> int:
    with writing(engine) as connection:
        return views.forget(connection, until)


@pytest.fixture
def empty(engine: sa.Engine) -> sa.Engine:
    with writing(engine) as connection:
        connection.execute(sa.delete(page_views))
    return engine


@settings(max_examples=60, deadline=None)
@given(sent=traffic(), order=st.randoms(use_true_random=False), steps=st.lists(st.integers(0, 80), max_size=9))
def test_no_order_of_files_and_no_belief_makes_an_event_count_twice(
    engine: sa.Engine, sent: list[tuple[str, views.Part]], order: Any, steps: list[int]
) -> None:
    """What is landed is any mixture, and how far landing is believed to be may be wrong by days."""
    with writing(engine) as connection:
        connection.execute(sa.delete(page_views))
    order.shuffle(sent)
    sums: Counter[tuple[str, str]] = Counter()
    until = START
    for at, one in enumerate(sent):
        until += (steps[at] if at < len(steps) else 0) * HOUR_MS
        forget(engine, until)
        land(engine, one, sums)
    for name in "ab":
        highest = max(part.end for client, part in sent if client == name)
        assert 0 <= sums[name, "sequenced"] <= sums[name, "sent"] <= highest


@settings(max_examples=40, deadline=None)
@given(sent=traffic(), order=st.randoms(use_true_random=False))
def test_what_is_landed_in_time_is_counted_exactly_however_often_views_are_forgotten(
    engine: sa.Engine, sent: list[tuple[str, views.Part]], order: Any
) -> None:
    """Hour after hour; within an hour in any order, as partitions and collectors differ."""
    with writing(engine) as connection:
        connection.execute(sa.delete(page_views))
    order.shuffle(sent)
    sums: Counter[tuple[str, str]] = Counter()
    for one in sorted(sent, key=lambda one: one[1].hour):
        forget(engine, one[1].hour + HOUR_MS)
        land(engine, one, sums)
    for name in "ab":
        mine = [part for client, part in sent if client == name]
        assert sums[name, "sent"] == max(part.end for part in mine)
        assert sums[name, "sequenced"] == sum(part.end - part.first for part in mine)


def test_a_batch_of_a_forgotten_view_counts_as_not_numbered(empty: sa.Engine) -> None:
    """A sink that stood still for days: the view's row is gone when its last file comes."""
    first, second = batches("a", [0, 40])
    sums: Counter[tuple[str, str]] = Counter()
    land(empty, first, sums)
    believed = START + 60 * HOUR_MS
    assert forget(empty, believed) == 1
    land(empty, second, sums)
    assert dict(sums) == {("a", "sent"): 10, ("a", "sequenced"): 10}
    # It is remembered that it came: what follows in time is counted from there on.
    land(empty, ("a", views.Part(20, 30, believed)), sums)
    assert dict(sums) == {("a", "sent"): 20, ("a", "sequenced"): 20}


def test_a_late_batch_of_a_view_that_is_known_fills_its_gap(empty: sa.Engine) -> None:
    first, second, third = batches("a", [0, 1, 40])
    sums: Counter[tuple[str, str]] = Counter()
    for one in (first, third):
        land(empty, one, sums)
    assert forget(empty, START + 60 * HOUR_MS) == 0
    land(empty, second, sums)
    assert dict(sums) == {("a", "sent"): 30, ("a", "sequenced"): 30}


def test_what_comes_while_the_last_round_is_fresh_is_not_late(empty: sa.Engine) -> None:
    """Of an hour that has just begun, the hour lies before the moment of the round."""
    sums: Counter[tuple[str, str]] = Counter()
    forget(empty, START + HOUR_MS // 2)
    land(empty, batches("a", [-1])[0], sums)
    land(empty, batches("b", [0])[0], sums)
    assert (sums["a", "sent"], sums["b", "sent"]) == (10, 10)
