"""`isotherm export`: a map's cells as a file."""

import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from isotherm.cli.client import require_client_id, require_data, running_app
from isotherm.cli.moments import From, To, hour_edge
from isotherm.cli.options import Serving
from isotherm.cli.output import errors
from isotherm.clock import HOUR_MS, SystemClock, iso
from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.events import hour_of, screen_id_ok
from isotherm.rollup.buckets import Level, floor

Format = Literal["csv", "parquet", "arrow"]
_ENDINGS: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".arrow": "arrow", ".arrows": "arrow"}


def command(
    out: Annotated[str, Parameter(help="File to write; - is standard output.")] = "-",
    /,
    settings: Serving | None = None,
    *,
    client: Annotated[str, Parameter(help="The client.")],
    screen: Annotated[str, Parameter(help="The screen.")],
    start: From = None,
    end: To = None,
    level: Annotated[
        Level | None, Parameter(help="One map per hour, day or week instead of one for the whole range.")
    ] = None,
    event_type: Annotated[
        list[str] | None, Parameter(help="Kind of event; several are summed. [default: mousemove]", negative=())
    ] = None,
    format: Annotated[Format | None, Parameter(help="[default: by the file's ending, else csv]")] = None,  # noqa: A002
) -> int:
    """Write a map as CSV, Parquet or Arrow.

    One row per cell that is not zero: cell_x (0 to 99), cell_y (0 to 199), count; with --level also the bucket's
    start. Counts are exact. Through the running app when there is one. Without a range: the last 24 hours.

    Examples:

    `isotherm export map.parquet --client shop --screen /home --from 2026-02-01 --to 2026-03-01`

    `isotherm export --client shop --screen /home --from 2026-02-01 --to 2026-02-08 --level day > days.csv`
    """
    chosen = (settings or Serving()).settings()
    out = "-" if out == "/dev/stdout" else out
    require_client_id(client)
    if not screen_id_ok(screen):
        raise IsothermError(f"--screen {screen}: must be 1 to 256 bytes without control characters and |")
    first, last = _range(start, end)
    kinds = event_type or ["mousemove"]
    if out == "-" and format in ("parquet", "arrow") and sys.stdout.isatty():
        raise IsothermError(f"{format} is binary: name a file, or send standard output somewhere")
    table = _tables(chosen, client, screen, kinds, _spans(first, last, level), with_start=level is not None)
    content = _encode(table, format or _ENDINGS.get(Path(out).suffix.lower(), "csv"))
    if out == "-":
        sys.stdout.buffer.write(content)
    else:
        Path(out).write_bytes(content)
        total = sum(table.column("count").to_pylist())
        errors().print(f"{out}: {table.num_rows:,} cells, {total:,} events, {iso(first)} to {iso(last)}")
    return 0


def _range(start: str | None, end: str | None) -> tuple[int, int]:
    last = hour_edge(end, "--to") if end else hour_of(SystemClock().now_ms()) + HOUR_MS
    first = hour_edge(start, "--from") if start else last - 24 * HOUR_MS
    if first >= last:
        raise IsothermError("--to must lie after --from")
    return first, last


def _spans(start: int, end: int, level: Level | None) -> list[tuple[int, int]]:
    """The whole range, or its buckets of one level; a range that cuts a bucket is refused."""
    if level is None:
        return [(start, end)]
    if floor(level, start) != start or floor(level, end) != end:
        first, last = iso(floor(level, start)), iso(floor(level, end - 1) + level.ms)
        raise IsothermError(
            f"with --level {level}, --from and --to must be edges of a {level}: {first} and {last} hold the range"
        )
    return [(at, at + level.ms) for at in range(start, end, level.ms)]


def _tables(
    settings: Settings, client: str, screen: str, kinds: list[str], spans: list[tuple[int, int]], *, with_start: bool
) -> Any:
    import pyarrow as pa

    parts: list[Any] = []
    with _Source(settings) as source:
        for start, end in spans:
            cells = source.cells(client, screen, kinds, start, end).replace_schema_metadata(None)
            if with_start:
                starts = pa.array([start] * cells.num_rows, pa.timestamp("ms", "UTC"))
                cells = cells.add_column(0, "bucket_start", starts)
            parts.append(cells)
    return pa.concat_tables(parts)


class _Source:
    """Where the cells come from: the running app, or the stores opened here."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app = running_app(settings)
        self._parts: Any = None

    def __enter__(self) -> "_Source":
        if self._app is None:
            require_data(self._settings)
            from isotherm.cli.roles import Parts

            self._parts = Parts(self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        if self._parts is not None:
            self._parts.__exit__()

    def cells(self, client: str, screen: str, kinds: list[str], start: int, end: int) -> Any:
        """Columns cell_x, cell_y, count."""
        if self._app is None:
            return _from_stores(self._parts, client, screen, kinds, start, end)
        import pyarrow as pa

        content = self._app.get(
            "/v1/heatmap",
            accept="application/vnd.apache.arrow.stream",
            client_id=client,
            screen_id=screen,
            event_type=kinds,
            from_=start,
            to=end,
        )
        return pa.ipc.open_stream(content).read_all()


def _from_stores(parts: Any, client: str, screen: str, kinds: list[str], start: int, end: int) -> Any:
    from isotherm.rollup.read import plan_read, sum_maps
    from isotherm.serve.cells import arrow_table
    from isotherm.store.db import reading

    with reading(parts.engine) as connection:
        plan = plan_read(connection, client, start, end, parts.clock.now_ms(), parts.settings)
    return arrow_table(sum_maps(parts.olap, client, screen, kinds, "", plan.buckets))


def _encode(table: Any, format: Format) -> bytes:  # noqa: A002
    import pyarrow as pa

    sink = io.BytesIO()
    if format == "csv":
        from pyarrow import csv

        csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
    elif format == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()
