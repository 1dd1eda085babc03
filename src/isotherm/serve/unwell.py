"""What is not well, each in a sentence that says what to do: for the status page and `isotherm status`."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, duration, iso
from isotherm.land.steady import leaps

LATE_MS: Final = 10 * MINUTE_MS
"""A record that waits for longer than this says that something is wrong, or has too little room."""
BEHIND_S: Final = {"hour": 900, "day": 2 * 3600, "week": 6 * 3600}
"""Maps that lack something for longer than this, in seconds, say the same of the scheduler."""
RECENT_MS: Final = 15 * MINUTE_MS
"""An error that is older than this is over, if nothing else says that it is not."""
NIGHTS_MS: Final = 2 * DAY_MS
"""What a nightly sample met is told for so long, or until the next one."""
ALMOST: Final = 0.9
"""A log that is so full, or a disk so near to its reserve, is told of before the collector refuses."""


def problems_of(facts: Mapping[str, Any], now_ms: int) -> list[str]:
    """What is not well; `facts` as GET /v1/status has them. What a process does not know is no problem of its own."""
    lander = facts.get("lander") or {}
    found = landing(lander, now_ms)
    for part in (_errors, _tiles, _lost, _truth, _unreadable, _room, _clocks, _copies):
        found += part(facts, now_ms)
    return found


def landing(lander: Mapping[str, Any], now_ms: int) -> list[str]:
    """What of landing is not well; `lander` as GET /v1/status has it. Gaps count for a day."""
    waits, kept, sink = lander.get("oldest_unlanded_ms") or 0, lander.get("retention_ms"), lander.get("sink")
    found: list[str] = []
    if kept and waits > kept / 2:
        found.append(
            f"a record waits for {_time(waits)}, and the topic deletes records after {_time(kept)}, landed or not: "
            "land it soon"
        )
    elif waits > LATE_MS:
        whose = f"the worker of {sink['group']} logs" if sink else "the landers log"
        found.append(f"a record waits for {_time(waits)}: see that landing runs, what {whose}, and whether it keeps up")
    recent = [gap for gap in lander.get("gaps", ()) if gap["noticed_at"] > now_ms - DAY_MS]
    if recent:
        lost = sum(gap["last"] - gap["first"] + 1 for gap in recent)
        found.append(
            f"records that the log lost before they were landed: {lost:,}; land faster, or let it keep them longer"
        )
    if sink and sink["problem"]:
        found.append(sink["problem"])
    return found


def _errors(facts: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    collector = facts.get("collector")
    if collector is not None and not collector["answers"]:
        yield "the collector does not answer: nothing comes in; see what it logged, and start it"
    elif collector is not None and collector.get("refuses"):
        yield f"the collector refuses what comes, and senders keep it: {collector['refuses']}"
    for name, what in (("lander", "landing"), ("scheduler", "tiling"), ("stream", "counting live windows")):
        part = facts.get(name) or {}
        if part.get("last_error") and (part.get("last_error_at") or 0) > now_ms - RECENT_MS:
            yield f"{what} met an error and goes on by itself: {part['last_error']}"


def _tiles(facts: Mapping[str, Any], _: int) -> Iterator[str]:
    for level, one in (facts.get("freshness") or {}).items():
        if one["seconds"] > BEHIND_S[level]:
            yield (
                f"maps of {level}s lack what came in the last {duration(one['seconds'])}: see that the scheduler runs, "
                "what it logs, and whether the machine keeps up"
            )


def _lost(facts: Mapping[str, Any], _: int) -> Iterator[str]:
    lost = facts.get("lost") or {"buckets": {}}
    counts = ", ".join(f"{count:,} {level}" for level, count in lost["buckets"].items())
    if counts:
        parts = f" ({', '.join(lost['parts'])})" if lost["parts"] else ""
        yield (
            f"maps of these buckets went with damaged parts of the tile store{parts}: {counts}; reads of them answer "
            "503 until they are made again from the raw events, which happens by itself. What is older than these, "
            "only a backup has. See that the disk is sound"
        )


def _truth(facts: Mapping[str, Any], _: int) -> Iterator[str]:
    ledger = facts.get("ledger")
    if ledger and ledger["differing"]:
        yield (
            f"the ledger does not close in {ledger['differing']:,} hours ({ledger['examples'][0]}); events are lost or "
            "counted twice: see `isotherm ledger --check`"
        )
    different = ((facts.get("verification") or {}).get("findings") or {}).get("different", 0)
    if different:
        yield (
            f"maps that differ from the raw events: {different:,} buckets; see `isotherm verify`, and tile them again "
            "with `isotherm rollup --from --to`"
        )


def _unreadable(facts: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    """What was compared once keeps that verdict: then only the night that met the files knows of them."""
    known = ((facts.get("verification") or {}).get("findings") or {}).get("unreadable", 0)
    night = (facts.get("rounds") or {}).get("verify") or {}
    met = night["did"].get("unreadable", 0) if (night.get("did_at") or "") > iso(now_ms - NIGHTS_MS) else 0
    if known or met:
        yield (
            f"raw files that are missing or damaged: those of {max(known, met):,} buckets, whose maps cannot be "
            "compared or made again; `isotherm verify` names them: restore them from a backup"
        )


def _room(facts: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    log = facts.get("log") or {}
    held, most = log.get("bytes") or 0, log.get("max_bytes") or 0
    if most and held > ALMOST * most:
        yield f"the log holds {held:,} of at most {most:,} bytes (log_max_bytes): the collector will refuse soon"
    if log.get("set_aside"):
        yield f"damaged files of the log were set aside: {', '.join(log['set_aside'])}; keep them, see the runbook"
    reserve = facts.get("disk_reserve_bytes") or 0
    for disk in facts.get("disks") or ():
        if disk["free"] < reserve / ALMOST:
            yield (
                f"the disk of {disk['store']} has {disk['free']:,} bytes free, and the collector refuses below "
                f"{reserve:,} (disk_reserve_bytes): free some space"
            )
    unmeasured: Mapping[str, str] = facts.get("unmeasured") or {}
    for name, error in unmeasured.items():
        yield f"{name} cannot be measured ({error}): what is said of it is old"
    measured = facts.get("measured_at")
    if not unmeasured and measured is not None and now_ms - measured > HOUR_MS:
        yield f"ledger and stores were last measured {_time(now_ms - measured)} ago: see what the app logs"


def _clocks(facts: Mapping[str, Any], _: int) -> Iterator[str]:
    for before, after in leaps(facts.get("rounds") or {}):
        yield (
            f"the clock leapt ahead by {_time(after - before)}, to {iso(after)}: nothing is removed by it for a day; "
            "set it right, or, where it is right, run `isotherm retention --apply`"
        )


def _copies(facts: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    backup = facts.get("backup") or {}
    made_at = backup.get("made_at")
    if made_at is not None and now_ms - made_at > backup["max_age_ms"]:
        yield (
            f"the newest backup was made {_time(now_ms - made_at)} ago, and is to be no older than "
            f"{_time(backup['max_age_ms'])} (backup_max_age_hours): take one, and see why the timer did not"
        )


def _time(ms: int) -> str:
    return duration(ms / SECOND_MS)
