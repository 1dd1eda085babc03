"""Where a browser finds the collector."""

import re
from typing import Final

from isotherm.config import Settings

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


def collector_url(settings: Settings, scheme: str, host: str) -> str:
    """The setting `collect_public_url`; without it, the collector's port on the host that this request asked.

    `scheme` and `host` (the Host header) are the request's. The result holds nothing that means something in HTML
    or in a header, whatever the Host header is.
    """
    if settings.collect_public_url:
        return settings.collect_public_url.rstrip("/")
    found = _HOST.fullmatch(host)
    name = found[1] if found else "localhost"
    return f"{'https' if scheme == 'https' else 'http'}://{name}:{settings.collect_port}"
