import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from landing import NOW, event, record

from isotherm.eventlog.port import Record, Stored
from isotherm.events import FLAG_IMPORT
from isotherm.land.columns import decode_records
from isotherm.land.schema import LAKE_SCHEMA


def stored(*records: Record) -> list[Stored]:
    return [Stored(3, 10 + i, r.timestamp, r.value) for i, r in enumerate(records)]


def rows(*records: Record) -> list[dict[str, object]]:
    table = decode_records(stored(*records)).rows.table()
    table.validate(full=True)
    assert table.schema == LAKE_SCHEMA
    return table.to_pylist()


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def test_every_field_has_its_column() -> None:
    full = event(NOW - 5, 0.29, 5e-324, "click", x_px=1.5, y_px=-0.0, scroll_y=3, ax=0.1, ay=1.0, anchor="#buy")
    full["attrs"] = {"price": 1.0, "name": "é"}
    batch = {
        "session_id": "s", "visitor_id": "v", "url": "https://x/", "sdk": "js 1", "viewport": {"w": 800, "h": 600},
        "document": {"w": 800, "h": 4000.5}, "region": {"w": 640, "h": 0.5}, "device_pixel_ratio": 2,
    }  # fmt: skip
    [row] = rows(record("shop", "b1", [full], screen_id="home page", batch=batch))
    assert json.loads(row.pop("attrs")) == full["attrs"]
    assert row == {
        "client_id": "shop", "screen_id": "home page", "event_type": "click", "event_time": moment(NOW - 5),
        "x_norm": 0.29, "y_norm": 5e-324, "x_px": 1.5, "y_px": -0.0, "scroll_y": 3.0, "ax": 0.1, "ay": 1.0,
        "anchor": "#buy", "session_id": "s", "visitor_id": "v", "url": "https://x/", "sdk": "js 1",
        "viewport_w": 800.0, "viewport_h": 600.0, "document_w": 800.0, "document_h": 4000.5, "region_w": 640.0,
        "region_h": 0.5, "device_pixel_ratio": 2.0,
        "client_time": None, "received_at": moment(NOW), "batch_id": "b1", "position": 0, "log_partition": 3,
        "log_offset": 10,
    }  # fmt: skip
    assert str(row["y_px"]) == "-0.0"


def test_absent_fields_are_null_also_beside_rows_that_have_them() -> None:
    bare, full = event(NOW, None, kind="view"), event(NOW, anchor="a", x_px=2.0, attrs={})
    found = rows(record("shop", "b1", [bare, full]), record("shop", "b2", [bare], batch={"url": "u"}))
    assert [row["x_norm"] for row in found] == [None, 0.25, None]
    assert [row["x_px"] for row in found] == [None, 2.0, None]
    assert [row["anchor"] for row in found] == [None, "a", None]
    assert [row["attrs"] for row in found] == [None, "{}", None]
    assert [row["url"] for row in found] == [None, None, "u"]


def test_skew_corrects_the_time_and_keeps_the_clients() -> None:
    skewed = record("shop", "b1", [event(NOW - 100_000), event(NOW - 99_000)], skew_ms=100_000)
    found = rows(skewed, record("shop", "b2", [event(NOW)]))
    assert [row["event_time"] for row in found] == [moment(NOW), moment(NOW + 1000), moment(NOW)]
    assert [row["client_time"] for row in found] == [moment(NOW - 100_000), moment(NOW - 99_000), None]


def test_rfc_3339_times_are_cut_to_milliseconds() -> None:
    made = record("shop", "b1", [event(NOW)])
    value = made.value.replace(b'"event_time":%d' % NOW, b'"event_time":"2026-02-02T10:15:00.123999+01:00"')
    assert value != made.value
    table = decode_records([Stored(0, 0, NOW, value)]).rows.table()
    assert table["event_time"].cast(pa.int64()).to_pylist() == [1_770_023_700_123]


def test_positions_are_the_senders_where_something_was_rejected() -> None:
    found = rows(
        record("shop", "b1", [event(NOW)] * 3, positions=[1, 4, 9], rejected={"too_old": 7}),
        record("shop", "b2", [event(NOW)] * 2),
    )
    assert [row["position"] for row in found] == [1, 4, 9, 0, 1]


def test_the_import_flag_is_per_row() -> None:
    made = stored(record("shop", "b1", [event(NOW)] * 2, flags=[FLAG_IMPORT]), record("shop", "b2", [event(NOW)]))
    np.testing.assert_array_equal(decode_records(made).rows.imported, [True, True, False])


def test_counts_alone_make_no_row() -> None:
    found = decode_records(stored(record("shop", "b1", [], duplicate=200)))
    assert found.rows.table().num_rows == 0
    assert [(t.client_id, t.counts.duplicate) for t in found.tallies if t.counts] == [("shop", 200)]


def broken(kind: str) -> bytes:
    good = record("shop", "bad", [event(NOW, attrs={"k": "vvvv"})], rejected={"too_old": 2})
    change = {
        "no json": lambda v: v[:-1],
        "not utf-8 in attrs": lambda v: v.replace(b"vvvv", b"v\xffvv"),
        "a client id of another kind": lambda v: v.replace(b'{"v":1,"client_id":"shop"', b'{"v":1,"client_id":"../.."'),
        "another version": lambda v: v.replace(b'{"v":1', b'{"v":9'),
        "unknown field": lambda v: v.replace(b'"x_norm"', b'"z_norm"'),
        "out of range": lambda v: v.replace(b'"x_norm":0.25', b'"x_norm":1.25'),
        "before 1970": lambda v: v.replace(b'"skew_ms":0', b'"skew_ms":-%d' % (2 * NOW)),
        "after 9999": lambda v: v.replace(b'"skew_ms":0', b'"skew_ms":%d' % 10**15),
        "no int64": lambda v: v.replace(b'"skew_ms":0', b'"skew_ms":%d' % 10**25),
        "positions that do not fit": lambda v: v.replace(b',"batch":', b',"positions":[0,1],"batch":'),
        "a position that is no int32": lambda v: v.replace(b',"batch":', b',"positions":[4294967296],"batch":'),
        "empty": lambda _: b"",
        "nested": lambda v: b"[" * 100_000,
    }[kind]
    value = change(good.value)
    assert value != good.value
    return value


@pytest.mark.parametrize(
    ("kind", "client_id"),
    [
        ("no json", ""), ("not utf-8 in attrs", "shop"), ("a client id of another kind", ""),
        ("another version", "shop"),
        ("unknown field", "shop"), ("out of range", "shop"), ("before 1970", "shop"), ("after 9999", "shop"),
        ("no int64", "shop"), ("positions that do not fit", "shop"), ("a position that is no int32", "shop"),
        ("empty", ""), ("nested", ""),
    ],
)  # fmt: skip
def test_an_unusable_record_is_set_aside_alone(kind: str, client_id: str) -> None:
    good = [record("shop", f"b{i}", [event(NOW + i)] * 3) for i in range(5)]
    bad = Stored(3, 99, NOW, broken(kind))
    found = decode_records([*stored(*good[:2]), bad, *stored(*good[2:])])
    assert found.dead == [bad]
    assert found.rows.table()["batch_id"].to_pylist() == [f"b{i}" for i in range(5) for _ in range(3)]
    assert len(found.rows.imported) == 15
    assert [t.client_id for t in found.tallies if t.dead] == [client_id]
    assert len(found.tallies) == 6


def test_a_record_that_is_dead_still_says_its_counts() -> None:
    found = decode_records([Stored(0, 0, NOW, broken("out of range"))])
    [tally] = found.tallies
    assert tally.counts is not None
    assert sum(tally.counts.accepted.values()) == 1
    assert tally.counts.rejected == {"too_old": 2}
