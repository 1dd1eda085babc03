"""`isotherm retention`: what is past its days, what goes next, and what went last."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from isotherm.cli.client import require_client_id, require_data, running_app
from isotherm.cli.logs import set_up_logs
from isotherm.cli.options import AsJson, Everything
from isotherm.cli.output import console, errors, hour, moment, print_json, size, table
from isotherm.clock import DAY_MS, SystemClock, iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land import rounds
from isotherm.land.aside import files_in, folder_of
from isotherm.land.steady import WORKS, believed
from isotherm.rollup.due import Due, due
from isotherm.store.db import open_db

_NAMES: Final = {"raw": "raw events", "hour": "hourly tiles", "day": "daily tiles", "week": "weekly tiles"}
_LOGS: Final = {"log": "log", "dead": "dead letters"}
_WORKS: Final = ("raw", "tiles", "records", "log", "dead", "archive")
"""The rounds that are told of."""
_SHOWN: Final = 60


def command(
    settings: Everything | None = None,
    *,
    client: Annotated[str | None, Parameter(help="Only this client.")] = None,
    dry_run: Annotated[
        bool, Parameter(help="Only look; this is what happens without --apply.", negative=(), show_default=False)
    ] = False,
    apply: Annotated[
        bool,
        Parameter(help="Remove what is past its days now, of all clients.", negative=(), show_default=False),
    ] = False,
    json: AsJson = False,
) -> int:
    """What is past its days, what goes next, and what went last.

    Everything has its days: raw events, tiles of each level, the log, dead letters. What is past them goes by itself,
    every half a minute or (tiles) ten minutes, while `isotherm up`, `land` and `rollup` run. What went is written
    down: the ledger still closes, and a map still says what it was made of. This command looks; with --apply it
    removes what is due now, or asks the running app to do so.

    Examples:

    `isotherm retention --data ./data`

    `isotherm retention --client shop --json`

    `isotherm retention --apply`
    """
    chosen = (settings or Everything()).settings()
    if dry_run and apply:
        raise IsothermError("--dry-run looks and --apply removes: give one of them")
    require_client_id(client)
    if apply and client is not None:
        raise IsothermError("--apply removes what is due of all clients: leave --client away")
    require_data(chosen)
    if apply:
        return _apply(chosen, as_json=json)
    now = SystemClock().now_ms()
    database = open_db(chosen.url("db"))
    try:
        found, ran = due(chosen, database, now, client), rounds.last(database)
        by = {work: believed(database, now, work) for work in WORKS}
    finally:
        database.dispose()
    last = {work: ran[work] for work in _WORKS if work in ran}
    logs: dict[str, Any] = {"log": None, "dead": None}
    if client is None:
        logs = {"log": _log_due(chosen, by["land"]), "dead": _dead_due(chosen, by["land"])}
    leaps = [(before, now) for before in sorted(set(by.values())) if before < now]
    if json:
        plain = [{"before": iso(before), "after": iso(after)} for before, after in leaps]
        due_now = [_plain(one) for one in found]
        print_json({"now": iso(now), "leaps": plain, "due": due_now, **logs, "last": last})
    else:
        _say(found, logs, last, of="" if client is None else " of this client")
        _say_leaps(leaps)
    return 0


def _plain(one: Due) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(one)
    for name in ("next_start", "next_at"):
        values[name] = None if values[name] is None else iso(values[name])
    return values


def _log_due(settings: Settings, now_ms: int) -> dict[str, Any]:
    """Closed segments of the embedded log whose records are all past their days; landed ones of them go."""
    from isotherm.eventlog.port import open_log

    log = open_log(settings, SystemClock())
    try:
        status = log.status()
    finally:
        log.close()
    before = now_ms - settings.log_retention_days * DAY_MS
    old = [s for s in status.segments if s.sealed and s.last_timestamp is not None and s.last_timestamp < before]
    return {
        "kept_days": settings.log_retention_days,
        "bytes": status.bytes,
        "due": {"segments": len(old), "bytes": sum(segment.bytes for segment in old)},
    }


def _dead_due(settings: Settings, now_ms: int) -> dict[str, Any]:
    """The same of dead letters, with the files of those that their log did not take."""
    found = _log_due(settings.for_dead_letters(), now_ms)
    kept = [file.stat() for file in files_in(folder_of(settings))]
    before = now_ms - settings.dead_retention_days * DAY_MS
    old = [one for one in kept if one.st_mtime_ns // 1_000_000 < before]
    found["bytes"] += sum(one.st_size for one in kept)
    found["due"]["bytes"] += sum(one.st_size for one in old)
    return found | {"due": found["due"] | {"files": len(old)}}


def _say(found: list[Due], logs: dict[str, Any], last: dict[str, Any], *, of: str) -> None:
    out = console()
    if found:
        rows = [
            (_NAMES[o.store], o.client_id, o.kept_days, o.hours, o.rows, size(o.bytes) if o.bytes else "",
             hour(o.next_start), moment(o.next_at))
            for o in found[:_SHOWN]
        ]  # fmt: skip
        columns = ("store", "client", "days", "due now", "rows", "size", "next to go", "goes at (UTC)")
        out.print(table(columns, rows))
        if len(found) > _SHOWN:
            out.print(f"and {len(found) - _SHOWN:,} more; --json prints all, --client chooses")
    else:
        out.print(f"nothing is kept{of} yet: no raw events, no tiles")
    for name, said in logs.items():
        if said is None:
            continue
        past = said["due"]
        files = f"{past['files']:,} files, " if "files" in past else ""
        stays = " (what is not landed stays)" if name == "log" else ""
        out.print(
            f"\n{_LOGS[name]}: {said['kept_days']} days, {size(said['bytes'])}; past them: {past['segments']:,} "
            f"segments, {files}{size(past['bytes'])}{stays}"
        )
    for name, one in last.items():
        did = (
            f"last removed something at {one['did_at'][:19]}: {_short(one['did'])}" if one["did_at"] else "nothing yet"
        )
        out.print(f"{name}: last looked at {one['ran_at'][:19]}, {did}", markup=False)


def _say_leaps(leaps: list[tuple[int, int]]) -> None:
    if leaps:  # the rounds of each work saw the same one, some minutes apart
        before, after = leaps[0]
        console().print(
            f"\nthe clock leapt from {moment(before)} to {moment(after)}: nothing is removed by it for a day, and what "
            "is due is told by the moment before; --apply believes it at once",
            markup=False,
        )


def _short(did: dict[str, Any]) -> str:
    """Sums without their clients."""
    parts: list[str] = []
    for name, value in did.items():
        if name == "clients":
            continue
        parts.append(f"{name} ({_short(value)})" if isinstance(value, dict) else f"{name} {_number(value)}")
    return ", ".join(parts)


def _number(value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _apply(settings: Settings, *, as_json: bool) -> int:
    removed: dict[str, Any] = {}
    with _Steps(settings) as steps:
        for step in steps:
            removed[step["store"]] = step["removed"]
            if not as_json:
                errors().print(f"{step['store']}: {_short(step['removed']) or 'nothing was due'}", markup=False)
    if as_json:
        print_json({"removed": removed})
    return 0


class _Steps:
    """The steps of the running app, or of the stores opened here."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: Any = None

    def __enter__(self) -> Iterator[dict[str, Any]]:
        app = running_app(self._settings)
        if app is not None:
            return app.steps("/v1/admin/retention", {})
        from isotherm.cli.jobs import retention_job
        from isotherm.cli.roles import Parts

        # The work's own log would stand between the lines of standard output; what was removed is told there.
        set_up_logs(self._settings.model_copy(update={"log_level": "warning"}), "retention")
        self._parts = Parts(self._settings)
        return retention_job(self._parts)()

    def __exit__(self, *_: object) -> None:
        if self._parts is not None:
            self._parts.__exit__()
