import struct
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from landing import tables

from isotherm.land.rowhash import MULTIPLIERS, ZERO, add, of_table

MASK = (1 << 64) - 1


def mix(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def recipe(rows: list[dict[str, object]]) -> str:
    """The docstring's recipe in whole numbers, one row at a time."""

    def text(value: object) -> int:
        return int.from_bytes(blake2b(str(value).encode(), digest_size=8).digest(), "little")

    def double(value: object) -> int:
        return 0x7FF8000000000001 if value is None else int.from_bytes(struct.pack("<d", value), "little")

    one = two = 0
    for row in rows:
        words = [text(row[name]) for name in ("client_id", "screen_id", "event_type", "batch_id")]
        words += [row["event_time"], row["position"], double(row["x_norm"]), double(row["y_norm"])]
        value = mix(sum(w * int(m) for w, m in zip(words, MULTIPLIERS, strict=True)) & MASK)
        one, two = one + value, two + mix((value + int(MULTIPLIERS[0])) & MASK)
    return f"{one & MASK:016x}{two & MASK:016x}"


def plain(table: pa.Table) -> list[dict[str, object]]:
    index = table.schema.get_field_index("event_time")
    return table.set_column(index, "event_time", table["event_time"].cast(pa.int64())).to_pylist()


@given(tables())
def test_the_recipe_gives_the_same(table: pa.Table) -> None:
    assert of_table(table) == recipe(plain(table))


@given(tables(), st.randoms(use_true_random=False))
def test_order_and_split_do_not_matter(table: pa.Table, random: object) -> None:
    order = list(range(table.num_rows))
    random.shuffle(order)
    middle = random.randint(0, table.num_rows)
    shuffled = table.take(pa.array(order, pa.int64()))
    halves = [of_table(shuffled.slice(0, middle)), of_table(shuffled.slice(middle))]
    assert add(halves) == of_table(table)


def test_no_rows() -> None:
    assert add([]) == ZERO


@given(tables(min_rows=1))
def test_one_bit_changes_it(table: pa.Table) -> None:
    for name in ("x_norm", "y_norm"):
        values = table[name].to_pylist()
        values[0] = 0.0 if values[0] is None else float(np.nextafter(values[0], 2 if values[0] < 2 else 0))
        changed = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(values))
        assert of_table(changed) != of_table(table)
