"""The contract of `isotherm.land.lake.Lake`, on every adapter, and S3 on two servers."""

import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.land.lake import Lake, LocalPlace, S3Place, open_lake

LAKES = ["local", "versitygw", "minio"]
S3 = ["versitygw", "minio"]
HOSTILE = ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/./b", "a\\b", "a\0b", "a\nb", "x#1", "a/", "~/../x"]
UNUSUAL = [
    "dt=2026-01-01/hour=00/client_id=a.b_c-d/part-0-1-2-ff.parquet", "a b/ü+&%/x?y.bin", "q%20r", "*star", "[a]b",
    "日本", "a'b\"c", "{b}", "x:y@z;w,v", "<>|^`", "~x", "..x", "x..",
]  # fmt: skip

Opener = Callable[[str], Lake]


def of_server(server: Any, **more: Any) -> Settings:
    return Settings(s3_access_key_id=server.access_key, s3_secret_access_key=server.secret_key, **more)


@pytest.fixture(params=LAKES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the lake of this name: prefixes of one bucket, folders beside each other."""
    if request.param == "local":
        return lambda name: open_lake(f"file://{tmp_path / 'lakes' / name}", Settings())
    server = request.getfixturevalue(request.param)
    bucket = server.make_bucket()
    return lambda name: open_lake(f"s3://{bucket}/{name}?endpoint={server.endpoint}", of_server(server))


@pytest.fixture
def lake(opened: Opener) -> Lake:
    return opened("some/lake")


@pytest.fixture(params=S3)
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_what_was_put_is_there_until_it_is_deleted(lake: Lake) -> None:
    lake.put("dt=1/a.bin", b"abc")
    lake.put("dt=1/empty.bin", b"")
    lake.put("dt=2/b.bin", memoryview(b"0123456789")[2:6])
    assert [lake.get(path) for path in ("dt=1/a.bin", "dt=1/empty.bin", "dt=2/b.bin")] == [b"abc", b"", b"2345"]
    assert sorted(lake.list()) == [("dt=1/a.bin", 3), ("dt=1/empty.bin", 0), ("dt=2/b.bin", 4)]
    lake.delete("dt=1/a.bin")
    lake.delete("dt=1/a.bin")
    lake.delete("dt=9/none")
    assert sorted(lake.list()) == [("dt=1/empty.bin", 0), ("dt=2/b.bin", 4)]
    lake.put("dt=1/a.bin", b"new")
    assert lake.get("dt=1/a.bin") == b"new"


def test_a_missing_object_is_file_not_found(lake: Lake) -> None:
    lake.put("dt=1/a.bin", b"abc")
    for path in ("dt=1/none", "none", "dt=1"):
        with pytest.raises(FileNotFoundError):
            lake.get(path)
        with pytest.raises(FileNotFoundError):
            lake.open(path).close()


@pytest.mark.parametrize("make", [bytes, io.BytesIO], ids=["memory", "file"])
def test_nothing_is_overwritten(lake: Lake, make: Callable[[bytes], Any]) -> None:
    lake.put("a.bin", make(b"abc"))
    for data in (b"abc", b"other"):
        with pytest.raises(FileExistsError, match="never overwrites"):
            lake.put("a.bin", make(data))
    assert lake.get("a.bin") == b"abc"


@pytest.mark.parametrize("round_", range(3))
def test_of_sixteen_writers_of_one_path_one_wins(lake: Lake, round_: int) -> None:
    start = threading.Barrier(16)

    def write(number: int) -> bool:
        start.wait()
        try:
            lake.put(f"{round_}.bin", b"%02d" % number * 50_000)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert lake.get(f"{round_}.bin") == b"%02d" % won.index(True) * 50_000


def test_many_threads_write_read_list_and_delete(lake: Lake) -> None:
    def work(number: int) -> bool:
        path, data = f"t={number % 4}/{number}.bin", bytes([number]) * (1000 + number)
        lake.put(path, data)
        same = lake.get(path) == data and (path, len(data)) in set(lake.list(f"t={number % 4}"))
        if number % 2:
            lake.delete(path)
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(80)))
    assert sorted(path for path, _ in lake.list()) == sorted(f"t={n % 4}/{n}.bin" for n in range(0, 80, 2))


@pytest.mark.parametrize("path", UNUSUAL)
def test_unusual_names_come_back_as_they_were(lake: Lake, path: str) -> None:
    lake.put(path, b"abc")
    assert lake.get(path) == b"abc"
    assert list(lake.list()) == [(path, 3)]
    with lake.open(path) as file:
        assert file.read() == b"abc"
    lake.delete(path)
    assert list(lake.list()) == []


@pytest.mark.parametrize("path", HOSTILE)
def test_no_hostile_path_reaches_the_store(lake: Lake, path: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: lake.put(path, b"x"), lambda: lake.get(path), lambda: lake.delete(path), lambda: lake.open(path),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match="lake"):
            call()
    assert list(lake.list()) == []


@pytest.mark.parametrize("make", [bytes, memoryview, io.BytesIO], ids=["bytes", "view", "file"])
def test_large_objects_come_back_whole(lake: Lake, make: Callable[[bytes], Any]) -> None:
    data = os.urandom(1 << 20) * 20 + b"the end"
    lake.put("dt=1/large.bin", make(data))
    assert lake.get("dt=1/large.bin") == data
    assert list(lake.list("dt=1")) == [("dt=1/large.bin", len(data))]
    with pytest.raises(FileExistsError):
        lake.put("dt=1/large.bin", make(data))


def test_an_object_is_read_in_pieces_like_a_file(lake: Lake) -> None:
    data = os.urandom(3_000_000)
    lake.put("a.bin", data)
    with lake.open("a.bin") as file, io.BytesIO(data) as same:
        assert file.seekable()
        assert file.readable()
        for seek in ((0, 0), (-8, 2), (17, 0), (100_000, 1), (-50_000, 1), (2_999_999, 0), (5, 2)):
            assert file.seek(*seek) == same.seek(*seek)
            assert file.read(1_234) == same.read(1_234)
            assert file.tell() == same.tell()
        file.seek(1_000)
        assert file.read() == data[1_000:]
        assert file.read(10) == b""
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)


def test_a_list_of_more_than_one_page_is_whole(lake: Lake) -> None:
    paths = {f"page/{number:04}" for number in range(1_050)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: lake.put(path, b"x"), sorted(paths)))
    lake.put("pages", b"x")
    found = [path for path, _ in lake.list("page")]
    assert len(found) == len(paths)
    assert set(found) == paths == {path for path, _ in lake.list("page/")}
    assert len(list(lake.list())) == len(paths) + 1


def test_a_list_takes_whole_folders_only(lake: Lake) -> None:
    for path in ("dt=1/a", "dt=1/h=1/b", "dt=10/c"):
        lake.put(path, b"x")
    assert sorted(lake.list("dt=1")) == [("dt=1/a", 1), ("dt=1/h=1/b", 1)]
    assert list(lake.list("dt=2")) == []


def test_lakes_beside_each_other_do_not_see_each_other(opened: Opener) -> None:
    one, longer = opened("a"), opened("ab")
    one.put("x", b"1")
    longer.put("x", b"22")
    assert (list(one.list()), list(longer.list())) == ([("x", 1)], [("x", 2)])
    one.delete("x")
    assert longer.get("x") == b"22"
    assert opened("ab").get("x") == b"22"


def test_a_person_can_find_the_object(lake: Lake) -> None:
    place, path = lake.place, lake.where("dt=1/a.bin")
    assert path == f"{lake.where('')}/dt=1/a.bin"
    if isinstance(place, LocalPlace):
        assert path == str(place.root / "dt=1" / "a.bin")
    else:
        assert path == f"s3://{place.bucket}/some/lake/dt=1/a.bin"
        assert place.url == f"{place.endpoint}/{place.bucket}/some/lake"
        assert place.secret_access_key not in repr(place) + str(place) + path


def test_the_place_leads_other_programs_to_the_object(lake: Lake, request: pytest.FixtureRequest) -> None:
    lake.put("dt=1/a.bin", b"abc")
    place = lake.place
    if isinstance(place, S3Place):
        server = request.getfixturevalue(request.node.callspec.params["opened"])
        assert (place.access_key_id, place.secret_access_key) == (server.access_key, server.secret_key)
        path = f"{place.url}/dt=1/a.bin".removeprefix(place.endpoint)
        assert server.requests().ask("GET", path) == (200, b"abc")
    else:
        assert (place.root / "dt=1" / "a.bin").read_bytes() == b"abc"


def test_a_whole_bucket_may_be_the_lake(server: Any) -> None:
    lake = open_lake(f"s3://{server.make_bucket()}?endpoint={server.endpoint}&region=us-east-1", of_server(server))
    lake.put("dt=1/a.bin", b"abc")
    assert list(lake.list()) == [("dt=1/a.bin", 3)]


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_wrong_keys_are_said_at_once(server: Any, wrong: str) -> None:
    keys = (server.access_key, "wrong-wrong-wrong") if wrong == "secret" else ("wrongwrong", server.secret_key)
    settings = Settings(s3_access_key_id=keys[0], s3_secret_access_key=keys[1])
    with pytest.raises(ConfigError, match=r"refuses our requests.*s3_access_key_id") as caught:
        open_lake(f"s3://{server.make_bucket()}/x?endpoint={server.endpoint}", settings)
    assert server.endpoint in str(caught.value)
    assert keys[1] not in str(caught.value)


def test_a_missing_bucket_is_said_at_once(server: Any) -> None:
    with pytest.raises(ConfigError, match=r"'not-there' at http://.*does not exist; create it"):
        open_lake(f"s3://not-there/x?endpoint={server.endpoint}", of_server(server))


def test_keys_may_come_from_the_environment(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    lake = open_lake(f"s3://{server.make_bucket()}/x", Settings())
    lake.put("a", b"abc")
    assert isinstance(lake.place, S3Place)
    assert (lake.place.endpoint, lake.place.secret_access_key) == (server.endpoint, server.secret_key)


def test_settings_beat_the_environment_whole(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "another-account")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_BUCKET", "another-bucket")
    lake = open_lake(f"s3://{server.make_bucket()}/x?endpoint={server.endpoint}", of_server(server))
    lake.put("a", b"abc")
    assert list(lake.list()) == [("a", 3)]
