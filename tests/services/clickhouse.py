"""ClickHouse's HTTP interface as a test server: a front over chDB, or the server that a person names.

The front checks our side and never proves theirs: see `clickhouse_front.py`.
"""

import json
import secrets
import sys
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from services.server import Server


class ClickHouseFront(Server):
    """One front. The user `default` has no password, `isotherm` has one."""

    name: ClassVar[str] = "clickhouse"
    start_seconds: ClassVar[float] = 60
    cluster: ClassVar[str] = "front"

    def __init__(self) -> None:
        super().__init__()
        self.password = secrets.token_hex(8)
        self._databases = 0

    def command(self) -> list[str]:
        return [sys.executable, "-m", "services.clickhouse_front", str(self.port), str(self.folder / "data")]

    def environment(self) -> dict[str, str]:
        return {
            "FRONT_USERS": json.dumps({"default": "", "isotherm": self.password}),
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "TZ": "UTC",
        }

    def answers(self) -> bool:
        return httpx.get(f"http://127.0.0.1:{self.port}/ping", timeout=5).text == "Ok.\n"

    def url(self, database: str = "default", user: str = "default") -> str:
        """What the setting `olap` takes."""
        return f"clickhouse://{user}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """URL of a database that nobody has used; the client makes it."""
        self._databases += 1
        return self.url(f"test_{self._databases}_{secrets.token_hex(4)}")

    def faults(self, *faults: dict[str, Any]) -> None:
        """What goes wrong from now on, see `clickhouse_front.Fault`; none: nothing."""
        httpx.put(f"http://127.0.0.1:{self.port}/front/faults", json=list(faults), timeout=5).raise_for_status()

    def hits(self) -> int:
        """How often a fault struck since they were told."""
        found = httpx.get(f"http://127.0.0.1:{self.port}/front/faults", timeout=5).json()
        return sum(fault["hits"] for fault in found)


class NamedClickHouse:
    """A server at clickhouse://user:password@host:port; databases that tests make there stay."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._base = f"{parts.scheme}://{parts.netloc}"

    def new_database(self) -> str:
        """URL of a database that nobody has used; the client makes it."""
        return f"{self._base}/isotherm_test_{secrets.token_hex(8)}"
