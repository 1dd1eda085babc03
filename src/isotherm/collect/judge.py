"""The slow path for one event: what is wrong with it, or its strict form.

An event is kept whenever it can be brought to the strict form without changing what it says: unknown fields move
into `attrs`, `"attrs": null` is no attrs. Otherwise the first fault in the order of the contract's fields is named.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, ValidationError

from isotherm.collect.shapes import (
    EVENT_FIELDS,
    decode_any,
    decode_event,
    decode_fast_event,
    decode_object,
    encode,
)
from isotherm.errors import DropReason
from isotherm.events import EVENT_TYPE, MAX_DEPTH, POSITIONAL

SURROGATE_MARK: Final = b"\\uFdD1"
"""Stands where a lone surrogate stood (see validate.py). A noncharacter, spelled as no encoder spells it."""
SURROGATE: Final = "\ufdd1"

_KNOWN_TYPES_LIMIT: Final = 4_096
_known_types: set[str] = {"mousemove", "click", "touch", "scroll", "pageview"}


class Fault(Exception):
    """The event cannot be kept: the first field at fault, the reason, and words for a person."""

    def __init__(self, field: str, reason: DropReason, detail: str = "") -> None:
        super().__init__(field, reason, detail)
        self.field = field
        self.reason = reason
        self.detail = detail


def event_type_ok(name: str) -> bool:
    """Whether the name is an event type. Good names are remembered, at most `_KNOWN_TYPES_LIMIT`."""
    if name in _known_types:
        return True
    if EVENT_TYPE.fullmatch(name) is None:
        return False
    if len(_known_types) < _KNOWN_TYPES_LIMIT:
        _known_types.add(name)
    return True


def event_types_ok(names: set[str]) -> bool:
    """Whether all names are event types; no regular expression runs for known ones."""
    return names <= _known_types or all(map(event_type_ok, names))


def judge(raw: Raw, extra: Mapping[str, Raw], *, marked: bool = False) -> tuple[Any, Raw]:
    """The event, decoded, and its strict JSON. `extra` are the batch's unknown fields, bound for `attrs`.

    `marked` says that SURROGATE_MARK stands somewhere in the body. Raises Fault.
    """
    if marked and SURROGATE_MARK in bytes(raw):
        raise Fault(_marked_field(raw), DropReason.BAD_TEXT, "half a surrogate pair is no Unicode text")
    try:
        event = decode_fast_event(raw)
    except (ValueError, RecursionError):
        event, raw = _strict(raw, extra)
    else:
        if extra:
            event, raw = _strict(raw, extra)
    _check_meaning(event)
    return event, raw


def _check_meaning(event: Any) -> None:
    """What types alone do not say: the name's pattern, and which events need a position."""
    if not event_type_ok(event.event_type):
        raise Fault("event_type", DropReason.BAD_EVENT_TYPE, f"{event.event_type[:80]!r}")
    if event.event_type in POSITIONAL:
        for name in ("x_norm", "y_norm"):
            if getattr(event, name) is None:
                raise Fault(name, DropReason.MISSING_POSITION)


def _strict(raw: Raw, extra: Mapping[str, Raw]) -> tuple[Any, Raw]:
    """Move unknown fields into attrs and decode again; name the fault if that does not help."""
    try:
        fields = decode_object(raw)
    except ValidationError:
        raise Fault("", DropReason.NOT_AN_EVENT) from None
    for name in ("event_time", "event_type"):
        if _is_null(fields.get(name)):
            raise Fault(name, DropReason.MISSING_FIELD)
    strict = {name: fields[name] for name in EVENT_FIELDS if name in fields and name != "attrs"}
    _check_fields(strict)
    attrs = _attrs(fields, extra)
    if attrs:
        strict["attrs"] = Raw(encode(attrs))
    text = Raw(encode(strict))
    return decode_event(text), text


def _is_null(raw: Raw | None) -> bool:
    return raw is None or bytes(raw) == b"null"


def _marked_field(raw: Raw) -> str:
    """The first field that holds the mark; an unknown field would have gone to attrs. A list or text has none."""
    try:
        fields = decode_object(raw)
    except ValidationError:
        return ""
    spoilt = (name for name, value in fields.items() if SURROGATE in name or SURROGATE_MARK in bytes(value))
    name = next(spoilt, "")
    return name if name in EVENT_FIELDS else "attrs"


def _check_fields(strict: Mapping[str, Raw]) -> None:
    for name, raw in strict.items():
        try:
            EVENT_FIELDS[name](raw)
        except (ValueError, RecursionError) as error:
            raise Fault(name, _reason(name, bytes(raw)[:1]), str(error)) from None


def _reason(name: str, first: bytes) -> DropReason:
    """Why the field does not decode; `first` is the first byte of its JSON text, which tells its JSON type."""
    is_text, is_number = first == b'"', first in b"-0123456789"
    if name == "event_time" and (is_text or is_number):
        return DropReason.BAD_TIME
    if name == "event_type":
        return DropReason.WRONG_TYPE
    if name == "anchor":
        return DropReason.BAD_TEXT if is_text else DropReason.WRONG_TYPE
    if not is_number:
        return DropReason.WRONG_TYPE
    return DropReason.BAD_POSITION if name in ("x_norm", "y_norm", "ax", "ay") else DropReason.BAD_NUMBER


def _attrs(fields: Mapping[str, Raw], extra: Mapping[str, Raw]) -> dict[str, Raw]:
    """The event's attrs over its unknown fields over the batch's unknown fields."""
    given: dict[str, Raw] = {}
    if not _is_null(fields.get("attrs")):
        try:
            given = decode_object(fields["attrs"])
        except ValidationError:
            raise Fault("attrs", DropReason.WRONG_TYPE, "attrs is an object") from None
    unknown = {name: raw for name, raw in fields.items() if name not in EVENT_FIELDS}
    for raw in given.values():
        check_value(raw, MAX_DEPTH - 2)
    for raw in unknown.values():
        check_value(raw, MAX_DEPTH - 1)
    return {**extra, **unknown, **given}


def check_value(raw: Raw, levels: int) -> None:
    """Look into a value of `attrs`: at most `levels` levels of nesting, and numbers that a double can hold.

    Raises Fault on the field `attrs`.
    """
    try:
        value = decode_any(raw)
    except ValidationError as error:
        raise Fault("attrs", DropReason.BAD_NUMBER, str(error)) from None
    except (RecursionError, msgspec.DecodeError):
        raise Fault("attrs", DropReason.TOO_DEEP) from None
    if not _within(value, levels):
        raise Fault("attrs", DropReason.TOO_DEEP, f"an event is at most {MAX_DEPTH} levels deep")


def _within(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(_within(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_within(inner, levels - 1) for inner in value)
    return True
