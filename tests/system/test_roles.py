"""Each role by itself: collect, land, rollup, serve as four processes on one data folder."""

import json
import subprocess
import time
from pathlib import Path
from urllib.request import Request, urlopen

from system_helpers import environment, fetch, healthy, isotherm, role, wait_for

from isotherm.cli.processes import free_port


def test_the_roles_one_by_one_make_the_same_map(tmp_path: Path) -> None:
    data = tmp_path / "data"
    port, collect_port = free_port("127.0.0.1"), free_port("127.0.0.1")
    now = int(time.time() * 1000)
    events = [{"event_time": now, "event_type": "mousemove", "x_norm": 0.995, "y_norm": 0.0}] * 7
    body = json.dumps({"client_id": "shop", "screen_id": "home", "events": events}).encode()
    with role(data, "collect", "--collect-port", str(collect_port)):
        collect = f"http://127.0.0.1:{collect_port}"
        wait_for("the collector", lambda: healthy(collect), 60)
        request = Request(f"{collect}/events/batch", body, {"content-type": "application/json"})
        with urlopen(request, timeout=30) as response:
            assert json.load(response)["accepted"] == 7
        landed = subprocess.run(isotherm("land", "--once", "--data", str(data)), env=environment(), capture_output=True)
        assert landed.returncode == 0, landed.stderr

    with role(data, "rollup"):
        ask = isotherm("status", "--json", "--data", str(data))

        def tiled() -> bool:
            status = json.loads(subprocess.run(ask, env=environment(), capture_output=True).stdout)
            return status["tiles"].get("hour", 0) == 1 and not status["dirty"].get("hour")

        wait_for("the hour to be tiled", tiled, 60)
    with role(data, "serve", "--port", str(port)):
        app = f"http://127.0.0.1:{port}"
        wait_for("the query API", lambda: healthy(app), 60)
        hour = now - now % 3_600_000
        answer = fetch(f"{app}/v1/heatmap?client_id=shop&screen_id=home&from={hour}&to={hour + 3_600_000}")
        assert answer["cells"] == [{"cell_x": 99, "cell_y": 0, "count": 7}]
