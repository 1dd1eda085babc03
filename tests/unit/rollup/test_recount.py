"""The recount of any rows is what a Python loop over them counts, in whatever pieces they come."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tiling import lake_table

from isotherm.rollup.recount import Recount

NEAR = [0.0, 5e-324, 0.29, 0.57, 0.58, 0.005, 0.9999999999999999, 1.0]
numbers = st.one_of(st.none(), st.sampled_from(NEAR), st.floats(0, 1))
screens = st.sampled_from(["/", "/b", "ü", "s|"])
kinds = st.sampled_from(["click", "view", "mousemove"])
rows = st.lists(st.tuples(screens, kinds, numbers, numbers), max_size=60)


def by_hand(events: list[Any]) -> dict[tuple[str, str], Counter[int]]:
    found: dict[tuple[str, str], Counter[int]] = {}
    for screen, kind, x, y in events:
        cells = found.setdefault((screen, kind), Counter())
        if x is not None and y is not None:
            cells[min(int(y * 200), 199) * 100 + min(int(x * 100), 99)] += 1
    return found


def counted(events: list[Any]) -> Recount:
    found = Recount()
    found.add_rows(lake_table([("a", screen, kind, 0, x, y) for screen, kind, x, y in events], 0))
    return found


def check(found: Recount, expected: dict[tuple[str, str], Counter[int]]) -> None:
    assert found.names == sorted(expected)
    for name, cells in expected.items():
        counts = found.counts(name)
        assert {int(cell): int(counts[cell]) for cell in np.flatnonzero(counts)} == dict(cells)
    assert not found.counts(("/", "nobody's")).any()


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(rows, max_size=4))
def test_any_rows_in_any_pieces(pieces: list[list[Any]]) -> None:
    expected = by_hand([event for piece in pieces for event in piece])
    parts = [counted(piece) for piece in pieces if piece]
    total = Recount()
    for part in parts:
        total.add(part)
    check(total, expected)
    assert total.rows == sum(map(len, pieces))
    for part, piece in zip(parts, filter(None, pieces), strict=True):
        check(part, by_hand(piece))  # adding up has changed none of them


def test_many_maps_of_few_events_and_few_of_many() -> None:
    """More maps than a table of all cells is made for, and maps that are kept as counts of every cell."""
    numbers = np.random.default_rng(3)
    sparse = [(f"s{n % 900}", "click", *numbers.random(2).tolist()) for n in range(2_000)]
    dense = [(f"s{n % 2}", "mousemove", *pair) for n, pair in enumerate(numbers.random((12_000, 2)).tolist())]
    total = Recount()
    for part in (sparse, dense, sparse, dense[:50]):
        total.add(counted(part))
    check(total, by_hand(sparse + dense + sparse + dense[:50]))
