"""The collector in front of Kafka, and beside it librdkafka alone with the same records on the same broker.

Twice: as fast as it can, and as the collector uses it, where as many records as there are connections are confirmed
before the next ones can come.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.request import Request, urlopen

from bench.distributed import samples
from bench.distributed.servers import on_kafka, started, variables
from bench.ingest.isotherm import environment
from bench.load import bodies as load_bodies
from bench.load import wrk
from bench.load.bodies import CLIENTS
from bench.noise import QUIET_CORES, Others, wait_quiet
from bench.processes import cpu_seconds, free_port, listening, running, wait_for
from bench.sizes import Sizes
from isotherm.clock import SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError

WAIT_SECONDS: Final = 5
FIRST_BATCHES: Final = 20


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """The collector and the floor in turns, the floor on a topic of its own each time; the ratio of each pair."""
    lines, kept = folder / "bodies.txt", folder / "samples"
    load_bodies.write(load_bodies.make(sizes.bodies, sizes.events, SystemClock().now_ms()), lines)
    pairs: list[dict[str, dict[str, Any]]] = []
    with started("kafka") as servers:
        kafka = servers["kafka"]
        sample(kafka, folder, lines, sizes, kept)
        with collector(folder / "collector", lines, on_kafka(kafka)) as (process, port):
            # What starts late, in the collector and in the broker's Java, is over before the first round.
            _send(lines, port, sizes, sizes.kafka_seconds)
            for _ in range(sizes.kafka_rounds):
                ours = _collector(kafka, process.pid, lines, port, sizes)
                floors = {"floor": _floor(kafka, kept, sizes), "waiting": _floor(kafka, kept, sizes, sizes.connections)}
                pairs.append(floors | {"isotherm": ours})
                print(f"  {pairs[-1]}", flush=True)
    ratios = [_ratio(pair) for pair in pairs]
    # Where the machine was never left alone, all pairs say more than one of them: both halves suffered.
    calm = [pair for pair in pairs if max(one["others_cores"] for one in pair.values()) <= QUIET_CORES]
    return {
        "connections": sizes.connections,
        "seconds": sizes.kafka_seconds,
        "ratio": round(median(map(_ratio, calm or pairs)), 3),
        "calm_rounds": len(calm),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "waiting_ratio": round(median(_ratio(pair, "waiting") for pair in calm or pairs), 3),
        "load_average": round(os.getloadavg()[1], 1),
        **{
            name: _summary([pair[name] for pair in calm or pairs]) | {"rounds": [pair[name] for pair in pairs]}
            for name in ("floor", "waiting", "isotherm")
        },
    }


def _ratio(pair: dict[str, dict[str, Any]], floor: str = "floor") -> float:
    return pair["isotherm"]["events_per_second"] / pair[floor]["events_per_second"]


def sample(kafka: Any, folder: Path, lines: Path, sizes: Sizes, file: Path) -> None:
    """Keep records that the collector wrote for these bodies."""
    log = on_kafka(kafka)
    with collector(folder / "sampled", lines, log) as (_, port):
        _send(lines, port, sizes, 1)
    samples.keep(Settings(**log), sizes.bodies, file)


@contextmanager
def collector(data: Path, lines: Path, settings: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """`isotherm collect` for the clients of the bodies: its process and its port."""
    port = free_port()
    data.mkdir(parents=True, exist_ok=True)
    clients = {"clients": ",".join(f"bench-{number}" for number in range(CLIENTS))}
    command = [sys.executable, "-m", "isotherm", "collect", "--data", str(data), "--collect-port", str(port)]
    with running(command, data / "collect.log", env=environment() | variables(settings | clients)) as process:
        wait_for("isotherm collect", lambda: listening(port), 120, process)
        for number in range(FIRST_BATCHES):
            _post(lines, port, f"first-{number}")
        yield process, port


def _post(lines: Path, port: int, batch_id: str) -> None:
    """One batch by itself: the first ones make the topic and connect to every partition."""
    with lines.open("rb") as bodies:
        head, _, tail = bodies.readline().rstrip(b"\n").partition(b"\t")
    url = f"http://127.0.0.1:{port}/events/batch"
    with urlopen(Request(url, head + batch_id.encode() + tail, {"content-type": "application/json"}), timeout=60):
        pass


def worker(settings: dict[str, str], *arguments: str) -> dict[str, Any]:
    """What `bench.distributed.worker` found."""
    command = [sys.executable, "-m", "bench.distributed.worker", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment() | variables(settings))
    if done.returncode:
        raise IsothermError(f"bench: {arguments[0]} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _floor(kafka: Any, kept: Path, sizes: Sizes, group: int = 0) -> dict[str, Any]:
    log = on_kafka(kafka)
    _quieten(sizes, kafka.pid)
    others, broker = Others(kafka.pid), cpu_seconds(kafka.pid)
    found = worker(log, "produce", str(kept), str(sizes.kafka_seconds), str(group))
    broker = cpu_seconds(kafka.pid) - broker
    return _figures(found["events"], found["seconds"], found["cpu_seconds"], broker, others.cores())


def _collector(kafka: Any, pid: int, lines: Path, port: int, sizes: Sizes) -> dict[str, Any]:
    _quieten(sizes, kafka.pid, pid)
    others, broker, cpu = Others(kafka.pid, pid), cpu_seconds(kafka.pid), cpu_seconds(pid)
    load = _send(lines, port, sizes, sizes.kafka_seconds)
    cpu, broker, cores = cpu_seconds(pid) - cpu, cpu_seconds(kafka.pid) - broker, others.cores()
    found = _figures(load.events, load.seconds, cpu, broker, cores)
    return found | {"p50_ms": round(load.p50_ms, 2), "p99_ms": round(load.p99_ms, 2)}


def _send(lines: Path, port: int, sizes: Sizes, seconds: int) -> wrk.Load:
    load = wrk.send(
        lines,
        f"http://127.0.0.1:{port}",
        "/events/batch",
        seconds=seconds,
        connections=sizes.connections,
        events=sizes.events,
    )
    if load.refused or load.broken or not load.events:
        raise IsothermError(f"bench: the collector refused or lost requests: {load}")
    return load


def _quieten(sizes: Sizes, *pids: int) -> None:
    if sizes.kafka_seconds > 1:
        wait_quiet(*pids, seconds=WAIT_SECONDS)


def _figures(events: int, seconds: float, cpu: float, broker: float, others: float) -> dict[str, Any]:
    return {
        "events_per_second": round(events / seconds),
        "cpu_s_per_million": round(cpu / events * 1e6, 3),
        "broker_cpu_s_per_million": round(broker / events * 1e6, 3),
        "others_cores": others,
    }


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: round(median(r[name] for r in rounds), 3) for name in rounds[0] if name != "others_cores"}
