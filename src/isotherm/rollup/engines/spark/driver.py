"""Spark's driver as a process of ours: started by spark-submit when there is work, kept for the next order.

Starting Spark takes about ten seconds; a backfill of a hundred buckets pays that once. Orders and answers are lines
of JSON over a Unix socket in a private folder. The driver says every few seconds that it lives; one that is silent,
or ends, fails the order in hand, and the next order starts a new one. When this process ends, however it does, the
socket closes and the driver ends too.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from isotherm.clock import SECOND_MS, SystemClock
from isotherm.errors import IsothermError
from isotherm.rollup.engines.spark.scratch import Scratch
from isotherm.rollup.engines.spark.submit import JOB, Submission

START_S: Final = 300.0
"""A driver that has not connected by then is not coming; fetching jars may be part of it."""
SILENCE_S: Final = 60.0
PATIENCE_S: Final = 120.0
"""A job that no executor takes for this long is given up."""
JOB_S: Final = 3600.0
"""As long as the tile store's own engine has."""
SEND_S: Final = 30.0
STOP_S: Final = 20.0
TAIL_LINES: Final = 40


class SparkFailed(IsothermError):
    """Spark did not do an order. The bucket stays as it was, and dirty."""


class Driver(Protocol):
    """Does orders; see `job.py` for what they are."""

    def ask(self, order: dict[str, Any], scratch: Scratch) -> dict[str, Any]:
        """The order's answer. Raises SparkFailed."""
        ...

    def close(self) -> None:
        """End what runs; the next order starts it again."""
        ...


def open_driver(submission: Submission) -> Driver:
    """The driver for a submission: one that stays, or with deploy mode `cluster` one per order."""
    return OneByOne(submission) if submission.deploy_mode == "cluster" else StandingDriver(submission)


class _Process:
    """spark-submit, its process group, and the end of what it said."""

    def __init__(self, submission: Submission, folder: Path, job: str, arguments: list[str]) -> None:
        self._submission = submission
        options = submission.write_options(folder)
        self._process = subprocess.Popen(
            submission.command(options, job, arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=submission.environment(),
            start_new_session=True,
        )
        self._said: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._reader = threading.Thread(target=self._read, daemon=True, name="spark-submit")
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """The exit code, None when it still runs."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def end(self) -> None:
        """SIGKILL to all of the group that is left, and wait."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(STOP_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def said(self) -> str:
        """The last lines it wrote, without secrets."""
        text = b"".join(self._said).decode(errors="replace")
        return self._submission.without_secrets(text).strip()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line[:1_000])


class StandingDriver:
    """A driver that stays between orders. Orders of several threads wait for each other."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._guard = threading.Lock()
        self._process: _Process | None = None
        self._socket: socket.socket | None = None
        self._unread = b""
        self.sign: dict[str, Any] = {}
        """The driver's last sign of life: its `executors`, and how many of Spark's `jobs` are under way."""

    @property
    def pid(self) -> int | None:
        """Process id of spark-submit, which becomes the driver; None when none runs."""
        return None if self._process is None else self._process.pid

    def ask(self, order: dict[str, Any], scratch: Scratch) -> dict[str, Any]:
        with self._guard:
            try:
                if self._process is not None and self._process.poll() is not None:
                    self._end()
                if self._process is None:
                    self._start()
                answer = self._exchange(order)
            except OSError as error:
                raise self._failure(f"Spark's driver went away ({error})") from None
            except BaseException:
                self._end()
                raise
            if "error" not in answer:
                return answer
            if answer.get("fatal"):
                self._end()
        raise SparkFailed(f"Spark: {self._submission.without_secrets(answer['error'])}")

    def close(self) -> None:
        """End the driver now; an order in hand fails."""
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self._guard:
            if self._process is not None:
                self._process.wait(STOP_S)
            self._end()

    def _start(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="isotherm-spark-"))
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                address = str(folder / "orders")
                listener.bind(address)
                listener.listen(1)
                listener.settimeout(0.2)
                self._process = _Process(
                    self._submission, folder, str(JOB), ["--socket", address, "--patience", str(PATIENCE_S)]
                )
                self._socket = self._accept(self._process, listener)
            self._unread = b""
            self._next(START_S)
        finally:
            # The driver has read its options and found the socket.
            shutil.rmtree(folder, ignore_errors=True)

    def _accept(self, process: _Process, listener: socket.socket) -> socket.socket:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                return listener.accept()[0]
            if process.poll() is not None:
                raise self._failure(f"spark-submit ended with code {process.poll()}")
        raise self._failure(f"spark-submit did not start a driver within {START_S:.0f} s")

    def _exchange(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._socket is not None
        self._socket.settimeout(SEND_S)
        self._socket.sendall(json.dumps(order).encode() + b"\n")
        deadline = time.monotonic() + JOB_S
        while time.monotonic() < deadline:
            message = self._next(SILENCE_S)
            if "alive" not in message:
                return message
            self.sign = message
        raise self._failure(f"the job did not end within {JOB_S:.0f} s")

    def _next(self, silence_s: float) -> dict[str, Any]:
        """The driver's next message."""
        assert self._socket is not None
        assert self._process is not None
        deadline = time.monotonic() + silence_s
        self._socket.settimeout(1.0)
        while b"\n" not in self._unread:
            if time.monotonic() > deadline:
                raise self._failure(f"Spark's driver has said nothing for {silence_s:.0f} s")
            try:
                part = self._socket.recv(1 << 16)
            except TimeoutError:
                if self._process.poll() is not None:
                    raise self._failure(f"Spark's driver ended with code {self._process.poll()}") from None
                continue
            if not part:
                self._process.wait(STOP_S)
                raise self._failure(f"Spark's driver ended with code {self._process.poll()}")
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def _failure(self, what: str) -> SparkFailed:
        """The error to raise; the driver is ended."""
        process = self._process
        self._end()
        return SparkFailed(_with_tail(what, process))

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.end()
        self._process = self._socket = None


class OneByOne:
    """A spark-submit per order, for clusters that start the driver themselves (deploy mode `cluster`).

    The program, the order and the answer lie in the scratch folder, so the lake must be one that the cluster reads.
    """

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._guard = threading.Lock()

    def ask(self, order: dict[str, Any], scratch: Scratch) -> dict[str, Any]:
        scratch.put("job.py", JOB.read_bytes())
        scratch.put("order.json", json.dumps(order).encode() + b"\n")
        here = self._submission.deploy_mode == "client"
        job = str(JOB) if here else scratch.url("job.py")
        # In the cluster the driver outlives spark-submit and us, and the next try must not find it at work.
        until = SystemClock().now_ms() // SECOND_MS + round(JOB_S)
        arguments = ["--once", "--order", scratch.url("order.json"), "--answer", scratch.url("answer")]
        arguments += ["--until", str(until)]
        with self._guard, tempfile.TemporaryDirectory(prefix="isotherm-spark-") as folder:
            process = _Process(self._submission, Path(folder), job, arguments)
            try:
                code = process.wait(JOB_S)
            finally:
                process.end()
            answers = [json.loads(line) for line in scratch.lines("answer")]
            if not answers:
                what = f"did not end within {JOB_S:.0f} s" if code is None else f"ended with code {code}, no answer"
                raise SparkFailed(_with_tail(f"spark-submit {what}", process))
        if "error" in answers[0]:
            raise SparkFailed(f"Spark: {self._submission.without_secrets(answers[0]['error'])}")
        return answers[0]

    def close(self) -> None:
        """Nothing stays between orders."""


def _with_tail(what: str, process: _Process | None) -> str:
    said = "" if process is None else process.said()
    return f"{what}; the bucket is tiled again later. Its last words:\n{said}" if said else what
