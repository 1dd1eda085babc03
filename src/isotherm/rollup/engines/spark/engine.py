"""The batch engine on Spark. It counts and sums; the maps go through this process into the tile store.

Spark writes the maps of a job to a scratch folder in the lake, this process inserts them under the job's version,
in blocks of whole maps. Before the first is inserted the events in them are compared with the rows of the files:
what a cluster lost or read twice fails the job and is never seen.
"""

from collections.abc import Sequence
from typing import Any

import structlog

from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.land.lake import Lake, LakeUnavailable
from isotherm.land.tiers import roots_of
from isotherm.rollup.buckets import Bucket
from isotherm.rollup.engines import stored
from isotherm.rollup.engines.port import RawFile
from isotherm.rollup.engines.spark.driver import Driver, SparkFailed, open_driver
from isotherm.rollup.engines.spark.rows import blocks, to_parquet
from isotherm.rollup.engines.spark.scratch import Scratch, sweep, url_of
from isotherm.rollup.engines.spark.submit import Submission
from isotherm.rollup.grid import GRID_H, GRID_W
from isotherm.rollup.publish import DENSE_PER_PAGE, SPARSE_PER_PAGE
from isotherm.store.olap import Olap

_log = structlog.get_logger("isotherm.rollup")


class SparkEngine:
    """See `isotherm.rollup.engines.port.Engine`. Spark starts with the first job and ends with `close`."""

    def __init__(self, olap: Olap, lake: Lake, driver: Driver) -> None:
        url_of(lake, "")
        self.driver = driver
        self._olap = olap
        self._lake = lake
        self._clock = SystemClock()
        self._swept = False

    @classmethod
    def open(cls, settings: Settings, olap: Olap, lake: Lake) -> "SparkEngine":
        """The Opener of this engine. Raises ConfigError for a wrong address, and when there is no spark-submit."""
        return cls(olap, lake, open_driver(Submission.of(settings, *(root.place for root in roots_of(lake)))))

    def tile(self, bucket: Bucket, files: Sequence[RawFile], version: int) -> None:
        if not files:
            return
        urls: dict[str, list[str]] = {"parquet": [], "jsonl": []}
        for file in files:
            urls[file.format].append(url_of(self._lake, file.path))
        with self._scratch(version) as scratch:
            self._work("tile", urls, sum(file.rows for file in files), scratch, bucket, version)

    def roll_up(self, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
        with self._scratch(version) as scratch:
            urls, events = self._export(bucket, client_ids, scratch)
            if urls:
                self._work("sum", {"maps": urls}, events, scratch, bucket, version)

    def clear_vanished(self, bucket: Bucket, client_ids: Sequence[str], version: int) -> None:
        stored.clear_vanished(self._olap, bucket, client_ids, version)

    def close(self) -> None:
        self.driver.close()

    def _scratch(self, version: int) -> Scratch:
        now = self._clock.now_ms()
        if not self._swept:
            try:
                left = sweep(self._lake, now)
            except LakeUnavailable as error:
                _log.warning("what broken jobs left in the lake stays for now", why=str(error))
            else:
                self._swept = True
                if left:
                    _log.info("removed what broken jobs left in the lake", jobs=left)
        return Scratch(self._lake, version, now)

    def _work(
        self, kind: str, files: dict[str, list[str]], events: int, scratch: Scratch, bucket: Bucket, version: int
    ) -> None:
        """Give the order, and insert what came of it. `events` is what must be in the maps."""
        order: dict[str, Any] = {"kind": kind, "files": files, "output": scratch.url("maps"), "grid": [GRID_W, GRID_H]}
        answer = self.driver.ask(order, scratch)
        if answer["events"] != events:
            raise SparkFailed(
                f"Spark counted {answer['events']:,} events where there are {events:,}; nothing was stored. Check the "
                "lake with `isotherm lake compare`, and the cluster's own settings for reading files"
            )
        inserted = 0
        for rows in blocks(scratch.open_written("maps"), bucket, version):
            self._olap.insert("maps", rows)
            inserted += rows.num_rows
        if inserted != answer["maps"]:
            raise SparkFailed(
                f"Spark wrote {answer['maps']:,} maps and {inserted:,} were found; the bucket is tiled again"
            )

    def _export(self, bucket: Bucket, client_ids: Sequence[str], scratch: Scratch) -> tuple[list[str], int]:
        """Write the finer maps for Spark to read; returns the files and the events in them."""
        params = stored.children_of(bucket, client_ids)
        where = f"FROM maps FINAL WHERE {stored.CHILDREN}"
        size = self._olap.query(
            f"SELECT countIf(empty(cells)) AS dense, count() AS maps {where}", params, "write"
        ).to_pylist()[0]
        pages = 1 + max(size["dense"] // DENSE_PER_PAGE, size["maps"] // SPARSE_PER_PAGE) if size["maps"] else 0
        events = 0
        for page in range(pages):
            maps = self._olap.query(
                "SELECT client_id, screen_id, event_type, segment, cells, counts, events,"
                f" toUnixTimestamp64Milli(last_event) AS last_event {where}"
                f" AND cityHash64(client_id, screen_id, event_type, segment, bucket_start) % {pages} = {page}",
                params,
                "write",
            )
            # Not counted beforehand: a finer bucket may be published meanwhile.
            events += int(maps.column("events").to_numpy().sum())
            scratch.put(f"finer/part-{page}.parquet", to_parquet(maps))
        return [scratch.url(f"finer/part-{page}.parquet") for page in range(pages)], events
