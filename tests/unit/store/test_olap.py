"""What only one of the tile stores has: chDB's folder, a server's address, layouts of a cluster as text."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.rollup.retention import expire, set_backstop
from isotherm.store.db import open_db
from isotherm.store.olap import Olap, open_olap
from isotherm.store.olap_layout import Layout
from isotherm.store.olap_migrate import MIGRATIONS, migrate
from isotherm.store.olap_server import server_settings
from isotherm.store.olap_target import read_layout, read_target

SINGLE = Layout("isotherm")
REPLICATED = Layout("isotherm", replicated=True)
CLUSTER = Layout("isotherm", "tiles")
BOTH = Layout("isotherm", "tiles", replicated=True)
FOUR = {"single": SINGLE, "replicated": REPLICATED, "cluster": CLUSTER, "cluster and replicated": BOTH}
each_layout = pytest.mark.parametrize("layout", FOUR.values(), ids=FOUR)


def maps_ddl(layout: Layout) -> list[str]:
    """The statements of the first migration, without comments, each on one line."""
    text = (MIGRATIONS / "0001_maps.sql").read_text()
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [" ".join(statement.split()) for statement in layout.render(plain)]


class Recorder:
    """A store that runs nothing: it keeps what it was told, and answers queries with what it was given."""

    def __init__(self, layout: Layout, olap: Olap, engines: dict[str, str] | None = None) -> None:
        self.engines = engines or {}
        self.where = "nowhere"
        self.embedded = False
        self.layout = layout
        self.said: list[str] = []
        self._olap = olap

    def command(self, sql: str, params: Any = None, profile: str = "write") -> None:
        self.said.append(sql)

    def query(self, sql: str, params: Any = None, profile: str = "read") -> Any:
        if "FROM migrations" in sql:
            return self._olap.query("SELECT toUInt32(1) AS number WHERE 0")
        if "engine FROM system.tables" in sql:
            return pa.Table.from_pylist([{"name": n, "engine": e} for n, e in self.engines.items()])
        if "system.tables" in sql:
            return self._olap.query("SELECT '' AS q")
        if "GROUP BY period" in sql:
            return self._olap.query("SELECT toUInt32(202601) AS period, toUInt32(0) AS latest")
        return self._olap.query("SELECT {n:UInt64} AS n", {"n": 0})

    def insert(self, table: str, rows: Any) -> None:
        raise AssertionError("nothing inserts here")

    def ping(self) -> None: ...
    def close(self) -> None: ...


def all_statements(layout: Layout, olap: Olap, folder: Path) -> Recorder:
    """What migrations and retention say to a new store of this layout with old maps in it."""
    recorder = Recorder(layout, olap)
    migrate(recorder)
    set_backstop(recorder, Settings())
    database = open_db(f"sqlite://{folder / 'isotherm.db'}")
    expire(database, recorder, 1_790_000_000_000, Settings())
    database.dispose()
    return recorder


def test_one_server_has_plain_tables() -> None:
    table, *views = maps_ddl(SINGLE)
    assert table.startswith("CREATE TABLE IF NOT EXISTS maps ( client_id LowCardinality(String),")
    assert " ENGINE = ReplacingMergeTree(version) PARTITION BY (level, " in table
    assert [view[:42] for view in views] == [
        "CREATE VIEW IF NOT EXISTS heatmap_hourly A",
        "CREATE VIEW IF NOT EXISTS heatmap_daily AS",
        "CREATE VIEW IF NOT EXISTS heatmap_weekly A",
    ]


def test_replicas_share_a_path_per_shard_and_database() -> None:
    table = maps_ddl(REPLICATED)[0]
    assert table.startswith("CREATE TABLE IF NOT EXISTS maps (")
    assert (
        " ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/isotherm/maps', '{replica}', version) "
    ) in table


def test_a_cluster_has_a_table_per_node_and_one_in_front_sharded_by_client() -> None:
    table, front, *views = maps_ddl(CLUSTER)
    assert table.startswith("CREATE TABLE IF NOT EXISTS maps_local ON CLUSTER 'tiles' ( client_id")
    assert " ENGINE = ReplacingMergeTree(version) " in table
    assert front == (
        "CREATE TABLE IF NOT EXISTS maps ON CLUSTER 'tiles' AS maps_local"
        " ENGINE = Distributed('tiles', 'isotherm', 'maps_local', sipHash64(client_id))"
    )
    assert len(views) == 3
    assert all(" ON CLUSTER 'tiles' AS SELECT " in view and " FROM maps FINAL " in view for view in views)


def test_a_replicated_cluster_has_both() -> None:
    table, front, *_ = maps_ddl(BOTH)
    assert table.startswith("CREATE TABLE IF NOT EXISTS maps_local ON CLUSTER 'tiles' (")
    place = "'/clickhouse/tables/{shard}/isotherm/maps_local', '{replica}'"
    assert f" ENGINE = ReplicatedReplacingMergeTree({place}, version) " in table
    assert " ENGINE = Distributed('tiles', 'isotherm', 'maps_local', sipHash64(client_id))" in front


@each_layout
def test_every_statement_of_every_layout_is_one_that_clickhouse_can_parse(
    shared_olap: Olap, layout: Layout, tmp_path: Path
) -> None:
    recorder = all_statements(layout, shared_olap, tmp_path)
    assert len(recorder.said) > 8
    for statement in recorder.said:
        assert "@" not in statement
        shown = shared_olap.query("SELECT formatQuery({sql:String}) AS q", {"sql": statement})
        assert shown.column("q")[0].as_py()


@each_layout
def test_what_changes_tables_names_the_one_that_holds_rows_on_every_node(
    shared_olap: Olap, layout: Layout, tmp_path: Path
) -> None:
    recorder = all_statements(layout, shared_olap, tmp_path)
    held = "maps_local ON CLUSTER 'tiles'" if layout.cluster else "maps"
    changes = [" ".join(said.split()) for said in recorder.said if said.startswith(("ALTER", "DELETE"))]
    assert [said for said in changes if said.startswith("ALTER") and " DROP PARTITION " in said] == [
        f"ALTER TABLE {held} DROP PARTITION ('{level}', 202601)" for level in ("hour", "day", "week")
    ]
    assert len([said for said in changes if said.startswith(f"ALTER TABLE {held} MODIFY TTL ")]) == 1
    assert len(changes) == 4
    records = [said for said in recorder.said if "EXISTS migrations" in said]
    assert records[0].count("Replicated") == int(layout.replicated)
    assert len(records) == 1 + bool(layout.cluster)


ENGINES = {
    "single": {"maps": "ReplacingMergeTree", "migrations": "MergeTree"},
    "replicated": {"maps": "ReplicatedReplacingMergeTree", "migrations": "ReplicatedMergeTree"},
    "cluster": {"maps": "Distributed", "migrations": "Distributed", "migrations_local": "MergeTree"},
    "cluster and replicated": {"maps": "Distributed", "maps_local": "ReplicatedReplacingMergeTree"},
}


@pytest.mark.parametrize("made", ENGINES)
@pytest.mark.parametrize("now", FOUR)
def test_tables_of_one_layout_are_never_used_by_another(shared_olap: Olap, made: str, now: str) -> None:
    recorder = Recorder(FOUR[now], shared_olap, ENGINES[made])
    if made == now:
        migrate(recorder)
        return
    with pytest.raises(ConfigError, match=r"were made with(out)? clickhouse_(cluster|replicated).* another database"):
        migrate(recorder)
    assert recorder.said == []


def test_tables_that_a_cloud_shares_are_taken_as_they_are(shared_olap: Olap) -> None:
    for layout in (SINGLE, REPLICATED):
        migrate(Recorder(layout, shared_olap, {"maps": "SharedReplacingMergeTree", "migrations": "SharedMergeTree"}))


def test_settings_of_a_layout_make_an_insert_durable_and_a_read_whole() -> None:
    single, replicated, cluster, both = (server_settings(layout) for layout in FOUR.values())
    assert single["async_insert"] == 0
    assert both == single | replicated | cluster
    assert cluster["distributed_foreground_insert"] == 1
    assert cluster["skip_unavailable_shards"] == 0
    assert (replicated["insert_quorum"], replicated["select_sequential_consistency"]) == ("auto", 1)
    assert "insert_quorum" not in cluster
    assert "distributed_foreground_insert" not in replicated


def test_tls_checks_certificates_and_has_its_own_port(tmp_path: Path) -> None:
    plain = read_target("clickhouse://default@ch.example/isotherm", Settings())
    secure = read_target("clickhouses://ana:p%40ss@ch.example/isotherm?ca_cert=/etc/ca.pem", Settings())
    assert plain.client_arguments() == {
        "interface": "http", "host": "ch.example", "port": 8123, "username": "default", "password": "",
    }  # fmt: skip
    assert secure.client_arguments() == {
        "interface": "https", "host": "ch.example", "port": 8443, "username": "ana", "password": "p@ss",
    }  # fmt: skip
    assert secure.pool_arguments() == {"verify": True, "ca_cert": "/etc/ca.pem"}
    assert plain.pool_arguments() == {"verify": True, "ca_cert": None}
    assert (secure.database, secure.address) == ("isotherm", "https://ch.example:8443")
    with pytest.raises(ConfigError, match="no such file of certificates"):
        open_olap(f"clickhouses://default@127.0.0.1:1/isotherm?ca_cert={tmp_path / 'none.pem'}", Settings())


def test_a_password_comes_from_the_url_or_the_settings_and_is_never_shown() -> None:
    given = Settings(clickhouse_password="from-settings")
    assert read_target("clickhouse://ana@h/isotherm", given).password == "from-settings"
    target = read_target("clickhouse://ana:from-url@h/isotherm", given)
    assert target.password == "from-url"
    assert "from-url" not in f"{target!r} {target.address}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("duckdb:///x", "known: chdb, clickhouse, clickhouses"),
        ("chdb:relative", "absolute folder"),
        ("clickhouse://:secret@/x", "names no host"),
        ("clickhouse://ana:secret@h:99999/x", "port"),
        ("clickhouse://ana:secret@h/x;DROP", "not a database name"),
        ("clickhouse://ana:secret@h/x?verify=no", "unknown options: verify"),
    ],
)
def test_urls_that_cannot_be_opened_say_why(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_olap(url, Settings())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a'b", "a b", "{", "x;y"])
def test_names_of_clusters_are_checked(name: str) -> None:
    target = read_target("clickhouse://h/x", Settings())
    with pytest.raises(ConfigError, match="clickhouse_cluster"):
        read_layout(target, Settings(clickhouse_cluster=name))
    for good, replicated in itertools.product(("tiles", "{cluster}", "my-c.1"), (True, False)):
        made = read_layout(target, Settings(clickhouse_cluster=good, clickhouse_replicated=replicated))
        assert made == Layout("x", good, replicated)


def test_another_process_is_told_that_isotherm_runs_already(shared_olap: Olap) -> None:
    program = (
        "import sys\nfrom isotherm.config import Settings\nfrom isotherm.store.olap import open_olap\n"
        "open_olap(sys.argv[1], Settings())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"chdb://{shared_olap.where}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "ConfigError" in done.stderr
    assert "isotherm runs on this data folder" in done.stderr


def test_a_second_folder_in_one_process_is_refused(shared_olap: Olap, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another chDB folder"):
        open_olap(f"chdb://{tmp_path / 'other'}", Settings())


def test_the_caches_of_the_store_in_this_process_are_small(shared_olap: Olap, tmp_path: Path) -> None:
    # More footers than the cache may hold: each is some 30 kB of memory for a file of this many columns.
    pq.write_table(pa.table({f"column_{n}": [n] for n in range(64)}), tmp_path / "0.parquet")
    for number in range(1, 500):
        (tmp_path / f"{number}.parquet").hardlink_to(tmp_path / "0.parquet")
    rows = shared_olap.query(
        f"SELECT sum(column_1) AS n FROM file('{tmp_path}/*.parquet', 'Parquet')", None, "maintain"
    )
    assert rows.to_pylist() == [{"n": 500}]
    names = ("ParquetMetadataCacheBytes", "QueryConditionCacheBytes")
    held = shared_olap.query(f"SELECT metric, value FROM system.metrics WHERE metric IN {names}").to_pylist()
    found = {row["metric"]: row["value"] for row in held}
    assert 0 < found["ParquetMetadataCacheBytes"] <= 16 << 20
    assert found["QueryConditionCacheBytes"] == 0
