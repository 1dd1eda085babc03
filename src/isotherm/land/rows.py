"""Rows as they come out of records: what differs from event to event, and beside it once per record what does not.

Half of the columns are the same for all events of a record. They become columns of the lake last of all, when the
rows are filtered and sorted: until then nothing of them is copied.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from isotherm.land.schema import LAKE_SCHEMA
from isotherm.land.write import compact

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_OF_EVENTS: Final = frozenset(
    {
        "event_type", "event_time", "client_time", "position", "anchor", "attrs",
        "x_norm", "y_norm", "x_px", "y_px", "scroll_y", "ax", "ay",
    }
)  # fmt: skip
EVENT_SCHEMA: Final = pa.schema([field for field in LAKE_SCHEMA if field.name in _OF_EVENTS])
FACT_SCHEMA: Final = pa.schema([field for field in LAKE_SCHEMA if field.name not in _OF_EVENTS])


class Rows(Struct, frozen=True):
    """`events` has EVENT_SCHEMA and a row per event, `facts` has FACT_SCHEMA and a row per record; `record` says for
    each event which of these is its. `imported` says which came through the import door. All in log order."""

    events: pa.Table
    facts: pa.Table
    record: Ints
    imported: Mask

    @classmethod
    def of(cls, parts: "Iterable[Rows]") -> "Rows":
        """The rows of all the parts, one after the other."""
        given = [NONE, *parts]
        starts = np.cumsum([0, *(part.facts.num_rows for part in given)])
        return cls(
            pa.concat_tables([part.events for part in given]),
            pa.concat_tables([part.facts for part in given]),
            np.concatenate([part.record + start for part, start in zip(given, starts[:-1], strict=True)]),
            np.concatenate([part.imported for part in given]),
        )

    def only(self, keep: Mask) -> "Rows":
        """The rows that the mask names."""
        return Rows(self.events.filter(pa.array(keep)), self.facts, self.record[keep], self.imported[keep])

    def table(self) -> pa.Table:
        """All as a table of the lake's schema."""
        return joined(whole(self.events), whole(self.facts), self.record)


NONE: Final = Rows(EVENT_SCHEMA.empty_table(), FACT_SCHEMA.empty_table(), np.zeros(0, np.int64), np.zeros(0, np.bool_))


def joined(events: pa.Table, facts: pa.Table, record: Ints) -> pa.Table:
    """Events with what their records say, in the lake's schema; dictionaries hold only values that occur.

    `events` and `facts` have one chunk per column, `record` a row of `facts` for each event.
    """
    used = np.flatnonzero(np.bincount(record, minlength=facts.num_rows))
    number = np.zeros(facts.num_rows, np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    rows = pa.array(number[record])
    said = compact(facts.take(pa.array(used)).combine_chunks())
    columns = {name: _spread(said.column(name), rows) for name in FACT_SCHEMA.names}
    columns |= dict(zip(EVENT_SCHEMA.names, compact(events.combine_chunks()).itercolumns(), strict=True))
    return pa.table([columns[name] for name in LAKE_SCHEMA.names], schema=LAKE_SCHEMA)


def whole(table: pa.Table) -> pa.Table:
    """The table in one chunk per column. Columns of nulls, most of them as a rule, are made anew, which copies
    nothing."""
    table = table.unify_dictionaries()
    rows = table.num_rows
    columns = [pa.nulls(rows, c.type) if c.null_count == rows else c.combine_chunks() for c in table.itercolumns()]
    return pa.table(columns, schema=table.schema)


def _spread(column: Any, rows: Any) -> Any:
    """A value per record as a column with a value per event."""
    if column.null_count == len(column):
        return pa.nulls(len(rows), column.type)
    return (column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()).take(rows)
