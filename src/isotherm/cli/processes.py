"""What the processes of one data folder need to know of each other: ports, the lock of `up`, its run.json."""

import contextlib
import ctypes
import errno
import fcntl
import os
import random
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from msgspec import Struct

from isotherm.config import Settings, as_text
from isotherm.errors import ConfigError, IsothermError

_PR_SET_PDEATHSIG: Final = 1
_ATTEMPTS: Final = 20
# Below every system's range for outgoing connections: a client that retries while the port is closed could
# otherwise be given this very port as its own, connect to itself, and keep the server from coming back.
_FREE_PORTS: Final = range(20_000, 32_000)


class Running(Struct, frozen=True):
    """The program that runs on a data folder, as DATA/run.json says.

    `pids` maps role to process id; `ready` is set once every role has been healthy.
    """

    pid: int
    version: str
    started_at: int
    app: str
    collect: str
    pids: dict[str, int] = {}
    ready: bool = False


def die_with_parent(parent: int) -> None:
    """End this process at once when the process `parent`, which started it, is gone.

    Linux sends SIGKILL by itself; elsewhere, and as a second net, a thread watches. What was acknowledged is on
    disk, so nothing is lost by the sudden end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def free_port(host: str) -> int:
    """A port nobody listens on at the moment."""
    chance = random.SystemRandom()
    for _ in range(100):
        port = chance.choice(_FREE_PORTS)
        with contextlib.suppress(OSError):
            listen(host, port).close()
            return port
    raise ConfigError(f"no free port found on {host}; name one with --port and --collect-port")


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket, not yet listening. Raises OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def claim(host: str, port: int, setting: str) -> socket.socket:
    """`listen` with an error a person can act on; `setting` is the flag that chooses the port.

    Raises ConfigError that names the port.
    """
    flag = f"--{setting.replace('_', '-')}"
    try:
        return listen(host, port)
    except socket.gaierror:
        raise ConfigError(f"{setting.replace('port', 'host')}: {host!r} is not an address of this machine") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is in use by another program. Choose another with {flag} (0 picks a free "
                "one), or stop that program."
            ) from None
        if error.errno == errno.EACCES:
            raise ConfigError(
                f"port {port} needs rights this user does not have; choose one above 1023 with {flag}"
            ) from None
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror} ({flag})") from None


def fix_port(settings: Settings, host: str, port: str) -> Settings:
    """The settings with the port 0 replaced by a free one; `host` and `port` name settings.

    Raises ConfigError when the port is taken.
    """
    address, number = getattr(settings, host), getattr(settings, port)
    if number == 0:
        return settings.model_copy(update={port: free_port(address)})
    claim(address, number, port).close()
    return settings


def same_port(port: int) -> ConfigError:
    """The error for an app and a collector that want one port."""
    return ConfigError(f"port and collect_port are both {port}; the app and the collector need two different ports")


def url_of(host: str, port: int) -> str:
    """Where a program of this machine reaches a server bound to `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reachable}:{port}"


def environment(settings: Settings) -> dict[str, str]:
    """The settings as ISOTHERM_* variables, for a child process: it sees exactly what its parent sees."""
    values: dict[str, str] = {}
    for name, value in settings.model_dump().items():
        text = as_text(value)
        if name == "data":
            text = str(settings.data.absolute())
        values[f"ISOTHERM_{name.upper()}"] = text
    return values


class UpLock:
    """The lock that only one `isotherm up` per data folder holds; it goes with its process, however that ends."""

    def __init__(self, data: Path) -> None:
        """Take the lock. Raises IsothermError naming the process that has it."""
        make_folder(data)
        self._file = _locked(data / "up.lock")
        if self._file is None:
            running = read_running(data)
            who = f"process {running.pid}, {running.app}" if running else "it is just starting or stopping"
            raise IsothermError(
                f"`isotherm up` already runs on {data.absolute()} ({who}). Use that one, stop it first"
                + (f" (kill {running.pid})" if running else "")
                + ", or give this one another folder with --data."
            )

    def close(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def make_folder(data: Path) -> None:
    """Make the data folder, readable by its owner only. Raises ConfigError when that is impossible."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / ".write-test").write_bytes(b"")
        (data / ".write-test").unlink()
    except OSError as error:
        raise ConfigError(
            f"data: {data.absolute()} cannot be used ({error.strerror}); choose a folder you can write to with --data"
        ) from None


def _locked(path: Path, seconds: float = 0.5) -> IO[bytes] | None:
    """The locked file, or None when somebody holds the lock for longer than a look at it takes."""
    file = path.open("ab")
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < _ATTEMPTS:
                time.sleep(seconds / _ATTEMPTS)
        else:
            return file
    file.close()
    return None


def up_holds(data: Path) -> bool:
    """Whether some `isotherm up` holds the data folder now."""
    path = data / "up.lock"
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def write_running(data: Path, running: Running) -> None:
    """Replace DATA/run.json in one step."""
    new = data / "run.json.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(running)) + b"\n")
    new.replace(data / "run.json")


def remove_running(data: Path) -> None:
    """Remove DATA/run.json."""
    (data / "run.json").unlink(missing_ok=True)


def read_running(data: Path) -> Running | None:
    """What runs on the data folder; None when nothing does, also when a killed `up` left its run.json behind."""
    if not up_holds(data):
        return None
    try:
        return msgspec.json.decode((data / "run.json").read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def refuse_beside_up(settings: Settings, role: str) -> None:
    """Raise IsothermError when `isotherm up` already plays this role on the data folder."""
    running = read_running(settings.data)
    if running is not None:
        raise IsothermError(
            f"`isotherm up` (process {running.pid}) runs on {settings.data.absolute()} and already includes {role}. "
            "Stop it first, or use another folder with --data."
        )


def environment_without_settings() -> dict[str, Any]:
    """This process's environment without ISOTHERM_* variables, in UTC."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISOTHERM_")}
    return kept | {"TZ": "UTC"}
