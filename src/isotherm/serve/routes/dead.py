"""Dead letters: what could not be accepted or landed, of one client, or counted by client; without the bodies."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from isotherm.clock import iso
from isotherm.collect.dead import REASONS
from isotherm.errors import Problem
from isotherm.events import is_simulated
from isotherm.land.letters import Entry, Wanted
from isotherm.serve import params
from isotherm.serve.deps import Deps, InDeps

Reason = Annotated[str | None, QueryParameter(name="reason", description="Only for this reason.", max_length=64)]
OfStage = Annotated[
    Literal["collect", "land", "scan"] | None, QueryParameter(name="stage", description="Only of this stage.")
]
InState = Annotated[
    Literal["waiting", "replayed", "dropped"] | None, QueryParameter(name="state", description="Only in this state.")
]
Limit = Annotated[int, QueryParameter(name="limit", description="Letters of the answer.", ge=0, le=500)]

_MOST: Final = 1_000


@get("/v1/dead", sync_to_thread=True, tags=["operation"], summary="What of a client could not be accepted or landed")
def dead(
    deps: InDeps,
    client_id: params.ClientId,
    reason: Reason = None,
    stage: OfStage = None,
    in_state: InState = None,
    start: params.AnyFrom = None,
    end: params.AnyTo = None,
    limit: Limit = 50,
) -> Response[bytes]:
    """Dead letters of one client, counted and listed: bodies that were refused, batches of which events were rejected,
    records that landing could not use. `from` and `to` bound when the body was received.

    Letters of which nobody can tell the client are in no answer; `isotherm dead ls` shows them.
    """
    params.client(client_id)
    if reason is not None and reason not in REASONS:
        raise Problem(400, f"reason: one of {', '.join(REASONS)}", field="reason")
    found = _found(deps, Wanted(client_id, reason, stage, in_state, *params.optional_span(start, end)))
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


@get("/v1/dead/counts", sync_to_thread=True, tags=["operation"], summary="Dead letters that wait, by client")
def dead_counts(deps: InDeps) -> Response[bytes]:
    """How many dead letters wait to be looked at, by client, stage and reason, and since when; the most come first.

    `client_id` is null for those of which nobody can tell the client.
    """
    groups: dict[tuple[str | None, str, str], list[int]] = {}
    for entry in _found(deps, Wanted(state="waiting")):
        head = entry.head
        groups.setdefault((head.client_id, head.stage, head.reason), []).append(head.time)
    rows: list[dict[str, Any]] = [
        {
            "client_id": client_id,
            "simulated": client_id is not None and is_simulated(client_id),
            "stage": stage,
            "reason": reason,
            "letters": len(times),
            "oldest": iso(min(times)),
        }
        for (client_id, stage, reason), times in groups.items()
    ]
    rows.sort(key=lambda row: (-row["letters"], row["client_id"] or "", row["stage"], row["reason"]))
    members = {"total": sum(row["letters"] for row in rows), "counts": rows[:_MOST]}
    return Response(msgspec.json.encode(members), media_type="application/json", headers={"cache-control": "no-store"})


def _found(deps: Deps, wanted: Wanted) -> Sequence[Entry]:
    if deps.dead is None:
        raise Problem(501, "this process does not read dead letters: ask the app that runs the jobs")
    return deps.dead(wanted)


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
