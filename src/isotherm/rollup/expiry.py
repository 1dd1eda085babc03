"""What has expired: from which moment on each level's tiles are still kept.

Tiles expire by whole parents: hours stay until their day is past, days until their week is, so a bucket's
children are either all there or all gone.
"""

from typing import Final

from isotherm.clock import DAY_MS
from isotherm.config import Kept, Settings
from isotherm.rollup.buckets import Level, floor

KEPT: Final[dict[Level, Kept]] = {Level.HOUR: "hourly", Level.DAY: "daily", Level.WEEK: "weekly"}
"""What the settings call the tiles of each level."""


def kept_from(level: Level, now_ms: int, settings: Settings, client_id: str = "") -> int:
    """Start of the client's first bucket of `level` that is kept; every bucket that starts earlier has expired."""
    return floor(level.parent or level, now_ms - settings.kept_days(KEPT[level], client_id) * DAY_MS)
