"""What all servers under test have in common: a folder, free ports, a process group, and a real check."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from services import guard
from services.ports import free_port, listeners, members

TAIL = 4000
IN_USE = ("address already in use", "address in use", "bindexception", "could not bind")


class Failed(AssertionError):
    """A server did not do what it was told; the end of its log is part of the message."""


def wait_until(what: str, ready: Callable[[], Any], seconds: float) -> Any:
    """Poll until `ready` returns something true, and return that; Failed at the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:g} s for {what} in vain")
        time.sleep(0.02)
    return found


def _moving(group: int) -> bool:
    """Whether a thread of a process group does anything but stand still; a busy machine stops it late."""
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "TtZX":
                return True
    return False


class Server:
    """One server process and its children, in a process group and a folder of their own.

    A subclass says its `command`, what to `prepare` in the folder and whether the server `answers`. Ports are chosen
    at the first start and stay through every restart. The folder goes away with `stop`.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("port",)
    start_seconds: ClassVar[float] = 60
    stop_seconds: ClassVar[float] = 30
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    user: str | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"isotherm-{self.name}-"))
        guard.tell(f"+d {self.folder}")
        self.ports: dict[str, int] = {}
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The command line; never with a secret in it, since every user of a machine can read it."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Variables added to this process's environment."""
        return {}

    def prepare(self) -> None:
        """Write what the server needs into its folder; called before every start, `ports` are set."""

    def answers(self) -> bool:
        """Whether the server does its work now; exceptions mean no."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port that clients use."""
        return self.ports[self.port_names[0]]

    @property
    def pid(self) -> int:
        """Process id of the server, which is also the id of its process group."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def log_file(self) -> Path:
        """What the process wrote to its standard output and error, over all its lives."""
        return self.folder / f"{self.name}.log"

    def start(self) -> Self:
        """Start it and return when it answers; Failed with the end of its log otherwise."""
        assert not self.runs(), f"{self.name} runs already"
        fresh = not self.ports
        for attempt in range(3):
            self.ports = self.ports or {name: free_port() for name in self.port_names}
            try:
                self._start_once()
            except Failed as error:
                self._end(signal.SIGKILL)
                taken = any(words in str(error).lower() for words in IN_USE)
                if not (fresh and taken and attempt < 2):
                    raise
                self.ports = {}
            else:
                return self
        raise AssertionError("unreachable")

    def _start_once(self) -> None:
        self.starts += 1
        self.prepare()
        self.log_file.touch()
        before = self.log_file.stat().st_size
        with self.log_file.open("ab") as said:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment()},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                **self._as_user(),
            )
        guard.tell(f"+g {self.pid}")
        try:
            wait_until(f"{self.name} to answer", self._ready, self.start_seconds)
        except Failed as error:
            raise Failed(f"{error}\n{self.log_file}:\n{self.said(before)}") from None
        self.prove_ownership()

    def _as_user(self) -> dict[str, Any]:
        """Arguments for Popen: another user for servers that refuse root."""
        return {"user": self.user, "group": _group_of(self.user), "extra_groups": []} if self.user else {}

    def _ready(self) -> bool:
        if not self.runs():
            assert self.process is not None
            raise Failed(f"{self.name} ended with code {self.process.returncode}")
        try:
            return self.answers()
        except Exception:  # noqa: BLE001  # whatever a client raises while its server starts
            return False

    def prove_ownership(self) -> None:
        """Failed when somebody else listens on one of the ports: a check that answers is no proof of who answered."""
        for name, port in self.ports.items():
            found = listeners(port)
            if found is None:
                return
            ours = members(self.pid)
            if found and not found & ours:
                raise Failed(f"{self.name}: address in use: {name} {port} is another's, of process {sorted(found)}")
            if not found:
                raise Failed(f"{self.name} does not listen on its {name} {port}")

    def runs(self) -> bool:
        """Whether the process lives (a stopped one, see `cut`, does)."""
        return self.process is not None and self.process.poll() is None

    def said(self, since: int = 0) -> str:
        """The end of the log, from byte `since` on."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_bytes()[since:][-TAIL:].decode(errors="replace")

    def halt(self) -> None:
        """End it in its own good time (SIGKILL after `stop_seconds`); folder and ports stay, for `start`."""
        self._end(self.stop_signal)

    def kill9(self) -> None:
        """SIGKILL to the whole process group; returns when all are gone. `start` goes on with the same data."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Halt it if it runs, and start it on the same ports and data."""
        self.halt()
        return self.start()

    def cut(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, like a peer that hangs. Returns when all stand still."""
        os.killpg(self.pid, signal.SIGSTOP)
        wait_until(f"{self.name} to stand still", lambda: not _moving(self.pid), 10)

    def resume(self) -> None:
        """SIGCONT, after `cut`."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and remove its folder; nothing when that was done."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)
        guard.tell(f"-d {self.folder}")

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)  # one that is stopped would never see another signal
            self._signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.stop_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        wait_until(f"the processes of {self.name} to be gone", lambda: not members(self.pid), 10)
        guard.tell(f"-g {self.pid}")
        self.process = None

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid
