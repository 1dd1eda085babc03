"""`isotherm import`: send recordings through the collector's door."""

import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

from cyclopts import Parameter
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from isotherm.cli.options import AsJson
from isotherm.cli.output import duration, errors, print_json
from isotherm.cli.recording import Cutter, Plan, bodies, content_hash, parse_mapping
from isotherm.cli.sender import Sender
from isotherm.errors import IsothermError

_LINE_EVERY_S: Final = 5.0


def command(
    files: Annotated[list[str], Parameter(help="JSON lines, CSV or Parquet, also .gz; - is standard input.")],
    /,
    *,
    to: Annotated[str, Parameter(help="Address of the collector.")] = "http://127.0.0.1:7081",
    map: Annotated[  # noqa: A002 - the flag's name is part of the contract
        tuple[str, ...],
        Parameter(
            help="FIELD:from=to replaces a value, e.g. event_type:move=mousemove. Repeatable.",
            negative=(),
            show_default=False,
        ),
    ] = (),
    shift_days: Annotated[int, Parameter(help="Move every event time by so many whole days.")] = 0,
    client: Annotated[str, Parameter(help="client_id of rows that name none.", show_default=False)] = "",
    screen: Annotated[str, Parameter(help="screen_id of rows that name none.", show_default=False)] = "",
    format: Annotated[  # noqa: A002
        Literal["jsonl", "csv", "parquet"] | None, Parameter(help="Format, if the file's name does not say it.")
    ] = None,
    patience: Annotated[float, Parameter(help="Seconds to keep trying while the collector is away.")] = 300.0,
    json: AsJson = False,
) -> int:
    """Send recordings (JSON lines, CSV, Parquet) to a collector.

    Rows carry the wire's field names: client_id, screen_id, event_time, event_type, x_norm, y_norm and so on.
    They go through the same door as everything else. A file can be imported again, after an interruption too:
    its batches have ids made from its content, the mapping, the shift and the defaults, so nothing counts twice.

    Recordings are often older than what the collector still takes; `--shift-days` moves them.

    Examples:

    `isotherm import events.jsonl.gz --to http://127.0.0.1:7081`

    `isotherm import old.csv --shift-days 2300 --client shop --map event_type:move=mousemove`
    """
    plan = Plan(parse_mapping(map), shift_days, client, screen)
    console = errors()
    if not files:
        raise IsothermError("name at least one file to import, or - for standard input")
    if shift_days:
        console.print(f"moving every event time by {shift_days:+,} days: what is stored differs from the recording")
    reports: list[dict[str, Any]] = []
    for name in files:
        try:
            reports.append(_import(name, format, plan, to, patience))
        except KeyboardInterrupt:
            console.print(f"{name}: interrupted; import it again to send the rest, nothing is counted twice")
            raise
        if not json:
            _say(reports[-1], plan)
    if json:
        print_json(_total(reports))
    return 0


@contextmanager
def _opened(name: str) -> Generator[tuple[Path, IO[bytes]]]:
    """The file, and where it is. Standard input is kept in a temporary file first: ids need all of its content."""
    if name not in ("-", "/dev/stdin"):
        path = Path(name)
        if not path.is_file():
            raise IsothermError(f"{name}: no such file")
        with path.open("rb") as file:
            yield path, file
        return
    with tempfile.NamedTemporaryFile() as file:
        while block := sys.stdin.buffer.read(1 << 20):
            file.write(block)
        file.seek(0)
        yield Path(file.name), file  # type: ignore[misc]


def _named(name: str, format: str | None, head: bytes) -> str:  # noqa: A002
    """A name whose ending tells the format, gzip by the first bytes."""
    base = f"x.{format}" if format else "x.jsonl" if name in ("-", "/dev/stdin") else name.lower().removesuffix(".gz")
    return base + (".gz" if head.startswith(b"\x1f\x8b") else "")


def _import(name: str, format: str | None, plan: Plan, to: str, patience: float) -> dict[str, Any]:  # noqa: A002
    with _opened(name) as (path, raw):
        cutter = Cutter(plan, content_hash(path))
        kind = _named(name, format, raw.read(2))
        raw.seek(0)
        started = time.monotonic()
        with Sender(to, patience) as sender, _Watch(name, path.stat().st_size, raw, sender) as watch:
            for body in bodies(path, kind, cutter, raw):
                sender.put(body)
                watch.tick()
            sender.finish()
        seconds = time.monotonic() - started
    examples = sorted(cutter.examples + sender.examples)[:20]
    return {
        "file": name,
        "accepted": sender.accepted,
        "rejected": sender.rejected + cutter.bad,
        "duplicate": sender.duplicate,
        "reasons": dict(sender.reasons.most_common()) | ({"unreadable_row": cutter.bad} if cutter.bad else {}),
        "examples": [{"line": line, "why": why} for line, why in examples],
        "retries": sender.retries,
        "seconds": round(seconds, 3),
        "shift_days": plan.shift_days,
        "last_time": cutter.last_time,
    }


class _Watch:
    """A progress bar on a terminal, a line now and then elsewhere; both on standard error."""

    def __init__(self, name: str, size: int, raw: IO[bytes], sender: Sender) -> None:
        self._name, self._size, self._raw, self._sender = name, max(size, 1), raw, sender
        self._console = errors()
        self._started = self._said = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(Path(name).name, total=self._size, events=0, rate=0.0)

    def __enter__(self) -> "_Watch":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tick(self) -> None:
        """Show where we are, at most a few times a second."""
        now = time.monotonic()
        if now - self._said < (0.1 if self._console.is_terminal else _LINE_EVERY_S):
            return
        self._said = now
        done, elapsed = min(self._raw.tell(), self._size), now - self._started
        events = self._sender.answered
        self._bar.update(self._task, completed=done, events=events, rate=events / elapsed)
        if not self._console.is_terminal:
            left = duration(elapsed * (self._size - done) / done) if done else "?"
            self._console.print(
                f"{self._name}: {done / self._size:.0%}, {events:,} events, {events / elapsed:,.0f}/s, {left} left"
            )


def _total(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """One report for scripts: sums, and each file's own report."""
    sums = {name: sum(r[name] for r in reports) for name in ("accepted", "rejected", "duplicate", "retries")}
    reasons: dict[str, int] = {}
    for report in reports:
        for reason, count in report["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    return sums | {"reasons": reasons, "files": reports}


def _say(report: dict[str, Any], plan: Plan) -> None:
    """The report for people."""
    events = report["accepted"] + report["rejected"] + report["duplicate"]
    seconds = report["seconds"]
    print(f"{report['file']}: {events:,} events in {seconds:.1f} s ({events / max(seconds, 1e-9):,.0f}/s)")
    print(f"  accepted   {report['accepted']:>14,}")
    print(f"  rejected   {report['rejected']:>14,}")
    for reason, count in report["reasons"].items():
        print(f"    {reason:<28} {count:,}")
    print(f"  duplicates {report['duplicate']:>14,}" + ("  (imported before)" if report["duplicate"] else ""))
    if report["retries"]:
        print(f"  {report['retries']:,} requests were sent again: the collector was away or busy")
    for example in report["examples"]:
        print(f"  line {example['line']}: {example['why']}")
    if report["reasons"].get("too_old") and (days := _days_ago(report["last_time"])) is not None:
        print(
            f"  too old for the collector: `--shift-days {plan.shift_days + days}` would bring the events to yesterday"
        )


def _days_ago(time: Any) -> int | None:
    """Whole days from the event's day to yesterday."""
    try:
        day = (
            date.fromisoformat(time[:10]) if isinstance(time, str) else datetime.fromtimestamp(time / 1000, UTC).date()
        )
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return (datetime.now(UTC).date() - day).days - 1
