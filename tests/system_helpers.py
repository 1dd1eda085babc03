"""The real program as processes, for tests: start it, ask it, kill parts of it, stop it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container, Generator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

START_SECONDS = 120
STOP_SECONDS = 90
IDLE_SECONDS = 240
QUICK = {"land_flush_seconds": "0.5", "retile_min_seconds": "0.5"}
"""Short intervals: a test waits for events to become visible."""


def isotherm(*arguments: str) -> list[str]:
    """The command line of the program under test."""
    return [sys.executable, "-m", "isotherm", *arguments]


def environment(**settings: Any) -> dict[str, str]:
    """This process's environment with these settings and no others of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ISOTHERM_")}
    return clean | {f"ISOTHERM_{name.upper()}": str(value) for name, value in settings.items()}


def wait_for(what: str, ready: Callable[[], Any], seconds: float) -> Any:
    """Poll until `ready` returns something true, and return that; AssertionError at the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        if found := ready():
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s for {what} in vain"
        pause.wait(0.05)


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self").exists():
            return subprocess.run(["ps", "-p", str(pid)], capture_output=True).returncode == 0
        return False
    return state not in "ZX"


class System:
    """One `isotherm up` on the folder `data`; `settings` are given by environment variables.

    `collect_url` and `app_url` are valid after `start`, and change when it is started again. As a context manager it
    starts, and stops as `stop` says.
    """

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.settings = QUICK | {"log_level": "info"} | settings
        self.process: subprocess.Popen[bytes] | None = None
        self.collect_url = self.app_url = ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._give_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log_file(self) -> Path:
        return self.data.with_name(f"{self.data.name}.stderr")

    def start(self, *extra: str) -> None:
        """Start it on free ports in a process group of its own; returns when both ports are healthy."""
        arguments = ("up", "--data", str(self.data), "--port", "0", "--collect-port", "0", *extra)
        with self.log_file.open("ab") as said:
            self.process = subprocess.Popen(
                isotherm(*arguments), env=environment(**self.settings), stdout=said, stderr=said, start_new_session=True
            )
        running = wait_for("both ports to be healthy", self._running, START_SECONDS)
        self.collect_url, self.app_url = running["collect"], running["app"]
        for url in (self.collect_url, self.app_url):
            assert healthy(url), f"{url} is not healthy:\n{self.said()}"

    def _lives(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"isotherm up ended:\n{self.said()}"
        return True

    def _running(self) -> dict[str, Any] | None:
        self._lives()
        running = self.running()
        if running is None or self.process is None or running["pid"] != self.process.pid:
            return None
        return running if running["ready"] else None

    def running(self) -> dict[str, Any] | None:
        """What run.json says."""
        try:
            return json.loads((self.data / "run.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def said(self) -> str:
        """The end of what the processes wrote to standard error."""
        return self.log_file.read_text(errors="replace")[-6000:] if self.log_file.exists() else ""

    def pid(self, role: str) -> int | None:
        """Process id of `up`, `collect` or `app`; None while it is between two lives."""
        running = self.running()
        if running is None:
            return None
        pid = running["pid"] if role == "up" else running["pids"].get(role)
        return pid if pid is not None and alive(pid) else None

    def kill(self, role: str) -> bool:
        """SIGKILL to `collect`, `app`, `up` (the supervisor alone) or `group` (everything at once).

        False when the role was between two lives. After `up` and `group`, all processes are gone on return.
        """
        assert self.process is not None
        if role in ("collect", "app"):
            pid = self.pid(role)
            if pid is None:
                return False
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
            return True
        family = self.family()
        if role == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=STOP_SECONDS)
        wait_for("every process to be gone", lambda: not any(map(alive, family)), STOP_SECONDS)
        return True

    def family(self) -> list[int]:
        """All processes of the group, by /proc (Linux) or by run.json."""
        assert self.process is not None
        found = [pid for pid in map(int, _numbers(Path("/proc"))) if _group(pid) == self.process.pid]
        running = self.running() or {"pids": {}}
        return found or [self.process.pid, *running["pids"].values()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and assert that it ended cleanly and left no process behind; nothing when it does not run."""
        if self.process is None or self.process.poll() is not None:
            return
        family = self.family()
        self.process.send_signal(number)
        try:
            code = self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._give_up()
            raise AssertionError(f"isotherm up did not stop in {STOP_SECONDS} s:\n{self.said()}") from None
        assert code == 0, f"isotherm up ended with {code}:\n{self.said()}"
        assert not any(map(alive, family)), f"processes were left behind:\n{self.said()}"

    def _give_up(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer of the app; retries while it is between two lives."""
        url = f"{self.app_url}{path}" + (f"?{urlencode(query)}" if query else "")
        return wait_for(f"an answer of {url}", lambda: fetch(url), START_SECONDS)

    def post(self, body: Any) -> dict[str, Any]:
        """POST /events/batch once; the decoded 202."""
        request = Request(
            f"{self.collect_url}/events/batch", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urlopen(request, timeout=30) as response:
            assert response.status == 202
            return json.load(response)

    def wait_idle(self, seconds: float = IDLE_SECONDS) -> None:
        """Return when everything acknowledged is landed and tiled."""
        try:
            wait_for("everything to be landed and tiled", lambda: self._lives() and self.idle(), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{fetch(f'{self.app_url}/v1/status')}\n{self.said()}") from None

    def idle(self) -> bool:
        """Whether nothing waits but the sums of the day and week that still run: reads take their parts instead."""
        status = fetch(f"{self.app_url}/v1/status")
        return status is not None and status["idle"]

    def run(self, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
        """Run a command on this data folder, with the system's settings."""
        return subprocess.run(
            isotherm(*arguments, "--data", str(self.data)),
            env=environment(**self.settings), capture_output=True, text=True, timeout=600, **more,
        )  # fmt: skip

    def run_json(self, *arguments: str) -> Any:
        """The JSON a command prints; its exit code may be 1, which is an answer too."""
        done = self.run(*arguments)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


@contextmanager
def role(data: Path, *arguments: str, number: int = 0) -> Generator[Path]:
    """A role as its own process, ended by Ctrl-C, after which it must have ended well; gives the file of what it said.

    `number` tells several of one role apart.
    """
    said = data.with_name(f"{arguments[0]}-{number}.stderr")
    with said.open("wb") as file:
        process = subprocess.Popen(
            isotherm(*arguments, "--data", str(data)),
            env=environment(land_flush_seconds=0.2, retile_min_seconds=0.2), stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    assert code == 0, said.read_text()
    assert "Traceback" not in said.read_text()


def fetch(url: str, *, nothing: Container[int] = (503,)) -> Any:
    """Decoded JSON, or None without an answer or with a status in `nothing`; others are an AssertionError."""
    try:
        with urlopen(url, timeout=60) as response:
            return json.load(response)
    except HTTPError as error:
        with error:
            if error.code not in nothing:
                raise AssertionError(f"{url}: {error.code} {error.read()[:500]!r}") from None
        return None
    except (URLError, OSError, HTTPException):
        return None


def healthy(url: str) -> bool:
    """Whether GET /v1/healthz answers 200."""
    try:
        with urlopen(f"{url}/v1/healthz", timeout=5) as response:
            return response.status == 200
    except HTTPError as error:
        error.close()
        return False
    except (URLError, OSError, HTTPException):
        return False


def _numbers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
