"""The query API as one Litestar application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio.to_thread
from litestar import Litestar
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from isotherm.serve import openapi, problems
from isotherm.serve.deps import Deps
from isotherm.serve.guard import Guard
from isotherm.serve.routes import activity, admin, heatmap, listings, pages, status

ROUTES: Final[list[ControllerRouterHandler]] = [
    heatmap.hourly,
    heatmap.daily,
    heatmap.weekly,
    heatmap.any_range,
    listings.clients,
    listings.screens,
    activity.activity,
    status.status,
    status.healthz,
    status.prometheus,
    admin.rollup,
    admin.verify,
]
PAGES: Final[list[ControllerRouterHandler]] = [pages.openapi, pages.docs]


def create_app(deps: Deps) -> Litestar:
    """The application, ready for an ASGI server; it owns none of the stores it is given."""
    document = openapi_document()
    app = Litestar(
        [*ROUTES, *PAGES],
        dependencies={
            "deps": Provide(lambda: deps, sync_to_thread=False),
            "document": Provide(lambda: document, sync_to_thread=False),
        },
        exception_handlers=problems.HANDLERS,
        lifespan=[partial(_lifespan, deps)],
        openapi_config=None,
        logging_config=None,
    )
    # Around the router, not inside it: requests that match no route pass it too.
    app.asgi_handler = Guard(app.asgi_handler, deps.settings)
    return app


def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the API."""
    return openapi.document(ROUTES)


@asynccontextmanager
async def _lifespan(deps: Deps, _: Litestar) -> AsyncGenerator[None]:
    for hook in deps.on_startup:
        await anyio.to_thread.run_sync(hook)
    try:
        yield
    finally:
        for hook in deps.on_shutdown:
            await anyio.to_thread.run_sync(hook)
