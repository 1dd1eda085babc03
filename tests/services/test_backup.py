"""Backups in a bucket, and deployments that are made of them on other stores than they came from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from backing_up import Maker, deployments, fill

from isotherm.backup import keep
from isotherm.backup.inventory import Damaged, object_path
from isotherm.backup.tables import LEFT_OUT
from isotherm.backup.target import Target, open_target
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.store.olap import Olap
from isotherm.store.tables import metadata

pytestmark = pytest.mark.services


@pytest.fixture
def make(tmp_path: Path, empty_olap: Olap) -> Iterator[Maker]:
    with deployments(tmp_path, empty_olap) as made:
        yield made


def in_bucket(server: Any, prefix: str) -> dict[str, str]:
    """Settings of a deployment whose lake is in a new bucket of the server."""
    bucket = server.make_bucket()
    return {
        "lake": f"s3://{bucket}/{prefix}?endpoint={quote(server.endpoint, safe='')}",
        "s3_access_key_id": server.access_key,
        "s3_secret_access_key": server.secret_key,
    }


def place(server: Any, folder: Path) -> tuple[str, Target]:
    """A new bucket for backups, and its name."""
    said = in_bucket(server, "kept/here")
    url = said.pop("lake")
    settings = Settings(data=folder, s3_timeout_seconds=3, **said)
    return url.split("/")[2], open_target(url, settings, make=True)


def test_a_lake_in_a_bucket_is_backed_up_to_a_bucket_and_comes_back_to_a_folder(
    versitygw: Any, make: Maker, tmp_path: Path
) -> None:
    source = make("source", **in_bucket(versitygw, "some/lake"))
    fill(source)
    bucket, target = place(versitygw, tmp_path)
    inventory = source.back_up(target)
    again = source.back_up(target)
    assert again.copied_objects <= 1
    assert keep.verify(target, target.inventories()).problems == []
    other = make("restored")
    other.restore(target)
    other.expected = source.expected
    other.prove()
    back = make("back", **in_bucket(versitygw, "another"))
    back.restore(target)
    back.expected = source.expected
    back.prove()
    # One object is cut, as no part of the program would do it.
    entry = next(e for e in target.entries(inventory) if e.kind == "lake")
    path = f"/{bucket}/kept/here/{object_path(entry.sha256)}"
    raw = versitygw.requests().ask("GET", path)[1]
    assert versitygw.requests().ask("PUT", path, raw[:-1])[0] == 200
    (problem,) = set(keep.verify(target, target.inventories()).problems)
    assert entry.sha256 in problem
    with pytest.raises(Damaged, match=entry.sha256):
        make("third").restore(target)


def test_a_bucket_that_goes_away_in_the_middle_is_named_and_the_next_backup_goes_on(
    own_versitygw: Any, make: Maker, tmp_path: Path
) -> None:
    source = make("source")
    fill(source)
    _, target = place(own_versitygw, tmp_path)

    def vanish(step: str) -> None:
        if step == "maps":
            own_versitygw.kill9()

    with pytest.raises(IsothermError, match="the backup's place cannot be used"):
        source.back_up(target, checkpoint=vanish)
    assert source.rows("snapshots") == []
    own_versitygw.restart()
    assert target.inventories() == []
    before = len(target.sizes())
    done = source.back_up(target)
    assert done.objects > done.copied_objects >= 1
    assert before > 0


@pytest.mark.parametrize("first", ["sqlite", "postgresql"])
def test_tables_go_from_one_database_to_the_other(first: str, postgres: Any, make: Maker, tmp_path: Path) -> None:
    there = {"db": postgres.new_database()}
    source = make("source", **({} if first == "sqlite" else there))
    fill(source)
    target = open_target(f"file://{tmp_path / 'backups'}", Settings(data=tmp_path), make=True)
    inventory = source.back_up(target)
    assert inventory.database == first
    before = {name: source.rows(name) for name in metadata.tables if name not in LEFT_OUT}
    other = make("restored", **(there if first == "sqlite" else {}))
    other.restore(target)
    assert {name: other.rows(name) for name in before} == before
    other.expected = source.expected
    other.prove()


@pytest.mark.parametrize("to_kafka", [True, False])
def test_what_was_not_landed_goes_from_one_kind_of_log_to_the_other(
    to_kafka: bool, kafka: Any, make: Maker, tmp_path: Path
) -> None:
    topic = f"backup-{uuid4().hex}.raw"
    many = {"kafka_partitions": 2, "kafka_replication": 1, "log_retention_days": 3650, "late_horizon_days": 30}
    kept = {f"{name}_retention_days": 9_000 for name in ("raw", "hourly", "daily", "weekly")}
    there = {"log": f"kafka://{kafka.bootstrap}?topic={topic}"} | many | kept
    source = make("source", **({} if to_kafka else there))
    fill(source)
    source.send("a", batch="landed", events=3)
    source.land()
    source.send("a", batch="waiting", events=2)
    target = open_target(f"file://{tmp_path / 'backups'}", Settings(data=tmp_path), make=True)
    inventory = source.back_up(target)
    assert inventory.log is not None
    assert inventory.log.records == 1
    other = make("restored", **(there if to_kafka else {}))
    report = other.restore(target)
    assert report.records == 1
    # Senders that saw no answer come again: with what was landed, and with what waited.
    other.send("a", batch="landed", events=3)
    other.send("a", batch="waiting", events=2)
    other.expected = source.expected
    other.prove()
