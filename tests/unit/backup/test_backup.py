"""A backup holds everything of one moment, only new things are copied, and a deployment can be made of it again."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from interrupting import Killed, killing
from landing import NOW, event, record
from msgspec.structs import replace

from isotherm.backup import keep, marks, unfinished
from isotherm.backup.inventory import Damaged, Entry, Inventory, object_path
from isotherm.backup.restore import STEPS as RESTORE_STEPS
from isotherm.backup.restore import choose
from isotherm.backup.tables import LEFT_OUT, Loader
from isotherm.backup.take import STEPS, take
from isotherm.backup.target import Target, open_target
from isotherm.backup.work import ADDING, REMOVING, adding, removing
from isotherm.clock import DAY_MS, HOUR_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import ConfigError, IsothermError
from isotherm.eventlog.port import Record, open_log
from isotherm.events import FLAG_IMPORT, FLAG_REPLAY, record_id, replay_id
from isotherm.land import rounds
from isotherm.land.merge import merge_closed
from isotherm.land.retention import expire_raw
from isotherm.store.db import migrate_within, open_db, writing
from isotherm.store.tables import metadata

HOUR = NOW - NOW % HOUR_MS


def place(folder: Path) -> Target:
    return open_target(f"file://{folder}", Settings(data=folder.parent), make=True)


def objects(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_size for p in (folder / "objects").rglob("*") if p.is_file()}


def test_everything_comes_back(full: Any, make: Any, target: Target) -> None:
    inventory = full.back_up(target)
    assert inventory.log.records == 2
    assert inventory.events == sum(full.landed().values())
    before = {name: full.rows(name) for name in metadata.tables if name not in LEFT_OUT}
    other = make("restored")
    report = other.restore(target)
    assert report.records == 2
    assert report.retiled == 0
    assert {name: other.rows(name) for name in before} == before
    other.expected = full.expected
    other.prove()


def test_the_second_backup_copies_only_what_is_new(full: Any, target: Target, tmp_path: Path) -> None:
    begun = full.back_up(target)
    assert rounds.of(full.engine, "backup")[1]["id"] == begun.id
    first = objects(tmp_path / "backups")
    again = full.back_up(target)
    unchanged = set(objects(tmp_path / "backups")) - set(first)
    # Nothing changed but the sequence that leases draw no version from: at most tables differ.
    assert again.copied_objects == len(unchanged) <= 1
    full.land()
    full.tile()
    full.send("c")
    third = full.back_up(target)
    kinds = [e.kind for e in target.entries(third) if e.sha256 not in first]
    assert "lake" in kinds
    old = [e for e in target.entries(third) if e.kind in ("lake", "maps") and e.sha256 in first]
    assert old
    assert keep.verify(target, target.inventories()).problems == []


def test_a_restore_takes_the_newest_backup_at_that_time(full: Any, make: Any, target: Target) -> None:
    first = full.back_up(target)
    full.world.clock.advance(10_000)
    full.send("c")
    second = full.back_up(target)
    assert choose(target).id == second.id
    assert choose(target, second.started_at - 1).id == first.id
    with pytest.raises(IsothermError, match="no backup from"):
        choose(target, first.started_at - 60_000)
    other = make("restored")
    other.restore(target, at=second.started_at - 1)
    assert "c" not in {row[0] for row in other.rows("ledger")}


def test_a_batch_that_comes_again_after_the_restore_does_not_count_twice(full: Any, make: Any, target: Target) -> None:
    full.send("a", batch="again", events=3)
    full.land()
    full.send("a", batch="waiting", events=2)
    full.back_up(target)
    other = make("restored")
    assert other.restore(target).ids > 0
    other.expected = dict(full.expected)
    other.send("a", batch="again", events=3)
    other.send("a", batch="waiting", events=2)
    other.prove()
    assert other.expected == full.expected


@pytest.mark.parametrize("step", ["dead", "ids", "records"])
def test_a_batch_of_the_time_of_the_backup_counts_once_when_it_comes_again(
    full: Any, make: Any, target: Target, step: str
) -> None:
    """In the backup with its id, or neither: an id alone would refuse the only copy that is left."""

    def late(name: str) -> None:
        if name == step:
            full.send("a", batch="late", events=3)

    full.back_up(target, checkpoint=late)
    other = make("restored")
    other.restore(target)
    other.send("a", batch="late", events=3)
    other.expected = full.expected
    other.prove()


def test_pieces_of_one_replayed_batch_all_come_back(full: Any, make: Any, target: Target) -> None:
    """Such records share their batch with the one that the sender sent, and with each other."""
    full.send("a", batch="sent", events=1)
    for position in (1, 2, 3):
        flags = [FLAG_IMPORT, FLAG_REPLAY] if position < 3 else [FLAG_IMPORT]
        one = record("a", "sent", [event(NOW)], positions=[position], flags=flags)
        identity = replay_id("a", "sent", HOUR, [position]) if position < 3 else None
        full.log.append([replace(one, id=identity)])
    full.expected["a"] += 3
    full.back_up(target)
    other = make("restored")
    other.restore(target)
    other.expected = full.expected
    other.prove()
    full.prove()


def test_on_the_log_it_came_from_nothing_is_appended_again(full: Any, make: Any, target: Target) -> None:
    full.back_up(target)
    full.send("a", events=11)
    full.log.close()
    full.dead.close()
    # The log's folder survived, everything else is lost.
    other = make("restored", log=full.settings.url("log"))
    report = other.restore(target)
    assert (report.records, report.ids, report.forgotten) == (0, 0, 0)
    other.expected = full.expected
    other.prove()


def test_a_log_that_forgot_what_came_after_the_backup_says_how_much_is_lost(
    full: Any, make: Any, target: Target
) -> None:
    full.back_up(target)
    held = dict(full.expected)
    full.send("a", events=11)
    full.land()
    full.world.clock.advance(10 * DAY_MS)
    now = full.world.clock.now_ms()
    # What waited at the backup's moment goes as well, and is in the backup.
    while full.log.expire(now, {0: full.log.head(0)}):
        pass
    assert full.log.status().tail[0] == 7
    full.log.close()
    full.dead.close()
    other = make("restored", log=full.settings.url("log"))
    report = other.restore(target)
    assert (report.forgotten, report.records) == (1, 2)
    other.land()
    assert other.landed() == held


def test_a_bucket_that_moved_on_during_the_backup_is_tiled_again(full: Any, make: Any, target: Target) -> None:
    def late(step: str) -> None:
        if step == "tables":
            full.land()
            full.tile()

    full.back_up(target, checkpoint=late)
    other = make("restored")
    report = other.restore(target)
    assert report.retiled >= 2
    other.expected = full.expected
    other.prove()


def test_everything_goes_on_while_a_backup_is_taken(full: Any, make: Any, target: Target) -> None:
    world, held = full.world, dict[str, int]()

    def busy(step: str) -> None:
        if step == "records":
            held.update(full.expected)
        full.send("a", "b", events=3)
        full.land()
        if step in ("tables", "lake"):
            full.tile()
            assert merge_closed(full.settings, world.lake, world.manifest, world.clock.now_ms() + 2 * HOUR_MS)
            world.manifest.sweep(world.lake)

    full.back_up(target, checkpoint=busy)
    assert held != full.expected
    other = make("restored")
    other.restore(target)
    other.expected = held
    other.prove()


def of_the_data(target: Target, inventory: Inventory) -> set[tuple[str, str, str]]:
    """What a backup holds besides tables, in which every backup and lease leaves something."""
    return {(e.kind, e.name, e.sha256) for e in target.entries(inventory) if e.kind != "table"}


def test_a_backup_that_was_killed_is_none_and_the_next_goes_on(full: Any, make: Any, tmp_path: Path) -> None:
    """At every step, each time to another place: the next backup there holds what one holds that was not killed."""
    whole, killed = place(tmp_path / "whole"), list[str]()
    expected = of_the_data(whole, full.back_up(whole))
    assert {kind for kind, _, _ in expected} == {"lake", "maps", "records", "ids"}
    for step in STEPS:
        folder = tmp_path / f"to-{step}"
        target = place(folder)
        with pytest.raises(Killed):
            full.back_up(target, checkpoint=killing(step))
        assert len(target.inventories()) == (step == "inventory")
        there = objects(folder)
        done = full.back_up(target)
        assert set(there) <= set(objects(folder))
        assert done.copied_objects == len(set(objects(folder)) - set(there))
        assert keep.verify(target, target.inventories()).problems == []
        assert of_the_data(target, done) == expected
        killed.append(step)
    assert tuple(killed) == STEPS
    other = make("restored")
    other.restore(target)
    other.expected = full.expected
    other.prove()


def test_a_restore_that_was_killed_is_refused_by_all_and_finished_by_the_same_command(
    full: Any, make: Any, target: Target
) -> None:
    full.back_up(target)
    maps, listed = full.maps(), sorted(full.world.lake.list())
    before = {name: full.rows(name) for name in metadata.tables if name not in LEFT_OUT}
    for step in RESTORE_STEPS:
        other = make(f"restored-{step}")
        with pytest.raises(Killed):
            other.restore(target, checkpoint=killing(step))
        if step != "unmarked":
            with pytest.raises(IsothermError, match="interrupted"):
                unfinished.refuse_unfinished(other.settings.data)
        if step not in ("tables", "unmarked"):
            with pytest.raises(IsothermError, match="interrupted"):
                marks.refuse_unfinished_store(other.engine)
        other.restore(target, force=step == "unmarked")
        unfinished.refuse_unfinished(other.settings.data)
        marks.refuse_unfinished_store(other.engine)
        assert {name: other.rows(name) for name in before} == before
        assert (other.maps(), sorted(other.world.lake.list())) == (maps, listed)
        # What had waited lands once, however often it was put on the log.
        other.land()
        assert other.landed() == full.expected
    other.expected = full.expected
    other.prove()


def test_a_used_deployment_is_refused_and_replaced_by_force(full: Any, make: Any, target: Target) -> None:
    full.back_up(target)
    for name, used in (("log", ("log",)), ("lake", ("lake",)), ("all", ("log", "lake", "database"))):
        other = make(name)
        if "log" in used:
            other.send("z")
        if "lake" in used:
            other.world.lake.put("dt=x/other", b"x")
        if "database" in used:
            other.land()
        with pytest.raises(IsothermError, match="not empty") as refused:
            other.restore(target)
        for one in used:
            assert one in str(refused.value)
        assert unfinished.read_file(other.settings.data) is None
    other.restore(target, force=True)
    assert {row[0] for row in other.rows("ledger")} == {"a", "b"}


@pytest.mark.parametrize("kind", ["lake", "table", "records", "maps", "list"])
def test_a_damaged_object_is_named_and_refused(kind: str, full: Any, make: Any, target: Target, tmp_path: Path) -> None:
    inventory = full.back_up(target)
    entry = next(e for e in (*inventory.lists, *target.entries(inventory)) if e.kind == kind)
    path = tmp_path / "backups" / object_path(entry.sha256)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    for how, content in (("flipped", flipped), ("truncated", whole[:-1]), ("gone", None)):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        problems = set(keep.verify(target, target.inventories()).problems)
        assert len(problems) == 1
        assert entry.sha256 in problems.pop()
        other = make(how)
        with pytest.raises(Damaged, match=entry.sha256):
            other.restore(target)
        with pytest.raises(IsothermError, match="interrupted"):
            unfinished.refuse_unfinished(other.settings.data)
        # Nothing damaged was put into the lake.
        assert (entry.name, len(whole)) not in set(other.world.lake.list())
        path.write_bytes(whole)


def test_an_object_that_was_taken_away_is_copied_again(full: Any, target: Target, tmp_path: Path) -> None:
    inventory = full.back_up(target)
    kinds = ("lake", "table", "records", "maps", "list")
    everything = [*inventory.lists, *target.entries(inventory)]
    gone = {kind: next(e for e in everything if e.kind == kind) for kind in kinds}
    paths = {kind: tmp_path / "backups" / object_path(entry.sha256) for kind, entry in gone.items()}
    whole = {kind: path.read_bytes() for kind, path in paths.items()}
    for path in paths.values():
        path.unlink()
    full.back_up(target)
    assert {kind: path.read_bytes() for kind, path in paths.items()} == whole


def test_a_lake_file_that_is_not_whole_stops_the_backup_and_no_other_file(full: Any, target: Target) -> None:
    spoilt, *others = full.world.manifest.listed()
    path = full.world.lake.root / spoilt.path
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(IsothermError, match=r"1 of the lake's files cannot be backed up: .*" + spoilt.path):
        full.back_up(target)
    assert target.inventories() == []
    assert len(target.sizes()) >= len(others)


def test_old_backups_are_pruned_with_what_only_they_needed(full: Any, target: Target) -> None:
    clock = full.world.clock
    for _ in range(3):
        full.send("a")
        full.land()
        full.back_up(target)
        clock.advance(2_000)
    removed = keep.prune(target, 2, clock)
    assert removed.backups == 1
    assert removed.objects > 0
    assert len(target.inventories()) == 2
    assert keep.verify(target, target.inventories()).problems == []
    assert keep.prune(target, 2, clock) == keep.Pruned(0, 0, 0)


def test_lists_that_backups_share_are_read_once(full: Any, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    full.land()
    for _ in range(3):
        full.back_up(target)
    read: list[str] = []
    entries = target.entries

    def counted(inventory: Any) -> Any:
        read.extend(one.sha256 for one in inventory.lists)
        return entries(inventory)

    monkeypatch.setattr(target, "entries", counted)
    for work in (lambda: keep.verify(target, target.inventories()), lambda: keep.prune(target, 3, full.world.clock)):
        read.clear()
        work()
        assert read
        assert len(read) == len(set(read))
    assert keep.verify(target, target.inventories()).problems == []


def test_backups_and_pruning_keep_out_of_each_other_s_way(full: Any, target: Target) -> None:
    clock = full.world.clock
    with adding(target, clock), pytest.raises(IsothermError, match="a backup to"):
        keep.prune(target, 1, clock)
    with removing(target, clock), pytest.raises(IsothermError, match="being removed"):
        full.back_up(target)
    with adding(target, clock):
        full.back_up(target)
    # What a killed process left counts for an hour.
    for kind in (ADDING, REMOVING):
        target.put_sign(f"{kind}/{clock.now_ms()}-dead-1")
    with pytest.raises(IsothermError, match="a backup to"):
        keep.prune(target, 1, clock)
    clock.advance(HOUR_MS + 1)
    keep.prune(target, 1, clock)
    assert target.signs(ADDING) == target.signs(REMOVING) == []


def test_the_lake_s_files_stay_while_they_are_copied(full: Any, make: Any, target: Target) -> None:
    world = full.world

    def sweeping(step: str) -> None:
        if step == "tables":
            # Everything that the backup is about to copy is off the list, and would be swept at once.
            assert expire_raw(full.settings, world.manifest, world.clock.now_ms() + 731 * DAY_MS)
            world.manifest.sweep(world.lake)

    try:
        full.back_up(target, checkpoint=sweeping)
    finally:
        assert full.rows("snapshots") == []
    assert world.manifest.sweep(world.lake)
    other = make("restored")
    other.restore(target)
    other.expected = full.expected
    other.prove()


def test_a_place_without_room_says_so(full: Any, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from isotherm.land import lake_local

    def full_disk(path: Path, data: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lake_local, "_create", full_disk)
    with pytest.raises(IsothermError, match="No space left on device"):
        full.back_up(target)
    monkeypatch.undo()
    assert target.inventories() == []
    full.back_up(target)
    assert keep.verify(target, target.inventories()).problems == []


def test_ids_of_the_log_are_those_that_were_appended(full: Any, target: Target) -> None:
    inventory = full.back_up(target)
    (entry,) = [e for e in target.entries(inventory) if e.kind == "ids"]
    with target.fetched(entry) as file:
        raw = file.read()
    kept = {raw[at : at + 16] for at in range(0, len(raw), 16)}
    assert kept == {record_id("ab"[n % 2], f"b{n}") for n in range(6)}


def test_tables_are_parquet_that_anybody_reads(full: Any, target: Target) -> None:
    inventory = full.back_up(target)
    entry = next(e for e in target.entries(inventory) if e.name.startswith("ledger/"))
    with target.fetched(entry) as file:
        rows = pq.read_table(file).to_pylist()
    assert [tuple(row.values()) for row in rows] == full.rows("ledger")


def test_dead_letters_that_wait_come_back_and_handled_ones_do_not(full: Any, make: Any, target: Target) -> None:
    full.dead.append([Record("a", value, NOW, None) for value in (b"first", b"handled", b"third")])
    with writing(full.engine) as connection:
        row = {"log": full.dead.identity, "partition": 0, "offset": 1, "state": "dropped", "changed_at": NOW}
        connection.execute(sa.insert(metadata.tables["dead_letters"]).values(accepted=0, **row))
    full.back_up(target)
    other = make("restored")
    assert other.restore(target).letters == 2
    assert [stored.value for stored in other.dead.read(0, 0)] == [b"first", b"third"]


def test_secrets_are_not_in_the_inventory(make: Any, target: Target, tmp_path: Path) -> None:
    one = make("secret", token="hush-hush", s3_secret_access_key="psst", s3_access_key_id="key")
    inventory = one.back_up(target)
    assert "token" not in inventory.settings
    assert inventory.settings["late_horizon_days"] == "30"
    for path in (tmp_path / "backups" / "backups").iterdir():
        assert "hush" not in path.read_text()
        assert "psst" not in path.read_text()


@pytest.mark.parametrize("url", ["lmdb:///x", "/folder", "s3:///nothing"])
def test_a_place_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_target(url, Settings(data=tmp_path), make=True)


def test_a_place_inside_the_lake_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with pytest.raises(ConfigError, match="inside the lake"):
        open_target(f"{settings.url('lake')}/backups", settings, make=True)
    with pytest.raises(ConfigError, match="no such folder"):
        open_target(f"file://{tmp_path / 'none'}", settings, make=False)


def test_an_older_schema_is_brought_up_to_date(full: Any, make: Any, target: Target, tmp_path: Path) -> None:
    """Rows of revision 0006 go into tables of 0006; what came later is made by the migrations."""
    old = make("old", revision="head")
    assert take(old.sources(), target).tables["files"] == 0

    engine = open_db(f"sqlite://{tmp_path / 'old.db'}", "0006")
    try:
        with writing(engine) as connection:
            loader = Loader(connection, ["arrivals"])
            import pyarrow as pa

            rows = pa.table({"client_id": ["a"], "accepted": [3], "last_received_at": [5]})
            assert loader.load("arrivals", rows) == 1
            migrate_within(connection)
        with writing(engine) as connection:
            found = connection.execute(metadata.tables["arrivals"].select()).all()
            assert [tuple(row) for row in found] == [("a", 3, 5)]
            assert connection.execute(metadata.tables["retired"].select()).all() == []
    finally:
        engine.dispose()


def test_entries_name_no_path_outside(target: Target) -> None:
    with pytest.raises(Damaged, match="no SHA-256"):
        target.check(Entry("lake", "x", "../../etc/passwd", 1))


def test_a_lake_file_that_would_lead_out_of_the_lake_is_damage(full: Any, make: Any, target: Target) -> None:
    inventory = full.back_up(target)
    named = [replace(one, name="../../evil") if one.kind == "lake" else one for one in target.entries(inventory)]
    lists = [target.write_list(named, target.known(), "lake")]
    target.finish(replace(inventory, lists=lists, id="0" * 12, started_at=inventory.started_at + 5_000))
    with pytest.raises(Damaged, match="evil"):
        make("other").restore(target)


def test_a_log_in_memory_tells_its_ids(tmp_path: Path) -> None:
    log = open_log(Settings(data=tmp_path, log="memory://"), ManualClock(NOW))
    log.append([record("a", "x", [event(NOW)])])
    assert [one for _, one in log.ids_since(0)] == [record_id("a", "x")]
    assert list(log.ids_since(NOW + 1)) == []
    log.close()
