"""The query API as one Litestar application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any, Final

import anyio.to_thread
from litestar import Litestar
from litestar.types import ControllerRouterHandler

from isotherm.serve import openapi, problems
from isotherm.serve.deps import Deps
from isotherm.serve.guard import Guard
from isotherm.serve.more import More, opened, provided
from isotherm.serve.routes import (
    activity,
    admin,
    background,
    copies,
    dead,
    events,
    freshness,
    heatmap,
    ledger,
    listings,
    live,
    pages,
    status,
)

ROUTES: Final[list[ControllerRouterHandler]] = [
    heatmap.hourly,
    heatmap.daily,
    heatmap.weekly,
    heatmap.any_range,
    listings.clients,
    listings.screens,
    activity.activity,
    freshness.freshness,
    ledger.ledger,
    ledger.marks,
    dead.dead,
    dead.dead_counts,
    live.windows,
    background.get_background,
    background.put_background,
    background.delete_background,
    status.status,
    status.healthz,
    status.prometheus,
    admin.rollup,
    admin.verify,
    events.by_id,
    events.by_place,
    copies.maps,
    admin.retention,
]
PAGES: Final[list[ControllerRouterHandler]] = [pages.openapi, pages.docs]


_NOTHING: Final = More()


def create_app(deps: Deps, more: More = _NOTHING) -> Litestar:
    """The application, ready for an ASGI server; it owns none of the stores it is given."""
    given = {"deps": deps, "document": openapi_document(more), **more.given}
    app = Litestar(
        [*ROUTES, *PAGES, *more.api, *more.pages],
        dependencies={name: provided(value) for name, value in given.items()},
        exception_handlers=problems.HANDLERS,
        lifespan=[partial(_lifespan, deps)],
        openapi_config=None,
        logging_config=None,
    )
    # Around the router, not inside it: requests that match no route pass it too.
    app.asgi_handler = Guard(app.asgi_handler, deps.settings, opened(app), more.lost)
    return app


def openapi_document(more: More = _NOTHING) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the API."""
    return _own_document() if more is _NOTHING else _document(more)


@cache
def _own_document() -> dict[str, Any]:
    return _document(_NOTHING)


def _document(more: More) -> dict[str, Any]:
    return openapi.document([*ROUTES, *more.api], ("deps", *more.given), more.described)


@asynccontextmanager
async def _lifespan(deps: Deps, _: Litestar) -> AsyncGenerator[None]:
    for hook in deps.on_startup:
        await anyio.to_thread.run_sync(hook)
    try:
        yield
    finally:
        for hook in deps.on_shutdown:
            await anyio.to_thread.run_sync(hook)
