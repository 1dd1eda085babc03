"""How long an event takes from the collector into a live window: Flink beside the built-in consumer, over Kafka.

The way is the whole one: POST to the collector, the topic, the engine, Redis, and the query API, asked every 10 ms.
The floor is the way to Kafka and back: a plain consumer that sees the same batch.
"""

import http.client
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from bench.distributed.collect import WAIT_SECONDS, collector
from bench.distributed.servers import on_kafka, started, variables
from bench.ingest.isotherm import environment
from bench.load import bodies as load_bodies
from bench.load import wrk
from bench.load.bodies import Body
from bench.noise import Others, wait_quiet
from bench.processes import cpu_seconds, free_port, listening, running, wait_for
from bench.sizes import Sizes
from isotherm.clock import HOUR_MS, SystemClock
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.kafka_client import target_of

ENGINES: Final = {"builtin": "built-in consumer", "flink": "Flink, and our consumer of its topic"}
CLIENT: Final = "bench-0"
ASK_S: Final = 0.01
PAUSE_S: Final = 1.0
"""Between two probes at most: they come at any moment of an engine's rhythm."""
SEEN_S: Final = 60.0
READY_S: Final = 240.0


@dataclass(frozen=True)
class Place:
    """A running deployment: its ports, the processes of its engine, and its settings."""

    collect_port: int
    port: int
    pids: list[int]
    """Of the engine: our process, and Flink's."""
    roles: list[int]
    """Of all roles of ours."""
    settings: dict[str, str]

    def windows(self, client_id: str, screen_id: str) -> dict[str, Any]:
        """GET /v1/live/windows of the hour."""
        asked = urlencode({"client_id": client_id, "screen_id": screen_id, "size": "1h"})
        return json.loads(_ask(self.port, "GET", f"/v1/live/windows?{asked}"))

    def total(self, client_id: str, screen_id: str) -> int:
        """Events in all windows of the screen."""
        return sum(window["total"] for window in self.windows(client_id, screen_id)["windows"])


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """One engine after the other on the same servers, each with topics, a folder and a Redis database of its own."""
    # An hour ago: none of the events claims to lie ahead.
    bodies = load_bodies.make(sizes.bodies, sizes.events, SystemClock().now_ms() - HOUR_MS)
    lines = folder / "bodies.txt"
    load_bodies.write(bodies, lines)
    found: dict[str, Any] = {}
    with started("kafka", "redis", "flink") as servers:
        for number, name in enumerate(ENGINES):
            with _deployed(name, number, servers, folder / name, lines) as place:
                found[name] = {"name": ENGINES[name]} | _measured(place, sizes, servers, lines, bodies)
            print(f"  {name} {found[name]}", flush=True)
    return {"probes": sizes.window_probes, "load_average": round(os.getloadavg()[1], 1), "engines": found}


@contextmanager
def _deployed(name: str, number: int, servers: dict[str, Any], data: Path, lines: Path) -> Iterator[Place]:
    flink = servers["flink"]
    settings = on_kafka(servers["kafka"]) | {"cache": f"{servers['redis'].url.rpartition('/')[0]}/{number}"}
    if name == "flink":
        settings |= {"stream": f"flink://{flink.gateway.removeprefix('http://')}"}
    port = free_port()
    env = environment() | variables(settings)
    command = [sys.executable, "-m", "isotherm"]
    with ExitStack() as stack:
        collect, collect_port = stack.enter_context(collector(data, lines, settings))
        serve = [*command, "serve", "--port", str(port), "--data", str(data)]
        app = stack.enter_context(running(serve, data / "serve.log", env=env))
        stream = stack.enter_context(running([*command, "stream", "--data", str(data)], data / "stream.log", env=env))
        wait_for("isotherm serve", lambda: listening(port), 120, app)
        pids = [stream.pid, *([flink.task_manager.pid, flink.job_manager.pid] if name == "flink" else [])]
        yield Place(collect_port, port, pids, [collect.pid, app.pid, stream.pid], settings)


def _measured(place: Place, sizes: Sizes, servers: dict[str, Any], lines: Path, bodies: list[Body]) -> dict[str, Any]:
    with _following(place) as arrived:
        _probe(place, "ready", arrived, READY_S)
        pids = [servers["kafka"].pid, servers["redis"].pid, *(part.pid for part in servers["flink"].parts)]
        pids += place.roles
        if sizes.window_probes > 3:
            wait_quiet(*pids, seconds=WAIT_SECONDS)
        others = Others(*pids)
        seen = [_probe(place, f"probe-{number}", arrived, SEEN_S) for number in range(sizes.window_probes)]
        cores = others.cores()
    delays, floor = ([one[at] * 1000 for one in seen] for at in (0, 1))
    return {
        "p50_ms": round(statistics.median(delays)),
        "p95_ms": round(float(np.percentile(delays, 95))),
        "floor_p50_ms": round(statistics.median(floor)),
        "floor_p95_ms": round(float(np.percentile(floor, 95))),
        "others_cores": cores,
        **_counted(place, sizes, lines, bodies),
    }


def _probe(place: Place, screen: str, arrived: dict[str, float], patience: float) -> tuple[float, float]:
    """Seconds from sending one click until the live window shows it, and until a plain consumer has it."""
    time.sleep(random.uniform(0, PAUSE_S))
    now = SystemClock().now_ms()
    body = {
        "client_id": CLIENT,
        "screen_id": screen,
        "batch_id": f"{screen}-{now}",
        "events": [{"event_time": now, "event_type": "click", "x_norm": 0.5, "y_norm": 0.5}],
    }
    start = time.perf_counter()
    _ask(place.collect_port, "POST", "/events/batch", json.dumps(body).encode())
    while not place.total(CLIENT, screen):
        if time.perf_counter() - start > patience:
            said = place.windows(CLIENT, screen)["degraded"]
            raise IsothermError(f"bench: a click was not in its live window after {patience:.0f} s; {said}")
        time.sleep(ASK_S)
    shown = time.perf_counter() - start
    wait_for("the plain consumer", lambda: screen in arrived, SEEN_S, None)
    return shown, arrived[screen] - start


@contextmanager
def _following(place: Place) -> Iterator[dict[str, float]]:
    """A plain consumer of the topic; gives when each screen's first record was there."""
    arrived: dict[str, float] = {}
    over, ready = threading.Event(), threading.Event()
    target = target_of(place.settings["log"], Settings())
    consumer = Consumer(target.client() | {"group.id": "floor", "enable.auto.commit": False})

    def follow() -> None:
        topic = consumer.list_topics(target.topic, READY_S).topics[target.topic]
        consumer.assign([TopicPartition(target.topic, number, 0) for number in topic.partitions])
        ready.set()
        while not over.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                screen = (message.key() or b"").decode().partition("|")[2]
                arrived.setdefault(screen, time.perf_counter())

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        ready.wait(READY_S)
        yield arrived
    finally:
        over.set()
        thread.join()
        consumer.close()


def _counted(place: Place, sizes: Sizes, lines: Path, bodies: list[Body]) -> dict[str, Any]:
    """CPU seconds of the engine for a paced load, from its start until every event of it is in a window."""
    screens = sorted({(body.client_id, body.screen_id) for body in bodies})
    before = sum(place.total(*screen) for screen in screens)
    cpu, start = sum(map(cpu_seconds, place.pids)), time.perf_counter()
    load = wrk.send(
        lines,
        f"http://127.0.0.1:{place.collect_port}",
        "/events/batch",
        seconds=sizes.window_seconds,
        connections=sizes.connections,
        events=sizes.events,
        rate=sizes.window_rate,
    )
    end = time.perf_counter()

    def all_counted() -> bool:
        return sum(place.total(*screen) for screen in screens) - before >= load.events

    wait_for("every event to be in a live window", all_counted, READY_S, None)
    took, cpu = time.perf_counter(), sum(map(cpu_seconds, place.pids)) - cpu
    return {
        "events": load.events,
        "load_events_per_second": round(load.rate),
        "counted_after_seconds": round(took - end, 1),
        "cpu_s_per_million": round(cpu / load.events * 1e6, 2),
        "cores": round(cpu / (took - start), 2),
    }


def _ask(port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    """The answer's body. Raises IsothermError unless the status is 200 or 202."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status not in (http.client.OK, http.client.ACCEPTED):
        raise IsothermError(f"bench: {method} {path} answered {answer.status}: {content[:300]!r}")
    return content
