"""Ids of requests: in the answer, and in the log's lines; and nothing else of the sender in these."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from collecting import RunningCollector, batch, until
from hypothesis import given
from hypothesis import strategies as st

from isotherm.collect.request import Request
from isotherm.collect.trace import LINES, PERIOD_S, Complaints, RequestIds, ids

WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Lines:
    """Takes what is logged."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.found.append({"event": event, "level": "info"} | facts)

    def warning(self, event: str, **facts: Any) -> None:
        self.found.append({"event": event, "level": "warning"} | facts)


def lines_of(output: Path, request_id: str) -> list[dict[str, Any]]:
    """Lines of a collector's output about one request; what is no JSON is the HTTP server's own."""
    found = [line for line in output.read_text().splitlines() if line.startswith("{") and request_id in line]
    return [json.loads(line) for line in found]


@given(st.one_of(st.none(), st.text(max_size=80)))
def test_every_request_has_a_well_formed_id(given_id: str | None) -> None:
    made = RequestIds().of(given_id)
    assert WELL_FORMED.fullmatch(made)
    if given_id is not None and WELL_FORMED.fullmatch(given_id):
        assert made == given_id


def test_ids_of_our_own_are_all_different() -> None:
    several = [RequestIds(), RequestIds()]
    assert len({one.of(None) for one in several for _ in range(1000)}) == 2000


def test_lines_are_bounded_and_say_what_was_left_out() -> None:
    lines, now = Lines(), [100.0]
    complaints = Complaints(lines, lambda: now[0])
    for number in range(LINES + 7):
        complaints.tell(422, "Unprocessable Content", f"r{number}", None)
    assert [line["request_id"] for line in lines.found] == [f"r{number}" for number in range(LINES)]
    now[0] += PERIOD_S
    complaints.tell(503, "full", "next", None)
    assert lines.found[-1] == {
        "event": "not taken", "level": "warning", "status": 503, "reason": "full", "request_id": "next",
        "without_a_line": "7",
    }  # fmt: skip
    complaints.tell(422, "Unprocessable Content", "after", None)
    assert "without_a_line" not in lines.found[-1]


@pytest.mark.parametrize(("field", "named"), [("client_id", True), ("my_diary", False), (None, False)])
def test_only_fields_of_the_contract_are_named(field: str | None, named: bool) -> None:
    lines = Lines()
    Complaints(lines).tell(422, "Unprocessable Content", "r", None, field)
    assert (lines.found[0].get("field") == field) is (named or field is None)
    assert "my_diary" not in str(lines.found)


def test_a_request_that_was_not_read_has_no_ids() -> None:
    assert ids(None) == ids(Request(b"", 0)) == {}


def test_the_senders_id_comes_back_and_names_the_line_of_a_failure(collector: RunningCollector) -> None:
    secret = "anna@example.org"
    bad = batch(1, client_id="shop", batch_id="b-17") | {"events": secret}
    answer = collector.post(bad, headers={"x-request-id": "trace-4711", "user-agent": secret})
    assert answer.status_code == 422
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "trace-4711"
    [line] = until(lambda: lines_of(collector.output, "trace-4711"), "the line is written")
    assert (line["event"], line["status"], line["field"]) == ("not taken", 422, "events")
    assert (line["level"], line["role"]) == ("info", "collect")
    assert line["timestamp"]
    text = collector.output.read_text()
    assert secret not in text
    assert "127.0.0.1" not in json.dumps(line)


def test_a_batch_that_is_refused_late_is_named(tmp_path: Path) -> None:
    running = RunningCollector(tmp_path / "data", log_max_bytes=64 << 20, clients=["shop"]).start()
    try:
        answer = running.post(batch(1, client_id="other", batch_id="b-18"))
        assert answer.status_code == 422
        [line] = until(lambda: lines_of(running.output, answer.headers["x-request-id"]), "the line is written")
        assert (line["client_id"], line["batch_id"], line["field"]) == ("other", "b-18", "client_id")
    finally:
        assert running.stop() == 0


def test_good_requests_have_an_id_and_no_line(collector: RunningCollector) -> None:
    answer = collector.post(batch(2), headers={"x-request-id": "good-1"})
    assert answer.status_code == 202
    assert answer.headers["x-request-id"] == "good-1"
    assert "request_id" not in answer.json()
    made = collector.post(batch(2), headers={"x-request-id": "not well formed"}).headers["x-request-id"]
    assert WELL_FORMED.fullmatch(made)
    # A line that is written afterwards stands behind all that these requests could have said.
    last = collector.post(b"[]", headers={"x-request-id": "last-1"})
    assert last.json()["request_id"] == "last-1"
    until(lambda: lines_of(collector.output, "last-1"), "the line is written")
    assert not lines_of(collector.output, "good-1") + lines_of(collector.output, made)
