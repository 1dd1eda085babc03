"""The doctor against real servers: healthy, refused, gone, hung, and set up in a way that cannot work."""

import json
import secrets
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import redis as redis_client
import structlog

from isotherm.cli import run
from isotherm.cli.doctor import services
from isotherm.cli.doctor.findings import clock
from isotherm.cli.processes import free_port
from isotherm.config import Settings
from isotherm.store.olap import open_olap
from services.clickhouse import ClickHouseFront, NamedClickHouse
from services.doctor import examine, healthy, lake_of, said, unwell, worst
from services.named import NamedPostgres, NamedRedis, NamedS3
from services.postgres import Postgres
from services.redis import Redis
from services.s3 import Versitygw

# --- PostgreSQL


def test_doctor_finds_a_healthy_database_and_leaves_no_trace(
    postgres: Postgres | NamedPostgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    found = examine(tmp_path, db=url)
    # The server of the tests runs without fsync, which the doctor is right to mention.
    assert {f.finding.partition(":")[0] for f in found if f.grade != "ok"} <= {"fsync is off"}
    assert "may make, write and read tables" in said(found)
    with psycopg.connect(url) as connection:
        count = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert count == (0,)


def test_doctor_knows_the_schema_of_another_version(postgres: Postgres | NamedPostgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    unwell(examine(tmp_path, db=url), "db", "another version (9999)")


def test_doctor_names_rights_that_are_missing(postgres: Postgres | NamedPostgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    user = f"reader_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'x'".encode())
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    parts = urlsplit(url)
    limited = parts._replace(netloc=f"{user}:x@{parts.hostname}:{parts.port}").geturl()
    unwell(examine(tmp_path, db=limited), "db", "GRANT CREATE, USAGE ON SCHEMA public")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {user}".encode())
        connection.execute(f"DROP ROLE {user}".encode())


def test_doctor_says_which_database_is_missing_and_hides_the_password(
    postgres: Postgres | NamedPostgres, tmp_path: Path
) -> None:
    base = postgres.new_database()
    parts = urlsplit(base)
    password = "hidden-in-every-finding"
    url = parts._replace(netloc=f"nobody:{password}@{parts.hostname}:{parts.port}").geturl()
    found = examine(tmp_path, db=url)
    unwell(found, "db", "nobody")
    assert password not in said(found)


@pytest.mark.timeout(120)
def test_doctor_does_not_wait_for_a_database_that_hangs(own_postgres: Postgres, tmp_path: Path) -> None:
    url = own_postgres.new_database()
    own_postgres.cut()
    try:
        unwell(examine(tmp_path, db=url), "db", "connection timeout expired")
    finally:
        own_postgres.resume()
    own_postgres.kill9()
    unwell(examine(tmp_path, db=url), "db", "refused")


# --- Redis


def test_doctor_finds_a_healthy_cache(redis_server: Redis | NamedRedis, tmp_path: Path) -> None:
    for protocol in (2, 3):
        healthy(examine(tmp_path, cache=f"{redis_server.url}?protocol={protocol}"), "cache")


def test_a_cache_that_is_gone_hung_or_full_is_a_warning(own_redis: Redis, tmp_path: Path) -> None:
    with redis_client.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "64mb")
        unwell(examine(tmp_path, cache=own_redis.url), "cache", "allkeys-lru", "warning")
        client.config_set("requirepass", "hidden-in-every-finding")
    unwell(examine(tmp_path, cache=own_redis.url), "cache", "HELLO", "warning")
    wrong = own_redis.url.replace("redis://", "redis://:not-the-hidden-one@")
    found = examine(tmp_path, cache=wrong)
    unwell(found, "cache", "cannot be reached", "warning")
    assert "not-the-hidden-one" not in said(found)
    own_redis.cut()
    try:
        unwell(examine(tmp_path, cache=own_redis.url), "cache", "cannot be reached", "warning")
    finally:
        own_redis.resume()
    own_redis.kill9()
    unwell(examine(tmp_path, cache=own_redis.url), "cache", "cannot be reached", "warning")


# --- S3


@pytest.mark.parametrize("name", ["versitygw", "minio"])
def test_doctor_finds_a_healthy_lake_and_leaves_it_empty(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(name)
    bucket = server.make_bucket()
    found = examine(tmp_path, **lake_of(server, bucket))
    healthy(found, "lake")
    assert "its clock agrees" in said(found)
    assert b"<Key>" not in server.requests().ask("GET", f"/{bucket}")[1]


def test_doctor_says_what_is_wrong_with_a_lake(versitygw: Versitygw | NamedS3, tmp_path: Path) -> None:
    bucket = versitygw.make_bucket()
    unwell(examine(tmp_path, **lake_of(versitygw, "there-is-no-such-bucket")), "lake", "does not exist")
    found = examine(tmp_path, **lake_of(versitygw, bucket, s3_secret_access_key="hidden-in-every-finding"))
    unwell(found, "lake", "s3_secret_access_key")
    assert "hidden-in-every-finding" not in said(found)


@pytest.mark.timeout(120)
def test_doctor_does_not_wait_for_a_lake_that_hangs(own_versitygw: Versitygw, tmp_path: Path) -> None:
    settings = lake_of(own_versitygw, own_versitygw.make_bucket())
    own_versitygw.cut()
    try:
        unwell(examine(tmp_path, **settings), "lake", "s3_timeout_seconds")
    finally:
        own_versitygw.resume()
    own_versitygw.kill9()
    unwell(examine(tmp_path, **settings), "lake", "cannot be used")


# --- ClickHouse: a front over chDB unless a server is named


def test_doctor_finds_a_healthy_tile_store(
    clickhouse_server: ClickHouseFront | NamedClickHouse, tmp_path: Path
) -> None:
    url = clickhouse_server.new_database()
    found = examine(tmp_path, olap=url)
    healthy(found, "olap")
    assert "the first start makes it" in said(found)
    olap = open_olap(url, Settings(data=tmp_path / "data", olap=url))
    try:
        before = olap.query("SELECT name FROM system.tables WHERE database = currentDatabase()").to_pylist()
        found = examine(tmp_path, olap=url)
        healthy(found, "olap")
        assert "may make, fill and read" in said(found)
        after = olap.query("SELECT name FROM system.tables WHERE database = currentDatabase()").to_pylist()
    finally:
        olap.close()
    assert before == after


def test_doctor_says_what_is_wrong_with_a_tile_store(own_clickhouse: ClickHouseFront, tmp_path: Path) -> None:
    url = own_clickhouse.url(user="isotherm")
    found = examine(tmp_path, olap=url, clickhouse_password="hidden-in-every-finding")
    unwell(found, "olap", "clickhouse_password")
    assert "hidden-in-every-finding" not in said(found)
    unwell(examine(tmp_path, olap=own_clickhouse.url(), clickhouse_cluster="nowhere"), "olap", "no cluster nowhere")
    own_clickhouse.cut()
    try:
        unwell(examine(tmp_path, olap=own_clickhouse.url()), "olap", "takes connections but does not answer")
    finally:
        own_clickhouse.resume()
    own_clickhouse.kill9()
    unwell(examine(tmp_path, olap=own_clickhouse.url()), "olap", "cannot be reached")


def tables_of(server: ClickHouseFront) -> bytes:
    sql = "SELECT name FROM system.tables WHERE database = 'default'"
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/?query={quote(sql)}") as answer:
        return answer.read()


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("CREATE TABLE isotherm_doctor", "may not make tables in default"),
        ("INSERT INTO", "may not insert in default"),
        ("SELECT count() AS n FROM isotherm_doctor", "may not read in default"),
        ("MODIFY TTL", "may not alter tables in default"),
        ("DROP PARTITION", "may not drop partitions in default"),
        ("CREATE VIEW", "may not make views in default"),
        ("DROP TABLE", "cannot be dropped and may be left"),
    ],
)
def test_doctor_names_rights_on_clickhouse_that_are_missing(
    own_clickhouse: ClickHouseFront, tmp_path: Path, refused: str, words: str
) -> None:
    own_clickhouse.faults({"match": refused, "do": "fail", "code": 497, "text": "Not enough privileges"})
    found = examine(tmp_path, olap=own_clickhouse.url())
    assert own_clickhouse.hits() == 1
    unwell(found, "olap", words)
    assert "GRANT CREATE TABLE, CREATE VIEW, ALTER" in said(found)
    assert (b"isotherm_doctor" in tables_of(own_clickhouse)) == (refused == "DROP TABLE")


def test_doctor_says_when_the_clusters_cannot_be_seen(own_clickhouse: ClickHouseFront, tmp_path: Path) -> None:
    settings = {"olap": own_clickhouse.url(), "clickhouse_cluster": own_clickhouse.cluster}
    healthy(examine(tmp_path, **settings), "olap")
    own_clickhouse.faults({"match": "system.clusters", "do": "fail", "code": 497, "text": "Not enough privileges"})
    found = examine(tmp_path, **settings)
    unwell(found, "olap", "GRANT SELECT ON system.clusters", "warning")
    assert "may make, fill and read" in said(found)


def test_doctor_has_the_server_read_a_folder(own_clickhouse: ClickHouseFront, tmp_path: Path) -> None:
    url = own_clickhouse.url()
    assert "folder is not there yet" in said(examine(tmp_path, olap=url))
    lake = tmp_path / "data" / "lake"
    assert not lake.exists()
    lake.mkdir(parents=True)
    found = examine(tmp_path, olap=url)
    healthy(found, "olap")
    assert f"the server reads the lake at {lake}" in said(found)
    assert not list(lake.iterdir())
    assert "reads the lake" not in said(examine(tmp_path, olap=url, engine="spark+local")), "Spark reads it there"
    own_clickhouse.faults({"match": "file('", "do": "fail", "code": 291, "text": "not inside user_files"})
    unwell(examine(tmp_path, olap=url), "olap", "below its user_files_path")
    assert not list(lake.iterdir())


def test_doctor_has_the_server_read_a_bucket(
    own_clickhouse: ClickHouseFront, versitygw: Versitygw | NamedS3, tmp_path: Path
) -> None:
    settings = {"olap": own_clickhouse.url(), **lake_of(versitygw, versitygw.make_bucket())}
    found = examine(tmp_path, **settings)
    healthy(found, "olap")
    assert "the server reads the lake at s3://" in said(found)
    denied = {"match": "s3('", "do": "fail", "code": 497, "text": "Not enough privileges: s3('x', 'KEY')"}
    denied["text"] = denied["text"].replace("KEY", versitygw.secret_key)
    own_clickhouse.faults(denied)
    found = examine(tmp_path, **settings)
    unwell(found, "olap", "GRANT CREATE TEMPORARY TABLE, S3 ON *.*")
    assert versitygw.secret_key not in said(found)
    own_clickhouse.faults({"match": "s3('", "do": "fail", "code": 499, "text": "Unable to connect to endpoint"})
    unwell(examine(tmp_path, **settings), "olap", "name an endpoint in `lake` that it reaches too")
    bucket = settings["lake"].removeprefix("s3://").partition("/")[0]
    assert b"<Key>" not in versitygw.requests().ask("GET", f"/{bucket}")[1]


# --- what needs no server


def test_checks_run_beside_each_other(own_redis: Redis, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    named = {"engine": f"spark://127.0.0.1:{port}", "spark_submit": "no-such-spark"}
    found = examine(tmp_path, cache=own_redis.url, **named)
    assert worst(found, "cache") == "ok"
    unwell(found, "engine", "takes no connection")
    assert "no-such-spark is not on this machine" in said(found)


def test_a_check_that_hangs_is_left_at_the_deadline(tmp_path: Path) -> None:
    """Left to itself it would end later, with another finding."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://isotherm@127.0.0.1:{silent.getsockname()[1]}/isotherm"
        late = list(services.examine_services(Settings(data=tmp_path, db=url), deadline_s=1.0))
    unwell(late, "db", "does not answer within the deadline")


def test_a_stream_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"flink://127.0.0.1:{free_port('127.0.0.1')}"
    found = examine(tmp_path, stream=url)
    unwell(found, "stream", "no SQL gateway answers")
    assert "Flink reads Kafka" in said(found)


@pytest.mark.parametrize(
    ("setting", "url", "words"),
    [
        ("log", "pulsar://broker:6650", "unknown scheme 'pulsar'"),
        ("db", "mysql://user:hidden-in-every-finding@host/db", "unknown scheme 'mysql'"),
        ("stream", "storm://host:1", "known: builtin, flink"),
        ("engine", "hadoop", "unknown scheme"),
    ],
)
def test_schemes_that_nobody_knows_are_named(setting: str, url: str, words: str, tmp_path: Path) -> None:
    found = examine(tmp_path, **{setting: url})
    unwell(found, setting, words)
    assert "hidden-in-every-finding" not in said(found)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis" or name.endswith("cache_redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    unwell(examine(tmp_path, cache="redis://127.0.0.1:1/0"), "cache", "pip install 'isotherm[redis]'")


def test_clocks_are_compared_with_the_way_there_left_out() -> None:
    assert clock("db", 1_000_000, 999_000, 1_001_000).grade == "ok"
    assert clock("db", 990_000, 1_000_000, 1_000_500).grade == "warning"
    behind = clock("db", 800_000, 1_000_000, 1_000_500)
    assert (behind.grade, behind.finding) == ("error", "its clock is 200.0 s behind ours")
    assert "ahead of" in clock("db", 1_200_000, 1_000_000, 1_000_500).finding


@pytest.fixture
def logs_as_they_were() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("logs_as_they_were")
def test_the_command_prints_findings_of_services_as_json(
    redis_server: Redis | NamedRedis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = ["--port", "0", "--collect-port", "0"]
    command = ["doctor", "--data", str(tmp_path / "data"), *ports, "--json", "--cache"]
    assert run([*command, redis_server.url]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {f["grade"] for f in found if f["check"] == "cache"} == {"ok"}
    # A cache that is away is a warning: what the client logs about it does not get between the findings.
    assert run([*command, f"redis://127.0.0.1:{free_port('127.0.0.1')}/0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f["grade"] for f in found if f["check"] == "cache"] == ["warning"]
