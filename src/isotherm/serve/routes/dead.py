"""Dead letters of one client: what could not be accepted or landed, without the bodies."""

from collections import Counter
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from isotherm.clock import iso
from isotherm.collect.dead import REASONS
from isotherm.errors import Problem
from isotherm.events import is_simulated
from isotherm.land.letters import Entry, Wanted
from isotherm.serve import params
from isotherm.serve.deps import InDeps

Reason = Annotated[str | None, QueryParameter(name="reason", description="Only for this reason.", max_length=64)]
OfStage = Annotated[
    Literal["collect", "land", "scan"] | None, QueryParameter(name="stage", description="Only of this stage.")
]
InState = Annotated[
    Literal["waiting", "replayed", "dropped"] | None, QueryParameter(name="state", description="Only in this state.")
]
Limit = Annotated[int, QueryParameter(name="limit", description="Letters of the answer.", ge=0, le=500)]


@get("/v1/dead", sync_to_thread=True, tags=["operation"], summary="What of a client could not be accepted or landed")
def dead(
    deps: InDeps,
    client_id: params.ClientId,
    reason: Reason = None,
    stage: OfStage = None,
    in_state: InState = None,
    limit: Limit = 50,
) -> Response[bytes]:
    """Dead letters of one client, counted and listed: bodies that were refused, batches of which events were rejected,
    records that landing could not use.

    Letters of which nobody can tell the client are in no answer; `isotherm dead ls` shows them.
    """
    params.client(client_id)
    if reason is not None and reason not in REASONS:
        raise Problem(400, f"reason: one of {', '.join(REASONS)}", field="reason")
    if deps.dead is None:
        raise Problem(501, "this process does not read dead letters: ask the app that runs the jobs")
    found = deps.dead(Wanted(client_id, reason, stage, in_state))
    counts = Counter((entry.head.stage, entry.head.reason, entry.state) for entry in found)
    members: dict[str, Any] = {
        "client_id": client_id,
        "simulated": is_simulated(client_id),
        "total": len(found),
        "counts": [
            {"stage": key[0], "reason": key[1], "state": key[2], "letters": letters}
            for key, letters in sorted(counts.items())
        ],
        "letters": [_letter(entry) for entry in found[:limit]],
    }
    return Response(msgspec.json.encode(members), media_type="application/json", headers={"cache-control": "no-store"})


def _letter(entry: Entry) -> dict[str, Any]:
    head = entry.head
    return {
        "place": str(entry.place),
        "received_at": iso(head.time),
        "stage": head.stage,
        "reason": head.reason,
        "state": entry.state,
        "detail": head.detail,
        "bytes": head.bytes,
        "accepted": entry.accepted,
    }
