"""Places of events as text, and what is no such text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.collect import positions
from isotherm.events import MAX_EVENTS


@given(st.lists(st.integers(0, MAX_EVENTS - 1), min_size=1, unique=True))
def test_places_read_back_in_their_order(places: list[int]) -> None:
    assert positions.read(positions.write(places)) == places


def test_places_that_follow_each_other_are_one_run() -> None:
    assert positions.write([0, 2, 3, 4, 7, 6]) == "0,2-4,7,6"
    assert positions.write(range(MAX_EVENTS)) == "0-4999"


def test_the_longest_list_of_places_is_taken() -> None:
    places = list(reversed(range(MAX_EVENTS)))
    assert len(positions.write(places)) <= positions.MOST_CHARACTERS
    assert positions.read(positions.write(places)) == places


HOSTILE = {
    "nothing": "",
    "no numbers": "a-b",
    "an empty run": "0,,2",
    "a negative place": "-1",
    "a run that is huge": "0-999999999999",
    "a place that no body has": "5000",
    "a run backwards": "3-2",
    "runs that overlap": "0-3,2-5",
    "a place twice": "1,1",
    "the same long run again and again": ",".join(["0-4999"] * 3_000),
    "digits of another script": "٣",
    "spaces": "0, 1",
    "a line break": "1\n",
    "too many characters": "1," * 20_000,
    "a number without an end": "9" * 24_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_places_are_refused_cheaply(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=r"place|characters") as refused:
        positions.read(text)
    assert time.process_time() - started < 0.05
    assert len(str(refused.value)) < 100
