"""What has expired: from which moment on each level's tiles, and the raw events, are still kept.

Tiles expire by whole parents: hours stay until their day is past, days until their week is, so a bucket's
children are either all there or all gone.
"""

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.config import Settings
from isotherm.rollup.buckets import Level, floor


def kept_from(level: Level, now_ms: int, settings: Settings) -> int:
    """Start of the first bucket of `level` that is kept; every bucket that starts earlier has expired."""
    days = {
        Level.HOUR: settings.hourly_retention_days,
        Level.DAY: settings.daily_retention_days,
        Level.WEEK: settings.weekly_retention_days,
    }[level]
    return floor(level.parent or level, now_ms - days * DAY_MS)


def raw_kept_from(now_ms: int, settings: Settings) -> int:
    """Start of the first hour whose raw events are all kept; earlier hours are frozen."""
    oldest = now_ms - settings.raw_retention_days * DAY_MS
    return oldest + -oldest % HOUR_MS
