"""HTTP load by wrk: one thread, so that the program under test has the other core."""

import json
import subprocess
from pathlib import Path
from typing import Final
from uuid import uuid4

from bench import machine
from bench.load.result import Load
from isotherm.errors import IsothermError

SCRIPT: Final = Path(__file__).with_name("post.lua")


def send(bodies: Path, url: str, path: str, *, seconds: int, connections: int, events: int, rate: int = 0) -> Load:
    """POST the bodies for `seconds`; `rate` is in events per second, 0 for as fast as the server answers.

    Raises IsothermError when wrk fails.
    """
    command = [machine.program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), url, "--"]
    command += [str(bodies), path, uuid4().hex[:14], str(rate / events)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise IsothermError(f"bench: wrk failed: {done.stdout}{done.stderr}")
    found = json.loads(line.removeprefix("RESULT "))
    good = found["requests"] - found["refused"]
    return Load(
        events=good * events,
        seconds=found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        max_ms=found["max_ms"],
        refused=found["refused"],
        broken=found["broken"],
    )
