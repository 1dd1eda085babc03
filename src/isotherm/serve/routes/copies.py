"""Stored maps for whoever keeps a copy of them: a backup that runs beside the process that owns the tile store."""

from typing import Annotated, Any, Literal

import anyio.to_thread
import pyarrow as pa
from litestar import Response, get
from litestar.params import QueryParameter

from isotherm.errors import Problem
from isotherm.rollup.buckets import Bucket, Level, floor
from isotherm.rollup.copies import CLIENTS_PER_PAGE, MAX_PAGES, read_maps
from isotherm.serve import params
from isotherm.serve.deps import InDeps
from isotherm.serve.negotiate import ARROW

OfLevel = Annotated[Literal["hour", "day", "week"], QueryParameter(name="level", description="Level of the bucket.")]
Start = Annotated[
    str, QueryParameter(name="start", description="Start of the bucket: RFC 3339, or integer milliseconds.")
]
Clients = Annotated[
    list[str], QueryParameter(name="client_id", description=f"Whose maps; repeat it, at most {CLIENTS_PER_PAGE} times.")
]
Page = Annotated[int, QueryParameter(name="page", description="Which part of the maps, from 0.", ge=0)]
Pages = Annotated[
    int, QueryParameter(name="pages", description="How many parts the maps are cut into.", ge=1, le=MAX_PAGES)
]


@get("/v1/admin/maps", tags=["admin"], summary="Stored maps of a bucket")
async def maps(
    deps: InDeps, level: OfLevel, start: Start, client_id: Clients, page: Page = 0, pages: Pages = 1
) -> Response[bytes]:
    """The maps of some clients in one bucket as they are stored, with their version, as an Arrow IPC stream.

    For backups: they read what this process alone may open.
    """
    chosen = Level(level)
    at = params.moment(start, "start")
    if at != floor(chosen, at):
        raise Problem(400, f"start: no {level} begins at {start}", field="start")
    if not 0 < len(client_id) <= CLIENTS_PER_PAGE:
        raise Problem(400, f"client_id: name 1 to {CLIENTS_PER_PAGE} clients", field="client_id")
    if page >= pages:
        raise Problem(400, f"page: the pages are 0 to {pages - 1}", field="page")
    clients = tuple(params.client(one) for one in client_id)
    found = await anyio.to_thread.run_sync(read_maps, deps.olap, Bucket(chosen, at), (clients, page, pages))
    return Response(_stream(found), media_type=ARROW, headers={"cache-control": "no-store"})


def _stream(table: pa.Table) -> Any:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
