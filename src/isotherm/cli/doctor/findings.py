"""What a check hands over, and what several checks say in the same words."""

from collections.abc import Callable, Iterator
from typing import Final, Literal

from msgspec import Struct

from isotherm.config import Settings

Grade = Literal["ok", "warning", "error"]

CLOCK_WARNING_MS: Final = 2_000
CLOCK_ERROR_MS: Final = 60_000
"""Leases and events are judged by clocks that differ less; S3 refuses requests at 15 minutes."""


class Finding(Struct, frozen=True):
    """What one check found, and what to do about it; `advice` is empty when all is well."""

    check: str
    grade: Grade
    finding: str
    advice: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def clock(check: str, theirs_ms: float, before_ms: float, after_ms: float) -> Finding:
    """Compare a service's clock, asked between two moments of ours; the way there and back is not held against it."""
    gap = max(before_ms - theirs_ms, theirs_ms - after_ms, 0.0)
    if gap < CLOCK_WARNING_MS:
        return Finding(check, "ok", "its clock agrees with ours")
    way = "behind" if theirs_ms < before_ms else "ahead of"
    grade: Grade = "error" if gap >= CLOCK_ERROR_MS else "warning"
    return Finding(check, grade, f"its clock is {gap / 1000:.1f} s {way} ours", "keep both machines' clocks with NTP")
