"""Where a ClickHouse server is and how to log in: what a URL of the setting `olap` and the settings say."""

import re
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from isotherm.config import Settings, without_password
from isotherm.errors import ConfigError
from isotherm.store.olap_layout import Layout

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLUSTER: Final = re.compile(r"[A-Za-z0-9_.-]+|\{[A-Za-z0-9_]+\}")
_PORTS: Final = {"clickhouse": 8123, "clickhouses": 8443}


class Target(Struct, frozen=True):
    """`ca_file` is a file of certificates to trust instead of the machine's; the password is never printed."""

    secure: bool
    host: str
    port: int
    user: str
    password: str
    database: str
    ca_file: str

    @property
    def address(self) -> str:
        """How a person finds it: scheme, host and port of its HTTP interface."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    def client_arguments(self) -> dict[str, Any]:
        """Arguments for clickhouse_connect, but for the database: it may not exist yet."""
        return {
            "interface": "https" if self.secure else "http",
            "host": self.host,
            "port": self.port,
            "username": self.user,
            "password": self.password,
        }

    def pool_arguments(self) -> dict[str, Any]:
        """Arguments for its connection pool: certificates are always checked."""
        return {"verify": True, "ca_cert": self.ca_file or None}

    def __repr__(self) -> str:
        return f"Target({self.address}/{self.database})"


def read_target(url: str, settings: Settings) -> Target:
    """What clickhouse://user:password@host:port/database?ca_cert=FILE says; clickhouses:// is the same over TLS.

    Without a user `default`, without a port 8123 or 8443, without a database `default`. Raises ConfigError.
    """
    shown = without_password(url)
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"olap: {shown!r} has no usable port ({error})") from None
    if not parts.hostname:
        raise ConfigError(f"olap: {shown!r} names no host, as in clickhouse://user@host:8123/isotherm")
    database = unquote(parts.path.strip("/")) or "default"
    if not _NAME.fullmatch(database):
        raise ConfigError(f"olap: {database!r} in {shown!r} is not a database name (letters, digits, underscores)")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - {"ca_cert"}:
        raise ConfigError(f"olap: {shown!r} has unknown options: {', '.join(sorted(unknown))}; known: ca_cert")
    return Target(
        secure=parts.scheme == "clickhouses",
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        user=unquote(parts.username or "") or "default",
        password=unquote(parts.password or "") or settings.clickhouse_password,
        database=database,
        ca_file=options.get("ca_cert", ""),
    )


def read_layout(target: Target, settings: Settings) -> Layout:
    """How the settings spread the tables. Raises ConfigError when the cluster's name is none."""
    if settings.clickhouse_cluster and not _CLUSTER.fullmatch(settings.clickhouse_cluster):
        raise ConfigError(
            f"clickhouse_cluster: {settings.clickhouse_cluster!r} is not the name of a cluster (letters, digits, . _ - "
            "or a macro such as {cluster})"
        )
    return Layout(target.database, settings.clickhouse_cluster, settings.clickhouse_replicated)
