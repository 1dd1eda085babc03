"""Retention of raw: hours older than `raw_retention_days` by our own clock leave the lake."""

from isotherm.clock import DAY_MS
from isotherm.config import Settings
from isotherm.land.manifest import Manifest


def expire_raw(settings: Settings, manifest: Manifest, now_ms: int) -> int:
    """Delist the files of every hour that ended more than the retention ago; the sweeper deletes them.

    Returns the number of files. Tiles stay: the hours are frozen, not dirty.
    """
    before = now_ms - settings.raw_retention_days * DAY_MS
    return manifest.expire(before)
