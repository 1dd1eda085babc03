"""A ClickHouse server: reachable, recent enough, lets us do what we need, reads the lake, knows the cluster we name."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from msgspec import Struct

from isotherm.cli.doctor.findings import Finding, clock
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land.lake import Lake, LocalPlace, open_lake
from isotherm.rollup.engines.sources import Sources
from isotherm.store.olap_server import ServerOlap
from isotherm.store.olap_target import read_layout, read_target

OLDEST: Final = (25, 8)
_NO_DATABASE: Final = 81
_DENIED: Final = 497
_QUIET_S: Final = 8


def check(settings: Settings) -> Iterator[Finding]:
    """Ask, and make a table and an object that are removed again.

    Raises ConfigError for a wrong setting, user or password.
    """
    target = read_target(settings.url("olap"), settings)
    layout = read_layout(target, settings)
    quiet = dict.fromkeys(("read", "write", "migrate", "maintain"), _QUIET_S)
    olap = ServerOlap(target, layout, settings, quiet)  # pyright: ignore[reportArgumentType] - the profiles' names
    try:
        yield from _facts(olap)
        if layout.cluster:
            yield from _cluster(olap)
        yield from _rights(olap, target.database)
        if settings.engine == "clickhouse":
            yield from _lake(olap, settings)
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
    asked = "SELECT uniqExact(shard_num) AS shards, count() AS nodes FROM system.clusters WHERE cluster = {name:String}"
    try:
        found = olap.query(asked, {"name": name}, "migrate")
    except DatabaseError as error:
        if error.code != _DENIED:
            raise
        unknown = f"the user may not see the clusters: whether there is a cluster {name} is not known"
        yield Finding("olap", "warning", unknown, "GRANT SELECT ON system.clusters to the user")
        return
    shards, nodes = found.column("shards")[0].as_py(), found.column("nodes")[0].as_py()
    if nodes:
        yield Finding("olap", "ok", f"cluster {name}: {shards} shards, {nodes} nodes")
    else:
        yield Finding(
            "olap", "error", f"the server knows no cluster {name}",
            "name one of system.clusters in clickhouse_cluster, or add it to remote_servers on every node",
        )  # fmt: skip


def _rights(olap: ServerOlap, database: str) -> Iterator[Finding]:
    """Do once what migrations, jobs and retention do, on a table that is dropped again."""
    table = f"isotherm_doctor_{secrets.token_hex(6)}"
    stored, view, on_cluster = olap.layout.stored(table), f"{table}_view", olap.layout.on_cluster
    engine = olap.layout.engine(table, "MergeTree")

    def told(sql: str) -> Callable[[], None]:
        return lambda: olap.command(sql, profile="migrate")

    steps: dict[str, Callable[[], None]] = {
        "make tables": told(f"CREATE TABLE {stored}{on_cluster} (n UInt8, at DateTime) ENGINE = {engine} ORDER BY n"),
        "insert": lambda: olap.insert(stored, pa.table({"n": pa.array([1], pa.uint8()), "at": pa.array([_NOW])})),
        "read": lambda: _count(olap, stored),
        "alter tables": told(f"ALTER TABLE {stored}{on_cluster} MODIFY TTL at + INTERVAL 1 YEAR"),
        "drop partitions": told(f"ALTER TABLE {stored} DROP PARTITION tuple()"),
        "make views": told(f"CREATE VIEW {view}{on_cluster} AS SELECT n FROM {stored}"),
        "drop views": told(f"DROP VIEW {view}{on_cluster}"),
    }
    wrong = _first_wrong(steps, database)
    yield wrong or Finding("olap", "ok", f"the user may make, fill and read tables and views in {database}")
    if wrong is None or "make tables" not in wrong.finding:
        yield from _dropped(olap, (f"VIEW IF EXISTS {view}", f"TABLE IF EXISTS {stored}"), database)


_NOW: Final = pa.scalar(1_770_000_000, pa.timestamp("s"))


def _count(olap: ServerOlap, stored: str) -> None:
    if (rows := olap.query(f"SELECT count() AS n FROM {stored}").column("n")[0].as_py()) != 1:
        raise IsothermError(f"a row that was inserted is not there ({rows} of 1); see the server's log")


def _first_wrong(steps: Mapping[str, Callable[[], None]], database: str) -> Finding | None:
    for what, step in steps.items():
        try:
            step()
        except (DatabaseError, IsothermError) as error:
            if isinstance(error, OperationalError) or getattr(error, "code", None) == _NO_DATABASE:
                raise
            return Finding("olap", "error", f"the user may not {what} in {database}", _said(error, database))
    return None


def _dropped(olap: ServerOlap, names: Iterable[str], database: str) -> Iterator[Finding]:
    for name in names:
        try:
            olap.command(f"DROP {name}{olap.layout.on_cluster} SYNC", profile="migrate")
        except DatabaseError as error:
            left = name.rpartition(" ")[2]
            yield Finding("olap", "error", f"{left} cannot be dropped and may be left", _said(error, database))


def _said(error: Exception, database: str) -> str:
    rights = "CREATE TABLE, CREATE VIEW, ALTER, DROP TABLE, DROP VIEW, INSERT, SELECT"
    return f"GRANT {rights} ON {database}.* ({_short(error)})"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class _Probe(Struct, frozen=True):
    """An object of the lake that the server is to read."""

    path: str
    format: str = "jsonl"
    client_id: str = "doctor"
    rows: int = 1


def _lake(olap: ServerOlap, settings: Settings) -> Iterator[Finding]:
    """Have the server read an object of the lake, as each tile job does; the object is deleted again."""
    url, probe = settings.url("lake"), _Probe(f"doctor/{secrets.token_hex(8)}.jsonl")
    if url.startswith("file:") and not Path(unquote(urlsplit(url).path)).is_dir():
        yield Finding("olap", "ok", "the lake's folder is not there yet: whether the server reads it is not known")
        return
    try:
        lake = open_lake(url, settings.model_copy(update={"s3_timeout_seconds": min(settings.s3_timeout_seconds, 5.0)}))
        lake.put(probe.path, _ROW)
    except (IsothermError, OSError) as error:
        unknown = "no object can be written to the lake: whether the server reads it is not known"
        yield Finding("olap", "warning", unknown, str(error))
        return
    try:
        yield _read(olap, lake, probe)
    finally:
        with suppress(IsothermError, OSError):
            lake.delete(probe.path)
            if isinstance(lake.place, LocalPlace):
                (lake.place.root / "doctor").rmdir()


_ROW: Final = b'{"client_id":"doctor","screen_id":"","event_type":"","event_time":7,"x_norm":null,"y_norm":null}\n'
_SOON: Final = "SETTINGS s3_retry_attempts = 1, s3_request_timeout_ms = 4000, max_execution_time = 8"


def _read(olap: ServerOlap, lake: Lake, probe: _Probe) -> Finding:
    sources = Sources(lake)
    try:
        with sources.reading():
            table = sources.of([probe]).table
            found = (
                olap.query(f"SELECT sum(event_time) AS n FROM {table} {_SOON}", None, "migrate").column("n")[0].as_py()
            )
    except OperationalError:
        raise
    except (DatabaseError, IsothermError) as error:
        return Finding("olap", "error", f"the server cannot read the lake ({_short(error)})", _advice(error, lake))
    if found != 7:
        return Finding("olap", "error", "the server reads something else than what is in the lake", _advice(None, lake))
    return Finding("olap", "ok", f"the server reads the lake at {lake.where('')}")


def _advice(error: Exception | None, lake: Lake) -> str:
    local = isinstance(lake.place, LocalPlace)
    if getattr(error, "code", None) == _DENIED:
        return f"GRANT CREATE TEMPORARY TABLE, {'FILE' if local else 'S3'} ON *.* to the user: tile jobs read the lake"
    if local:
        return (
            "run the server on this machine, with the lake's folder below its user_files_path; or have the lake on S3"
        )
    return (
        "each tile job reads the lake from the server: name an endpoint in `lake` that it reaches too (127.0.0.1 is "
        "the server itself there), and keys that may read"
    )
