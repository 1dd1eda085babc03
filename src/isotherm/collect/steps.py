"""What one POST /events/batch goes through, top to bottom. Each step is timed under its own name.

    decode      content coding, sizes, query                decode.py
    validate    JSON to the strict form                     validate.py, judge.py
    authorise   may this client send?                       here
    limit       clock skew, too old, too far ahead          here
    enrich      counts, batch id, the envelope              here, slices.py
    append      on disk, one fsync for many; duplicates     commit.py
    answer      202, or problem+json                        answer.py

The first five need no waiting and run in one go; a step returns nothing, fills the request, or raises Problem.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import uuid4

import msgspec
import numpy as np
import numpy.typing as npt

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.collect import positions
from isotherm.collect.decode import check_content_type, json_text
from isotherm.collect.request import Parsed, Request
from isotherm.collect.shapes import BATCH_FIELDS, encode
from isotherm.collect.slices import Piece, Slice, corrected, one_line, pieces
from isotherm.collect.validate import drop, parse, split, strict_json
from isotherm.config import Settings
from isotherm.errors import DropReason, Problem
from isotherm.eventlog.port import Record
from isotherm.events import FLAG_AGAIN, FLAG_IMPORT, Counts, encode_envelope, hour_of, record_id, record_key, slice_id

SKEW_TOLERANCE_MS: Final = MINUTE_MS
"""Clocks that differ by no more are taken to agree: the difference may be the network's."""
AHEAD_MS: Final = DAY_MS
_WHOLE: Final = re.compile(r"-?[0-9]{1,15}")
_BATCH_ID: Final = 128


@dataclass(frozen=True, slots=True)
class Rules:
    """What the steps need to know of the deployment. An empty `clients` lets everyone in.

    Events older than `late_horizon_ms` are too old; for single clients, those older than `late_ms` says.
    `key_is_client` and `time_is_event` say what the records' keys and times are: see `log_key` and `log_timestamp`.
    """

    clients: frozenset[str]
    late_horizon_ms: int
    max_record_bytes: int
    key_is_client: bool = False
    time_is_event: bool = False
    late_ms: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def of(cls, settings: Settings, max_record_bytes: int) -> "Rules":
        """What the settings say. Where late events are kept, too old is what would leave the lake at once."""
        kept = settings.late_events == "raw_only"
        return cls(
            frozenset(settings.clients),
            settings.kept_days("raw") * DAY_MS if kept else settings.late_horizon_ms,
            max_record_bytes,
            key_is_client=settings.log_key == "client",
            time_is_event=settings.log_timestamp == "event",
            late_ms={one: settings.kept_days("raw", one) * DAY_MS for one in settings.retention} if kept else {},
        )

    @property
    def one_line(self) -> bool:
        """Whether a sink of Kafka Connect may write the records, one to a line."""
        return self.key_is_client or self.time_is_event


def decode(request: Request, rules: Rules) -> None:
    """Unpack the body and read the query: `source` (import or replay) and `sent_at`."""
    check_content_type(request.content_type)
    if request.query:
        _read_query(request)
    request.body = json_text(request.body, request.content_encoding)


def _read_query(request: Request) -> None:
    try:
        query = parse_qs(request.query, keep_blank_values=True, max_num_fields=16)
    except ValueError:
        raise Problem(400, "the query has more than 16 parameters") from None
    source = query.get("source", ["browser"])[-1]
    if source not in ("browser", "import", "replay"):
        raise Problem(422, "source is browser, import or replay", field="source")
    request.imported = source != "browser"
    if source == "replay":
        _read_replay(request, query)
    if "sent_at" in query:
        request.sent_at = _moment(query["sent_at"][-1])


def _read_replay(request: Request, query: Mapping[str, list[str]]) -> None:
    """What is known of a body that came before: the error of its sender's clock, a name for its batch, and the places
    that its events had in it."""
    request.replayed = True
    skew, batch_id = query.get("skew_ms", ["0"])[-1], query.get("batch_id", [""])[-1]
    if not _WHOLE.fullmatch(skew):
        raise Problem(422, "skew_ms is a whole number of milliseconds", field="skew_ms")
    if len(batch_id) > _BATCH_ID:
        raise Problem(422, f"batch_id has at most {_BATCH_ID} characters", field="batch_id")
    request.given_skew_ms = int(skew)
    request.given_batch_id = batch_id or f"replay-{blake2b(request.original, digest_size=16).hexdigest()}"
    if "positions" in query:
        try:
            request.given_positions = positions.read(query["positions"][-1])
        except ValueError as error:
            raise Problem(422, f"positions are places of events, like 0,2-3: {error}", field="positions") from None


def _moment(text: str) -> Any:
    """Milliseconds or RFC 3339. An unescaped + of an offset arrives as a space."""
    text = text[:11] + text[11:].replace(" ", "+")
    raw = text.encode() if text.isascii() and text.isdigit() else encode(text)
    try:
        return BATCH_FIELDS["sent_at"](raw)
    except ValueError:
        raise Problem(422, "sent_at is milliseconds since 1970 or RFC 3339 with an offset", field="sent_at") from None


def validate(request: Request, rules: Rules) -> None:
    """Bring the body to the strict form; bad events are set aside with their reason."""
    request.parsed = parse(request.body)
    request.facts = request.parsed.facts
    if request.given_positions is not None:
        _check_places(len(request.parsed.events) + len(request.parsed.rejections), len(request.given_positions))


def _check_places(events: int, places: int) -> None:
    if events != places:
        raise Problem(422, f"positions names {places:,} places for {events:,} events", field="positions")


def authorise(request: Request, rules: Rules) -> None:
    """Refuse a client that the settings do not declare."""
    client_id = request.content().facts.client_id
    if rules.clients and client_id not in rules.clients:
        raise Problem(422, f"client_id {client_id!r} is not declared here: add it to `clients`", field="client_id")


def limit(request: Request, rules: Rules) -> None:
    """Correct the sender's clock; reject what is then too old or too far ahead; count the rest per hour."""
    parsed = request.content()
    sent_at = parsed.facts.sent_at if request.sent_at is None else request.sent_at
    if request.given_skew_ms is None:
        request.skew_ms = skew_ms(sent_at, request.received_at)
    else:
        request.skew_ms = request.given_skew_ms
    # Before 1970 there is no hour to land in.
    oldest = max(request.received_at - rules.late_ms.get(parsed.facts.client_id, rules.late_horizon_ms), 0)
    newest = request.received_at + AHEAD_MS
    if parsed.times and not _in_one_hour(request, parsed, oldest, newest):
        _limit_each(request, parsed, corrected(parsed, request.skew_ms), oldest, newest)


def skew_ms(sent_at: Any, received_at: int) -> int:
    """What must be added to the sender's times: 0 unless the clocks differ by more than 60 s."""
    if sent_at is None:
        return 0
    sent_ms = round(sent_at.timestamp() * 1e6) // 1000 if isinstance(sent_at, datetime) else int(sent_at)
    skew = received_at - sent_ms
    return skew if abs(skew) > SKEW_TOLERANCE_MS else 0


def _in_one_hour(request: Request, parsed: Parsed, oldest: int, newest: int) -> bool:
    """The common case, without NumPy: integer times, all in one hour, none out of bounds."""
    if not isinstance(parsed.times[0], int):
        return False
    first = min(parsed.times) + request.skew_ms
    last = max(parsed.times) + request.skew_ms
    hour = hour_of(first)
    if first < oldest or last > newest or last >= hour + HOUR_MS:
        return False
    request.counts.accepted = {str(hour): len(parsed.times)}
    return True


def _limit_each(request: Request, parsed: Parsed, times: npt.NDArray[np.int64], oldest: int, newest: int) -> None:
    """The general case. `times` are corrected milliseconds, shape (len(parsed.events),)."""
    too_old = times < oldest
    if too_old.any():
        drop(request.body, parsed, too_old.tolist(), DropReason.TOO_OLD)
        times = times[~too_old]
    ahead = times > newest
    if ahead.any():
        drop(request.body, parsed, ahead.tolist(), DropReason.TOO_FAR_AHEAD)
        times = times[~ahead]
    hours, counts = np.unique(times - times % HOUR_MS, return_counts=True)
    request.counts.accepted = dict(zip(map(str, hours.tolist()), counts.tolist(), strict=True))


def enrich(request: Request, rules: Rules) -> None:
    """Wrap the batch into the server's facts: the record that goes onto the log."""
    parsed = request.content()
    facts = parsed.facts
    _count(request, parsed)
    given = facts.batch_id or request.given_batch_id
    request.batch_id = given or f"srv-{uuid4().hex}"
    key = facts.client_id if rules.key_is_client else record_key(facts.client_id, facts.screen_id)
    if request.given_positions is not None:
        split(request.body, parsed)
        parsed.positions = [request.given_positions[at] for at in parsed.positions]
    if rules.time_is_event and len(request.counts.accepted) > 1:
        request.slices = [_slice(request, rules, key, piece) for piece in _pieces(request, parsed)]
        return
    kept = request.accepted > 0
    placed = bool(parsed.rejections) or request.given_positions is not None
    batch = strict_json(request.body, parsed) if kept else None
    if batch is not None and rules.one_line:
        batch = one_line(batch)
    value = _envelope(
        request,
        request.counts,
        positions=parsed.positions if kept and placed else None,
        batch=batch,
    )
    _check_size(value, rules)
    # Of a batch that is replayed some events may be known: landing compares each with the lake.
    identity = record_id(facts.client_id, given) if given and kept and not request.replayed else None
    by_event = rules.time_is_event and kept
    timestamp = int(corrected(parsed, request.skew_ms).min()) if by_event else request.received_at
    request.record = Record(key, value, timestamp, identity)
    request.known_record = partial(_known_record, request, key, request.accepted)


def _check_size(value: bytes, rules: Rules) -> None:
    if len(value) > rules.max_record_bytes:
        raise Problem(413, "the batch is larger than one record of the log can be: send fewer events in one request")


def _pieces(request: Request, parsed: Parsed) -> Iterator[tuple[Piece, bool]]:
    """The pieces of the batch, each with whether it is the first."""
    return ((piece, not at) for at, piece in enumerate(pieces(request.body, parsed, request.skew_ms)))


def _slice(request: Request, rules: Rules, key: str, one: tuple[Piece, bool]) -> Slice:
    """One hour of a batch as a record of its own."""
    piece, first = one
    events = len(piece.positions)
    accepted = {str(piece.hour): events}
    counts = _of_first(request, accepted) if first else Counts(accepted=accepted)
    value = _envelope(request, counts, positions=piece.positions, batch=piece.batch)
    _check_size(value, rules)
    given = request.facts.batch_id
    identity = slice_id(request.facts.client_id, given, piece.hour) if given and not request.replayed else None
    known = partial(_known_record, request, key, events, first=first)
    return Slice(Record(key, value, piece.first_ms, identity), known, events)


def _of_first(request: Request, accepted: dict[str, int]) -> Counts:
    """What is said of the whole request, with what its first slice holds."""
    body = request.accepted + request.rejected if request.counts.sequence is not None else 0
    return msgspec.structs.replace(request.counts, accepted=accepted, events=body)


def _count(request: Request, parsed: Parsed) -> None:
    request.accepted = len(parsed.events)
    request.counts.sequence = parsed.facts.sequence
    if parsed.facts.dropped:
        request.counts.dropped = parsed.facts.dropped
    if parsed.rejections:
        request.rejections = sorted(parsed.rejections, key=lambda rejection: rejection.index)
        request.rejected = len(request.rejections)
        rejected = request.counts.rejected = {}
        for rejection in request.rejections:
            rejected[rejection.reason.value] = rejected.get(rejection.reason.value, 0) + 1


def _envelope(
    request: Request, counts: Counts, positions: list[int] | None = None, batch: bytes | None = None
) -> bytes:
    facts = request.facts
    return encode_envelope(
        client_id=facts.client_id,
        screen_id=facts.screen_id,
        batch_id=request.batch_id,
        received_at=request.received_at,
        skew_ms=request.skew_ms,
        flags=_flags(request),
        counts=counts,
        positions=positions,
        batch=batch,
    )


def _flags(request: Request) -> tuple[str, ...]:
    if request.replayed:
        return (FLAG_IMPORT, FLAG_AGAIN)
    return (FLAG_IMPORT,) if request.imported else ()


def _known_record(request: Request, key: str, events: int, *, first: bool = True) -> Record:
    """What is appended instead of a batch, or a slice, that is known: its counts, so that the ledger adds up."""
    counts = Counts(rejected=request.counts.rejected if first else {}, duplicate=events)
    return Record(key, _envelope(request, counts), request.received_at)


Step = Callable[[Request, Rules], None]

STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("decode", decode),
    ("validate", validate),
    ("authorise", authorise),
    ("limit", limit),
    ("enrich", enrich),
)
WAITING: Final = ("append", "answer")
"""The steps that app.py does after these: see commit.py and answer.py."""
