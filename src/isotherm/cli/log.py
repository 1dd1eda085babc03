"""`isotherm log`: what stands on the event log."""

from typing import Any

import msgspec

from isotherm.cli.client import require_data
from isotherm.cli.options import AsJson, Stores
from isotherm.cli.output import console, moment, print_json, size, table
from isotherm.clock import SystemClock
from isotherm.eventlog.port import LogStatus, open_log


def command(settings: Stores | None = None, *, json: AsJson = False) -> int:
    """The event log: head, consumers, lag, bytes, segments.

    Works beside a running `isotherm up`. Lag is what a consumer has not committed yet.
    """
    chosen = (settings or Stores()).settings()
    require_data(chosen)
    log = open_log(chosen, SystemClock())
    try:
        status = log.status()
    finally:
        log.close()
    lags = {name: status.lag(name) for name in status.consumers}
    if json:
        print_json(msgspec.to_builtins(status) | {"lag": lags})
    else:
        _say(status, lags)
    return 0


def _say(status: LogStatus, lags: dict[str, int]) -> None:
    out = console()
    # The brokers of a topic tell no sizes.
    room = f"  {size(status.bytes)} of at most {size(status.max_bytes)}" if status.max_bytes else ""
    out.print(f"[bold]{status.url}[/]{room}")
    rows: list[tuple[Any, ...]] = [
        (partition, status.tail.get(partition, 0), head, head - status.tail.get(partition, 0))
        for partition, head in sorted(status.head.items())
    ]
    out.print(table(("partition", "tail", "head", "records"), rows))
    out.print()
    if status.consumers:
        out.print(table(("consumer", "lag in records"), sorted(lags.items())))
    else:
        out.print("no consumer yet: nothing has been landed from this log")
    if status.segments:
        out.print()
        out.print(_segments(status))
    if status.set_aside:
        out.print()
        out.print("[bold red]damaged files set aside[/]; keep them until you know what was in them:")
        for name in status.set_aside:
            out.print(f"  {name}", markup=False)


def _segments(status: LogStatus) -> Any:
    return table(
        ("segment", "partition", "first", "last", "size", "oldest record", "newest record", ""),
        [
            (
                segment.name,
                segment.partition,
                segment.first,
                max(segment.last - 1, segment.first),
                size(segment.bytes),
                moment(segment.first_timestamp),
                moment(segment.last_timestamp),
                "sealed" if segment.sealed else "open",
            )
            for segment in status.segments
        ],
    )
