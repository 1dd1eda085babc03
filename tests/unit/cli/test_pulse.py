"""Health and metrics of roles that serve nothing themselves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import structlog

from isotherm.cli import pulse
from isotherm.cli.doctor.machine import examine_machine
from isotherm.cli.processes import free_port
from isotherm.cli.roles import run_role
from isotherm.collect.answer import backpressure
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError, Problem
from isotherm.serve.problems import encode

LOGGER = structlog.get_logger()


@contextmanager
def watching(tmp_path: Path, **more: object) -> Iterator[tuple[str, pulse.Pulse]]:
    settings = Settings(data=tmp_path, health_port=free_port("127.0.0.1"), **more)  # type: ignore[arg-type]
    with pulse.watched(settings, LOGGER) as stop:
        yield f"http://127.0.0.1:{settings.health_port}", stop


def test_a_role_answers_for_its_health_and_metrics(tmp_path: Path) -> None:
    with watching(tmp_path) as (url, _):
        assert httpx.get(f"{url}/v1/healthz").json() == {"status": "ok"}
        assert "isotherm_land_rows_total" in httpx.get(f"{url}/metrics").text
        assert httpx.get(f"{url}/anything").status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/v1/healthz")


def test_a_role_that_no_longer_looks_is_unhealthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "STALLED_S", -1.0)
    with watching(tmp_path) as (url, stop):
        assert httpx.get(f"{url}/v1/healthz").status_code == 503
        monkeypatch.setattr(pulse, "STALLED_S", 60.0)
        assert not stop.wait(0)
        assert httpx.get(f"{url}/v1/healthz").status_code == 200


def test_metrics_of_a_role_need_the_token(tmp_path: Path) -> None:
    with watching(tmp_path, token="secret") as (url, _):
        assert httpx.get(f"{url}/v1/healthz").status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/metrics", headers={"authorization": "Bearer other"}).status_code == 401
        assert httpx.get(f"{url}/metrics", headers={"authorization": "Bearer secret"}).status_code == 200


def test_metrics_do_not_stand_open_to_the_network(tmp_path: Path) -> None:
    open_wide = Settings(data=tmp_path, health_host="0.0.0.0", health_port=free_port("127.0.0.1"))
    with pytest.raises(ConfigError, match="ISOTHERM_TOKEN"), pulse.watched(open_wide, LOGGER):
        pass


def test_a_taken_health_port_is_named(tmp_path: Path) -> None:
    with watching(tmp_path) as (url, _):
        taken = Settings(data=tmp_path, health_port=int(url.rpartition(":")[2]))
        with pytest.raises(ConfigError, match="--health-port"), pulse.watched(taken, LOGGER):
            pass


def test_a_role_runs_with_its_pulse(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, health_port=free_port("127.0.0.1"))
    seen: list[int] = []

    def run(stop: threading.Event) -> None:
        seen.append(httpx.get(f"http://127.0.0.1:{settings.health_port}/v1/healthz").status_code)
        stop.set()

    assert run_role(settings, LOGGER, run) == 0
    assert seen == [200]


def test_the_doctor_knows_a_port_that_a_role_of_ours_holds(tmp_path: Path) -> None:
    with watching(tmp_path) as (url, _):
        port = int(url.rpartition(":")[2])
        found = list(examine_machine(Settings(data=tmp_path / "data", port=port, collect_port=0)))
    assert [(f.grade, f.advice) for f in found if f.check == "port"] == [("ok", "")]


class _Broken(BaseHTTPRequestHandler):
    """A server that answers 503 with a body of the test's choice."""

    body = b""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)


@pytest.mark.parametrize(
    ("body", "grade"),
    [
        (encode(Problem(503, "a store behind the API does not answer")), "ok"),
        (backpressure(Backpressure("the log did not answer within 2 s")).body, "ok"),
        (b'{"status":"stalled"}', "ok"),
        (b'{"type":"about:blank","title":"Service Unavailable","status":503,"instance":"/v1/healthz"}', "error"),
        (b'{"status":"DOWN"}', "error"),
        (b"<html>503</html>", "error"),
        (b"7", "error"),
    ],
)
def test_the_doctor_knows_a_role_of_ours_that_is_unwell(body: bytes, grade: str, tmp_path: Path) -> None:
    """A store that is away is a finding; our own server beside it is not another program."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Unwell", (_Broken,), {"body": body})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            found = list(examine_machine(Settings(data=tmp_path, port=server.server_port, collect_port=0)))
        finally:
            server.shutdown()
            thread.join()
    assert [f.grade for f in found if f.check == "port"] == [grade]
