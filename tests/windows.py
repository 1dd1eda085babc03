"""Live windows counted by pandas from the records alone, to compare every engine with."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from landing import event

from isotherm.clock import DAY_MS, HOUR_MS, MINUTE_MS
from isotherm.eventlog.port import Record
from isotherm.events import Counts as LedgerCounts
from isotherm.events import encode_envelope, record_id, record_key

SIZES = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000}
Counts = dict[tuple[str, str, str, str, int], int]
"""(client_id, screen_id, event_type, size, start in ms) -> events."""


def frame(records: Sequence[Record], *, split: bool = False) -> pd.DataFrame:
    """A row per event that counts: of the first record with a batch's id, no import, at most a day late."""
    rows: list[dict[str, Any]] = []
    for record in records:
        envelope: dict[str, Any] = msgspec.json.decode(record.value)
        events = envelope.get("batch", {}).get("events", [])
        places = envelope.get("positions") or range(len(events))
        for place, one in zip(places, events, strict=True):
            rows.append(
                {
                    "client_id": envelope["client_id"],
                    "screen_id": envelope["screen_id"],
                    "event_type": one["event_type"],
                    "batch": envelope["batch_id"],
                    "place": place,
                    "record": id(record),
                    "at": millis(one["event_time"]) + envelope["skew_ms"],
                    "received": envelope["received_at"],
                    "imported": "import" in envelope["flags"],
                }
            )
    table = pd.DataFrame(rows)
    table = table[~table["imported"]]
    if split:
        table = table.drop_duplicates(["client_id", "batch", "place"])
    else:
        table = table[table["record"] == table.groupby(["client_id", "batch"])["record"].transform("first")]
    late = table["received"] - table["at"]
    return table[(late <= 86_400_000) & (late >= -300_000)]


def millis(moment: int | str) -> int:
    return moment if isinstance(moment, int) else int(pd.Timestamp(moment).timestamp() * 1000)


def windows(records: Sequence[Record], *, split: bool = False) -> Counts:
    """Every window with its count, however old."""
    table = frame(records, split=split)
    found: Counts = {}
    for size, ms in SIZES.items():
        keyed = table.assign(size=size, start=table["at"] // ms * ms)
        counted = keyed.groupby(["client_id", "screen_id", "event_type", "size", "start"]).size()
        found |= {(*key[:4], int(key[4])): int(count) for key, count in counted.items()}
    return found


def living(records: Sequence[Record], now: int, *, split: bool = False) -> Counts:
    """The windows whose newest event was received within 2 min, 10 min, 2 h before now."""
    table = frame(records, split=split)
    whole = windows(records, split=split)
    ttl = {"1m": 120_000, "5m": 600_000, "1h": 7_200_000}
    alive: Counts = {}
    for size, ms in SIZES.items():
        keyed = table.assign(size=size, start=table["at"] // ms * ms)
        newest = keyed.groupby(["client_id", "screen_id", "event_type", "size", "start"])["received"].max()
        for key, received in newest.items():
            if received + ttl[size] > now:
                named = (*key[:4], int(key[4]))
                alive[named] = whole[named]
    return alive


def many(seed: int, now: int, batches: int = 60) -> list[Record]:
    """Batches of three clients in order of receipt over the last three hours: late, early and from skewed clocks,
    some sent twice, some imported, some in RFC 3339."""
    numbers = np.random.default_rng(seed)
    received = np.sort(now - numbers.integers(0, 3 * HOUR_MS, batches))
    received[-batches // 3 :] = np.sort(now - numbers.integers(0, MINUTE_MS, len(received[-batches // 3 :])))
    made: list[Record] = []
    for number, at in enumerate(received.tolist()):
        if made and numbers.random() < 0.2:
            made.append(again(made[int(numbers.integers(len(made)))], at))
            continue
        skew = int(numbers.choice([0, 0, 0, 90_000, -7_200_000]))
        late = [int(numbers.choice([0, 0, MINUTE_MS, HOUR_MS, DAY_MS, -6 * MINUTE_MS])) for _ in range(5)]
        moments = [at - skew - late[i % 5] - int(numbers.integers(0, 90_000)) for i in range(12)]
        texts = numbers.random() < 0.2
        kinds = numbers.choice(["mousemove", "click", "pageview"], 12).tolist()
        events = [event(stamp(ms) if texts else ms, kind=kind) for ms, kind in zip(moments, kinds, strict=True)]
        made.append(
            sent(
                f"client{numbers.integers(3)}",
                f"batch{number}",
                events,
                screen_id=str(numbers.choice(["/", "/cart?a=1", "überall"])),
                received_at=at,
                skew_ms=skew,
                flags=("import",) if numbers.random() < 0.1 else (),
            )
        )
    return made


def stamp(ms: int) -> str:
    return pd.Timestamp(ms, unit="ms", tz="Europe/Berlin").isoformat()


def sent(client_id: str, batch_id: str, events: Sequence[Any], **facts: Any) -> Record:
    """As `landing.record`, also for events in RFC 3339."""
    screen_id, received_at = facts.pop("screen_id", "home"), facts.pop("received_at")
    body = {"client_id": client_id, "screen_id": screen_id, "batch_id": batch_id, "events": list(events)}
    value = encode_envelope(
        client_id=client_id,
        screen_id=screen_id,
        batch_id=batch_id,
        received_at=received_at,
        skew_ms=facts.pop("skew_ms", 0),
        flags=facts.pop("flags", ()),
        counts=LedgerCounts(),
        positions=facts.pop("positions", None),
        batch=msgspec.json.encode(body),
    )
    return Record(record_key(client_id, screen_id), value, received_at, record_id(client_id, batch_id))


def again(first: Record, at: int) -> Record:
    """The same batch, sent once more."""
    envelope = msgspec.json.decode(first.value) | {"received_at": at}
    return Record(first.key, msgspec.json.encode(envelope), at, first.id)
