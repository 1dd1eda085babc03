"""What may be lost at any moment: saved work for duplicates, shared counters, live windows, answers worth keeping.

Nothing may depend on what is in it. A cache that cannot be reached behaves as an empty one: every call answers, none
raises, and `problem` says why.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from isotherm.adapters import Adapters, adapter
from isotherm.clock import Clock, SystemClock
from isotherm.config import Settings


class Cache(Protocol):
    """Names lead to values and counters, two spaces that never meet; times to live are in ms.

    Any thread may call. Names are any text; they are the deployment's own, other deployments do not see them.
    """

    def add(self, names: Sequence[str], ttl_ms: int) -> list[bool]:
        """Set each name that is not set; True where it was absent. All True when the cache cannot be reached."""
        ...

    def known(self, names: Sequence[str]) -> list[bool]:
        """Whether each name is set, by `add` or by `put`."""
        ...

    def get(self, names: Sequence[str]) -> list[bytes | None]:
        """The value of each name, None where there is none; a name that was only added has an empty one."""
        ...

    def put(self, values: Mapping[str, bytes], ttl_ms: int) -> bool:
        """Set values, over what was there. False when the cache did not take all of them: away, or refusing."""
        ...

    def increase(self, name: str, by: int, ttl_ms: int) -> int | None:
        """Add to a counter and return its new value; None when the cache cannot be reached.

        The time to live starts with the first call and is not prolonged, so a counter is one window of time.
        """
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Remove whatever has these names: values and counters."""
        ...

    def problem(self) -> str | None:
        """Why the cache cannot be used now, for a person; None when it can. Asks the server."""
        ...

    def close(self) -> None:
        """Give connections back; a closed cache is an empty one."""
        ...


ADAPTERS: Final[Adapters] = {
    "memory": ("isotherm.store.cache_memory:open_cache", ""),
    "redis": ("isotherm.store.cache_redis:open_cache", "redis"),
    "rediss": ("isotherm.store.cache_redis:open_cache", "redis"),
}


def open_cache(settings: Settings, clock: Clock | None = None) -> Cache:
    """The cache of this deployment. Raises ConfigError for a wrong URL, never because the server is away."""
    url = settings.url("cache")
    opener: Callable[[str, Clock], Cache] = adapter("cache", url, ADAPTERS)
    return opener(url, clock or SystemClock())
