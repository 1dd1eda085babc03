"""A Redis that is away, hangs, is full, refuses, restarts or forgets: it costs work and breaks nothing."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from isotherm.clock import HOUR_MS
from isotherm.config import load_settings
from isotherm.metrics import REGISTRY
from isotherm.store.cache import Cache, open_cache
from services.certificates import make_certificates
from services.redis import Redis
from services.server import wait_until

pytestmark = pytest.mark.services
ANY_TIMES = 50


def open_at(url: str) -> Cache:
    return open_cache(load_settings(cache=url))


@pytest.fixture(params=["2", "3"], ids=["resp2", "resp3"])
def cache(own_redis: Redis, request: pytest.FixtureRequest) -> Iterator[Cache]:
    cache = open_at(f"{own_redis.url}?protocol={request.param}")
    yield cache
    cache.close()


def check_empty(cache: Cache) -> None:
    """Every call answers as an empty cache does."""
    assert cache.add(["a", "b"], HOUR_MS) == [True, True]
    assert cache.known(["a", "b"]) == [False, False]
    assert cache.get(["a", "b"]) == [None, None]
    assert cache.put({"a": b"1"}, HOUR_MS) is False
    assert cache.increase("n", 1, HOUR_MS) is None
    cache.delete(["a"])


def calls(outcome: str, registry: CollectorRegistry = REGISTRY) -> float:
    return registry.get_sample_value("isotherm_cache_calls_total", {"outcome": outcome}) or 0.0


def levels(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs if "cache" in entry]


def test_a_server_that_dies_and_comes_back(own_redis: Redis, cache: Cache) -> None:
    cache.put({"kept": b"1"}, HOUR_MS)
    failed, skipped = calls("failed"), calls("skipped")
    with capture_logs() as logs:
        own_redis.kill9()
        check_empty(cache)
        assert "cannot be reached" in (cache.problem() or "")
        for _ in range(ANY_TIMES):
            check_empty(cache)
        # Asked again now and then, not by every call.
        assert calls("failed") - failed < 10
        assert calls("skipped") - skipped > 6 * ANY_TIMES - 10
        own_redis.start()
        wait_until("the cache to be used again", lambda: cache.get(["kept"]) == [b"1"], 30)
        assert cache.problem() is None
    assert levels(logs) == ["the cache is lost, work is done again instead", "the cache answers again"]


def test_a_restart_between_two_calls_is_not_even_noticed(own_redis: Redis, cache: Cache) -> None:
    cache.put({"kept": b"1"}, HOUR_MS)
    own_redis.restart()
    with capture_logs() as logs:
        assert cache.get(["kept"]) == [b"1"]
    assert levels(logs) == []


def test_a_server_that_hangs_costs_one_time_out_and_not_one_per_call(own_redis: Redis, cache: Cache) -> None:
    cache.add(["a"], HOUR_MS)
    own_redis.cut()
    try:
        check_empty(cache)
        failed = calls("failed")
        for _ in range(ANY_TIMES):
            check_empty(cache)
        assert calls("failed") - failed < 10
        assert "cannot be reached" in (cache.problem() or "")
    finally:
        own_redis.resume()
    wait_until("the cache to be used again", lambda: cache.known(["a"]) == [True], 30)


def test_a_full_server_keeps_answering_what_it_holds(own_redis: Redis, cache: Cache) -> None:
    cache.put({"kept": b"1"}, HOUR_MS)
    refused = calls("refused")
    with redis.Redis.from_url(own_redis.url) as admin, capture_logs() as logs:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", "1mb")
        assert cache.add(["new", "kept"], HOUR_MS) == [True, True]
        assert cache.put({"new": b"1"}, HOUR_MS) is False
        assert cache.increase("n", 1, HOUR_MS) is None
        assert cache.known(["new", "kept"]) == [False, True]
        assert cache.get(["kept"]) == [b"1"]
        assert "refuses writes" in (cache.problem() or "")
        assert calls("refused") - refused == 4
        admin.config_set("maxmemory", "0")
        assert cache.add(["new"], HOUR_MS) == [True]
        assert cache.add(["new"], HOUR_MS) == [False]
        assert cache.problem() is None
    assert levels(logs) == [
        "the cache refuses, work is done again instead",
        "the cache takes again what it is given",
    ]


def test_a_flushed_server_is_an_empty_one(own_redis: Redis, cache: Cache) -> None:
    cache.add(["a"], HOUR_MS)
    cache.increase("n", 5, HOUR_MS)
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.flushall()
    assert cache.add(["a"], HOUR_MS) == [True]
    assert cache.increase("n", 1, HOUR_MS) == 1


def test_a_wrong_password_is_a_cache_that_cannot_be_reached(own_redis: Redis) -> None:
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.config_set("requirepass", "right")
    for given in (":wr%C3%B6ng@", ""):
        with capture_logs() as logs:
            cache = open_at(own_redis.url.replace("//", f"//{given}"))
            check_empty(cache)
            said = f"{cache.problem()} {logs}"
            cache.close()
        assert "cannot be reached" in said
        assert any(word in said.lower() for word in ("password", "authenticat"))
        assert "wr%C3" not in said
        assert "wröng" not in said
    cache = open_at(own_redis.url.replace("//", "//:right@"))
    assert (cache.problem(), cache.add(["a"], HOUR_MS), cache.add(["a"], HOUR_MS)) == (None, [True], [False])
    cache.close()


def test_a_server_that_was_never_there() -> None:
    cache = open_at("redis://127.0.0.1:1/0")
    began = time.monotonic()
    check_empty(cache)
    assert "cannot be reached" in (cache.problem() or "")
    cache.close()
    assert time.monotonic() - began < 60


def test_deployments_with_names_of_their_own_share_a_server(own_redis: Redis) -> None:
    one, other, same = (open_at(f"{own_redis.url}?name={name}") for name in ("one", "other", "one"))
    one.put({"a": b"1"}, HOUR_MS)
    one.increase("n", 1, HOUR_MS)
    assert (other.get(["a"]), other.increase("n", 5, HOUR_MS)) == ([None], 5)
    assert (same.get(["a"]), same.increase("n", 5, HOUR_MS)) == ([b"1"], 6)
    other.delete(["a", "n"])
    assert same.get(["a"]) == [b"1"]
    with redis.Redis.from_url(own_redis.url) as admin:
        keys = [bytes(key).decode() for key in admin.scan_iter()]
        assert keys
        assert all(key.startswith(("isotherm:one:", "isotherm:other:")) for key in keys)
        assert all(admin.pttl(key) > 0 for key in keys)
    for cache in (one, other, same):
        cache.close()


class TlsRedis(Redis):
    """Redis that speaks TLS only."""

    def prepare(self) -> None:
        make_certificates(self.folder / "tls")

    def command(self) -> list[str]:
        plain = super().command()
        plain[plain.index("--port")] = "--tls-port"
        tls = self.folder / "tls"
        files = {
            "tls-cert-file": tls / "server.crt",
            "tls-key-file": tls / "server.key",
            "tls-ca-cert-file": tls / "ca.pem",
        }
        return [
            *plain,
            "--port",
            "0",
            "--tls-auth-clients",
            "no",
            *(f for k, v in files.items() for f in (f"--{k}", str(v))),
        ]

    def answers(self) -> bool:
        with redis.Redis(port=self.port, ssl=True, ssl_ca_certs=str(self.folder / "tls" / "ca.pem")) as client:
            return Path(str(client.config_get("dir")["dir"])) == (self.folder / "data").resolve()


def test_rediss_checks_whom_it_talks_to() -> None:
    with TlsRedis() as server:
        secure = server.url.replace("redis://", "rediss://")
        trusting = open_at(f"{secure}?ssl_ca_certs={server.folder / 'tls' / 'ca.pem'}")
        assert (trusting.problem(), trusting.add(["a"], HOUR_MS), trusting.known(["a"])) == (None, [True], [True])
        stranger = open_at(secure)
        assert "certificate verify failed" in (stranger.problem() or "")
        check_empty(stranger)
        plain = open_at(server.url)
        assert plain.problem() is not None
        for cache in (trusting, stranger, plain):
            cache.close()
