"""The tile jobs on Spark: orders in, the maps of a bucket as Parquet out. Run by spark-submit, alone.

This file needs PySpark and the standard library, nothing else of ours; executors need no Python at all, since every
step per event is an expression of Spark's. Two ways to run it:

- `job.py --socket PATH`: orders come one JSON object per line over a Unix socket, until it is closed. Answers go
  back the same way; in between, signs of life. What ends the other side ends this process.
- `job.py --once --order URL [--answer URL] [--until TIME]`: the orders are the lines of one file, for clusters that
  start the driver themselves. Answers are printed, or written as lines to a folder. At TIME, in seconds since the
  epoch, nobody waits for them any more, and this process ends.

An order is {kind, files, output, grid}. `kind` tile counts raw files, given as {"parquet": [URL], "jsonl": [URL]},
row for row; `kind` sum adds finer maps, given as {"maps": [URL]}. Only the named files are read. `output` is the
folder to write, `grid` the cells across and down. The answer is {maps, events, tiled}, or {error}.

A row written is a map: client_id, screen_id, event_type, segment, cells (rising, those with a count only), counts,
events, tiled, last_event (ms since the epoch).
"""

# PySpark is not installed where the rest of the program is.
# pyright: reportMissingImports=false

import argparse
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

SIGN_OF_LIFE_S = 2.0
TOO_LATE = 75
"""The exit code at `--until`."""
MAPS_PER_FILE = 2_000
ROW_GROUP_BYTES = 16 << 20
KEYS = ("client_id", "screen_id", "event_type", "segment")

_RAW = "client_id STRING, screen_id STRING, event_type STRING, event_time {time}, x_norm DOUBLE, y_norm DOUBLE"
_MAPS = (
    "client_id STRING, screen_id STRING, event_type STRING, segment STRING,"
    " cells ARRAY<INT>, counts ARRAY<BIGINT>, events BIGINT, last_event BIGINT"
)


def session() -> Any:
    """Spark's session. A file that is missing or damaged ends a job, whatever the cluster's defaults say."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    for name in ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles"):
        spark.conf.set(name, "false")
    return spark


def run(spark: Any, order: dict[str, Any]) -> dict[str, int]:
    """Do one order; returns what was written: maps, their events, and those in a cell."""
    from pyspark.sql import Observation
    from pyspark.sql import functions as f

    by_cell = _counted(spark, order) if order["kind"] == "tile" else _summed(spark, order)
    seen = Observation()
    maps = _maps(by_cell).observe(
        seen,
        f.count(f.lit(1)).alias("maps"),
        f.coalesce(f.sum("events"), f.lit(0)).alias("events"),
        f.coalesce(f.sum("tiled"), f.lit(0)).alias("tiled"),
    )
    writer = maps.write.mode("overwrite").option("compression", "zstd").option("parquet.block.size", ROW_GROUP_BYTES)
    writer.option("maxRecordsPerFile", MAPS_PER_FILE).parquet(order["output"])
    return dict(seen.get)


def _counted(spark: Any, order: dict[str, Any]) -> Any:
    """Events per map and cell. The first of two steps, so that a screen with most of the events is one of many
    groups wherever it is read, and sends at most one row per cell on."""
    from pyspark.sql import functions as f

    width, height = order["grid"]
    # Double arithmetic, as everywhere. `least` would pass over a null, so nulls are sorted out first.
    cell = (
        "CASE WHEN x_norm IS NOT NULL AND y_norm IS NOT NULL THEN CAST("
        f"least(floor(y_norm * {height}D), {height - 1}) * {width} + least(floor(x_norm * {width}D), {width - 1})"
        " AS INT) END AS cell"
    )
    files, parts = order["files"], []
    if files.get("parquet"):
        rows = _reader(spark, _RAW.format(time="TIMESTAMP")).parquet(*files["parquet"])
        parts.append(rows.selectExpr(*KEYS[:3], cell, "unix_millis(event_time) AS latest"))
    if files.get("jsonl"):
        # FAILFAST: by default a line that cannot be read would count as an event of nobody.
        rows = spark.read.schema(_RAW.format(time="BIGINT")).option("mode", "FAILFAST").json(files["jsonl"])
        parts.append(rows.selectExpr(*KEYS[:3], cell, "event_time AS latest"))
    rows = parts[0] if len(parts) == 1 else parts[0].unionAll(parts[1])
    counted = rows.groupBy(*KEYS[:3], "cell").agg(f.count(f.lit(1)).alias("n"), f.max("latest").alias("latest"))
    return counted.withColumn("segment", f.lit("")).withColumn("events", f.col("n"))


def _summed(spark: Any, order: dict[str, Any]) -> Any:
    """Counts of finer maps per map and cell; a row without a cell carries a map's events."""
    from pyspark.sql import functions as f

    maps = _reader(spark, _MAPS).parquet(*order["files"]["maps"])
    places = "CASE WHEN size(cells) > 0 OR size(counts) = 0 THEN cells ELSE sequence(0, size(counts) - 1) END"
    rows = maps.selectExpr(
        *KEYS,
        "last_event AS latest",
        "inline(concat("
        "array(named_struct('cell', CAST(NULL AS INT), 'n', 0L, 'events', events)),"
        f"zip_with({places}, counts, (c, n) -> named_struct('cell', c, 'n', n, 'events', 0L))))",
    )
    counted = rows.where("cell IS NULL OR n > 0").groupBy(*KEYS, "cell")
    return counted.agg(f.sum("n").alias("n"), f.sum("events").alias("events"), f.max("latest").alias("latest"))


def _reader(spark: Any, columns: str) -> Any:
    """Reads Parquet. A page that is not what was written ends the job: by default nobody compares its checksum."""
    return spark.read.schema(columns).option("parquet.page.verify-checksum.enabled", "true")


def _maps(by_cell: Any) -> Any:
    """One row per map from its cells."""
    from pyspark.sql import functions as f

    # `when` without `otherwise` is null, and collect_list leaves nulls out.
    placed = f.when(f.col("cell").isNotNull(), f.struct("cell", "n"))
    maps = by_cell.groupBy(*KEYS).agg(
        f.sort_array(f.collect_list(placed)).alias("found"),
        f.sum("events").alias("events"),
        f.max("latest").alias("last_event"),
    )
    return maps.selectExpr(
        *KEYS, "found.cell AS cells", "found.n AS counts", "events",
        "aggregate(found.n, 0L, (total, n) -> total + n) AS tiled", "last_event",
    )  # fmt: skip


class Watch:
    """Tells the other side that the driver lives, and gives a job up that no executor takes."""

    def __init__(self, spark: Any, tell: Callable[[dict[str, Any]], None], patience_s: float) -> None:
        self._context = spark.sparkContext
        self._local = self._context.master.startswith("local")
        self._tell = tell
        self._patience_s = patience_s
        self._alone_since: float | None = None
        self._working = False
        self.gave_up = ""

    @contextmanager
    def work(self) -> Generator[None]:
        """What runs in here is watched; afterwards `gave_up` says why it was cancelled, if it was."""
        self.gave_up, self._alone_since, self._working = "", None, True
        try:
            yield
        finally:
            self._working = False

    def run(self) -> None:
        """For ever; a thread's body. Raises when Spark's own process is gone, or the other side."""
        while True:
            # The driver counts itself.
            executors = self._context._jsc.sc().getExecutorMemoryStatus().size() - 1
            jobs = len(self._context.statusTracker().getActiveJobsIds())
            self._tell({"alive": True, "executors": executors, "jobs": jobs})
            if self._working and not self._local:
                self._look(executors, jobs)
            time.sleep(SIGN_OF_LIFE_S)

    def _look(self, executors: int, jobs: int) -> None:
        now = time.monotonic()
        if executors > 0 or not jobs or self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > self._patience_s:
            self.gave_up = (
                f"no executor of {self._context.master} took the job within {self._patience_s:.0f} s: check that its "
                "workers are alive and have the cores and the memory that spark_options ask for"
            )
            self._context.cancelAllJobs()


def attempt(spark: Any, order: dict[str, Any]) -> dict[str, Any]:
    """The order's answer; with `fatal` in it, this driver is of no more use."""
    try:
        return run(spark, order)
    except Exception as error:  # noqa: BLE001 - the other side raises it
        return _problem(error)


def _problem(error: Exception) -> dict[str, Any]:
    origin = getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    if origin is None:
        # Not an error of a job: Spark's own process is gone, as after a kill, or this program is wrong.
        return {"error": f"the driver cannot go on ({type(error).__name__}: {error})"[:2_000], "fatal": True}
    said: list[str] = []
    while origin is not None and len(said) < 8:
        said.append(str(origin.toString()).strip().splitlines()[0][:400])
        origin = origin.getCause()
    return {"error": "; caused by ".join(dict.fromkeys(said))}


def serve(spark: Any, connection: socket.socket, patience_s: float) -> None:
    """Answer orders until the other side closes the socket, or ends."""
    guard = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with guard:
            connection.sendall(json.dumps(message).encode() + b"\n")

    orders: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        with connection.makefile("rb") as stream:
            for line in stream:
                orders.put(line)

    def or_end(work: Callable[[], None]) -> None:
        # At the end of either, by an error too (the other side may go with unread messages, which is a reset),
        # nobody waits for what is being worked on. Spark's own process follows this one.
        try:
            work()
        finally:
            os._exit(0)

    watch = Watch(spark, tell, patience_s)
    for work in (read, watch.run):
        threading.Thread(target=or_end, args=(work,), daemon=True).start()
    while True:
        order = json.loads(orders.get())
        with watch.work():
            answer = attempt(spark, order)
        tell({"error": watch.gave_up, "fatal": True} if watch.gave_up and "error" in answer else answer)


def once(spark: Any, source: str, target: str | None) -> int:
    """Do the orders of one file; returns the exit code, 1 when one of them failed."""
    from pyspark.sql import functions as f

    lines = spark.read.text(source, wholetext=True).head()[0].splitlines()
    answers = [attempt(spark, json.loads(line)) for line in lines if line.strip()]
    for answer in answers:
        print(json.dumps(answer), flush=True)  # noqa: T201 - this is the program's output
    if target:
        text = "\n".join(json.dumps(answer) for answer in answers)
        spark.range(1).select(f.lit(text).alias("value")).coalesce(1).write.mode("overwrite").text(target)
    return 1 if any("error" in answer for answer in answers) else 0


def end_at(moment: float) -> None:
    """End this process then, whatever it does; Spark's own process follows."""

    def wait() -> None:
        time.sleep(max(moment - time.time(), 0.0))
        print("nobody waits for the answer any more", flush=True)  # noqa: T201 - this is the program's output
        os._exit(TOO_LATE)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="job.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--socket", help="Unix socket to take orders from")
    way.add_argument("--once", action="store_true", help="do the orders of one file, and end")
    parser.add_argument("--order", help="URL of that file")
    parser.add_argument("--answer", help="URL of a folder for the answers")
    parser.add_argument("--until", type=float, help="end at this time, in seconds since the epoch")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for a first executor")
    given = parser.parse_args()
    if given.once and not given.order:
        parser.error("--once needs --order")
    if given.once:
        if given.until is not None:
            end_at(given.until)
        spark = session()
        try:
            return once(spark, given.order, given.answer)
        finally:
            spark.stop()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(given.socket)
        serve(session(), connection, given.patience)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
