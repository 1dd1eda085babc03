"""How the tile store's tables are named and spread: on one server, replicated, sharded by client over a cluster.

On a cluster a table `maps` is two: `maps_local` on every node holds the rows of that node's clients, and `maps` in
front of them takes all reads and inserts. A client lives on one shard, so that FINAL, which works shard by shard,
finds every version of a map in one place.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_DIRECTIVE: Final = re.compile(r"@(on_cluster|stored|engine|distribute)\b(?:\(([^()]*)\))?")


@dataclass(frozen=True, slots=True)
class Layout:
    """Names are checked where they come in; they stand in SQL text as they are.

    `cluster` is empty on one server; `replicated` makes the tables that hold rows replicated ones.
    """

    database: str = "default"
    cluster: str = ""
    replicated: bool = False

    def stored(self, table: str) -> str:
        """The table that holds the rows: what ALTER and DELETE work on."""
        return f"{table}_local" if self.cluster else table

    @property
    def on_cluster(self) -> str:
        """What follows a table's name in a statement about it: nothing, or the clause that runs it on every node."""
        return f" ON CLUSTER '{self.cluster}'" if self.cluster else ""

    def engine(self, table: str, family: str, *arguments: str) -> str:
        """A table's engine: `family` is one of the MergeTree family, `arguments` are its own."""
        if not self.replicated:
            return f"{family}({', '.join(arguments)})"
        place = f"'/clickhouse/tables/{{shard}}/{self.database}/{self.stored(table)}'"
        return f"Replicated{family}({', '.join((place, repr('{replica}'), *arguments))})"

    def distribute(self, table: str, column: str) -> str:
        """The statement that makes the table in front of the shards; empty on one server."""
        if not self.cluster:
            return ""
        return (
            f"CREATE TABLE IF NOT EXISTS {table}{self.on_cluster} AS {self.stored(table)}\n"
            f"ENGINE = Distributed('{self.cluster}', '{self.database}', '{self.stored(table)}', sipHash64({column}))"
        )

    def render(self, text: str) -> list[str]:
        """The statements of a migration file for this layout.

        Where layouts differ the text has `@stored(table)`, `@on_cluster`, `@engine(table, Family, argument...)`, and
        as a statement of its own `@distribute(table, column)`.
        """
        made: dict[str, Callable[..., str]] = {
            "on_cluster": self.on_cluster.lstrip,
            "stored": self.stored,
            "engine": self.engine,
            "distribute": self.distribute,
        }

        def one(found: re.Match[str]) -> str:
            arguments = [part.strip() for part in (found[2] or "").split(",") if part.strip()]
            return made[found[1]](*arguments)

        return [rendered for part in text.split(";\n") if (rendered := _DIRECTIVE.sub(one, part).strip())]
