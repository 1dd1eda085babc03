"""Whether the collector takes connections, for those who look at the app."""

import socket
from typing import Final

from isotherm.config import Settings

PATIENCE_SECONDS: Final = 0.5
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound to


def collector_answers(settings: Settings) -> bool:
    """Whether something takes connections at the collector's address, as this process sees it."""
    host = _EVERYWHERE.get(settings.collect_host, settings.collect_host)
    try:
        with socket.create_connection((host, settings.collect_port), PATIENCE_SECONDS):
            return True
    except OSError:
        return False
