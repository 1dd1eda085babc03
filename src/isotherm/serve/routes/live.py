"""Live windows: what a screen gets right now."""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Response, get
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from isotherm.clock import iso
from isotherm.rollup.windows.read import LiveWindow, degraded, read_windows
from isotherm.serve import params
from isotherm.serve.deps import InDeps

_NO_STORE: Final = {"cache-control": "no-store"}

WindowSize = Annotated[
    Literal["1m", "5m", "1h"],
    QueryParameter(
        name="size",
        description="Length of the windows. They live 2 minutes, 10 minutes and 2 hours from the receipt of their "
        "newest event.",
        examples=[Example(value="1m")],
    ),
]
Kinds = Annotated[
    list[str] | None,
    QueryParameter(
        name="event_type",
        description="Kind of event. Repeat it or separate kinds by commas. Default: all kinds.",
        examples=[Example(value=["click"])],
    ),
]


@get("/v1/live/windows", sync_to_thread=True, tags=["live"], summary="Live windows of a screen")
def windows(
    deps: InDeps,
    client_id: params.ClientId,
    screen_id: params.ScreenId,
    size: WindowSize,
    event_type: Kinds = None,
) -> Response[bytes]:
    """Events per minute, five minutes or hour by event time, seconds after they were received; newest first.

    Late events are counted in the windows they belong to, for a day. Of a screen without live events the list is
    empty, also where nobody knows the client: live events come before the maps. Imports are in the maps only.
    """
    params.client(client_id)
    params.screen(screen_id)
    kinds = params.event_types(event_type)
    now = deps.clock.now_ms()
    found = read_windows(deps.cache, client_id, screen_id, size, now, kinds)
    members: dict[str, Any] = {
        "client_id": client_id,
        "screen_id": screen_id,
        "size": size,
        "now": iso(now),
        "degraded": degraded(deps.cache, deps.settings, size, now),
        "windows": list(map(_members, found)),
    }
    return Response(msgspec.json.encode(members), media_type="application/json", headers=_NO_STORE)


def _members(window: LiveWindow) -> dict[str, Any]:
    return {
        "start": iso(window.start),
        "end": iso(window.end),
        "counts": window.counts,
        "total": sum(window.counts.values()),
        "updated_at": iso(window.updated_at),
    }
