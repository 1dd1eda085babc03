"""A ClickHouse server: reachable, recent enough, lets us make, fill and drop tables, and knows the cluster we name."""

import secrets
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from isotherm.cli.doctor.findings import Finding, clock
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.store.olap_server import ServerOlap
from isotherm.store.olap_target import read_layout, read_target

OLDEST: Final = (25, 8)
_NO_DATABASE: Final = 81
_QUIET_S: Final = 8


def check(settings: Settings) -> Iterator[Finding]:
    """Ask, and make a table that is dropped again. Raises ConfigError for a wrong setting, user or password."""
    target = read_target(settings.url("olap"), settings)
    layout = read_layout(target, settings)
    quiet = dict.fromkeys(("read", "write", "migrate", "maintain"), _QUIET_S)
    olap = ServerOlap(target, layout, settings, quiet)  # pyright: ignore[reportArgumentType] - the profiles' names
    try:
        yield from _facts(olap)
        if layout.cluster:
            yield from _cluster(olap)
        yield from _rights(olap, target.database)
    except OperationalError as error:
        yield Finding("olap", "error", "cannot be used", str(error))
    except DatabaseError as error:
        if error.code != _NO_DATABASE:
            raise
        yield Finding("olap", "ok", f"the database {target.database} is not there yet; the first start makes it")
    finally:
        olap.close()


def _facts(olap: ServerOlap) -> Iterator[Finding]:
    ours = SystemClock()
    before = ours.now_ms()
    row = olap.query("SELECT version() AS version, toUnixTimestamp64Milli(now64(3)) AS now", None, "migrate")
    after = ours.now_ms()
    text = str(row.column("version")[0].as_py())
    if tuple(int(part) for part in text.split(".")[:2]) < OLDEST:
        newest = ".".join(map(str, OLDEST))
        yield Finding("olap", "warning", f"ClickHouse {text}", f"use {newest} or newer: nothing older was tried")
    else:
        yield Finding("olap", "ok", f"ClickHouse {text} answers")
    yield clock("olap", float(row.column("now")[0].as_py()), before, after)


def _cluster(olap: ServerOlap) -> Iterator[Finding]:
    name = olap.layout.cluster
    if name.startswith("{"):
        return
    found = olap.query(
        "SELECT uniqExact(shard_num) AS shards, count() AS nodes FROM system.clusters WHERE cluster = {name:String}",
        {"name": name},
        "migrate",
    )
    shards, nodes = found.column("shards")[0].as_py(), found.column("nodes")[0].as_py()
    if nodes:
        yield Finding("olap", "ok", f"cluster {name}: {shards} shards, {nodes} nodes")
    else:
        yield Finding(
            "olap", "error", f"the server knows no cluster {name}",
            "name one of system.clusters in clickhouse_cluster, or add it to remote_servers on every node",
        )  # fmt: skip


def _rights(olap: ServerOlap, database: str) -> Iterator[Finding]:
    table = f"isotherm_doctor_{secrets.token_hex(6)}"
    stored, on_cluster = olap.layout.stored(table), olap.layout.on_cluster
    try:
        olap.command(
            f"CREATE TABLE {stored}{on_cluster} (n UInt8) ENGINE = {olap.layout.engine(table, 'MergeTree')} ORDER BY n",
            profile="migrate",
        )
    except DatabaseError as error:
        if error.code == _NO_DATABASE or isinstance(error, OperationalError):
            raise
        yield Finding("olap", "error", f"the user may not make tables in {database}", _said(error, database))
        return
    try:
        olap.insert(stored, pa.table({"n": pa.array([1], pa.uint8())}))
        read = olap.query(f"SELECT count() AS rows FROM {stored}").column("rows")[0].as_py()
        if read == 1:
            yield Finding("olap", "ok", f"the user may make, fill and read tables in {database}")
        else:
            yield Finding(
                "olap", "error", f"a row that was inserted is not there ({read} of 1)", "see the server's log"
            )
    except (DatabaseError, IsothermError) as error:
        yield Finding("olap", "error", "the user may not insert and read", _said(error, database))
    finally:
        olap.command(f"DROP TABLE IF EXISTS {stored}{on_cluster} SYNC", profile="migrate")


def _said(error: Exception, database: str) -> str:
    said = " ".join(str(error).split())[:200]
    return f"GRANT CREATE TABLE, CREATE VIEW, ALTER, DROP TABLE, INSERT, SELECT ON {database}.* ({said})"
