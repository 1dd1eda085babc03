"""The shapes of the answers about dead letters, for the OpenAPI document; the routes encode the same members."""

from typing import Annotated

from msgspec import Meta, Struct

from isotherm.serve.shapes import Count, Instant, Simulated


class DeadCount(Struct):
    """Letters of one stage, reason and state."""

    stage: Annotated[str, Meta(description="collect, land or scan.")]
    reason: str
    state: Annotated[str, Meta(description="waiting, replayed or dropped.")]
    letters: Count


class DeadLetter(Struct):
    """One letter without its body, which `isotherm dead show` prints."""

    place: Annotated[str, Meta(description="Names the letter for `isotherm dead`.")]
    received_at: Instant
    stage: str
    reason: str
    state: str
    detail: Annotated[str, Meta(description="What is wrong with it, for a person.")]
    bytes: Count
    accepted: Annotated[Count, Meta(description="Events that the collector took at the last replay.")]


class DeadAnswer(Struct):
    """What could not be accepted or landed of one client."""

    client_id: str
    simulated: Simulated
    total: Annotated[Count, Meta(description="Letters that match, of the newest 10,000 of all clients.")]
    counts: list[DeadCount]
    letters: Annotated[list[DeadLetter], Meta(description="The newest first, `limit` at most.")]


class DeadGroup(Struct):
    """Letters that wait, of one client, stage and reason."""

    client_id: Annotated[str | None, Meta(description="null: nobody can tell.")]
    simulated: Simulated
    stage: Annotated[str, Meta(description="collect, land or scan.")]
    reason: str
    letters: Count
    oldest: Annotated[Instant, Meta(description="When the first of them was received.")]


class DeadCountsAnswer(Struct):
    """What waits to be looked at, of all clients."""

    total: Annotated[Count, Meta(description="Letters that wait, of the newest 10,000.")]
    counts: Annotated[list[DeadGroup], Meta(description="The most letters first, 1,000 groups at most.")]
