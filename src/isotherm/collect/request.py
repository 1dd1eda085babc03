"""What travels through the steps: one HTTP request, from its bytes to its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct

from isotherm.errors import DropReason
from isotherm.eventlog.port import Record
from isotherm.events import Counts

if TYPE_CHECKING:
    from isotherm.collect.slices import Slice


class Rejection(Struct, frozen=True):
    """One event that was not kept. `index` is its place in the body, `field` the first field at fault ("" if none)."""

    index: int
    field: str
    reason: DropReason
    detail: str = ""


class _Facts(Struct):
    client_id: str
    screen_id: str


class Parsed(Struct):
    """A body that has the shape of a batch.

    `facts` carries the batch's own fields (client_id, screen_id, batch_id, sent_at, sequence, dropped). `events`
    are the kept events, decoded; `times` their event_time, all int (milliseconds) or all datetime. `raws` is None
    when the client's bytes can stand on the log as they are; else the strict JSON of each kept event, `head` the
    strict JSON of the batch's other fields, and `positions` the events' places in the body.
    """

    facts: Any
    events: list[Any]
    times: list[Any]
    raws: list[Raw] | None = None
    head: dict[str, Raw] = {}
    positions: list[int] = []
    rejections: list[Rejection] = []


def _no_header(_: str) -> str | None:
    return None


@dataclass(slots=True)
class Request:
    """One POST /events/batch. The steps fill it from top to bottom.

    `received_at` and `skew_ms` are milliseconds. `original` is the request's bytes, `body` these, and its JSON text
    after `decode`. `known_record` makes the record that is appended when the log knows the batch already. A batch that
    is split over several records has `slices` instead of both. `header` asks for a header of the request by its name. A
    `replayed` body says by which clock's error it is corrected (`given_skew_ms`), what its batch is called if it does
    not, and, if some events of the batch are not in it, where those that are stood in it (`given_positions`).
    """

    body: bytes
    received_at: int
    content_type: str | None = None
    content_encoding: str | None = None
    query: str = ""
    imported: bool = False
    replayed: bool = False
    given_skew_ms: int | None = None
    given_batch_id: str = ""
    given_positions: list[int] | None = None
    header: Callable[[str], str | None] = _no_header
    original: bytes = b""
    sent_at: Any = None
    parsed: Parsed | None = None
    facts: Any = None
    skew_ms: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    batch_id: str = ""
    counts: Counts = field(default_factory=Counts)
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    record: Record | None = None
    known_record: Callable[[], Record] | None = None
    slices: "Sequence[Slice]" = ()

    def __post_init__(self) -> None:
        self.original = self.body

    def content(self) -> Parsed:
        """The parsed body; only for steps between `validate` and `append`."""
        assert self.parsed is not None
        return self.parsed

    def forget_content(self) -> None:
        """Let go of the decoded events: what waits for the disk is the record alone."""
        self.facts = _Facts(self.facts.client_id, self.facts.screen_id)
        self.parsed = None
        self.body = self.original = b""
