"""Both paths keep the same events and put the same batch on the log."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.collect.request import Parsed, Request
from isotherm.collect.shapes import FastEvent
from isotherm.collect.steps import STEPS, Rules
from isotherm.collect.validate import drop, mark_surrogates, parse, parse_fast, parse_slow, strict_json
from isotherm.errors import DropReason, Problem
from isotherm.events import Envelope, Event, decode_envelope

NOW = 1_770_027_300_000
RULES = Rules(frozenset(), 30 * DAY_MS, 1 << 24)


def good(**fields: Any) -> dict[str, Any]:
    return {"event_time": NOW, "x_norm": 0.5, "y_norm": 0.25, "event_type": "click", **fields}


def body_of(events: list[Any], **fields: Any) -> bytes:
    return json.dumps({"client_id": "shop", "screen_id": "home", "events": events, **fields}).encode()


def through(body: bytes, rules: Rules = RULES) -> Request:
    request = Request(body, NOW)
    for _, step in STEPS:
        step(request, rules)
    return request


def refusal(body: bytes, rules: Rules = RULES) -> Problem | None:
    """Why the body is refused as a whole; None when it is not."""
    try:
        through(body, rules)
    except Problem as problem:
        return problem
    return None


def envelope_of(request: Request) -> Envelope:
    assert request.record is not None
    return decode_envelope(request.record.value)


def on_log(body: bytes, parsed: Parsed) -> Any:
    """The batch as every later stage sees it."""
    head = b'{"v":1,"client_id":"a","screen_id":"b","batch_id":"c","received_at":1,"counts":{},"batch":%b}'
    batch = decode_envelope(head % strict_json(body, parsed)).batch
    assert batch is not None
    for event in batch.events:
        event.attrs = msgspec.json.decode(event.attrs or b"null")
    return msgspec.to_builtins(batch)


numbers = st.one_of(
    st.floats(0, 1),
    st.sampled_from([0, 1, -0.0, 5e-324, 1.0000000000000002, -5e-324, 2, "0.5", True, None, [], 10**30]),
)
texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["click", "Click", "a" * 64, "a" * 65, "\x00", "é" * 513, "\ufdd1"])
)
times = st.one_of(
    st.integers(NOW - 40 * DAY_MS, NOW + 2 * DAY_MS),
    st.sampled_from(["2026-02-02T10:00:00Z", "2026-02-02T10:00:00.123456+02:00", "2026-02-02T10:00:00", -1, 1.0, None]),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
odd_events = st.fixed_dictionaries(
    {"event_time": times, "event_type": st.sampled_from(["click", "pageview", "x.y", "Bad", "", 3])},
    optional={
        "x_norm": numbers,
        "y_norm": numbers,
        "x_px": numbers,
        "ax": numbers,
        "anchor": texts | st.none(),
        "attrs": values,
        "color": values,
    },
)
good_events = st.fixed_dictionaries(
    {
        "event_time": st.integers(NOW - DAY_MS, NOW),
        "event_type": st.sampled_from(["click", "mousemove", "x.y"]),
        "x_norm": st.floats(0, 1),
        "y_norm": st.floats(0, 1),
    },
    optional={
        "anchor": st.text(max_size=9),
        "attrs": st.dictionaries(st.text(max_size=3), st.none() | st.integers() | texts),
    },
)
bodies = st.builds(
    lambda events, fields: json.dumps({"client_id": "shop", "screen_id": "home", **fields, "events": events}).encode(),
    st.lists(good_events, max_size=4) | st.lists(st.one_of(good_events, odd_events, values), max_size=5),
    st.dictionaries(
        st.sampled_from(["release", "batch_id", "sent_at"]), st.sampled_from(["r7", NOW, None]), max_size=2
    ),
)


@settings(max_examples=400, deadline=None)
@given(bodies)
def test_fast_and_slow_path_agree(body: bytes) -> None:
    fast = parse_fast(body)
    try:
        slow = parse_slow(body)
    except Problem:
        assert fast is None
        return
    if fast is not None:
        assert slow.rejections == []
        assert on_log(body, fast) == on_log(body, slow)
        assert fast.times == slow.times


@settings(max_examples=400, deadline=None)
@given(bodies)
def test_what_goes_onto_the_log_decodes_and_adds_up(body: bytes) -> None:
    problem = refusal(body)
    if problem is not None:
        assert problem.status in (400, 422)
        return
    request = through(body)
    envelope = envelope_of(request)
    sent = len(json.loads(body)["events"])
    assert sent == request.accepted + request.rejected
    assert sum(envelope.counts.accepted.values()) == request.accepted
    assert sum(envelope.counts.rejected.values()) == request.rejected
    kept = envelope.batch.events if envelope.batch else []
    assert len(kept) == request.accepted
    positions = envelope.positions if envelope.positions is not None else list(range(request.accepted))
    rejected = {rejection.index for rejection in request.rejections}
    if kept:
        assert positions == [index for index in range(sent) if index not in rejected]
        assert len({type(event.event_time) for event in kept}) == 1
    for event in kept:
        assert not event.attrs or isinstance(msgspec.json.decode(event.attrs), dict)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_a_problem_or_a_batch(body: bytes) -> None:
    problem = refusal(body)
    assert problem is None or problem.status in (400, 422)


def test_clean_bodies_are_not_rewritten() -> None:
    body = body_of(
        [good(), good(event_type="scroll", x_norm=None, y_norm=None, attrs={"a": 1, "b": "x"})], batch_id="b"
    )
    parsed = parse(body)
    assert parsed.raws is None
    assert strict_json(body, parsed) is body


def test_fast_event_has_the_fields_of_the_strict_form() -> None:
    names = [field.name for field in msgspec.structs.fields(FastEvent)]
    assert names == [field.name for field in msgspec.structs.fields(Event)]


def test_unknown_fields_go_to_attrs_and_the_event_wins() -> None:
    body = body_of([good(a=1, b=1, attrs={"a": 2}), good()], a=0, c={"deep": [1]})
    batch = on_log(body, parse(body))
    assert batch["events"][0]["attrs"] == {"a": 2, "b": 1, "c": {"deep": [1]}}
    assert batch["events"][1]["attrs"] == {"a": 0, "c": {"deep": [1]}}


def test_mixed_times_become_milliseconds() -> None:
    body = body_of([good(), good(event_time="2026-02-02T10:15:00.9999Z"), good(event_time="1969-01-01T00:00:00Z")])
    times = [event["event_time"] for event in on_log(body, parse(body))["events"]]
    assert times == [NOW, 1_770_027_300_999, 0]


@pytest.mark.parametrize("depth", [10, 900, 5_000, 87_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_never_crashes(depth: int, opening: bytes, closing: bytes) -> None:
    deep = opening * depth + b"1" + closing * depth
    body = b'{"client_id":"shop","screen_id":"home","events":[%b,%b]}' % (json.dumps(good()).encode(), deep)
    problem = refusal(body)
    if problem is not None:
        assert problem.status == 400
        assert depth > 500
    else:
        parsed = parse(body)
        assert [r.index for r in parsed.rejections] == [1]
        assert len(parsed.events) == 1


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400_000, "0." + "0" * 400_000 + "1", "1" + "0" * 350])
@pytest.mark.parametrize("field", ["x_norm", "x_px", "event_time", "other", "attrs"])
def test_an_absurd_number_costs_its_event_at_most(field: str, number: str) -> None:
    first = json.dumps(good())
    value = f'{{"n":{number}}}' if field == "attrs" else number
    rest = {k: v for k, v in good().items() if k != field}
    second = json.dumps(rest)[:-1] + f',"{field}":{value}}}'
    body = f'{{"client_id":"shop","screen_id":"home","events":[{first},{second}]}}'.encode()
    parsed = parse(body)
    assert parsed.events[0].event_time == NOW
    assert {r.index for r in parsed.rejections} <= {1}
    on_log(body, parsed)


@given(
    st.lists(
        st.sampled_from([r"\ud83d", r"\ude00", r"\ud83d\ude00", "\\\\", r"\\ud83d", r"\"", "x", r"\n"]), max_size=8
    )
)
def test_lone_surrogates_are_marked_and_pairs_kept(parts: list[str]) -> None:
    text = '"' + "".join(parts) + '"'
    marked = mark_surrogates(text.encode())
    expected = "".join("\ufdd1" if 0xD800 <= ord(c) < 0xE000 else c for c in json.loads(text))
    assert msgspec.json.decode(marked) == expected


def test_half_a_pair_costs_its_event_only() -> None:
    body = body_of([good(), good(anchor="\ud83d"), good(more="\udc00"), good(anchor="😀")])
    parsed = parse(body)
    assert [(r.index, r.field, r.reason) for r in parsed.rejections] == [
        (1, "anchor", DropReason.BAD_TEXT),
        (2, "attrs", DropReason.BAD_TEXT),
    ]
    on_log(body, parsed)


def test_batch_fields_copied_into_events_are_bounded() -> None:
    body = body_of([good()] * 2_000, blob="x" * 200_000)
    with pytest.raises(Problem, match="too large"):
        parse(body)


def test_drop_turns_a_fast_batch_into_a_cut_one() -> None:
    body = body_of([good(x_norm=i / 10) for i in range(5)])
    parsed = parse(body)
    drop(body, parsed, [False, True, False, False, True], DropReason.TOO_OLD)
    drop(body, parsed, [True, False, False], DropReason.TOO_FAR_AHEAD)
    assert parsed.positions == [2, 3]
    assert sorted((r.index, r.reason) for r in parsed.rejections) == [
        (0, DropReason.TOO_FAR_AHEAD),
        (1, DropReason.TOO_OLD),
        (4, DropReason.TOO_OLD),
    ]
    assert [event["x_norm"] for event in on_log(body, parsed)["events"]] == [0.2, 0.3]


@given(st.lists(st.integers(NOW - 31 * DAY_MS, NOW + 2 * DAY_MS), min_size=1, max_size=30), st.integers(-5, 5))
def test_hours_are_counted_after_correction(stamps: list[int], skew_hours: int) -> None:
    sent_at = NOW - skew_hours * HOUR_MS
    request = through(body_of([good(event_time=stamp) for stamp in stamps], sent_at=sent_at))
    corrected = [stamp + skew_hours * HOUR_MS for stamp in stamps]
    kept = [c for c in corrected if NOW - 30 * DAY_MS <= c <= NOW + DAY_MS]
    hours: dict[str, int] = {}
    for stamp in kept:
        hours[str(stamp // HOUR_MS * HOUR_MS)] = hours.get(str(stamp // HOUR_MS * HOUR_MS), 0) + 1
    envelope = envelope_of(request)
    assert envelope.skew_ms == skew_hours * HOUR_MS
    assert envelope.counts.accepted == hours


def test_declared_clients_only() -> None:
    rules = Rules(frozenset({"blog"}), RULES.late_horizon_ms, RULES.max_record_bytes)
    problem = refusal(body_of([good()]), rules)
    assert problem is not None
    assert (problem.status, problem.extra["field"]) == (422, "client_id")
    assert refusal(body_of([good()]), RULES) is None


def test_without_an_id_the_server_makes_one_and_appends_without() -> None:
    first, second = through(body_of([good()])), through(body_of([good()]))
    assert first.batch_id.startswith("srv-")
    assert first.batch_id != second.batch_id
    assert first.record is not None
    assert first.record.id is None


def test_the_record_of_a_known_batch_carries_counts_only() -> None:
    request = through(body_of([good(), 7], batch_id="b", dropped={"x": 1}))
    request.forget_content()
    assert request.known_record is not None
    record = request.known_record()
    envelope = decode_envelope(record.value)
    assert record.id is None
    assert envelope.batch is None
    assert envelope.counts.duplicate == 1
    assert envelope.counts.rejected == {"not_an_event": 1}
    assert envelope.counts.accepted == {}


def test_a_record_larger_than_the_log_takes_is_413() -> None:
    rules = Rules(frozenset(), RULES.late_horizon_ms, 1_000)
    problem = refusal(body_of([good()] * 20), rules)
    assert problem is not None
    assert problem.status == 413


def test_order_of_fields_does_not_matter() -> None:
    rng = random.Random(7)
    for _ in range(20):
        fields = [
            ("client_id", "shop"),
            ("screen_id", "home"),
            ("events", [good(q=1), 3]),
            ("batch_id", "b"),
            ("zz", 1),
        ]
        rng.shuffle(fields)
        parsed = parse(json.dumps(dict(fields)).encode())
        assert (len(parsed.events), len(parsed.rejections)) == (1, 1)
