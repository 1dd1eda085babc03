"""Places of events in the body that they were first sent in, as text: `0,2-3` are the first, third and fourth.

A batch that is sent again without the events that were rejected must say so: what is landed is told by these places.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from isotherm.events import MAX_EVENTS

MOST_CHARACTERS: Final = 25_000
"""As many as MAX_EVENTS places take that do not follow each other: four digits and a comma each."""
_RUN: Final = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")


def write(positions: Sequence[int]) -> str:
    """The text for these places, in their order."""
    runs: list[str] = []
    for _, group in groupby(enumerate(positions), lambda one: one[1] - one[0]):
        places = [place for _, place in group]
        runs.append(str(places[0]) if len(places) == 1 else f"{places[0]}-{places[-1]}")
    return ",".join(runs)


def read(text: str) -> list[int]:
    """The places that the text names, in its order. Raises ValueError for what names none, one twice, or one that no
    body has; what that costs is bounded, whatever the text claims."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"more than {MOST_CHARACTERS:,} characters")
    found: list[int] = []
    for run in text.split(","):
        match = _RUN.fullmatch(run)
        if match is None:
            raise ValueError(f"{run[:20]!r} is no place and no run of places")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < MAX_EVENTS:
            raise ValueError(f"{run!r} is no run of places below {MAX_EVENTS:,}")
        found += range(first, last + 1)
        if len(found) > MAX_EVENTS:
            break
    if len(set(found)) < len(found):
        raise ValueError("a place is named twice")
    return found
