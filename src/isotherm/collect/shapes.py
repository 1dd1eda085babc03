"""The door's decoders, derived from the strict form in events.py.

They are stricter than the log's in one point: `attrs` is looked into. What `FastEvent` takes can stand on the
log byte for byte; anything else is judged field by field in judge.py.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Raw, Struct, UnsetType

from isotherm.events import MAX_EVENTS, Batch, Event, Millis, Unit

FlatAttrs = dict[str, str | int | float | bool | None] | UnsetType


def _variant(name: str, model: type[Struct], replaced: Mapping[str, tuple[Any, Any]], *, gc: bool = True) -> type[Any]:
    """`model` again, with the (type, default) of some fields replaced and no unknown fields allowed."""
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(model):
        kind, default = replaced.get(field.name, (field.type, field.default))
        fields.append((field.name, kind, default))
    definition: list[Any] = [f[:2] if f[2] is NODEFAULT else f for f in fields]
    return msgspec.defstruct(name, definition, kw_only=True, forbid_unknown_fields=True, gc=gc)


def _batch_of(event: type[Any]) -> type[Any]:
    return _variant(f"{event.__name__}Batch", Batch, {"events": (_at_most(event), NODEFAULT)})


def _at_most(event: type[Any]) -> Any:
    return Annotated[list[event], Meta(max_length=MAX_EVENTS)]


FastEvent: Final = _variant("FastEvent", Event, {"attrs": (FlatAttrs, UNSET)}, gc=False)
_PositionedEvent: Final = _variant(
    "PositionedEvent",
    Event,
    {"attrs": (FlatAttrs, UNSET), "x_norm": (Unit, NODEFAULT), "y_norm": (Unit, NODEFAULT)},
    gc=False,
)

_CommonEvent: Final = _variant(
    "CommonEvent",
    Event,
    {
        "attrs": (FlatAttrs, UNSET),
        "x_norm": (Unit, NODEFAULT),
        "y_norm": (Unit, NODEFAULT),
        "event_time": (Millis, NODEFAULT),
        "event_type": (Literal["mousemove", "click", "touch", "scroll"], NODEFAULT),
    },
    gc=False,
)

Decode = Callable[[bytes], Any]

decode_common_batch: Final[Decode] = msgspec.json.Decoder(_batch_of(_CommonEvent)).decode
"""What a browser's script sends: integer times, known types, both coordinates. Nothing is left to check per event."""
decode_positioned_batch: Final[Decode] = msgspec.json.Decoder(_batch_of(_PositionedEvent)).decode
"""Every event has both coordinates, whatever its type: then nothing is left to check about positions."""
decode_fast_batch: Final[Decode] = msgspec.json.Decoder(_batch_of(FastEvent)).decode
decode_fast_event: Final[Decode] = msgspec.json.Decoder(FastEvent).decode
decode_event: Final[Decode] = msgspec.json.Decoder(Event).decode
decode_batch: Final[Decode] = msgspec.json.Decoder(Batch).decode
decode_any: Final[Decode] = msgspec.json.Decoder().decode
decode_object: Final[Callable[[bytes], dict[str, Raw]]] = msgspec.json.Decoder(dict[str, Raw]).decode
decode_list: Final[Callable[[bytes], list[Raw]]] = msgspec.json.Decoder(list[Raw]).decode
encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode


def _field_decoders(model: type[Struct]) -> dict[str, Decode]:
    return {f.name: msgspec.json.Decoder(f.type).decode for f in msgspec.structs.fields(model)}


EVENT_FIELDS: Final = _field_decoders(Event)
"""One decoder per field of an event, in the order in which faults are reported."""
BATCH_FIELDS: Final = _field_decoders(Batch)
