"""Jobs on demand: their progress is streamed, and they stop when the caller goes away."""

from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import msgspec
from litestar import Request, post
from litestar.response import Stream

from isotherm.errors import Problem
from isotherm.rollup.buckets import Level
from isotherm.serve import params
from isotherm.serve.deps import InDeps, Progress
from isotherm.serve.problems import as_problem
from isotherm.serve.shapes import RetentionRequest, RollupRequest, VerifyRequest

NDJSON: Final = "application/x-ndjson"
MAX_BODY_BYTES: Final = 16 * 1024
Shape = TypeVar("Shape")


@post(
    "/v1/admin/rollup",
    status_code=200,
    tags=["admin"],
    summary="Tile a range again",
    request_max_body_size=MAX_BODY_BYTES,
)
async def rollup(request: Request[Any, Any, Any], deps: InDeps) -> Stream:
    """Rebuild the tiles of a range from the lake; one JSON object per line as the job goes on.

    A line with `error` is the last one and says what failed. Closing the connection stops the job: what was
    tiled stays, the rest waits to be done again.
    """
    asked = _body(await request.body(), RollupRequest)
    if deps.backfill is None:
        raise Problem(501, "this process runs no tile jobs; ask the one that `isotherm up` or `isotherm rollup` runs")
    start, end = params.span(asked.start, asked.end)
    level = None if asked.level is None else Level(asked.level)
    return _stream(deps.backfill(start=start, end=end, client_id=_client(asked.client_id), level=level))


@post(
    "/v1/admin/verify", status_code=200, tags=["admin"], summary="Recount tiles", request_max_body_size=MAX_BODY_BYTES
)
async def verify(request: Request[Any, Any, Any], deps: InDeps) -> Stream:
    """Recount tiles from the lake and compare them cell by cell; one JSON object per line as the job goes on.

    Each line is the verdict on one bucket: `finding` is same, different, unreadable (a lake file is damaged or gone),
    dirty (a tile job will follow) or frozen (its raw events have expired). Verdicts are kept.
    """
    asked = _body(await request.body(), VerifyRequest)
    if deps.verify is None:
        raise Problem(501, "this process verifies nothing; ask the one that `isotherm up` runs")
    start = None if asked.start is None else params.moment(asked.start, "from")
    end = None if asked.end is None else params.moment(asked.end, "to")
    if start is not None and end is not None and start >= end:
        raise Problem(400, "to: must lie after from", field="to")
    verdicts = deps.verify(
        start=start,
        end=end,
        client_id=_client(asked.client_id),
        levels=None if asked.levels is None else [Level(level) for level in asked.levels],
        parallel=asked.parallel,
        sample=asked.sample,
        seed=asked.seed,
        progress=asked.progress,
    )
    return _stream(verdicts)


@post(
    "/v1/admin/retention",
    status_code=200,
    tags=["admin"],
    summary="Remove what is past its days",
    request_max_body_size=MAX_BODY_BYTES,
)
async def retention(request: Request[Any, Any, Any], deps: InDeps) -> Stream:
    """Run a round of retention now; one JSON object per store as it goes on: what was removed.

    It runs by itself, too, every half a minute or ten minutes. What is past its days is told by the settings.
    """
    _body(await request.body(), RetentionRequest)
    if deps.retention is None:
        raise Problem(501, "this process removes nothing; ask the one that `isotherm up` runs")
    return _stream(deps.retention())


def _client(client_id: str | None) -> str | None:
    return None if client_id is None else params.client(client_id)


def _body(raw: bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(raw or b"{}", type=shape)
    except msgspec.ValidationError as error:
        raise Problem(400, f"body: {error}", field="body") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"body: is not JSON ({error})", field="body") from None


def _stream(progress: Progress) -> Stream:
    return Stream(_lines(progress), media_type=NDJSON, headers={"cache-control": "no-store"})


async def _lines(progress: Progress) -> AsyncIterator[bytes]:
    """Each step as a line; the job runs in a thread, and is closed when the caller goes away."""
    try:
        while (step := await anyio.to_thread.run_sync(next, progress, None)) is not None:
            yield msgspec.json.encode(step) + b"\n"
    except Exception as error:  # noqa: BLE001 - the status line is out: the last line is where an error can be told
        yield msgspec.json.encode({"error": as_problem(error).body()}) + b"\n"
    finally:
        close = getattr(progress, "close", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close)
