"""The shape of the status answer, for the OpenAPI document; the route encodes the same members."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from isotherm.serve.shapes import Instant


class StreamState(Struct, kw_only=True):
    """What counts live windows in this process, with members of its own besides these."""

    engine: str
    state: Literal["starting", "standby", "rebuilding", "counting"]
    lag: Annotated[int | None, Meta(description="Records that are not counted yet; null while that is not known.")]
    windows: Annotated[int, Meta(ge=0, description="Living windows at the last look.")]


_READ: Final = (
    "Accepted events read from the log: since the process started, or by all landers together since a moment that is "
    "a day ago at most, where they share a cache."
)


class Intake(Struct, kw_only=True):
    """What arrives, for all clients together."""

    events: Annotated[int, Meta(ge=0, description=_READ)]
    events_per_second: Annotated[float, Meta(ge=0, description="Mean of the last ten seconds.")]


class LanderState(Struct, kw_only=True):
    """The lander, with members of its own besides these."""

    lag: Annotated[int, Meta(ge=0, description="Records on the log that are not landed.")]


class LevelFreshness(Struct, kw_only=True):
    """How fresh the maps of one level are, over all clients; of days and weeks, those that are over."""

    buckets: Annotated[int, Meta(ge=0, description="They wait to be tiled again.")]
    until: Annotated[int, Meta(description="What landed before is in the maps; ms since 1970.")]
    seconds: Annotated[float, Meta(ge=0, description="Since then; 0 when nothing waits.")]


class LedgerState(Struct, kw_only=True):
    """Whether the sums of the ledger close, by client and hour of receipt."""

    since: Annotated[int, Meta(description="Hours from here on were checked; ms since 1970.")]
    differing: Annotated[int, Meta(ge=0, description="Hours of a client whose sums do not close: it must be 0.")]
    examples: Annotated[list[str], Meta(description="The newest of them, each in a sentence.")]
    dead: Annotated[int, Meta(ge=0, description="Events of these hours in records that cannot be used.")]


class VerificationState(Struct, kw_only=True):
    """What came of the last comparison of each bucket that was compared with raw."""

    findings: Annotated[
        dict[str, int], Meta(description="Buckets by finding: same, dirty, frozen, different, unreadable.")
    ]
    last_at: Annotated[int | None, Meta(description="When the newest was made, ms since 1970; null: never.")]


class Round(Struct, kw_only=True):
    """A work that comes round again."""

    ran_at: Annotated[str, Meta(description="When it last ended, RFC 3339.")]
    did_at: Annotated[str | None, Meta(description="When it last had something to do; null: never.")]
    did: Annotated[
        dict[str, Any],
        Meta(description="What it did then: hours, rows, bytes, and the same by client; for tiles by level."),
    ]


class DiskState(Struct, kw_only=True):
    """The disk that a store of this machine is on."""

    store: str
    free: Annotated[int, Meta(ge=0, description="Bytes.")]
    size: Annotated[int, Meta(ge=0, description="Bytes.")]


class LostMaps(Struct, kw_only=True):
    """Published maps that went with a damaged part of the tile store, and wait to be made again."""

    buckets: Annotated[dict[str, int], Meta(description="How many buckets, by level; reading their maps answers 503.")]
    parts: Annotated[list[str], Meta(description="Parts of the tile store that were set aside, to be looked at.")]


class BackupState(Struct, kw_only=True):
    """The newest backup that `isotherm backup` wrote down here."""

    made_at: Annotated[int | None, Meta(description="When it was complete, ms since 1970; null: there never was one.")]
    max_age_ms: Annotated[int, Meta(ge=0, description="It is a problem when it is older (backup_max_age_hours).")]


class StatusAnswer(Struct, kw_only=True):
    """The state of the whole program; the process that runs the API adds members of its own."""

    version: str
    now: Instant
    idle: Annotated[bool, Meta(description="Nothing is on its way to the lake and no bucket waits.")]
    dirty: Annotated[dict[str, int], Meta(description="Buckets that wait to be tiled, by level.")]
    lake: Annotated[dict[str, dict[str, int]], Meta(description="Listed files, rows and bytes by format.")]
    tiles: Annotated[dict[str, int], Meta(description="Published buckets by level.")]
    intake: Annotated[Intake | None, Meta(description="Null without a lander and without a shared cache that says it.")]
    lander: Annotated[LanderState | None, Meta(description="Null in a process without the lander.")]
    stream: Annotated[StreamState | None, Meta(description="Null in a process that counts no live windows.")]
    problems: Annotated[list[str], Meta(description="What is not well, each in a sentence that says what to do.")]
    freshness: Annotated[dict[str, LevelFreshness], Meta(description="By level: hour, day, week.")]
    lost: LostMaps
    retention_days: Annotated[dict[str, int], Meta(description="How long log, raw, hour, day and week are kept.")]
    rounds: Annotated[
        dict[str, Round],
        Meta(
            description="What retention (raw, tiles, records, log, dead), archive and nightly sample (verify) did last."
        ),
    ]
    backup: BackupState
    ledger: Annotated[LedgerState | None, Meta(description="Null before the first measurement.")]
    verification: Annotated[VerificationState | None, Meta(description="Null before the first measurement.")]
    stores: Annotated[
        dict[str, dict[str, int]] | None,
        Meta(description="Bytes by store (log, lake, tiles, database, dead) and part: a format, or all."),
    ]
    disks: Annotated[list[DiskState] | None, Meta(description="Of this machine, as the process sees them.")]
    measured_at: Annotated[
        int | None,
        Meta(
            description="When that was measured, of ledger, verification, stores and what else is, which was not for "
            "longest; ms since 1970. Null before the first measurement."
        ),
    ]
    unmeasured: Annotated[
        dict[str, str] | None,
        Meta(description="What could not be measured at the last try, by name, and why: what is said of it is old."),
    ]
