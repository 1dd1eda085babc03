"""The supervisor's decisions with small stand-in children: restart, give up, kill what hangs, stop in order."""

import asyncio
import os
import signal
import socket
import sys
import textwrap
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from isotherm.cli import supervisor
from isotherm.cli.supervisor import Role, Supervisor, answers
from isotherm.errors import IsothermError

CHILD = textwrap.dedent(
    """
    import http.server, os, pathlib, signal, sys
    folder, name, port, how = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    with (folder / "starts").open("a") as file:
        file.write(f"{name}\\n")
    if how == "refuses":
        sys.exit(1)
    def stop(*_):
        with (folder / "stops").open("a") as file:
            file.write(f"{name}\\n")
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if how == "hangs" and (folder / "hang").exists():
                signal.pause()
            self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
        def log_message(self, *_): pass
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
    """
)


class Log:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **_: self.said.append(event)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Children are this script instead of `python -m isotherm`."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    started = asyncio.create_subprocess_exec

    def start(program: str, *arguments: str, **more: Any) -> Coroutine[Any, Any, Any]:
        return started(sys.executable, str(script), *arguments[2:-2], **more)

    monkeypatch.setattr(supervisor.asyncio, "create_subprocess_exec", start)
    return tmp_path


def role(folder: Path, name: str, how: str = "serves") -> Role:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    return Role(name, (str(folder), name, str(port), how), f"http://127.0.0.1:{port}/v1/healthz")


def made(roles: list[Role], log: Log, **more: Any) -> Supervisor:
    return Supervisor(roles, dict(os.environ), log, lambda pids: None, **more)


async def until(ready: Any) -> None:
    async with asyncio.timeout(30):
        while not ready():
            await asyncio.sleep(0.01)


def names(folder: Path, what: str) -> list[str]:
    return (folder / what).read_text().split() if (folder / what).exists() else []


def test_stops_in_the_order_of_the_roles(fake: Path) -> None:
    log = Log()

    async def play() -> None:
        keeper = made([role(fake, "first"), role(fake, "second")], log)
        await keeper.run(lambda: os.kill(os.getpid(), signal.SIGTERM))

    asyncio.run(play())
    assert names(fake, "stops") == ["first", "second"]


@pytest.mark.parametrize("how", ["serves", "hangs"])
def test_the_first_has_a_head_start_and_no_more(fake: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The second starts when the first is healthy, or has had its time."""
    monkeypatch.setattr(supervisor, "HEAD_START_SECONDS", 0.5 if how == "hangs" else 600)
    if how == "hangs":
        (fake / "hang").touch()
    seen: list[bool] = []

    async def play() -> None:
        first, second = role(fake, "first", how), role(fake, "second")
        keeper = made([first, second], Log())
        task = asyncio.create_task(keeper.run(lambda: None))
        await until(lambda: second.process is not None)
        seen.append(first.healthy.is_set())
        await until(second.healthy.is_set)
        keeper.stopping.set()
        (fake / "hang").unlink(missing_ok=True)
        await task

    asyncio.run(play())
    assert seen == [how == "serves"]


def test_stopped_meanwhile_the_second_never_starts(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HEAD_START_SECONDS", 600)
    (fake / "hang").touch()

    async def play() -> None:
        first, second = role(fake, "first", "hangs"), role(fake, "second")
        keeper = made([first, second], Log())
        task = asyncio.create_task(keeper.run(lambda: None))
        await until(lambda: first.process is not None)
        keeper.stopping.set()
        (fake / "hang").unlink()
        await task
        assert second.process is None

    asyncio.run(play())


def test_a_killed_child_comes_back(fake: Path) -> None:
    async def play() -> None:
        one = role(fake, "one")
        keeper = made([one], Log())
        task = asyncio.create_task(keeper.run(lambda: None))
        await until(one.healthy.is_set)
        assert one.process is not None
        first = one.process.pid
        one.process.kill()
        await until(lambda: one.process is not None and one.process.pid != first and one.healthy.is_set())
        keeper.stopping.set()
        await task

    asyncio.run(play())
    assert names(fake, "starts") == ["one", "one"]


def test_a_child_that_hangs_is_killed(fake: Path) -> None:
    log = Log()

    async def play() -> None:
        one = role(fake, "one", "hangs")
        keeper = made([one], log, probe_seconds=0.05)
        task = asyncio.create_task(keeper.run(lambda: None))
        await until(one.healthy.is_set)
        (fake / "hang").touch()
        await until(lambda: "does not answer, killing it" in log.said)
        (fake / "hang").unlink()
        await until(lambda: len(names(fake, "starts")) == 2 and one.healthy.is_set())
        keeper.stopping.set()
        await task

    asyncio.run(play())


def test_a_child_that_refuses_to_start_ends_everything(fake: Path) -> None:
    async def play() -> None:
        await made([role(fake, "good"), role(fake, "bad", "refuses")], Log()).run(lambda: None)

    with pytest.raises(IsothermError, match="bad could not start"):
        asyncio.run(play())
    assert names(fake, "starts").count("bad") == 1


def test_waits_grow_only_when_a_child_keeps_dying(fake: Path) -> None:
    one = role(fake, "one")
    keeper = made([one], Log())
    waits = [keeper._wait_before_restart(one, was_healthy=True) for _ in range(5)]
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[-1] < 1
    never = [keeper._wait_before_restart(role(fake, "two"), was_healthy=False), 0.0]
    assert never[0] > 0
    assert max(keeper._wait_before_restart(one, was_healthy=False) for _ in range(20)) == supervisor.LONGEST_WAIT


def test_no_answer_is_none() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/healthz"
        assert asyncio.run(answers(url, 0.05)) is None
    assert asyncio.run(answers(url, 0.05)) is None
