"""The cache on Redis (7.0 or newer) or Valkey, over RESP3 or RESP2. Away, hung, full or flushed, it only costs work."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import redis
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from isotherm.clock import Clock
from isotherm.config import without_password
from isotherm.errors import ConfigError
from isotherm.metrics import CACHE_CALLS

TIMEOUT_S: Final = 0.5
"""For a connection, an answer, and a place in the pool."""
CONNECTIONS: Final = 32
PAUSES_S: Final = (0.5, 5.0)
"""After a failure nobody asks for this long; it doubles up to the second value."""
_CHUNK: Final = 1000
_GROWING: Final = frozenset({"SET", "INCRBY"})
"""Commands that a full server refuses: one that works says that it is not full any more."""
_OPTIONS: Final = frozenset(
    {
        "protocol",
        "max_connections",
        "socket_timeout",
        "socket_connect_timeout",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
    }
)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger(__name__)
Result = TypeVar("Result")


def open_cache(url: str, _: Clock) -> "RedisCache":
    """`redis://[[user]:password@]host[:port][/database][?name=DEPLOYMENT&protocol=2|3&...]`, or `rediss://` for TLS.

    Deployments that share a database have different names. Raises ConfigError when the URL is not usable.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    name = options.pop("name", "main")
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        known = ", ".join(["name", *sorted(_OPTIONS)])
        raise ConfigError(f"cache: unknown option {unknown[0]!r} in {without_password(url)!r}; known: {known}")
    if options.get("protocol", "3") not in ("2", "3") or not _NAME.fullmatch(name):
        raise ConfigError(
            f"cache: {without_password(url)!r} is not usable: protocol is 2 or 3, name is letters, digits, . _ -"
        )
    if not parts.hostname or not re.fullmatch(r"/?|/[0-9]+/?", parts.path):
        raise ConfigError(f"cache: {without_password(url)!r} is not usable; write redis://host:port/0")
    query = "&".join(f"{key}={value}" for key, value in parse_qsl(parts.query) if key != "name")
    try:
        pool = redis.BlockingConnectionPool.from_url(
            urlunsplit(parts._replace(query=query)),
            max_connections=CONNECTIONS,
            timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            protocol=3,
        )
    except ValueError as error:
        raise ConfigError(f"cache: {without_password(url)!r} is not usable: {error}") from None
    return RedisCache(pool, f"isotherm:{name}:", without_password(url))


class RedisCache:
    """See `isotherm.store.cache.Cache`.

    Nothing is tried twice: whether a call whose answer was lost took place is not known, and a name that `add` then
    takes for known would stop a batch that nobody has.
    """

    def __init__(self, pool: redis.BlockingConnectionPool, prefix: str, shown: str) -> None:
        # A client made around a pool follows the pool's retries: none.
        self._client: Any = redis.Redis(connection_pool=pool)
        self._pool: Any = pool
        self._prefix = prefix
        self._breaker = _Breaker(shown)

    def add(self, names: Sequence[str], ttl_ms: int) -> list[bool]:
        found: list[bool] = []
        for chunk in _chunks(names):
            answers = self._pipe([("SET", self._value(name), b"", "NX", "PX", ttl_ms) for name in chunk])
            # An error, such as a full server's, says nothing about the name.
            found += [answer is not None for answer in answers] if answers else [True] * len(chunk)
        return found

    def known(self, names: Sequence[str]) -> list[bool]:
        found: list[bool] = []
        for chunk in _chunks(names):
            answers = self._pipe([("EXISTS", self._value(name)) for name in chunk])
            found += [answer == 1 for answer in answers] if answers else [False] * len(chunk)
        return found

    def get(self, names: Sequence[str]) -> list[bytes | None]:
        nothing: list[bytes | None] = [None] * len(names)
        if not names:
            return nothing
        keys = [self._value(name) for name in names]
        return self._breaker.run(lambda: list(self._client.mget(keys)), nothing)

    def put(self, values: Mapping[str, bytes], ttl_ms: int) -> bool:
        taken = True
        for chunk in _chunks(list(values)):
            answers = self._pipe([("SET", self._value(name), values[name], "PX", ttl_ms) for name in chunk])
            taken &= bool(answers) and not any(isinstance(answer, RedisError) for answer in answers)
        return taken

    def increase(self, name: str, by: int, ttl_ms: int) -> int | None:
        key = f"{self._prefix}n:{name}"
        answers = self._pipe([("INCRBY", key, by), ("PEXPIRE", key, ttl_ms, "NX")], together=True)
        return answers[0] if answers and isinstance(answers[0], int) else None

    def delete(self, names: Sequence[str]) -> None:
        for chunk in _chunks(names):
            self._pipe([("UNLINK", *(f"{self._prefix}{kind}:{name}" for kind in "vn")) for name in chunk])

    def problem(self) -> str | None:
        # A write, since a server that is full or a replica answers reads.
        return self._breaker.ask(lambda: self._client.set(f"{self._prefix}probe", b"1", px=1000))

    @property
    def client(self) -> Any:
        """redis-py's client, for those who examine the server itself; it raises."""
        return self._client

    def close(self) -> None:
        self._breaker.closed = True
        self._pool.disconnect()

    def _value(self, name: str) -> str:
        return f"{self._prefix}v:{name}"

    def _pipe(self, commands: Sequence[tuple[Any, ...]], *, together: bool = False) -> list[Any]:
        """The answers in order, an error standing for a command that was refused; empty when it did not work."""

        def send() -> list[Any]:
            with self._client.pipeline(transaction=together) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return pipeline.execute(raise_on_error=together)

        answers = self._breaker.run(send, [])
        refused = next((answer for answer in answers if isinstance(answer, RedisError)), None)
        if refused is not None:
            self._breaker.refused(refused)
        elif answers and commands[0][0] in _GROWING:
            self._breaker.accepted()
        return answers


class _Breaker:
    """Knows whether the server answers. After a failure one caller at a time tries, and the others go without.

    `shown` names the server in the log. Says once when it is lost, and once when it is back.
    """

    def __init__(self, shown: str) -> None:
        self.closed = False
        self._shown = shown
        self._lock = threading.Lock()
        self._lost = False
        self._refusing = False
        self._pause = PAUSES_S[0]
        self._again_at = 0.0

    def run(self, call: Callable[[], Result], empty: Result) -> Result:
        """What the call returns, or `empty` when the server cannot be asked now."""
        if self.closed or not self._may_try():
            CACHE_CALLS.labels("skipped").inc()
            return empty
        try:
            result = call()
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._failed(error)
            return empty
        except RedisError as error:
            self.refused(error)
            return empty
        self._answered()
        return result

    def ask(self, call: Callable[[], object]) -> str | None:
        """Try now, whatever happened before; what is wrong, or None."""
        if self.closed:
            return f"{self._shown} was closed"
        try:
            call()
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._failed(error)
            return f"{self._shown} cannot be reached: {error}"
        except RedisError as error:
            self.refused(error)
            return f"{self._shown} refuses writes: {error}"
        self._answered()
        self.accepted()
        return None

    def refused(self, error: RedisError) -> None:
        """The server answered that it will not: full, a replica, no rights."""
        CACHE_CALLS.labels("refused").inc()
        with self._lock:
            first, self._refusing = not self._refusing, True
        if first:
            _log.warning("the cache refuses, work is done again instead", cache=self._shown, error=str(error))

    def accepted(self) -> None:
        """The server took something to keep."""
        if self._refusing:
            with self._lock:
                before, self._refusing = self._refusing, False
            if before:
                _log.info("the cache takes again what it is given", cache=self._shown)

    def _may_try(self) -> bool:
        if not self._lost:
            return True
        with self._lock:
            now = time.monotonic()
            if self._lost and now < self._again_at:
                return False
            self._again_at = now + self._pause
            self._pause = min(self._pause * 2, PAUSES_S[1])
            return True

    def _failed(self, error: Exception) -> None:
        CACHE_CALLS.labels("failed").inc()
        with self._lock:
            first, self._lost = not self._lost, True
            if first:
                self._pause = PAUSES_S[0]
            # From now: what the caller waited for its time-out does not count.
            self._again_at = time.monotonic() + self._pause
        if first:
            _log.warning("the cache is lost, work is done again instead", cache=self._shown, error=str(error))

    def _answered(self) -> None:
        CACHE_CALLS.labels("answered").inc()
        if self._lost:
            with self._lock:
                before, self._lost = self._lost, False
            if before:
                _log.info("the cache answers again", cache=self._shown)


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for i in range(0, len(names), _CHUNK):
        yield names[i : i + _CHUNK]
