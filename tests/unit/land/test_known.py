"""Which rows are new, against a plain set of (batch, position)."""

from hypothesis import given
from hypothesis import strategies as st

from isotherm.land.columns import BatchRef
from isotherm.land.known import ids_of, judge

EVENTS = 6
POSITIONS = st.none() | st.lists(st.integers(0, EVENTS - 1), min_size=1, unique=True).map(sorted)
RECORDS = st.lists(st.tuples(st.sampled_from("abc"), POSITIONS, st.integers(0, 9)), max_size=12)


@given(landings=st.lists(RECORDS, max_size=5))
def test_every_position_of_a_batch_is_new_once(landings: list[list[tuple[str, list[int] | None, int]]]) -> None:
    known: dict[bytes, bytes | None] = {}
    seen: set[tuple[str, int]] = set()
    for records in landings:
        batches = [BatchRef("shop", name, at, EVENTS if p is None else len(p), p) for name, p, at in records]
        found = judge(batches, ids_of(batches), known)
        rows = [(name, n) for name, p, _ in records for n in (range(EVENTS) if p is None else p)]
        wanted = [row not in seen and row not in rows[:index] for index, row in enumerate(rows)]
        assert (found.keep.tolist() if found.keep is not None else [True] * len(rows)) == wanted
        assert sum(count for _, count in found.dropped) == wanted.count(False)
        seen |= set(rows)
        known |= {row["id"]: row["positions"] for row in found.claims.changed}


def test_a_whole_batch_is_kept_without_positions_and_a_split_one_as_runs() -> None:
    batches = [BatchRef("shop", "whole", 5, 3, None), BatchRef("shop", "split", 7, 4, [0, 1, 2, 9])]
    whole, split = judge(batches, ids_of(batches), {}).claims.changed
    assert (whole["received_at"], whole["positions"]) == (5, None)
    assert split["positions"] == b"".join(n.to_bytes(4, "little") for n in (0, 3, 9, 1))
