"""What all test servers have in common, on a small server: proofs, deaths, and one line for what is missing."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.request import urlopen

import pytest

from services import fetch, tools
from services.ports import free_port, listeners, members
from services.programs import Missing, program
from services.recipes import FetchFailed, Recipe
from services.server import Failed, Server, wait_until

ON_LINUX = Path("/proc/net/tcp").exists()


class Files(Server):
    """Serves its folder over HTTP, with a child process of its own."""

    name: ClassVar[str] = "files"
    start_seconds: ClassVar[float] = 20
    stop_seconds: ClassVar[float] = 10

    def prepare(self) -> None:
        (self.folder / "kept").write_text(f"{self.starts}")

    def command(self) -> list[str]:
        child = f"{sys.executable} -c 'import time; time.sleep(1000)'"
        return ["sh", "-c", f"{child} & exec {sys.executable} -m http.server --bind 127.0.0.1 {self.port}"]

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.port}/kept", timeout=2) as response:
            return response.read().decode() == f"{self.starts}"


class Stranger(Files):
    """Believes any answer: the proof must find that somebody else gave it."""

    name: ClassVar[str] = "stranger"

    def command(self) -> list[str]:
        return ["sleep", "1000"]

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.port}/kept", timeout=2) as response:
            return response.status == 200


class Silent(Files):
    name: ClassVar[str] = "silent"

    def command(self) -> list[str]:
        return ["sh", "-c", "echo no such luck; exit 7"]


@pytest.fixture
def files() -> Iterator[Files]:
    with Files() as server:
        yield server


def test_restart_keeps_port_and_folder(files: Files) -> None:
    port, folder, first = files.port, files.folder, files.pid
    files.restart()
    assert (files.port, files.folder) == (port, folder)
    assert files.pid != first
    assert files.answers()


def test_kill_reaches_the_whole_family(files: Files) -> None:
    group = files.pid
    if ON_LINUX:
        assert len(members(group)) == 2
    files.kill9()
    assert not files.runs()
    assert not members(group)
    assert files.folder.exists()


def test_stop_removes_the_folder() -> None:
    with Files() as server:
        folder = server.folder
        assert folder.exists()
    assert not folder.exists()


def test_cut_hangs_and_resume_goes_on(files: Files) -> None:
    files.cut()
    with socket.create_connection(("127.0.0.1", files.port), 2) as hanging:
        hanging.sendall(b"GET /kept HTTP/1.0\r\n\r\n")
        hanging.settimeout(0.3)
        with pytest.raises(TimeoutError):
            hanging.recv(1)
    files.resume()
    assert files.answers()


def test_a_server_that_is_cut_can_be_stopped(files: Files) -> None:
    files.cut()
    files.halt()
    assert not files.runs()


@pytest.mark.skipif(not ON_LINUX, reason="the proof reads /proc")
def test_a_foreign_listener_is_refused(files: Files) -> None:
    stranger = Stranger()
    stranger.ports = {"port": files.port}
    with pytest.raises(Failed, match=f"port {files.port} is another's, of process \\[{files.pid}\\]"):
        stranger.start()
    assert not stranger.runs()
    stranger.stop()


@pytest.mark.skipif(not ON_LINUX, reason="the proof reads /proc")
def test_a_port_that_was_taken_meanwhile_is_given_up(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = iter([files.port])
    monkeypatch.setattr("services.server.free_port", lambda: next(ports, None) or free_port())
    with Files() as second:
        assert second.port != files.port


def test_failure_has_the_end_of_the_log() -> None:
    server = Silent()
    with pytest.raises(Failed, match=r"(?s)silent ended with code 7.*no such luck"):
        server.start()
    server.stop()


@pytest.mark.skipif(not ON_LINUX, reason="asks /proc for the family")
def test_servers_die_with_the_test_process() -> None:
    script = textwrap.dedent("""
        import sys, time
        from services.test_starting import Files
        server = Files().start()
        print(server.pid, server.folder, flush=True)
        time.sleep(1000)
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    assert len(members(int(pid))) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until("the server and its child to be gone", lambda: not members(int(pid)), 20)
    wait_until("its folder to be gone", lambda: not Path(folder).exists(), 20)


def test_free_ports_are_never_given_twice() -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == 200


@pytest.mark.skipif(not ON_LINUX, reason="the proof reads /proc")
def test_listeners_are_found_by_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listeners(port) == {os.getpid()}
    assert listeners(port) == set()


def test_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match=r"^redis-server is missing: apt-get install redis-server$"):
        program("redis-server")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOTHERM_SERVICES_CACHE", str(tmp_path))
    return tmp_path


def test_missing_tool_says_what_to_run(empty_cache: Path) -> None:
    with pytest.raises(Missing, match=r"^kafka 4\.3\.1 is not there: make services$"):
        tools.folder("kafka")


class Broken(Recipe):
    lane: ClassVar[str] = "broken"

    def build(self, target: Path) -> None:
        (target / "half").touch()
        raise FetchFailed("half of it came")


class Whole(Recipe):
    lane: ClassVar[str] = "whole"

    def build(self, target: Path) -> None:
        (target / "program").touch()


def test_a_fetch_is_complete_or_not_there(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, whole = Broken("broken", "1"), Whole("whole", "1")
    monkeypatch.setattr(fetch, "TOOLS", {"broken": broken, "whole": whole})
    assert fetch.main(["broken", "whole"]) == fetch.FAILED
    said = capsys.readouterr()
    assert said.out == "whole 1: 0 s\n"
    assert said.err == "half of it came\n"
    assert [path.name for path in empty_cache.iterdir() if not path.name.startswith(".")] == [tools.place(whole).name]
    assert fetch.main(["whole"]) == 0
    assert capsys.readouterr().out == ""


def test_missing_programs_are_one_line_each(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("services.programs.MORE_FOLDERS", {})
    monkeypatch.setenv("PATH", "/nowhere")
    assert fetch.main(["kafka", "s3a"]) == fetch.MISSING
    assert capsys.readouterr().err == "mvn is missing: apt-get install maven\n"
    assert fetch.main(["kafka", "--for-tests"]) == 0


def test_an_old_go_is_told(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\necho go1.19.8\n")
    go.chmod(0o755)
    monkeypatch.setattr("services.programs.MORE_FOLDERS", {})
    monkeypatch.setenv("PATH", str(go.parent))
    with pytest.raises(Missing, match=r"^go1\.19\.8 is too old for versitygw: install Go 1\.21 or newer"):
        tools.TOOLS["versitygw"].build(tmp_path)


def test_another_recipe_is_another_folder() -> None:
    recipes = list(tools.TOOLS.values())
    assert len({recipe.digest() for recipe in recipes}) == len(recipes)
    assert Whole("whole", "1").digest() != Whole("whole", "2").digest()
