"""Redis as a test server."""

from pathlib import Path
from typing import ClassVar

import redis

from services.programs import program
from services.server import Server


class Redis(Server):
    """One Redis on loopback that syncs every write to its append-only file."""

    name: ClassVar[str] = "redis"
    start_seconds: ClassVar[float] = 20

    @property
    def url(self) -> str:
        """Database 0; a test that wants another names it, as in `f"{server.url[:-1]}1"`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        options = {
            "bind": "127.0.0.1", "port": self.port, "dir": data, "save": "", "appendonly": "yes",
            "appendfsync": "always", "daemonize": "no",
        }  # fmt: skip
        return [
            program("redis-server"),
            *(str(part) for name, value in options.items() for part in (f"--{name}", value)),
        ]

    def answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=2, decode_responses=True) as client:
            folder = client.config_get("dir")["dir"]
            return Path(folder) == (self.folder / "data").resolve()
