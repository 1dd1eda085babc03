"""What this stage adds to the API: thumbnails of maps, and what a site owner needs to use the SDK."""

from hashlib import blake2b
from typing import Annotated, Any, Final

import msgspec
import sqlalchemy as sa
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta, Struct
from sqlalchemy.engine import Connection

from isotherm import __version__
from isotherm.errors import Problem
from isotherm.rollup.read import plan_read, sum_maps
from isotherm.serve import known, params
from isotherm.serve.answer import AnyRequest, has
from isotherm.serve.deps import Deps, InDeps
from isotherm.serve.kept import kept
from isotherm.store.db import reading
from isotherm.store.tables import screen_shapes
from isotherm.view.address import collector_url
from isotherm.view.palettes import PaletteName, Theme
from isotherm.view.render import size_of, thumbnail
from isotherm.view.sdk import NOT_BUILT, PATH, Sdk

InSdk = NamedDependency[Sdk | None]
PNG: Final = "image/png"
PLACEHOLDER: Final = "YOUR-CLIENT"

Palette = Annotated[PaletteName, QueryParameter(name="palette", description="Colours of the map.")]
Ground = Annotated[
    Theme, QueryParameter(name="theme", description="The ground it will lie on: a dark one gets no dark colours.")
]


class SdkAnswer(Struct):
    """The browser SDK that this server hands out, and how to put it on a page."""

    version: str
    path: Annotated[str, Meta(description="Always the current version; kept by browsers for five minutes.")]
    versioned_path: Annotated[str, Meta(description="This version only; kept by browsers for a year.")]
    integrity: Annotated[str, Meta(description="For the attribute `integrity` beside `versioned_path`.")]
    bytes: Annotated[int, Meta(ge=1)]
    gzip_bytes: Annotated[int, Meta(ge=1)]
    collector_url: Annotated[str, Meta(description="The collector as the asking browser reaches it.")]
    snippet: Annotated[str, Meta(description=f"The tag to paste; put your client id in the place of {PLACEHOLDER}.")]


DESCRIBED: Final[dict[tuple[str, str], tuple[Any, tuple[int, ...]]]] = {
    ("/v1/sdk", "get"): (SdkAnswer, ()),
    ("/v1/thumbnail", "get"): (PNG, (400, 404, 422)),
}


@get("/v1/sdk", sync_to_thread=False, tags=["operation"], summary="The browser SDK")
def sdk_facts(request: AnyRequest, deps: InDeps, sdk: InSdk) -> Response[bytes]:
    """Names, size and integrity hash of the browser SDK, and the tag that puts it on a page."""
    if sdk is None:
        raise Problem(503, NOT_BUILT)
    collector = collector_url(deps.settings, request.url.scheme, request.headers.get("host", ""))
    facts = SdkAnswer(
        version=__version__,
        path=PATH,
        versioned_path=sdk.versioned_path,
        integrity=sdk.integrity,
        bytes=len(sdk.body),
        gzip_bytes=sdk.gzip_bytes,
        collector_url=collector,
        snippet=_snippet(sdk, collector),
    )
    return Response(msgspec.json.encode(facts), media_type="application/json", headers={"cache-control": "no-store"})


def _snippet(sdk: Sdk, collector: str) -> str:
    # The hash holds for these bytes alone, so it goes with the name that is theirs alone.
    return (
        f'<script async src="{collector}{sdk.versioned_path}" integrity="{sdk.integrity}" crossorigin="anonymous" '
        f'data-endpoint="{collector}" data-client="{PLACEHOLDER}"></script>'
    )


@get("/v1/thumbnail", sync_to_thread=True, tags=["maps"], summary="Small picture of a map", media_type=PNG)
def thumbnail_png(
    request: AnyRequest,
    deps: InDeps,
    client_id: params.ClientId,
    screen_id: params.ScreenId,
    start: params.OptionalFrom = None,
    end: params.OptionalTo = None,
    event_type: params.EventTypes = None,
    palette: Palette = "inferno",
    theme: Ground = "light",
) -> Response[bytes]:
    """A transparent PNG of a screen's map, on a logarithmic scale and in the screen's shape.

    The range defaults to everything there is.
    """
    params.client(client_id)
    params.screen(screen_id)
    kinds = params.event_types(event_type) or [params.DEFAULT_EVENT_TYPE]
    with reading(deps.engine) as connection:
        known.require_client(connection, client_id)
        edges = _edges(connection, deps, client_id, start, end)
        plan = edges and plan_read(connection, client_id, *edges, deps.clock.now_ms(), deps.settings)
        buckets = plan.buckets if plan else []
        versions = known.versions(connection, client_id, buckets)
        size = size_of(_shape(connection, client_id, screen_id))
    # What the picture depends on; the range itself does not matter beyond the maps that it takes.
    identity = [__version__, client_id, screen_id, kinds, versions, size, palette, theme]
    tag = f'"{blake2b(msgspec.json.encode(identity), digest_size=16).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if has(request, tag):
        return Response(b"", status_code=304, headers=headers, media_type=PNG)

    def draw() -> bytes:
        counts = sum_maps(deps.olap, client_id, screen_id, kinds, "", buckets)
        if not counts.any():
            known.require_screen(deps.olap, client_id, screen_id)
        return thumbnail(counts, size, palette, theme)

    return Response(kept(deps.answers, f"thumbnail {tag}", draw), headers=headers, media_type=PNG)


def _edges(
    connection: Connection, deps: Deps, client_id: str, start: str | None, end: str | None
) -> tuple[int, int] | None:
    """The range in ms, open edges taken from the client's data; None when nothing can lie in it."""
    span = known.data_span(connection, client_id, deps.clock.now_ms(), deps.settings)
    first = params.moment(start, "from") if start else span and span[0]
    last = params.moment(end, "to") if end else span and span[1]
    if first is None or last is None:
        return None
    if start and end and first >= last:
        raise Problem(400, "to: must lie after from", field="to")
    return (first, last) if first < last else None


def _shape(connection: Connection, client_id: str, screen_id: str) -> tuple[float, float] | None:
    """Width and height of the screen as most of its events saw it."""
    table = screen_shapes
    asked = sa.select(table.c.w, table.c.h).where(table.c.client_id == client_id, table.c.screen_id == screen_id)
    row = connection.execute(asked.order_by(table.c.events.desc(), table.c.device).limit(1)).first()
    return (row.w, row.h) if row and row.w > 0 and row.h > 0 else None
