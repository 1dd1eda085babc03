"""Live windows as processes: collector, two streams and the API on one folder, with Redis between them."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import redis
from system_helpers import environment, fetch, healthy, isotherm, wait_for

from isotherm.cli.processes import free_port

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


@contextmanager
def role(data: Path, cache: str, name: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A role as its own process, on these stores."""
    said = data.with_name(f"{name}.stderr")
    with said.open("ab") as file:
        process = subprocess.Popen(
            isotherm(name, *arguments, "--data", str(data)),
            env=environment(cache=cache), stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    assert code in (0, -signal.SIGKILL), said.read_text()


def send(collect: str, batch: str, moments: list[int]) -> None:
    events = [{"event_time": ms, "event_type": "click", "x_norm": 0.5, "y_norm": 0.5} for ms in moments]
    body = {"client_id": "shop", "screen_id": "home", "batch_id": batch, "events": events}
    content = {"content-type": "application/json"}
    with urlopen(Request(f"{collect}/events/batch", json.dumps(body).encode(), content), timeout=30) as answer:
        assert answer.status == 202


@pytest.mark.drill
def test_windows_through_redis_survive_a_killed_stream_and_a_flush(redis_server: Any, tmp_path: Path) -> None:
    data, cache = tmp_path / "data", redis_server.url
    ports = [free_port("127.0.0.1") for _ in range(2)]
    collect, app = (f"http://127.0.0.1:{port}" for port in ports)
    now = int(time.time() * 1000)
    hour = now // 3_600_000 * 3_600_000

    def answer() -> Any:
        asked = urlencode({"client_id": "shop", "screen_id": "home", "size": "1h"})
        return fetch(f"{app}/v1/live/windows?{asked}") or {"windows": []}

    def shows(clicks: int) -> bool:
        found = answer()
        return sum(w["total"] for w in found["windows"]) == clicks and found["degraded"] is None

    with ExitStack() as stack:
        stack.enter_context(role(data, cache, "collect", "--collect-port", str(ports[0])))
        wait_for("the collector", lambda: healthy(collect), 120)
        stack.enter_context(role(data, cache, "serve", "--port", str(ports[1])))
        wait_for("the app", lambda: healthy(app), 120)
        assert "no process counts windows now" in answer()["degraded"]

        first = stack.enter_context(role(data, cache, "stream"))
        send(collect, "a", [now - i for i in range(30)])
        send(collect, "a", [now - i for i in range(30)])
        wait_for("30 clicks", lambda: shows(30), 60)
        starts = [w["start"] for w in answer()["windows"]]
        assert all(start.endswith(":00:00.000Z") for start in starts)
        assert len(starts) == len({(now - i) // 3_600_000 for i in range(30)})

        second = stack.enter_context(role(data, cache, "stream"))
        first.kill()
        send(collect, "b", [now, hour - 1])
        wait_for("32 clicks by the other stream", lambda: shows(32), 120)
        assert second.poll() is None

        with redis.Redis.from_url(cache) as server:
            server.flushdb()
        wait_for("the windows again, after a flush", lambda: shows(32), 60)


def test_a_stream_whose_windows_nobody_could_see_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        isotherm("stream", "--data", str(tmp_path / "data")), env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "set `cache` to redis://" in done.stderr.replace("Set", "set")


def test_flink_by_name_needs_its_address(tmp_path: Path) -> None:
    arguments = ("stream", "--engine", "flink", "--cache", "redis://127.0.0.1:1/0", "--data", str(tmp_path / "data"))
    done = subprocess.run(isotherm(*arguments), env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert "--stream flink://host:port" in done.stderr
