"""Landing from Kafka to S3, and beside it what reading the records and putting the files' bytes takes alone."""

import os
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.distributed.collect import WAIT_SECONDS, sample, worker
from bench.distributed.servers import on_kafka, on_s3, started
from bench.load import bodies as load_bodies
from bench.noise import Others, quiet, wait_quiet
from bench.sizes import Sizes
from isotherm.clock import SystemClock
from isotherm.errors import IsothermError

WARM_RECORDS: Final = 100


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """The same topic lands again and again, each time in a new bucket with a new database; the floor goes after it."""
    lines, kept = folder / "bodies.txt", folder / "samples"
    load_bodies.write(load_bodies.make(sizes.bodies, sizes.events, SystemClock().now_ms()), lines)
    found: dict[str, list[dict[str, Any]]] = {"isotherm": [], "floor": []}
    with started("kafka", "s3", "postgres") as servers:
        sample(servers["kafka"], folder, lines, sizes, kept)
        log = on_kafka(servers["kafka"])
        warm = on_kafka(servers["kafka"])
        # Ids that are landed would be duplicates on the other topic.
        worker(warm, "fill", str(kept), str(WARM_RECORDS), str(sizes.land_records))
        topic = warm["log"].rpartition("=")[2]
        filled = worker(log, "fill", str(kept), str(sizes.land_records))
        for number in range(sizes.land_rounds):
            stores = {"db": servers["postgres"].new_database(), "data": str(folder / f"round-{number}")}
            settings = log | on_s3(servers["s3"]) | stores
            pids = [server.pid for server in servers.values()]
            for name, order in (("isotherm", ["land", topic]), ("floor", ["move", str(sizes.land_records), "floor"])):
                if sizes.land_rounds > 1:
                    wait_quiet(*pids, seconds=WAIT_SECONDS)
                others = Others(*pids)
                done = worker(settings, *order)
                found[name].append(_figures(done | {"others_cores": others.cores()}, filled["events"]))
                print(f"  {name} {found[name][-1]}", flush=True)
            if found["isotherm"][-1]["events"] != filled["events"]:
                raise IsothermError(f"bench: {filled['events']} events are on the log; landed: {found['isotherm'][-1]}")
    floor = found["floor"][-1]
    return {
        "records": filled["records"],
        "events": filled["events"],
        "record_bytes_per_event": round(floor["record_bytes"] / filled["events"], 1),
        "file_bytes_per_event": round(floor["file_bytes"] / filled["events"], 2),
        "files": floor["files"],
        "load_average": round(os.getloadavg()[1], 1),
        **{name: _summary(rounds) for name, rounds in found.items()},
    }


def _figures(done: dict[str, Any], events: int) -> dict[str, Any]:
    rate = {
        "events_per_second": round(events / done["seconds"]),
        "cpu_s_per_million": round(done["cpu_seconds"] / events * 1e6, 3),
        "per_core": round(events / done["cpu_seconds"]),
    }
    return done | rate


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    calm = quiet(rounds)
    names = ("events_per_second", "cpu_s_per_million", "per_core")
    short = [{name: r[name] for name in (*names, "others_cores")} for r in rounds]
    return {name: round(median(r[name] for r in calm), 3) for name in names} | {"rounds": short}
