"""From JSON text to a batch of the strict form.

The fast path takes a body that has the strict form already and leaves its bytes alone; no Python code runs per
event. Whatever it does not take goes the slow path, which judges each event alone and writes the body anew. Both
keep the same events: the slow path starts each event with the fast path's own decoder.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from itertools import compress, repeat
from operator import attrgetter, is_
from typing import Any, Final

import msgspec
from msgspec import Raw, ValidationError

from isotherm.collect.judge import SURROGATE, SURROGATE_MARK, Fault, check_value, event_types_ok, judge
from isotherm.collect.request import Parsed, Rejection
from isotherm.collect.shapes import (
    BATCH_FIELDS,
    decode_batch,
    decode_common_batch,
    decode_fast_batch,
    decode_list,
    decode_object,
    decode_positioned_batch,
    encode,
)
from isotherm.errors import DropReason, Problem
from isotherm.events import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    MAX_EVENTS,
    POSITIONAL,
    client_id_ok,
    event_times,
    event_types,
    screen_id_ok,
)

MAX_STRICT_BYTES: Final = 4 * MAX_BODY_BYTES
"""Unknown batch fields are copied into every event: so large may a body become by it."""

_client_id_ok = lru_cache(4_096)(client_id_ok)
_screen_id_ok = lru_cache(4_096)(screen_id_ok)
_x_norms = attrgetter("x_norm")
_y_norms = attrgetter("y_norm")

_SURROGATES: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""Every escape of a JSON text; the group is set for a surrogate without its other half."""


def parse(body: bytes) -> Parsed:
    """The body as a batch, with what was rejected.

    Raises Problem: 400 when it is not JSON in UTF-8, 422 when it is JSON but no batch (member `field` says where).
    """
    fast = parse_fast(body)
    return parse_slow(body) if fast is None else fast


def parse_fast(body: bytes) -> Parsed | None:
    """The batch when its bytes can stand on the log unchanged and no event is rejected; None otherwise."""
    try:
        batch = _decode_checked(body)
    except (ValueError, RecursionError):
        return None
    if batch is None or not _client_id_ok(batch.client_id) or not _screen_id_ok(batch.screen_id):
        return None
    return Parsed(batch, batch.events, list(map(event_times, batch.events)))


def _decode_checked(body: bytes) -> Any:
    """The batch when all its events are good and their times of one kind, else None.

    The commonest form is tried first; a decoder that does not fit gives up at the first event.
    """
    try:
        return decode_common_batch(body)
    except ValidationError:
        batch, positioned = _decode(body)
    events = batch.events
    good = (
        event_types_ok(set(map(event_types, events)))
        and (positioned or not _lacks_position(events))
        and _one_kind(list(map(event_times, events)))
    )
    return batch if good else None


def _decode(body: bytes) -> tuple[Any, bool]:
    try:
        return decode_positioned_batch(body), True
    except ValidationError:
        return decode_fast_batch(body), False


def _lacks_position(events: list[Any]) -> bool:
    """Whether a positional event has no x_norm or no y_norm; at C speed."""
    for norms in (_x_norms, _y_norms):
        lacking = map(is_, map(norms, events), repeat(None))
        if not POSITIONAL.isdisjoint(map(event_types, compress(events, lacking))):
            return True
    return False


def _one_kind(times: list[Any]) -> bool:
    return len(set(map(type, times))) < 2


def parse_slow(body: bytes) -> Parsed:
    """Judge each event alone and write the batch anew. Raises Problem as `parse` does."""
    fields, marked = _fields(body)
    if marked:
        _check_texts(fields)
    head, extra = _head(fields)
    facts = _facts(head)
    raws = _event_list(fields)
    if len(raws) * sum(map(len, map(bytes, extra.values()))) > MAX_STRICT_BYTES:
        raise Problem(422, "unknown batch fields are too large to be copied into each event's attrs", field="events")
    parsed = Parsed(facts, [], [], raws=[], head=head)
    kept: list[Raw] = []
    for index, raw in enumerate(raws):
        try:
            event, text = judge(raw, extra, marked=marked)
        except Fault as fault:
            parsed.rejections.append(Rejection(index, fault.field, fault.reason, fault.detail))
        else:
            parsed.events.append(event)
            parsed.positions.append(index)
            kept.append(text)
    parsed.times = list(map(event_times, parsed.events))
    parsed.raws = kept if _one_kind(parsed.times) else _in_milliseconds(parsed, kept)
    return parsed


def _in_milliseconds(parsed: Parsed, raws: list[Raw]) -> list[Raw]:
    """One batch has one kind of time: where kinds are mixed, date-times become integers."""
    result = list(raws)
    for place, time in enumerate(parsed.times):
        if isinstance(time, datetime):
            parsed.times[place] = _milliseconds(time)
            fields = decode_object(raws[place]) | {"event_time": Raw(b"%d" % parsed.times[place])}
            result[place] = Raw(encode(fields))
    return result


def _milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970; finer is cut off. Before 1970 becomes 0, which is too old in any case."""
    return max(0, round(moment.timestamp() * 1e6) // 1000)


def _fields(body: bytes) -> tuple[dict[str, Raw], bool]:
    """The members of the body's object, and whether it had to be marked (see `mark_surrogates`).

    Problem 400 when it is not JSON, 422 when it is not an object.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8 (byte {error.start})") from None
    try:
        return _object(body)
    except ValidationError:
        raise Problem(422, "the body is a JSON object with client_id, screen_id and events", field="") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deep to be read") from None
    except msgspec.DecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None


def _object(body: bytes) -> tuple[dict[str, Raw], bool]:
    try:
        return decode_object(body), False
    except ValidationError:
        raise
    except msgspec.DecodeError:
        marked = mark_surrogates(body)
        if marked == body:
            raise
        return decode_object(marked), True


def mark_surrogates(body: bytes) -> bytes:
    """The body with every lone surrogate escape replaced by SURROGATE_MARK.

    Browsers write half an emoji so (JSON.stringify of a cut text). No JSON decoder here takes it, and one such
    event must not cost its batch: the mark makes the body readable and the event rejectable.
    """
    return _SURROGATES.sub(lambda match: SURROGATE_MARK if match[1] else match[0], body)


def _head(fields: Mapping[str, Raw]) -> tuple[dict[str, Raw], dict[str, Raw]]:
    """The batch's own fields and its unknown ones, both checked; 422 names the field at fault."""
    for name in ("client_id", "screen_id", "events"):
        if name not in fields:
            raise Problem(422, f"{name} is missing", field=name)
    head: dict[str, Raw] = {}
    extra: dict[str, Raw] = {}
    for name, raw in fields.items():
        if name == "events":
            continue
        if name in BATCH_FIELDS:
            head[name] = raw
            _check_field(name, raw)
        else:
            extra[name] = raw
            _check_extra(name, raw)
    return head, extra


def _check_texts(fields: Mapping[str, Raw]) -> None:
    """Half a surrogate pair in a batch field refuses the batch: an id must not be changed into another."""
    for name, raw in fields.items():
        if SURROGATE in name or (name != "events" and SURROGATE_MARK in bytes(raw)):
            raise Problem(422, f"{name[:64]!r} holds half a surrogate pair, which is no text", field=name[:64])


def _check_field(name: str, raw: Raw) -> None:
    try:
        BATCH_FIELDS[name](raw)
    except (ValueError, RecursionError) as error:
        raise Problem(422, f"{name}: {error}", field=name) from None


def _check_extra(name: str, raw: Raw) -> None:
    try:
        check_value(raw, MAX_DEPTH - 2)
    except Fault as fault:
        raise Problem(422, f"unknown field {name[:64]!r}: {fault.reason}", field=name[:64]) from None


def _facts(head: Mapping[str, Raw]) -> Any:
    facts = decode_batch(encode({**head, "events": []}))
    if not _client_id_ok(facts.client_id):
        raise Problem(422, "client_id is 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit", field="client_id")
    if not _screen_id_ok(facts.screen_id):
        raise Problem(422, "screen_id is 1 to 256 bytes of UTF-8 without control characters and |", field="screen_id")
    return facts


def _event_list(fields: Mapping[str, Raw]) -> list[Raw]:
    try:
        raws = decode_list(fields["events"])
    except ValidationError:
        raise Problem(422, "events is a list of objects", field="events") from None
    if len(raws) > MAX_EVENTS:
        raise Problem(422, f"{len(raws)} events; a batch has at most {MAX_EVENTS}", field="events")
    return raws


def split(body: bytes, parsed: Parsed) -> list[Raw]:
    """The JSON of each kept event. Turns a batch of the fast path into one that is written anew."""
    if parsed.raws is None:
        fields = decode_object(body)
        parsed.raws = decode_list(fields.pop("events"))
        parsed.head = fields
        parsed.positions = list(range(len(parsed.raws)))
    return parsed.raws


def drop(body: bytes, parsed: Parsed, doomed: list[bool], reason: DropReason) -> None:
    """Reject the events for which `doomed` is true, all for the field event_time."""
    raws = split(body, parsed)
    keep = [not flag for flag in doomed]
    parsed.rejections += [Rejection(at, "event_time", reason) for at in compress(parsed.positions, doomed)]
    parsed.raws = list(compress(raws, keep))
    parsed.events = list(compress(parsed.events, keep))
    parsed.times = list(compress(parsed.times, keep))
    parsed.positions = list(compress(parsed.positions, keep))


def strict_json(body: bytes, parsed: Parsed) -> bytes:
    """The batch as it goes onto the log: the client's own bytes when nothing had to change."""
    if parsed.raws is None:
        return body
    return encode({**parsed.head, "events": parsed.raws})
