"""The stores that a backup is restored into, and whether they are empty."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from isotherm.backup.inventory import Inventory
from isotherm.clock import Clock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import EventLog
from isotherm.land.lake import Lake
from isotherm.rollup.copies import any_maps
from isotherm.store.db import reading
from isotherm.store.olap import Olap
from isotherm.store.tables import buckets, files, ledger, positions


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What is restored into. `engine` may be of an older revision of the schema: the backup's."""

    settings: Settings
    engine: Engine
    lake: Lake
    olap: Olap
    log: EventLog
    clock: Clock
    dead: EventLog | None = None


def refuse_used(stores: Stores, inventory: Inventory) -> None:
    """Raise IsothermError when one of the stores holds something already."""
    used = list(_used(stores, inventory))
    if used:
        raise IsothermError(
            f"this deployment is not empty: {', '.join(used)}. Restore into an empty one (--data with a new folder, an "
            "empty database, bucket or prefix, and topic), or give --force to replace what is there."
        )


def _used(stores: Stores, inventory: Inventory) -> Iterator[str]:
    with reading(stores.engine) as connection:
        for table in (files, buckets, ledger, positions):
            if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).one_or_none() is not None:
                yield f"the database has rows in {table.name}"
                break
    if next(iter(stores.lake.list()), None) is not None:
        yield f"the lake {stores.lake.where('')} has files"
    if any_maps(stores.olap):
        yield f"the tile store {stores.olap.where} has maps"
    own = inventory.log is not None and inventory.log.identity == stores.log.identity
    if not own and any(stores.log.heads(list(stores.log.partitions())).values()):
        yield "the log has records"
