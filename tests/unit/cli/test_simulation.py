"""Simulated visitors: where they click, when, how their hands move, and that the same seed sends the same bodies."""

import json
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.cli.simulation import calendar, motion
from isotherm.cli.simulation.crowd import CHUNK, Crowd
from isotherm.cli.simulation.layout import read_layout
from isotherm.cli.simulation.motion import minimum_jerk
from isotherm.cli.simulation.wire import BATCH_EVENTS, fraction
from isotherm.clock import DAY_MS, HOUR_MS
from isotherm.errors import IsothermError
from isotherm.view.demo import LAYOUT

UNTIL = 1_780_000_000_000
WORLD = read_layout(LAYOUT)
seeds = st.integers(0, 2**32 - 1)


def bodies(seed: int, visitors: int = 6, days: float = 3.0) -> list[dict[str, Any]]:
    crowd = Crowd(WORLD, "test-simulated", seed)
    since = int(UNTIL - days * DAY_MS)
    return [json.loads(load.content) for _, load in crowd.history(visitors, since, UNTIL)]


def boxes_of(body: dict[str, Any]) -> list[tuple[str, list[float]]]:
    """Anchors and boxes of the screen that a body is about, straight from the file."""
    layout = json.loads(LAYOUT.read_bytes())
    sizes = {device["name"]: device["viewport"] for device in layout["devices"]}
    for screen in layout["screens"]:
        if (
            screen["screen_id"] == body["screen_id"]
            and screen["document"] == [body["document"]["w"], body["document"]["h"]]
            and sizes[screen["device"]] == [body["viewport"]["w"], body["viewport"]["h"]]
        ):
            return [(target["anchor"], target["box"]) for target in screen["targets"]]
    raise AssertionError(f"no such screen: {body['screen_id']}")


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_every_click_lies_inside_the_target_it_names(seed: int) -> None:
    clicks = 0
    for body in bodies(seed):
        boxes = boxes_of(body)
        for event in body["events"]:
            if event["event_type"] != "click":
                continue
            clicks += 1
            x, y = event["x_norm"] * body["document"]["w"], event["y_norm"] * body["document"]["h"]
            named = [box for anchor, box in boxes if anchor == event["anchor"]]
            assert any(bx <= x <= bx + w and by <= y <= by + h for bx, by, w, h in named), event
            assert abs(x - event["x_px"]) < 1
            assert abs(y - event["y_px"]) < 1
            assert 0 <= event["ax"] <= 1
            assert 0 <= event["ay"] <= 1
    assert clicks


@settings(max_examples=25, deadline=None)
@given(seed=seeds, days=st.floats(0.1, 29))
def test_times_lie_in_the_window_and_go_forward_and_coordinates_are_shares(seed: int, days: float) -> None:
    for _, visit in groupby(bodies(seed, days=days), key=lambda body: body["session_id"]):
        times: list[int] = []
        for body in visit:
            assert len(body["events"]) <= BATCH_EVENTS
            for event in body["events"]:
                times.append(event["event_time"])
                placed = event["event_type"] in ("mousemove", "click", "touch")
                assert placed == ("x_norm" in event) == ("y_norm" in event)
                if placed:
                    assert 0 <= event["x_norm"] <= 1
                    assert 0 <= event["y_norm"] <= 1
                    assert event["x_norm"] == pytest.approx(event["x_px"] / body["document"]["w"], abs=1.1e-5)
                    below = event["y_px"] - event["scroll_y"]
                    assert 0 <= below <= body["viewport"]["h"], "a pointer outside its window"
        assert all(before <= after for before, after in pairwise(times))
        assert UNTIL - days * DAY_MS - 1 <= times[0]
        assert times[-1] <= UNTIL


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_the_same_seed_sends_the_same_batches_and_another_window_other_ids(seed: int) -> None:
    first, again = bodies(seed, 3), bodies(seed, 3)
    assert first == again
    ids = {body["batch_id"] for body in first}
    assert len(ids) == len(first)
    assert not ids & {body["batch_id"] for body in bodies(seed, 3, days=2.9)}
    assert not ids & {body["batch_id"] for body in bodies(seed ^ 1, 3)}


def test_numbers_of_a_view_have_no_gap() -> None:
    for _, view in groupby(bodies(5, visitors=CHUNK + 5), key=lambda body: body["sequence"]["view"]):
        batch = event = 0
        for body in view:
            assert (body["sequence"]["batch"], body["sequence"]["first_event"]) == (batch, event)
            batch, event = batch + 1, event + len(body["events"])


def test_visits_follow_the_links_of_the_site() -> None:
    layout = json.loads(LAYOUT.read_bytes())
    links = {(s["url"], t["to"]) for s in layout["screens"] for t in s["targets"] if "to" in t}
    steps = set[tuple[str, str]]()
    for _, visit in groupby(bodies(11, visitors=80), key=lambda body: body["session_id"]):
        urls = [url.removeprefix(WORLD.site) for url, _ in groupby(body["url"] for body in visit)]
        assert urls[0] in layout["starts"]
        steps.update(pairwise(urls))
    assert steps <= links
    assert len(steps) >= 6


@settings(max_examples=60, deadline=None)
@given(duration=st.floats(400, 3_000), x=st.floats(-900, 900), y=st.floats(-900, 900), bow=st.floats(-0.1, 0.1))
def test_a_stroke_moves_by_minimum_jerk(duration: float, x: float, y: float, bow: float) -> None:
    if np.hypot(x, y) < 50:
        return
    found = motion.strokes(np.array([[1_000.0, duration, 100.0, 200.0, 100.0 + x, 200.0 + y, bow]]))
    # Along the straight line, the way is 10 t^3 - 15 t^4 + 6 t^5, written here in another form.
    along = ((found.x - 100.0) * x + (found.y - 200.0) * y) / (x * x + y * y)
    t = (found.time - 1_000.0) / duration
    np.testing.assert_allclose(along, np.polyval([6, -15, 10, 0, 0, 0], t), atol=1e-9)
    assert (found.x[-1], found.y[-1]) == (100.0 + x, 200.0 + y)


def test_speed_is_a_bell() -> None:
    t = np.linspace(0, 1, 20_001)
    speed = np.gradient(minimum_jerk(t), t)
    assert speed.argmax() == 10_000
    assert speed.max() == pytest.approx(1.875, rel=1e-6)
    assert speed[0] == pytest.approx(0, abs=1e-4)
    assert (np.diff(speed[:10_000]) > 0).all()
    np.testing.assert_allclose(speed, speed[::-1], atol=1e-6)
    # Of all smooth ways from rest to rest it has the least jerk: the quintic's integral of jerk squared is 720.
    jerk = np.polyval([360, -360, 60], t)
    assert np.trapezoid(jerk**2, t) == pytest.approx(720, rel=1e-6)


def test_far_and_small_takes_longer() -> None:
    assert motion.fitts_ms(800, 20) > motion.fitts_ms(400, 20) > motion.fitts_ms(400, 200) > motion.fitts_ms(0, 200)
    assert motion.fitts_ms(600, 20) - motion.fitts_ms(290, 20) == pytest.approx(motion.FITTS_B_MS)


@pytest.mark.parametrize(("touch", "peak"), [(False, range(8, 18)), (True, range(18, 24))])
def test_people_come_at_their_hours(touch: bool, peak: range) -> None:
    found = calendar.moments(np.random.default_rng(1), 40_000, UNTIL - 28 * DAY_MS, UNTIL, touch=touch)
    hours = np.bincount(found % DAY_MS // HOUR_MS, minlength=24)
    assert hours.argmax() in peak
    assert hours[2:5].sum() < hours.sum() / 12
    days = np.bincount((found // DAY_MS + 3) % 7, minlength=7)
    assert (days[5:].mean() > days[:5].mean()) == touch


@settings(max_examples=300, deadline=None)
@given(size=st.integers(4, 20_000), share=st.floats(0, 1))
def test_rounding_never_changes_the_cell(size: int, share: float) -> None:
    exact = np.array([share * size])
    rounded = fraction(exact, np.array([float(size)]))
    for cells in (100, 200):
        assert np.floor(rounded * cells) == np.floor(np.clip(exact / size, 0, 1) * cells)
    assert abs(rounded - exact / size) <= 1e-5 + 1e-12


def test_live_people_are_due_in_order_and_send_what_has_happened() -> None:
    crowd = Crowd(WORLD, "test-simulated", 3)
    stream = crowd.live(200.0, lambda: UNTIL)
    seen, ids = [next(stream) for _ in range(6_000)], set[str]()
    assert all(before[0] <= after[0] for before, after in pairwise(seen))
    for due, load in seen:
        body = json.loads(load.content)
        times = [event["event_time"] for event in body["events"]]
        assert times[-1] < due
        assert times[-1] - times[0] <= 1_000
        ids.add(body["batch_id"])
    assert len(ids) == len(seen)
    # Once people have come and gone for a while, the rate is about what was asked for.
    middle = [(due, len(load.lines)) for due, load in seen if due > UNTIL]
    assert 70 < sum(count for _, count in middle) / (middle[-1][0] - middle[0][0]) * 1_000 < 500


SMALL: dict[str, Any] = {
    "devices": [{"name": "laptop", "viewport": [1000, 600]}],
    "starts": {"/": 1},
    "screens": [
        {"screen_id": "home", "url": "/", "device": "laptop", "document": [1000, 900], "targets": [
            {"anchor": "#buy", "kind": "button", "box": [400, 300, 200, 40]}]},
    ],
}  # fmt: skip


def test_a_small_file_of_ones_own_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "layout.json"
    file.write_text(json.dumps(SMALL))
    crowd = Crowd(read_layout(file), "own-simulated", 1)
    found = [json.loads(load.content) for _, load in crowd.history(5, UNTIL - DAY_MS, UNTIL)]
    assert {body["screen_id"] for body in found} == {"home"}
    assert any(event["event_type"] == "click" for body in found for event in body["events"])


def broken(change: Any) -> dict[str, Any]:
    layout = json.loads(json.dumps(SMALL))
    change(layout)
    return layout


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(devices=[]), "devices"),
        (lambda d: d["screens"][0].update(device="phone"), "'phone'"),
        (lambda d: d["screens"][0]["targets"][0].update(box=[900, 300, 200, 40]), "#buy"),
        (lambda d: d["screens"][0]["targets"][0].update(kind="sofa"), "sofa"),
        (lambda d: d.update(starts={"/elsewhere": 1}), "starts"),
        (lambda d: d["screens"][0].update(screen_id="a|b"), "a|b"),
        (lambda d: d.update(colour="red"), "colour"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, change: Any, says: str) -> None:
    file = tmp_path / "layout.json"
    file.write_text(json.dumps(broken(change)))
    with pytest.raises(IsothermError) as caught:
        read_layout(file)
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsothermError, match=r"nothing\.json"):
        read_layout(tmp_path / "nothing.json")
