"""Answers that are worth keeping for a while: a read through the cache, under a name that says all they depend on.

The name holds the versions and hashes of the buckets behind the answer, so what is found under it is never stale: a
bucket that is published again makes another name. What the cache loses is built again.
"""

from collections.abc import Callable
from typing import Final

from isotherm import __version__
from isotherm.clock import MINUTE_MS
from isotherm.metrics import QUERY_CACHE
from isotherm.store.cache import Cache

TTL_MS: Final = 10 * MINUTE_MS
MAX_BYTES: Final = 2 << 20
"""A larger answer is not kept."""


def kept(cache: Cache | None, name: str, build: Callable[[], bytes]) -> bytes:
    """What `build` makes, or what it made before under this name; another version of the program has other names."""
    if cache is None:
        return build()
    full_name = f"answer {__version__} {name}"
    found = cache.get([full_name])[0]
    QUERY_CACHE.labels("hit" if found else "miss").inc()
    if found:
        return found
    body = build()
    if len(body) <= MAX_BYTES:
        cache.put({full_name: body}, TTL_MS)
    return body
