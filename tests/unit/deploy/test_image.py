"""The images: built nowhere in these tests, but everything that their Dockerfiles name exists."""

import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from charts import DEPLOY, ROOT
from dockerfiles import Stage, copied, programs, reaches_the_build, stages

from isotherm.cli.processes import free_port

DOCKERFILES = sorted(DEPLOY.glob("*Dockerfile"))
DEBIAN = {"python", "ls", "chmod", "install", "groupadd", "useradd", "apt-get", "rm", "ln"}
HAS = {"python": DEBIAN, "maven": {"mvn", "rm"}, "flink": {"install"}}
"""Programs of each base image that we may start while building."""
HEALTHCHECK = DEPLOY / "healthcheck.py"

each_file = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)


def base(path: Path, stage: Stage) -> str:
    """Name of the image that the stage comes from in the end, without registry and tag."""
    named = {one.name: one for one in stages(path) if one.name}
    while stage.image in named:
        stage = named[stage.image]
    return stage.image.partition(":")[0].rpartition("/")[2]


@each_file
def test_what_is_copied_exists_and_reaches_the_build(path: Path) -> None:
    wanted = [source for stage in stages(path) for source in copied(stage)]
    assert wanted
    for source in wanted:
        assert (ROOT / source).exists(), source
        assert reaches_the_build(source, ROOT / ".dockerignore"), source


def test_what_must_not_reach_the_build_does_not() -> None:
    for secret in ("deploy/.env", ".git", ".venv", ".isotherm", "web/node_modules", "src/isotherm/view/static"):
        assert not reaches_the_build(secret, ROOT / ".dockerignore"), secret


@each_file
def test_base_images_are_pinned_by_version(path: Path) -> None:
    known: set[str] = set()
    for stage in stages(path):
        if stage.image not in known:
            assert re.search(r":[\w.-]*\d[\w.-]*$", stage.image), f"{stage.image} names no version"
            assert "latest" not in stage.image
        known.add(stage.name)


@each_file
def test_programs_that_the_build_starts_are_there(path: Path) -> None:
    for stage in stages(path):
        for program in programs(stage):
            if "/" not in program:
                assert program in HAS[base(path, stage)], f"{program} in {stage.image}"
            elif not program.startswith("/"):
                assert os.access(ROOT / program, os.X_OK), program
            else:
                made = program.rpartition("/bin/")[0]
                earlier = [line for one in stages(path) for line in (*one.all("RUN"), *one.all("COPY"))]
                assert any(made in line for line in earlier), f"nothing makes {program}"


def test_base_images_are_debian_with_a_python_that_the_project_supports() -> None:
    [image] = {stage.image for stage in stages(DEPLOY / "Dockerfile") if stage.image.startswith("python:")}
    version = re.match(r"python:3\.(\d+)-slim-bookworm$", image)
    assert version, f"{image}: chDB has no packages for musl"
    assert 11 <= int(version[1]) <= 13


def test_the_default_image_runs_isotherm_as_nobody_special() -> None:
    found = {stage.name: stage for stage in stages(DEPLOY / "Dockerfile")}
    last = stages(DEPLOY / "Dockerfile")[-1]
    runtime = found[last.image]
    assert not last.steps
    assert runtime.all("USER")[-1] == "10001:10001"
    assert found["isotherm-spark"].all("USER")[-1] == "10001:10001"
    assert runtime.all("ENTRYPOINT") == ['["isotherm"]']
    assert runtime.all("HEALTHCHECK")
    assert any("org.opencontainers.image.licenses" in label for label in runtime.all("LABEL"))


def test_the_extras_of_the_image_exist() -> None:
    [default] = [line for line in stages(DEPLOY / "Dockerfile")[0].all("ARG") if line.startswith("EXTRAS=")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert default.removeprefix("EXTRAS=") in project["optional-dependencies"]


@contextmanager
def server(status: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v1/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield running.server_port
        finally:
            running.shutdown()
            thread.join()


def health(port: int) -> tuple[int, str]:
    closed = str(free_port("127.0.0.1"))
    ports = {"ISOTHERM_PORT": closed, "ISOTHERM_COLLECT_PORT": str(port), "ISOTHERM_HEALTH_PORT": closed}
    proxy = {"http_proxy": f"http://127.0.0.1:{closed}"}
    done = subprocess.run(
        [sys.executable, HEALTHCHECK], env={**os.environ, **ports, **proxy}, capture_output=True, text=True
    )
    return done.returncode, done.stdout.strip()


def test_a_container_is_as_healthy_as_the_role_in_it() -> None:
    with server(200) as port:
        assert health(port) == (0, "ok")
    with server(503) as port:
        assert health(port) == (1, "ISOTHERM_COLLECT_PORT: 503")
    assert health(free_port("127.0.0.1")) == (1, "no role answers on any of its ports")


def test_the_health_check_does_not_wait_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, said = health(silent.getsockname()[1])
    assert code == 1
    assert "no answer" in said
