"""Redis or Valkey: reachable, recent enough, takes writes, and throws old things away when it is full."""

from collections.abc import Iterator
from typing import Any, Final

from isotherm.cli.doctor.findings import Finding, clock
from isotherm.clock import SystemClock
from isotherm.config import Settings

OLDEST: Final = (7, 0)


def check(settings: Settings) -> Iterator[Finding]:
    """A cache that is away costs work and never data, so nothing here is graded worse than a warning, but a wrong
    setting (ConfigError)."""
    from isotherm.store.cache_redis import open_cache

    cache = open_cache(settings.url("cache"), SystemClock())
    try:
        if said := cache.problem():
            yield Finding(
                "cache", "warning", said, "see whether it runs, and check user, password and rights in `cache`"
            )
            return
        yield from _facts(cache.client)
    finally:
        cache.close()


def _facts(client: Any) -> Iterator[Finding]:
    from redis.exceptions import ResponseError

    ours = SystemClock()
    before = ours.now_ms()
    seconds, micros = client.time()
    theirs = int(seconds) * 1000 + int(micros) / 1000
    after = ours.now_ms()
    try:
        info = client.info()
    except ResponseError as error:
        yield Finding("cache", "ok", f"answers and takes writes; it does not let us ask for its version ({error})")
    else:
        yield _version(info)
        yield from _memory(info)
    yield clock("cache", theirs, before, after)


def _version(info: dict[str, Any]) -> Finding:
    name, text = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    if tuple(int(part) for part in text.split(".")[:2]) < OLDEST:
        return Finding("cache", "warning", f"{name} {text}", "use Redis 7.0, Valkey 7.2 or newer")
    return Finding("cache", "ok", f"{name} {text} answers and takes writes")


def _memory(info: dict[str, Any]) -> Iterator[Finding]:
    limit, policy = int(info.get("maxmemory", 0)), info.get("maxmemory_policy", "")
    if limit and policy == "noeviction":
        yield Finding(
            "cache", "warning", "it refuses writes when its memory is full (maxmemory-policy noeviction)",
            "set maxmemory-policy to allkeys-lru: whatever is in it may be lost",
        )  # fmt: skip
    elif not limit and policy:
        yield Finding("cache", "ok", "its memory has no limit of its own (maxmemory 0)")
