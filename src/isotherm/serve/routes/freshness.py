"""Whether a client's maps hold everything that was received, for pages that follow along."""

import time
from typing import Any, Final

import msgspec
from litestar import Response, get

from isotherm.clock import iso
from isotherm.events import is_simulated
from isotherm.serve import params
from isotherm.serve.deps import Deps, InDeps
from isotherm.serve.freshness import Freshness, look
from isotherm.store.db import reading

_TRIES: Final = 5
_PAUSE_S: Final = 0.01
"""A landing is in the store a moment before the lander says so."""


@get("/v1/freshness", sync_to_thread=True, tags=["listings"], summary="How fresh a client's maps are")
def freshness(deps: InDeps, client_id: params.ClientId) -> Response[bytes]:
    """What was received of a client, what of it is not counted yet, and up to when everything is.

    Made to be asked every other second. A client that never sent anything gets an answer, too.
    """
    params.client(client_id)
    now = deps.clock.now_ms()
    found = _look(deps, client_id)
    members: dict[str, Any] = {
        "client_id": client_id,
        "simulated": is_simulated(client_id),
        "now": iso(now),
        "received": found.received,
        "last_received_at": _moment(found.last_received_at),
        "tiled_until": _moment(found.tiled_until),
        "waiting": {"lander": found.lander, "tiles": found.tiles},
        "version": found.version,
    }
    return Response(msgspec.json.encode(members), media_type="application/json", headers={"cache-control": "no-store"})


def _look(deps: Deps, client_id: str) -> Freshness:
    lake_format = deps.settings.land_formats[0]
    for _ in range(_TRIES):
        read = deps.unlanded(client_id)
        with reading(deps.engine) as connection:
            found = look(connection, client_id, lake_format, read)
        if found is not None:
            return found
        time.sleep(_PAUSE_S)
    with reading(deps.engine) as connection:
        known = look(connection, client_id, lake_format, None)
    assert known is not None
    return known


def _moment(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
