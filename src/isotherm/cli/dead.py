"""`isotherm dead ls|show|replay|drop`: what could not be accepted or landed."""

import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from cyclopts import App, Parameter

from isotherm.cli import dead_replay
from isotherm.cli.client import require_client_id, require_data
from isotherm.cli.moments import From, To, parse_moment
from isotherm.cli.options import AsJson, Collecting, Stores
from isotherm.cli.output import console, errors, moment, print_json, size, table
from isotherm.cli.processes import read_running, url_of
from isotherm.clock import SystemClock
from isotherm.collect.dead import REASONS, Stage
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.eventlog.port import EventLog, open_dead_log
from isotherm.land import letters
from isotherm.land.aside import files_in, folder_of
from isotherm.land.letters import Entry, Place, State, Wanted
from isotherm.store.db import open_db

app: Final = App(
    name="dead",
    help="""Dead letters: what could not be accepted or landed, whole, with the reason.

    Bodies that were refused for what is in them, batches of which events were rejected, and records that landing could
    not use. Works beside a running `isotherm up`.

    Examples:

    `isotherm dead ls --client shop --reason bad_time`

    `isotherm dead show 0-17 --body > body.json`

    `isotherm dead replay --client shop`: through the same door again; what is there already is not counted twice
    """,
    help_epilogue="",
)

Client = Annotated[str | None, Parameter(help="Only of this client.")]
Reason = Annotated[str | None, Parameter(help="Only for this reason, as `dead ls` names it.")]
OfStage = Annotated[Stage | None, Parameter(name="--stage", help="Only of this stage.")]
Limit = Annotated[int, Parameter(help="At most so many, the newest first; 0: all.")]
Places = Annotated[str, Parameter(help="Places as `dead ls` shows them, like 0-17; without any, all that match.")]


@contextmanager
def _opened(settings: Settings) -> Generator[tuple[EventLog, Any]]:
    require_data(settings)
    with ExitStack() as stack:
        log = open_dead_log(settings, SystemClock())
        stack.callback(log.close)
        engine = open_db(settings.url("db"))
        stack.callback(engine.dispose)
        yield log, engine


def _wanted(
    client: str | None, reason: str | None, stage: Stage | None, start: str | None, end: str | None, state: State | None
) -> Wanted:
    require_client_id(client)
    if reason is not None and reason not in REASONS:
        raise IsothermError(f"--reason {reason}: there is no such reason; known: {', '.join(REASONS)}")
    first = None if start is None else parse_moment(start, "--from")
    last = None if end is None else parse_moment(end, "--to")
    return Wanted(client, reason, stage, state, first, last)


@app.command
def ls(
    settings: Stores | None = None,
    *,
    client: Client = None,
    reason: Reason = None,
    stage: OfStage = None,
    state: Annotated[
        Literal["waiting", "replayed", "dropped", "all"], Parameter(help="Only in this state.")
    ] = "waiting",
    start: From = None,
    end: To = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> int:
    """List dead letters, the newest first."""
    chosen = (settings or Stores()).settings()
    wanted = _wanted(client, reason, stage, start, end, None if state == "all" else state)
    with _opened(chosen) as (log, engine):
        found = letters.look(log, engine, wanted)
    aside = len(list(files_in(folder_of(chosen))))
    shown = found[: limit or None]
    if json:
        print_json({"total": len(found), "in_folder": aside, "letters": [_as_json(entry) for entry in shown]})
        return 0
    if aside:
        errors().print(
            f"{folder_of(chosen)} holds {aside:,} records more, a file each: the log of dead letters took nothing when "
            f"they came. They are not listed, and go after {chosen.dead_retention_days} days.",
            markup=False,
        )
    if not found:
        console().print("no dead letters" + ("" if state == "all" else f" that are {state}"))
        return 0
    columns = ("place", "received", "client", "stage", "reason", "size", "state", "detail")
    console().print(table(columns, [_row(entry) for entry in shown]))
    if len(shown) < len(found):
        errors().print(f"{len(shown):,} of {len(found):,}; --limit 0 lists all")
    return 0


def _row(entry: Entry) -> tuple[Any, ...]:
    head = entry.head
    return (
        str(entry.place), moment(head.time), head.client_id, head.stage, head.reason, size(head.bytes), entry.state,
        head.detail[:80],
    )  # fmt: skip


def _as_json(entry: Entry) -> dict[str, Any]:
    said = msgspec.to_builtins(entry.head)
    return {"place": str(entry.place), **said, "state": entry.state, "accepted": entry.accepted} | (
        {} if entry.changed_at is None else {"changed_at": entry.changed_at}
    )


@app.command
def show(
    place: Annotated[str, Parameter(help="Place as `dead ls` shows it, like 0-17.")],
    settings: Stores | None = None,
    *,
    body: Annotated[
        bool, Parameter(help="The original bytes alone, on standard output.", negative=(), show_default=False)
    ] = False,
    json: AsJson = False,
) -> int:
    """Show one dead letter with its body."""
    with _opened((settings or Stores()).settings()) as (log, _):
        letter = letters.one(log, Place.parse(place))
    if body:
        sys.stdout.buffer.write(letter.content)
        return 0
    said = msgspec.to_builtins(letter)
    if json:
        print_json({"place": place, **said})
        return 0
    said |= {"time": moment(letter.time), "what": REASONS.get(letter.reason, "")}
    said["headers"] = ", ".join(f"{name}: {value}" for name, value in letter.headers.items())
    content, _ = said.pop("body"), said.pop("v")
    console().print(table(("", place), [(name, str(value)) for name, value in said.items() if value not in (None, "")]))
    console().print()
    console().print(content, markup=False)
    return 0


@app.command
def replay(
    *places: Places,
    settings: Collecting | None = None,
    client: Client = None,
    reason: Reason = None,
    stage: OfStage = None,
    start: From = None,
    end: To = None,
    limit: Annotated[int, Parameter(help="At most so many, the newest first; 0: all.")] = 0,
    to: Annotated[
        str | None, Parameter(name="--collector", help="The collector's address; default: the running one.")
    ] = None,
    again: Annotated[
        bool, Parameter(help="Also those that were replayed or dropped.", negative=(), show_default=False)
    ] = False,
    json: AsJson = False,
) -> int:
    """Send dead letters through the collector's door again, and remember those that it took whole.

    What is accepted now is landed unless the lake has it: replaying twice, or a batch of which some events were
    accepted before, adds only what is missing. In the ledger, what landing could not use is dead until it was replayed
    whole. A letter of which something is refused again keeps waiting; then the exit code is 1.
    """
    chosen = (settings or Collecting()).settings()
    wanted = _wanted(client, reason, stage, start, end, None if again or places else "waiting")
    url = to or _collector(chosen)
    told: list[dict[str, Any]] = []
    with _opened(chosen) as (log, engine):
        for place in _chosen(log, engine, places, wanted, limit):
            letter = letters.one(log, place)
            answer = dead_replay.send(url, letter)
            if answer.refused is None and not answer.rejected:
                letters.replayed(log, engine, place, letter, SystemClock().now_ms(), answer.accepted)
            told.append({"place": str(place), **answer._asdict()})
            if not json:
                _tell(place, answer)
        letters.forget(log, engine)
    sums = {name: sum(one[name] for one in told) for name in ("accepted", "rejected")}
    refused = sum(one["refused"] is not None for one in told)
    partly = sum(one["rejected"] > 0 for one in told)
    sums |= {"replayed": len(told) - refused - partly, "partly": partly, "refused": refused}
    if json:
        print_json(sums | {"letters": told})
    else:
        console().print(
            f"{len(told):,} dead letters sent: {sums['replayed']:,} replayed, {partly:,} taken in part, {refused:,} "
            f"refused again; {sums['accepted']:,} events accepted, {sums['rejected']:,} rejected again"
        )
    return 1 if sums["refused"] or sums["rejected"] else 0


def _tell(place: Place, answer: dead_replay.Answer) -> None:
    if answer.refused is not None:
        errors().print(f"{place} is refused again: {answer.refused}", markup=False)
    elif answer.rejected:
        errors().print(f"{place}: {answer.rejected:,} events are rejected again", markup=False)


@app.command
def drop(
    *places: Places,
    settings: Stores | None = None,
    client: Client = None,
    reason: Reason = None,
    stage: OfStage = None,
    start: From = None,
    end: To = None,
    yes: Annotated[
        bool, Parameter(help="Needed without places: drop all that match.", negative=(), show_default=False)
    ] = False,
    json: AsJson = False,
) -> int:
    """Mark dead letters as done with; their bytes go with the retention (`dead_retention_days`)."""
    if not places and not yes:
        raise IsothermError("name the letters to drop, as `isotherm dead ls` shows them, or --yes for all that match")
    wanted = _wanted(client, reason, stage, start, end, None if places else "waiting")
    with _opened((settings or Stores()).settings()) as (log, engine):
        dropped = _chosen(log, engine, places, wanted, 0)
        for place in dropped:
            letters.one(log, place)
            letters.drop(log, engine, place, SystemClock().now_ms())
        letters.forget(log, engine)
    if json:
        print_json({"dropped": [str(place) for place in dropped]})
    else:
        console().print(f"{len(dropped):,} dead letters dropped")
    return 0


def _chosen(log: EventLog, engine: Any, places: Sequence[str], wanted: Wanted, limit: int) -> list[Place]:
    if places:
        return [Place.parse(text) for text in places]
    return [entry.place for entry in letters.look(log, engine, wanted, limit or None)]


def _collector(settings: Settings) -> str:
    running = read_running(settings.data)
    url = running.collect if running is not None else url_of(settings.collect_host, settings.collect_port)
    if not urlsplit(url).hostname:
        raise IsothermError("no collector is known: start `isotherm up`, or name one with --collector")
    return url
