"""What of the Spark engine needs no Spark: how it is called, its scratch folder, its rows, and drivers that fail."""

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.clock import HOUR_MS
from isotherm.config import GIB, Settings
from isotherm.errors import ConfigError, IsothermError
from isotherm.land.lake import Lake, LocalPlace, S3Place, open_lake
from isotherm.rollup.buckets import Bucket, Level
from isotherm.rollup.engines.port import open_engine
from isotherm.rollup.engines.spark import driver as driver_module
from isotherm.rollup.engines.spark.driver import JOB, JOB_S, OneByOne, SparkFailed, StandingDriver, open_driver
from isotherm.rollup.engines.spark.rows import map_rows
from isotherm.rollup.engines.spark.scratch import KEPT_MS, Scratch, sweep, url_of
from isotherm.rollup.engines.spark.submit import Submission, master_of
from isotherm.store.olap import Olap

S3 = S3Place("http://127.0.0.1:9", "lake.one", "raw/v1", "eu-north-1", "KEYKEY", "SECRETSECRET", "")
BUCKET = Bucket(Level.HOUR, 1_770_001_200_000)


def program(folder: Path, text: str) -> str:
    """A spark-submit of ours; a Python script."""
    path = folder / "spark-submit"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{text}\n")
    path.chmod(0o755)
    return str(path)


def submission(folder: Path, text: str = "", place: Any = None, **settings: Any) -> Submission:
    chosen = Settings(**{"engine": "spark+local", "spark_submit": program(folder, text), **settings})
    return Submission.of(chosen, place or LocalPlace(folder))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(f"file://{tmp_path / 'lake'}", Settings())


@pytest.mark.parametrize(
    ("engine", "threads", "master"),
    [
        ("spark+local", 0, "local[*]"),
        ("spark+local", 3, "local[3]"),
        ("spark://a.b:7077", 0, "spark://a.b:7077"),
        ("spark://a:7077,b:7077", 0, "spark://a:7077,b:7077"),
        ("spark+k8s://kube.local:6443", 0, "k8s://https://kube.local:6443"),
    ],
)
def test_the_setting_names_sparks_master(engine: str, threads: int, master: str) -> None:
    # Somebody who names a master means it, whatever else the installation names.
    assert master_of(engine, threads, {"spark.master": "yarn"}) == master


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of settings beside the program that `submission` makes in `tmp_path / "bin"`."""
    for name in ("SPARK_HOME", "SPARK_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("bin", "conf"):
        (tmp_path / name).mkdir()
    return tmp_path / "conf"


def test_bare_spark_is_the_master_of_the_installation(
    installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "bin"
    with pytest.raises(
        ConfigError, match=r"write spark\+local, spark://host:port .* or spark\+k8s://host:port"
    ) as raised:
        submission(place, engine="spark")
    assert "spark.master" in str(raised.value)
    defaults = installation / "spark-defaults.conf"
    defaults.write_text("# spark.master local\n  spark.master\t spark://here:7077 \nspark.eventLog.enabled=true\n")
    made = submission(place, engine="spark")
    assert made.master == "spark://here:7077"
    assert made.command(place, "job.py", [])[1:3] == ["--master", "spark://here:7077"]
    assert made.deploy_mode == "client"
    assert submission(place, engine="spark", spark_options={"spark.master": "yarn"}).master == "yarn"
    defaults.write_text("spark.master = yarn\nspark.submit.deployMode: cluster\n")
    assert isinstance(open_driver(submission(place, engine="spark")), OneByOne)
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match=r"neither spark-defaults.conf nor spark_options"):
        submission(place, engine="spark")
    monkeypatch.delenv("SPARK_CONF_DIR")
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match=r"neither spark-defaults.conf nor spark_options"):
        submission(place, engine="spark")


def test_an_environment_made_by_pip_has_its_settings_among_the_packages(installation: Path, tmp_path: Path) -> None:
    conf = tmp_path / "lib" / "python3.13" / "site-packages" / "pyspark" / "conf"
    conf.mkdir(parents=True)
    (conf / "spark-defaults.conf").write_text("spark.master spark://packed:7077\n")
    assert submission(tmp_path / "bin", engine="spark").master == "spark://packed:7077"
    assert not list(installation.iterdir())


@pytest.mark.parametrize("engine", ["spark://", "spark://host", "spark:local", "spark+local://x", "spark://a:b c"])
def test_a_wrong_master_is_refused_in_one_line(engine: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"write spark\+local, spark://host:port") as raised:
        submission(tmp_path, engine=engine)
    assert "\n" not in str(raised.value)


def test_without_spark_submit_the_error_says_what_to_install(empty_olap: Olap, lake: Lake) -> None:
    settings = Settings(engine="spark+local", spark_submit="spark-submit-that-is-not-there")
    with pytest.raises(ConfigError, match=r"install Apache Spark 4 .* setting spark_submit") as raised:
        open_engine(settings, empty_olap, lake)
    assert "\n" not in str(raised.value)


def test_secrets_are_in_a_file_for_this_user_only(tmp_path: Path) -> None:
    made = submission(
        tmp_path,
        place=S3,
        engine="spark://10.0.0.1:7077",
        spark_options={"spark.x.password": "p\\w\nd ü", "spark.executor.memory": "3g"},
    )
    file = made.write_options(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    line = made.command(file, "job.py", ["--socket", "s"])
    assert line == [
        *(made.program.as_posix(), "--master", "spark://10.0.0.1:7077", "--load-spark-defaults"),
        *("--properties-file", str(file), "job.py", "--socket", "s"),
    ]
    text = file.read_text().splitlines()
    assert "spark.hadoop.fs.s3a.bucket.lake.one.secret.key=SECRETSECRET" in text
    assert "spark.hadoop.fs.s3a.bucket.lake.one.connection.ssl.enabled=false" in text
    assert "spark.x.password=p\\\\w\\nd ü" in text
    assert "spark.executor.memory=3g" in text
    assert not [name for name in text if name.startswith(("spark.driver.host", "spark.driver.memory"))]
    assert made.without_secrets("KEYKEY SECRETSECRET p\\w\nd ü 3g") == "*** *** *** 3g"


def test_temporary_credentials_and_the_machines_role(tmp_path: Path) -> None:
    def options(*keys: str) -> dict[str, str]:
        made = submission(tmp_path, place=S3Place("https://s3.example", "b", "", "r", *keys))
        prefix = "spark.hadoop.fs.s3a.bucket.b."
        return {name.removeprefix(prefix): value for name, value in made.options.items() if name.startswith(prefix)}

    assert options("k", "s", "t")["aws.credentials.provider"].endswith("TemporaryAWSCredentialsProvider")
    assert options("k", "s", "t")["session.token"] == "t"
    own = options("", "", "")
    assert own.keys() == {"endpoint", "endpoint.region", "path.style.access", "connection.ssl.enabled"}
    assert own["connection.ssl.enabled"] == "true"


def test_a_local_spark_stays_on_loopback_and_in_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPARK_LOCAL_IP", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ISOTHERM_TOKEN", "hidden")
    made = submission(tmp_path, job_memory_bytes=2 * GIB)
    assert made.options["spark.driver.bindAddress"] == made.options["spark.driver.host"] == "127.0.0.1"
    assert made.options["spark.driver.memory"] == "1536m"
    environment = made.environment()
    assert environment["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert environment["PYSPARK_DRIVER_PYTHON"] == sys.executable
    assert "ISOTHERM_TOKEN" not in environment


def test_options_of_a_person_win_and_must_be_sparks(tmp_path: Path) -> None:
    made = submission(tmp_path, spark_options={"spark.driver.memory": "9g"})
    assert made.options["spark.driver.memory"] == "9g"
    with pytest.raises(ConfigError, match=r"'memory' is no option of Spark's"):
        submission(tmp_path, spark_options={"memory": "1g"})


def test_kubernetes_as_the_documentation_shows_it(tmp_path: Path, lake: Lake) -> None:
    """Deploy mode cluster: the program, the order and the answer are addresses that the cluster reads."""
    made = submission(
        tmp_path,
        "print(' '.join(sys.argv[1:])); raise SystemExit(3)",
        place=S3,
        engine="spark+k8s://kube:443",
        spark_options={"spark.submit.deployMode": "cluster"},
    )
    assert isinstance(open_driver(made), OneByOne)
    with Scratch(lake, 7, 1) as scratch:
        with pytest.raises(SparkFailed, match=r"ended with code 3") as raised:
            open_driver(made).ask({"kind": "tile"}, scratch)
        said = str(raised.value)
        for name, value in (("--order", "order.json"), ("--answer", "answer")):
            assert f"{name} {scratch.url(value)}" in said
        assert f"--master k8s://https://kube:443 --load-spark-defaults --properties-file {os.sep}" in said
        assert f"{scratch.url('job.py')} --once" in said
        until = float(said.partition("--until ")[2].split()[0])
        assert abs(until - time.time() - JOB_S) < 600
        assert lake.get(scratch.url("job.py").partition("/lake/")[2]) == JOB.read_bytes()
    assert list(lake.list()) == []


def test_the_order_is_in_the_folder_and_the_answer_comes_from_it(tmp_path: Path, lake: Lake) -> None:
    text = """
a = sys.argv
order, answer = (a[a.index(name) + 1].removeprefix("file://") for name in ("--order", "--answer"))
os.mkdir(answer)
open(answer + "/part-0.txt", "w").write('{"maps": %d, "events": 2, "tiled": 1}' % len(open(order).read()))
"""
    order = {"kind": "tile"}
    with Scratch(lake, 7, 1) as scratch:
        assert OneByOne(submission(tmp_path, text)).ask(order, scratch)["maps"] == len('{"kind": "tile"}\n')


def test_a_driver_that_ends_at_once_says_its_last_words_without_secrets(tmp_path: Path, lake: Lake) -> None:
    made = submission(tmp_path, "print('JAVA_HOME is not set', 'SECRETSECRET'); raise SystemExit(1)", place=S3)
    standing = StandingDriver(made)
    with Scratch(lake, 1, 1) as scratch, pytest.raises(SparkFailed, match=r"ended with code 1") as raised:
        standing.ask({}, scratch)
    assert "JAVA_HOME is not set ***" in str(raised.value)
    assert standing.pid is None


CONNECTED = """
import json, socket
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[sys.argv.index("--socket") + 1])
stream = connection.makefile("rw")
def tell(message):
    stream.write(json.dumps(message) + "\\n"); stream.flush()
tell({"alive": True})
"""


def test_a_silent_driver_is_given_up_and_the_next_order_starts_another(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "SILENCE_S", 0.5)
    hangs = tmp_path / "hangs"
    hangs.touch()
    standing = StandingDriver(
        submission(
            tmp_path,
            f"{CONNECTED}\norder = stream.readline()\n"
            f"while os.path.exists({str(hangs)!r}): time.sleep(0.1)\n"
            "tell({'alive': 1}); tell({'maps': 1, 'events': 2, 'tiled': 3})\nstream.readline()",
        )
    )
    with Scratch(lake, 1, 1) as scratch:
        with pytest.raises(SparkFailed, match="said nothing"):
            standing.ask({}, scratch)
        assert standing.pid is None
        hangs.unlink()
        assert standing.ask({}, scratch) == {"maps": 1, "events": 2, "tiled": 3}
        assert standing.pid is not None
    standing.close()
    assert standing.pid is None


def test_an_error_of_a_job_keeps_the_driver_and_a_fatal_one_ends_it(tmp_path: Path, lake: Lake) -> None:
    text = f"{CONNECTED}\nfor line in stream: tell(json.loads(line))"
    standing = StandingDriver(submission(tmp_path, text))
    with Scratch(lake, 1, 1) as scratch:
        with pytest.raises(SparkFailed, match="Spark: no such file"):
            standing.ask({"error": "no such file"}, scratch)
        first = standing.pid
        assert standing.ask({"maps": 0}, scratch) == {"maps": 0}
        assert standing.pid == first
        with pytest.raises(SparkFailed, match="lost"):
            standing.ask({"error": "lost", "fatal": True}, scratch)
        assert standing.pid is None
    standing.close()


def test_close_does_not_wait_for_an_order(tmp_path: Path, lake: Lake) -> None:
    from threading import Thread

    standing = StandingDriver(submission(tmp_path, f"{CONNECTED}\nstream.readline()\nstream.readline()"))
    failed: list[Exception] = []

    def work() -> None:
        try:
            with Scratch(lake, 1, 1) as scratch:
                standing.ask({}, scratch)
        except SparkFailed as error:
            failed.append(error)

    worker = Thread(target=work)
    worker.start()
    deadline = time.monotonic() + 30
    while standing._socket is None and time.monotonic() < deadline:
        time.sleep(0.01)
    standing.close()
    worker.join(30)
    assert failed
    assert not worker.is_alive()


STUCK = """
import time


class SparkSession:
    class builder:
        @staticmethod
        def getOrCreate():
            print("no executor comes", flush=True)
            time.sleep(600)
"""


def test_the_program_ends_by_itself_when_nobody_waits_any_more(tmp_path: Path) -> None:
    """In a cluster it is alone: spark-submit and Isotherm may be gone."""
    package = tmp_path / "pyspark"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sql.py").write_text(STUCK)
    words = ["--once", "--order", "file:///nowhere", "--until", str(time.time() + 2)]
    done = subprocess.run(
        [sys.executable, str(JOB), *words],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert done.returncode == 75
    assert done.stdout.splitlines()[-1] == b"nobody waits for the answer any more"


PARENTLESS = """
import socket, sys, time
from types import SimpleNamespace as Is
sys.path.insert(0, sys.argv[1])
import job

status = Is(getExecutorMemoryStatus=lambda: Is(size=lambda: 1))
context = Is(master="local", _jsc=Is(sc=lambda: status), statusTracker=lambda: Is(getActiveJobsIds=lambda: []))
job.run = lambda spark, order: print("works", flush=True) or time.sleep(600)
connection = socket.socket(fileno=int(sys.argv[2]))
job.serve(Is(sparkContext=context), connection, 1.0)
"""


@pytest.mark.parametrize("order", [b"", b'{"kind": "tile"}\n'])
def test_the_program_ends_when_the_other_side_goes_with_messages_unread(order: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        arguments = [sys.executable, "-c", PARENTLESS, str(JOB.parent), str(theirs.fileno())]
        process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE)
    with ours, process:
        ours.sendall(order)
        assert ours.recv(1) == b"{", "a sign of life, the rest of which nobody reads"
        if order:
            assert process.stdout is not None
            assert process.stdout.readline() == b"works\n"
        ours.close()
        assert process.wait(60) == 0


def test_scratch_goes_with_the_job_and_what_a_crash_left_goes_later(lake: Lake, tmp_path: Path) -> None:
    now = 1_770_000_000_000
    lake.put("dt=x/part.parquet", b"raw")
    with Scratch(lake, 5, now) as scratch:
        scratch.put("a/b", b"1")
        assert scratch.url("maps").startswith(f"file://{tmp_path}/lake/_jobs/{now}-5-")
        assert {path for path, _ in lake.list("_jobs")} == {scratch.url("a/b").partition("/lake/")[2]}
    assert list((tmp_path / "lake" / "_jobs").iterdir()) == []
    for started in (now - KEPT_MS - 1, now - HOUR_MS):
        lake.put(f"_jobs/{started}-1-ab/maps/part.parquet", b"1")
    lake.put("_jobs/whatever/x", b"1")
    assert sweep(lake, now) == 2
    assert {path for path, _ in lake.list()} == {
        "dt=x/part.parquet",
        f"_jobs/{now - HOUR_MS}-1-ab/maps/part.parquet",
    }


def test_a_lake_with_a_pattern_in_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsothermError, match="Spark cannot read a lake with one of"):
        url_of(open_lake(f"file://{tmp_path / 'a[1]'}", Settings()), "x")


counts = st.dictionaries(st.integers(0, 19_999), st.integers(1, 2**63 - 1), max_size=30)


@given(maps=st.lists(counts, max_size=6), wide=st.lists(st.integers(1_995, 2_005), max_size=3), skip=st.integers(0, 2))
def test_maps_take_the_tables_forms(maps: list[dict[int, int]], wide: list[int], skip: int) -> None:
    maps = [*maps, *({cell * 3: cell + 1 for cell in range(size)} for size in wide)]
    size = len(maps)
    batch = pa.record_batch(
        {
            **{name: pa.array([f"{name}{i}" for i in range(size)], pa.string()) for name in
               ("client_id", "screen_id", "event_type", "segment")},
            "cells": pa.array([sorted(m) for m in maps], pa.list_(pa.int32())),
            "counts": pa.array([[m[cell] for cell in sorted(m)] for m in maps], pa.list_(pa.int64())),
            "events": pa.array(range(size), pa.int64()),
            "tiled": pa.array(range(size), pa.int64()),
            "last_event": pa.array(range(size), pa.int64()),
        }
    )  # fmt: skip
    rows = map_rows(batch.slice(skip), BUCKET, 9).to_pylist()
    assert len(rows) == max(0, size - skip)
    for row, expected in zip(rows, maps[skip:], strict=False):
        dense = np.zeros(20_000, np.uint64)
        for cell, count in expected.items():
            dense[cell] = count
        if len(expected) < 2_000:
            assert (row["cells"], row["counts"]) == (sorted(expected), dense[sorted(expected)].tolist())
        else:
            assert (row["cells"], row["counts"]) == ([], dense.tolist())
        assert (row["version"], row["grid_w"], row["grid_h"], row["level"]) == (9, 100, 200, "hour")
        assert row["bucket_start"].timestamp() * 1000 == BUCKET.start
